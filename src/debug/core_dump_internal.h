/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of a core file know of one another. */
#ifndef DEBUG_CORE_DUMP_INTERNAL_H
#define DEBUG_CORE_DUMP_INTERNAL_H

#include "core_dump.h"

/* A piece of RAM, all of it readable or not. */
struct dump_run {
    uint64_t gpa, size;
    uint64_t offset;            /* in the file, of what is readable */
    bool readable;
};

/* Where the guest's page tables show RAM. */
struct dump_mapping {
    uint64_t gva, gpa, size;
};

/* core_notes.c: all vCPUs' notes appended. */
bool core_notes_add_cpus(struct debug *dbg, GByteArray *notes, GError **error);
/* What isn't in the file; runs: of struct dump_run. */
void core_notes_add_missing(GByteArray *notes, const GArray *runs);

/* core_ranges.c: arrays of struct dump_run and struct dump_mapping, ascending. NULL: error. */
GArray *core_runs(struct debug *dbg, const struct core_dump_options *opt, GError **error);
GArray *core_mappings(struct debug *dbg, GError **error);

#endif
