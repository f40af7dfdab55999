// SPDX-License-Identifier: LGPL-2.1-or-later
/* Pushing and popping of frames; see stack.h. */
#include "stack.h"
#include "exception.h"
#include "mmu.h"
#include "mode.h"
#include "segment.h"

static uint64_t width_mask(unsigned width)
{
    return width == 8 ? UINT64_MAX : width == 4 ? UINT32_MAX : UINT16_MAX;
}

void stack_current(const struct cpu *cpu, struct stack *stack)
{
    *stack = (struct stack){
        .ss = cpu->seg[SEG_SS], .sp = cpu->regs[REG_RSP], .width = cpu->stack_size,
        .mmu_index = cpu->mmu_index,
    };
}

void stack_other(const struct cpu *cpu, struct stack *stack, const struct cpu_segment *ss,
                 uint64_t sp, unsigned dpl, bool wide)
{
    *stack = (struct stack){
        .ss = *ss, .sp = sp, .width = wide ? 8 : ss->ar & SEG_AR_DB ? 4 : 2,
        .mmu_index = mmu_index_for(cpu, dpl),
    };
}

/* The linear address of size bytes at sp. */
static enum cpu_status stack_linear(struct cpu *cpu, const struct stack *stack, uint64_t sp,
                                    unsigned size, uint64_t *linear)
{
    bool ok;

    if (stack->width == 8) {
        ok = is_canonical(cpu, sp) && is_canonical(cpu, sp + size - 1);
        *linear = sp;
    } else {
        sp &= width_mask(stack->width);
        ok = segment_limit_ok(&stack->ss, sp, size);
        *linear = (uint32_t)(stack->ss.base + sp);
    }
    return ok ? CPU_OK : raise_fault_code(cpu, VECTOR_SS, stack->error);
}

static void move(struct stack *stack, int64_t bytes)
{
    uint64_t mask = width_mask(stack->width);

    stack->sp = (stack->sp & ~mask) | ((stack->sp + bytes) & mask);
}

void stack_release(struct stack *stack, uint64_t bytes)
{
    move(stack, (int64_t)bytes);
}

enum cpu_status stack_push(struct cpu *cpu, struct stack *stack, uint64_t value, unsigned size)
{
    struct stack next = *stack;
    enum cpu_status status;
    uint64_t linear;

    move(&next, -(int64_t)size);
    status = stack_linear(cpu, stack, next.sp, size, &linear);
    if (status == CPU_OK)
        status = mmu_access(cpu, stack->mmu_index, linear, &value, size, ACCESS_WRITE);
    if (status == CPU_OK)
        stack->sp = next.sp;
    return status;
}

enum cpu_status stack_pop(struct cpu *cpu, struct stack *stack, uint64_t *value, unsigned size)
{
    enum cpu_status status;
    uint64_t linear;

    *value = 0;
    status = stack_linear(cpu, stack, stack->sp, size, &linear);
    if (status == CPU_OK)
        status = mmu_access(cpu, stack->mmu_index, linear, value, size, ACCESS_READ);
    if (status == CPU_OK)
        move(stack, size);
    return status;
}

enum cpu_status stack_push_all(struct cpu *cpu, struct stack *stack, const uint64_t *values,
                               unsigned n, unsigned size)
{
    enum cpu_status status = CPU_OK;

    for (unsigned i = 0; status == CPU_OK && i < n; i++)
        status = stack_push(cpu, stack, values[i], size);
    return status;
}

enum cpu_status stack_pop_all(struct cpu *cpu, struct stack *stack, uint64_t *values,
                              unsigned n, unsigned size)
{
    enum cpu_status status = CPU_OK;

    for (unsigned i = 0; status == CPU_OK && i < n; i++)
        status = stack_pop(cpu, stack, &values[i], size);
    return status;
}

void stack_commit(struct cpu *cpu, const struct stack *stack)
{
    cpu->seg[SEG_SS] = stack->ss;
    cpu->regs[REG_RSP] = stack->width == 4 ? (uint32_t)stack->sp : stack->sp;
}
