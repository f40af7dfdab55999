/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 and SSE at work: known results to the last bit, state that survives FXSAVE,
 * and exceptions.  This file alone is compiled with SSE.
 */
#include "guest.h"

#include <emmintrin.h>

enum { XM = 19, MF = 16 };

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

struct x87_case {
    const char *what;
    long double (*fn)(void);
    uint64_t mantissa;
    uint16_t exponent;
};

static long double load_pi(void)
{
    long double value;

    __asm__("fldpi" : "=t"(value));
    return value;
}

static long double third(void)
{
    volatile long double one = 1, three = 3;

    return one / three;
}

static long double root_of_two(void)
{
    long double value = 2;

    __asm__("fsqrt" : "+t"(value));
    return value;
}

static long double sum(void)
{
    volatile long double value = 0, step = 0.1L;

    for (unsigned n = 0; n < 100; n++)
        value += step;
    return value;
}

static const struct x87_case x87_cases[] = {
    { "FLDPI", load_pi, 0xc90fdaa22168c235, 0x4000 },
    { "FDIV", third, 0xaaaaaaaaaaaaaaab, 0x3ffd },
    { "FSQRT", root_of_two, 0xb504f333f9de6484, 0x3fff },
    { "FADD", sum, 0xa000000000000002, 0x4002 },
};

static void test_x87(void)
{
    for (unsigned n = 0; n < sizeof(x87_cases) / sizeof(x87_cases[0]); n++) {
        const struct x87_case *c = &x87_cases[n];
        long double value = c->fn();
        uint64_t mantissa;
        uint16_t exponent;

        memcpy(&mantissa, &value, 8);
        memcpy(&exponent, (const char *)&value + 8, 2);
        check(mantissa == c->mantissa && exponent == c->exponent, "%s", c->what);
        if (mantissa != c->mantissa || exponent != c->exponent)
            print("got 0x%04x %016lx\n", exponent, mantissa);
    }
}

static void test_sse(void)
{
    volatile double three = 3, two = 2;
    __m128d pair = _mm_set_pd(three, two);
    __m128i a = _mm_set_epi32(1, -2, 3, -4), b = _mm_set_epi32(10, 20, 30, 40);
    int32_t out[4];

    check(bits_of(1 / three) == 0x3fd5555555555555, "DIVSD");
    check(bits_of(_mm_cvtsd_f64(_mm_sqrt_sd(pair, pair))) == 0x3ff6a09e667f3bcd, "SQRTSD");
    check(_mm_cvtsd_si32(_mm_set_sd(2.5)) == 2 && _mm_cvttsd_si32(_mm_set_sd(-2.9)) == -2,
          "CVTSD2SI and CVTTSD2SI");
    memcpy(out, &(__m128i) { 0 }, sizeof(out));
    _mm_storeu_si128((__m128i *)out, _mm_add_epi32(a, b));
    check(out[0] == 36 && out[1] == 33 && out[2] == 18 && out[3] == 11, "PADDD");
    _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi32(a, 0x1b));
    check(out[0] == 1 && out[1] == -2 && out[2] == 3 && out[3] == -4, "PSHUFD");
}

static void test_fxsave(void)
{
    static uint8_t saved[512] __attribute__((aligned(16)));
    uint64_t value = 0;

    __asm__ volatile("movq %1, %%xmm7; fxsave %0; pxor %%xmm7, %%xmm7; fninit; fxrstor %0;"
                     "movq %%xmm7, %2"
                     : "+m"(saved), "+r"((uint64_t) { 0x1122334455667788 }), "=r"(value)
                     : : "xmm7", "memory");
    check(value == 0x1122334455667788, "FXSAVE and FXRSTOR");
    check(saved[160 + 7 * 16] == 0x88, "FXSAVE's image");
}

static uint64_t divide_by_zero(uint64_t unused)
{
    uint32_t mxcsr = 0x1f80 & ~0x200u;
    volatile double one = 1, zero = 0;

    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    one = one / zero;
    return bits_of(one);
}

static uint64_t x87_divide_by_zero(uint64_t unused)
{
    uint16_t control = 0x037f & ~4;

    __asm__ volatile("fldcw %0; fldz; fld1; fdivp; fwait" : : "m"(control) : "st");
    return 0;
}

static void test_exceptions(void)
{
    const uint32_t mxcsr = 0x1f80;

    last_fault.happened = false;
    try_call(divide_by_zero, 0);
    check(last_fault.happened && last_fault.vector == XM, "#XM");
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    last_fault.happened = false;
    try_call(x87_divide_by_zero, 0);
    check(last_fault.happened && last_fault.vector == MF, "#MF");
    __asm__ volatile("fnclex; fninit");
}

void guest_main(void)
{
    __asm__ volatile("fninit");
    test_x87();
    test_sse();
    test_fxsave();
    test_exceptions();
}
