/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests: do KVM, the record of what is private and all listeners say the same? */
#ifndef MEMORY_CHECK_H
#define MEMORY_CHECK_H

#include "memory.h"

struct memory_check {
    bool kvm_asked;             /* this KVM tells */
    uint64_t runs;              /* of pages that were compared */
    unsigned listeners;         /* that can be asked */
    uint64_t mismatches;        /* runs of pages in which somebody disagrees with the record */
    /* The first one. */
    uint64_t gpa, size;
    const char *who;            /* "kvm", "host-mapping", "listener" */
};

/*
 * All blocks that have attributes or sources, where they are mapped.  mem->lock is
 * held meanwhile: vCPUs wait if they run.
 */
struct memory_check memory_check(struct memory *mem);

#endif
