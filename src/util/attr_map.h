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

/*
 * Set [first, first + count). 0; -ENOMEM with nothing changed. The first set
 * after attr_map_reserve(), of any part of the reserved range to either value,
 * can't fail.
 */
int attr_map_set(struct attr_map *map, uint64_t first, uint64_t count, bool value);

/*
 * Allocate whatever one attr_map_set() within the range may need, so that who
 * changes two records at once can do the fallible one first. 0; -ENOMEM.
 */
int attr_map_reserve(struct attr_map *map, uint64_t first, uint64_t count);

/* Pages with value true; kept, not counted. */
uint64_t attr_map_count(const struct attr_map *map);

/* Bytes that the map itself holds. */
uint64_t attr_map_memory(const struct attr_map *map);

#endif
