/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instructions that move lanes about: pack, unpack, shuffle, align, blend,
 * insert, extract (SDM vol. 2).
 */
#include "sse.h"

SSE_INLINE int saturate(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

/* Pack: the lanes of a, then those of b, each half as wide. n_: lanes of the result. */
#define PACK(name_, to_, from_, n_, low_, high_)                                            \
    SSE_INLINE union cpu_xmm kernel_##name_(union cpu_xmm a, union cpu_xmm b)               \
    {                                                                                       \
        union cpu_xmm r = { .u64 = { 0, 0 } };                                              \
                                                                                            \
        for (unsigned i = 0; i < (n_) / 2; i++) {                                           \
            r.to_[i] = saturate(a.from_[i], low_, high_);                                   \
            r.to_[i + (n_) / 2] = saturate(b.from_[i], low_, high_);                        \
        }                                                                                   \
        return r;                                                                           \
    }
PACK(packsswb, s8, s16, 16, INT8_MIN, INT8_MAX)
PACK(packssdw, s16, s32, 8, INT16_MIN, INT16_MAX)
PACK(packuswb, u8, s16, 16, 0, UINT8_MAX)
PACK(packusdw, u16, s32, 8, 0, UINT16_MAX)
PACK(packsswb_mmx, s8, s16, 8, INT8_MIN, INT8_MAX)
PACK(packssdw_mmx, s16, s32, 4, INT16_MIN, INT16_MAX)
PACK(packuswb_mmx, u8, s16, 8, 0, UINT8_MAX)
SSE_BINARY(sse_packsswb, kernel_packsswb)
SSE_BINARY(sse_packssdw, kernel_packssdw)
SSE_BINARY(sse_packuswb, kernel_packuswb)
SSE_BINARY(sse_packusdw, kernel_packusdw)
MMX_BINARY(mmx_packsswb, kernel_packsswb_mmx, 8)
MMX_BINARY(mmx_packssdw, kernel_packssdw_mmx, 8)
MMX_BINARY(mmx_packuswb, kernel_packuswb_mmx, 8)

/* Unpack: n_ lanes of each operand from at_ on, in turn. */
#define UNPACK(name_, field_, n_, at_)                                                      \
    SSE_INLINE union cpu_xmm kernel_##name_(union cpu_xmm a, union cpu_xmm b)               \
    {                                                                                       \
        union cpu_xmm r = { .u64 = { 0, 0 } };                                              \
                                                                                            \
        for (unsigned i = 0; i < (n_); i++) {                                               \
            r.field_[2 * i] = a.field_[(at_) + i];                                          \
            r.field_[2 * i + 1] = b.field_[(at_) + i];                                      \
        }                                                                                   \
        return r;                                                                           \
    }
/* The low forms read 4 bytes of memory in MMX. */
#define UNPACK_BOTH(name_, field_, n_)                                                      \
    UNPACK(punpckl##name_, field_, n_, 0)                                                   \
    UNPACK(punpckh##name_, field_, n_, n_)                                                  \
    UNPACK(punpckl##name_##_mmx, field_, (n_) / 2, 0)                                       \
    UNPACK(punpckh##name_##_mmx, field_, (n_) / 2, (n_) / 2)                                \
    SSE_BINARY(sse_punpckl##name_, kernel_punpckl##name_)                                   \
    SSE_BINARY(sse_punpckh##name_, kernel_punpckh##name_)                                   \
    MMX_BINARY(mmx_punpckl##name_, kernel_punpckl##name_##_mmx, 4)                          \
    MMX_BINARY(mmx_punpckh##name_, kernel_punpckh##name_##_mmx, 8)
UNPACK_BOTH(bw, u8, 8)
UNPACK_BOTH(wd, u16, 4)
UNPACK_BOTH(dq, u32, 2)
/* UNPCKLPS is PUNPCKLDQ and UNPCKLPD is PUNPCKLQDQ. */
UNPACK(punpcklqdq, u64, 1, 0)
UNPACK(punpckhqdq, u64, 1, 1)
SSE_BINARY(sse_punpcklqdq, kernel_punpcklqdq)
SSE_BINARY(sse_punpckhqdq, kernel_punpckhqdq)

/* Shuffles. */
SSE_INLINE union cpu_xmm kernel_pshufb(union cpu_xmm a, union cpu_xmm b)
{
    union cpu_xmm r;

    for (unsigned i = 0; i < 16; i++)
        r.u8[i] = b.u8[i] & 0x80 ? 0 : a.u8[b.u8[i] & 15];
    return r;
}
SSE_BINARY(sse_pshufb, kernel_pshufb)

SSE_INLINE union cpu_xmm kernel_pshufb_mmx(union cpu_xmm a, union cpu_xmm b)
{
    union cpu_xmm r = { .u64 = { 0, 0 } };

    for (unsigned i = 0; i < 8; i++)
        r.u8[i] = b.u8[i] & 0x80 ? 0 : a.u8[b.u8[i] & 7];
    return r;
}
MMX_BINARY(mmx_pshufb, kernel_pshufb_mmx, 8)

SSE_INLINE union cpu_xmm kernel_pshufd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    union cpu_xmm r;

    for (unsigned i = 0; i < 4; i++)
        r.u32[i] = b.u32[imm >> 2 * i & 3];
    return r;
}
SSE_BINARY_IMM(sse_pshufd, kernel_pshufd)

/* Four words from at on; the others stay. */
SSE_INLINE union cpu_xmm shuffle_words(union cpu_xmm b, unsigned imm, unsigned at)
{
    union cpu_xmm r = b;

    for (unsigned i = 0; i < 4; i++)
        r.u16[at + i] = b.u16[at + (imm >> 2 * i & 3)];
    return r;
}

SSE_INLINE union cpu_xmm kernel_pshuflw(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return shuffle_words(b, imm, 0);
}

SSE_INLINE union cpu_xmm kernel_pshufhw(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return shuffle_words(b, imm, 4);
}
SSE_BINARY_IMM(sse_pshuflw, kernel_pshuflw)
SSE_BINARY_IMM(sse_pshufhw, kernel_pshufhw)
MMX_BINARY_IMM(mmx_pshufw, kernel_pshuflw)

SSE_INLINE union cpu_xmm kernel_shufps(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return (union cpu_xmm){ .u32 = { a.u32[imm & 3], a.u32[imm >> 2 & 3], b.u32[imm >> 4 & 3],
                                     b.u32[imm >> 6 & 3] } };
}
SSE_BINARY_IMM(sse_shufps, kernel_shufps)

SSE_INLINE union cpu_xmm kernel_shufpd(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return (union cpu_xmm){ .u64 = { a.u64[imm & 1], b.u64[imm >> 1 & 1] } };
}
SSE_BINARY_IMM(sse_shufpd, kernel_shufpd)

/* PALIGNR: a above b, shifted right by bytes. */
SSE_INLINE union cpu_xmm align_right(union cpu_xmm a, union cpu_xmm b, unsigned width,
                                     unsigned n)
{
    uint8_t both[64] = { 0 };
    union cpu_xmm r = { .u64 = { 0, 0 } };

    memcpy(both, b.u8, width);
    memcpy(both + width, a.u8, width);
    if (n < 2 * width)
        memcpy(r.u8, both + n, width);
    return r;
}

SSE_INLINE union cpu_xmm kernel_palignr(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return align_right(a, b, 16, imm & 0xff);
}

SSE_INLINE union cpu_xmm kernel_palignr_mmx(union cpu_xmm a, union cpu_xmm b, unsigned imm)
{
    return align_right(a, b, 8, imm & 0xff);
}
SSE_BINARY_IMM(sse_palignr, kernel_palignr)
MMX_BINARY_IMM(mmx_palignr, kernel_palignr_mmx)

/* Blends by immediate, then by the signs in XMM0. */
#define BLEND_IMM(name_, field_)                                                            \
    SSE_INLINE union cpu_xmm kernel_##name_(union cpu_xmm a, union cpu_xmm b, unsigned imm) \
    {                                                                                       \
        union cpu_xmm r;                                                                    \
                                                                                            \
        for (unsigned i = 0; i < sizeof(r) / sizeof(r.field_[0]); i++)                      \
            r.field_[i] = imm >> i & 1 ? b.field_[i] : a.field_[i];                         \
        return r;                                                                           \
    }                                                                                       \
    SSE_BINARY_IMM(sse_##name_, kernel_##name_)
BLEND_IMM(pblendw, u16)
BLEND_IMM(blendps, u32)
BLEND_IMM(blendpd, u64)

#define BLEND_MASK(name_, field_, sign_)                                                    \
    enum cpu_status sse_##name_(struct cpu *cpu, const struct insn *insn)                   \
    {                                                                                       \
        const union cpu_xmm mask = cpu->fpu.xmm[0];                                         \
        union cpu_xmm s, *d = &cpu->fpu.xmm[insn->reg];                                     \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_unusable(cpu);                                                       \
        status = sse_source(cpu, insn, 16, SSE_ALIGNED, &s);                                \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        for (unsigned i = 0; i < sizeof(s) / sizeof(s.field_[0]); i++)                      \
            if (mask.sign_[i] < 0)                                                          \
                d->field_[i] = s.field_[i];                                                 \
        return CPU_OK;                                                                      \
    }
BLEND_MASK(pblendvb, u8, s8)
BLEND_MASK(blendvps, u32, s32)
BLEND_MASK(blendvpd, u64, s64)

/* MOVSLDUP, MOVSHDUP, MOVDDUP. */
enum cpu_status sse_movsldup(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm s;
    enum cpu_status status;

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    status = sse_source(cpu, insn, 16, SSE_ALIGNED, &s);
    if (status == CPU_OK)
        cpu->fpu.xmm[insn->reg] =
            (union cpu_xmm){ .u32 = { s.u32[0], s.u32[0], s.u32[2], s.u32[2] } };
    return status;
}

enum cpu_status sse_movshdup(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm s;
    enum cpu_status status;

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    status = sse_source(cpu, insn, 16, SSE_ALIGNED, &s);
    if (status == CPU_OK)
        cpu->fpu.xmm[insn->reg] =
            (union cpu_xmm){ .u32 = { s.u32[1], s.u32[1], s.u32[3], s.u32[3] } };
    return status;
}

enum cpu_status sse_movddup(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm s;
    enum cpu_status status;

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    status = sse_source(cpu, insn, 8, 0, &s);
    if (status == CPU_OK)
        cpu->fpu.xmm[insn->reg] = (union cpu_xmm){ .u64 = { s.u64[0], s.u64[0] } };
    return status;
}

/* Insert from a general register or memory of size_ bytes. */
#define INSERT(name_, field_, size_)                                                        \
    enum cpu_status sse_##name_(struct cpu *cpu, const struct insn *insn)                   \
    {                                                                                       \
        union cpu_xmm s = { .u64 = { 0, 0 } };                                              \
        enum cpu_status status = CPU_OK;                                                    \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_unusable(cpu);                                                       \
        if (insn->flags & INSN_MEM)                                                         \
            status = sse_load(cpu, insn, size_, 0, &s);                                     \
        else                                                                                \
            s.u64[0] = cpu->regs[insn->rm];                                                 \
        if (status == CPU_OK)                                                               \
            cpu->fpu.xmm[insn->reg].field_[insn->imm & (16 / size_ - 1)] = s.field_[0];     \
        return status;                                                                      \
    }
INSERT(pinsrb, u8, 1)
INSERT(pinsrw, u16, 2)
static INSERT(pinsrd, u32, 4)
static INSERT(pinsrq, u64, 8)

enum cpu_status sse_pinsrdq(struct cpu *cpu, const struct insn *insn)
{
    return insn->flags & INSN_REX_W ? sse_pinsrq(cpu, insn) : sse_pinsrd(cpu, insn);
}

/* Extract to a general register (zero-extended) or memory of size_ bytes. */
#define EXTRACT(name_, field_, size_)                                                       \
    enum cpu_status sse_##name_(struct cpu *cpu, const struct insn *insn)                   \
    {                                                                                       \
        union cpu_xmm r = { .u64 = { 0, 0 } };                                              \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_unusable(cpu);                                                       \
        r.u64[0] = cpu->fpu.xmm[insn->reg].field_[insn->imm & (16 / size_ - 1)];            \
        if (insn->flags & INSN_MEM)                                                         \
            return sse_store(cpu, insn, size_, 0, &r);                                      \
        cpu->regs[insn->rm] = r.u64[0];                                                     \
        return CPU_OK;                                                                      \
    }
EXTRACT(pextrb, u8, 1)
EXTRACT(pextrw_mem, u16, 2)
EXTRACT(pextrd, u32, 4)     /* also EXTRACTPS */
static EXTRACT(pextrq, u64, 8)

enum cpu_status sse_pextrdq(struct cpu *cpu, const struct insn *insn)
{
    return insn->flags & INSN_REX_W ? sse_pextrq(cpu, insn) : sse_pextrd(cpu, insn);
}

/* The first forms of PEXTRW: the general register is ModRM.reg. */
enum cpu_status sse_pextrw(struct cpu *cpu, const struct insn *insn)
{
    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    cpu->regs[insn->reg] = cpu->fpu.xmm[insn->rm].u16[insn->imm & 7];
    return CPU_OK;
}

enum cpu_status mmx_pextrw(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = mmx_check(cpu);

    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    cpu->regs[insn->reg] =
        (uint16_t)(cpu->fpu.st[insn->rm & 7].mantissa >> 16 * (insn->imm & 3));
    return CPU_OK;
}

enum cpu_status mmx_pinsrw(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm s = { .u64 = { 0, 0 } };
    unsigned shift = 16 * (insn->imm & 3);
    enum cpu_status status = mmx_check(cpu);
    uint64_t old;

    if (status != CPU_OK)
        return status;
    if (insn->flags & INSN_MEM)
        status = sse_load(cpu, insn, 2, 0, &s);
    else
        s.u64[0] = cpu->regs[insn->rm];
    if (status != CPU_OK)
        return status;
    old = cpu->fpu.st[insn->reg & 7].mantissa & ~(0xffffull << shift);
    mmx_touch(cpu);
    mmx_set(cpu, insn->reg, old | (uint64_t)s.u16[0] << shift);
    return CPU_OK;
}

/* INSERTPS: a lane (of a register: any, of memory: the one), then zeroes by mask. */
enum cpu_status sse_insertps(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm s, *d = &cpu->fpu.xmm[insn->reg];
    unsigned imm = insn->imm;
    enum cpu_status status;
    uint32_t value;

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    status = sse_source(cpu, insn, 4, 0, &s);
    if (status != CPU_OK)
        return status;
    value = insn->flags & INSN_MEM ? s.u32[0] : s.u32[imm >> 6 & 3];
    d->u32[imm >> 4 & 3] = value;
    for (unsigned i = 0; i < 4; i++)
        if (imm >> i & 1)
            d->u32[i] = 0;
    return CPU_OK;
}
