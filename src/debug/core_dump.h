/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory and registers as an ELF core file, which gdb, crash and readelf
 * open: System V ABI (AMD64) for ELF and NT_PRSTATUS, QEMU's docs and include/elf.h
 * readers for its CPU note.
 *
 * Made in steps, so that a monitor can answer between them.  The guest has to be
 * stopped until the end.
 */
#ifndef DEBUG_CORE_DUMP_H
#define DEBUG_CORE_DUMP_H

#include "debug.h"

struct core_dump_options {
    bool paging;                /* segments by virtual address, as all vCPUs' tables have it */
    bool omit;                  /* memory that can't be read: no segment, instead of an empty one */
    bool filter;                /* only [begin, begin + length) of physical memory */
    uint64_t begin, length;
};

struct core_dump;

/* NULL with the error set: nothing has been written.  fd stays the caller's. */
struct core_dump *core_dump_new(struct debug *dbg, int fd, const struct core_dump_options *opt,
                                GError **error);
void core_dump_free(struct core_dump *dump);

/* Bytes of memory, written and in all. */
void core_dump_progress(const struct core_dump *dump, uint64_t *ret_done, uint64_t *ret_total);
/* Some more, at most a few MiB.  False: the error is set.  Done when progress says so. */
bool core_dump_step(struct core_dump *dump, GError **error);
/* Bytes of RAM that aren't in it because they can't be read. */
uint64_t core_dump_missing(const struct core_dump *dump);

#endif
