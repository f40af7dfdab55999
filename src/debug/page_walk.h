/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's page tables, read from outside: Intel SDM vol. 3A, chapter 4;
 * AMD APM vol. 2, chapter 5 (and 15.34 for the C-bit, which isn't part of an address).
 *
 * A walk is of one vCPU's paging at one moment and remembers the tables that it
 * has read: make one for each command.
 */
#ifndef DEBUG_PAGE_WALK_H
#define DEBUG_PAGE_WALK_H

#include "debug.h"

#include <errno.h>

enum paging_mode { PAGING_OFF, PAGING_32BIT, PAGING_PAE, PAGING_4LEVEL, PAGING_5LEVEL };

/* Bits of an entry. */
enum {
    PTE_PRESENT = 1 << 0, PTE_WRITABLE = 1 << 1, PTE_USER = 1 << 2, PTE_WRITE_THROUGH = 1 << 3,
    PTE_NO_CACHE = 1 << 4, PTE_ACCESSED = 1 << 5, PTE_DIRTY = 1 << 6, PTE_LARGE = 1 << 7,
    PTE_GLOBAL = 1 << 8,
};
#define PTE_NO_EXECUTE (1ULL << 63)

/* One entry that maps something. */
struct page_leaf {
    uint64_t gva, gpa;          /* of its first byte; gva is sign-extended where that is the rule */
    uint64_t size;
    uint64_t entry;             /* as it is in memory, without what isn't address or right */
    enum debug_view view;       /* how the processor sees the memory through it */
    bool large;
    bool user, writable, no_execute;    /* all levels together */
};

/* NULL: the vCPU's registers can't be read. */
struct page_walk *page_walk_new(struct debug *dbg, unsigned cpu, GError **error);
/* With paging as these registers have it. */
struct page_walk *page_walk_new_sregs(struct debug *dbg, const struct kvm_sregs *sregs);
void page_walk_free(struct page_walk *walk);
static inline void page_walk_freep(struct page_walk **walk)
{
    page_walk_free(*walk);
}
/* Freed at the end of the block. */
#define AUTO_PAGE_WALK __attribute__((cleanup(page_walk_freep))) struct page_walk *

enum paging_mode page_walk_mode(const struct page_walk *walk);
/* For people: "4-level". */
const char *page_walk_mode_name(const struct page_walk *walk);
/* Memory has been written. */
void page_walk_forget(struct page_walk *walk);

/* The leaf that maps gva.  False: nothing does (code DEBUG_UNMAPPED), or a table can't be read. */
enum { DEBUG_UNMAPPED = ENXIO };
bool debug_translate(struct page_walk *walk, uint64_t gva, struct page_leaf *ret, GError **error);

/*
 * Every leaf that maps something of [first, last], ascending in the tables' order
 * (addresses as the processor forms them: the upper half comes last), until fn
 * returns false.  A table that can't be read is reported by a leaf of the range
 * that it is for, with reason set instead of an entry, and passed over.
 *
 * Guests can build tables that refer to themselves and map far more than there is:
 * after PAGE_WALK_MAX_TABLES tables the walk ends.
 * False: fn has said so, or that limit is reached, or paging is off (*ret_next: the
 * first address that wasn't looked at).
 */
enum { PAGE_WALK_MAX_TABLES = 1 << 18 };
typedef bool (*page_leaf_fn)(void *opaque, const struct page_leaf *leaf, const char *reason);
bool page_walk_each(struct page_walk *walk, uint64_t first, uint64_t last, page_leaf_fn fn,
                    void *opaque, uint64_t *ret_next);

#endif
