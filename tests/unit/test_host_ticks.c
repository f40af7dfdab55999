/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The counter behind guests' TSCs: which one, that it is steady, and scaling. */
#include "host_ticks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* However often it is read. */
static void test_never_backwards(void **state)
{
    uint64_t last = host_ticks();

    for (int i = 0; i < 100000; i++) {
        uint64_t now = host_ticks();

        assert_true(now >= last);
        last = now;
    }
}

/* Both ends are read on both clocks: the time between them is the same, but for 1 %. */
static void test_frequency(void **state)
{
    struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
    uint64_t outer, inner, first, last, ns;

    outer = clock_ns();
    first = host_ticks();
    inner = clock_ns();
    nanosleep(&pause, NULL);
    inner = clock_ns() - inner;
    last = host_ticks();
    outer = clock_ns() - outer;
    ns = (uint64_t)((unsigned __int128)(last - first) * 1000000 / host_ticks_khz());
    assert_true(ns >= inner - inner / 100 && ns <= outer + outer / 100);
}

static void test_scale(void **state)
{
    uint32_t khz = host_ticks_khz();

    assert_int_equal(host_ticks_scale(UINT64_MAX - 5, khz), UINT64_MAX - 5);
    assert_int_equal(host_ticks_scale(khz * 1000ull, 1), 1000);
    assert_int_equal(host_ticks_scale(khz * 3600000ull, 4000000), 4000000 * 3600000ull);
    assert_int_equal(host_ticks_scale(12345, 0), 0);
}

static void test_choice(void **state)
{
    if (getenv("TEST_USE_CLOCK")) {
        uint64_t before = clock_ns(), ticks = host_ticks();

        assert_false(host_ticks_are_tsc());
        assert_int_equal(host_ticks_khz(), 1000000);
        assert_true(before <= ticks && ticks <= clock_ns());
    } else if (host_ticks_are_tsc()) {
        uint64_t before = __builtin_ia32_rdtsc(), ticks = host_ticks();

        assert_true(before <= ticks && ticks <= __builtin_ia32_rdtsc());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_never_backwards),
        cmocka_unit_test(test_frequency),
        cmocka_unit_test(test_scale),
    };

    if (getenv("TEST_USE_CLOCK"))
        host_ticks_use_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
