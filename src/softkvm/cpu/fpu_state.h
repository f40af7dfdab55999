/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The x87 register stack and exceptions, for the executors (SDM vol. 1,
 * sections 8.1 to 8.6).
 *
 * An executor begins with fpu_begin() and ends with fpu_end().  In between it
 * gathers exceptions in a struct f80_env and hands them to fpu_raise(), which says
 * whether an unmasked one forbids the result.
 */
#ifndef SOFTKVM_FPU_STATE_H
#define SOFTKVM_FPU_STATE_H

#include "exec.h"
#include "f80.h"
#include "mmu.h"
#include "opcodes.h"
#include "segment.h"

/* Exceptions of operands: the result isn't computed when they are unmasked. */
enum { FSW_EARLY = FSW_IE | FSW_DE | FSW_ZE };

static inline unsigned fpu_top(const struct cpu_fpu *fpu)
{
    return fpu->status >> FSW_TOP_SHIFT & 7;
}

static inline void fpu_set_top(struct cpu_fpu *fpu, unsigned top)
{
    fpu->status = (fpu->status & ~FSW_TOP) | (top & 7) << FSW_TOP_SHIFT;
}

static inline unsigned fpu_physical(const struct cpu_fpu *fpu, unsigned i)
{
    return (fpu_top(fpu) + i) & 7;
}

static inline bool fpu_empty(const struct cpu_fpu *fpu, unsigned i)
{
    return !(fpu->valid >> fpu_physical(fpu, i) & 1);
}

static inline struct f80 fpu_get(const struct cpu_fpu *fpu, unsigned i)
{
    const union cpu_st *st = &fpu->st[fpu_physical(fpu, i)];

    return (struct f80){ st->mantissa, st->sign_exponent };
}

/* Also makes the register non-empty. */
static inline void fpu_set(struct cpu_fpu *fpu, unsigned i, struct f80 value)
{
    unsigned reg = fpu_physical(fpu, i);

    fpu->st[reg].mantissa = value.mantissa;
    fpu->st[reg].sign_exponent = value.sign_exponent;
    fpu->valid |= 1 << reg;
}

static inline void fpu_pop(struct cpu_fpu *fpu)
{
    fpu->valid &= ~(1 << fpu_top(fpu));
    fpu_set_top(fpu, fpu_top(fpu) + 1);
}

static inline void fpu_push(struct cpu_fpu *fpu, struct f80 value)
{
    fpu_set_top(fpu, fpu_top(fpu) - 1);
    fpu_set(fpu, 0, value);
}

static inline struct f80_env fpu_env(const struct cpu_fpu *fpu)
{
    return (struct f80_env){ .control = fpu->control };
}

/* Set the condition codes cc (of FSW_CC) in mask. */
static inline void fpu_set_cc(struct cpu_fpu *fpu, uint16_t mask, uint16_t cc)
{
    fpu->status = (fpu->status & ~mask) | cc;
}

/* #NM, then #MF for what waits. */
enum cpu_status fpu_begin(struct cpu *cpu);

/* For the instructions that don't wait: #NM only. */
enum cpu_status fpu_begin_control(struct cpu *cpu);

/* The instruction completed: remember where it and its operand are.  CPU_OK. */
enum cpu_status fpu_end(struct cpu *cpu, const struct insn *insn);

/*
 * fpu_raise - record exceptions and C1 (0 unless among flags).
 * False: an unmasked one is in late (FSW_EARLY for a result in a register), and
 * the destination and the stack are to stay as they are.
 */
bool fpu_raise(struct cpu_fpu *fpu, uint16_t flags, uint16_t late);

/* Stack faults; the same answer. */
static inline bool fpu_underflow(struct cpu_fpu *fpu)
{
    return fpu_raise(fpu, FSW_IE | FSW_SF, FSW_EARLY);
}

/* fpu_push_result - push value unless the stack is full or flags forbid it. */
void fpu_push_result(struct cpu_fpu *fpu, struct f80 value, uint16_t flags);

/* The memory operand, size bytes; cpu->x87_operand is set meanwhile, but for fpu_store_word(). */
enum cpu_status fpu_load(struct cpu *cpu, const struct insn *insn, void *data, unsigned size);
enum cpu_status fpu_store(struct cpu *cpu, const struct insn *insn, const void *data,
                          unsigned size);
enum cpu_status fpu_store_word(struct cpu *cpu, const struct insn *insn, uint16_t value);

#endif
