/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moves between XMM and MMX registers, general registers and memory
 * (SDM vol. 2, MOV*), and the checks that every SSE and MMX instruction begins with.
 */
#include "sse.h"

/* SDM vol. 3, tables 13-1 and 2-2: #UD before #NM. */
enum cpu_status sse_unusable(struct cpu *cpu)
{
    if ((cpu->cr0 & CR0_EM) || !(cpu->cr4 & CR4_OSFXSR))
        return raise_fault(cpu, VECTOR_UD);
    return raise_fault(cpu, VECTOR_NM);
}

enum cpu_status mmx_check(struct cpu *cpu)
{
    if (cpu->cr0 & CR0_EM)
        return raise_fault(cpu, VECTOR_UD);
    if (cpu->cr0 & CR0_TS)
        return raise_fault(cpu, VECTOR_NM);
    return fpu_check_pending(cpu);
}

/* Whole registers. */
#define MOVE_LOAD(name_, how_)                                                              \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        union cpu_xmm value;                                                                \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_source(cpu, insn, 16, how | (how_), &value);                           \
        if (likely(status == CPU_OK))                                                       \
            cpu->fpu.xmm[insn->reg] = value;                                                \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)
#define MOVE_STORE(name_, how_)                                                             \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        if (sse_is_memory(insn, how))                                                       \
            return sse_store(cpu, insn, 16, how | (how_), &cpu->fpu.xmm[insn->reg]);        \
        cpu->fpu.xmm[insn->rm] = cpu->fpu.xmm[insn->reg];                                   \
        return CPU_OK;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)
MOVE_LOAD(sse_movaps_load, SSE_ALIGNED)
MOVE_LOAD(sse_movups_load, 0)
MOVE_STORE(sse_movaps_store, SSE_ALIGNED)
MOVE_STORE(sse_movups_store, 0)

/* MOVSS, MOVSD: between registers only the low lane moves, a load clears the others. */
#define MOVE_SCALAR(name_, field_, size_)                                                   \
    SSE_INLINE enum cpu_status name_##_load_inline(struct cpu *cpu, const struct insn *insn, \
                                                   unsigned how)                            \
    {                                                                                       \
        union cpu_xmm value;                                                                \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        if (!sse_is_memory(insn, how)) {                                                    \
            cpu->fpu.xmm[insn->reg].field_[0] = cpu->fpu.xmm[insn->rm].field_[0];           \
            return CPU_OK;                                                                  \
        }                                                                                   \
        status = sse_load(cpu, insn, size_, how, &value);                                   \
        if (likely(status == CPU_OK))                                                       \
            cpu->fpu.xmm[insn->reg] = value;                                                \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_##_load, name_##_load_inline)                                        \
    SSE_INLINE enum cpu_status name_##_store_inline(struct cpu *cpu, const struct insn *insn, \
                                                    unsigned how)                           \
    {                                                                                       \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        if (sse_is_memory(insn, how))                                                       \
            return sse_store(cpu, insn, size_, how, &cpu->fpu.xmm[insn->reg]);              \
        cpu->fpu.xmm[insn->rm].field_[0] = cpu->fpu.xmm[insn->reg].field_[0];               \
        return CPU_OK;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_##_store, name_##_store_inline)
MOVE_SCALAR(sse_movss, u32, 4)
MOVE_SCALAR(sse_movsd, u64, 8)

/*
 * Halves.  Between registers, 0F 12 is MOVHLPS (low from high) and 0F 16 MOVLHPS
 * (high from low).
 */
#define MOVE_HALF(name_, to_, register_from_)                                               \
    SSE_INLINE enum cpu_status name_##_load_inline(struct cpu *cpu, const struct insn *insn, \
                                                   unsigned how)                            \
    {                                                                                       \
        union cpu_xmm value;                                                                \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        if (!sse_is_memory(insn, how)) {                                                    \
            cpu->fpu.xmm[insn->reg].u64[to_] = cpu->fpu.xmm[insn->rm].u64[register_from_];  \
            return CPU_OK;                                                                  \
        }                                                                                   \
        status = sse_load(cpu, insn, 8, how, &value);                                       \
        if (likely(status == CPU_OK))                                                       \
            cpu->fpu.xmm[insn->reg].u64[to_] = value.u64[0];                                \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_##_load, name_##_load_inline)                                        \
    SSE_INLINE enum cpu_status name_##_store_inline(struct cpu *cpu, const struct insn *insn, \
                                                    unsigned how)                           \
    {                                                                                       \
        union cpu_xmm value = { .u64 = { cpu->fpu.xmm[insn->reg].u64[to_], 0 } };           \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        return sse_store(cpu, insn, 8, how, &value);                                        \
    }                                                                                       \
    SSE_EXECUTORS(name_##_store, name_##_store_inline)
MOVE_HALF(sse_movlps, 0, 1)
MOVE_HALF(sse_movhps, 1, 0)

/* MOVQ xmm, xmm/m64 and back: the upper half becomes 0. */
SSE_INLINE enum cpu_status movq_load(struct cpu *cpu, const struct insn *insn, unsigned how)
{
    union cpu_xmm value;
    enum cpu_status status;

    if (!sse_usable(cpu))
        return sse_refuse(cpu, how);
    status = sse_source(cpu, insn, 8, how, &value);
    value.u64[1] = 0;
    if (likely(status == CPU_OK))
        cpu->fpu.xmm[insn->reg] = value;
    return status;
}
SSE_EXECUTORS(sse_movq_load, movq_load)

SSE_INLINE enum cpu_status movq_store(struct cpu *cpu, const struct insn *insn, unsigned how)
{
    if (!sse_usable(cpu))
        return sse_refuse(cpu, how);
    if (sse_is_memory(insn, how))
        return sse_store(cpu, insn, 8, how, &cpu->fpu.xmm[insn->reg]);
    cpu->fpu.xmm[insn->rm] = (union cpu_xmm){ .u64 = { cpu->fpu.xmm[insn->reg].u64[0], 0 } };
    return CPU_OK;
}
SSE_EXECUTORS(sse_movq_store, movq_store)

/* MOVD, and MOVQ with REX.W, between XMM and general registers or memory. */
SSE_INLINE enum cpu_status movd_load(struct cpu *cpu, const struct insn *insn, unsigned how)
{
    uint64_t value;
    enum cpu_status status;

    if (!sse_usable(cpu))
        return sse_refuse(cpu, how);
    status = sse_gpr_source(cpu, insn, how, &value);
    if (likely(status == CPU_OK))
        cpu->fpu.xmm[insn->reg] = (union cpu_xmm){ .u64 = { value, 0 } };
    return status;
}
SSE_EXECUTORS(sse_movd_load, movd_load)

SSE_INLINE enum cpu_status movd_store(struct cpu *cpu, const struct insn *insn, unsigned how)
{
    const union cpu_xmm *value = &cpu->fpu.xmm[insn->reg];
    bool wide = insn->flags & INSN_REX_W;

    if (!sse_usable(cpu))
        return sse_refuse(cpu, how);
    if (sse_is_memory(insn, how))
        return sse_store(cpu, insn, wide ? 8 : 4, how, value);
    cpu->regs[insn->rm] = wide ? value->u64[0] : value->u32[0];
    return CPU_OK;
}
SSE_EXECUTORS(sse_movd_store, movd_store)

enum cpu_status mmx_movd_load(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = mmx_check(cpu);

    if (status == CPU_OK)
        status = sse_gpr_source(cpu, insn, 0, &value);
    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    mmx_set(cpu, insn->reg, value);
    return CPU_OK;
}

enum cpu_status mmx_movd_store(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm value = { .u64 = { cpu->fpu.st[insn->reg & 7].mantissa, 0 } };
    bool wide = insn->flags & INSN_REX_W;
    enum cpu_status status = mmx_check(cpu);

    if (status != CPU_OK)
        return status;
    if (insn->flags & INSN_MEM)
        status = sse_store(cpu, insn, wide ? 8 : 4, 0, &value);
    else
        cpu->regs[insn->rm] = wide ? value.u64[0] : value.u32[0];
    if (status == CPU_OK)
        mmx_touch(cpu);
    return status;
}

enum cpu_status mmx_movq_load(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm value;
    enum cpu_status status = mmx_check(cpu);

    if (status == CPU_OK)
        status = mmx_source(cpu, insn, 8, &value);
    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    mmx_set(cpu, insn->reg, value.u64[0]);
    return CPU_OK;
}

/* Also MOVNTQ. */
enum cpu_status mmx_movq_store(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm value = { .u64 = { cpu->fpu.st[insn->reg & 7].mantissa, 0 } };
    enum cpu_status status = mmx_check(cpu);

    if (status != CPU_OK)
        return status;
    if (insn->flags & INSN_MEM)
        status = sse_store(cpu, insn, 8, 0, &value);
    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    if (!(insn->flags & INSN_MEM))
        mmx_set(cpu, insn->rm, value.u64[0]);
    return CPU_OK;
}

enum cpu_status sse_movq2dq(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = sse_usable(cpu) ? mmx_check(cpu) : sse_unusable(cpu);

    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    cpu->fpu.xmm[insn->reg] =
        (union cpu_xmm){ .u64 = { cpu->fpu.st[insn->rm & 7].mantissa, 0 } };
    return CPU_OK;
}

enum cpu_status sse_movdq2q(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = sse_usable(cpu) ? mmx_check(cpu) : sse_unusable(cpu);

    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    mmx_set(cpu, insn->reg, cpu->fpu.xmm[insn->rm].u64[0]);
    return CPU_OK;
}

/* MOVNTI is an integer store, subject to none of the checks. */
enum cpu_status sse_movnti(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm value = { .u64 = { cpu->regs[insn->reg], 0 } };

    return sse_store(cpu, insn, insn->flags & INSN_REX_W ? 8 : 4, 0, &value);
}

/* Sign bits to a general register. */
SSE_INLINE enum cpu_status movmskps(struct cpu *cpu, const struct insn *insn, unsigned how)
{
    const union cpu_xmm *s = &cpu->fpu.xmm[insn->rm];

    if (!sse_usable(cpu))
        return sse_refuse(cpu, how);
    cpu->regs[insn->reg] = s->u32[0] >> 31 | s->u32[1] >> 31 << 1 | s->u32[2] >> 31 << 2 |
                           s->u32[3] >> 31 << 3;
    return CPU_OK;
}
SSE_EXECUTORS(sse_movmskps, movmskps)

SSE_INLINE enum cpu_status movmskpd(struct cpu *cpu, const struct insn *insn, unsigned how)
{
    const union cpu_xmm *s = &cpu->fpu.xmm[insn->rm];

    if (!sse_usable(cpu))
        return sse_refuse(cpu, how);
    cpu->regs[insn->reg] = s->u64[0] >> 63 | s->u64[1] >> 63 << 1;
    return CPU_OK;
}
SSE_EXECUTORS(sse_movmskpd, movmskpd)

/* The top bits of eight bytes, gathered by one multiplication. */
SSE_INLINE unsigned sign_bits(uint64_t value)
{
    return (value >> 7 & 0x0101010101010101) * 0x0102040810204080 >> 56;
}

SSE_INLINE enum cpu_status pmovmskb(struct cpu *cpu, const struct insn *insn, unsigned how)
{
    const union cpu_xmm *s = &cpu->fpu.xmm[insn->rm];

    if (!sse_usable(cpu))
        return sse_refuse(cpu, how);
    cpu->regs[insn->reg] = sign_bits(s->u64[0]) | sign_bits(s->u64[1]) << 8;
    return CPU_OK;
}
SSE_EXECUTORS(sse_pmovmskb, pmovmskb)

enum cpu_status mmx_pmovmskb(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = mmx_check(cpu);

    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    cpu->regs[insn->reg] = sign_bits(cpu->fpu.st[insn->rm & 7].mantissa);
    return CPU_OK;
}

/*
 * Store the bytes whose mask has its top bit set to DS:rDI.  Whether the others
 * may fault is left open by the manual; as on real processors they do.
 */
static enum cpu_status store_masked(struct cpu *cpu, const struct insn *insn,
                                    const union cpu_xmm *value, const union cpu_xmm *mask,
                                    unsigned size)
{
    uint64_t offset = cpu->regs[REG_RDI], addr;
    enum cpu_status status;

    if (insn->address_size < 8)
        offset &= insn->address_size == 4 ? UINT32_MAX : UINT16_MAX;
    status = segment_linear(cpu, insn->seg, offset, size, ACCESS_WRITE, &addr);
    if (status == CPU_OK)
        status = mmu_probe(cpu, addr, size, ACCESS_WRITE);
    for (unsigned i = 0; i < size && status == CPU_OK; i++)
        if (mask->s8[i] < 0)
            status = mmu_write8(cpu, addr + i, value->u8[i]);
    return status;
}

enum cpu_status sse_maskmovdqu(struct cpu *cpu, const struct insn *insn)
{
    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    return store_masked(cpu, insn, &cpu->fpu.xmm[insn->reg], &cpu->fpu.xmm[insn->rm], 16);
}

enum cpu_status mmx_maskmovq(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm value = { .u64 = { cpu->fpu.st[insn->reg & 7].mantissa, 0 } };
    union cpu_xmm mask = { .u64 = { cpu->fpu.st[insn->rm & 7].mantissa, 0 } };
    enum cpu_status status = mmx_check(cpu);

    if (status == CPU_OK)
        status = store_masked(cpu, insn, &value, &mask, 8);
    if (status == CPU_OK)
        mmx_touch(cpu);
    return status;
}

enum cpu_status mmx_emms(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = mmx_check(cpu);

    if (status != CPU_OK)
        return status;
    mmx_touch(cpu);
    cpu->fpu.valid = 0;
    return CPU_OK;
}
