// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The task-state segment.  Switching tasks in hardware isn't modelled: it ends
 * in CPU_EXIT_UNKNOWN.
 */
#include "task.h"
#include "mmu.h"
#include "stack.h"

enum cpu_status tss_read(struct cpu *cpu, unsigned offset, void *data, unsigned size,
                         uint32_t ext)
{
    const struct cpu_segment *tr = &cpu->seg[SEG_TR];

    if (offset + size - 1 > tr->limit)
        return raise_fault_code(cpu, VECTOR_TS, (tr->selector & ~3u) | ext);
    return mmu_read_system(cpu, tr->base + offset, data, size);
}

enum cpu_status task_switch(struct cpu *cpu, uint16_t selector, enum task_reason reason,
                            uint64_t rip)
{
    return CPU_EXIT_UNKNOWN;
}

enum cpu_status task_gate_deliver(struct cpu *cpu, const struct delivery *d, uint16_t selector)
{
    return CPU_EXIT_UNKNOWN;
}
