/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lane-wise integer instructions of MMX, SSE2, SSSE3 and SSE4.1 (SDM vol. 2,
 * the P* instructions): arithmetic, logic, comparison, shifts.
 */
#include "flags.h"
#include "sse.h"

/* union cpu_xmm kernel(a, b): r.field[i] = expr of A and B, the lanes as they are. */
#define LANES(name_, field_, expr_)                                                         \
    SSE_INLINE union cpu_xmm kernel_##name_(union cpu_xmm a, union cpu_xmm b)               \
    {                                                                                       \
        union cpu_xmm r;                                                                    \
                                                                                            \
        for (unsigned i = 0; i < sizeof(r) / sizeof(r.field_[0]); i++) {                    \
            __typeof__(r.field_[0]) A = a.field_[i], B = b.field_[i];                       \
                                                                                            \
            (void)A;                                                                        \
            r.field_[i] = (expr_);                                                          \
        }                                                                                   \
        return r;                                                                           \
    }

SSE_INLINE int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

#define PACKED_LANES(name_, field_, expr_)                                                  \
    LANES(name_, field_, expr_)                                                             \
    PACKED(name_, kernel_##name_)

#define SSE_LANES(name_, field_, expr_)                                                     \
    LANES(name_, field_, expr_)                                                             \
    SSE_BINARY(sse_##name_, kernel_##name_)

/* Add and subtract: wrapping, signed and unsigned saturation. */
PACKED_LANES(paddb, u8, A + B)
PACKED_LANES(paddw, u16, A + B)
PACKED_LANES(paddd, u32, A + B)
PACKED_LANES(paddq, u64, A + B)
PACKED_LANES(psubb, u8, A - B)
PACKED_LANES(psubw, u16, A - B)
PACKED_LANES(psubd, u32, A - B)
PACKED_LANES(psubq, u64, A - B)
PACKED_LANES(paddsb, s8, clamp(A + B, INT8_MIN, INT8_MAX))
PACKED_LANES(paddsw, s16, clamp(A + B, INT16_MIN, INT16_MAX))
PACKED_LANES(psubsb, s8, clamp(A - B, INT8_MIN, INT8_MAX))
PACKED_LANES(psubsw, s16, clamp(A - B, INT16_MIN, INT16_MAX))
PACKED_LANES(paddusb, u8, A + B > UINT8_MAX ? UINT8_MAX : A + B)
PACKED_LANES(paddusw, u16, A + B > UINT16_MAX ? UINT16_MAX : A + B)
PACKED_LANES(psubusb, u8, A > B ? A - B : 0)
PACKED_LANES(psubusw, u16, A > B ? A - B : 0)

/* Multiply. */
PACKED_LANES(pmullw, s16, A * B)
PACKED_LANES(pmulhw, s16, (A * B) >> 16)
PACKED_LANES(pmulhuw, u16, ((uint32_t)A * B) >> 16)
PACKED_LANES(pmulhrsw, s16, ((A * B >> 14) + 1) >> 1)
SSE_LANES(pmulld, u32, A * B)
PACKED_LANES(pmuludq, u64, (uint64_t)(uint32_t)A * (uint32_t)B)
SSE_LANES(pmuldq, s64, (int64_t)(int32_t)A * (int32_t)B)

/* Minimum, maximum, average, absolute value, sign. */
PACKED_LANES(pminub, u8, A < B ? A : B)
PACKED_LANES(pmaxub, u8, A > B ? A : B)
PACKED_LANES(pminsw, s16, A < B ? A : B)
PACKED_LANES(pmaxsw, s16, A > B ? A : B)
SSE_LANES(pminsb, s8, A < B ? A : B)
SSE_LANES(pmaxsb, s8, A > B ? A : B)
SSE_LANES(pminuw, u16, A < B ? A : B)
SSE_LANES(pmaxuw, u16, A > B ? A : B)
SSE_LANES(pminsd, s32, A < B ? A : B)
SSE_LANES(pmaxsd, s32, A > B ? A : B)
SSE_LANES(pminud, u32, A < B ? A : B)
SSE_LANES(pmaxud, u32, A > B ? A : B)
PACKED_LANES(pavgb, u8, (A + B + 1) >> 1)
PACKED_LANES(pavgw, u16, (A + B + 1) >> 1)
PACKED_LANES(pabsb, u8, (int8_t)B < 0 ? -B : B)
PACKED_LANES(pabsw, u16, (int16_t)B < 0 ? -B : B)
PACKED_LANES(pabsd, u32, (int32_t)B < 0 ? -B : B)
PACKED_LANES(psignb, u8, (int8_t)B < 0 ? -A : B ? A : 0)
PACKED_LANES(psignw, u16, (int16_t)B < 0 ? -A : B ? A : 0)
PACKED_LANES(psignd, u32, (int32_t)B < 0 ? -A : B ? A : 0)

/* Compare. */
PACKED_LANES(pcmpeqb, u8, A == B ? -1 : 0)
PACKED_LANES(pcmpeqw, u16, A == B ? -1 : 0)
PACKED_LANES(pcmpeqd, u32, A == B ? -1 : 0)
SSE_LANES(pcmpeqq, u64, A == B ? -1 : 0)
PACKED_LANES(pcmpgtb, s8, A > B ? -1 : 0)
PACKED_LANES(pcmpgtw, s16, A > B ? -1 : 0)
PACKED_LANES(pcmpgtd, s32, A > B ? -1 : 0)
SSE_LANES(pcmpgtq, s64, A > B ? -1 : 0)

/* Logic; ANDPS, ANDPD and the like are the same. */
PACKED_LANES(pand, u64, A & B)
PACKED_LANES(pandn, u64, ~A & B)
PACKED_LANES(por, u64, A | B)
PACKED_LANES(pxor, u64, A ^ B)

/* Sums across lanes. */
SSE_INLINE union cpu_xmm kernel_pmaddwd(union cpu_xmm a, union cpu_xmm b)
{
    union cpu_xmm r;

    for (unsigned i = 0; i < 4; i++)
        r.u32[i] = (uint32_t)(a.s16[2 * i] * b.s16[2 * i]) +
                   (uint32_t)(a.s16[2 * i + 1] * b.s16[2 * i + 1]);
    return r;
}
PACKED(pmaddwd, kernel_pmaddwd)

SSE_INLINE union cpu_xmm kernel_pmaddubsw(union cpu_xmm a, union cpu_xmm b)
{
    union cpu_xmm r;

    for (unsigned i = 0; i < 8; i++)
        r.s16[i] = clamp(a.u8[2 * i] * b.s8[2 * i] + a.u8[2 * i + 1] * b.s8[2 * i + 1],
                         INT16_MIN, INT16_MAX);
    return r;
}
PACKED(pmaddubsw, kernel_pmaddubsw)

SSE_INLINE union cpu_xmm kernel_psadbw(union cpu_xmm a, union cpu_xmm b)
{
    union cpu_xmm r = { .u64 = { 0, 0 } };

    for (unsigned i = 0; i < 16; i++)
        r.u64[i / 8] += a.u8[i] > b.u8[i] ? a.u8[i] - b.u8[i] : b.u8[i] - a.u8[i];
    return r;
}
PACKED(psadbw, kernel_psadbw)

SSE_INLINE union cpu_xmm kernel_phminposuw(union cpu_xmm a, union cpu_xmm b)
{
    union cpu_xmm r = { .u64 = { 0, 0 } };
    unsigned best = 0;

    for (unsigned i = 1; i < 8; i++)
        if (b.u16[i] < b.u16[best])
            best = i;
    r.u16[0] = b.u16[best];
    r.u16[1] = best;
    return r;
}
SSE_BINARY(sse_phminposuw, kernel_phminposuw)

SSE_INLINE union cpu_xmm kernel_mpsadbw(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    const uint8_t *four = &b.u8[(imm & 3) * 4], *window = &a.u8[(imm & 4)];
    union cpu_xmm r;

    for (unsigned i = 0; i < 8; i++) {
        r.u16[i] = 0;
        for (unsigned j = 0; j < 4; j++)
            r.u16[i] += window[i + j] > four[j] ? window[i + j] - four[j]
                                                : four[j] - window[i + j];
    }
    return r;
}
SSE_BINARY_IMM(sse_mpsadbw, kernel_mpsadbw)

/*
 * Horizontal: pairs of a, then pairs of b.  In MMX a half is 8 bytes, so the two
 * widths are different kernels; n_ is the number of lanes.
 */
#define HORIZONTAL(name_, field_, n_, expr_)                                                \
    SSE_INLINE union cpu_xmm kernel_##name_(union cpu_xmm a, union cpu_xmm b)               \
    {                                                                                       \
        union cpu_xmm r = { .u64 = { 0, 0 } };                                              \
                                                                                            \
        for (unsigned i = 0; i < (n_); i++) {                                               \
            const union cpu_xmm *from = i < (n_) / 2 ? &a : &b;                             \
            unsigned at = 2 * (i % ((n_) / 2));                                             \
            int64_t A = from->field_[at], B = from->field_[at + 1];                         \
                                                                                            \
            r.field_[i] = (expr_);                                                          \
        }                                                                                   \
        return r;                                                                           \
    }
#define HORIZONTAL_BOTH(name_, field_, n_, expr_)                                           \
    HORIZONTAL(name_, field_, n_, expr_)                                                    \
    HORIZONTAL(name_##_mmx, field_, (n_) / 2, expr_)                                        \
    SSE_BINARY(sse_##name_, kernel_##name_)                                                 \
    MMX_BINARY(mmx_##name_, kernel_##name_##_mmx, 8)
HORIZONTAL_BOTH(phaddw, s16, 8, A + B)
HORIZONTAL_BOTH(phaddd, s32, 4, A + B)
HORIZONTAL_BOTH(phaddsw, s16, 8, clamp(A + B, INT16_MIN, INT16_MAX))
HORIZONTAL_BOTH(phsubw, s16, 8, A - B)
HORIZONTAL_BOTH(phsubd, s32, 4, A - B)
HORIZONTAL_BOTH(phsubsw, s16, 8, clamp(A - B, INT16_MIN, INT16_MAX))

/* Shifts: the count is the low 64 bits of the operand, or an immediate; too large: 0 or sign. */
#define SHIFT(name_, field_, bits_, small_, large_)                                         \
    SSE_INLINE union cpu_xmm kernel_##name_(union cpu_xmm a, union cpu_xmm b)               \
    {                                                                                       \
        uint64_t n = b.u64[0];                                                              \
        union cpu_xmm r;                                                                    \
                                                                                            \
        for (unsigned i = 0; i < sizeof(r) / sizeof(r.field_[0]); i++) {                    \
            __typeof__(r.field_[0]) A = a.field_[i];                                        \
                                                                                            \
            r.field_[i] = n < (bits_) ? (small_) : (large_);                                \
        }                                                                                   \
        return r;                                                                           \
    }                                                                                       \
    PACKED(name_, kernel_##name_)                                                           \
    SHIFT_IMMEDIATE(name_)

/* The group forms: the register is ModRM.rm. */
#define SHIFT_IMMEDIATE(name_)                                                              \
    SSE_INLINE enum cpu_status name_##_imm_inline(struct cpu *cpu, const struct insn *insn, \
                                                  unsigned how)                             \
    {                                                                                       \
        union cpu_xmm count = { .u64 = { (uint8_t)insn->imm, 0 } };                         \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        cpu->fpu.xmm[insn->rm] = kernel_##name_(cpu->fpu.xmm[insn->rm], count);             \
        return CPU_OK;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(sse_##name_##_imm, name_##_imm_inline)                                    \
    enum cpu_status mmx_##name_##_imm(struct cpu *cpu, const struct insn *insn)             \
    {                                                                                       \
        union cpu_xmm count = { .u64 = { (uint8_t)insn->imm, 0 } }, old = count;            \
        enum cpu_status status = mmx_check(cpu);                                            \
                                                                                            \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        old.u64[0] = cpu->fpu.st[insn->rm & 7].mantissa;                                    \
        mmx_touch(cpu);                                                                     \
        mmx_set(cpu, insn->rm, kernel_##name_(old, count).u64[0]);                          \
        return CPU_OK;                                                                      \
    }
SHIFT(psllw, u16, 16, A << n, 0)
SHIFT(pslld, u32, 32, A << n, 0)
SHIFT(psllq, u64, 64, A << n, 0)
SHIFT(psrlw, u16, 16, A >> n, 0)
SHIFT(psrld, u32, 32, A >> n, 0)
SHIFT(psrlq, u64, 64, A >> n, 0)
SHIFT(psraw, s16, 16, A >> n, A >> 15)
SHIFT(psrad, s32, 32, A >> n, A >> 31)

/* Whole register by bytes. */
SSE_INLINE union cpu_xmm kernel_pslldq(union cpu_xmm a, union cpu_xmm b)
{
    unsigned n = b.u64[0] > 15 ? 16 : b.u64[0];
    union cpu_xmm r = { .u64 = { 0, 0 } };

    memcpy(&r.u8[n], a.u8, 16 - n);
    return r;
}

SSE_INLINE union cpu_xmm kernel_psrldq(union cpu_xmm a, union cpu_xmm b)
{
    unsigned n = b.u64[0] > 15 ? 16 : b.u64[0];
    union cpu_xmm r = { .u64 = { 0, 0 } };

    memcpy(r.u8, &a.u8[n], 16 - n);
    return r;
}

#define BYTE_SHIFT(name_)                                                                   \
    enum cpu_status sse_##name_(struct cpu *cpu, const struct insn *insn)                   \
    {                                                                                       \
        union cpu_xmm count = { .u64 = { (uint8_t)insn->imm, 0 } };                         \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_unusable(cpu);                                                       \
        cpu->fpu.xmm[insn->rm] = kernel_##name_(cpu->fpu.xmm[insn->rm], count);             \
        return CPU_OK;                                                                      \
    }
BYTE_SHIFT(pslldq)
BYTE_SHIFT(psrldq)

/* Widening moves: the source is size_ bytes. */
#define WIDEN(name_, to_, from_, size_)                                                     \
    enum cpu_status sse_##name_(struct cpu *cpu, const struct insn *insn)                   \
    {                                                                                       \
        union cpu_xmm s, r;                                                                 \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_unusable(cpu);                                                       \
        status = sse_source(cpu, insn, size_, 0, &s);                                       \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        for (unsigned i = 0; i < sizeof(r) / sizeof(r.to_[0]); i++)                         \
            r.to_[i] = s.from_[i];                                                          \
        cpu->fpu.xmm[insn->reg] = r;                                                        \
        return CPU_OK;                                                                      \
    }
WIDEN(pmovsxbw, s16, s8, 8)
WIDEN(pmovsxbd, s32, s8, 4)
WIDEN(pmovsxbq, s64, s8, 2)
WIDEN(pmovsxwd, s32, s16, 8)
WIDEN(pmovsxwq, s64, s16, 4)
WIDEN(pmovsxdq, s64, s32, 8)
WIDEN(pmovzxbw, u16, u8, 8)
WIDEN(pmovzxbd, u32, u8, 4)
WIDEN(pmovzxbq, u64, u8, 2)
WIDEN(pmovzxwd, u32, u16, 8)
WIDEN(pmovzxwq, u64, u16, 4)
WIDEN(pmovzxdq, u64, u32, 8)

/* PTEST: ZF from AND, CF from ANDN, the others 0. */
enum cpu_status sse_ptest(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm s, *d = &cpu->fpu.xmm[insn->reg];
    enum cpu_status status;
    unsigned flags = 0;

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    status = sse_source(cpu, insn, 16, SSE_ALIGNED, &s);
    if (status != CPU_OK)
        return status;
    if (!(s.u64[0] & d->u64[0]) && !(s.u64[1] & d->u64[1]))
        flags |= FLAG_ZF;
    if (!(s.u64[0] & ~d->u64[0]) && !(s.u64[1] & ~d->u64[1]))
        flags |= FLAG_CF;
    flags_set_arith(cpu, flags);
    return CPU_OK;
}
