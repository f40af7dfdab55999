/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The task-state segment, and switching tasks through it (SDM vol. 3, chapter 7). */
#ifndef SOFTKVM_CPU_TASK_H
#define SOFTKVM_CPU_TASK_H

#include "exception.h"

/* Read from the current TSS.  #TS beyond its limit; ext is or-ed to the error code. */
enum cpu_status tss_read(struct cpu *cpu, unsigned offset, void *data, unsigned size,
                         uint32_t ext);

/* The stack that a 16- or 32-bit TSS has for privilege level cpl. */
struct stack;
enum cpu_status tss_stack(struct cpu *cpu, unsigned cpl, uint32_t ext, struct stack *stack);

enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };

/*
 * Leave the current task, to be resumed at rip, and enter the one whose TSS
 * selector names.  CPU_BREAK: done, and if the new task faulted on its way in,
 * that fault is cpu->event.  CPU_FAULT: nothing changed.
 */
enum cpu_status task_switch(struct cpu *cpu, uint16_t selector, enum task_reason reason,
                            uint64_t rip);
/* The same for an event that a task gate serves; pushes its error code. */
enum cpu_status task_gate_deliver(struct cpu *cpu, const struct delivery *d, uint16_t selector);

#endif
