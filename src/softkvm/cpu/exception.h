/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raising exceptions, and delivering exceptions and interrupts through the IDT
 * (SDM vol. 3, chapter 6): real mode, protected mode, long mode, TSS stacks,
 * IST, double and triple faults.
 */
#ifndef SOFTKVM_CPU_EXCEPTION_H
#define SOFTKVM_CPU_EXCEPTION_H

#include "cpu.h"

static inline enum cpu_status raise_fault(struct cpu *cpu, uint8_t vector)
{
    cpu->fault = (struct cpu_fault){ .vector = vector };
    return CPU_FAULT;
}

static inline enum cpu_status raise_fault_code(struct cpu *cpu, uint8_t vector, uint32_t error)
{
    cpu->fault = (struct cpu_fault){ .vector = vector, .has_error = true, .error = error };
    return CPU_FAULT;
}

static inline enum cpu_status raise_gp(struct cpu *cpu)
{
    return raise_fault_code(cpu, VECTOR_GP, 0);
}

/*
 * exception_deliver - deliver cpu->event, combining faults that happen on the
 * way into #DF and shutdown.  CPU_OK; CPU_EXIT_SHUTDOWN; CPU_EXIT_ACCESS (event
 * stays pending and is delivered anew on re-entry).
 */
enum cpu_status exception_deliver(struct cpu *cpu);

/* Make cpu->fault the pending event: rip is on the faulting instruction. */
void exception_from_fault(struct cpu *cpu);

#endif
