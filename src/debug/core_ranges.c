/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a core file is about: RAM as it is laid out, and as the guest's tables show it. */
#include "core_dump_internal.h"

#include "debug_memory.h"
#include "error.h"
#include "page_walk.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MAX_MAPPINGS = 1 << 20 };

/* --- RAM --- */

/* Neighbours that are equal in kind are one; what isn't plugged in isn't RAM. */
static void add_piece(struct debug *dbg, GArray *runs, uint64_t gpa, uint64_t size)
{
    struct dump_run *last = runs->len ? &g_array_index(runs, struct dump_run, runs->len - 1) : NULL;
    struct dump_run run = { .gpa = gpa };

    for (uint64_t done = 0; done < size; done += run.size) {
        run.gpa = gpa + done;
        run.size = debug_probe(dbg, run.gpa, size - done, &run.readable);
        if (last && last->gpa + last->size == run.gpa && last->readable == run.readable) {
            last->size += run.size;
            continue;
        }
        g_array_append_val(runs, run);
        last = &g_array_index(runs, struct dump_run, runs->len - 1);
    }
}

GArray *core_runs(struct debug *dbg, const struct core_dump_options *opt, GError **error)
{
    uint64_t gpa = opt->filter ? opt->begin : 0, left = opt->filter ? opt->length : UINT64_MAX;
    GArray *runs = g_array_new(FALSE, FALSE, sizeof(struct dump_run));

    while (left) {
        struct memory_piece piece = memory_look(debug_machine(dbg)->memory, gpa, left);

        if (piece.state == MEMORY_SHARED || piece.state == MEMORY_PRIVATE)
            add_piece(dbg, runs, gpa, piece.size);
        gpa += piece.size;
        left -= piece.size;
    }
    if (runs->len)
        return runs;
    error_set(error, "there is no memory in 0x%" PRIx64 "+0x%" PRIx64, opt->begin, opt->length);
    g_array_unref(runs);
    return NULL;
}

/* --- Page tables --- */

static bool add_leaf(void *opaque, const struct page_leaf *leaf, const char *reason)
{
    GArray *mappings = opaque;
    struct dump_mapping *last, one = { leaf->gva, leaf->gpa, leaf->size };

    if (reason)
        return true;            /* not readable: its pages aren't known to be anywhere */
    last = mappings->len ? &g_array_index(mappings, struct dump_mapping, mappings->len - 1) : NULL;
    if (last && last->gva + last->size == leaf->gva && last->gpa + last->size == leaf->gpa)
        last->size += leaf->size;
    else
        g_array_append_val(mappings, one);
    return mappings->len < MAX_MAPPINGS;
}

static int compare(const void *a, const void *b)
{
    const struct dump_mapping *m = a, *n = b;

    if (m->gva != n->gva)
        return m->gva < n->gva ? -1 : 1;
    if (m->gpa != n->gpa)
        return m->gpa < n->gpa ? -1 : 1;
    return (m->size > n->size) - (m->size < n->size);
}

/* What several vCPUs see alike, once: kernels map themselves in each table. */
static void drop_repeated(GArray *mappings)
{
    guint kept = 0;

    g_array_sort(mappings, compare);
    for (guint i = 0; i < mappings->len; i++) {
        struct dump_mapping *m = &g_array_index(mappings, struct dump_mapping, i);

        if (kept && compare(m, &g_array_index(mappings, struct dump_mapping, kept - 1)) == 0)
            continue;
        g_array_index(mappings, struct dump_mapping, kept++) = *m;
    }
    g_array_set_size(mappings, kept);
}

GArray *core_mappings(struct debug *dbg, GError **error)
{
    const struct debug_machine *machine = debug_machine(dbg);
    GArray *mappings = g_array_new(FALSE, FALSE, sizeof(struct dump_mapping));
    bool ok = true;

    for (unsigned i = 0; ok && i < machine->cpu_count(machine->opaque); i++) {
        AUTO_PAGE_WALK walk = page_walk_new(dbg, i, error);

        ok = walk != NULL;
        if (walk && page_walk_mode(walk) != PAGING_OFF &&
            !page_walk_each(walk, 0, UINT64_MAX, add_leaf, mappings, NULL)) {
            error_set(error, "CPU %u's page tables map more than a dump can list: without paging",
                      i);
            ok = false;
        }
    }
    if (!ok) {
        g_array_unref(mappings);
        return NULL;
    }
    drop_repeated(mappings);
    return mappings;
}
