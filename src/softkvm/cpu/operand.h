/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operands of integer instructions, in two flavours.
 *
 * Plain: any size, any mode, any segment, at run time; for insn_body.
 * Hot: size and form are constants of the caller; memory must be a hit of the
 * TLB in 64-bit mode without FS or GS, and everything else is CPU_MISS, upon
 * which insn_finish() runs the plain body.
 *
 * The byte registers of hot forms are never AH, CH, DH, BH: pick functions see
 * to that with hot_byte_ok().
 */
#ifndef SOFTKVM_CPU_OPERAND_H
#define SOFTKVM_CPU_OPERAND_H

#include "exec.h"
#include "mmu.h"
#include "opcode.h"
#include "segment.h"

static ALWAYS_INLINE uint64_t size_mask(unsigned size)
{
    return size == 8 ? UINT64_MAX : (1ULL << (8 * size)) - 1;
}

static ALWAYS_INLINE uint64_t sign_extend(uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        return (int8_t)value;
    case 2:
        return (int16_t)value;
    case 4:
        return (int32_t)value;
    default:
        return value;
    }
}

static ALWAYS_INLINE uint64_t zero_extend(uint64_t value, unsigned size)
{
    return value & size_mask(size);
}

/* Index of the size: 0, 1, 2, 3 for 1, 2, 4, 8. */
static ALWAYS_INLINE unsigned size_index(unsigned size)
{
    return __builtin_ctz(size);
}

/* Registers of hot forms; the value is zero-extended. */
static ALWAYS_INLINE uint64_t hot_get(const struct cpu *cpu, unsigned reg, unsigned size)
{
    return zero_extend(cpu->regs[reg], size);
}

static ALWAYS_INLINE void hot_set(struct cpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
    if (size == 8)
        cpu->regs[reg] = value;
    else if (size == 4)
        cpu->regs[reg] = (uint32_t)value;
    else
        cpu->regs[reg] = (cpu->regs[reg] & ~size_mask(size)) | zero_extend(value, size);
}

/* Is reg AH, CH, DH or BH? */
static inline bool is_high_byte(const struct insn *insn, unsigned reg)
{
    return !(insn->flags & INSN_REX) && reg >= 4 && reg < 8;
}

static inline uint64_t reg_get(const struct cpu *cpu, const struct insn *insn, unsigned reg,
                               unsigned size)
{
    if (size == 1 && is_high_byte(insn, reg))
        return cpu->regs[reg - 4] >> 8 & 0xff;
    return hot_get(cpu, reg, size);
}

static inline void reg_set(struct cpu *cpu, const struct insn *insn, unsigned reg, unsigned size,
                           uint64_t value)
{
    if (size == 1 && is_high_byte(insn, reg))
        cpu->regs[reg - 4] = (cpu->regs[reg - 4] & ~0xff00ULL) | (value & 0xff) << 8;
    else
        hot_set(cpu, reg, size, value);
}

/* Linear memory of a size known at run time; the value is zero-extended. */
enum cpu_status linear_read(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *value);
enum cpu_status linear_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value);

/* The operand that ModRM names. */
enum cpu_status rm_read(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t *value);
enum cpu_status rm_write(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t value);

/*
 * An operand that is read, then written.  rmw_begin() reads it to old; a begin
 * that is CPU_OK is followed by rmw_commit() until that doesn't say CPU_MISS.
 * With LOCK the commit is a compare-and-exchange and says CPU_MISS, with a new
 * old, when another CPU was faster.
 */
struct rmw {
    uint64_t old, linear;
    void *host;                 /* NULL: a register, or memory that has no host address */
    uint32_t *code;
    unsigned size;
    bool bus_locked;
};

enum cpu_status rmw_begin_at(struct cpu *cpu, const struct insn *insn, uint64_t linear,
                             unsigned size, struct rmw *m);
enum cpu_status rmw_begin(struct cpu *cpu, const struct insn *insn, unsigned size, struct rmw *m);
enum cpu_status rmw_commit(struct cpu *cpu, const struct insn *insn, struct rmw *m,
                           uint64_t value);

/* Hot memory operands. */
static inline bool hot_memory_ok(const struct insn *insn, struct decode_mode mode)
{
    return mode.code_size == 8 && insn->address_size == 8 && insn->seg < SEG_FS;
}

static inline bool hot_byte_ok(const struct insn *insn, unsigned reg)
{
    return insn->size != 1 || !is_high_byte(insn, reg);
}

static ALWAYS_INLINE uint64_t hot_address(const struct cpu *cpu, const struct insn *insn)
{
    return cpu->regs[insn->base] + (cpu->regs[insn->index] << insn->scale) + (int64_t)insn->disp;
}

static ALWAYS_INLINE uint64_t host_load(const void *host, unsigned size)
{
    uint64_t value = 0;

    guest_copy(&value, host, size);
    return value;
}

static ALWAYS_INLINE void host_store(void *host, unsigned size, uint64_t value)
{
    guest_copy(host, &value, size);
}

/* After a hot store; the status that a hot form ends with. */
static ALWAYS_INLINE enum cpu_status hot_stored(struct cpu *cpu, const struct tlb_entry *e)
{
    if (likely(!(__atomic_load_n(e->code, __ATOMIC_RELAXED) & 1)))
        return CPU_OK;
    cpu->code_hit = e->code;
    return CPU_CODE_HIT;
}

#endif
