/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of a block is there: each source is a map of what it doesn't have, and the
 * map of private pages is one of them.
 *
 * A change is announced before it is recorded, and without the map that changes:
 * what the others have is what listeners gain or lose.
 */
#include "discard.h"

#include "error.h"
#include "map_scan.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <string.h>

/* --- What all have --- */

_Static_assert((int)RAM_DISCARD_MAX_SOURCES <= (int)MAP_SCAN_MAX, "all maps side by side");

unsigned ram_block_maps(const struct ram_block *block, const struct attr_map *except,
                        const struct attr_map **maps)
{
    unsigned n = 0;

    if (block->private_pages && block->private_pages != except)
        maps[n++] = block->private_pages;
    for (unsigned i = 0; i < block->nr_sources; i++) {
        if (block->sources[i]->absent != except)
            maps[n++] = block->sources[i]->absent;
    }
    return n;
}

int ram_block_each_run(const struct ram_block *block, const struct attr_map *except,
                       uint64_t offset, uint64_t size, bool populated, ram_block_run_fn fn,
                       void *opaque)
{
    const struct attr_map *maps[RAM_DISCARD_MAX_SOURCES];
    unsigned n = ram_block_maps(block, except, maps), mask;
    uint64_t start, end, run_start = 0, run_end = 0;
    struct map_scan scan;
    int ret = 0;

    map_scan_init(&scan, maps, n, offset / GUEST_PAGE_SIZE, (offset + size) / GUEST_PAGE_SIZE);
    while (!ret && map_scan_next(&scan, &start, &end, &mask)) {
        if (!mask != populated)
            continue;
        /* Not populated for another reason is still not populated. */
        if (start != run_end) {
            if (run_end > run_start)
                ret = fn(opaque, run_start * GUEST_PAGE_SIZE,
                         (run_end - run_start) * GUEST_PAGE_SIZE);
            run_start = start;
        }
        run_end = end;
    }
    if (!ret && run_end > run_start)
        ret = fn(opaque, run_start * GUEST_PAGE_SIZE, (run_end - run_start) * GUEST_PAGE_SIZE);
    return ret;
}

/* --- Sources --- */

static const char *bad_source(const struct ram_block *block, const char *name,
                              uint64_t granularity)
{
    unsigned n = block->nr_sources + (block->private_pages != NULL);

    for (unsigned i = 0; i < block->nr_sources; i++) {
        if (strcmp(block->sources[i]->name, name) == 0)
            return "it is there already";
    }
    if (n == RAM_DISCARD_MAX_SOURCES)
        return "there are too many";
    if (granularity < GUEST_PAGE_SIZE || granularity & (granularity - 1))
        return "its granularity must be a power of two of at least 4 KiB";
    if (!is_aligned(block->size, granularity))
        return "the memory's size must be a multiple of its granularity";
    return NULL;
}

static void source_free(struct ram_discard_source *source)
{
    attr_map_free(source->absent);
    g_free(source->name);
    g_free(source);
}

void ram_block_free_sources(struct ram_block *block)
{
    while (block->nr_sources)
        source_free(block->sources[--block->nr_sources]);
}

struct ram_discard_source *ram_discard_source_add(struct ram_block *block, const char *name,
                                                  uint64_t granularity, bool populated,
                                                  GError **error)
{
    struct ram_discard_source *source = g_new0(struct ram_discard_source, 1);
    const char *wrong;

    source->block = block;
    source->name = g_strdup(name);
    source->granularity = granularity;
    source->absent = attr_map_new(block->size / GUEST_PAGE_SIZE, !populated);
    pthread_mutex_lock(&block->mem->lock);
    wrong = source->absent ? bad_source(block, name, granularity) : "out of memory";
    if (!wrong) {
        if (!populated)
            discard_notify(block, NULL, 0, block->size);
        block->sources[block->nr_sources++] = source;
    }
    pthread_mutex_unlock(&block->mem->lock);
    if (!wrong)
        return source;
    error_set(error, "memory '%s' can't have '%s' decide what of it is there: %s", block->name,
              name, wrong);
    source_free(source);
    return NULL;
}

/* Parts of a source's range that it doesn't have, or has. */
struct source_runs {
    struct ram_discard_source *source;
    uint64_t failed;                    /* offset of the run that was refused */
};

static int populate_run(void *opaque, uint64_t offset, uint64_t size)
{
    struct source_runs *runs = opaque;

    runs->failed = offset;
    return populate_notify(runs->source->block, runs->source->absent, offset, size);
}

static int discard_run(void *opaque, uint64_t offset, uint64_t size)
{
    struct source_runs *runs = opaque;

    discard_notify(runs->source->block, runs->source->absent, offset, size);
    return 0;
}

/* Runs of one source alone. */
static int each_source_run(struct ram_discard_source *source, uint64_t offset, uint64_t size,
                           bool absent, ram_block_run_fn fn, void *opaque)
{
    uint64_t page = offset / GUEST_PAGE_SIZE, last = page + size / GUEST_PAGE_SIZE, end;
    int ret = 0;

    for (; page < last && !ret; page = end) {
        bool value = attr_map_run(source->absent, page, &end);

        end = MIN(end, last);
        if (value == absent)
            ret = fn(opaque, page * GUEST_PAGE_SIZE, (end - page) * GUEST_PAGE_SIZE);
    }
    return ret;
}

/* Announce what a source will have: all of it, or nothing and the listener's errno. */
static int announce(struct ram_discard_source *source, uint64_t offset, uint64_t size)
{
    struct source_runs runs = { .source = source };
    int ret = each_source_run(source, offset, size, true, populate_run, &runs);

    if (ret)
        each_source_run(source, offset, runs.failed - offset, true, discard_run, &runs);
    return ret;
}

int ram_discard_source_remove(struct ram_discard_source *source)
{
    struct ram_block *block = source->block;
    unsigned i = 0;
    int ret;

    pthread_mutex_lock(&block->mem->lock);
    ret = announce(source, 0, block->size);
    if (!ret) {
        while (block->sources[i] != source)
            i++;
        block->nr_sources--;
        memmove(&block->sources[i], &block->sources[i + 1],
                (block->nr_sources - i) * sizeof(block->sources[0]));
    }
    pthread_mutex_unlock(&block->mem->lock);
    if (!ret)
        source_free(source);
    return ret;
}

static bool fits(const struct ram_discard_source *source, uint64_t offset, uint64_t size)
{
    return is_aligned(offset | size, source->granularity) &&
           range_within(offset, size, source->block->size);
}

int ram_discard_plug(struct ram_discard_source *source, uint64_t offset, uint64_t size)
{
    int ret;

    if (!fits(source, offset, size))
        return -EINVAL;
    pthread_mutex_lock(&source->block->mem->lock);
    ret = attr_map_reserve(source->absent, 1, 1);
    if (!ret)
        ret = announce(source, offset, size);
    if (!ret)
        ret = attr_map_set(source->absent, offset / GUEST_PAGE_SIZE, size / GUEST_PAGE_SIZE,
                           false);
    pthread_mutex_unlock(&source->block->mem->lock);
    return ret;
}

int ram_discard_unplug(struct ram_discard_source *source, uint64_t offset, uint64_t size)
{
    struct source_runs runs = { .source = source };
    int ret;

    if (!fits(source, offset, size))
        return -EINVAL;
    pthread_mutex_lock(&source->block->mem->lock);
    ret = attr_map_reserve(source->absent, 1, 1);
    if (!ret) {
        each_source_run(source, offset, size, false, discard_run, &runs);
        ret = attr_map_set(source->absent, offset / GUEST_PAGE_SIZE, size / GUEST_PAGE_SIZE, true);
    }
    pthread_mutex_unlock(&source->block->mem->lock);
    return ret;
}

bool ram_discard_source_run(struct ram_discard_source *source, uint64_t *offset, uint64_t *size)
{
    uint64_t pages = source->block->size / GUEST_PAGE_SIZE, page = *offset / GUEST_PAGE_SIZE;
    uint64_t end = page;
    bool absent = true;

    pthread_mutex_lock(&source->block->mem->lock);
    while (absent && end < pages) {
        page = end;
        absent = attr_map_run(source->absent, page, &end);
    }
    pthread_mutex_unlock(&source->block->mem->lock);
    *offset = page * GUEST_PAGE_SIZE;
    *size = (end - page) * GUEST_PAGE_SIZE;
    return !absent;
}

static bool all_of_range(struct ram_discard_source *source, uint64_t offset, uint64_t size,
                         bool absent)
{
    bool all;

    pthread_mutex_lock(&source->block->mem->lock);
    all = range_within(offset, size, source->block->size) &&
          attr_map_all(source->absent, offset / GUEST_PAGE_SIZE, size / GUEST_PAGE_SIZE, absent);
    pthread_mutex_unlock(&source->block->mem->lock);
    return all;
}

bool ram_discard_source_has(struct ram_discard_source *source, uint64_t offset, uint64_t size)
{
    return all_of_range(source, offset, size, false);
}

bool ram_discard_source_lacks(struct ram_discard_source *source, uint64_t offset, uint64_t size)
{
    return all_of_range(source, offset, size, true);
}

/* --- All sources together --- */

uint64_t ram_block_populated_end(const struct ram_block *block, uint64_t offset)
{
    const struct attr_map *maps[RAM_DISCARD_MAX_SOURCES];
    unsigned n = ram_block_maps(block, NULL, maps);
    uint64_t end = block->size / GUEST_PAGE_SIZE;

    for (unsigned i = 0; i < n; i++) {
        uint64_t run_end;

        if (attr_map_run(maps[i], offset / GUEST_PAGE_SIZE, &run_end))
            return offset;
        end = MIN(end, run_end);
    }
    return end * GUEST_PAGE_SIZE;
}

bool ram_block_is_populated(struct ram_block *block, uint64_t offset, uint64_t size)
{
    bool is = range_within(offset, size, block->size);

    pthread_mutex_lock(&block->mem->lock);
    is = is && (!size || ram_block_populated_end(block, offset) >= offset + size);
    pthread_mutex_unlock(&block->mem->lock);
    return is;
}

uint64_t ram_block_granularity(struct ram_block *block)
{
    uint64_t finest = block->private_pages ? GUEST_PAGE_SIZE : block->size;

    pthread_mutex_lock(&block->mem->lock);
    for (unsigned i = 0; i < block->nr_sources; i++)
        finest = MIN(finest, block->sources[i]->granularity);
    pthread_mutex_unlock(&block->mem->lock);
    return finest;
}

int ram_block_replay(struct ram_block *block, uint64_t offset, uint64_t size, bool populated,
                     ram_block_run_fn fn, void *opaque)
{
    int ret;

    if (!is_aligned(offset | size, GUEST_PAGE_SIZE) || !range_within(offset, size, block->size))
        return -EINVAL;
    pthread_mutex_lock(&block->mem->lock);
    ret = ram_block_each_run(block, NULL, offset, size, populated, fn, opaque);
    pthread_mutex_unlock(&block->mem->lock);
    return ret;
}

/* Make private what of a range is mapped; all of it is, or nothing of it is freed. */
static int withdraw(struct ram_block *block, uint64_t offset, uint64_t size)
{
    struct memory *mem = block->mem;
    int ret = 0;

    for (guint i = 0; i < mem->mappings->len && !ret; i++) {
        const struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);
        uint64_t start = MAX(offset, map->offset);
        uint64_t end = MIN(offset + size, map->offset + map->size);

        if (map->block == block && start < end)
            ret = memory_convert_own(mem, CONVERSION_UNPLUG, map->gpa + (start - map->offset),
                                     end - start, true, NULL);
    }
    return ret;
}

static int is_there(void *opaque, uint64_t offset, uint64_t size)
{
    return -EBUSY;
}

int ram_block_discard_range(struct ram_block *block, uint64_t offset, uint64_t size)
{
    struct memory *mem = block->mem;
    int ret = 0;

    if (!is_aligned(offset | size, GUEST_PAGE_SIZE) || !range_within(offset, size, block->size))
        return -EINVAL;
    pthread_mutex_lock(&mem->lock);
    if (mem->listeners)
        ret = ram_block_each_run(block, NULL, offset, size, true, is_there, NULL);
    if (!ret && mem->launched && block->private_pages)
        ret = withdraw(block, offset, size);
    if (!ret)
        ret = ram_block_free_copies(block, offset, size);
    pthread_mutex_unlock(&mem->lock);
    return ret;
}
