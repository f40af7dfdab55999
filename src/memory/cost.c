/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What each backing holds, page by page: of a mapping by mincore(), of a guest_memfd
 * that isn't mapped by SEEK_DATA, which softkvm's has and Linux's hasn't.
 */
#include "cost.h"

#include "error.h"
#include "map_scan.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_PAGES = 1 << 18 };         /* 1 GiB at a time */

/* Pages of a mapping that are in memory become true in held. 0 or -errno. */
static int find_resident(void *addr, uint64_t pages, struct attr_map *held)
{
    g_autofree unsigned char *in = g_malloc(CHUNK_PAGES);

    for (uint64_t first = 0; first < pages; first += CHUNK_PAGES) {
        uint64_t n = MIN(pages - first, CHUNK_PAGES), start = 0;

        if (mincore((char *)addr + first * GUEST_PAGE_SIZE, n * GUEST_PAGE_SIZE, in) < 0)
            return -errno;
        for (uint64_t i = 1; i <= n; i++) {
            int ret = 0;

            if (i < n && (in[i] & 1) == (in[start] & 1))
                continue;
            if (in[start] & 1)
                ret = attr_map_set(held, first + start, i - start, true);
            if (ret)
                return ret;
            start = i;
        }
    }
    return 0;
}

/* Data of a file, the same way.  -errno also where the file can't tell. */
static int find_data(int fd, uint64_t size, struct attr_map *held)
{
    off_t end = 0;

    while ((uint64_t)end < size) {
        off_t start = lseek(fd, end, SEEK_DATA);
        int ret;

        if (start < 0)
            return errno == ENXIO ? 0 : -errno;
        end = lseek(fd, start, SEEK_HOLE);
        if (end < 0 || (uint64_t)end > size)
            return end < 0 ? -errno : -EINVAL;
        ret = attr_map_set(held, (uint64_t)start / GUEST_PAGE_SIZE,
                           (uint64_t)(end - start) / GUEST_PAGE_SIZE, true);
        if (ret)
            return ret;
    }
    return 0;
}

/* --- Blocks --- */

enum { IN_SHARED, IN_PRIVATE, IS_PRIVATE, NR_MAPS };

/* Pages by where they are held (bits 0 and 1) and whether they are private (bit 2). */
static void add_pieces(struct memory_cost *cost, const struct attr_map *const *maps)
{
    uint64_t start, end;
    struct map_scan scan;
    unsigned mask;

    map_scan_init(&scan, maps, NR_MAPS, 0, cost->size / GUEST_PAGE_SIZE);
    while (map_scan_next(&scan, &start, &end, &mask)) {
        uint64_t bytes = (end - start) * GUEST_PAGE_SIZE;
        bool is_private = mask & 1 << IS_PRIVATE;

        if (mask & 1 << IN_SHARED)
            *(cost->kind != BACKEND_TWO_BACKINGS && is_private ? &cost->private_
                                                               : &cost->shared) += bytes;
        if (mask & 1 << IN_PRIVATE && cost->private_known)
            cost->private_ += bytes;
        if ((mask & 3) == 3)
            cost->doubly += bytes;
        if (cost->kind == BACKEND_TWO_BACKINGS && mask & 1 << (is_private ? IN_SHARED : IN_PRIVATE))
            cost->stale += bytes;
    }
}

/* The only backing of a block in place is called the shared one here. */
static int find_held(const struct ram_block *block, struct memory_cost *cost,
                     struct attr_map *const *maps)
{
    uint64_t pages = block->size / GUEST_PAGE_SIZE;
    int ret = -ESPIPE;

    if (block->kind == BACKEND_IN_PLACE)
        ret = find_data(block->guest_memfd, block->size, maps[IN_SHARED]);
    if (ret == -ESPIPE || ret == -EINVAL)
        ret = find_resident(block->host, pages, maps[IN_SHARED]);
    cost->private_known = true;
    cost->encrypted = block->mem->vm->regime == KVM_ATTRIBUTES_ENCRYPTED;
    if (!ret && block->kind == BACKEND_TWO_BACKINGS)
        cost->private_known = find_data(block->guest_memfd, block->size, maps[IN_PRIVATE]) == 0;
    if (!cost->private_known)
        cost->private_ = block->size;
    return ret;
}

static int find_cost(struct memory *mem, struct ram_block *block, struct memory_cost *cost)
{
    uint64_t pages = block->size / GUEST_PAGE_SIZE;
    struct attr_map *maps[NR_MAPS], *snapshot = NULL;
    int ret = 0;

    for (unsigned i = 0; i < NR_MAPS; i++) {
        maps[i] = attr_map_new(pages, false);
        ret = maps[i] ? ret : -ENOMEM;
    }
    if (!ret)
        ret = find_held(block, cost, maps);
    pthread_mutex_lock(&mem->lock);
    if (block->private_pages)
        snapshot = attr_map_snapshot(block->private_pages);
    pthread_mutex_unlock(&mem->lock);
    if (block->private_pages && !snapshot)
        ret = -ENOMEM;
    if (!ret) {
        const struct attr_map *all[NR_MAPS] = {
            maps[IN_SHARED], maps[IN_PRIVATE], snapshot ? snapshot : maps[IS_PRIVATE],
        };

        add_pieces(cost, all);
    }
    if (snapshot) {
        pthread_mutex_lock(&mem->lock);
        attr_map_release(block->private_pages, snapshot);
        pthread_mutex_unlock(&mem->lock);
        attr_map_free(snapshot);
    }
    for (unsigned i = 0; i < NR_MAPS; i++)
        attr_map_free(maps[i]);
    return ret;
}

static void memory_cost_free(void *opaque)
{
    struct memory_cost *cost = opaque;

    g_free(cost->name);
    g_free(cost);
}

GPtrArray *memory_costs(struct memory *mem, GError **error)
{
    g_autoptr(GPtrArray) blocks = memory_blocks(mem);
    GPtrArray *costs = g_ptr_array_new_with_free_func(memory_cost_free);

    for (guint i = 0; i < blocks->len; i++) {
        struct ram_block *block = g_ptr_array_index(blocks, i);
        struct memory_cost *cost = g_new0(struct memory_cost, 1);
        int ret;

        g_ptr_array_add(costs, cost);
        cost->name = g_strdup(block->name);
        cost->kind = block->kind;
        cost->size = block->size;
        ret = find_cost(mem, block, cost);
        if (ret) {
            error_set_errno(error, ret, "looking for the memory of '%s'", block->name);
            g_ptr_array_unref(costs);
            return NULL;
        }
    }
    return costs;
}
