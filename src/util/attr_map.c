/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The attribute map as a tree of 64-way nodes.  A child that is uniform is one
 * bit of its parent (value); only mixed children have a slot.  At level 0 a child
 * is 64 pages and its slot their bits, above it is a node.  So a uniform map has no
 * nodes, and the worst case (every word mixed) is a flat bitmap plus 8 %.
 *
 * Slots are packed, in order of child number.  Pages beyond the map's end, up to
 * what the tree can hold, always have the value of the last page, so that they
 * never keep a node alive.
 *
 * Nodes that a snapshot can see are not changed but replaced, and kept until the
 * last snapshot is released.
 */
#include "attr_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FAN_SHIFT = 6,
    FAN = 1 << FAN_SHIFT,
    MAX_LEVELS = 8,             /* 6 + 8 * 6 = 54 bits of page number */
};

struct node {
    union {
        struct {
            uint64_t epoch : 56;        /* of the map when it was made */
            uint64_t capacity : 8;      /* slots */
        };
        struct node *next;              /* once it is no part of the map any more */
    };
    uint64_t value;                     /* of uniform children */
    uint64_t mixed;                     /* children that have a slot */
    uint64_t slot[];
};

struct attr_map {
    uint64_t pages;
    uint64_t trues;
    uint64_t memory;
    struct node *root;                  /* NULL: uniform */
    bool uniform;                       /* its value then */
    unsigned top;                       /* level of the root */
    uint64_t epoch;                     /* number of snapshots so far */
    unsigned snapshots;                 /* that exist */
    struct node *retired;               /* replaced, but visible to a snapshot */
    uint64_t retired_memory;
    struct node *spares;                /* of full size, for when malloc() has nothing */
    uint64_t nr_spares;
    uint64_t nodes;                     /* in the tree */
};

static inline unsigned popcount(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return x * 0x0101010101010101 >> 56;
}

/* Pages below one child of a node of this level, as a shift. */
static inline unsigned child_shift(unsigned level)
{
    return FAN_SHIFT + level * FAN_SHIFT;
}

/* Bits [first, last]. */
static inline uint64_t bits_between(unsigned first, unsigned last)
{
    return UINT64_MAX << first & UINT64_MAX >> (63 - last);
}

static inline uint64_t all_if(bool value)
{
    return value ? UINT64_MAX : 0;
}

/* --- Nodes --- */

static inline size_t node_bytes(unsigned capacity)
{
    return sizeof(struct node) + capacity * sizeof(uint64_t);
}

/* Capacities are 0 and the powers of two from 2 to 64. */
static unsigned capacity_for(unsigned slots)
{
    unsigned capacity = 2;

    while (capacity < slots)
        capacity *= 2;
    return slots ? capacity : 0;
}

static inline unsigned slot_index(const struct node *node, unsigned child)
{
    return node->mixed == UINT64_MAX ? child : popcount(node->mixed & ((1ULL << child) - 1));
}

/* The node below a mixed child of a node of level 1 or above. */
static inline struct node *slot_node(uint64_t slot)
{
    return (struct node *)(uintptr_t)slot;
}

/* With capacity for so many slots; NULL: no memory, unless a spare may be used and there is one. */
static struct node *node_alloc(struct attr_map *map, unsigned slots, bool may_use_spare)
{
    unsigned capacity = capacity_for(slots);
    struct node *node = malloc(node_bytes(capacity));

    if (node) {
        map->memory += node_bytes(capacity);
    } else if (may_use_spare) {
        node = map->spares;
        map->spares = node->next;
        map->nr_spares--;
        capacity = FAN;
    } else {
        return NULL;
    }
    map->nodes++;
    node->epoch = map->epoch;
    node->capacity = capacity;
    return node;
}

static inline bool is_shared(const struct attr_map *map, const struct node *node)
{
    return map->snapshots && node->epoch < map->epoch;
}

static void node_free(struct attr_map *map, struct node *node)
{
    size_t bytes = node_bytes(node->capacity);

    map->nodes--;
    if (is_shared(map, node)) {
        map->retired_memory += bytes;
        node->next = map->retired;
        map->retired = node;
        return;
    }
    map->memory -= bytes;
    free(node);
}

/* The content goes to another node, with room for it; the old one goes. */
static struct node *node_move(struct attr_map *map, struct node *to, struct node *from)
{
    to->value = from->value;
    to->mixed = from->mixed;
    memcpy(to->slot, from->slot, popcount(from->mixed) * sizeof(to->slot[0]));
    node_free(map, from);
    return to;
}

/* Something that may be changed and has room for so many more slots. */
static struct node *node_prepare(struct attr_map *map, struct node *node, unsigned more)
{
    unsigned slots = popcount(node->mixed) + more;

    if (!is_shared(map, node) && slots <= node->capacity)
        return node;
    return node_move(map, node_alloc(map, slots, true), node);
}

static void slot_insert(struct node *node, unsigned child, uint64_t slot)
{
    unsigned i = slot_index(node, child);

    memmove(&node->slot[i + 1], &node->slot[i], (popcount(node->mixed) - i) * sizeof(slot));
    node->slot[i] = slot;
    node->mixed |= 1ULL << child;
}

/* Child becomes uniform. */
static void slot_remove(struct node *node, unsigned child, bool value)
{
    unsigned i = slot_index(node, child);
    uint64_t bit = 1ULL << child;

    node->mixed &= ~bit;
    node->value = (node->value & ~bit) | (value ? bit : 0);
    memmove(&node->slot[i], &node->slot[i + 1],
            (popcount(node->mixed) - i) * sizeof(node->slot[0]));
}

/* Free a tree; the number of true pages that it had. */
static uint64_t tree_free(struct attr_map *map, struct node *node, unsigned level)
{
    uint64_t trues = (uint64_t)popcount(node->value & ~node->mixed) << child_shift(level);

    for (uint64_t left = node->mixed; left; left &= left - 1) {
        uint64_t slot = node->slot[slot_index(node, (unsigned)__builtin_ctzll(left))];

        trues += level ? tree_free(map, slot_node(slot), level - 1) : popcount(slot);
    }
    node_free(map, node);
    return trues;
}

/* --- The map --- */

struct attr_map *attr_map_new(uint64_t pages, bool value)
{
    struct attr_map *map = calloc(1, sizeof(*map));

    if (!map)
        return NULL;
    map->pages = pages;
    map->trues = value ? pages : 0;
    map->uniform = value;
    map->memory = sizeof(*map);
    while (pages > 1ULL << child_shift(map->top + 1))
        map->top++;
    return map;
}

static void list_free(struct node *node)
{
    while (node) {
        struct node *next = node->next;

        free(node);
        node = next;
    }
}

void attr_map_free(struct attr_map *map)
{
    if (!map)
        return;
    if (map->root)
        tree_free(map, map->root, map->top);
    list_free(map->spares);
    list_free(map->retired);
    free(map);
}

uint64_t attr_map_pages(const struct attr_map *map)
{
    return map->pages;
}

uint64_t attr_map_count(const struct attr_map *map)
{
    return map->trues;
}

uint64_t attr_map_memory(const struct attr_map *map)
{
    return map->memory;
}

struct attr_map *attr_map_snapshot(struct attr_map *map)
{
    struct attr_map *snapshot = malloc(sizeof(*snapshot));

    if (!snapshot)
        return NULL;
    *snapshot = *map;
    snapshot->spares = snapshot->retired = NULL;
    map->snapshots++;
    map->epoch++;
    return snapshot;
}

void attr_map_release(struct attr_map *map, struct attr_map *snapshot)
{
    snapshot->root = NULL;
    if (--map->snapshots)
        return;
    snapshot->retired = map->retired;
    map->memory -= map->retired_memory;
    map->retired = NULL;
    map->retired_memory = 0;
}

/* --- Reading --- */

bool attr_map_get(const struct attr_map *map, uint64_t page)
{
    const struct node *node = map->root;

    if (!node)
        return map->uniform;
    for (unsigned level = map->top;; level--) {
        unsigned child = page >> child_shift(level) & (FAN - 1);
        uint64_t slot;

        if (!(node->mixed >> child & 1))
            return node->value >> child & 1;
        slot = node->slot[slot_index(node, child)];
        if (!level)
            return slot >> (page & 63) & 1;
        node = slot_node(slot);
    }
}

struct scan {
    uint64_t first, end;
    uint64_t *ends;
    size_t n, max;
    bool value;                 /* of the run that is open */
};

/* The open run ends here. False: enough. */
static inline bool scan_emit(struct scan *scan, uint64_t page)
{
    if (page >= scan->end)
        return false;
    scan->ends[scan->n++] = page;
    scan->value = !scan->value;
    return scan->n < scan->max;
}

/* The 64 pages from base on. */
static inline bool scan_word(struct scan *scan, uint64_t word, uint64_t base)
{
    /* Where a page differs from the one before. */
    uint64_t edges = word ^ (word << 1 | scan->value);

    if (base <= scan->first)
        edges &= UINT64_MAX << (scan->first - base) << 1;
    if (scan->max - scan->n > 64 && scan->end - base >= 64) {
        uint64_t *next = scan->ends + scan->n;

        for (; edges; edges &= edges - 1)
            *next++ = base + (unsigned)__builtin_ctzll(edges);
        scan->n = (size_t)(next - scan->ends);
        scan->value = word >> 63;
        return true;
    }
    for (; edges; edges &= edges - 1) {
        if (!scan_emit(scan, base + (unsigned)__builtin_ctzll(edges)))
            return false;
    }
    return true;
}

/* All edges after scan->first below a node. False: no more are wanted. */
static bool scan_node(struct scan *scan, const struct node *node, unsigned level, uint64_t base)
{
    unsigned shift = child_shift(level);
    unsigned from = scan->first > base ? (unsigned)((scan->first - base) >> shift) : 0;
    const uint64_t *slot = &node->slot[from ? slot_index(node, from) : 0];

    for (uint64_t left = UINT64_MAX << from; left;) {
        /* What isn't simply more of the open run: every mixed child, so slots come in order. */
        uint64_t differ = (node->mixed | (node->value ^ all_if(scan->value))) & left, start;
        bool more;

        if (!differ)
            return true;
        start = base + ((uint64_t)__builtin_ctzll(differ) << shift);
        if (start >= scan->end)
            return false;
        if (!(node->mixed & differ & -differ))
            more = scan_emit(scan, start);
        else if (level)
            more = scan_node(scan, slot_node(*slot++), level - 1, start);
        else
            more = scan_word(scan, *slot++, start);
        if (!more)
            return false;
        left &= ~(differ ^ (differ - 1));
    }
    return true;
}

size_t attr_map_ends(const struct attr_map *map, uint64_t first, uint64_t end, uint64_t *ends,
                     size_t max, bool *ret_value)
{
    struct scan scan = { .first = first, .end = end, .ends = ends, .max = max };

    scan.value = *ret_value = attr_map_get(map, first);
    if (map->root)
        scan_node(&scan, map->root, map->top, 0);
    if (scan.n < max)
        ends[scan.n++] = end;
    return scan.n;
}

bool attr_map_all(const struct attr_map *map, uint64_t first, uint64_t count, bool value)
{
    uint64_t run_end;
    bool is;

    if (!count)
        return true;
    attr_map_ends(map, first, first + count, &run_end, 1, &is);
    return is == value && run_end == first + count;
}

/* --- Setting --- */

static struct node *tree_set(struct attr_map *map, struct node *node, unsigned level,
                             uint64_t base, uint64_t first, uint64_t end, bool value,
                             uint64_t *changed);

/* Pages [first, end) of the word at base. */
static void set_word(struct node *node, unsigned child, uint64_t base, uint64_t first,
                     uint64_t end, bool value, uint64_t *changed)
{
    uint64_t mask = bits_between((unsigned)(first - base), (unsigned)(end - 1 - base));
    bool was_mixed = node->mixed >> child & 1;
    uint64_t *slot = &node->slot[slot_index(node, child)];
    uint64_t word = was_mixed ? *slot : all_if(node->value >> child & 1);
    uint64_t differ = (word ^ all_if(value)) & mask;

    if (!differ)
        return;
    *changed += popcount(differ);
    word ^= differ;
    if (!was_mixed)
        slot_insert(node, child, word);
    else if (word == all_if(value))
        slot_remove(node, child, value);
    else
        *slot = word;
}

static void set_child(struct attr_map *map, struct node *node, unsigned level, unsigned child,
                      uint64_t base, uint64_t first, uint64_t end, bool value, uint64_t *changed)
{
    bool was_mixed = node->mixed >> child & 1, was = node->value >> child & 1;
    struct node *below;

    if (!level) {
        set_word(node, child, base, first, end, value, changed);
        return;
    }
    if (!was_mixed) {
        if (was == value)
            return;
        below = node_alloc(map, 2, true);
        below->mixed = 0;
        below->value = all_if(was);
        slot_insert(node, child, (uintptr_t)below);
    }
    below = slot_node(node->slot[slot_index(node, child)]);
    below = tree_set(map, below, level - 1, base, first, end, value, changed);
    if (below)
        node->slot[slot_index(node, child)] = (uintptr_t)below;
    else
        slot_remove(node, child, value);
}

/* Children that lie in the range as a whole. */
static void set_whole(struct attr_map *map, struct node *node, unsigned level, uint64_t whole,
                      bool value, uint64_t *changed)
{
    uint64_t differ = (node->value ^ all_if(value)) & whole & ~node->mixed;

    *changed += (uint64_t)popcount(differ) << child_shift(level);
    for (uint64_t left = node->mixed & whole; left; left &= left - 1) {
        unsigned child = (unsigned)__builtin_ctzll(left);
        uint64_t slot = node->slot[slot_index(node, child)];
        uint64_t trues = level ? tree_free(map, slot_node(slot), level - 1) : popcount(slot);

        *changed += value ? (1ULL << child_shift(level)) - trues : trues;
        slot_remove(node, child, value);
    }
    node->value = (node->value & ~whole) | (all_if(value) & whole);
}

/* A quarter full: move to a smaller one if there is memory for that. */
static struct node *node_shrink(struct attr_map *map, struct node *node)
{
    unsigned slots = popcount(node->mixed);
    struct node *small;

    if (!node->capacity || slots > node->capacity / 4)
        return node;
    small = node_alloc(map, slots, false);
    return small ? node_move(map, small, node) : node;
}

/*
 * Set the part of [first, end) that lies below a node that starts at base.  The
 * node that stands for it now; NULL: all of it has the value.
 */
static struct node *tree_set(struct attr_map *map, struct node *node, unsigned level,
                             uint64_t base, uint64_t first, uint64_t end, bool value,
                             uint64_t *changed)
{
    unsigned shift = child_shift(level), more = 0;
    uint64_t node_end = base + (1ULL << (shift + FAN_SHIFT)), whole, partial = 0;
    unsigned from, last;

    first = first > base ? first : base;
    end = end < node_end ? end : node_end;
    from = (unsigned)((first - base) >> shift);
    last = (unsigned)((end - 1 - base) >> shift);
    if (first & ((1ULL << shift) - 1))
        partial |= 1ULL << from;
    if (end & ((1ULL << shift) - 1))
        partial |= 1ULL << last;
    whole = bits_between(from, last) & ~partial;
    more = popcount(partial & ~node->mixed & (node->value ^ all_if(value)));
    node = node_prepare(map, node, more);
    if (whole)
        set_whole(map, node, level, whole, value, changed);
    for (; partial; partial &= partial - 1) {
        unsigned child = (unsigned)__builtin_ctzll(partial);
        uint64_t start = base + ((uint64_t)child << shift), stop = start + (1ULL << shift);

        set_child(map, node, level, child, start, first > start ? first : start,
                  end < stop ? end : stop, value, changed);
    }
    if (!node->mixed && node->value == all_if(value)) {
        node_free(map, node);
        return NULL;
    }
    return node_shrink(map, node);
}

/*
 * Nodes that one set makes at most: each on the way to its two ends is either new,
 * with room for both, or replaced once by one with room.
 */
static unsigned worst_case(const struct attr_map *map)
{
    return 2 * (map->top + 1);
}

int attr_map_reserve(struct attr_map *map, uint64_t sets, uint64_t runs)
{
    uint64_t worst = worst_case(map);
    /* Runs that become equal to their neighbours make no nodes, but may replace each one once. */
    uint64_t replace = map->nodes + worst, need = sets * worst;

    if (runs > sets)
        need += (runs - sets) * worst < replace ? (runs - sets) * worst : replace;

    while (map->nr_spares < need) {
        struct node *spare = malloc(node_bytes(FAN));

        if (!spare)
            return -ENOMEM;
        map->memory += node_bytes(FAN);
        spare->next = map->spares;
        map->spares = spare;
        map->nr_spares++;
    }
    return 0;
}

void attr_map_unreserve(struct attr_map *map)
{
    while (map->nr_spares > worst_case(map)) {
        struct node *spare = map->spares;

        map->spares = spare->next;
        map->nr_spares--;
        map->memory -= node_bytes(FAN);
        free(spare);
    }
}

static void set_all(struct attr_map *map, bool value)
{
    if (map->root)
        tree_free(map, map->root, map->top);
    map->root = NULL;
    map->uniform = value;
    map->trues = value ? map->pages : 0;
}

int attr_map_set(struct attr_map *map, uint64_t first, uint64_t count, bool value)
{
    uint64_t end = first + count, room = 1ULL << child_shift(map->top + 1), changed = 0;
    int ret;

    if (!count || (!map->root && map->uniform == value))
        return 0;
    if (count == map->pages) {
        set_all(map, value);
        return 0;
    }
    ret = attr_map_reserve(map, 1, 1);
    if (ret)
        return ret;
    if (end == map->pages) {
        /* What lies beyond goes with the last page. */
        end = room;
        if (attr_map_get(map, map->pages - 1) != value)
            changed -= room - map->pages;
    }
    if (!map->root) {
        map->root = node_alloc(map, 2, true);
        map->root->mixed = 0;
        map->root->value = all_if(map->uniform);
    }
    map->root = tree_set(map, map->root, map->top, 0, first, end, value, &changed);
    if (!map->root)
        map->uniform = value;
    map->trues += value ? changed : -changed;
    return 0;
}
