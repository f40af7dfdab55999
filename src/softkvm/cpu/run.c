/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: executes blocks until something happens that the CPU can't settle
 * alone, delivers events between them, and steps by single instructions where
 * each one matters: after STI and MOV SS, under TF, for a debugger
 * (SDM vol. 3, sections 6.8.3 and 17.3).
 */
#include "cpu.h"

#include "block.h"
#include "debug.h"
#include "exception.h"
#include "exec.h"
#include "fpu_env.h"
#include "opcode.h"

/*
 * After so many instructions executors return to the loop even where links would
 * lead on.  Where the compiler doesn't turn their last calls into jumps (no
 * optimisation, sanitizers) this bounds the depth of the stack.
 */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
enum { BUDGET = 4096 };
#else
enum { BUDGET = 256 };
#endif

/* The longest that code runs without being compared with memory: cpu_doubt_code(). */
enum { DOUBT_AFTER = 1 << 20 };

static uint64_t linear_rip(const struct cpu *cpu)
{
    uint64_t rip = cpu->regs[REG_RIP];

    return cpu->code_size == 8 ? rip : (uint32_t)(cpu->seg[SEG_CS].base + rip);
}

/*
 * A trap after an instruction (dr6: BS, or the breakpoints that its accesses
 * hit), or a breakpoint before one: for the debugger that asked, or the guest's #DB.
 */
static enum cpu_status debug_trap(struct cpu *cpu, uint32_t dr6)
{
    bool host = cpu->guest_debug.enabled &&
                (dr6 & DR6_BS ? cpu->guest_debug.single_step : cpu->guest_debug.hw_breakpoints);

    if (!host) {
        cpu->fault = (struct cpu_fault){ .vector = VECTOR_DB, .address = dr6 };
        exception_from_fault(cpu);
        return CPU_BREAK;
    }
    cpu->debug.vector = VECTOR_DB;
    cpu->debug.dr6 = DR6_FIXED | dr6;
    cpu->debug.dr7 = cpu->guest_debug.hw_breakpoints ? cpu->guest_debug.dr[7] : cpu->dr[7];
    cpu->debug.pc = linear_rip(cpu);
    return CPU_EXIT_DEBUG;
}

/* What is due when an instruction is over, and hasn't to be started anew. */
static enum cpu_status attend(struct cpu *cpu, enum cpu_status status)
{
    uint8_t attention = cpu->attention, hits = cpu->debug_hits;

    cpu->attention = 0;
    cpu->debug_hits = 0;
    if (attention & ATTENTION_ACCESS)
        cpu->ops->access_done(cpu->opaque);
    if (status != CPU_BREAK || cpu->event.pending)
        return status;
    if (attention & ATTENTION_DEBUG && cpu->interrupt_shadow & CPU_SHADOW_MOV_SS) {
        cpu->attention = ATTENTION_DEBUG;       /* it comes after the next instruction */
        cpu->debug_hits = hits;
        return status;
    }
    if (attention & ATTENTION_TRAP)
        return debug_trap(cpu, DR6_BS | hits);
    if (attention & ATTENTION_DEBUG)
        return debug_trap(cpu, hits);
    return status;
}

enum cpu_status insn_stop(struct cpu *cpu, const struct insn *insn, enum cpu_status status)
{
    bool completed = status == CPU_OK || status == CPU_BREAK || status == CPU_EXIT_HLT;
    bool rip_set = status == CPU_BREAK && insn->row < nr_opcodes &&
                   (opcodes[insn->row].attrs & SETS_RIP);

    if (!rip_set)
        cpu->regs[REG_RIP] += completed ? insn->next : insn->off;
    cpu->budget -= insn->ordinal + completed;
    if (status == CPU_OK)
        status = CPU_BREAK;
    if (unlikely(status == CPU_EXIT_ACCESS))
        block_keep_left(cpu, insn);
    else if (unlikely(cpu->attention))
        status = attend(cpu, status);
    return status;
}

enum cpu_status exec_body(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = insn->body(cpu, insn);

    if (likely(status == CPU_OK) && likely(!cpu->attention))
        NEXT(cpu, insn);
    return insn_stop(cpu, insn, status);
}

static enum cpu_status body_gp(struct cpu *cpu, const struct insn *insn)
{
    return raise_gp(cpu);
}

enum cpu_status exec_body_cpl0(struct cpu *cpu, const struct insn *insn)
{
    if (unlikely(cpu->cpl != 0))
        return insn_stop(cpu, insn, body_gp(cpu, insn));
    return exec_body(cpu, insn);
}

enum cpu_status body_ud(struct cpu *cpu, const struct insn *insn)
{
    return raise_fault(cpu, VECTOR_UD);
}

enum cpu_status body_too_long(struct cpu *cpu, const struct insn *insn)
{
    return raise_gp(cpu);
}

/* The block was cut at the page's end or at its greatest length: on with what follows. */
enum cpu_status exec_end(struct cpu *cpu, const struct insn *end)
{
    return chain(cpu, end, 0, insn_next_rip(cpu, end), false);
}

enum cpu_status exec_end_near(struct cpu *cpu, const struct insn *end)
{
    return chain(cpu, end, 0, insn_next_rip(cpu, end), true);
}

/* After an instruction that may have changed what the next fetch depends on. */
enum cpu_status exec_leave(struct cpu *cpu, const struct insn *end)
{
    cpu->regs[REG_RIP] += end->next;
    if (cpu->code_size != 8)
        cpu->regs[REG_RIP] = (uint32_t)cpu->regs[REG_RIP];
    cpu->budget -= end->ordinal;
    return CPU_BREAK;
}

/* Nobody wants the engine to look around. */
static bool may_go_on(const struct cpu *cpu)
{
    return cpu->budget > 0 && !__atomic_load_n(&cpu->request, __ATOMIC_RELAXED);
}

enum cpu_status chain_miss(struct cpu *cpu, const struct insn *end, unsigned slot, bool near)
{
    struct block *next = end->link[slot];

    if (may_go_on(cpu) && (near || end->link_key == cpu->fetch_key) && block_confirm(cpu, next))
        return next->insns[0].exec(cpu, next->insns);
    cpu->blocks->pending = (struct insn *)end;
    cpu->blocks->pending_slot = slot;
    cpu->blocks->pending_near = near;
    return CPU_BREAK;
}

enum cpu_status chain_indirect_miss(struct cpu *cpu, const struct jump_entry *e, uint64_t rip)
{
    if (may_go_on(cpu) && e->rip == rip && e->key == cpu->fetch_key &&
        block_confirm(cpu, e->block))
        return e->block->insns[0].exec(cpu, e->block->insns);
    return CPU_BREAK;
}

bool cpu_interrupt_allowed(const struct cpu *cpu)
{
    return (cpu->flags & FLAG_IF) && !cpu->interrupt_shadow && !cpu->event.pending;
}

/* CPU_EXIT_REQUEST if a request can be served now. */
static enum cpu_status look_at_requests(struct cpu *cpu)
{
    uint32_t request = __atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE);

    if (likely(!request))
        return CPU_OK;
    if ((request & CPU_REQ_EXIT) ||
        ((request & CPU_REQ_NMI) && !cpu->nmi_masked && !cpu->interrupt_shadow) ||
        ((request & CPU_REQ_IRQ) && cpu_interrupt_allowed(cpu)))
        return CPU_EXIT_REQUEST;
    return CPU_OK;
}

static enum cpu_status run_block(struct cpu *cpu, const struct block *block, int64_t budget)
{
    enum cpu_status status;

    cpu->budget = budget;
    status = block->insns[0].exec(cpu, block->insns);
    cpu->instructions += budget - cpu->budget;
    return status;
}

/* The block at rip, or the instruction there that waited for user space. */
static enum cpu_status next_block(struct cpu *cpu, bool single, const struct block **ret)
{
    if (unlikely(cpu->restart)) {
        cpu->restart = false;
        *ret = block_take_left(cpu);
        if (*ret)
            return CPU_OK;
    }
    return block_find(cpu, single, ret);
}

static bool traps_by_new_tf(const struct insn *insn)
{
    return insn->row < nr_opcodes && (opcodes[insn->row].attrs & TRAPS_BY_NEW_TF);
}

static bool must_step(const struct cpu *cpu)
{
    return (cpu->flags & (FLAG_TF | FLAG_RF)) || cpu->interrupt_shadow ||
           cpu->guest_debug.single_step || cpu->debug_code;
}

/* One instruction.  The shadow covers it alone, unless it has to be started anew. */
static enum cpu_status step(struct cpu *cpu)
{
    uint8_t shadow = cpu->interrupt_shadow;
    bool tf = cpu->flags & FLAG_TF, resume = cpu->flags & FLAG_RF, new_tf;
    uint32_t hits = cpu->debug_code && !resume ? debug_code_hits(cpu, linear_rip(cpu)) : 0;
    const struct block *block;
    enum cpu_status status;

    if (hits)
        return debug_trap(cpu, hits);
    status = next_block(cpu, true, &block);
    if (status != CPU_OK)
        return status;
    cpu->interrupt_shadow = 0;
    new_tf = traps_by_new_tf(&block->insns[0]);
    status = run_block(cpu, block, 1);
    cpu->blocks->pending = NULL;
    if (status == CPU_EXIT_ACCESS || status == CPU_EXIT_REQUEST)
        cpu->interrupt_shadow = shadow;
    if (status == CPU_EXIT_HLT && tf && !cpu->guest_debug.single_step)
        return debug_trap(cpu, DR6_BS);         /* which wakes it at once */
    if (status != CPU_BREAK)
        return status;
    if (resume)
        cpu->flags &= ~(uint64_t)FLAG_RF;
    if (new_tf)
        tf = cpu->flags & FLAG_TF;
    if (cpu->interrupt_shadow & CPU_SHADOW_MOV_SS)
        tf = false;
    return (tf || cpu->guest_debug.single_step) && !cpu->event.pending ? debug_trap(cpu, DR6_BS)
                                                                       : CPU_BREAK;
}

static enum cpu_status run_on(struct cpu *cpu)
{
    const struct block *block;
    enum cpu_status status;

    if (unlikely(must_step(cpu)))
        return step(cpu);
    if (unlikely(cpu->instructions - cpu->doubted_at > DOUBT_AFTER))
        cpu_doubt_code(cpu);
    status = next_block(cpu, false, &block);
    if (unlikely(status != CPU_OK))
        return status;
    block_link(cpu, block);
    return run_block(cpu, block, BUDGET);
}

enum cpu_status cpu_run(struct cpu *cpu)
{
    enum cpu_status status = CPU_OK;
    uint32_t host_env = fpu_enter(cpu);

    cpu->regs[REG_4GIB] = 1ULL << 32;
    cpu->blocks->pending = NULL;
    while (status == CPU_OK || status == CPU_BREAK) {
        if (unlikely(cpu->event.pending)) {
            cpu->blocks->pending = NULL;
            status = exception_deliver(cpu);
            if (unlikely(cpu->attention) && status != CPU_EXIT_ACCESS)
                attend(cpu, CPU_OK);
            if (status != CPU_OK)
                break;
        }
        status = look_at_requests(cpu);
        if (unlikely(status != CPU_OK))
            break;
        status = run_on(cpu);
        /* What fetching did: threaded executors don't look, and a fetch that failed had none. */
        if (unlikely(cpu->attention) && status != CPU_EXIT_ACCESS)
            status = attend(cpu, status);
        if (status == CPU_FAULT) {
            exception_from_fault(cpu);
            status = CPU_OK;
        }
    }
    fpu_leave(cpu, host_env);
    return status;
}
