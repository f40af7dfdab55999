/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What executors call when they are done: on to the next instruction, out of
 * the block, or to the next block.
 */
#ifndef SOFTKVM_CPU_EXEC_H
#define SOFTKVM_CPU_EXEC_H

#include "block.h"
#include "insn.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define likely(x_) __builtin_expect(!!(x_), 1)
#define unlikely(x_) __builtin_expect(!!(x_), 0)

/* Runs insn->body and goes on; exec_body_cpl0 first wants CPL 0. */
insn_exec exec_body, exec_body_cpl0;

/* Does nothing. */
insn_exec exec_nop;

/* #UD, and #GP(0) for more than 15 bytes. */
insn_body body_ud, body_too_long;

/*
 * insn_stop - leave the block at insn, which ended with status (not CPU_OK, or
 * CPU_OK with something due): settles rip and the count of instructions.
 */
enum cpu_status insn_stop(struct cpu *cpu, const struct insn *insn, enum cpu_status status);

/*
 * For a body of a string instruction that completed an iteration, with more to
 * come, and wants the engine to look around: rip stays on the instruction.
 */
static inline enum cpu_status insn_again(struct cpu *cpu, const struct insn *insn)
{
    cpu->regs[REG_RIP] -= insn->next - insn->off;
    return CPU_BREAK;
}

/* Results within threaded executors only: */
#define CPU_MISS ((enum cpu_status)-1)      /* can't do this the fast way */
#define CPU_CODE_HIT ((enum cpu_status)-2)  /* done; the store hit decoded code: cpu->code_hit */

/* Settles CPU_CODE_HIT: the block ends after this instruction. */
enum cpu_status exec_code_hit(struct cpu *cpu, const struct insn *insn);

/* End of a threaded executor. */
static ALWAYS_INLINE enum cpu_status insn_finish(struct cpu *cpu, const struct insn *insn,
                                                 enum cpu_status status)
{
    if (likely(status == CPU_OK))
        NEXT(cpu, insn);
    if (status == CPU_MISS)
        return exec_body(cpu, insn);
    if (status == CPU_CODE_HIT)
        return exec_code_hit(cpu, insn);
    return insn_stop(cpu, insn, status);
}

/* The record after the last instruction: no link of its block leads on. */
insn_exec exec_end, exec_end_near, exec_leave;

/*
 * The link can't be followed at once: its block was in doubt and is run after all, or
 * the engine is told which link to set.
 */
enum cpu_status chain_miss(struct cpu *cpu, const struct insn *end, unsigned slot, bool near);

/* The same for the jump cache's entry. */
enum cpu_status chain_indirect_miss(struct cpu *cpu, const struct jump_entry *e, uint64_t rip);

/*
 * chain - go on with the block at rip, which a direct branch (or the end of the
 * block) leads to.  64-bit mode only.
 * @end: the record after the block's last instruction; @slot: 0 not taken, 1 taken.
 * @near: the target is in the same page, so that no change of translations
 * separates the two.
 */
static ALWAYS_INLINE enum cpu_status chain(struct cpu *cpu, const struct insn *end, unsigned slot,
                                           uint64_t rip, bool near)
{
    const struct block *next = end->link[slot];

    cpu->regs[REG_RIP] = rip;
    cpu->budget -= end->ordinal;
    if (likely(block_is_current(next)) && likely(cpu->budget > 0) &&
        likely(!__atomic_load_n(&cpu->request, __ATOMIC_RELAXED)) &&
        (near || likely(end->link_key == cpu->fetch_key)))
        return next->insns[0].exec(cpu, next->insns);
    return chain_miss(cpu, end, slot, near);
}

/* chain_indirect - go on at rip, wherever it came from.  64-bit mode only. */
static ALWAYS_INLINE enum cpu_status chain_indirect(struct cpu *cpu, const struct insn *end,
                                                    uint64_t rip)
{
    const struct jump_entry *e = jump_entry(cpu->blocks, rip);

    cpu->regs[REG_RIP] = rip;
    cpu->budget -= end->ordinal;
    if (likely(e->rip == rip) && likely(e->key == cpu->fetch_key) &&
        likely(block_is_current(e->block)) && likely(cpu->budget > 0) &&
        likely(!__atomic_load_n(&cpu->request, __ATOMIC_RELAXED)))
        return e->block->insns[0].exec(cpu, e->block->insns);
    return chain_indirect_miss(cpu, e, rip);
}

#endif
