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

/*
 * Make cpu->fault the pending event: rip is on the faulting instruction, or
 * after it for traps.  Writes CR2 of a #PF, DR6 and DR7.GD of a #DB.
 */
void exception_from_fault(struct cpu *cpu);

/*
 * One event on its way through the IDT.  Everything that can fail comes before
 * the first change of a register.
 */
struct delivery {
    uint8_t vector;
    bool soft;                  /* gate's DPL is checked, faults don't get the EXT bit */
    bool has_error;
    uint32_t error;
    uint64_t rip;               /* to be pushed */
    bool resume;                /* push RF set: the instruction is to run again */
};

/*
 * CPU_OK; CPU_FAULT (nothing changed, nothing combined); CPU_BREAK: delivered to
 * another task, whose first fault, if any, is cpu->event; CPU_EXIT_*.
 */
enum cpu_status interrupt_deliver(struct cpu *cpu, const struct delivery *d);

#endif
