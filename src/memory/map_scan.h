/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attribute maps side by side: pieces in which none of them changes. */
#ifndef MEMORY_MAP_SCAN_H
#define MEMORY_MAP_SCAN_H

#include "attr_map.h"

enum { MAP_SCAN_MAX = 8 };

struct map_scan {
    uint64_t at, end;
    unsigned n;
    struct map_lane {
        const struct attr_map *map;
        bool value;
        uint64_t ends[64];
        size_t i, n;
    } lanes[MAP_SCAN_MAX];
};

/* Pages [first, end) of n maps, at most MAP_SCAN_MAX; none of them changes until the scan is over. */
void map_scan_init(struct map_scan *scan, const struct attr_map *const *maps, unsigned n,
                   uint64_t first, uint64_t end);
/* The next piece, with bit i set for a map i that is true there. False: that was all. */
bool map_scan_next(struct map_scan *scan, uint64_t *ret_start, uint64_t *ret_end,
                   unsigned *ret_mask);

#endif
