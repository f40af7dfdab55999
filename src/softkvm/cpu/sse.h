/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the SSE and MMX executors share: may they run, fetching operands, and
 * the macros that make executors of kernels.
 *
 * A kernel is a pure function of two 16-byte values (and an immediate): by value,
 * so that operands may be the same register and the compiler may vectorise.
 * Lane-wise kernels serve MMX too, on the low half.
 */
#ifndef SOFTKVM_SSE_H
#define SOFTKVM_SSE_H

#include "exception.h"
#include "exec.h"
#include "fpu.h"
#include "fpu_env.h"
#include "mode.h"
#include "opcodes.h"
#include "operand.h"

#define SSE_INLINE static inline __attribute__((always_inline))

/* How an operand is accessed; constants, so that each use is specialised. */
enum {
    SSE_ALIGNED = 1 << 0,       /* #GP(0) unless the address is a multiple of 16 */
    SSE_FAST = 1 << 1,          /* CPU_MISS instead of anything rare: for threaded executors */
    SSE_MEMORY = 1 << 2,        /* with SSE_FAST: ModRM names memory, as hot_memory_ok() wants it */
};

SSE_INLINE bool sse_is_memory(const struct insn *insn, unsigned how)
{
    return how & SSE_FAST ? how & SSE_MEMORY : insn->flags & INSN_MEM;
}

/* #UD, #NM for SSE; cold. */
enum cpu_status sse_unusable(struct cpu *cpu);

SSE_INLINE bool sse_usable(const struct cpu *cpu)
{
    return likely(!(cpu->cr0 & (CR0_EM | CR0_TS)) && (cpu->cr4 & CR4_OSFXSR));
}

/* What to answer when not. */
SSE_INLINE enum cpu_status sse_refuse(struct cpu *cpu, unsigned how)
{
    return how & SSE_FAST ? CPU_MISS : sse_unusable(cpu);
}

/* #UD, #NM, #MF for MMX. */
enum cpu_status mmx_check(struct cpu *cpu);

/* What every MMX instruction but EMMS does to the x87 state: TOP 0, nothing empty. */
SSE_INLINE void mmx_touch(struct cpu *cpu)
{
    cpu->fpu.status &= ~FSW_TOP;
    cpu->fpu.valid = 0xff;
}

/* The memory operand's linear address. */
SSE_INLINE enum cpu_status sse_linear(struct cpu *cpu, const struct insn *insn, unsigned size,
                                      unsigned how, enum cpu_access access, uint64_t *addr)
{
    enum cpu_status status;

    if (how & SSE_FAST) {
        *addr = hot_address(cpu, insn);         /* what isn't canonical misses the TLB */
        return (how & SSE_ALIGNED) && unlikely(*addr & 15) ? CPU_MISS : CPU_OK;
    }
    status = insn_linear(cpu, insn, size, access, addr);
    if (status != CPU_OK)
        return status;
    if ((how & SSE_ALIGNED) && unlikely(*addr & 15))
        return raise_gp(cpu);
    return CPU_OK;
}

/* Read size bytes (1, 2, 4, 8, 16) of memory into the low part of *value; the rest is 0. */
SSE_INLINE enum cpu_status sse_load(struct cpu *cpu, const struct insn *insn, unsigned size,
                                    unsigned how, union cpu_xmm *value)
{
    uint64_t addr;
    struct tlb_entry *e;
    void *host;
    enum cpu_status status = sse_linear(cpu, insn, size, how, ACCESS_READ, &addr);

    if (unlikely(status != CPU_OK))
        return status;
    if (size < 16)
        value->u64[0] = value->u64[1] = 0;
    host = tlb_host(cpu, addr, size, ACCESS_READ, &e);
    if (unlikely(!host))
        return how & SSE_FAST ? CPU_MISS : mmu_read(cpu, addr, value, size);
    guest_copy(value, host, size);
    return CPU_OK;
}

SSE_INLINE enum cpu_status sse_store(struct cpu *cpu, const struct insn *insn, unsigned size,
                                     unsigned how, const union cpu_xmm *value)
{
    uint64_t addr;
    struct tlb_entry *e;
    void *host;
    enum cpu_status status = sse_linear(cpu, insn, size, how, ACCESS_WRITE, &addr);

    if (unlikely(status != CPU_OK))
        return status;
    host = tlb_host(cpu, addr, size, ACCESS_WRITE, &e);
    if (unlikely(!host))
        return how & SSE_FAST ? CPU_MISS : mmu_write(cpu, addr, value, size);
    if ((how & SSE_FAST) && unlikely(__atomic_load_n(e->code, __ATOMIC_RELAXED) & 1))
        return CPU_MISS;
    guest_copy(host, value, size);
    if (!(how & SSE_FAST))
        mmu_stored(cpu, e->code);
    return CPU_OK;
}

/* The ModRM.rm operand: an XMM register, or size bytes of memory. */
SSE_INLINE enum cpu_status sse_source(struct cpu *cpu, const struct insn *insn, unsigned size,
                                      unsigned how, union cpu_xmm *value)
{
    if (sse_is_memory(insn, how))
        return sse_load(cpu, insn, size, how, value);
    *value = cpu->fpu.xmm[insn->rm];
    return CPU_OK;
}

/* The same for MMX; memory is size bytes, 8 or 4. */
SSE_INLINE enum cpu_status mmx_source(struct cpu *cpu, const struct insn *insn, unsigned size,
                                      union cpu_xmm *value)
{
    if (insn->flags & INSN_MEM)
        return sse_load(cpu, insn, size, 0, value);
    value->u64[0] = cpu->fpu.st[insn->rm & 7].mantissa;
    value->u64[1] = 0;
    return CPU_OK;
}

SSE_INLINE void mmx_set(struct cpu *cpu, unsigned reg, uint64_t value)
{
    cpu->fpu.st[reg & 7].mantissa = value;
    cpu->fpu.st[reg & 7].sign_exponent = 0xffff;
}

/* A general register as an SSE instruction's operand: 4 bytes, or 8 with REX.W. */
SSE_INLINE enum cpu_status sse_gpr_source(struct cpu *cpu, const struct insn *insn,
                                          unsigned how, uint64_t *value)
{
    bool wide = insn->flags & INSN_REX_W;
    union cpu_xmm memory;
    enum cpu_status status;

    if (sse_is_memory(insn, how)) {
        status = sse_load(cpu, insn, wide ? 8 : 4, how, &memory);
        *value = memory.u64[0];
        return status;
    }
    *value = wide ? cpu->regs[insn->rm] : (uint32_t)cpu->regs[insn->rm];
    return CPU_OK;
}

/*
 * Make body NAME and its threaded forms, for registers and for memory, from an
 * always-inline function of cpu, insn and how.
 */
#define SSE_THREADED(name_, inline_, how_)                                                  \
    static enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                  \
    {                                                                                       \
        if (unlikely(inline_(cpu, insn, SSE_FAST | (how_)) != CPU_OK))                      \
            return exec_body(cpu, insn);                                                    \
        NEXT(cpu, insn);                                                                    \
    }
#define SSE_EXECUTORS(name_, inline_)                                                       \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        return inline_(cpu, insn, 0);                                                       \
    }                                                                                       \
    SSE_THREADED(name_##_exec_reg, inline_, 0)                                              \
    SSE_THREADED(name_##_exec_mem, inline_, SSE_MEMORY)                                     \
    insn_exec *name_##_pick(struct insn *insn, struct decode_mode mode)                     \
    {                                                                                       \
        if (!(insn->flags & INSN_MEM))                                                      \
            return name_##_exec_reg;                                                        \
        return hot_memory_ok(insn, mode) ? name_##_exec_mem : NULL;                         \
    }

/* xmm = kernel(xmm, xmm/m128) */
#define SSE_BINARY(name_, kernel_)                                                          \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        union cpu_xmm source;                                                               \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_source(cpu, insn, 16, how | SSE_ALIGNED, &source);                     \
        if (likely(status == CPU_OK))                                                       \
            cpu->fpu.xmm[insn->reg] = kernel_(cpu->fpu.xmm[insn->reg], source);             \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)

/* xmm = kernel(xmm, xmm/m128, imm8) */
#define SSE_BINARY_IMM(name_, kernel_)                                                      \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        union cpu_xmm source;                                                               \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_source(cpu, insn, 16, how | SSE_ALIGNED, &source);                     \
        if (likely(status == CPU_OK))                                                       \
            cpu->fpu.xmm[insn->reg] = kernel_(cpu->fpu.xmm[insn->reg], source, insn->imm);  \
        return status;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)

/* mm = kernel(mm, mm/m64), size_ bytes of memory */
#define MMX_BINARY(name_, kernel_, size_)                                                   \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        union cpu_xmm source, old = { .u64 = { 0 } };                                       \
        enum cpu_status status = mmx_check(cpu);                                            \
                                                                                            \
        if (status == CPU_OK)                                                               \
            status = mmx_source(cpu, insn, size_, &source);                                 \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        old.u64[0] = cpu->fpu.st[insn->reg & 7].mantissa;                                   \
        mmx_touch(cpu);                                                                     \
        mmx_set(cpu, insn->reg, kernel_(old, source).u64[0]);                               \
        return CPU_OK;                                                                      \
    }

/* mm = kernel(mm, mm/m64, imm8) */
#define MMX_BINARY_IMM(name_, kernel_)                                                      \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        union cpu_xmm source, old = { .u64 = { 0 } };                                       \
        enum cpu_status status = mmx_check(cpu);                                            \
                                                                                            \
        if (status == CPU_OK)                                                               \
            status = mmx_source(cpu, insn, 8, &source);                                     \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        old.u64[0] = cpu->fpu.st[insn->reg & 7].mantissa;                                   \
        mmx_touch(cpu);                                                                     \
        mmx_set(cpu, insn->reg, kernel_(old, source, insn->imm).u64[0]);                    \
        return CPU_OK;                                                                      \
    }

/* Both forms of a lane-wise kernel: NP is MMX, 66 is SSE. */
#define PACKED(name_, kernel_)                                                              \
    SSE_BINARY(sse_##name_, kernel_)                                                        \
    MMX_BINARY(mmx_##name_, kernel_, 8)

#endif
