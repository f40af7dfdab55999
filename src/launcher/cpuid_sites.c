/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPUID is 0f a2 (Intel SDM vol. 2). */
#include "cpuid_sites.h"

#include "decode.h"

#include <string.h>

/*
 * Decoding falls into step with the code after some instructions, from wherever it starts;
 * near the place all must be instructions that programs use, as tables between functions
 * decode to anything.
 */
enum { LOOK_BACK = 96, STARTS = 16, NEAR = 48 };

static const uint8_t cpuid[] = { 0x0f, 0xa2 };

static bool usual(const uint8_t *p, const struct insn *insn)
{
    /* Compilers end with UD2 what can't happen. */
    if (insn->row == nr_opcodes)
        return p[0] == 0x0f && p[1] == 0x0b;
    return !(opcodes[insn->row].attrs & CPL0);
}

/* The first boundary from to on, coming from p; NULL: something unusual from near on. */
static const uint8_t *decode_to(const uint8_t *p, const uint8_t *near, const uint8_t *to,
                                const uint8_t *end)
{
    const struct decode_mode mode = { .code_size = 8, .stack_size = 8 };
    struct insn insn;

    while (p < to) {
        size_t left = end - p;
        unsigned length = decode_insn(p, left < INSN_MAX_BYTES ? left : INSN_MAX_BYTES, mode, 0,
                                      &insn);

        if (!length || (p >= near && !usual(p, &insn)))
            return NULL;
        p += length;
    }
    return p;
}

static bool is_cpuid(const uint8_t *start, const uint8_t *at, const uint8_t *end)
{
    bool far = at - start > LOOK_BACK;
    /* The code's start is a boundary for sure. */
    const uint8_t *first = far ? at - LOOK_BACK : start, *near = far ? at - NEAR : start;
    const uint8_t *after = at + sizeof(cpuid);

    for (unsigned i = 0; i < (far ? STARTS : 1); i++) {
        if (decode_to(first + i, near, at, end) != at)
            return false;
    }
    return decode_to(after, after, end - after > NEAR ? after + NEAR : end, end) != NULL;
}

const uint8_t *cpuid_site(const uint8_t *start, const uint8_t *from, const uint8_t *end)
{
    const uint8_t *at = from;

    while (at < end && (at = memmem(at, end - at, cpuid, sizeof(cpuid)))) {
        if (is_cpuid(start, at, end))
            return at;
        at++;
    }
    return NULL;
}
