/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What guest memory costs the host: bytes that each backing of each block really holds. */
#ifndef MEMORY_COST_H
#define MEMORY_COST_H

#include "memory.h"

struct memory_cost {
    char *name;
    enum backend_kind kind;
    uint64_t size;
    uint64_t shared;            /* held for shared pages; all of a plain block that isn't encrypted */
    bool private_known;         /* Linux doesn't say what a guest_memfd holds that can't be mapped */
    uint64_t private_;          /* held for private pages; if not known: at most this */
    uint64_t doubly;            /* held by both backings, at the same place; 0 if not known */
    uint64_t stale;             /* held by the backing that isn't in use for that page */
    bool encrypted;             /* a plain block of a SEV guest: its pages are private or shared too */
};

/*
 * Elements struct memory_cost, of all blocks.  Asks the kernel about every page of
 * them, without a lock: what changes meanwhile is seen or not.  Main thread.
 */
GPtrArray *memory_costs(struct memory *mem, GError **error);

#endif
