/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MC146818A real-time clock (Motorola data sheet) with 128 bytes of CMOS RAM.
 *
 * The clock is the host's plus an offset that setting the time changes.  Flags in
 * register C are brought up to date when somebody looks; the timer only exists for
 * interrupts that are enabled.  No square wave output and no daylight saving.
 *
 * Locks: the machine lock; the timer's callback takes it.
 */
#include "rtc.h"
#include "main_timer.h"

#include <glib.h>
#include <string.h>
#include <time.h>

enum {
    REG_SECONDS, REG_SECONDS_ALARM, REG_MINUTES, REG_MINUTES_ALARM, REG_HOURS, REG_HOURS_ALARM,
    REG_WEEKDAY, REG_DAY, REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D,
    REG_CENTURY = RTC_CENTURY,
    CMOS_SIZE = 128,
};

enum {
    A_UIP = 0x80, A_DIVIDER = 0x70, A_DIVIDER_RUN = 0x20, A_RATE = 0x0f,
    B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 0x04, B_24H = 0x02,
    C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10,
    D_VALID = 0x80,
    HOUR_PM = 0x80,
    ALARM_ANY = 0xc0,           /* both top bits: any value matches */
};

enum { SECOND_US = 1000000, UIP_US = 244 };

struct rtc {
    struct bus *bus;
    struct irq irq;
    struct main_timer *timer;
    uint8_t index;
    uint8_t cmos[CMOS_SIZE];
    int64_t offset_us;          /* guest's clock less the host's */
    int64_t seen_us;            /* guest's clock when the flags were last brought up to date */
};

static int64_t guest_now(const struct rtc *rtc)
{
    return g_get_real_time() + rtc->offset_us;
}

static bool running(const struct rtc *rtc)
{
    return !(rtc->cmos[REG_B] & B_SET) && (rtc->cmos[REG_A] & A_DIVIDER) == A_DIVIDER_RUN;
}

/* Register form (BCD or binary) to number and back. */
static int decode(const struct rtc *rtc, uint8_t value)
{
    return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode(const struct rtc *rtc, unsigned value)
{
    return rtc->cmos[REG_B] & B_BINARY ? value : (value / 10) << 4 | value % 10;
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
    if (rtc->cmos[REG_B] & B_24H)
        return decode(rtc, value);
    return decode(rtc, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned hour)
{
    if (rtc->cmos[REG_B] & B_24H)
        return encode(rtc, hour);
    return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

/* The clock into the time registers. */
static void load_time(struct rtc *rtc)
{
    time_t seconds = guest_now(rtc) / SECOND_US;
    struct tm tm;
    unsigned year;

    if (!gmtime_r(&seconds, &tm))
        return;
    year = (tm.tm_year + 11900) % 10000;        /* month 0 of the year 0 is one before it */
    rtc->cmos[REG_SECONDS] = encode(rtc, tm.tm_sec);
    rtc->cmos[REG_MINUTES] = encode(rtc, tm.tm_min);
    rtc->cmos[REG_HOURS] = encode_hour(rtc, tm.tm_hour);
    rtc->cmos[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
    rtc->cmos[REG_DAY] = encode(rtc, tm.tm_mday);
    rtc->cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
    rtc->cmos[REG_YEAR] = encode(rtc, year % 100);
    rtc->cmos[REG_CENTURY] = encode(rtc, year / 100);
}

/* The time registers into the clock; nonsense there gives a nonsense time, as on the chip. */
static void store_time(struct rtc *rtc)
{
    struct tm tm = {
        .tm_sec = decode(rtc, rtc->cmos[REG_SECONDS]),
        .tm_min = decode(rtc, rtc->cmos[REG_MINUTES]),
        .tm_hour = decode_hour(rtc, rtc->cmos[REG_HOURS]),
        .tm_mday = decode(rtc, rtc->cmos[REG_DAY]),
        .tm_mon = decode(rtc, rtc->cmos[REG_MONTH]) - 1,
        .tm_year = decode(rtc, rtc->cmos[REG_CENTURY]) * 100 +
                   decode(rtc, rtc->cmos[REG_YEAR]) - 1900,
    };

    rtc->offset_us = (int64_t)timegm(&tm) * SECOND_US - g_get_real_time();
    rtc->seen_us = guest_now(rtc);
}

/* Microseconds between periodic interrupts, 0: none. */
static int64_t period_us(const struct rtc *rtc)
{
    unsigned rate = rtc->cmos[REG_A] & A_RATE;

    if (rate == 0)
        return 0;
    if (rate <= 2)              /* the two that the 32768 Hz time base maps elsewhere */
        rate += 7;
    return ((int64_t)SECOND_US << (rate - 1)) / 32768;
}

static bool alarm_field(const struct rtc *rtc, uint8_t alarm, int set, int now)
{
    return (alarm & ALARM_ANY) == ALARM_ANY || set == now;
}

static bool alarm_at(const struct rtc *rtc, int64_t second)
{
    const uint8_t *c = rtc->cmos;
    int of_day = second % 86400;

    return alarm_field(rtc, c[REG_SECONDS_ALARM], decode(rtc, c[REG_SECONDS_ALARM]),
                       of_day % 60) &&
           alarm_field(rtc, c[REG_MINUTES_ALARM], decode(rtc, c[REG_MINUTES_ALARM]),
                       of_day / 60 % 60) &&
           alarm_field(rtc, c[REG_HOURS_ALARM], decode_hour(rtc, c[REG_HOURS_ALARM]),
                       of_day / 3600);
}

static bool alarm_between(const struct rtc *rtc, int64_t first, int64_t last)
{
    if (last - first >= 86400)  /* a day holds every time of day */
        first = last - 86400 + 1;
    for (int64_t second = first; second <= last; second++) {
        if (alarm_at(rtc, second))
            return true;
    }
    return false;
}

/* Flags that became due since the last look. */
static void update_flags(struct rtc *rtc)
{
    int64_t now = guest_now(rtc), before = rtc->seen_us, period = period_us(rtc);
    int64_t second = now / SECOND_US, second_before = before / SECOND_US;
    uint8_t *c = &rtc->cmos[REG_C];

    rtc->seen_us = now;
    if (now < before)           /* the host's clock was set back */
        return;
    if (period && now / period != before / period)
        *c |= C_PF;
    if (running(rtc) && second != second_before) {
        *c |= C_UF;
        if (alarm_between(rtc, second_before + 1, second))
            *c |= C_AF;
    }
}

/* The interrupt line as flags and enables say, and the timer for what may come next. */
static void update(struct rtc *rtc)
{
    uint8_t b = rtc->cmos[REG_B], *c = &rtc->cmos[REG_C];
    bool raised = *c & b & (C_PF | C_AF | C_UF);
    int64_t now = guest_now(rtc), wait = INT64_MAX, period = period_us(rtc);

    *c = (*c & ~C_IRQF) | (raised ? C_IRQF : 0);
    irq_set(&rtc->irq, raised);
    if ((b & B_PIE) && period)
        wait = period - now % period;
    if ((b & (B_UIE | B_AIE)) && running(rtc))
        wait = MIN(wait, SECOND_US - now % SECOND_US);
    if (wait == INT64_MAX || raised)    /* raised: reading C goes on */
        main_timer_cancel(rtc->timer);
    else
        main_timer_arm(rtc->timer, g_get_monotonic_time() + wait);
}

static void rtc_expired(void *opaque)
{
    struct rtc *rtc = opaque;

    bus_lock(rtc->bus);
    update_flags(rtc);
    update(rtc);
    bus_unlock(rtc->bus);
}

static bool is_time(uint8_t reg)
{
    return reg == REG_CENTURY || (reg <= REG_YEAR && reg != REG_SECONDS_ALARM &&
                                  reg != REG_MINUTES_ALARM && reg != REG_HOURS_ALARM);
}

static uint8_t read_register(struct rtc *rtc, uint8_t reg)
{
    uint8_t value;

    if (is_time(reg) && running(rtc))
        load_time(rtc);
    value = rtc->cmos[reg];
    switch (reg) {
    case REG_A:
        if (running(rtc) && guest_now(rtc) % SECOND_US >= SECOND_US - UIP_US)
            value |= A_UIP;
        break;
    case REG_C:
        update_flags(rtc);
        value = rtc->cmos[REG_C];
        if (value & rtc->cmos[REG_B] & (C_PF | C_AF | C_UF))
            value |= C_IRQF;
        rtc->cmos[REG_C] = 0;
        update(rtc);
        break;
    }
    return value;
}

static void write_control(struct rtc *rtc, uint8_t reg, uint8_t value)
{
    bool was_running = running(rtc);

    update_flags(rtc);
    if (was_running)
        load_time(rtc);
    if (reg == REG_B && (value & B_SET))
        value &= ~B_UIE;        /* SET clears it: data sheet, register B */
    rtc->cmos[reg] = reg == REG_A ? value & ~A_UIP : value;
    if (!was_running && running(rtc))
        store_time(rtc);
    update(rtc);
}

static void write_register(struct rtc *rtc, uint8_t reg, uint8_t value)
{
    switch (reg) {
    case REG_A:
    case REG_B:
        write_control(rtc, reg, value);
        return;
    case REG_C:
    case REG_D:
        return;                 /* read only */
    }
    if (is_time(reg) && running(rtc)) {
        load_time(rtc);
        rtc->cmos[reg] = value;
        store_time(rtc);
    } else {
        rtc->cmos[reg] = value;
    }
    if (reg <= REG_YEAR)
        update(rtc);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    struct rtc *rtc = opaque;

    return offset == 0 ? 0xff : read_register(rtc, rtc->index);
}

static void rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct rtc *rtc = opaque;

    if (offset == 0)
        rtc->index = value & (CMOS_SIZE - 1);   /* bit 7 masks NMI: nothing raises one */
    else
        write_register(rtc, rtc->index, value);
}

static const struct io_ops rtc_io = {
    .read = rtc_read,
    .write = rtc_write,
    .min_size = 1,
    .max_size = 1,
};

void rtc_reset(struct rtc *rtc)
{
    rtc->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE);
    rtc->cmos[REG_C] = 0;
    rtc->index = 0;
    update(rtc);
}

void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value)
{
    g_assert(index > REG_D && index < CMOS_SIZE);
    rtc->cmos[index] = value;
}

struct rtc *rtc_new(struct bus *bus, const struct irq *irq)
{
    struct rtc *rtc = g_new0(struct rtc, 1);

    rtc->bus = bus;
    rtc->irq = *irq;
    rtc->cmos[REG_A] = A_DIVIDER_RUN | 6;       /* 32768 Hz, 1024 interrupts a second */
    rtc->cmos[REG_B] = B_24H;
    rtc->cmos[REG_D] = D_VALID;
    rtc->seen_us = guest_now(rtc);
    if (bus_add_pio(bus, 0x70, 2, "rtc", &rtc_io, rtc) < 0) {
        g_free(rtc);
        return NULL;
    }
    rtc->timer = main_timer_new(rtc_expired, rtc);
    return rtc;
}

void rtc_free(struct rtc *rtc)
{
    if (!rtc)
        return;
    main_timer_free(rtc->timer);
    bus_remove(rtc->bus, rtc);
    g_free(rtc);
}
