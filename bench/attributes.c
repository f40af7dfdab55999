/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The attribute map beside a flat bitmap with word-wise scanning, the way QEMU 10.2
 * keeps and reads these bits (ram-block-attributes: one bit a page, find_next_bit).
 *
 * For each pattern: the time of a full query (all ranges into an array), of a
 * conversion of one page and back somewhere in the middle of the pattern, of one
 * beside a snapshot that a query reads (with what the clock itself takes), and the
 * bytes taken from malloc().  Exit status 1: slower or larger than it may be.  The
 * best of several runs, as others use this machine.
 */
#include "attr_map.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 7, CONVERSIONS = 20000 };

#define PAGES_OF(bytes) ((uint64_t)(bytes) / 4096)
#define TIB (1ULL << 40)
#define GIB (1ULL << 30)
#define MIB (1ULL << 20)

/* --- The flat bitmap --- */

struct bitmap {
    uint64_t pages;
    uint64_t *word;
};

/* The first page from page on that has the value, or the end. */
static __attribute__((noinline)) uint64_t bitmap_next(const struct bitmap *map, uint64_t page,
                                                      bool value)
{
    uint64_t flip = value ? 0 : UINT64_MAX, found;

    if (page >= map->pages)
        return map->pages;
    found = (map->word[page / 64] ^ flip) & UINT64_MAX << page % 64;
    for (page = page / 64 * 64; !found;) {
        page += 64;
        if (page >= map->pages)
            return map->pages;
        found = map->word[page / 64] ^ flip;
    }
    page += (unsigned)__builtin_ctzll(found);
    return page < map->pages ? page : map->pages;
}

static size_t bitmap_query(const struct bitmap *map, uint64_t *ends)
{
    bool value = map->word[0] & 1;
    size_t n = 0;

    for (uint64_t page = 0; page < map->pages; value = !value)
        ends[n++] = page = bitmap_next(map, page, !value);
    return n;
}

static void bitmap_set(struct bitmap *map, uint64_t first, uint64_t count, bool value)
{
    for (; count && first % 64; first++, count--)
        map->word[first / 64] = (map->word[first / 64] & ~(1ULL << first % 64)) |
                                (uint64_t)value << first % 64;
    memset(&map->word[first / 64], value ? 0xff : 0, count / 64 * 8);
    first += count / 64 * 64;
    for (count %= 64; count; first++, count--)
        map->word[first / 64] = (map->word[first / 64] & ~(1ULL << first % 64)) |
                                (uint64_t)value << first % 64;
}

/* --- Patterns --- */

struct both {
    struct attr_map *map;
    struct bitmap flat;
};

static void set(struct both *both, uint64_t first, uint64_t count, bool value)
{
    if (attr_map_set(both->map, first, count, value))
        exit(1);
    bitmap_set(&both->flat, first, count, value);
}

static void fill_uniform(struct both *both)
{
}

/* Shared ranges of 4 KiB to 64 KiB anywhere in private memory. */
static void fill_scattered(struct both *both)
{
    for (int i = 0; i < 1000; i++) {
        uint64_t page = ((uint64_t)rand() << 20 ^ (uint64_t)rand()) % (both->flat.pages - 16);

        set(both, page, 1 + (uint64_t)rand() % 16, false);
    }
}

static void fill_every_second(struct both *both, uint64_t step)
{
    for (uint64_t page = 0; page < both->flat.pages; page += 2 * step)
        set(both, page, step, false);
}

static void fill_2m(struct both *both)
{
    fill_every_second(both, PAGES_OF(2 * MIB));
}

static void fill_4k(struct both *both)
{
    fill_every_second(both, 1);
}

static const struct pattern {
    const char *name;
    uint64_t size;
    void (*fill)(struct both *both);
    double faster;              /* how much faster than the bitmap a query has to be */
} patterns[] = {
    { "1 TiB, uniform", TIB, fill_uniform, 100 },
    { "1 TiB, 1000 shared ranges", TIB, fill_scattered, 100 },
    { "1 TiB, every second 2 MiB", TIB, fill_2m, 1 },
    { "64 GiB, every second 4 KiB", 64 * GIB, fill_4k, 1 },
};

/* --- Measuring --- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static size_t heap(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* More rounds where one is too short for the clock. */
static double time_query(const struct both *both, bool flat, uint64_t *ends, size_t max,
                         size_t *ret_n)
{
    double best = 1e9, took = 0;
    unsigned rounds = 1;
    bool value;

    for (int run = 0; run < RUNS; run++) {
        do {
            double start = now();

            for (unsigned i = 0; i < rounds; i++)
                *ret_n = flat ? bitmap_query(&both->flat, ends)
                              : attr_map_ends(both->map, 0, both->flat.pages, ends, max, &value);
            took = now() - start;
        } while (took < 1e-3 && (rounds *= 4));
        best = took / rounds < best ? took / rounds : best;
    }
    return best;
}

/* One page and back again, at random places: the average of both. */
static double time_conversion(const struct both *both)
{
    static uint64_t places[CONVERSIONS];
    double best = 1e9;

    for (int i = 0; i < CONVERSIONS; i++)
        places[i] = ((uint64_t)rand() << 20 ^ (uint64_t)rand()) % both->flat.pages;
    for (int run = 0; run < RUNS; run++) {
        double start = now(), took;

        for (int i = 0; i < CONVERSIONS; i++) {
            bool value = attr_map_get(both->map, places[i]);

            attr_map_set(both->map, places[i], 1, !value);
            attr_map_set(both->map, places[i], 1, value);
        }
        took = (now() - start) / (2 * CONVERSIONS);
        best = took < best ? took : best;
    }
    return best;
}

/* The same for the first set after a snapshot, which has to copy what it changes. */
static double time_copying(const struct both *both)
{
    double best = 1e9;

    for (int run = 0; run < RUNS; run++) {
        double took = 0;

        for (int i = 0; i < CONVERSIONS / 10; i++) {
            uint64_t page = ((uint64_t)rand() << 20 ^ (uint64_t)rand()) % both->flat.pages;
            struct attr_map *snapshot = attr_map_snapshot(both->map);
            bool value = attr_map_get(both->map, page);
            double start = now();

            attr_map_set(both->map, page, 1, !value);
            took += now() - start;
            attr_map_set(both->map, page, 1, value);
            attr_map_release(both->map, snapshot);
            attr_map_free(snapshot);
        }
        took /= CONVERSIONS / 10;
        best = took < best ? took : best;
    }
    return best;
}

static bool measure(const struct pattern *pattern)
{
    uint64_t pages = PAGES_OF(pattern->size), *ends, *flat_ends;
    struct both both = { .flat = { .pages = pages } };
    size_t before, held, max, n, flat_n;
    double query, flat_query, conversion, copying;
    bool ok;

    both.flat.word = malloc(pages / 8);
    memset(both.flat.word, 0xff, pages / 8);
    before = heap();
    both.map = attr_map_new(pages, true);
    pattern->fill(&both);
    held = heap() - before;
    max = bitmap_query(&both.flat, (ends = malloc((pages + 1) * sizeof(*ends)))) + 1;
    flat_ends = malloc(max * sizeof(*flat_ends));
    flat_query = time_query(&both, true, flat_ends, max, &flat_n);
    query = time_query(&both, false, ends, max, &n);
    if (n != flat_n || memcmp(ends, flat_ends, n * sizeof(*ends)) != 0) {
        fprintf(stderr, "attributes: %s: the map and the bitmap differ\n", pattern->name);
        exit(1);
    }
    conversion = time_conversion(&both);
    copying = time_copying(&both);
    ok = flat_query >= query * pattern->faster && conversion < 1e-6 && copying < 1e-6 &&
         held <= pages / 8 * 11 / 10;
    printf("%-27s %8zu %12.3f %12.3f %9.1f %7.0f %7.0f %9zu %10" PRIu64 "%s\n", pattern->name, n,
           query * 1e6, flat_query * 1e6, flat_query / query, conversion * 1e9, copying * 1e9,
           held / 1024, pages / 8 / 1024, ok ? "" : "  MISSED");
    free(ends);
    free(flat_ends);
    free(both.flat.word);
    attr_map_free(both.map);
    return ok;
}

int main(void)
{
    bool ok = true;

    printf("%-27s %8s %12s %12s %9s %7s %7s %9s %10s\n", "pattern", "ranges", "query us",
           "bitmap us", "faster", "set ns", "copy ns", "held KiB", "bitmap KiB");
    for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
        ok &= measure(&patterns[i]);
    return !ok;
}
