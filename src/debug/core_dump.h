/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory and registers in a file: an ELF core, which gdb, crash and readelf
 * open, or one of makedumpfile's, compressed by the page, which crash and drgn open.
 *
 * Made in steps, so that a monitor can answer between them.  The guest has to be
 * stopped until the end.
 */
#ifndef DEBUG_CORE_DUMP_H
#define DEBUG_CORE_DUMP_H

#include "debug.h"

struct core_dump_options {
    const char *format;         /* of core_dump_formats(); NULL: the first */
    bool paging;                /* segments by virtual address, as all vCPUs' tables have it */
    bool omit;                  /* memory that can't be read: no segment, instead of an empty one */
    bool search;                /* for VMCOREINFO, where the guest hasn't told where it is */
    bool filter;                /* only [begin, begin + length) of physical memory */
    uint64_t begin, length;
};

struct core_dump;

/* Names, ending with NULL. */
const char *const *core_dump_formats(void);

/* Do the options go together?  core_dump_new() asks too, but then there is a file already. */
bool core_dump_check(const struct core_dump_options *opt, GError **error);

/* NULL with the error set: nothing has been written.  fd stays the caller's. */
struct core_dump *core_dump_new(struct debug *dbg, int fd, const struct core_dump_options *opt,
                                GError **error);
void core_dump_free(struct core_dump *dump);

/* Bytes of memory, written and in all. */
void core_dump_progress(const struct core_dump *dump, uint64_t *ret_done, uint64_t *ret_total);
/* Some more, at most a few MiB; *ret_more: there is more to do.  False: the error is set. */
bool core_dump_step(struct core_dump *dump, bool *ret_more, GError **error);
/* Bytes of RAM that aren't in it because they can't be read. */
uint64_t core_dump_missing(const struct core_dump *dump);
/* What a person should know of it; NULL: nothing. */
const char *core_dump_warning(const struct core_dump *dump);

#endif
