/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of a dump know of one another. */
#ifndef DEBUG_CORE_DUMP_INTERNAL_H
#define DEBUG_CORE_DUMP_INTERNAL_H

#include "core_dump.h"

enum { CORE_DUMP_STEP = 4 << 20 };      /* size of dump->buf: read and written in one go */

/* A piece of RAM, all of it readable or not. */
struct dump_run {
    uint64_t gpa, size;
    uint64_t offset;            /* among all that is readable */
    bool readable;
};

/* Where the guest's page tables show RAM. */
struct dump_mapping {
    uint64_t gva, gpa, size;
};

/*
 * One layout of the file.  Calls come in the order prepare, head, memory for each piece
 * of what is readable, ascending, finish; free whatever came before.  state: dump->state.
 */
struct dump_format {
    bool physical_only;         /* all of memory by its physical address: no paging, no filter */
    /* Nothing is written yet; runs are placed, notes are complete. */
    bool (*prepare)(struct core_dump *dump, GError **error);
    bool (*head)(struct core_dump *dump, GError **error);
    /* size: up to a few MiB of one run. */
    bool (*memory)(struct core_dump *dump, uint64_t gpa, const uint8_t *data, uint64_t size,
                   GError **error);
    bool (*finish)(struct core_dump *dump, GError **error);
    void (*free)(void *state);
};

struct core_dump {
    struct debug *dbg;
    int fd;
    struct core_dump_options opt;
    const struct dump_format *format;
    void *state;                /* the format's */
    GArray *runs;               /* struct dump_run */
    GByteArray *notes;
    char *vmcoreinfo;           /* the guest's text; NULL: none */
    uint64_t vmcoreinfo_at;     /* where that is among the notes */
    char *warning;
    uint64_t done, total, missing;
    enum { DUMP_AT_HEAD, DUMP_AT_MEMORY, DUMP_AT_END } stage;
    guint run;                  /* where we are: in this one, */
    uint64_t at;                /* so far into it */
    uint8_t *buf;
};

/* The next bytes of the file. */
bool core_dump_write(struct core_dump *dump, const void *data, uint64_t size, GError **error);

/* core_elf.c, core_kdump.c */
extern const struct dump_format core_elf, core_kdump_flat, core_kdump_raw;

/* core_notes.c: an ELF note appended. */
void core_notes_add(GByteArray *notes, const char *name, uint32_t type, const void *desc,
                    size_t size);
/* All vCPUs'. */
bool core_notes_add_cpus(struct debug *dbg, GByteArray *notes, GError **error);
/* What isn't in the file; runs: of struct dump_run. */
void core_notes_add_missing(GByteArray *notes, const GArray *runs);

/*
 * core_vmcoreinfo.c: what the guest's kernel says of itself (dump->vmcoreinfo, and its
 * note), where it has told; what it told and can't be used is dump->warning.
 */
void core_vmcoreinfo_add(struct core_dump *dump);
/* What it says of a key; NULL: nothing.  Caller frees. */
char *core_vmcoreinfo_value(const struct core_dump *dump, const char *key);

/* core_ranges.c: arrays of struct dump_run and struct dump_mapping, ascending. NULL: error. */
GArray *core_runs(struct debug *dbg, const struct core_dump_options *opt, GError **error);
GArray *core_mappings(struct debug *dbg, GError **error);

#endif
