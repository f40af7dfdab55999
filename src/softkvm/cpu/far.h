/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What far returns, IRET and the fast system calls have in common. */
#ifndef SOFTKVM_CPU_FAR_H
#define SOFTKVM_CPU_FAR_H

#include "segment.h"
#include "stack.h"

/* The code segment that a far return or IRET goes back to, and its offset, checked. */
enum cpu_status code_segment_return(struct cpu *cpu, uint16_t selector, struct cpu_segment *cs,
                                    uint64_t *offset);

/* The stack of the outer level that cs runs at. */
enum cpu_status outer_stack(struct cpu *cpu, const struct cpu_segment *cs, uint16_t selector,
                            uint64_t sp, struct stack *stack);

/* After a return to an outer level: it must not keep segments of the inner one. */
void segments_drop_inner(struct cpu *cpu);

#endif
