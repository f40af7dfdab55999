/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the device of an access: overlaps, gaps, accesses that straddle, sizes. */
#include "bus.h"

#include <errno.h>
#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Remembers accesses; reads answer with the offset in every byte. */
struct device {
    char log[256];
};

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    struct device *d = opaque;

    g_snprintf(d->log + strlen(d->log), sizeof(d->log) - strlen(d->log), "r%u@%u ", size,
               (unsigned)offset);
    return (offset & 0xff) * 0x0101010101010101;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct device *d = opaque;

    g_snprintf(d->log + strlen(d->log), sizeof(d->log) - strlen(d->log), "w%u@%u=%llx ", size,
               (unsigned)offset, (unsigned long long)value);
}

static const struct io_ops any = { .read = device_read, .write = device_write };
static const struct io_ops bytes = { .read = device_read, .write = device_write,
                                     .min_size = 1, .max_size = 1 };
static const struct io_ops words = { .read = device_read, .write = device_write,
                                     .min_size = 4, .max_size = 4 };

static void test_ranges_that_overlap_are_refused(void **state)
{
    struct bus *bus = bus_new();
    struct device d = { "" };

    assert_int_equal(bus_add_pio(bus, 0x100, 16, "a", &any, &d), 0);
    assert_int_equal(bus_add_pio(bus, 0x100, 16, "b", &any, &d), -EEXIST);
    assert_int_equal(bus_add_pio(bus, 0xff, 2, "b", &any, &d), -EEXIST);
    assert_int_equal(bus_add_pio(bus, 0x10f, 1, "b", &any, &d), -EEXIST);
    assert_int_equal(bus_add_pio(bus, 0x0, 0x1000, "b", &any, &d), -EEXIST);
    assert_int_equal(bus_add_pio(bus, 0xff, 1, "b", &any, &d), 0);
    assert_int_equal(bus_add_pio(bus, 0x110, 1, "b", &any, &d), 0);
    assert_int_equal(bus_add_pio(bus, 0x200, 0, "b", &any, &d), -EINVAL);
    assert_int_equal(bus_add_pio(bus, 0xffff, 2, "b", &any, &d), -EINVAL);
    assert_int_equal(bus_add_mmio(bus, UINT64_MAX - 1, 4, "b", &any, &d), -EINVAL);
    /* Ports and memory are two spaces. */
    assert_int_equal(bus_add_mmio(bus, 0x100, 16, "m", &any, &d), 0);
    bus_remove(bus, &d);
    assert_int_equal(bus_add_pio(bus, 0x0, 0x1000, "b", &any, &d), 0);
    bus_free(bus);
}

static const struct {
    const struct io_ops *ops;
    uint64_t gpa;
    unsigned size;
    bool write;
    const char *log;            /* what the device at 0x1000, 16 bytes, saw */
    uint64_t value;             /* what is read */
} accesses[] = {
    { &any, 0x1000, 4, false, "r4@0 ", 0 },
    { &any, 0x1002, 4, false, "r4@2 ", 0x02020202 },
    { &any, 0x1008, 8, false, "r8@8 ", 0x0808080808080808 },
    { &any, 0x0fff, 2, false, "r1@0 ", 0x00ff },                /* first byte: nobody */
    { &any, 0x100f, 2, false, "r1@15 ", 0xff0f },               /* last byte: nobody */
    { &any, 0x100c, 8, false, "r4@12 ", 0xffffffff0c0c0c0c },
    { &any, 0x2000, 8, false, "", 0xffffffffffffffff },
    { &any, 0x1001, 3, false, "r2@1 r1@3 ", 0x030101 },
    { &any, 0x1000, 4, true, "w4@0=a4a3a2a1 ", 0 },
    { &any, 0x2000, 4, true, "", 0 },
    { &bytes, 0x1000, 4, false, "r1@0 r1@1 r1@2 r1@3 ", 0x03020100 },
    { &bytes, 0x1000, 2, true, "w1@0=a1 w1@1=a2 ", 0 },
    { &words, 0x1000, 2, false, "", 0xffff },
    { &words, 0x1000, 2, true, "", 0 },
    { &words, 0x1000, 8, false, "r4@0 r4@4 ", 0x0404040400000000 },
};

static void test_accesses_are_split_as_devices_need(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(accesses); i++) {
        struct bus *bus = bus_new();
        struct device d = { "" };
        uint8_t data[8] = { 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8 };
        uint64_t value = 0;

        assert_int_equal(bus_add_mmio(bus, 0x1000, 16, "d", accesses[i].ops, &d), 0);
        bus_lock(bus);
        bus_mmio(bus, accesses[i].gpa, data, accesses[i].size, accesses[i].write);
        bus_unlock(bus);
        if (strcmp(d.log, accesses[i].log) != 0)
            fail_msg("row %zu: saw '%s', want '%s'", i, d.log, accesses[i].log);
        if (!accesses[i].write) {
            memcpy(&value, data, accesses[i].size);
            assert_int_equal(value, accesses[i].value);
        }
        bus_free(bus);
    }
}

static void test_many_ranges_are_found(void **state)
{
    struct bus *bus = bus_new();
    struct device d = { "" };

    /* In an order that isn't the address's. */
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(bus_add_pio(bus, (i * 37 % 64) * 0x20, 0x10, "d", &bytes, &d), 0);
    for (unsigned port = 0; port < 64 * 0x20; port++) {
        uint8_t byte = 0;

        d.log[0] = '\0';
        bus_pio(bus, port, &byte, 1, false);
        assert_int_equal(byte, port % 0x20 < 0x10 ? port % 0x20 : 0xff);
    }
    bus_free(bus);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_that_overlap_are_refused),
        cmocka_unit_test(test_accesses_are_split_as_devices_need),
        cmocka_unit_test(test_many_ranges_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
