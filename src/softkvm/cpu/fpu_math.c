/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 transcendental instructions (SDM vol. 1, section 8.3.7; vol. 2).
 *
 * The C library's long double functions compute, but for F2XM1.  Real processors differ from one
 * another in the last places and so do we: the results are within 2 units of the
 * last place of the exact ones (FSIN, FCOS, FPTAN reduce by the true pi, not by one
 * of 66 bits).  Precision and rounding control don't apply.  Special operands and
 * exceptions are as documented, but what an unmasked overflow or underflow leaves is
 * no better than infinity or a denormal.
 */
#include "fpu_env.h"
#include "fpu_state.h"

#include <math.h>

/* Library code may use SSE: keep the guest's rounding away from it and its flags from the guest. */
static uint32_t library_enter(void)
{
    uint32_t saved = host_mxcsr();

    host_set_mxcsr(MXCSR_DEFAULT);
    return saved;
}

static void library_leave(uint32_t saved)
{
    host_set_mxcsr(saved);
}

/* Finite only. */
static long double to_host(struct f80 a)
{
    int exponent = f80_exponent(a) ? f80_exponent(a) : 1;
    long double r = ldexpl((long double)a.mantissa, exponent - F80_BIAS - 63);

    return f80_sign(a) ? -r : r;
}

/* The result of finite operands, always inexact; infinite or 0 where the host's range ended. */
static struct f80 from_host(struct f80_env *env, long double value)
{
    bool sign = signbit(value);
    struct f80 r;
    int exponent;

    if (isinf(value)) {
        r = f80_round_pack(env, sign, F80_EXP_MAX, 1ull << 63, 0, 64);
    } else if (value == 0) {
        r = f80_round_pack(env, sign, -100, 1ull << 63, 1, 64);
    } else {
        uint64_t mantissa = ldexpl(frexpl(fabsl(value), &exponent), 64);

        r = f80_round_pack(env, sign, exponent + F80_BIAS - 1, mantissa, 0, 64);
        if (f80_exponent(r) == 0)
            env->flags |= FSW_UE;
    }
    env->flags |= FSW_PE;
    return r;
}

static struct f80 invalid(struct f80_env *env)
{
    env->flags |= FSW_IE;
    return f80_indefinite;
}

static struct f80 with_sign(struct f80 a, bool sign)
{
    a.sign_exponent = (a.sign_exponent & F80_EXP_MAX) | sign << 15;
    return a;
}

/* NaNs and unsupported formats, and #D for denormals.  True: *r is the result. */
static bool special(struct f80_env *env, struct f80 a, struct f80 b, struct f80 *r)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);

    if (ca == F80_UNSUPPORTED || cb == F80_UNSUPPORTED) {
        *r = invalid(env);
        return true;
    }
    if (ca == F80_NAN || cb == F80_NAN) {
        *r = f80_nan(env, a, b);
        return true;
    }
    return false;
}

static void denormals(struct f80_env *env, struct f80 a, struct f80 b)
{
    if (f80_classify(a) == F80_DENORMAL || f80_classify(b) == F80_DENORMAL)
        env->flags |= FSW_DE;
}

typedef unsigned __int128 u128;

/* The upper half of a product. */
static u128 multiply_high(u128 a, u128 b)
{
    uint64_t a1 = a >> 64, a0 = a, b1 = b >> 64, b0 = b;
    u128 middle = (u128)a1 * b0 + ((u128)a0 * b0 >> 64);
    u128 other = (u128)a0 * b1 + (uint64_t)middle;

    return (u128)a1 * b1 + (middle >> 64) + (other >> 64);
}

/*
 * 2^x - 1 for 0 < |x| < 1, as x ln2 (1 + t/2 (1 + t/3 (1 + ...))), t = x ln2: the
 * C library's expm1l() is off by more than 2 units here and there.
 * Fractions of 128 bits, the sum one of 127.
 */
static struct f80 power_minus_one(struct f80_env *env, struct f80 x)
{
    const u128 ln2 = (u128)0xb17217f7d1cf79ab << 64 | 0xc9e3b39803f2f6af, one = (u128)1 << 127;
    int lead = __builtin_clzll(x.mantissa);
    int exponent = (int)(f80_exponent(x) ? f80_exponent(x) : 1) - F80_BIAS - lead, shift;
    u128 mantissa = (u128)(x.mantissa << lead) << 64, sum = one, t;

    t = exponent < -128 ? 0 : multiply_high(mantissa >> (-1 - exponent), ln2);
    for (unsigned n = 36; n >= 2; n--) {
        u128 term = multiply_high(t, sum) / n;

        sum = f80_sign(x) ? one - term : one + term;
    }
    t = multiply_high(mantissa, multiply_high(ln2, sum));
    shift = (uint64_t)(t >> 64) ? __builtin_clzll(t >> 64) : 64;
    t <<= shift;
    return f80_round_pack(env, f80_sign(x), exponent + 1 - shift + F80_BIAS, t >> 64,
                          (uint64_t)t | 1, 64);
}

static struct f80 f2xm1(struct f80_env *env, struct f80 x)
{
    struct f80 r;

    if (special(env, x, f80_zero, &r))
        return r;
    denormals(env, x, f80_zero);
    if (f80_classify(x) == F80_ZERO)
        return x;
    if (f80_exponent(x) < F80_BIAS)
        return power_minus_one(env, x);
    /* 1 and -1 are exact; beyond is undefined. */
    if (f80_exponent(x) == F80_BIAS && x.mantissa == 1ull << 63)
        return f80_sign(x) ? f80_make(true, F80_BIAS - 1, 1ull << 63) : f80_one;
    if (f80_classify(x) == F80_INFINITY && f80_sign(x))
        return with_sign(f80_one, true);
    return x;
}

/* y * log2(x) */
static struct f80 fyl2x(struct f80_env *env, struct f80 x, struct f80 y)
{
    enum f80_class cx = f80_classify(x), cy = f80_classify(y);
    struct f80 r;
    bool below_one = f80_exponent(x) < F80_BIAS;
    bool is_one = x.sign_exponent == F80_BIAS && x.mantissa == 1ull << 63;

    if (special(env, x, y, &r))
        return r;
    if (f80_sign(x) && cx != F80_ZERO)
        return invalid(env);
    if ((cx == F80_ZERO || cx == F80_INFINITY) && cy == F80_ZERO)
        return invalid(env);
    if (is_one && cy == F80_INFINITY)
        return invalid(env);
    if (cx == F80_ZERO && cy != F80_INFINITY)
        env->flags |= FSW_ZE;
    else
        denormals(env, x, y);
    if (cx == F80_ZERO || cx == F80_INFINITY || cy == F80_INFINITY)
        return with_sign(f80_infinity, f80_sign(y) != below_one);
    if (is_one)
        return with_sign(f80_zero, f80_sign(y));
    if (cy == F80_ZERO)
        return with_sign(f80_zero, f80_sign(y) != below_one);
    return from_host(env, to_host(y) * log2l(to_host(x)));
}

/* a * b * log2 e, with one rounding that counts. */
static long double times_log2e(long double a, long double b)
{
    const long double log2e = 0xb.8aa3b295c17f0bcp-3L, log2e_rest = -0x1.05e004be5b8bp-65L;
    long double t = a * b, t_rest = fmal(a, b, -t);
    long double r = t * log2e, r_rest = fmal(t, log2e, -r);

    return isnormal(r) ? r + (r_rest + t_rest * log2e + t * log2e_rest) : r;
}

/* y * log2(x + 1) */
static struct f80 fyl2xp1(struct f80_env *env, struct f80 x, struct f80 y)
{
    enum f80_class cx = f80_classify(x), cy = f80_classify(y);
    struct f80 r;

    if (special(env, x, y, &r))
        return r;
    if ((cx == F80_ZERO && cy == F80_INFINITY) || (cx == F80_INFINITY && cy == F80_ZERO) ||
        (f80_sign(x) && f80_exponent(x) >= F80_BIAS))
        return invalid(env);
    denormals(env, x, y);
    if (cx == F80_INFINITY || cy == F80_INFINITY)
        return with_sign(f80_infinity, f80_sign(y) != f80_sign(x));
    if (cx == F80_ZERO || cy == F80_ZERO)
        return with_sign(f80_zero, f80_sign(y) != f80_sign(x));
    return from_host(env, times_log2e(to_host(y), log1pl(to_host(x))));
}

/* Angles of infinite operands are those of finite ones; the C library knows the rest. */
static long double to_host_or_infinity(struct f80 a)
{
    if (f80_classify(a) == F80_INFINITY)
        return f80_sign(a) ? -INFINITY : INFINITY;
    return to_host(a);
}

static struct f80 fpatan(struct f80_env *env, struct f80 x, struct f80 y)
{
    struct f80 r;

    if (special(env, x, y, &r))
        return r;
    denormals(env, x, y);
    if (!f80_sign(x) && (f80_classify(y) == F80_ZERO ||
                         (f80_classify(x) == F80_INFINITY && f80_classify(y) != F80_INFINITY)))
        return with_sign(f80_zero, f80_sign(y));
    return from_host(env, atan2l(to_host_or_infinity(y), to_host_or_infinity(x)));
}

/* Two operands: ST(1) = function(ST(0), ST(1)), pop. */
#define BINARY(name_, function_)                                                            \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        struct cpu_fpu *fpu = &cpu->fpu;                                                    \
        struct f80_env env = fpu_env(fpu);                                                  \
        struct f80 r = f80_indefinite;                                                      \
        enum cpu_status status = fpu_begin(cpu);                                            \
        uint32_t saved;                                                                     \
                                                                                            \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        saved = library_enter();                                                            \
        if (fpu_empty(fpu, 0) || fpu_empty(fpu, 1))                                         \
            env.flags = FSW_IE | FSW_SF;                                                    \
        else                                                                                \
            r = function_(&env, fpu_get(fpu, 0), fpu_get(fpu, 1));                          \
        library_leave(saved);                                                               \
        if (fpu_raise(fpu, env.flags, FSW_EARLY)) {                                         \
            fpu_set(fpu, 1, r);                                                             \
            fpu_pop(fpu);                                                                   \
        }                                                                                   \
        return fpu_end(cpu, insn);                                                          \
    }
BINARY(fpu_fyl2x, fyl2x)
BINARY(fpu_fyl2xp1, fyl2xp1)
BINARY(fpu_fpatan, fpatan)

enum cpu_status fpu_f2xm1(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    struct f80_env env = fpu_env(fpu);
    struct f80 r = f80_indefinite;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (fpu_empty(fpu, 0))
        env.flags = FSW_IE | FSW_SF;
    else
        r = f2xm1(&env, fpu_get(fpu, 0));
    if (fpu_raise(fpu, env.flags, FSW_EARLY))
        fpu_set(fpu, 0, r);
    return fpu_end(cpu, insn);
}

/*
 * FSIN, FCOS, FSINCOS, FPTAN: what becomes of ST(0) and, where there are two results, what
 * is pushed.
 */
enum trig { TRIG_SIN, TRIG_COS, TRIG_SINCOS, TRIG_TAN };

static struct f80 trig(struct f80_env *env, enum trig what, struct f80 x, struct f80 *second)
{
    bool zero = f80_classify(x) == F80_ZERO;
    long double v;
    struct f80 r;

    *second = f80_one;
    if (special(env, x, f80_zero, &r))
        return *second = r;
    if (f80_classify(x) == F80_INFINITY)
        return *second = invalid(env);
    denormals(env, x, f80_zero);
    if (zero)
        return what == TRIG_COS ? f80_one : x;
    v = to_host(x);
    if (what == TRIG_SINCOS)
        *second = from_host(env, cosl(v));
    return from_host(env, what == TRIG_COS ? cosl(v) : what == TRIG_TAN ? tanl(v) : sinl(v));
}

static enum cpu_status exec_trig(struct cpu *cpu, const struct insn *insn, enum trig what)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    struct f80_env env = fpu_env(fpu);
    struct f80 x = fpu_get(fpu, 0), first = f80_indefinite, second = f80_indefinite;
    bool two = what == TRIG_SINCOS || what == TRIG_TAN;
    enum cpu_status status = fpu_begin(cpu);
    uint32_t saved;

    if (status != CPU_OK)
        return status;
    if (fpu_empty(fpu, 0)) {
        env.flags = FSW_IE | FSW_SF;
    } else if (two && !fpu_empty(fpu, 7)) {
        env.flags = FSW_IE | FSW_SF | FSW_C1;
    } else if (f80_exponent(x) >= F80_BIAS + 63 && f80_classify(x) == F80_NORMAL) {
        fpu_set_cc(fpu, FSW_C1 | FSW_C2, FSW_C2);   /* out of range: reduce it first */
        return fpu_end(cpu, insn);
    } else {
        saved = library_enter();
        first = trig(&env, what, x, &second);
        library_leave(saved);
    }
    fpu_set_cc(fpu, FSW_C2, 0);
    if (fpu_raise(fpu, env.flags, FSW_EARLY)) {
        fpu_set(fpu, 0, first);
        if (two)
            fpu_push(fpu, second);
    }
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fsin(struct cpu *cpu, const struct insn *insn)
{
    return exec_trig(cpu, insn, TRIG_SIN);
}

enum cpu_status fpu_fcos(struct cpu *cpu, const struct insn *insn)
{
    return exec_trig(cpu, insn, TRIG_COS);
}

enum cpu_status fpu_fsincos(struct cpu *cpu, const struct insn *insn)
{
    return exec_trig(cpu, insn, TRIG_SINCOS);
}

enum cpu_status fpu_fptan(struct cpu *cpu, const struct insn *insn)
{
    return exec_trig(cpu, insn, TRIG_TAN);
}
