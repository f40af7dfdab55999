/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Queries of attributes: snapshots of all maps under the lock, ranges from them
 * without it.
 */
#include "attributes.h"

#include "error.h"
#include "map_scan.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* --- Snapshots --- */

struct block_snapshot {
    struct ram_block *block;
    /* The first is that of private pages. */
    struct attr_map *originals[RAM_DISCARD_MAX_SOURCES];
    struct attr_map *maps[RAM_DISCARD_MAX_SOURCES];
    unsigned n;
};

/* A piece of the block that is asked about; position is what a cursor counts in. */
struct piece {
    uint64_t offset, size, gpa;
};

struct snapshot {
    struct memory *mem;
    GArray *blocks;             /* struct block_snapshot */
    GArray *mappings;           /* struct mapping */
};

/* mem->lock held. */
static bool snapshot_block(struct snapshot *snapshot, struct ram_block *block)
{
    struct block_snapshot *shot;

    g_array_set_size(snapshot->blocks, snapshot->blocks->len + 1);
    shot = &g_array_index(snapshot->blocks, struct block_snapshot, snapshot->blocks->len - 1);
    shot->block = block;
    shot->originals[0] = block->private_pages;
    for (unsigned i = 0; i < block->nr_sources; i++)
        shot->originals[i + 1] = block->sources[i]->absent;
    for (; shot->n <= block->nr_sources; shot->n++) {
        shot->maps[shot->n] = attr_map_snapshot(shot->originals[shot->n]);
        if (!shot->maps[shot->n])
            return false;
    }
    return true;
}

static void snapshot_free(struct snapshot *snapshot)
{
    pthread_mutex_lock(&snapshot->mem->lock);
    for (guint i = 0; i < snapshot->blocks->len; i++) {
        const struct block_snapshot *shot = &g_array_index(snapshot->blocks,
                                                           struct block_snapshot, i);

        for (unsigned n = 0; n < shot->n; n++)
            attr_map_release(shot->originals[n], shot->maps[n]);
    }
    pthread_mutex_unlock(&snapshot->mem->lock);
    for (guint i = 0; i < snapshot->blocks->len; i++) {
        const struct block_snapshot *shot = &g_array_index(snapshot->blocks,
                                                           struct block_snapshot, i);

        for (unsigned n = 0; n < shot->n; n++)
            attr_map_free(shot->maps[n]);
    }
    g_array_free(snapshot->blocks, TRUE);
    g_array_free(snapshot->mappings, TRUE);
    g_free(snapshot);
}

/* Of all blocks with attributes, or the one of that name. */
static struct snapshot *snapshot_new(struct memory *mem, const char *name, GError **error)
{
    struct snapshot *snapshot = g_new0(struct snapshot, 1);
    bool ok = true;

    snapshot->mem = mem;
    snapshot->blocks = g_array_new(FALSE, TRUE, sizeof(struct block_snapshot));
    snapshot->mappings = g_array_new(FALSE, FALSE, sizeof(struct mapping));
    pthread_mutex_lock(&mem->lock);
    g_array_append_vals(snapshot->mappings, mem->mappings->data, mem->mappings->len);
    for (guint i = 0; i < mem->blocks->len && ok; i++) {
        struct ram_block *block = g_ptr_array_index(mem->blocks, i);

        if (block->private_pages && (!name || strcmp(block->name, name) == 0))
            ok = snapshot_block(snapshot, block);
    }
    pthread_mutex_unlock(&mem->lock);
    if (ok && (!name || snapshot->blocks->len))
        return snapshot;
    if (ok)
        error_set(error, "no memory '%s' that can be private", name);
    else
        error_set_errno(error, ENOMEM, "looking at the attributes");
    snapshot_free(snapshot);
    return NULL;
}

/* --- Ranges --- */

/* Ranges of a piece, one after another: what is alike for the reader is joined. */
struct range_scan {
    struct map_scan maps;
    struct attr_range next;     /* size 0: none */
    const struct piece *piece;
};

static struct attr_range read_piece(struct range_scan *scan)
{
    struct attr_range range = { 0 };
    uint64_t start, end;
    unsigned mask;

    if (map_scan_next(&scan->maps, &start, &end, &mask)) {
        range.start = start * GUEST_PAGE_SIZE;
        range.size = (end - start) * GUEST_PAGE_SIZE;
        range.gpa = scan->piece->gpa + (range.start - scan->piece->offset);
        range.shared = !(mask & 1);
        range.populated = !mask;
    }
    return range;
}

/* From a position in the piece on. */
static void range_scan_init(struct range_scan *scan, const struct block_snapshot *shot,
                            const struct piece *piece, uint64_t skip)
{
    scan->piece = piece;
    map_scan_init(&scan->maps, (const struct attr_map *const *)shot->maps, shot->n,
                  (piece->offset + skip) / GUEST_PAGE_SIZE,
                  (piece->offset + piece->size) / GUEST_PAGE_SIZE);
    scan->next = read_piece(scan);
}

static bool range_scan_next(struct range_scan *scan, struct attr_range *ret)
{
    *ret = scan->next;
    if (!ret->size)
        return false;
    while ((scan->next = read_piece(scan)).size && scan->next.shared == ret->shared &&
           scan->next.populated == ret->populated)
        ret->size += scan->next.size;
    return true;
}

/* What of a block is asked about: all of it, or where it is in the window, by address. */
static GArray *pieces_of(const struct snapshot *snapshot, const struct ram_block *block,
                         const struct attr_filter *filter)
{
    GArray *pieces = g_array_new(FALSE, FALSE, sizeof(struct piece));
    const struct piece all = { 0, block->size, 0 };

    if (!filter->window)
        g_array_append_val(pieces, all);
    for (guint i = 0; filter->window && i < snapshot->mappings->len; i++) {
        const struct mapping *map = &g_array_index(snapshot->mappings, struct mapping, i);
        uint64_t last = filter->gpa + filter->size - 1;
        uint64_t start = MAX(map->gpa, filter->gpa / GUEST_PAGE_SIZE * GUEST_PAGE_SIZE);
        uint64_t end = last >= mapping_end(map) - 1 ? mapping_end(map)
                                                    : (last | (GUEST_PAGE_SIZE - 1)) + 1;
        const struct piece piece = {
            .offset = map->offset + (start - map->gpa), .size = end - start, .gpa = start,
        };

        if (map->block == block && start < end)
            g_array_append_val(pieces, piece);
    }
    return pieces;
}

/* --- Cursors: "BLOCK@POSITION", the position in the block, or of a window the address --- */

struct cursor {
    char *block;                /* NULL: from the beginning */
    uint64_t position;
};

static bool cursor_parse(const char *text, struct cursor *cursor, GError **error)
{
    const char *at = text ? strrchr(text, '@') : NULL;
    char *end = NULL;

    if (!text)
        return true;
    errno = 0;
    if (at && g_ascii_isdigit(at[1]))
        cursor->position = g_ascii_strtoull(at + 1, &end, 0);
    if (!end || *end || errno || cursor->position % GUEST_PAGE_SIZE) {
        error_set(error, "Parameter 'cursor' expects the cursor of an earlier answer");
        return false;
    }
    cursor->block = g_strndup(text, (gsize)(at - text));
    return true;
}

static uint64_t position_of(const struct attr_filter *filter, const struct attr_range *range)
{
    return filter->window ? range->gpa : range->start;
}

/* --- Full queries --- */

static void attr_block_free(void *opaque)
{
    struct attr_block *block = opaque;

    g_free(block->name);
    g_free(block->cursor);
    g_array_free(block->ranges, TRUE);
    g_free(block);
}

/* Ranges of one block from a position on; false: the limit is reached. */
static bool fill_block(const struct snapshot *snapshot, const struct block_snapshot *shot,
                       const struct attr_filter *filter, uint64_t from, size_t *left,
                       struct attr_block *ret)
{
    g_autoptr(GArray) pieces = pieces_of(snapshot, shot->block, filter);

    for (guint i = 0; i < pieces->len; i++) {
        const struct piece *piece = &g_array_index(pieces, struct piece, i);
        uint64_t start = filter->window ? piece->gpa : piece->offset;
        uint64_t skip = from > start ? from - start : 0;
        struct range_scan scan;
        struct attr_range range;

        if (skip >= piece->size)
            continue;
        range_scan_init(&scan, shot, piece, skip);
        while (range_scan_next(&scan, &range)) {
            if (range.size < filter->min_size)
                continue;
            if (!*left) {
                ret->cursor = g_strdup_printf("%s@0x%" PRIx64, ret->name,
                                              position_of(filter, &range));
                return false;
            }
            g_array_append_val(ret->ranges, range);
            --*left;
        }
    }
    return true;
}

static bool is_in_window(const struct snapshot *snapshot, const struct ram_block *block,
                         const struct attr_filter *filter)
{
    g_autoptr(GArray) pieces = pieces_of(snapshot, block, filter);

    return pieces->len != 0;
}

static bool fill_answer(const struct snapshot *snapshot, const struct attr_filter *filter,
                        const struct cursor *cursor, GPtrArray *answer)
{
    size_t left = filter->limit ? filter->limit : SIZE_MAX;
    bool found = !cursor->block, more = true;

    for (guint i = 0; i < snapshot->blocks->len && more; i++) {
        const struct block_snapshot *shot = &g_array_index(snapshot->blocks,
                                                           struct block_snapshot, i);
        bool here = cursor->block && strcmp(cursor->block, shot->block->name) == 0;
        struct attr_block *block;

        found |= here;
        if (!found || !is_in_window(snapshot, shot->block, filter))
            continue;
        block = g_new0(struct attr_block, 1);
        block->name = g_strdup(shot->block->name);
        block->ranges = g_array_new(FALSE, FALSE, sizeof(struct attr_range));
        g_ptr_array_add(answer, block);
        more = fill_block(snapshot, shot, filter, here ? cursor->position : 0, &left, block);
    }
    return found;
}

GPtrArray *memory_attributes(struct memory *mem, const struct attr_filter *filter, GError **error)
{
    struct cursor cursor = { 0 };
    struct snapshot *snapshot = NULL;
    GPtrArray *answer = NULL;

    if (filter->window && (!filter->size || range_wraps(filter->gpa, filter->size)))
        error_set(error, "Parameter 'size' is 0, or passes the end of the address space");
    else if (cursor_parse(filter->cursor, &cursor, error))
        snapshot = snapshot_new(mem, filter->block, error);
    if (snapshot) {
        answer = g_ptr_array_new_with_free_func(attr_block_free);
        if (!fill_answer(snapshot, filter, &cursor, answer)) {
            error_set(error, "Parameter 'cursor' names memory that isn't there: '%s'",
                      cursor.block);
            g_clear_pointer(&answer, g_ptr_array_unref);
        }
        snapshot_free(snapshot);
    }
    g_free(cursor.block);
    return answer;
}

/* --- Summary --- */

static void attr_summary_free(void *opaque)
{
    struct attr_summary *summary = opaque;

    g_free(summary->name);
    g_free(summary);
}

static struct attr_summary *summarize(const struct block_snapshot *shot)
{
    struct attr_summary *summary = g_new0(struct attr_summary, 1);
    const struct piece all = { 0, shot->block->size, 0 };
    struct range_scan scan;
    struct attr_range range;

    summary->name = g_strdup(shot->block->name);
    summary->size = shot->block->size;
    summary->private_ = attr_map_count(shot->maps[0]) * GUEST_PAGE_SIZE;
    summary->shared = summary->size - summary->private_;
    summary->map_bytes = attr_map_memory(shot->maps[0]);
    range_scan_init(&scan, shot, &all, 0);
    while (range_scan_next(&scan, &range)) {
        struct attr_range *largest = range.shared ? &summary->largest_shared
                                                  : &summary->largest_private;

        summary->ranges++;
        if (range.populated)
            summary->populated += range.size;
        if (range.size > largest->size)
            *largest = range;
    }
    return summary;
}

GPtrArray *memory_attributes_summary(struct memory *mem, const char *block, GError **error)
{
    struct snapshot *snapshot = snapshot_new(mem, block, error);
    GPtrArray *list;

    if (!snapshot)
        return NULL;
    list = g_ptr_array_new_with_free_func(attr_summary_free);
    for (guint i = 0; i < snapshot->blocks->len; i++)
        g_ptr_array_add(list, summarize(&g_array_index(snapshot->blocks, struct block_snapshot,
                                                       i)));
    snapshot_free(snapshot);
    return list;
}
