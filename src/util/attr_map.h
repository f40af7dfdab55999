/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A map from page numbers to one bit, for guest memory's private/shared state:
 * its cost follows what is in it, not the size of the memory.  A uniform map has
 * no nodes at all; whatever is uniform inside it is a bit of its parent.
 *
 * Not locked: its owner does that.  A snapshot may be read without the lock.
 * Used by softkvm and by the VMM.
 */
#ifndef UTIL_ATTR_MAP_H
#define UTIL_ATTR_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attr_map;

/* pages: number of pages, 1 to 2^52, all with the given value. NULL: no memory. */
struct attr_map *attr_map_new(uint64_t pages, bool value);
void attr_map_free(struct attr_map *map);       /* a map without snapshots, or a released one */

uint64_t attr_map_pages(const struct attr_map *map);

/* page < pages. */
bool attr_map_get(const struct attr_map *map, uint64_t page);

/*
 * attr_map_ends - the runs of equal pages in [first, end), in order.
 * ends[] gets where each run ends, at most max of them (at least 1); the first
 * run begins at first, each other one where its predecessor ends; values
 * alternate, beginning with *ret_value.  Returns how many: the range is done
 * when the last is end.  first < end <= pages.
 */
size_t attr_map_ends(const struct attr_map *map, uint64_t first, uint64_t end, uint64_t *ends,
                     size_t max, bool *ret_value);

/* The value of page, and in *ret_end where the run that holds it ends. */
static inline bool attr_map_run(const struct attr_map *map, uint64_t page, uint64_t *ret_end)
{
    bool value;

    attr_map_ends(map, page, attr_map_pages(map), ret_end, 1, &value);
    return value;
}

/* Every page of [first, first + count) has the value. */
bool attr_map_all(const struct attr_map *map, uint64_t first, uint64_t count, bool value);

/* Set [first, first + count). 0; -ENOMEM with nothing changed. */
int attr_map_set(struct attr_map *map, uint64_t first, uint64_t count, bool value);

/*
 * Keep what so many sets need at worst, so that these can't fail: who changes two
 * records at once does the fallible one first.  Instead of a set there may be
 * several: of its maximal runs of the other value, cut at its ends, all together as
 * many as runs (at least sets).  0; -ENOMEM.  What one set needs is kept for the
 * next one; attr_map_unreserve() gives back the rest.
 */
int attr_map_reserve(struct attr_map *map, uint64_t sets, uint64_t runs);
void attr_map_unreserve(struct attr_map *map);

/* Pages with value true; kept, not counted. */
uint64_t attr_map_count(const struct attr_map *map);

/* Bytes that the map itself holds, with what it reserves and what snapshots keep. */
uint64_t attr_map_memory(const struct attr_map *map);

/*
 * A snapshot is a map that never changes, and takes no time to make: from then on
 * map copies the nodes that it changes.  Made and released under the owner's lock,
 * read without it; after release, attr_map_free() without the lock.  NULL: no memory.
 */
struct attr_map *attr_map_snapshot(struct attr_map *map);
void attr_map_release(struct attr_map *map, struct attr_map *snapshot);

#endif
