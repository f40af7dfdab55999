/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arithmetic on the 80-bit format: f80.h. */
#include "f80.h"

#define TOP_BIT (1ull << 63)
#define QUIET_BIT (1ull << 62)

typedef unsigned __int128 u128;

enum {
    RC_NEAREST, RC_DOWN, RC_UP, RC_ZERO,
    UNMASKED_BIAS = 24576,      /* what unmasked overflow and underflow move the exponent by */
};

const struct f80 f80_indefinite = { 0xc000000000000000, 0xffff };
const struct f80 f80_zero = { 0, 0 };
const struct f80 f80_one = { TOP_BIT, F80_BIAS };
const struct f80 f80_infinity = { TOP_BIT, F80_EXP_MAX };

enum f80_class f80_classify(struct f80 a)
{
    if (f80_exponent(a) == 0)
        return a.mantissa ? F80_DENORMAL : F80_ZERO;
    if (!(a.mantissa & TOP_BIT))
        return F80_UNSUPPORTED;
    if (f80_exponent(a) < F80_EXP_MAX)
        return F80_NORMAL;
    return a.mantissa == TOP_BIT ? F80_INFINITY : F80_NAN;
}

bool f80_is_snan(struct f80 a)
{
    return f80_classify(a) == F80_NAN && !(a.mantissa & QUIET_BIT);
}

static struct f80 invalid(struct f80_env *env)
{
    env->flags |= FSW_IE;
    return f80_indefinite;
}

/* SDM vol. 1, table 4-7: quiet over signalling, then the larger significand, then positive. */
struct f80 f80_nan(struct f80_env *env, struct f80 a, struct f80 b)
{
    bool a_nan = f80_classify(a) == F80_NAN, b_nan = f80_classify(b) == F80_NAN;
    bool a_signals = f80_is_snan(a), b_signals = f80_is_snan(b);
    struct f80 r;

    if (a_signals || b_signals)
        env->flags |= FSW_IE;
    if (!b_nan)
        r = a;
    else if (!a_nan)
        r = b;
    else if (a_signals != b_signals)
        r = a_signals ? b : a;
    else if ((a.mantissa | QUIET_BIT) != (b.mantissa | QUIET_BIT))
        r = (a.mantissa | QUIET_BIT) > (b.mantissa | QUIET_BIT) ? a : b;
    else
        r = f80_sign(a) ? b : a;
    r.mantissa |= QUIET_BIT;
    return r;
}

/*
 * What every operation of two operands does first.  True: *r is the result, be it
 * a NaN.  False: both are numbers, infinities among them, and #D was raised.
 */
static bool special_operands(struct f80_env *env, struct f80 a, struct f80 b, struct f80 *r)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);

    if (ca == F80_UNSUPPORTED || cb == F80_UNSUPPORTED)
        *r = invalid(env);
    else if (ca == F80_NAN || cb == F80_NAN)
        *r = f80_nan(env, a, b);
    else
        return false;
    return true;
}

static void denormal_operand(struct f80_env *env, struct f80 a)
{
    if (f80_classify(a) == F80_DENORMAL)
        env->flags |= FSW_DE;
}

/* A finite number that isn't 0, its top bit set. */
struct number {
    bool sign;
    int exponent;
    uint64_t mantissa;
};

static struct number normalize(struct f80 a)
{
    struct number n = { f80_sign(a), f80_exponent(a), a.mantissa };
    int shift = __builtin_clzll(a.mantissa);

    if (n.exponent == 0)
        n.exponent = 1;
    n.mantissa <<= shift;
    n.exponent -= shift;
    return n;
}

/* Shift right; what falls out leaves its trace in the lowest bit. */
static u128 shift_jam(u128 value, unsigned n)
{
    if (n == 0)
        return value;
    if (n >= 128)
        return value != 0;
    return value >> n | ((value << (128 - n)) != 0);
}

/* Is value, to be cut to its top keep bits, to be rounded away from zero? */
static bool rounds_up(unsigned rc, bool sign, u128 value, unsigned keep)
{
    u128 unit = (u128)1 << (128 - keep), rest = value & (unit - 1);

    switch (rc) {
    case RC_NEAREST:
        return rest > unit / 2 || (rest == unit / 2 && (value & unit));
    case RC_DOWN:
        return rest && sign;
    case RC_UP:
        return rest && !sign;
    }
    return false;
}

/* Round to the top keep bits.  Carry out: the value is 2^128 then, which is returned as 0. */
static u128 round_bits(struct f80_env *env, bool sign, u128 value, unsigned keep)
{
    unsigned rc = env->control >> FCW_RC_SHIFT & 3;
    u128 unit = (u128)1 << (128 - keep);

    if (!(value & (unit - 1)))
        return value;
    env->flags |= FSW_PE;
    if (!rounds_up(rc, sign, value, keep))
        return value & ~(unit - 1);
    env->flags |= FSW_C1;
    return (value & ~(unit - 1)) + unit;
}

static struct f80 overflow(struct f80_env *env, bool sign, unsigned precision)
{
    unsigned rc = env->control >> FCW_RC_SHIFT & 3;
    bool to_infinity = rc == RC_NEAREST || rc == (sign ? RC_DOWN : RC_UP);

    env->flags |= FSW_OE | FSW_PE;
    env->flags &= ~FSW_C1;
    if (!to_infinity)
        return f80_make(sign, F80_EXP_MAX - 1, ~0ull << (64 - precision));
    env->flags |= FSW_C1;
    return f80_make(sign, F80_EXP_MAX, TOP_BIT);
}

/* Below the smallest normal exponent. */
static struct f80 round_tiny(struct f80_env *env, bool sign, int exponent, u128 value,
                             unsigned precision)
{
    struct f80_env trial = { .control = env->control };
    bool tiny = exponent < 0 || round_bits(&trial, sign, value, precision) != 0;

    if (tiny && !(env->control & FSW_UE)) {
        env->flags |= FSW_UE;
        if (exponent + UNMASKED_BIAS <= 0) {
            env->flags |= FSW_PE;
            return f80_make(sign, 0, 0);
        }
        value = round_bits(env, sign, value, precision);
        if (!value) {
            value = (u128)1 << 127;
            exponent++;
        }
        return f80_make(sign, exponent + UNMASKED_BIAS, value >> 64);
    }
    trial = (struct f80_env){ .control = env->control };
    value = round_bits(&trial, sign, shift_jam(value, 1 - exponent), precision);
    env->flags |= trial.flags;
    if (tiny && (trial.flags & FSW_PE))
        env->flags |= FSW_UE;
    /* Rounding may have made it the smallest normal number. */
    return f80_make(sign, value >> 127, value >> 64);
}

struct f80 f80_round_pack(struct f80_env *env, bool sign, int exponent, uint64_t high,
                          uint64_t low, unsigned precision)
{
    u128 value = (u128)high << 64 | low;

    if (exponent <= 0)
        return round_tiny(env, sign, exponent, value, precision);
    value = round_bits(env, sign, value, precision);
    if (!value) {
        value = (u128)1 << 127;
        exponent++;
    }
    if (exponent < F80_EXP_MAX)
        return f80_make(sign, exponent, value >> 64);
    if (env->control & FSW_OE)
        return overflow(env, sign, precision);
    env->flags |= FSW_OE;
    if (exponent - UNMASKED_BIAS >= F80_EXP_MAX) {  /* FSCALE, beyond what bias can express */
        env->flags |= FSW_PE | FSW_C1;
        return f80_make(sign, F80_EXP_MAX, TOP_BIT);
    }
    return f80_make(sign, exponent - UNMASKED_BIAS, value >> 64);
}

static unsigned precision_of(const struct f80_env *env)
{
    static const uint8_t bits[4] = { 24, 64, 53, 64 };

    return bits[env->control >> FCW_PC_SHIFT & 3];
}

static struct f80 pack(struct f80_env *env, bool sign, int exponent, u128 value)
{
    return f80_round_pack(env, sign, exponent, value >> 64, value, precision_of(env));
}

/* A sum that is exactly 0 is positive, except when rounding down. */
static struct f80 exact_zero(const struct f80_env *env)
{
    return f80_make((env->control >> FCW_RC_SHIFT & 3) == RC_DOWN, 0, 0);
}

static struct f80 add_numbers(struct f80_env *env, struct number a, struct number b)
{
    u128 x, y;

    if (a.exponent < b.exponent || (a.exponent == b.exponent && a.mantissa < b.mantissa)) {
        struct number t = a;

        a = b;
        b = t;
    }
    x = (u128)a.mantissa << 64;
    y = shift_jam((u128)b.mantissa << 64, a.exponent - b.exponent);
    if (a.sign == b.sign) {
        u128 sum = x + y;

        if (sum < x) {
            sum = shift_jam(sum, 1) | (u128)1 << 127;
            a.exponent++;
        }
        return pack(env, a.sign, a.exponent, sum);
    }
    x -= y;
    if (!x)
        return exact_zero(env);
    while (!(x >> 127)) {
        x <<= 1;
        a.exponent--;
    }
    return pack(env, a.sign, a.exponent, x);
}

/* A number that an operation leaves as it is, but for rounding to the precision. */
static struct f80 repack(struct f80_env *env, struct f80 a)
{
    struct number n = normalize(a);

    return pack(env, n.sign, n.exponent, (u128)n.mantissa << 64);
}

struct f80 f80_add(struct f80_env *env, struct f80 a, struct f80 b)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);
    struct f80 r;

    if (special_operands(env, a, b, &r))
        return r;
    if (ca == F80_INFINITY && cb == F80_INFINITY && f80_sign(a) != f80_sign(b))
        return invalid(env);
    denormal_operand(env, a);
    denormal_operand(env, b);
    if (ca == F80_INFINITY)
        return a;
    if (cb == F80_INFINITY)
        return b;
    if (ca == F80_ZERO && cb == F80_ZERO)
        return f80_sign(a) == f80_sign(b) ? a : exact_zero(env);
    if (ca == F80_ZERO)
        return repack(env, b);
    if (cb == F80_ZERO)
        return repack(env, a);
    return add_numbers(env, normalize(a), normalize(b));
}

struct f80 f80_sub(struct f80_env *env, struct f80 a, struct f80 b)
{
    struct f80 r;

    if (special_operands(env, a, b, &r))
        return r;
    b.sign_exponent ^= 0x8000;
    return f80_add(env, a, b);
}

struct f80 f80_mul(struct f80_env *env, struct f80 a, struct f80 b)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);
    bool sign = f80_sign(a) != f80_sign(b);
    struct number x, y;
    struct f80 r;
    u128 product;
    int exponent;

    if (special_operands(env, a, b, &r))
        return r;
    if ((ca == F80_INFINITY && cb == F80_ZERO) || (ca == F80_ZERO && cb == F80_INFINITY))
        return invalid(env);
    denormal_operand(env, a);
    denormal_operand(env, b);
    if (ca == F80_INFINITY || cb == F80_INFINITY)
        return f80_make(sign, F80_EXP_MAX, TOP_BIT);
    if (ca == F80_ZERO || cb == F80_ZERO)
        return f80_make(sign, 0, 0);
    x = normalize(a);
    y = normalize(b);
    product = (u128)x.mantissa * y.mantissa;
    exponent = x.exponent + y.exponent - F80_BIAS + 1;
    if (!(product >> 127)) {
        product <<= 1;
        exponent--;
    }
    return pack(env, sign, exponent, product);
}

static struct f80 div_numbers(struct f80_env *env, struct number x, struct number y)
{
    int exponent = x.exponent - y.exponent + F80_BIAS;
    u128 dividend = (u128)x.mantissa << 63;
    uint64_t high, rest, low;

    if (x.mantissa < y.mantissa) {
        dividend <<= 1;
        exponent--;
    }
    high = dividend / y.mantissa;
    rest = dividend % y.mantissa;
    low = ((u128)rest << 64) / y.mantissa;
    if (((u128)rest << 64) % y.mantissa)
        low |= 1;
    return pack(env, x.sign != y.sign, exponent, (u128)high << 64 | low);
}

struct f80 f80_div(struct f80_env *env, struct f80 a, struct f80 b)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);
    bool sign = f80_sign(a) != f80_sign(b);
    struct f80 r;

    if (special_operands(env, a, b, &r))
        return r;
    if (ca == cb && (ca == F80_INFINITY || ca == F80_ZERO))
        return invalid(env);
    if (cb == F80_ZERO && ca != F80_INFINITY) {
        env->flags = (env->flags & ~FSW_DE) | FSW_ZE;   /* also the DE of a memory operand */
        return f80_make(sign, F80_EXP_MAX, TOP_BIT);
    }
    denormal_operand(env, a);
    denormal_operand(env, b);
    if (ca == F80_INFINITY)
        return f80_make(sign, F80_EXP_MAX, TOP_BIT);
    if (ca == F80_ZERO || cb == F80_INFINITY)
        return f80_make(sign, 0, 0);
    return div_numbers(env, normalize(a), normalize(b));
}

/* The integer square root of value and, in *rest, whether there is more. */
static u128 root(u128 value, bool *rest)
{
    u128 result = 0, bit = (u128)1 << 126;

    for (; bit; bit >>= 2) {
        if (value >= result + bit) {
            value -= result + bit;
            result = result / 2 + bit;
        } else {
            result /= 2;
        }
    }
    *rest = value != 0;
    return result;
}

struct f80 f80_sqrt(struct f80_env *env, struct f80 a)
{
    enum f80_class class = f80_classify(a);
    struct number n;
    uint64_t high, guard;
    int exponent;
    bool more;
    u128 x, r;
    struct f80 nan;

    if (special_operands(env, a, f80_zero, &nan))
        return nan;
    if (class == F80_ZERO)
        return a;
    if (f80_sign(a))
        return invalid(env);
    denormal_operand(env, a);
    if (class == F80_INFINITY)
        return a;
    n = normalize(a);
    exponent = n.exponent - F80_BIAS;
    /* The root of 64 bits first, then two more: enough to round by, with the rest. */
    x = exponent & 1 ? (u128)n.mantissa << 64 : (u128)n.mantissa << 63;
    r = root(x, &more);
    high = r;
    /* (high + f)^2 = x: f = rest / (2 high), so compare the rest with high. */
    x -= r * r;
    guard = !more ? 0 : x > r ? TOP_BIT | 1 : 1;
    exponent = (exponent - (exponent & 1)) / 2 + F80_BIAS;
    return pack(env, false, exponent, (u128)high << 64 | guard);
}

/* Without exceptions of its own beyond #P: |a| < 2^63. */
static struct f80 round_small(struct f80_env *env, struct f80 a)
{
    struct number n = normalize(a);
    int keep = n.exponent - F80_BIAS + 1;       /* bits before the point */
    u128 value = (u128)n.mantissa << 64;

    if (keep < 1) {
        /* Below 1: to 0 or 1.  As a fraction of 2: the top bit is worth 1. */
        value = shift_jam(value, 1 - keep);
        keep = 1;
        n.exponent = F80_BIAS;
    }
    value = round_bits(env, n.sign, value, keep);
    if (!value && (env->flags & FSW_C1)) {
        value = (u128)1 << 127;
        n.exponent++;
    }
    return value ? f80_make(n.sign, n.exponent, value >> 64) : f80_make(n.sign, 0, 0);
}

struct f80 f80_round_to_int(struct f80_env *env, struct f80 a)
{
    struct f80 r;

    if (special_operands(env, a, f80_zero, &r))
        return r;
    denormal_operand(env, a);
    if (a.mantissa == 0 || f80_exponent(a) >= F80_BIAS + 63)
        return a;
    return round_small(env, a);
}

struct f80 f80_scale(struct f80_env *env, struct f80 a, struct f80 b)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);
    struct number n;
    struct f80 r;
    int shift;

    if (special_operands(env, a, b, &r))
        return r;
    if (cb == F80_INFINITY && ca == (f80_sign(b) ? F80_INFINITY : F80_ZERO))
        return invalid(env);
    denormal_operand(env, a);
    denormal_operand(env, b);
    if (ca == F80_INFINITY || ca == F80_ZERO)
        return a;
    if (cb == F80_INFINITY)
        return f80_sign(b) ? f80_make(f80_sign(a), 0, 0)
                           : f80_make(f80_sign(a), F80_EXP_MAX, TOP_BIT);
    n = normalize(a);
    if (cb == F80_ZERO || cb == F80_DENORMAL || f80_exponent(b) < F80_BIAS)
        shift = 0;
    else if (f80_exponent(b) >= F80_BIAS + 16)      /* far beyond the range either way */
        shift = 1 << 16;
    else
        shift = b.mantissa >> (63 - (f80_exponent(b) - F80_BIAS));
    n.exponent += f80_sign(b) ? -shift : shift;
    return f80_round_pack(env, n.sign, n.exponent, n.mantissa, 0, 64);
}

/* mantissa * 2^shift mod m, quotient bits gathered in *quotient (modulo 2^64). */
static uint64_t reduce(uint64_t value, uint64_t m, unsigned shift, uint64_t *quotient)
{
    *quotient = 0;
    if (value >= m) {
        value -= m;
        *quotient = 1;
    }
    while (shift-- > 0) {
        bool carry = value >> 63;

        value <<= 1;
        *quotient <<= 1;
        if (carry || value >= m) {
            value -= m;
            *quotient |= 1;
        }
    }
    return value;
}

struct f80 f80_remainder(struct f80_env *env, struct f80 a, struct f80 b, bool nearest,
                         unsigned *quotient, bool *partial)
{
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);
    struct number x, y;
    struct f80 r;
    uint64_t q, rest;
    int difference, exponent;
    bool sign = f80_sign(a);

    *quotient = 0;
    *partial = false;
    if (special_operands(env, a, b, &r))
        return r;
    if (ca == F80_INFINITY || cb == F80_ZERO)
        return invalid(env);
    denormal_operand(env, a);
    denormal_operand(env, b);
    if (ca == F80_ZERO)
        return a;
    x = normalize(a);
    if (cb == F80_INFINITY)
        return f80_round_pack(env, x.sign, x.exponent, x.mantissa, 0, 64);
    y = normalize(b);
    difference = x.exponent - y.exponent;
    if (difference < -1 || (difference < 0 && !nearest))
        return f80_round_pack(env, x.sign, x.exponent, x.mantissa, 0, 64);
    exponent = y.exponent;
    if (difference >= 64) {
        /* Take off as many bits of the quotient as leave a multiple of 32 to go. */
        unsigned n = 32 + difference % 32;

        *partial = true;
        rest = reduce(x.mantissa, y.mantissa, n, &q);
        exponent += difference - n;
    } else if (difference < 0) {
        q = 0;
        rest = x.mantissa;
        exponent = x.exponent;
    } else {
        rest = reduce(x.mantissa, y.mantissa, difference, &q);
    }
    if (nearest && !*partial) {
        /* More than half of b, or half with an odd quotient: one b further. */
        u128 twice = difference < 0 ? rest : (u128)rest << 1;
        u128 m = y.mantissa;

        if (twice > m || (twice == m && (q & 1))) {
            rest = difference < 0 ? (u128)y.mantissa * 2 - rest : y.mantissa - rest;
            sign = !sign;
            q++;
        }
    }
    *quotient = *partial ? 0 : q & 7;
    if (!rest)
        return f80_make(f80_sign(a), 0, 0);
    x.exponent = exponent - __builtin_clzll(rest);
    return f80_round_pack(env, sign, x.exponent, rest << __builtin_clzll(rest), 0, 64);
}

/* Order of two numbers, none of them a NaN: -1, 0, 1. */
static int order(struct f80 a, struct f80 b)
{
    bool a_zero = f80_classify(a) == F80_ZERO, b_zero = f80_classify(b) == F80_ZERO;
    int sign = f80_sign(a) ? -1 : 1;
    struct number x, y;

    if (a_zero && b_zero)
        return 0;
    if (a_zero)
        return f80_sign(b) ? 1 : -1;
    if (b_zero)
        return sign;
    if (f80_sign(a) != f80_sign(b))
        return sign;
    x = normalize(a);
    y = normalize(b);
    if (x.exponent != y.exponent)
        return x.exponent > y.exponent ? sign : -sign;
    return x.mantissa == y.mantissa ? 0 : x.mantissa > y.mantissa ? sign : -sign;
}

uint16_t f80_compare(struct f80_env *env, struct f80 a, struct f80 b, bool quiet)
{
    static const uint16_t codes[3] = { FSW_C0, FSW_C3, 0 };
    enum f80_class ca = f80_classify(a), cb = f80_classify(b);

    if (ca == F80_UNSUPPORTED || cb == F80_UNSUPPORTED || ca == F80_NAN || cb == F80_NAN) {
        if (!quiet || ca == F80_UNSUPPORTED || cb == F80_UNSUPPORTED || f80_is_snan(a) ||
            f80_is_snan(b))
            env->flags |= FSW_IE;
        return FSW_C3 | FSW_C2 | FSW_C0;
    }
    denormal_operand(env, a);
    denormal_operand(env, b);
    return codes[order(a, b) + 1];
}
