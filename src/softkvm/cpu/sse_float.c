/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SSE floating-point arithmetic and comparison: ADDPS and its kin, MIN, MAX, SQRT,
 * RCP, RSQRT, CMP, COMI, horizontal sums and dot products.
 *
 * The host computes; which NaN comes out is settled here, because it depends on
 * the order of operands, which compilers are free to change (SDM vol. 1, table 4-7).
 */
#include "sse_float.h"
#include "flags.h"

#include <math.h>

typedef float v4sf __attribute__((vector_size(16)));
typedef double v2df __attribute__((vector_size(16)));

union lanes {
    union cpu_xmm x;
    v4sf ps;
    v2df pd;
};

/* Is some lane of the result tiny and not 0? */
static bool result_is_tiny(const union cpu_xmm *r, enum sse_result result)
{
    unsigned n = result == RESULT_PS ? 4 : result == RESULT_PD ? 2 : 1;

    for (unsigned i = 0; i < n; i++) {
        if (result == RESULT_PS || result == RESULT_SS) {
            if (!(r->u32[i] & 0x7f800000) && (r->u32[i] & 0x7fffffff))
                return true;
        } else if (!(r->u64[i] & 0x7ff0000000000000) && (r->u64[i] & INT64_MAX)) {
            return true;
        }
    }
    return false;
}

/*
 * SDM vol. 1, section 11.5: faults of operands come before those of results.
 * Two things are seen only by the handler of an unmasked overflow or underflow and
 * differ: #P tells of the masked result, not of one with an unbounded exponent, and
 * dot products aren't cut short after the step that overflows.
 */
enum cpu_status sse_checked(struct cpu *cpu, float_kernel *kernel, const union cpu_xmm *a,
                            const union cpu_xmm *b, unsigned imm, enum sse_result result,
                            union cpu_xmm *r)
{
    uint32_t unmasked = ~(cpu->fpu.mxcsr >> MXCSR_MASK_SHIFT) & MXCSR_FLAGS, flags, early;
    float_kernel *volatile opaque = kernel;     /* so that it isn't inlined and moved about */
    union cpu_xmm value;

    fpu_sync(cpu);
    fpu_apply(cpu);
    value = opaque(*a, *b, imm);
    flags = host_mxcsr() & MXCSR_FLAGS;
    fpu_apply(cpu);

    early = flags & (MXCSR_IE | MXCSR_DE | MXCSR_ZE);
    if (early & unmasked)
        flags = early;
    else if ((unmasked & MXCSR_UE) && result != RESULT_OTHER && result_is_tiny(&value, result))
        flags |= MXCSR_UE;
    cpu->fpu.mxcsr |= flags;
    if (flags & unmasked)
        return raise_fault(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
    *r = value;
    return CPU_OK;
}

/* The NaN that comes of operands a and b, known to come of them. */
static uint32_t f32_nan(uint32_t a, uint32_t b)
{
    return f32_is_nan(a) ? a | F32_QUIET : f32_is_nan(b) ? b | F32_QUIET : F32_DEFAULT_NAN;
}

static uint64_t f64_nan(uint64_t a, uint64_t b)
{
    return f64_is_nan(a) ? a | F64_QUIET : f64_is_nan(b) ? b | F64_QUIET : F64_DEFAULT_NAN;
}

static __attribute__((noinline, cold)) union cpu_xmm fix_ps(union cpu_xmm r, union cpu_xmm a,
                                                            union cpu_xmm b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (f32_is_nan(r.u32[i]))
            r.u32[i] = f32_nan(a.u32[i], b.u32[i]);
    return r;
}

static __attribute__((noinline, cold)) union cpu_xmm fix_pd(union cpu_xmm r, union cpu_xmm a,
                                                            union cpu_xmm b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (f64_is_nan(r.u64[i]))
            r.u64[i] = f64_nan(a.u64[i], b.u64[i]);
    return r;
}

/* Sums of truths rather than ||: one branch for all lanes. */
#define ARITHMETIC(name_, op_)                                                              \
    SSE_INLINE union cpu_xmm kernel_##name_##ps(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        union lanes x = { a }, y = { b }, r;                                                \
                                                                                            \
        r.ps = x.ps op_ y.ps;                                                               \
        if (unlikely(f32_is_nan(r.x.u32[0]) + f32_is_nan(r.x.u32[1]) +                      \
                     f32_is_nan(r.x.u32[2]) + f32_is_nan(r.x.u32[3])))                      \
            return fix_ps(r.x, a, b, 4);                                                    \
        return r.x;                                                                         \
    }                                                                                       \
    SSE_INLINE union cpu_xmm kernel_##name_##ss(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        union cpu_xmm r = a;                                                                \
                                                                                            \
        r.f32[0] = a.f32[0] op_ b.f32[0];                                                   \
        return unlikely(f32_is_nan(r.u32[0])) ? fix_ps(r, a, b, 1) : r;                     \
    }                                                                                       \
    SSE_INLINE union cpu_xmm kernel_##name_##pd(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        union lanes x = { a }, y = { b }, r;                                                \
                                                                                            \
        r.pd = x.pd op_ y.pd;                                                               \
        if (unlikely(f64_is_nan(r.x.u64[0]) + f64_is_nan(r.x.u64[1])))                      \
            return fix_pd(r.x, a, b, 2);                                                    \
        return r.x;                                                                         \
    }                                                                                       \
    SSE_INLINE union cpu_xmm kernel_##name_##sd(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        union cpu_xmm r = a;                                                                \
                                                                                            \
        r.f64[0] = a.f64[0] op_ b.f64[0];                                                   \
        return unlikely(f64_is_nan(r.u64[0])) ? fix_pd(r, a, b, 1) : r;                     \
    }                                                                                       \
    FLOAT_OP(sse_##name_##ps, kernel_##name_##ps, 16, SSE_ALIGNED, RESULT_PS)               \
    FLOAT_OP(sse_##name_##ss, kernel_##name_##ss, 4, 0, RESULT_SS)                          \
    FLOAT_OP(sse_##name_##pd, kernel_##name_##pd, 16, SSE_ALIGNED, RESULT_PD)               \
    FLOAT_OP(sse_##name_##sd, kernel_##name_##sd, 8, 0, RESULT_SD)
ARITHMETIC(add, +)
ARITHMETIC(sub, -)
ARITHMETIC(mul, *)
ARITHMETIC(div, /)

/* Of one lane: f32 and f64 functions of two values, then four instructions of them. */
#define PER_LANE(name_, f32_fn_, f64_fn_)                                                   \
    SSE_INLINE union cpu_xmm kernel_##name_##ps(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        union cpu_xmm r;                                                                    \
                                                                                            \
        for (unsigned i = 0; i < 4; i++)                                                    \
            r.u32[i] = f32_fn_(a.u32[i], b.u32[i], imm);                                    \
        return r;                                                                           \
    }                                                                                       \
    SSE_INLINE union cpu_xmm kernel_##name_##ss(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        a.u32[0] = f32_fn_(a.u32[0], b.u32[0], imm);                                        \
        return a;                                                                           \
    }                                                                                       \
    SSE_INLINE union cpu_xmm kernel_##name_##pd(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        union cpu_xmm r;                                                                    \
                                                                                            \
        for (unsigned i = 0; i < 2; i++)                                                    \
            r.u64[i] = f64_fn_(a.u64[i], b.u64[i], imm);                                    \
        return r;                                                                           \
    }                                                                                       \
    SSE_INLINE union cpu_xmm kernel_##name_##sd(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        a.u64[0] = f64_fn_(a.u64[0], b.u64[0], imm);                                        \
        return a;                                                                           \
    }                                                                                       \
    FLOAT_OP(sse_##name_##ps, kernel_##name_##ps, 16, SSE_ALIGNED, RESULT_OTHER)            \
    FLOAT_OP(sse_##name_##ss, kernel_##name_##ss, 4, 0, RESULT_OTHER)                       \
    FLOAT_OP(sse_##name_##pd, kernel_##name_##pd, 16, SSE_ALIGNED, RESULT_OTHER)            \
    FLOAT_OP(sse_##name_##sd, kernel_##name_##sd, 8, 0, RESULT_OTHER)

union f32_bits {
    uint32_t u;
    float f;
};

union f64_bits {
    uint64_t u;
    double f;
};

/*
 * One width of everything that is done lane by lane.
 *
 * Comparisons raise their flags here, from the bits: compilers are free to drop
 * or sink a comparison whose outcome they can do without.  MIN and MAX are the
 * manual's asymmetric ones: the second operand unless the first is truly less
 * (greater).  Denormal operands count as zeroes under DAZ, also as results.
 */
#define LANE_FUNCTIONS(width_, sqrt_, exponent_, quiet_bit_)                                \
    SSE_INLINE bool f##width_##_is_denormal(uint##width_##_t bits)                          \
    {                                                                                       \
        return !(bits & (exponent_)) && (uint##width_##_t)(bits << 1);                      \
    }                                                                                       \
    SSE_INLINE uint##width_##_t f##width_##_daz(uint##width_##_t bits)                      \
    {                                                                                       \
        if (unlikely(f##width_##_is_denormal(bits)) && (host_mxcsr() & MXCSR_DAZ))          \
            return bits & (uint##width_##_t)1 << (width_ - 1);                              \
        return bits;                                                                        \
    }                                                                                       \
    /* #I and #D of comparing a and b.  True: unordered. */                                 \
    SSE_INLINE bool f##width_##_unordered(uint##width_##_t a, uint##width_##_t b,           \
                                          bool signals_quiet)                               \
    {                                                                                       \
        bool a_nan = f##width_##_is_nan(a), b_nan = f##width_##_is_nan(b);                  \
                                                                                            \
        if (unlikely(a_nan || b_nan)) {                                                     \
            if (signals_quiet || (a_nan && !(a & (quiet_bit_))) ||                          \
                (b_nan && !(b & (quiet_bit_))))                                             \
                host_raise(MXCSR_IE);                                                       \
            return true;                                                                    \
        }                                                                                   \
        if (unlikely(f##width_##_is_denormal(a) || f##width_##_is_denormal(b)) &&           \
            !(host_mxcsr() & MXCSR_DAZ))                                                    \
            host_raise(MXCSR_DE);                                                           \
        return false;                                                                       \
    }                                                                                       \
    SSE_INLINE uint##width_##_t f##width_##_min(uint##width_##_t a, uint##width_##_t b,     \
                                                unsigned imm)                               \
    {                                                                                       \
        union f##width_##_bits x = { a }, y = { b };                                        \
                                                                                            \
        if (f##width_##_unordered(a, b, true))                                              \
            return f##width_##_daz(b);                                                      \
        return f##width_##_daz(x.f < y.f ? a : b);                                          \
    }                                                                                       \
    SSE_INLINE uint##width_##_t f##width_##_max(uint##width_##_t a, uint##width_##_t b,     \
                                                unsigned imm)                               \
    {                                                                                       \
        union f##width_##_bits x = { a }, y = { b };                                        \
                                                                                            \
        if (f##width_##_unordered(a, b, true))                                              \
            return f##width_##_daz(b);                                                      \
        return f##width_##_daz(x.f > y.f ? a : b);                                          \
    }                                                                                       \
    SSE_INLINE uint##width_##_t f##width_##_sqrt(uint##width_##_t a, uint##width_##_t b,    \
                                                 unsigned imm)                              \
    {                                                                                       \
        union f##width_##_bits r = { b };                                                   \
                                                                                            \
        r.f = sqrt_(r.f);                                                                   \
        return unlikely(f##width_##_is_nan(r.u)) ? f##width_##_nan(b, b) : r.u;             \
    }                                                                                       \
    /* The eight predicates: 1, 2 and their negations 5, 6 signal quiet NaNs. */            \
    SSE_INLINE uint##width_##_t f##width_##_cmp(uint##width_##_t a, uint##width_##_t b,     \
                                                unsigned imm)                               \
    {                                                                                       \
        union f##width_##_bits x = { a }, y = { b };                                        \
        unsigned predicate = imm & 3;                                                       \
        bool unordered = f##width_##_unordered(a, b, predicate == 1 || predicate == 2);     \
        bool yes = unordered ? predicate == 3 : predicate == 0 ? x.f == y.f :               \
                   predicate == 1 ? x.f < y.f : predicate == 2 && x.f <= y.f;               \
                                                                                            \
        return yes != (imm >> 2 & 1) ? ~(uint##width_##_t)0 : 0;                            \
    }                                                                                       \
    /* COMI (signals quiet NaNs) and UCOMI: arithmetic flags. */                            \
    SSE_INLINE union cpu_xmm kernel_comi##width_(union cpu_xmm a, union cpu_xmm b,          \
                                                 unsigned quiet)                            \
    {                                                                                       \
        union f##width_##_bits x = { a.u##width_[0] }, y = { b.u##width_[0] };              \
        union cpu_xmm r = { .u64 = { 0, 0 } };                                              \
                                                                                            \
        if (f##width_##_unordered(x.u, y.u, !quiet))                                        \
            r.u32[0] = FLAG_ZF | FLAG_PF | FLAG_CF;                                         \
        else                                                                                \
            r.u32[0] = x.f < y.f ? FLAG_CF : x.f == y.f ? FLAG_ZF : 0;                      \
        return r;                                                                           \
    }
LANE_FUNCTIONS(32, sqrtf, 0x7f800000, F32_QUIET)
LANE_FUNCTIONS(64, sqrt, 0x7ff0000000000000, F64_QUIET)
PER_LANE(min, f32_min, f64_min)
PER_LANE(max, f32_max, f64_max)
PER_LANE(sqrt, f32_sqrt, f64_sqrt)
PER_LANE(cmp, f32_cmp, f64_cmp)

#define COMPARE_FLAGS(name_, width_, quiet_)                                                \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        union cpu_xmm s, r;                                                                 \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_source(cpu, insn, width_ / 8, how, &s);                                \
        if (likely(status == CPU_OK))                                                       \
            status = float_run(cpu, kernel_comi##width_, &cpu->fpu.xmm[insn->reg], &s,      \
                               quiet_, how, RESULT_OTHER, &r);                              \
        if (likely(status == CPU_OK))                                                       \
            flags_set_arith(cpu, r.u32[0]);                                                 \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)
COMPARE_FLAGS(sse_comiss, 32, 0)
COMPARE_FLAGS(sse_ucomiss, 32, 1)
COMPARE_FLAGS(sse_comisd, 64, 0)
COMPARE_FLAGS(sse_ucomisd, 64, 1)

/* Sums with the NaN rule, for the instructions that add across lanes. */
static uint32_t f32_add(uint32_t a, uint32_t b, bool subtract)
{
    union f32_bits x = { a }, y = { b }, r;

    r.f = subtract ? x.f - y.f : x.f + y.f;
    return f32_is_nan(r.u) ? f32_nan(a, b) : r.u;
}

static uint64_t f64_add(uint64_t a, uint64_t b, bool subtract)
{
    union f64_bits x = { a }, y = { b }, r;

    r.f = subtract ? x.f - y.f : x.f + y.f;
    return f64_is_nan(r.u) ? f64_nan(a, b) : r.u;
}

#define HORIZONTAL_FLOAT(name_, subtract_)                                                  \
    static union cpu_xmm kernel_h##name_##ps(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        return (union cpu_xmm){ .u32 = { f32_add(a.u32[0], a.u32[1], subtract_),            \
                                         f32_add(a.u32[2], a.u32[3], subtract_),            \
                                         f32_add(b.u32[0], b.u32[1], subtract_),            \
                                         f32_add(b.u32[2], b.u32[3], subtract_) } };        \
    }                                                                                       \
    static union cpu_xmm kernel_h##name_##pd(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        return (union cpu_xmm){ .u64 = { f64_add(a.u64[0], a.u64[1], subtract_),            \
                                         f64_add(b.u64[0], b.u64[1], subtract_) } };        \
    }                                                                                       \
    FLOAT_OP(sse_h##name_##ps, kernel_h##name_##ps, 16, SSE_ALIGNED, RESULT_PS)             \
    FLOAT_OP(sse_h##name_##pd, kernel_h##name_##pd, 16, SSE_ALIGNED, RESULT_PD)
HORIZONTAL_FLOAT(add, false)
HORIZONTAL_FLOAT(sub, true)

static union cpu_xmm kernel_addsubps(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    for (unsigned i = 0; i < 4; i++)
        a.u32[i] = f32_add(a.u32[i], b.u32[i], !(i & 1));
    return a;
}

static union cpu_xmm kernel_addsubpd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    for (unsigned i = 0; i < 2; i++)
        a.u64[i] = f64_add(a.u64[i], b.u64[i], !(i & 1));
    return a;
}
FLOAT_OP(sse_addsubps, kernel_addsubps, 16, SSE_ALIGNED, RESULT_PS)
FLOAT_OP(sse_addsubpd, kernel_addsubpd, 16, SSE_ALIGNED, RESULT_PD)

/* Dot products: high nibble of imm chooses what is multiplied, low what is written. */
static union cpu_xmm kernel_dpps(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    uint32_t product[4], sum;
    union cpu_xmm r;

    for (unsigned i = 0; i < 4; i++) {
        union cpu_xmm x = { .u32 = { a.u32[i] } }, y = { .u32 = { b.u32[i] } };

        product[i] = imm >> (4 + i) & 1 ? kernel_mulss(x, y, 0).u32[0] : 0;
    }
    sum = f32_add(f32_add(product[0], product[1], false), f32_add(product[2], product[3], false),
                  false);
    for (unsigned i = 0; i < 4; i++)
        r.u32[i] = imm >> i & 1 ? sum : 0;
    return r;
}

static union cpu_xmm kernel_dppd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    uint64_t product[2], sum;
    union cpu_xmm r;

    for (unsigned i = 0; i < 2; i++) {
        union cpu_xmm x = { .u64 = { a.u64[i] } }, y = { .u64 = { b.u64[i] } };

        product[i] = imm >> (4 + i) & 1 ? kernel_mulsd(x, y, 0).u64[0] : 0;
    }
    sum = f64_add(product[0], product[1], false);
    for (unsigned i = 0; i < 2; i++)
        r.u64[i] = imm >> i & 1 ? sum : 0;
    return r;
}
FLOAT_OP(sse_dpps, kernel_dpps, 16, SSE_ALIGNED, RESULT_PS)
FLOAT_OP(sse_dppd, kernel_dppd, 16, SSE_ALIGNED, RESULT_PD)

/*
 * RCP and RSQRT: approximations that raise nothing, ignore the rounding mode and
 * take denormals for zeroes (SDM vol. 2).  Real processors differ from one another
 * within 1.5 * 2^-12; ours are right to the last bit and then cut to 12 bits.
 */
static uint32_t approximate(uint32_t b, bool root)
{
    uint32_t saved, sign = b & 0x80000000;
    union f32_bits x = { b };
    volatile float value;           /* keeps the arithmetic between the two settings */

    if (f32_is_nan(b))
        return b | F32_QUIET;
    if (!(b & 0x7f800000))
        return sign | 0x7f800000;
    if (root && sign)
        return F32_DEFAULT_NAN;
    if (b == (sign | 0x7f800000))
        return sign;
    saved = host_mxcsr();
    host_set_mxcsr(MXCSR_DEFAULT);
    value = x.f;
    value = root ? 1 / sqrtf(value) : 1 / value;
    x.f = value;
    host_set_mxcsr(saved);
    if (!(x.u & 0x7f800000))
        return sign;
    return (x.u + 0x400) & ~0x7ffu;
}

static uint32_t f32_rcp(uint32_t a, uint32_t b, unsigned imm)
{
    return approximate(b, false);
}

static uint32_t f32_rsqrt(uint32_t a, uint32_t b, unsigned imm)
{
    return approximate(b, true);
}

#define APPROXIMATE(name_)                                                                  \
    static union cpu_xmm kernel_##name_##ps(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        for (unsigned i = 0; i < 4; i++)                                                    \
            a.u32[i] = f32_##name_(a.u32[i], b.u32[i], imm);                                \
        return a;                                                                           \
    }                                                                                       \
    static union cpu_xmm kernel_##name_##ss(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        a.u32[0] = f32_##name_(a.u32[0], b.u32[0], imm);                                    \
        return a;                                                                           \
    }                                                                                       \
    FLOAT_OP(sse_##name_##ps, kernel_##name_##ps, 16, SSE_ALIGNED, RESULT_OTHER)            \
    FLOAT_OP(sse_##name_##ss, kernel_##name_##ss, 4, 0, RESULT_OTHER)
APPROXIMATE(rcp)
APPROXIMATE(rsqrt)
