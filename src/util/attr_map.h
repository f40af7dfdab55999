/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A map from page numbers to one bit, for guest memory's private/shared state:
 * its cost follows what is in it, not the size of the memory.  A uniform map is
 * one word; regions of mixed content are bitmaps, everything else is kept as
 * uniform pieces.
 *
 * Not locked: its owner does that.  Used by softkvm and by the VMM.
 */
#ifndef UTIL_ATTR_MAP_H
#define UTIL_ATTR_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct attr_map;

/* pages: number of pages, all with the given value. NULL: no memory. */
struct attr_map *attr_map_new(uint64_t pages, bool value);
void attr_map_free(struct attr_map *map);

uint64_t attr_map_pages(const struct attr_map *map);

/* first < pages. */
bool attr_map_get(const struct attr_map *map, uint64_t first);

/*
 * The maximal run that contains page first: its value; *ret_start and *ret_end
 * (half-open) are its bounds, NULL if not wanted.
 */
bool attr_map_run(const struct attr_map *map, uint64_t first, uint64_t *ret_start,
                  uint64_t *ret_end);

/* Every page of [first, first + count) has the value. */
bool attr_map_all(const struct attr_map *map, uint64_t first, uint64_t count, bool value);

/* Set [first, first + count). 0; -ENOMEM with nothing changed. */
int attr_map_set(struct attr_map *map, uint64_t first, uint64_t count, bool value);

/*
 * For who changes two records at once, and does the fallible one first: allocate
 * whatever one attr_map_set() may need, of any range to either value, which then
 * can't fail.  Calls add up, and what they allocated is kept until
 * attr_map_unreserve(), which must follow.  Instead of one set there may be
 * several within its range, to the same value, of maximal runs of the other
 * value (cut at the range's ends).  0; -ENOMEM with nothing changed.
 */
int attr_map_reserve(struct attr_map *map);
void attr_map_unreserve(struct attr_map *map);

/* Pages with value true; kept, not counted. */
uint64_t attr_map_count(const struct attr_map *map);

/* Bytes that the map itself holds. */
uint64_t attr_map_memory(const struct attr_map *map);

#endif
