/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The attribute map as a tree whose leaves are bitmaps.  An entry is one word:
 * a whole subtree of equal pages (UNIFORM_FALSE, UNIFORM_TRUE) or a pointer to
 * what divides it.  A node that becomes uniform is freed at once, so a uniform
 * map is the root's word, and the worst case (every leaf mixed) is a flat
 * bitmap plus one count and one pointer per 4096 pages.
 */
#include "attr_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEAF_SHIFT = 12,                    /* 4096 pages, 512 bytes of bits: 16 MiB of guest memory */
    LEAF_WORDS = (1 << LEAF_SHIFT) / 64,
    FAN_OUT_SHIFT = 9,
    FAN_OUT = 1 << FAN_OUT_SHIFT,
    MAX_LEVELS = 7,                     /* 12 + 6 * 9 = 66 bits of page number */
};

enum { UNIFORM_FALSE = 0, UNIFORM_TRUE = 1 };

typedef uintptr_t entry_t;

struct leaf {
    uint64_t trues;
    uint64_t word[];
};

struct inner {
    size_t children;
    entry_t child[];
};

/* A node kept ready so that setting can't fail; it is chained through its own memory. */
struct spare {
    struct spare *next;
};

struct attr_map {
    uint64_t pages;
    uint64_t trues;
    uint64_t memory;
    entry_t root;
    unsigned top;                       /* level of the node below root; 0: a leaf */
    struct spare *spares[MAX_LEVELS];
    unsigned nr_spares[MAX_LEVELS];
    unsigned total_spares;
    unsigned reserved;                  /* sets that the spares are kept for */
};

static inline bool is_uniform(entry_t entry)
{
    return entry <= UNIFORM_TRUE;
}

/* Pages below one node of this level, as a shift. */
static inline unsigned level_shift(unsigned level)
{
    return LEAF_SHIFT + level * FAN_OUT_SHIFT;
}

/* Pages that a node which starts at start really has: the last one may be cut short. */
static inline uint64_t node_pages(const struct attr_map *map, unsigned level, uint64_t start)
{
    uint64_t left = map->pages - start;

    if (level_shift(level) >= 64 || left >> level_shift(level) == 0)
        return left;
    return 1ULL << level_shift(level);
}

/* The top node is as large as the map needs, all others are full size. */
static size_t node_bytes(const struct attr_map *map, unsigned level)
{
    uint64_t units = level ? FAN_OUT : LEAF_WORDS;

    if (level == map->top) {
        unsigned shift = level ? level_shift(level - 1) : 6;

        units = ((map->pages - 1) >> shift) + 1;
    }
    return sizeof(uint64_t) + units * sizeof(uint64_t);
}

static void node_release(struct attr_map *map, unsigned level, void *node)
{
    map->memory -= node_bytes(map, level);
    free(node);
}

/* Free what is below an entry that starts at start; the number of true pages that were there. */
static uint64_t tree_free(struct attr_map *map, entry_t entry, unsigned level, uint64_t start)
{
    uint64_t trues = 0;

    if (is_uniform(entry))
        return entry == UNIFORM_TRUE ? node_pages(map, level, start) : 0;
    if (level) {
        struct inner *node = (struct inner *)entry;

        for (size_t i = 0; i < node->children; i++)
            trues += tree_free(map, node->child[i], level - 1,
                               start + ((uint64_t)i << level_shift(level - 1)));
    } else {
        trues = ((struct leaf *)entry)->trues;
    }
    node_release(map, level, (void *)entry);
    return trues;
}

static void spares_trim(struct attr_map *map)
{
    for (unsigned level = 0; map->total_spares; level++) {
        while (map->nr_spares[level]) {
            struct spare *spare = map->spares[level];

            map->spares[level] = spare->next;
            map->nr_spares[level]--;
            map->total_spares--;
            node_release(map, level, spare);
        }
    }
}

static int spares_fill(struct attr_map *map, unsigned level, unsigned want)
{
    while (map->nr_spares[level] < want) {
        struct spare *spare = malloc(node_bytes(map, level));

        if (!spare)
            return -ENOMEM;
        spare->next = map->spares[level];
        map->spares[level] = spare;
        map->nr_spares[level]++;
        map->total_spares++;
        map->memory += node_bytes(map, level);
    }
    return 0;
}

static void *spare_take(struct attr_map *map, unsigned level)
{
    struct spare *spare = map->spares[level];

    map->spares[level] = spare->next;
    map->nr_spares[level]--;
    map->total_spares--;
    return spare;
}

struct attr_map *attr_map_new(uint64_t pages, bool value)
{
    struct attr_map *map = calloc(1, sizeof(*map));

    if (!map)
        return NULL;
    map->pages = pages;
    map->trues = value ? pages : 0;
    map->root = value ? UNIFORM_TRUE : UNIFORM_FALSE;
    map->memory = sizeof(*map);
    while (level_shift(map->top) < 64 && pages > 1ULL << level_shift(map->top))
        map->top++;
    return map;
}

void attr_map_free(struct attr_map *map)
{
    if (!map)
        return;
    tree_free(map, map->root, map->top, 0);
    spares_trim(map);
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

/* The smallest piece that holds a page: a uniform entry or a leaf, and its bounds. */
struct piece {
    entry_t entry;
    uint64_t start, end;
};

static inline struct piece piece_find(const struct attr_map *map, uint64_t page)
{
    unsigned level = map->top;
    entry_t entry = map->root;
    uint64_t start = 0;

    while (!is_uniform(entry) && level) {
        const struct inner *node = (const struct inner *)entry;

        level--;
        entry = node->child[(page - start) >> level_shift(level)];
        start = page >> level_shift(level) << level_shift(level);
    }
    return (struct piece){ entry, start, start + node_pages(map, level, start) };
}

static inline bool piece_get(const struct piece *piece, uint64_t page)
{
    uint64_t bit = page - piece->start;

    if (is_uniform(piece->entry))
        return piece->entry == UNIFORM_TRUE;
    return ((const struct leaf *)piece->entry)->word[bit / 64] >> bit % 64 & 1;
}

bool attr_map_get(const struct attr_map *map, uint64_t page)
{
    struct piece piece = piece_find(map, page);

    return piece_get(&piece, page);
}

/* First page from page on within the piece whose value differs, or the piece's end. */
static inline uint64_t piece_next(const struct piece *piece, uint64_t page, bool value)
{
    const struct leaf *leaf = (const struct leaf *)piece->entry;
    uint64_t flip = value ? UINT64_MAX : 0;
    uint64_t bit = page - piece->start, n = piece->end - piece->start;

    if (is_uniform(piece->entry))
        return piece->entry == value ? piece->end : page;
    for (uint64_t mask = UINT64_MAX << bit % 64; bit < n; mask = UINT64_MAX) {
        uint64_t differ = (leaf->word[bit / 64] ^ flip) & mask;

        bit = bit / 64 * 64;
        if (differ) {
            bit += __builtin_ctzll(differ);
            break;
        }
        bit += 64;
    }
    return piece->start + (bit < n ? bit : n);
}

/* The lowest page such that it and all up to page (inclusive) have the value; page + 1: none. */
static uint64_t piece_previous(const struct piece *piece, uint64_t page, bool value)
{
    const struct leaf *leaf = (const struct leaf *)piece->entry;
    uint64_t flip = value ? UINT64_MAX : 0, bit = page - piece->start;

    if (is_uniform(piece->entry))
        return piece->entry == value ? piece->start : page + 1;
    for (uint64_t mask = UINT64_MAX >> (63 - bit % 64);; mask = UINT64_MAX) {
        uint64_t differ = (leaf->word[bit / 64] ^ flip) & mask;

        bit = bit / 64 * 64;
        if (differ)
            return piece->start + bit + 64 - __builtin_clzll(differ);
        if (!bit)
            return piece->start;
        bit--;
    }
}

static uint64_t run_end(const struct attr_map *map, struct piece piece, uint64_t page, bool value)
{
    while ((page = piece_next(&piece, page, value)) == piece.end && page < map->pages)
        piece = piece_find(map, page);
    return page;
}

static uint64_t run_start(const struct attr_map *map, struct piece piece, uint64_t page,
                          bool value)
{
    while ((page = piece_previous(&piece, page, value)) == piece.start && page > 0)
        piece = piece_find(map, --page);
    return page;
}

bool attr_map_run(const struct attr_map *map, uint64_t page, uint64_t *ret_start,
                  uint64_t *ret_end)
{
    struct piece piece = piece_find(map, page);
    bool value = piece_get(&piece, page);

    if (ret_start)
        *ret_start = run_start(map, piece, page, value);
    if (ret_end)
        *ret_end = run_end(map, piece, page, value);
    return value;
}

bool attr_map_all(const struct attr_map *map, uint64_t first, uint64_t count, bool value)
{
    uint64_t end = first + count;

    while (first < end) {
        struct piece piece = piece_find(map, first);

        first = piece_next(&piece, first, value);
        if (first < end && first < piece.end)
            return false;
    }
    return true;
}

/*
 * A boundary (first or end of a range) that lies inside a uniform node splits
 * it, and every node below that holds the boundary: add them to need[].
 */
static void needs_of_boundary(const struct attr_map *map, uint64_t page, bool value,
                              uint8_t need[MAX_LEVELS])
{
    unsigned level = map->top;
    entry_t entry = map->root;
    uint64_t start = 0;

    while (page > start && page < map->pages) {
        if (is_uniform(entry) && entry == value)
            return;
        if (is_uniform(entry) && need[level] < (level == map->top ? 1 : 2))
            need[level]++;
        if (!level)
            return;
        level--;
        if (!is_uniform(entry))
            entry = ((const struct inner *)entry)->child[(page - start) >> level_shift(level)];
        start = page >> level_shift(level) << level_shift(level);
    }
}

/* Make the node that replaces a uniform entry, from the spares. */
static entry_t entry_split(struct attr_map *map, entry_t old, unsigned level, uint64_t span)
{
    size_t size = node_bytes(map, level);
    void *node = spare_take(map, level);

    if (!level) {
        struct leaf *leaf = node;

        leaf->trues = old == UNIFORM_TRUE ? span : 0;
        memset(leaf->word, old == UNIFORM_TRUE ? 0xff : 0, size - sizeof(*leaf));
    } else {
        struct inner *inner = node;

        inner->children = (size - sizeof(*inner)) / sizeof(entry_t);
        for (size_t i = 0; i < inner->children; i++)
            inner->child[i] = old;
    }
    return (entry_t)node;
}

/* Mostly none or one. */
static inline unsigned count_bits(uint64_t word)
{
    return word & (word - 1) ? (unsigned)__builtin_popcountll(word) : !!word;
}

/* Set bits [first, end) of a leaf; how many changed. */
static inline uint64_t leaf_set(struct leaf *leaf, uint64_t first, uint64_t end, bool value)
{
    uint64_t changed = 0;

    for (uint64_t bit = first; bit < end; bit = (bit / 64 + 1) * 64) {
        uint64_t mask = UINT64_MAX << bit % 64;
        uint64_t *word = &leaf->word[bit / 64], differ;

        if (end - bit / 64 * 64 < 64)
            mask &= (1ULL << end % 64) - 1;
        differ = (value ? ~*word : *word) & mask;
        *word ^= differ;
        changed += count_bits(differ);
    }
    leaf->trues += value ? changed : -changed;
    return changed;
}

/* Set the part of [first, end) that lies below *entry; how many pages changed. */
static uint64_t entry_set(struct attr_map *map, entry_t *entry, unsigned level, uint64_t start,
                          uint64_t first, uint64_t end, bool value);

static uint64_t inner_set(struct attr_map *map, entry_t *entry, unsigned level, uint64_t start,
                          uint64_t first, uint64_t end, bool value)
{
    struct inner *node = (struct inner *)*entry;
    unsigned shift = level_shift(level - 1);
    uint64_t changed = 0;
    size_t same = 0;

    for (uint64_t i = (first - start) >> shift; i <= (end - 1 - start) >> shift; i++)
        changed += entry_set(map, &node->child[i], level - 1, start + (i << shift), first, end,
                             value);
    while (same < node->children && node->child[same] == value)
        same++;
    if (same == node->children) {
        node_release(map, level, node);
        *entry = value;
    }
    return changed;
}

static uint64_t entry_set(struct attr_map *map, entry_t *entry, unsigned level, uint64_t start,
                          uint64_t first, uint64_t end, bool value)
{
    uint64_t span = node_pages(map, level, start), changed;
    struct leaf *leaf;

    if (is_uniform(*entry) && *entry == value)
        return 0;
    first = first > start ? first : start;
    end = end < start + span ? end : start + span;
    if (end - first == span) {
        uint64_t trues = tree_free(map, *entry, level, start);

        *entry = value;
        return value ? span - trues : trues;
    }
    if (is_uniform(*entry))
        *entry = entry_split(map, *entry, level, span);
    if (level)
        return inner_set(map, entry, level, start, first, end, value);
    leaf = (struct leaf *)*entry;
    changed = leaf_set(leaf, first - start, end - start, value);
    if (leaf->trues == (value ? span : 0)) {
        node_release(map, 0, leaf);
        *entry = value;
    }
    return changed;
}

/* The usual case, within one leaf that stays mixed. False: nothing was done. */
static inline bool set_in_leaf(struct attr_map *map, uint64_t first, uint64_t count, bool value)
{
    struct piece piece = piece_find(map, first);
    struct leaf *leaf = (struct leaf *)piece.entry;
    uint64_t changed;

    if (is_uniform(piece.entry) || count > piece.end - first)
        return false;
    /* It might become uniform. */
    if ((value ? piece.end - piece.start - leaf->trues : leaf->trues) <= count)
        return false;
    changed = leaf_set(leaf, first - piece.start, first - piece.start + count, value);
    map->trues += value ? changed : -changed;
    return true;
}

int attr_map_set(struct attr_map *map, uint64_t first, uint64_t count, bool value)
{
    uint8_t need[MAX_LEVELS] = { 0 };
    uint64_t changed;
    int ret = 0;

    if (!count || set_in_leaf(map, first, count, value))
        return 0;
    needs_of_boundary(map, first, value, need);
    needs_of_boundary(map, first + count, value, need);
    for (unsigned level = 0; level <= map->top && !ret; level++)
        ret = spares_fill(map, level, need[level]);
    if (!ret) {
        changed = entry_set(map, &map->root, map->top, 0, first, first + count, value);
        map->trues += value ? changed : -changed;
    }
    if (!map->reserved)
        spares_trim(map);
    return ret;
}

/* Whatever the range: two boundaries, each at most one node a level, and one root. */
int attr_map_reserve(struct attr_map *map)
{
    unsigned sets = map->reserved + 1;

    for (unsigned level = 0; level <= map->top; level++) {
        int ret = spares_fill(map, level, level == map->top ? sets : 2 * sets);

        if (ret) {
            if (!map->reserved)
                spares_trim(map);
            return ret;
        }
    }
    map->reserved = sets;
    return 0;
}

void attr_map_unreserve(struct attr_map *map)
{
    map->reserved = 0;
    spares_trim(map);
}
