/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 80-bit format in integers: arithmetic with every rounding mode and
 * precision, exact flags, and the responses to masked and unmasked exceptions
 * (SDM vol. 1, chapters 4 and 8).  In integers, because C has no way to ask for
 * precision control, for the direction of rounding (C1) and for the results that
 * unmasked overflow and underflow leave; and because hosts differ.
 */
#ifndef SOFTKVM_F80_H
#define SOFTKVM_F80_H

#include "fpu.h"

struct f80 {
    uint64_t mantissa;
    uint16_t sign_exponent;
};

/* One operation: control word in, FSW_* exceptions and C1 out (or-ed). */
struct f80_env {
    uint16_t control;
    uint16_t flags;
};

enum { F80_BIAS = 16383, F80_EXP_MAX = 0x7fff };

extern const struct f80 f80_indefinite, f80_zero, f80_one, f80_infinity;

static inline bool f80_sign(struct f80 a)
{
    return a.sign_exponent >> 15;
}

static inline unsigned f80_exponent(struct f80 a)
{
    return a.sign_exponent & F80_EXP_MAX;
}

static inline struct f80 f80_make(bool sign, unsigned exponent, uint64_t mantissa)
{
    return (struct f80){ .mantissa = mantissa, .sign_exponent = sign << 15 | exponent };
}

enum f80_class { F80_UNSUPPORTED, F80_NAN, F80_NORMAL, F80_INFINITY, F80_ZERO, F80_DENORMAL };

enum f80_class f80_classify(struct f80 a);
bool f80_is_snan(struct f80 a);

struct f80 f80_add(struct f80_env *env, struct f80 a, struct f80 b);
struct f80 f80_sub(struct f80_env *env, struct f80 a, struct f80 b);
struct f80 f80_mul(struct f80_env *env, struct f80 a, struct f80 b);
struct f80 f80_div(struct f80_env *env, struct f80 a, struct f80 b);
struct f80 f80_sqrt(struct f80_env *env, struct f80 a);
struct f80 f80_round_to_int(struct f80_env *env, struct f80 a);
struct f80 f80_scale(struct f80_env *env, struct f80 a, struct f80 b);

/*
 * f80_remainder - FPREM, or FPREM1 with nearest.  *quotient: its low three bits;
 * *partial: the reduction isn't complete.
 */
struct f80 f80_remainder(struct f80_env *env, struct f80 a, struct f80 b, bool nearest,
                         unsigned *quotient, bool *partial);

/* Unordered, less, equal, greater, as C3 C2 C0.  quiet: only signalling NaNs are invalid. */
uint16_t f80_compare(struct f80_env *env, struct f80 a, struct f80 b, bool quiet);

/* The NaN that comes of a and b, of which one is a NaN; raises #I for signalling ones. */
struct f80 f80_nan(struct f80_env *env, struct f80 a, struct f80 b);

struct f80 f80_from_f32(struct f80_env *env, uint32_t bits);
struct f80 f80_from_f64(struct f80_env *env, uint64_t bits);
struct f80 f80_from_int(int64_t value);
uint32_t f80_to_f32(struct f80_env *env, struct f80 a);
uint64_t f80_to_f64(struct f80_env *env, struct f80 a);

/* bits: 16, 32, 64; the integer indefinite and #I where it doesn't fit. */
int64_t f80_to_int(struct f80_env *env, struct f80 a, unsigned bits, bool truncate);

void f80_from_bcd(const uint8_t bcd[10], struct f80 *r);
void f80_to_bcd(struct f80_env *env, struct f80 a, uint8_t bcd[10]);

/*
 * f80_round_pack - the value sign * high.low * 2^(exponent - bias - 63), high's top
 * bit set, rounded to precision bits (24, 53, 64), with all that follows of it.
 */
struct f80 f80_round_pack(struct f80_env *env, bool sign, int exponent, uint64_t high,
                          uint64_t low, unsigned precision);

#endif
