/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE of general registers, memory and immediates. */
#include "exception.h"
#include "opcodes.h"
#include "operand.h"
#include "stack.h"

static enum cpu_status push(struct cpu *cpu, uint64_t value, unsigned size)
{
    struct stack stack;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_push(cpu, &stack, value, size);
    if (status == CPU_OK)
        stack_commit(cpu, &stack);
    return status;
}

enum cpu_status body_push_reg(struct cpu *cpu, const struct insn *insn)
{
    return push(cpu, cpu->regs[insn->reg], insn->size);
}

enum cpu_status body_push_imm(struct cpu *cpu, const struct insn *insn)
{
    return push(cpu, insn->imm, insn->size);
}

enum cpu_status body_push_rm(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    return status == CPU_OK ? push(cpu, value, insn->size) : status;
}

enum cpu_status body_pop_reg(struct cpu *cpu, const struct insn *insn)
{
    struct stack stack;
    uint64_t value;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_pop(cpu, &stack, &value, insn->size);
    if (status != CPU_OK)
        return status;
    /* In this order: POP RSP ends with what was popped. */
    stack_commit(cpu, &stack);
    hot_set(cpu, insn->reg, insn->size, value);
    return CPU_OK;
}

/* A destination in memory that RSP addresses is addressed after the pop. */
enum cpu_status body_pop_rm(struct cpu *cpu, const struct insn *insn)
{
    uint64_t sp = cpu->regs[REG_RSP], value;
    struct stack stack;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_pop(cpu, &stack, &value, insn->size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    status = rm_write(cpu, insn, insn->size, value);
    if (status != CPU_OK)
        cpu->regs[REG_RSP] = sp;
    return status;
}

/* AX CX DX BX, SP as it was, BP SI DI. */
enum cpu_status body_pusha(struct cpu *cpu, const struct insn *insn)
{
    struct stack stack;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_push_all(cpu, &stack, cpu->regs, 8, insn->size);
    if (status == CPU_OK)
        stack_commit(cpu, &stack);
    return status;
}

enum cpu_status body_popa(struct cpu *cpu, const struct insn *insn)
{
    uint64_t values[8];
    struct stack stack;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_pop_all(cpu, &stack, values, 8, insn->size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    for (unsigned i = 0; i < 8; i++)
        if (7 - i != REG_RSP)
            hot_set(cpu, 7 - i, insn->size, values[i]);
    return CPU_OK;
}

enum cpu_status body_leave(struct cpu *cpu, const struct insn *insn)
{
    struct stack stack;
    uint64_t value;
    enum cpu_status status;

    stack_current(cpu, &stack);
    stack.sp = (stack.sp & ~size_mask(stack.width)) | zero_extend(cpu->regs[REG_RBP], stack.width);
    status = stack_pop(cpu, &stack, &value, insn->size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    hot_set(cpu, REG_RBP, insn->size, value);
    return CPU_OK;
}

/* Copy the frame pointers of the enclosing procedures, which lie below where RBP points. */
static enum cpu_status enter_copy(struct cpu *cpu, struct stack *stack, unsigned level,
                                  unsigned size)
{
    struct stack outer = *stack;
    uint64_t pointer;

    outer.sp = cpu->regs[REG_RBP];
    for (unsigned i = 1; i < level; i++) {
        enum cpu_status status;

        stack_release(&outer, -(uint64_t)size);
        status = stack_pop(cpu, &outer, &pointer, size);
        if (status == CPU_OK)
            status = stack_push(cpu, stack, pointer, size);
        if (status != CPU_OK)
            return status;
        stack_release(&outer, -(uint64_t)size);
    }
    return CPU_OK;
}

/* The new frame must be writable down to where RSP will point. */
static enum cpu_status enter_probe(struct cpu *cpu, const struct stack *stack)
{
    uint64_t linear;
    enum cpu_status status = segment_linear(cpu, SEG_SS, zero_extend(stack->sp, stack->width), 1,
                                            ACCESS_WRITE, &linear);

    return status == CPU_OK ? mmu_probe(cpu, linear, 1, ACCESS_WRITE) : status;
}

enum cpu_status body_enter(struct cpu *cpu, const struct insn *insn)
{
    unsigned level = insn->selector & 31;
    struct stack stack;
    uint64_t frame;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_push(cpu, &stack, cpu->regs[REG_RBP], insn->size);
    if (status != CPU_OK)
        return status;
    frame = stack.sp;
    if (level) {
        status = enter_copy(cpu, &stack, level, insn->size);
        if (status == CPU_OK)
            status = stack_push(cpu, &stack, frame, insn->size);
        if (status != CPU_OK)
            return status;
    }
    stack_release(&stack, -insn->imm);
    status = enter_probe(cpu, &stack);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    hot_set(cpu, REG_RBP, insn->size, frame);
    return CPU_OK;
}

/* Threaded forms: 64-bit mode, 8 bytes. */
static ALWAYS_INLINE enum cpu_status hot_push(struct cpu *cpu, uint64_t value)
{
    uint64_t sp = cpu->regs[REG_RSP] - 8;
    struct tlb_entry *e;
    void *host = tlb_host(cpu, sp, 8, ACCESS_WRITE, &e);

    if (unlikely(!host))
        return CPU_MISS;
    host_store(host, 8, value);
    cpu->regs[REG_RSP] = sp;
    return hot_stored(cpu, e);
}

static ALWAYS_INLINE enum cpu_status hot_pop(struct cpu *cpu, unsigned reg)
{
    uint64_t sp = cpu->regs[REG_RSP];
    struct tlb_entry *e;
    void *host = tlb_host(cpu, sp, 8, ACCESS_READ, &e);

    if (unlikely(!host))
        return CPU_MISS;
    cpu->regs[REG_RSP] = sp + 8;
    cpu->regs[reg] = host_load(host, 8);
    return CPU_OK;
}

static enum cpu_status hot_push_reg(struct cpu *cpu, const struct insn *insn)
{
    return insn_finish(cpu, insn, hot_push(cpu, cpu->regs[insn->reg]));
}

static enum cpu_status hot_push_imm(struct cpu *cpu, const struct insn *insn)
{
    return insn_finish(cpu, insn, hot_push(cpu, insn->imm));
}

static enum cpu_status hot_pop_reg(struct cpu *cpu, const struct insn *insn)
{
    return insn_finish(cpu, insn, hot_pop(cpu, insn->reg));
}

static enum cpu_status hot_leave(struct cpu *cpu, const struct insn *insn)
{
    uint64_t sp = cpu->regs[REG_RBP];
    struct tlb_entry *e;
    void *host = tlb_host(cpu, sp, 8, ACCESS_READ, &e);

    if (unlikely(!host))
        return exec_body(cpu, insn);
    cpu->regs[REG_RSP] = sp + 8;
    cpu->regs[REG_RBP] = host_load(host, 8);
    return insn_finish(cpu, insn, CPU_OK);
}

static bool is_hot(const struct insn *insn, struct decode_mode mode)
{
    return mode.code_size == 8 && insn->size == 8;
}

insn_exec *pick_push_reg(struct insn *insn, struct decode_mode mode)
{
    return is_hot(insn, mode) ? hot_push_reg : NULL;
}

insn_exec *pick_push_imm(struct insn *insn, struct decode_mode mode)
{
    return is_hot(insn, mode) ? hot_push_imm : NULL;
}

insn_exec *pick_pop_reg(struct insn *insn, struct decode_mode mode)
{
    return is_hot(insn, mode) ? hot_pop_reg : NULL;
}

insn_exec *pick_leave(struct insn *insn, struct decode_mode mode)
{
    return is_hot(insn, mode) ? hot_leave : NULL;
}
