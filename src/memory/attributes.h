/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions about which guest memory is private, shared, populated.
 *
 * Each answer is one consistent picture of all blocks that it covers: memory->lock
 * is held only to take snapshots of the maps, whatever the size of the answer, so
 * that no vCPU waits for it.  Main thread only, as blocks and sources come and go
 * there.
 */
#ifndef MEMORY_ATTRIBUTES_H
#define MEMORY_ATTRIBUTES_H

#include "memory.h"

struct attr_range {
    uint64_t start, size;       /* bytes, within the block */
    uint64_t gpa;               /* only of an answer about a window */
    bool shared, populated;
};

struct attr_filter {
    const char *block;          /* this one alone; NULL: all that have attributes */
    bool window;                /* only what the guest sees in [gpa, gpa + size) */
    uint64_t gpa, size;
    uint64_t min_size;          /* smaller ranges are left out */
    size_t limit;               /* ranges in all; 0: as many as there are */
    const char *cursor;         /* NULL, or the cursor of an earlier answer to the same question */
};

struct attr_block {
    char *name;
    GArray *ranges;             /* struct attr_range: ascending, maximal; without gaps unless filtered */
    char *cursor;               /* the limit is reached here: where to go on; else NULL */
};

/* Elements struct attr_block, freed with the array.  NULL: no such block, a bad cursor, no memory. */
GPtrArray *memory_attributes(struct memory *mem, const struct attr_filter *filter, GError **error);

struct attr_summary {
    char *name;
    uint64_t size, private_, shared, populated; /* bytes */
    uint64_t ranges;                            /* that a query without filter would list */
    struct attr_range largest_private, largest_shared;  /* the first of them; size 0: none */
    uint64_t map_bytes;                         /* that the record of private pages takes */
};

/* Of one block (NULL: all that have attributes): elements struct attr_summary. */
GPtrArray *memory_attributes_summary(struct memory *mem, const char *block, GError **error);

#endif
