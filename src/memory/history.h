/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last conversions of a VM, whoever asked and however they ended: a ring of
 * fixed size, written under memory->lock by the conversion itself.
 */
#ifndef MEMORY_HISTORY_H
#define MEMORY_HISTORY_H

#include "memory.h"

enum { CONVERSION_HISTORY = 1024 };     /* records that are kept */

struct conversion_record {
    uint64_t serial;            /* 1 is the VM's first */
    int64_t time_us;            /* when it began, since the epoch */
    uint64_t duration_ns;
    struct conversion_origin origin;
    uint64_t gpa, size;         /* that were asked for */
    uint64_t pages;             /* that were in the other state */
    bool to_private;
    int result;                 /* 0; -errno, and then: */
    uint64_t failed_gpa;
};

const char *conversion_cause_name(enum conversion_cause cause);

/*
 * The newest records with a serial above since, at most max, oldest first: GArray of
 * struct conversion_record.  *ret_last (may be NULL): the serial of the VM's last one.
 */
GArray *memory_conversions(struct memory *mem, uint64_t since, size_t max, uint64_t *ret_last);

#endif
