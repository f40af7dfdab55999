/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RTC, power management, PCI configuration and the ways to reset: register by register. */
#include "acpi_pm.h"
#include "i8042.h"
#include "pci.h"
#include "rtc.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct board {
    struct bus *bus;
    struct rtc *rtc;
    struct acpi_pm *pm;
    struct i8042 *kbc;
    struct pci_bus *pci;
    bool rtc_level, sci_level;
    unsigned shutdowns, resets;
};

#define ECAM 0xb0000000ULL

static void set_line(void *opaque, unsigned line, bool level)
{
    *(bool *)opaque = level;
}

static void count_shutdown(void *opaque)
{
    ((struct board *)opaque)->shutdowns++;
}

static void count_reset(void *opaque)
{
    ((struct board *)opaque)->resets++;
}

static int setup(void **state)
{
    struct board *b = g_new0(struct board, 1);
    struct irq rtc = { .set = set_line, .opaque = &b->rtc_level };
    struct irq sci = { .set = set_line, .opaque = &b->sci_level };
    struct power_ops power = { .shutdown = count_shutdown, .reset = count_reset, .opaque = b };

    b->bus = bus_new();
    b->rtc = rtc_new(b->bus, &rtc);
    b->pm = acpi_pm_new(b->bus, &sci, &power);
    b->kbc = i8042_new(b->bus, &power);
    b->pci = pci_bus_new(b->bus, ECAM, &power);
    *state = b;
    return b->rtc && b->pm && b->kbc && b->pci ? 0 : -1;
}

static int teardown(void **state)
{
    struct board *b = *state;

    pci_bus_free(b->pci);
    i8042_free(b->kbc);
    acpi_pm_free(b->pm);
    rtc_free(b->rtc);
    bus_free(b->bus);
    g_free(b);
    return 0;
}

static uint32_t in(struct board *b, uint16_t port, unsigned size)
{
    uint32_t value = 0;

    bus_lock(b->bus);
    bus_pio(b->bus, port, &value, size, false);
    bus_unlock(b->bus);
    return value;
}

static void out(struct board *b, uint16_t port, unsigned size, uint32_t value)
{
    bus_lock(b->bus);
    bus_pio(b->bus, port, &value, size, true);
    bus_unlock(b->bus);
}

/* Turn the main loop until a line is high, at most for two seconds. */
static bool wait_for(const bool *level)
{
    gint64 end = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;

    while (!*level && g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(500);
    }
    return *level;
}

/* --- RTC --- */

static uint8_t cmos(struct board *b, uint8_t reg)
{
    out(b, 0x70, 1, reg);
    return in(b, 0x71, 1);
}

static void set_cmos(struct board *b, uint8_t reg, uint8_t value)
{
    out(b, 0x70, 1, reg);
    out(b, 0x71, 1, value);
}

static int from_bcd(uint8_t value)
{
    return (value >> 4) * 10 + (value & 15);
}

static void test_rtc_tells_the_hosts_time(void **state)
{
    struct board *b = *state;
    time_t before = time(NULL), told;
    struct tm tm = { 0 };

    /* Twice, in case a second ends between the registers. */
    for (int i = 0; i < 2; i++) {
        tm.tm_sec = from_bcd(cmos(b, 0));
        tm.tm_min = from_bcd(cmos(b, 2));
        tm.tm_hour = from_bcd(cmos(b, 4));
        tm.tm_mday = from_bcd(cmos(b, 7));
        tm.tm_mon = from_bcd(cmos(b, 8)) - 1;
        tm.tm_year = from_bcd(cmos(b, 9)) + from_bcd(cmos(b, 0x32)) * 100 - 1900;
        if (tm.tm_sec == from_bcd(cmos(b, 0)))
            break;
    }
    told = timegm(&tm);
    assert_in_range(told, before, before + 3);
    assert_int_equal(cmos(b, 0x0d), 0x80);
}

static void test_rtc_can_be_set_in_every_format(void **state)
{
    struct board *b = *state;

    set_cmos(b, 0x0b, 0x82);    /* SET, 24 hours, BCD */
    set_cmos(b, 0, 0x30);
    set_cmos(b, 2, 0x59);
    set_cmos(b, 4, 0x23);
    set_cmos(b, 7, 0x31);
    set_cmos(b, 8, 0x12);
    set_cmos(b, 9, 0x99);
    set_cmos(b, 0x32, 0x19);
    assert_int_equal(cmos(b, 4), 0x23);
    set_cmos(b, 0x0b, 0x02);
    assert_int_equal(cmos(b, 4), 0x23);
    assert_int_equal(cmos(b, 9), 0x99);
    assert_int_equal(cmos(b, 0x32), 0x19);
    set_cmos(b, 0x0b, 0x06);    /* binary */
    assert_int_equal(cmos(b, 2), 59);
    assert_int_equal(cmos(b, 7), 31);
    set_cmos(b, 0x0b, 0x04);    /* 12 hours: 11 pm */
    assert_int_equal(cmos(b, 4), 0x80 | 11);
}

/* Month 0 of the year 0 is December of the year before it. */
static void test_rtc_before_the_calendar(void **state)
{
    struct board *b = *state;

    set_cmos(b, 0x0b, 0x82);
    for (unsigned reg = 0; reg < 10; reg++)
        set_cmos(b, reg, 0);
    set_cmos(b, 7, 0x05);
    set_cmos(b, 0x32, 0);
    set_cmos(b, 0x0b, 0x02);
    assert_int_equal(cmos(b, 7), 0x05);
    assert_int_equal(cmos(b, 8), 0x12);
    assert_int_equal(cmos(b, 9), 0x99);
    assert_int_equal(cmos(b, 0x32), 0x99);
}

static void test_rtc_update_interrupt(void **state)
{
    struct board *b = *state;

    cmos(b, 0x0c);
    set_cmos(b, 0x0b, 0x12);
    assert_false(b->rtc_level);
    assert_true(wait_for(&b->rtc_level));
    assert_int_equal(cmos(b, 0x0c) & 0x90, 0x90);
    assert_false(b->rtc_level);
    assert_int_equal(cmos(b, 0x0c) & 0x80, 0);
}

static void test_rtc_alarm_and_periodic_interrupts(void **state)
{
    struct board *b = *state;

    /* Any time matches: the alarm comes with the next second. */
    set_cmos(b, 1, 0xff);
    set_cmos(b, 3, 0xff);
    set_cmos(b, 5, 0xff);
    cmos(b, 0x0c);
    set_cmos(b, 0x0b, 0x22);
    assert_true(wait_for(&b->rtc_level));
    assert_int_equal(cmos(b, 0x0c) & 0xa0, 0xa0);
    set_cmos(b, 0x0b, 0x42);    /* periodic, 1024 Hz */
    assert_true(wait_for(&b->rtc_level));
    assert_int_equal(cmos(b, 0x0c) & 0xc0, 0xc0);
    bus_lock(b->bus);
    rtc_reset(b->rtc);
    bus_unlock(b->bus);
    assert_int_equal(cmos(b, 0x0b), 0x02);
}

static void test_cmos_ram_keeps_what_is_written(void **state)
{
    struct board *b = *state;

    set_cmos(b, 0x0f, 0x5a);
    set_cmos(b, 0x80 | 0x7f, 0xa5);     /* bit 7 is the NMI mask, not the address's */
    assert_int_equal(cmos(b, 0x0f), 0x5a);
    assert_int_equal(cmos(b, 0x7f), 0xa5);
}

/* --- Power management --- */

static void test_sleep_s5_switches_off(void **state)
{
    struct board *b = *state;

    assert_int_equal(in(b, 0x604, 2) & 1, 1);           /* always in ACPI mode */
    out(b, 0x604, 2, 5 << 10 | 1 << 13);                /* another sleep type: none such */
    assert_int_equal(b->shutdowns, 0);
    out(b, 0x604, 2, 0);                                /* S5, but not enabled */
    assert_int_equal(b->shutdowns, 0);
    out(b, 0x604, 2, 1 << 13);
    assert_int_equal(b->shutdowns, 1);
    assert_int_equal(in(b, 0x604, 2), 1);               /* SLP_EN reads as zero */
}

static void test_power_button_raises_the_sci(void **state)
{
    struct board *b = *state;

    bus_lock(b->bus);
    acpi_pm_power_button(b->pm);
    bus_unlock(b->bus);
    assert_false(b->sci_level);
    assert_int_equal(in(b, 0x600, 2) & 0x100, 0x100);
    out(b, 0x602, 2, 0x100);
    assert_true(b->sci_level);
    out(b, 0x600, 2, 0x100);
    assert_false(b->sci_level);
    assert_int_equal(in(b, 0x600, 2) & 0x100, 0);
}

static void test_pm_timer_runs_at_its_rate(void **state)
{
    struct board *b = *state;
    uint32_t first = in(b, 0x608, 4), ticks;
    gint64 start = g_get_monotonic_time();
    double rate;

    g_usleep(20000);
    ticks = (in(b, 0x608, 4) - first) & 0xffffff;
    rate = ticks / ((g_get_monotonic_time() - start) / 1e6);
    assert_true(rate > 3579545 * 0.8 && rate < 3579545 * 1.2);
    assert_int_equal(first & 0xff000000, 0);
}

static void test_gpe_registers(void **state)
{
    struct board *b = *state;

    out(b, 0x628, 4, 0x12345678);
    out(b, 0x62c, 1, 0x9a);
    assert_int_equal(in(b, 0x628, 4), 0x12345678);
    assert_int_equal(in(b, 0x62c, 4), 0x9a);
    assert_int_equal(in(b, 0x629, 1), 0x56);
    assert_int_equal(in(b, 0x620, 4), 0);
}

/* --- Reset --- */

static void test_reset_ports(void **state)
{
    struct board *b = *state;

    out(b, 0xcf9, 1, 0x02);
    assert_int_equal(b->resets, 0);
    out(b, 0xcf9, 1, 0x06);
    assert_int_equal(b->resets, 1);
    out(b, 0xcf9, 1, 0x06);             /* it is the rising bit that resets */
    assert_int_equal(b->resets, 1);
    out(b, 0x64, 1, 0xfe);
    assert_int_equal(b->resets, 2);
    out(b, 0x64, 1, 0xff);              /* pulses nothing */
    assert_int_equal(b->resets, 2);
    out(b, 0xcf8, 4, 0x80000600);       /* the address register, not the byte in it */
    assert_int_equal(b->resets, 2);
}

static void test_keyboard_controller_self_test(void **state)
{
    struct board *b = *state;

    assert_int_equal(in(b, 0x64, 1) & 0x03, 0);
    out(b, 0x64, 1, 0xaa);
    assert_int_equal(in(b, 0x64, 1) & 0x01, 0x01);
    assert_int_equal(in(b, 0x60, 1), 0x55);
    assert_int_equal(in(b, 0x64, 1) & 0x01, 0);
    out(b, 0x64, 1, 0x60);
    out(b, 0x60, 1, 0x47);
    out(b, 0x64, 1, 0x20);
    assert_int_equal(in(b, 0x60, 1), 0x47);
}

/* --- PCI --- */

static void test_pci_configuration(void **state)
{
    struct board *b = *state;
    struct pci_function f = { .name = "f", .devfn = PCI_DEVFN(3, 1) };
    uint32_t value;

    pci_set32(f.config, PCI_VENDOR, 0x12348086);
    pci_set16(f.config, PCI_STATUS, 0x0010);
    pci_set16(f.writable, PCI_COMMAND, 0x0007);
    pci_set16(f.clearable, PCI_STATUS, 0x8000);
    assert_true(pci_add(b->pci, &f));
    assert_false(pci_add(b->pci, &f));

    out(b, 0xcf8, 4, 0x80001900);
    assert_int_equal(in(b, 0xcf8, 4), 0x80001900);
    assert_int_equal(in(b, 0xcfc, 4), 0x12348086);
    assert_int_equal(in(b, 0xcfe, 2), 0x1234);
    out(b, 0xcf8, 4, 0x80001904);
    out(b, 0xcfc, 4, 0xffffffff);
    assert_int_equal(in(b, 0xcfc, 4), 0x00100007);
    f.config[PCI_STATUS + 1] = 0x80;
    out(b, 0xcfe, 2, 0x8000);
    assert_int_equal(in(b, 0xcfe, 2), 0x0010);

    /* Nobody there, another bus, and without the enable bit. */
    out(b, 0xcf8, 4, 0x80001000);
    assert_int_equal(in(b, 0xcfc, 4), 0xffffffff);
    out(b, 0xcf8, 4, 0x80011900);
    assert_int_equal(in(b, 0xcfc, 4), 0xffffffff);
    out(b, 0xcf8, 4, 0x00001900);
    assert_int_equal(in(b, 0xcfc, 4), 0xffffffff);

    /* The same through the memory window; past 256 bytes there is nothing. */
    bus_mmio(b->bus, ECAM + (3 << 15) + (1 << 12), &value, 4, false);
    assert_int_equal(value, 0x12348086);
    bus_mmio(b->bus, ECAM + (3 << 15) + (1 << 12) + 0x100, &value, 4, false);
    assert_int_equal(value, 0xffffffff);
    bus_mmio(b->bus, ECAM + (256 << 20) - 4, &value, 4, false);
    assert_int_equal(value, 0xffffffff);

    pci_bus_reset(b->pci);
    assert_int_equal(f.config[PCI_COMMAND], 0);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_rtc_tells_the_hosts_time),
        TEST(test_rtc_can_be_set_in_every_format),
        TEST(test_rtc_before_the_calendar),
        TEST(test_rtc_update_interrupt),
        TEST(test_rtc_alarm_and_periodic_interrupts),
        TEST(test_cmos_ram_keeps_what_is_written),
        TEST(test_sleep_s5_switches_off),
        TEST(test_power_button_raises_the_sci),
        TEST(test_pm_timer_runs_at_its_rate),
        TEST(test_gpe_registers),
        TEST(test_reset_ports),
        TEST(test_keyboard_controller_self_test),
        TEST(test_pci_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
