/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attribute maps side by side: pieces in which none of them changes. */
#include "map_scan.h"

#include <glib.h>

static void lane_fill(struct map_lane *lane, uint64_t at, uint64_t end)
{
    lane->n = attr_map_ends(lane->map, at, end, lane->ends, G_N_ELEMENTS(lane->ends),
                            &lane->value);
    lane->i = 0;
}

void map_scan_init(struct map_scan *scan, const struct attr_map *const *maps, unsigned n,
                   uint64_t first, uint64_t end)
{
    scan->n = n;
    scan->at = first;
    scan->end = end;
    for (unsigned i = 0; i < n && first < end; i++) {
        scan->lanes[i].map = maps[i];
        lane_fill(&scan->lanes[i], first, end);
    }
}

bool map_scan_next(struct map_scan *scan, uint64_t *ret_start, uint64_t *ret_end,
                   unsigned *ret_mask)
{
    uint64_t end = scan->end;
    unsigned mask = 0;

    if (scan->at >= scan->end)
        return false;
    for (unsigned i = 0; i < scan->n; i++) {
        end = MIN(end, scan->lanes[i].ends[scan->lanes[i].i]);
        mask |= (unsigned)scan->lanes[i].value << i;
    }
    for (unsigned i = 0; i < scan->n && end < scan->end; i++) {
        struct map_lane *lane = &scan->lanes[i];

        if (lane->ends[lane->i] != end)
            continue;
        lane->value = !lane->value;
        if (++lane->i == lane->n)
            lane_fill(lane, end, scan->end);
    }
    *ret_start = scan->at;
    *ret_end = scan->at = end;
    *ret_mask = mask;
    return true;
}
