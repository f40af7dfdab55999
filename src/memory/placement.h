/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where host memory comes from, and that it comes at once. */
#ifndef MEMORY_PLACEMENT_H
#define MEMORY_PLACEMENT_H

#include "object.h"

/* In the order of the property "policy"; the names are QEMU's. */
enum numa_policy { NUMA_DEFAULT, NUMA_PREFERRED, NUMA_BIND, NUMA_INTERLEAVE };

/* Before anything is allocated. 0 or -errno of mbind(). */
int placement_bind(void *addr, uint64_t size, enum numa_policy policy,
                   const struct node_set *nodes);

/*
 * Allocate all of it, by so many threads at once: of a mapping (addr), or of a file
 * that has none (addr NULL).  Pieces are multiples of page_size. 0 or -errno.
 */
int placement_prealloc(void *addr, int fd, uint64_t size, uint64_t page_size, unsigned threads);

#endif
