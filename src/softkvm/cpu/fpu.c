/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* x87: what its instructions share. */
#include "fpu.h"

/*
 * With CR0.NE clear a PC reports the exception through an interrupt controller
 * pin (FERR#), which isn't modelled: the guest goes on.
 */
enum cpu_status fpu_check_pending(struct cpu *cpu)
{
    if ((cpu->fpu.status & FSW_ES) && (cpu->cr0 & CR0_NE))
        return raise_fault(cpu, VECTOR_MF);
    return CPU_OK;
}
