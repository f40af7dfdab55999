/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A stack that an event, a gate or a return pushes to and pops from.  It is a
 * copy: RSP and SS change only with stack_commit(), when nothing can fail any more.
 */
#ifndef SOFTKVM_CPU_STACK_H
#define SOFTKVM_CPU_STACK_H

#include "cpu.h"

struct stack {
    struct cpu_segment ss;
    uint64_t sp;
    uint8_t width;              /* of the stack pointer: 2, 4, 8 */
    uint8_t mmu_index;          /* whose rights: those of the level that the stack belongs to */
    uint32_t error;             /* of the #SS that a push beyond the limit raises */
};

/* The stack in use. */
void stack_current(const struct cpu *cpu, struct stack *stack);

/* A stack of another privilege level; width follows from ss, or is 8 for 64-bit code. */
void stack_other(const struct cpu *cpu, struct stack *stack, const struct cpu_segment *ss,
                 uint64_t sp, unsigned dpl, bool wide);

enum cpu_status stack_push(struct cpu *cpu, struct stack *stack, uint64_t value, unsigned size);
enum cpu_status stack_pop(struct cpu *cpu, struct stack *stack, uint64_t *value, unsigned size);

/* Several at once: push from values[0] on, pop into values[0] on. */
enum cpu_status stack_push_all(struct cpu *cpu, struct stack *stack, const uint64_t *values,
                               unsigned n, unsigned size);
enum cpu_status stack_pop_all(struct cpu *cpu, struct stack *stack, uint64_t *values,
                              unsigned n, unsigned size);

/* RSP += bytes within the stack's width: parameters that a return releases. */
void stack_release(struct stack *stack, uint64_t bytes);

/* Make it the stack in use: SS, RSP.  cpu_update_mode() is the caller's. */
void stack_commit(struct cpu *cpu, const struct stack *stack);

#endif
