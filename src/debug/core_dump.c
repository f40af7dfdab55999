/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all formats of a dump have in common: what is in it, and its steps. */
#include "core_dump_internal.h"

#include "debug_memory.h"
#include "error.h"
#include "fd_write.h"
#include "range.h"

#include <string.h>

/* QEMU's names; the raw form is the file itself, the other one can go through a pipe. */
static const char *const names[] = { "elf", "kdump-zlib", "kdump-raw-zlib", NULL };
static const struct dump_format *const formats[] = {
    &core_elf, &core_kdump_flat, &core_kdump_raw,
};
G_STATIC_ASSERT(G_N_ELEMENTS(names) == G_N_ELEMENTS(formats) + 1);

const char *const *core_dump_formats(void)
{
    return names;
}

static const struct dump_format *find_format(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (!name || strcmp(name, names[i]) == 0)
            return formats[i];
    }
    return NULL;
}

bool core_dump_check(const struct core_dump_options *opt, GError **error)
{
    const struct dump_format *format = find_format(opt->format);

    if (!format) {
        error_set(error, "%s is not available: kdump-zlib, or elf", opt->format);
        return false;
    }
    if (format->physical_only && (opt->paging || opt->filter)) {
        error_set(error, "kdump-compressed format doesn't support paging or filter: elf does");
        return false;
    }
    return true;
}

/* --- What is in it --- */

/* Where each run's memory is, counted from where memory begins. */
static void place_runs(struct core_dump *dump)
{
    for (guint i = 0; i < dump->runs->len; i++) {
        struct dump_run *run = &g_array_index(dump->runs, struct dump_run, i);

        run->offset = dump->total;
        if (run->readable)
            dump->total += run->size;
        else
            dump->missing += run->size;
    }
}

static bool prepare(struct core_dump *dump, GError **error)
{
    if (!core_dump_check(&dump->opt, error))
        return false;
    dump->format = find_format(dump->opt.format);
    dump->runs = core_runs(dump->dbg, &dump->opt, error);
    if (!dump->runs || !core_notes_add_cpus(dump->dbg, dump->notes, error))
        return false;
    place_runs(dump);
    core_notes_add_missing(dump->notes, dump->runs);
    core_vmcoreinfo_add(dump);
    return dump->format->prepare(dump, error);
}

struct core_dump *core_dump_new(struct debug *dbg, int fd, const struct core_dump_options *opt,
                                GError **error)
{
    struct core_dump *dump = g_new0(struct core_dump, 1);

    dump->dbg = dbg;
    dump->fd = fd;
    dump->opt = *opt;
    dump->notes = g_byte_array_new();
    /* Whole pages: what a guest copies into without a detour (debug_memory.h). */
    dump->buf = g_aligned_alloc0(1, CORE_DUMP_STEP, GUEST_PAGE_SIZE);
    if (!prepare(dump, error)) {
        core_dump_free(dump);
        return NULL;
    }
    return dump;
}

void core_dump_free(struct core_dump *dump)
{
    if (!dump)
        return;
    if (dump->state)
        dump->format->free(dump->state);
    if (dump->runs)
        g_array_unref(dump->runs);
    g_byte_array_unref(dump->notes);
    g_aligned_free(dump->buf);
    g_free(dump->vmcoreinfo);
    g_free(dump->warning);
    g_free(dump);
}

void core_dump_progress(const struct core_dump *dump, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = dump->done;
    *ret_total = dump->total;
}

uint64_t core_dump_missing(const struct core_dump *dump)
{
    return dump->missing;
}

const char *core_dump_warning(const struct core_dump *dump)
{
    return dump->warning;
}

/* --- Writing --- */

bool core_dump_write(struct core_dump *dump, const void *data, uint64_t size, GError **error)
{
    int ret = fd_write_all(dump->fd, data, size);

    if (ret)
        error_set_errno(error, ret, "writing the dump failed");
    return ret == 0;
}

/*
 * How much at a time.  Of private memory much, as each access to it has to be prepared; of
 * shared memory what stays in a processor's cache until it is written: twice as fast.
 */
static uint64_t step_size(const struct core_dump *dump, uint64_t gpa, uint64_t size)
{
    struct memory_piece piece = memory_look(debug_machine(dump->dbg)->memory, gpa, size);

    return MIN(size, piece.state == MEMORY_PRIVATE ? CORE_DUMP_STEP : CORE_DUMP_STEP / 8);
}

static bool write_memory(struct core_dump *dump, const struct dump_run *run, GError **error)
{
    uint64_t gpa = run->gpa + dump->at, n = step_size(dump, gpa, run->size - dump->at);

    if (debug_read(dump->dbg, NULL, gpa, dump->buf, n, error) < n) {
        g_prefix_error(error, "memory that could be read before can't be now: ");
        return false;
    }
    if (!dump->format->memory(dump, gpa, dump->buf, n, error))
        return false;
    dump->at += n;
    dump->done += n;
    return true;
}

/* The run to go on with; NULL: all are done. */
static const struct dump_run *next_run(struct core_dump *dump)
{
    for (; dump->run < dump->runs->len; dump->run++, dump->at = 0) {
        const struct dump_run *run = &g_array_index(dump->runs, struct dump_run, dump->run);

        if (run->readable && dump->at < run->size)
            return run;
    }
    return NULL;
}

bool core_dump_step(struct core_dump *dump, bool *ret_more, GError **error)
{
    const struct debug_machine *machine = debug_machine(dump->dbg);
    const struct dump_run *run;

    *ret_more = dump->stage != DUMP_AT_END;
    if (machine->running(machine->opaque)) {
        error_set(error, "the guest was let go on before the dump was complete");
        return false;
    }
    switch (dump->stage) {
    case DUMP_AT_HEAD:
        dump->stage = DUMP_AT_MEMORY;
        return dump->format->head(dump, error);
    case DUMP_AT_MEMORY:
        run = next_run(dump);
        if (run)
            return write_memory(dump, run, error);
        dump->stage = DUMP_AT_END;
        *ret_more = false;
        return dump->format->finish(dump, error);
    case DUMP_AT_END:
        break;
    }
    return true;
}
