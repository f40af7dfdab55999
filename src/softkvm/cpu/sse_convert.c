/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SSE conversions between integers and floating point, and rounding to integers
 * (CVT*, ROUND*; SDM vol. 2).
 *
 * From floating point to integers everything is done on the bits: C leaves what
 * doesn't fit undefined, and the flags must be exact.
 */
#include "sse_float.h"

/* value = (-1)^negative * mantissa * 2^exponent, unless special. */
struct unpacked {
    bool negative, special, nan;
    int exponent;
    uint64_t mantissa;
};

static struct unpacked unpack(uint64_t bits, unsigned fraction_bits, unsigned exponent_bits)
{
    unsigned max = (1u << exponent_bits) - 1, exponent = bits >> fraction_bits & max;
    uint64_t fraction = bits & ((1ull << fraction_bits) - 1);
    struct unpacked u = { .negative = bits >> (fraction_bits + exponent_bits) & 1 };

    u.special = exponent == max;
    u.nan = u.special && fraction;
    u.mantissa = exponent ? fraction | 1ull << fraction_bits : fraction;
    u.exponent = (int)(exponent ? exponent : 1) - (int)(max >> 1) - (int)fraction_bits;
    if (!exponent && (host_mxcsr() & MXCSR_DAZ))
        u.mantissa = 0;
    return u;
}

static struct unpacked unpack32(uint32_t bits)
{
    return unpack(bits, 23, 8);
}

static struct unpacked unpack64(uint64_t bits)
{
    return unpack(bits, 52, 11);
}

/* |value| below 2^64 as an integer by rounding control rc.  *inexact: something was lost. */
static uint64_t round_magnitude(const struct unpacked *u, unsigned rc, bool *inexact)
{
    unsigned shift;
    uint64_t whole, rest, half;
    bool up = false;

    *inexact = false;
    if (u->exponent >= 0)
        return u->mantissa << u->exponent;
    shift = -u->exponent;
    if (shift > 62) {                       /* far below a half */
        whole = 0;
        rest = u->mantissa != 0;
        half = 2;
    } else {
        whole = u->mantissa >> shift;
        rest = u->mantissa & ((1ull << shift) - 1);
        half = 1ull << (shift - 1);
    }
    *inexact = rest != 0;
    switch (rc) {
    case 0: up = rest > half || (rest == half && (whole & 1)); break;
    case 1: up = rest && u->negative; break;
    case 2: up = rest && !u->negative; break;
    }
    return whole + up;
}

/* To a signed integer of so many bits; the integer indefinite and #I when it doesn't fit. */
static uint64_t to_int(struct unpacked u, unsigned bits, unsigned rc)
{
    uint64_t limit = 1ull << (bits - 1), value;
    bool inexact;

    if (u.special || (u.mantissa && u.exponent > __builtin_clzll(u.mantissa))) {
        host_raise(MXCSR_IE);
        return limit;
    }
    value = round_magnitude(&u, rc, &inexact);
    if (value > limit - !u.negative) {
        host_raise(MXCSR_IE);
        return limit;
    }
    if (inexact)
        host_raise(MXCSR_PE);
    return u.negative ? -value : value;
}

enum { RC_TRUNCATE = 3 };

static unsigned current_rc(void)
{
    return host_mxcsr() >> MXCSR_RC_SHIFT & 3;
}

/* imm 1: truncate. */
static unsigned convert_rc(unsigned truncate)
{
    return truncate ? RC_TRUNCATE : current_rc();
}

/* Packed and scalar kernels to integers; imm: truncate. */
static union cpu_xmm kernel_ps2dq(union cpu_xmm a, union cpu_xmm b, unsigned truncate)
{
    for (unsigned i = 0; i < 4; i++)
        a.u32[i] = to_int(unpack32(b.u32[i]), 32, convert_rc(truncate));
    return a;
}

static union cpu_xmm kernel_ps2pi(union cpu_xmm a, union cpu_xmm b, unsigned truncate)
{
    for (unsigned i = 0; i < 2; i++)
        a.u32[i] = to_int(unpack32(b.u32[i]), 32, convert_rc(truncate));
    return a;
}

static union cpu_xmm kernel_pd2dq(union cpu_xmm a, union cpu_xmm b, unsigned truncate)
{
    uint32_t low = to_int(unpack64(b.u64[0]), 32, convert_rc(truncate));
    uint32_t high = to_int(unpack64(b.u64[1]), 32, convert_rc(truncate));

    return (union cpu_xmm){ .u32 = { low, high, 0, 0 } };
}

/* imm: truncate, and 2 for a 64-bit result. */
SSE_INLINE union cpu_xmm kernel_ss2si(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    a.u64[0] = to_int(unpack32(b.u32[0]), imm & 2 ? 64 : 32, convert_rc(imm & 1));
    return a;
}

SSE_INLINE union cpu_xmm kernel_sd2si(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    a.u64[0] = to_int(unpack64(b.u64[0]), imm & 2 ? 64 : 32, convert_rc(imm & 1));
    return a;
}

/* Packed kernels the other way, and between widths: C's conversions are the instruction's. */
static union cpu_xmm kernel_dq2ps(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    for (unsigned i = 0; i < 4; i++)
        a.f32[i] = b.s32[i];
    return a;
}

static union cpu_xmm kernel_dq2pd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return (union cpu_xmm){ .f64 = { b.s32[0], b.s32[1] } };
}

static union cpu_xmm kernel_pi2ps(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    a.f32[0] = b.s32[0];
    a.f32[1] = b.s32[1];
    return a;
}

static union cpu_xmm kernel_ps2pd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return (union cpu_xmm){ .f64 = { b.f32[0], b.f32[1] } };
}

static union cpu_xmm kernel_pd2ps(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    union cpu_xmm r = { .u64 = { 0, 0 } };

    r.f32[0] = b.f64[0];
    r.f32[1] = b.f64[1];
    return r;
}

static union cpu_xmm kernel_ss2sd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    a.f64[0] = b.f32[0];
    return a;
}

static union cpu_xmm kernel_sd2ss(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    a.f32[0] = b.f64[0];
    return a;
}

SSE_INLINE union cpu_xmm kernel_si2ss(union cpu_xmm a, union cpu_xmm b, unsigned wide)
{
    a.f32[0] = wide ? (float)b.s64[0] : (float)b.s32[0];
    return a;
}

SSE_INLINE union cpu_xmm kernel_si2sd(union cpu_xmm a, union cpu_xmm b, unsigned wide)
{
    a.f64[0] = wide ? (double)b.s64[0] : (double)b.s32[0];
    return a;
}

/* xmm from xmm or size_ bytes of memory, with a constant argument. */
#define CONVERT(name_, kernel_, imm_, size_, how_, result_)                                 \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        union cpu_xmm s, *d = &cpu->fpu.xmm[insn->reg];                                     \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_source(cpu, insn, size_, how | (how_), &s);                            \
        if (likely(status == CPU_OK))                                                       \
            status = float_run(cpu, kernel_, d, &s, imm_, how, result_, d);                 \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)
CONVERT(sse_cvtps2dq, kernel_ps2dq, 0, 16, SSE_ALIGNED, RESULT_OTHER)
CONVERT(sse_cvttps2dq, kernel_ps2dq, 1, 16, SSE_ALIGNED, RESULT_OTHER)
CONVERT(sse_cvtpd2dq, kernel_pd2dq, 0, 16, SSE_ALIGNED, RESULT_OTHER)
CONVERT(sse_cvttpd2dq, kernel_pd2dq, 1, 16, SSE_ALIGNED, RESULT_OTHER)
CONVERT(sse_cvtdq2ps, kernel_dq2ps, 0, 16, SSE_ALIGNED, RESULT_OTHER)
CONVERT(sse_cvtdq2pd, kernel_dq2pd, 0, 8, 0, RESULT_OTHER)
CONVERT(sse_cvtps2pd, kernel_ps2pd, 0, 8, 0, RESULT_OTHER)
CONVERT(sse_cvtpd2ps, kernel_pd2ps, 0, 16, SSE_ALIGNED, RESULT_PS)
CONVERT(sse_cvtss2sd, kernel_ss2sd, 0, 4, 0, RESULT_OTHER)
CONVERT(sse_cvtsd2ss, kernel_sd2ss, 0, 8, 0, RESULT_SS)

/* To a general register. */
#define CONVERT_TO_GPR(name_, kernel_, truncate_, size_)                                    \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        unsigned wide = insn->flags & INSN_REX_W ? 2 : 0;                                   \
        union cpu_xmm s, r = { .u64 = { 0, 0 } };                                           \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_source(cpu, insn, size_, how, &s);                                     \
        if (likely(status == CPU_OK))                                                       \
            status = float_run(cpu, kernel_, &r, &s, wide | truncate_, how, RESULT_OTHER,   \
                               &r);                                                         \
        if (likely(status == CPU_OK))                                                       \
            cpu->regs[insn->reg] = wide ? r.u64[0] : r.u32[0];                              \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)
CONVERT_TO_GPR(sse_cvtss2si, kernel_ss2si, 0, 4)
CONVERT_TO_GPR(sse_cvttss2si, kernel_ss2si, 1, 4)
CONVERT_TO_GPR(sse_cvtsd2si, kernel_sd2si, 0, 8)
CONVERT_TO_GPR(sse_cvttsd2si, kernel_sd2si, 1, 8)

/* From a general register or memory. */
#define CONVERT_FROM_GPR(name_, kernel_)                                                    \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        union cpu_xmm s = { .u64 = { 0, 0 } }, *d = &cpu->fpu.xmm[insn->reg];               \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_gpr_source(cpu, insn, how, &s.u64[0]);                                 \
        if (likely(status == CPU_OK))                                                       \
            status = float_run(cpu, kernel_, d, &s, insn->flags & INSN_REX_W, how,          \
                               RESULT_OTHER, d);                                            \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)
CONVERT_FROM_GPR(sse_cvtsi2ss, kernel_si2ss)
CONVERT_FROM_GPR(sse_cvtsi2sd, kernel_si2sd)

/*
 * From MMX.  From memory they leave the x87 state alone: AMD's processors both,
 * Intel's manual says so of CVTPI2PD only.
 */
static enum cpu_status convert_from_mmx(struct cpu *cpu, const struct insn *insn,
                                        float_kernel *kernel)
{
    union cpu_xmm s, *d = &cpu->fpu.xmm[insn->reg];
    bool memory = insn->flags & INSN_MEM;
    enum cpu_status status = !sse_usable(cpu) ? sse_unusable(cpu) :
                             memory ? CPU_OK : mmx_check(cpu);

    if (status == CPU_OK)
        status = mmx_source(cpu, insn, 8, &s);
    if (status == CPU_OK)
        status = float_run(cpu, kernel, d, &s, 0, 0, RESULT_OTHER, d);
    if (status == CPU_OK && !memory)
        mmx_touch(cpu);
    return status;
}

enum cpu_status sse_cvtpi2ps(struct cpu *cpu, const struct insn *insn)
{
    return convert_from_mmx(cpu, insn, kernel_pi2ps);
}

enum cpu_status sse_cvtpi2pd(struct cpu *cpu, const struct insn *insn)
{
    return convert_from_mmx(cpu, insn, kernel_dq2pd);
}

/* To MMX. */
#define CONVERT_TO_MMX(name_, kernel_, truncate_, size_, how_)                              \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        union cpu_xmm s, r = { .u64 = { 0, 0 } };                                           \
        enum cpu_status status = sse_usable(cpu) ? mmx_check(cpu) : sse_unusable(cpu);      \
                                                                                            \
        if (status == CPU_OK)                                                               \
            status = sse_source(cpu, insn, size_, how_, &s);                                \
        if (status == CPU_OK)                                                               \
            status = float_run(cpu, kernel_, &r, &s, truncate_, 0, RESULT_OTHER, &r);       \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        mmx_touch(cpu);                                                                     \
        mmx_set(cpu, insn->reg, r.u64[0]);                                                  \
        return CPU_OK;                                                                      \
    }
CONVERT_TO_MMX(sse_cvtps2pi, kernel_ps2pi, 0, 8, 0)
CONVERT_TO_MMX(sse_cvttps2pi, kernel_ps2pi, 1, 8, 0)
CONVERT_TO_MMX(sse_cvtpd2pi, kernel_pd2dq, 0, 16, SSE_ALIGNED)
CONVERT_TO_MMX(sse_cvttpd2pi, kernel_pd2dq, 1, 16, SSE_ALIGNED)

/* ROUND: imm bits 1:0 the mode, bit 2 MXCSR's instead, bit 3 no #P. */
static void round_with_flags(struct unpacked u, unsigned imm, uint64_t *magnitude)
{
    bool inexact;

    *magnitude = round_magnitude(&u, imm & 4 ? current_rc() : imm & 3, &inexact);
    if (inexact && !(imm & 8))
        host_raise(MXCSR_PE);
}

static uint32_t f32_round(uint32_t bits, unsigned imm)
{
    struct unpacked u = unpack32(bits);
    uint64_t magnitude;
    union cpu_xmm r;

    if (u.nan && !(bits & F32_QUIET))
        host_raise(MXCSR_IE);
    if (u.special || u.exponent >= 0)
        return u.nan ? bits | F32_QUIET : bits;
    round_with_flags(u, imm, &magnitude);
    r.f32[0] = (float)magnitude;            /* exact: 24 bits at most */
    return r.u32[0] | (bits & 0x80000000);
}

static uint64_t f64_round(uint64_t bits, unsigned imm)
{
    struct unpacked u = unpack64(bits);
    uint64_t magnitude;
    union cpu_xmm r;

    if (u.nan && !(bits & F64_QUIET))
        host_raise(MXCSR_IE);
    if (u.special || u.exponent >= 0)
        return u.nan ? bits | F64_QUIET : bits;
    round_with_flags(u, imm, &magnitude);
    r.f64[0] = (double)magnitude;           /* exact: 53 bits at most */
    return r.u64[0] | (bits & 1ull << 63);
}

static union cpu_xmm kernel_roundps(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    for (unsigned i = 0; i < 4; i++)
        a.u32[i] = f32_round(b.u32[i], imm);
    return a;
}

static union cpu_xmm kernel_roundss(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    a.u32[0] = f32_round(b.u32[0], imm);
    return a;
}

static union cpu_xmm kernel_roundpd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    for (unsigned i = 0; i < 2; i++)
        a.u64[i] = f64_round(b.u64[i], imm);
    return a;
}

static union cpu_xmm kernel_roundsd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    a.u64[0] = f64_round(b.u64[0], imm);
    return a;
}
FLOAT_OP(sse_roundps, kernel_roundps, 16, SSE_ALIGNED, RESULT_OTHER)
FLOAT_OP(sse_roundss, kernel_roundss, 4, 0, RESULT_OTHER)
FLOAT_OP(sse_roundpd, kernel_roundpd, 16, SSE_ALIGNED, RESULT_OTHER)
FLOAT_OP(sse_roundsd, kernel_roundsd, 8, 0, RESULT_OTHER)
