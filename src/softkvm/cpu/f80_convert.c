/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the 80-bit format and the others: single, double, integers, packed decimal. */
#include "f80.h"

#include <string.h>

#define TOP_BIT (1ull << 63)
#define QUIET_BIT (1ull << 62)

enum { RC_NEAREST, RC_DOWN, RC_UP, RC_ZERO };

/* A format of IEEE 754 with an implicit top bit. */
struct format {
    unsigned fraction_bits, exponent_bits;
};

static const struct format single = { 23, 8 }, double_ = { 52, 11 };

static unsigned format_max(const struct format *f)
{
    return (1u << f->exponent_bits) - 1;
}

static struct f80 widen(struct f80_env *env, uint64_t bits, const struct format *f)
{
    bool sign = bits >> (f->fraction_bits + f->exponent_bits) & 1;
    unsigned exponent = bits >> f->fraction_bits & format_max(f);
    unsigned bias = format_max(f) >> 1, shift = 63 - f->fraction_bits;
    uint64_t fraction = bits & ((1ull << f->fraction_bits) - 1);

    if (exponent == format_max(f))              /* infinity, or a NaN as it is */
        return f80_make(sign, F80_EXP_MAX, TOP_BIT | fraction << shift);
    if (exponent)
        return f80_make(sign, exponent - bias + F80_BIAS, TOP_BIT | fraction << shift);
    if (!fraction)
        return f80_make(sign, 0, 0);
    env->flags |= FSW_DE;
    fraction <<= shift;
    shift = __builtin_clzll(fraction);
    return f80_make(sign, 1 - bias + F80_BIAS - shift, fraction << shift);
}

struct f80 f80_from_f32(struct f80_env *env, uint32_t bits)
{
    return widen(env, bits, &single);
}

struct f80 f80_from_f64(struct f80_env *env, uint64_t bits)
{
    return widen(env, bits, &double_);
}

/*
 * Cut mantissa, with a value of which the lowest drop bits (1 to 64) are to go, by the
 * rounding control.  *lost: there was something.
 */
static uint64_t drop_bits(struct f80_env *env, bool sign, uint64_t mantissa, unsigned drop,
                          bool *lost)
{
    unsigned rc = env->control >> FCW_RC_SHIFT & 3;
    uint64_t whole, rest, half = 1ull << ((drop - 1) & 63);
    bool up = false;

    if (drop > 64) {                            /* less than a half of what is kept */
        whole = 0;
        rest = mantissa != 0;
        half = TOP_BIT;
    } else {
        whole = drop == 64 ? 0 : mantissa >> drop;
        rest = drop == 64 ? mantissa : mantissa & ((1ull << drop) - 1);
    }
    *lost = rest != 0;
    switch (rc) {
    case RC_NEAREST: up = rest > half || (rest == half && (whole & 1)); break;
    case RC_DOWN: up = rest && sign; break;
    case RC_UP: up = rest && !sign; break;
    }
    if (*lost && up)
        env->flags |= FSW_C1;
    return whole + up;
}

static uint64_t narrow_overflow(struct f80_env *env, bool sign, const struct format *f)
{
    unsigned rc = env->control >> FCW_RC_SHIFT & 3;
    uint64_t infinity = (uint64_t)format_max(f) << f->fraction_bits;

    env->flags = (env->flags & ~(FSW_C1 | FSW_PE)) | FSW_OE;
    if (!(env->control & FSW_OE))               /* nothing is stored, nor rounded */
        return infinity;
    env->flags |= FSW_PE;
    if (rc != RC_NEAREST && rc != (sign ? RC_DOWN : RC_UP))
        return infinity - 1;
    env->flags |= FSW_C1;
    return infinity;
}

/* A number below the format's normal range: exponent < 1. */
static uint64_t narrow_tiny(struct f80_env *env, bool sign, int exponent, uint64_t mantissa,
                            const struct format *f)
{
    struct f80_env trial = { .control = env->control };
    unsigned drop = 63 - f->fraction_bits;
    bool lost, tiny;
    uint64_t r;

    /* Tiny unless rounding with an unbounded exponent reaches the normal range. */
    r = drop_bits(&trial, sign, mantissa, drop, &lost);
    tiny = exponent < 0 || !(r >> (f->fraction_bits + 1));
    if (tiny && !(env->control & FSW_UE)) {     /* nothing is stored, nor rounded */
        env->flags |= FSW_UE;
        return 0;
    }
    r = drop_bits(env, sign, mantissa, drop + 1 - exponent, &lost);
    if (lost)
        env->flags |= FSW_PE;
    if (tiny && lost)
        env->flags |= FSW_UE;
    return r;
}

static uint64_t narrow(struct f80_env *env, struct f80 a, const struct format *f)
{
    enum f80_class class = f80_classify(a);
    bool sign = f80_sign(a), lost;
    uint64_t sign_bit = (uint64_t)sign << (f->fraction_bits + f->exponent_bits), r;
    unsigned drop = 63 - f->fraction_bits;
    uint64_t infinity = (uint64_t)format_max(f) << f->fraction_bits;
    int exponent = (int)f80_exponent(a) - F80_BIAS + (int)(format_max(f) >> 1);

    switch (class) {
    case F80_UNSUPPORTED:
        env->flags |= FSW_IE;
        a = f80_indefinite;
        sign_bit = 1ull << (f->fraction_bits + f->exponent_bits);
        return sign_bit | infinity | (a.mantissa & ~TOP_BIT) >> drop;
    case F80_NAN:
        if (f80_is_snan(a))
            env->flags |= FSW_IE;
        return sign_bit | infinity | ((a.mantissa | QUIET_BIT) & ~TOP_BIT) >> drop;
    case F80_INFINITY:
        return sign_bit | infinity;
    case F80_ZERO:
        return sign_bit;
    case F80_DENORMAL:
    case F80_NORMAL:
        break;
    }
    if (exponent < 1)
        return sign_bit | narrow_tiny(env, sign, exponent, a.mantissa, f);
    r = drop_bits(env, sign, a.mantissa, drop, &lost);
    if (lost)
        env->flags |= FSW_PE;
    /* The top bit of r, or its carry, adds itself to the exponent. */
    r += (uint64_t)(exponent - 1) << f->fraction_bits;
    if (exponent > (int)format_max(f) || r >= infinity)
        return sign_bit | narrow_overflow(env, sign, f);
    return sign_bit | r;
}

uint32_t f80_to_f32(struct f80_env *env, struct f80 a)
{
    return narrow(env, a, &single);
}

uint64_t f80_to_f64(struct f80_env *env, struct f80 a)
{
    return narrow(env, a, &double_);
}

struct f80 f80_from_int(int64_t value)
{
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    int shift;

    if (!value)
        return f80_zero;
    shift = __builtin_clzll(magnitude);
    return f80_make(value < 0, F80_BIAS + 63 - shift, magnitude << shift);
}

/* |a| rounded to an integer below 2^64; false: not a number, or larger. */
static bool magnitude_of(struct f80_env *env, struct f80 a, uint64_t *magnitude, bool *lost)
{
    enum f80_class class = f80_classify(a);
    int drop = F80_BIAS + 63 - (int)f80_exponent(a);

    *lost = false;
    *magnitude = 0;
    if (class == F80_ZERO)
        return true;
    if ((class != F80_NORMAL && class != F80_DENORMAL) || drop < 0)
        return false;
    if (drop == 0)
        *magnitude = a.mantissa;
    else
        *magnitude = drop_bits(env, f80_sign(a), a.mantissa, drop, lost);
    return true;
}

int64_t f80_to_int(struct f80_env *env, struct f80 a, unsigned bits, bool truncate)
{
    struct f80_env trial = { .control = env->control | (truncate ? FCW_RC : 0) };
    uint64_t limit = 1ull << (bits - 1), magnitude;
    bool lost;

    if (!magnitude_of(&trial, a, &magnitude, &lost) || magnitude > limit - !f80_sign(a)) {
        env->flags |= FSW_IE;
        return -limit;
    }
    env->flags |= trial.flags;
    if (lost)
        env->flags |= FSW_PE;
    return f80_sign(a) ? -magnitude : magnitude;
}

void f80_from_bcd(const uint8_t bcd[10], struct f80 *r)
{
    uint64_t value = 0;

    for (unsigned i = 9; i-- > 0;)
        value = value * 100 + (bcd[i] >> 4) * 10 + (bcd[i] & 15);
    *r = f80_from_int(value);
    if (bcd[9] & 0x80)
        r->sign_exponent |= 0x8000;
}

void f80_to_bcd(struct f80_env *env, struct f80 a, uint8_t bcd[10])
{
    static const uint8_t indefinite[10] = { 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff };
    struct f80_env trial = { .control = env->control };
    uint64_t magnitude;
    bool lost;

    if (!magnitude_of(&trial, a, &magnitude, &lost) || magnitude > 999999999999999999) {
        env->flags |= FSW_IE;
        memcpy(bcd, indefinite, 10);
        return;
    }
    env->flags |= trial.flags;
    if (lost)
        env->flags |= FSW_PE;
    for (unsigned i = 0; i < 9; i++) {
        bcd[i] = magnitude % 10 | magnitude / 10 % 10 << 4;
        magnitude /= 100;
    }
    bcd[9] = f80_sign(a) ? 0x80 : 0;
}
