/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The attribute map against a plain array, and what it may cost. */
#include "attr_map.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* The linker sends attr_map.c's allocations here: after so many, there is no memory. */
static int allocations_left = -1;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_malloc(size);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

/* The map says what the array says, by every question that it answers. */
static void check_same(const struct attr_map *map, const uint8_t *model, uint64_t pages)
{
    uint64_t trues = 0;

    for (uint64_t page = 0; page < pages;) {
        uint64_t end = page, map_end, probe;
        bool value = model[page];

        while (end < pages && model[end] == model[page])
            end++;
        probe = page + (uint64_t)rand() % (end - page);
        assert_int_equal(attr_map_run(map, probe, &map_end), value);
        assert_int_equal(map_end, end);
        assert_int_equal(attr_map_get(map, probe), value);
        assert_true(attr_map_all(map, page, end - page, value));
        assert_false(attr_map_all(map, page, 1, !value));
        if (end < pages)
            assert_false(attr_map_all(map, page, end - page + 1, value));
        trues += value ? end - page : 0;
        page = end;
    }
    assert_int_equal(attr_map_count(map), trues);
}

static void test_random_sets_match_an_array(void **state)
{
    static const uint64_t sizes[] = { 1, 63, 64, 65, 4095, 4096, 4097, 300000, 2097153 };

    srand(1);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint64_t pages = sizes[i];
        bool initial = i % 2;
        struct attr_map *map = attr_map_new(pages, initial);
        uint8_t *model = malloc(pages);

        assert_non_null(map);
        memset(model, initial, pages);
        for (int step = 0; step < 120; step++) {
            uint64_t limit = rand() % 3 ? 70 : pages, first = (uint64_t)rand() % pages;
            uint64_t count = 1 + (uint64_t)rand() % limit;
            bool value = rand() % 2;

            if (rand() % 4 == 0)
                first &= ~4095ULL;
            if (count > pages - first)
                count = pages - first;
            assert_int_equal(attr_map_set(map, first, count, value), 0);
            memset(model + first, value, count);
            if (step % 10 == 0 || pages < 5000)
                check_same(map, model, pages);
        }
        check_same(map, model, pages);
        assert_int_equal(attr_map_set(map, 0, pages, false), 0);
        assert_int_equal(attr_map_count(map), 0);
        attr_map_free(map);
        free(model);
    }
}

/* The same runs, whatever the number of them that one call may return. */
static void test_pages_of_runs_match_one_another(void **state)
{
    enum { PAGES = 300000 };
    static uint64_t all[PAGES + 1], some[PAGES + 1];
    struct attr_map *map = attr_map_new(PAGES, false);

    srand(3);
    for (int i = 0; i < 2000; i++)
        attr_map_set(map, (uint64_t)rand() % (PAGES - 300), 1 + (uint64_t)rand() % 300, rand() % 2);
    for (int round = 0; round < 200; round++) {
        uint64_t first = (uint64_t)rand() % PAGES;
        uint64_t end = first + 1 + (uint64_t)rand() % (PAGES - first);
        bool value, next_value;
        size_t n = attr_map_ends(map, first, end, all, PAGES + 1, &value), have = 0;

        assert_int_equal(all[n - 1], end);
        for (uint64_t at = first; at < end; at = some[have - 1]) {
            size_t max = 1 + (size_t)rand() % 100, got;

            got = attr_map_ends(map, at, end, some + have, max, &next_value);
            assert_true(got >= 1 && got <= max);
            assert_int_equal(next_value, value ^ (have & 1));
            have += got;
        }
        assert_int_equal(have, n);
        assert_memory_equal(all, some, n * sizeof(all[0]));
    }
    attr_map_free(map);
}

/* Several snapshots at once, each against the array of its time; then everything is given back. */
static void test_snapshots_do_not_change(void **state)
{
    enum { PAGES = 70000, SNAPSHOTS = 4 };
    struct attr_map *map = attr_map_new(PAGES, false), *snapshots[SNAPSHOTS] = { NULL };
    static uint8_t model[PAGES], then[SNAPSHOTS][PAGES];

    srand(4);
    memset(model, 0, sizeof(model));
    for (int step = 0; step < 4000; step++) {
        uint64_t first = (uint64_t)rand() % PAGES;
        uint64_t count = 1 + (uint64_t)rand() % (rand() % 3 ? 20 : PAGES);
        bool value = rand() % 2;
        int i = rand() % SNAPSHOTS;

        if (count > PAGES - first)
            count = PAGES - first;
        assert_int_equal(attr_map_set(map, first, count, value), 0);
        memset(model + first, value, count);
        if (step % 50)
            continue;
        if (snapshots[i]) {
            check_same(snapshots[i], then[i], PAGES);
            attr_map_release(map, snapshots[i]);
            attr_map_free(snapshots[i]);
            snapshots[i] = NULL;
        } else {
            snapshots[i] = attr_map_snapshot(map);
            assert_non_null(snapshots[i]);
            memcpy(then[i], model, PAGES);
        }
    }
    check_same(map, model, PAGES);
    for (int i = 0; i < SNAPSHOTS; i++) {
        if (!snapshots[i])
            continue;
        check_same(snapshots[i], then[i], PAGES);
        attr_map_release(map, snapshots[i]);
        attr_map_free(snapshots[i]);
    }
    assert_int_equal(attr_map_set(map, 0, PAGES, false), 0);
    assert_true(attr_map_memory(map) < 8192);   /* what is reserved */
    attr_map_free(map);
}

/* One thread sets pairs of pages, the others read snapshots: pairs are never torn. */
enum { PAIRS = 20000 };

struct shared_map {
    pthread_mutex_t lock;
    struct attr_map *map;
    bool stop;
};

static void *set_pairs(void *arg)
{
    struct shared_map *shared = arg;
    unsigned seed = 7;

    while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        uint64_t pair = (uint64_t)rand_r(&seed) % PAIRS;
        bool value = rand_r(&seed) % 2;

        pthread_mutex_lock(&shared->lock);
        attr_map_set(shared->map, pair * 2, 2, value);
        pthread_mutex_unlock(&shared->lock);
    }
    return NULL;
}

static void test_snapshots_beside_a_writer(void **state)
{
    struct shared_map shared = { .lock = PTHREAD_MUTEX_INITIALIZER };
    static uint64_t ends[2 * PAIRS];
    pthread_t writer;

    shared.map = attr_map_new(2 * PAIRS, false);
    assert_int_equal(pthread_create(&writer, NULL, set_pairs, &shared), 0);
    for (int round = 0; round < 100; round++) {
        struct attr_map *snapshot;
        uint64_t from = 0, trues = 0;
        bool value;
        size_t n;

        pthread_mutex_lock(&shared.lock);
        snapshot = attr_map_snapshot(shared.map);
        pthread_mutex_unlock(&shared.lock);
        assert_non_null(snapshot);
        n = attr_map_ends(snapshot, 0, 2 * PAIRS, ends, 2 * PAIRS, &value);
        for (size_t i = 0; i < n; from = ends[i], value = !value, i++) {
            assert_int_equal(ends[i] % 2, 0);
            trues += value ? ends[i] - from : 0;
        }
        assert_int_equal(trues, attr_map_count(snapshot));
        pthread_mutex_lock(&shared.lock);
        attr_map_release(shared.map, snapshot);
        pthread_mutex_unlock(&shared.lock);
        attr_map_free(snapshot);
    }
    __atomic_store_n(&shared.stop, true, __ATOMIC_RELAXED);
    pthread_join(writer, NULL);
    attr_map_free(shared.map);
}

static void test_uniform_again_is_no_node_again(void **state)
{
    struct attr_map *map = attr_map_new(1 << 20, false);
    uint64_t empty;

    assert_int_equal(attr_map_reserve(map, 1, 1), 0);
    empty = attr_map_memory(map);
    for (uint64_t page = 0; page < 5000; page++)
        assert_int_equal(attr_map_set(map, page, 1, true), 0);
    assert_true(attr_map_memory(map) > empty);
    for (uint64_t page = 5000; page-- > 0;)
        assert_int_equal(attr_map_set(map, page, 1, false), 0);
    assert_int_equal(attr_map_memory(map), empty);
    attr_map_free(map);
}

static void test_uniform_tebibyte_takes_microseconds(void **state)
{
    double best = 1;

    for (int i = 0; i < 20; i++) {
        double before = seconds();
        struct attr_map *map = attr_map_new(1ULL << 28, false);
        uint64_t end;

        assert_int_equal(attr_map_set(map, 0, 1ULL << 28, true), 0);
        assert_true(attr_map_run(map, 12345678, &end));
        assert_int_equal(end, 1ULL << 28);
        assert_true(attr_map_memory(map) < 256);
        attr_map_free(map);
        before = seconds() - before;
        best = before < best ? before : best;
    }
    assert_true(best < 50e-6);
}

static void test_whole_address_space(void **state)
{
    uint64_t pages = 1ULL << 52, end;
    struct attr_map *map = attr_map_new(pages, false);

    assert_int_equal(attr_map_set(map, pages - 1, 1, true), 0);
    assert_int_equal(attr_map_set(map, 5, 1, true), 0);
    assert_false(attr_map_run(map, 1ULL << 40, &end));
    assert_int_equal(end, pages - 1);
    assert_true(attr_map_memory(map) < 64 * 1024);
    attr_map_free(map);
}

static void test_every_second_page_is_no_larger_than_a_bitmap(void **state)
{
    uint64_t pages = 1 << 22;               /* 16 GiB of guest */
    struct attr_map *map = attr_map_new(pages, false);

    for (uint64_t page = 0; page < pages; page += 2)
        assert_int_equal(attr_map_set(map, page, 1, true), 0);
    assert_int_equal(attr_map_count(map), pages / 2);
    assert_true(attr_map_memory(map) <= pages / 8 * 11 / 10);
    attr_map_free(map);
}

static void test_no_memory_changes_nothing(void **state)
{
    uint64_t pages = 1 << 22;

    for (int left = 0;; left++) {
        struct attr_map *map = attr_map_new(pages, false);
        int ret;

        allocations_left = left;
        ret = attr_map_set(map, 3, pages - 7, true);
        allocations_left = -1;
        assert_int_equal(attr_map_count(map), ret ? 0 : pages - 7);
        if (ret)
            assert_int_equal(ret, -ENOMEM);
        attr_map_free(map);
        if (!ret) {
            assert_true(left > 2);          /* or this test has tested nothing */
            return;
        }
    }
}

static void test_set_after_reserve_needs_no_memory(void **state)
{
    uint64_t pages = 1 << 23;

    srand(2);
    for (int i = 0; i < 500; i++) {
        struct attr_map *map = attr_map_new(pages, i & 1);
        uint64_t first = (uint64_t)rand() % pages, count = 1 + (uint64_t)rand() % (pages - first);

        for (int j = 0; j < i % 5; j++)
            assert_int_equal(attr_map_set(map, (uint64_t)rand() % pages, 1, !(i & 1)), 0);
        assert_int_equal(attr_map_reserve(map, 1, 1), 0);
        allocations_left = 0;
        assert_int_equal(attr_map_set(map, first, count, !(i & 1)), 0);
        allocations_left = -1;
        assert_true(attr_map_all(map, first, count, !(i & 1)));
        attr_map_free(map);
    }
}

static void test_reserve_for_several_sets(void **state)
{
    uint64_t pages = 1 << 23, empty;
    struct attr_map *map = attr_map_new(pages, false);

    assert_int_equal(attr_map_reserve(map, 1, 1), 0);
    empty = attr_map_memory(map);
    assert_int_equal(attr_map_reserve(map, 3, 3), 0);
    allocations_left = 0;
    assert_int_equal(attr_map_reserve(map, 4, 4), -ENOMEM);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(attr_map_set(map, i * 3000000 + 5, 1000000, true), 0);
    allocations_left = -1;
    attr_map_unreserve(map);
    assert_int_equal(attr_map_count(map), 3000000);
    assert_int_equal(attr_map_set(map, 0, pages, false), 0);
    assert_true(attr_map_memory(map) <= empty);
    attr_map_free(map);
}

/* Each of a range's runs alone, while a snapshot sees them all. */
static void test_runs_of_a_reserved_range(void **state)
{
    uint64_t pages = 1 << 22, first = 1000, count = 3000000, end;

    srand(3);
    for (int i = 0; i < 100; i++) {
        struct attr_map *map = attr_map_new(pages, false), *snapshot;

        for (int j = 0; j < 40; j++) {
            uint64_t at = (uint64_t)rand() % (pages - 9000);

            at &= rand() % 2 ? ~4095ULL : ~0ULL;
            assert_int_equal(attr_map_set(map, at, 1 + (uint64_t)rand() % 9000, rand() % 3), 0);
        }
        assert_int_equal(attr_map_reserve(map, 1, 200), 0);
        snapshot = attr_map_snapshot(map);
        assert_non_null(snapshot);
        allocations_left = 0;
        for (uint64_t page = first; page < first + count; page = end) {
            bool value = attr_map_run(map, page, &end);

            end = end < first + count ? end : first + count;
            if (!value)
                assert_int_equal(attr_map_set(map, page, end - page, true), 0);
        }
        allocations_left = -1;
        attr_map_unreserve(map);
        assert_true(attr_map_all(map, first, count, true));
        attr_map_release(map, snapshot);
        attr_map_free(snapshot);
        attr_map_free(map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_sets_match_an_array),
        cmocka_unit_test(test_pages_of_runs_match_one_another),
        cmocka_unit_test(test_snapshots_do_not_change),
        cmocka_unit_test(test_snapshots_beside_a_writer),
        cmocka_unit_test(test_uniform_again_is_no_node_again),
        cmocka_unit_test(test_uniform_tebibyte_takes_microseconds),
        cmocka_unit_test(test_whole_address_space),
        cmocka_unit_test(test_every_second_page_is_no_larger_than_a_bitmap),
        cmocka_unit_test(test_no_memory_changes_nothing),
        cmocka_unit_test(test_set_after_reserve_needs_no_memory),
        cmocka_unit_test(test_reserve_for_several_sets),
        cmocka_unit_test(test_runs_of_a_reserved_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
