/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walks of the guest's page tables, used by mmu.c only.
 */
#ifndef SOFTKVM_CPU_PAGING_H
#define SOFTKVM_CPU_PAGING_H

#include "mmu.h"

struct translation {
    uint64_t gpa;               /* of the address, not of its page; with cpu->c_bit: encrypted */
    uint8_t shift;              /* of the page's size */
    bool writable, user, executable;
    bool global;                /* survives a switch of address spaces */
    bool dirty;                 /* the D bit is set: writes need no further walk */
    bool shared;                /* a SEV guest's page without the C-bit: for all but code */
};

/*
 * paging_walk - translate addr and check that the access is allowed.
 * Sets accessed and dirty bits, atomically, once it is.  CPU_OK, CPU_FAULT
 * (#PF), or CPU_EXIT_ACCESS where a table can't be read here and now.
 */
enum cpu_status paging_walk(struct cpu *cpu, uint64_t addr, enum cpu_access access,
                            unsigned mmu_index, struct translation *t);

/* The same without rights and without touching the tables; CPU_FAULT: not mapped. */
enum cpu_status paging_peek(struct cpu *cpu, uint64_t addr, struct translation *t);

/* Do the rights of a translation allow this access? */
bool paging_allows(const struct cpu *cpu, const struct translation *t, enum cpu_access access,
                   unsigned mmu_index);

/* The RAM behind a page: cpu_ops.map_page() through a cache. */
enum cpu_status mmu_map_page(struct cpu *cpu, uint64_t gpa, enum cpu_access access,
                             struct cpu_page *page);
/* cpu_ops.mmio() in pieces that it takes. */
enum cpu_status mmu_mmio(struct cpu *cpu, uint64_t gpa, void *data, unsigned size, bool write);

#endif
