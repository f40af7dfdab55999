/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kvmclock: what a guest computes from the page, and the version protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kvmclock.h"

/* An hour later the guest's clock is right to a microsecond, at any frequency. */
static void test_scale_is_exact(void **state)
{
    static const uint32_t khz[] = {
        1, 1000, 999999, 1000000, 1000001, 1999999, 2000000, 2000001, 2445406, 5000000, UINT32_MAX,
    };

    for (size_t n = 0; n < sizeof(khz) / sizeof(khz[0]); n++) {
        struct pvclock_vcpu_time_info info;
        uint64_t hour = 3600ULL * khz[n] * 1000, ns;

        kvmclock_fill(&info, 12345, 678, khz[n], PVCLOCK_TSC_STABLE);
        assert_int_equal(info.tsc_timestamp, 12345);
        assert_int_equal(info.flags, PVCLOCK_TSC_STABLE);
        assert_int_equal(kvmclock_ns(&info, 12345), 678);
        ns = kvmclock_ns(&info, 12345 + hour) - 678;
        assert_in_range(ns, 3600000000000ULL - 4000, 3600000000000ULL);
    }
}

static void test_publish_keeps_versions_even(void **state)
{
    static const uint32_t before[] = { 0, 6, 7, UINT32_MAX - 1, UINT32_MAX };
    static const uint32_t after[] = { 2, 8, 8, 0, 0 };
    struct pvclock_vcpu_time_info info, guest[2];

    kvmclock_fill(&info, 1, 2, 2000000, 0);
    for (size_t n = 0; n < sizeof(before) / sizeof(before[0]); n++) {
        memset(guest, 0xee, sizeof(guest));
        guest[0].version = before[n];
        kvmclock_publish(guest, &info);
        assert_int_equal(guest[0].version, after[n]);
        info.version = after[n];
        assert_memory_equal(&guest[0], &info, sizeof(info));
        assert_int_equal(guest[1].version, 0xeeeeeeee);
    }
}

static void test_wall_clock(void **state)
{
    struct pvclock_wall_clock guest[2];

    memset(guest, 0xee, sizeof(guest));
    guest[0].version = 4;
    kvmclock_publish_wall(guest, 1700000000123456789ULL);
    assert_int_equal(guest[0].version, 6);
    assert_int_equal(guest[0].sec, 1700000000);
    assert_int_equal(guest[0].nsec, 123456789);
    assert_int_equal(guest[1].version, 0xeeeeeeee);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale_is_exact),
        cmocka_unit_test(test_publish_keeps_versions_even),
        cmocka_unit_test(test_wall_clock),
    };

    return cmocka_run_group_tests_name("kvmclock", tests, NULL, NULL);
}
