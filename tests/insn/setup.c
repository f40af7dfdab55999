/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Setups that several rows share: registers with a meaning of their own. */
#include "insn_test.h"

#include <string.h>

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* Mostly well inside DATA, sometimes so that the last elements lie in the hole. */
static uint64_t string_pointer(void)
{
    if (random_chance(15))
        return DATA + DATA_SIZE - random_below(24);
    if (random_chance(5))
        return DATA + random_below(24);
    if (random_chance(10))
        return DATA + PAGE - random_below(24);
    return DATA + 256 + random_below(DATA_SIZE - 512);
}

void setup_string(struct test *test)
{
    test->in.gpr[RSI] = string_pointer();
    test->in.gpr[RDI] = string_pointer();
    test->in.gpr[RCX] = random_chance(20) ? 0 : random_below(12);
    if (random_chance(50)) {                        /* equal stretches, for REPE */
        uint8_t same[64];

        random_lanes(K_INT, same, sizeof(same));
        arena_write(test->in.gpr[RSI] - 32, same, sizeof(same));
        arena_write(test->in.gpr[RDI] - 32, same, sizeof(same));
    }
}

void setup_string_inside(struct test *test)
{
    setup_string(test);
    test->in.gpr[RSI] = DATA + 256 + random_below(DATA_SIZE - 512);
    test->in.gpr[RDI] = DATA + 256 + random_below(DATA_SIZE - 512);
}

void setup_divide(struct test *test)
{
    unsigned shift = random_below(64);

    if (random_chance(20))
        return;                                     /* anything: most of them #DE */
    if (random_chance(40)) {                        /* the sign extension of RAX */
        test->in.gpr[RDX] = (int64_t)test->in.gpr[RAX] < 0 ? UINT64_MAX : 0;
    } else {
        test->in.gpr[RDX] = random_u64() >> shift >> 8;
        test->in.gpr[RAX] = random_u64();
    }
}

/* The accumulator equals what memory or the register holds, half of the time. */
void setup_near_equal(struct test *test)
{
    if (random_chance(50))
        return;
    if (test->has_mem && test->ea >= DATA && test->ea + 16 <= DATA + DATA_SIZE) {
        memcpy(&test->in.gpr[RAX], arena_host(test->ea), 8);
        memcpy(&test->in.gpr[RDX], arena_host(test->ea + 8), 8);
    } else if (!test->has_mem) {
        uint64_t value = random_int();

        for (unsigned i = 0; i < 16; i++)
            if (i != RSP && random_chance(50))
                test->in.gpr[i] = value;
        test->in.gpr[RAX] = value;
    }
}

static void set_mxcsr_image(uint64_t addr)
{
    uint32_t mxcsr = random_chance(90) ? random_u64() & 0xffff : random_u64();

    arena_write(addr, &mxcsr, 4);
}

void setup_ldmxcsr(struct test *test)
{
    set_mxcsr_image(test->ea);
}

void setup_fxrstor(struct test *test)
{
    set_mxcsr_image(test->ea + 24);
}

/* x87 and SSE only: the host has more components than we have. */
void setup_xsave(struct test *test)
{
    test->in.gpr[RAX] = random_below(4);
    test->in.gpr[RDX] = random_u64() << 32;
}

void setup_xrstor(struct test *test)
{
    uint64_t header[8] = { random_below(4) };

    if (random_chance(10))
        header[random_below(3)] |= 1ull << 62;
    setup_xsave(test);
    set_mxcsr_image(test->ea + 24);
    arena_write(test->ea + 512, header, sizeof(header));
}

/* ST(i) = a random number with an exponent in [low, high]. */
static void set_st(struct test *test, unsigned i, int low, int high)
{
    uint64_t mantissa = random_u64() | 1ull << 63;
    uint16_t exponent = 16383 + low + random_below(high - low + 1);

    if (random_chance(50))
        exponent |= 0x8000;
    memcpy(test->in.fx.st[i], &mantissa, 8);
    memcpy(test->in.fx.st[i] + 8, &exponent, 2);
}

static void clear_sign(struct test *test, unsigned i)
{
    test->in.fx.st[i][9] &= 0x7f;
}

/* Special operands as they came, or one where the function is defined. */
void setup_f2xm1(struct test *test)
{
    uint16_t exponent;

    memcpy(&exponent, test->in.fx.st[0] + 8, 2);
    if (random_chance(80) || ((exponent & 0x7fff) >= 16383 && (exponent & 0x7fff) < 0x7fff))
        set_st(test, 0, -70, -1);
}

void setup_fyl2x(struct test *test)
{
    if (random_chance(20))
        return;
    set_st(test, 0, -100, 100);
    if (random_chance(95))
        clear_sign(test, 0);
    set_st(test, 1, -100, 100);
}

void setup_fyl2xp1(struct test *test)
{
    set_st(test, 0, -60, -3);                       /* beyond 1 - sqrt(2) / 2 it is undefined */
    if (random_chance(90))
        set_st(test, 1, -100, 100);
}

void setup_fpatan(struct test *test)
{
    if (random_chance(70)) {
        set_st(test, 0, -20, 20);
        set_st(test, 1, -20, 20);
    }
}

/*
 * Processors reduce by a pi of 66 bits: with 2 ulp only before the first reduction.
 * Larger operands are compared where they are out of range altogether.
 */
void setup_fptan(struct test *test)
{
    uint16_t exponent;

    memcpy(&exponent, test->in.fx.st[0] + 8, 2);
    if (random_chance(80) || ((exponent & 0x7fff) >= 16382 && (exponent & 0x7fff) < 16383 + 63))
        set_st(test, 0, -70, -2);
}

void setup_fsin(struct test *test)
{
    setup_fptan(test);
}

void setup_fcos(struct test *test)
{
    setup_fptan(test);
}

void setup_fsincos(struct test *test)
{
    setup_fptan(test);
}
