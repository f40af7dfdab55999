/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The power button as an operating system without firmware sees it: enable the fixed
 * event, wait for the ACPI interrupt (level-triggered), acknowledge, switch off.  On
 * the way, the RTC's update interrupt, which is a device's timer on an edge.
 */
#include "guest.h"

enum {
    PM1_STATUS = 0x600, PM1_ENABLE = 0x602, POWER_BUTTON = 1 << 8,
    SCI_GSI = 9, RTC_GSI = 8, VECTOR_SCI = 0x62, VECTOR_RTC = 0x63, REDIR_LEVEL = 1 << 15,
    CMOS_INDEX = 0x70, CMOS_DATA = 0x71, RTC_B = 0x0b, RTC_C = 0x0c, RTC_UIE = 0x10,
    RTC_24H = 0x02,
};

static volatile unsigned buttons, updates, spurious;

static uint16_t in16(uint16_t port)
{
    return in8(port) | in8(port + 1) << 8;
}

static void on_sci(struct frame *frame)
{
    if (in16(PM1_STATUS) & POWER_BUTTON)
        buttons++;
    else
        spurious++;
    out16(PM1_STATUS, POWER_BUTTON);
    apic_write(APIC_EOI, 0);
}

static uint8_t cmos_read(uint8_t reg)
{
    out8(CMOS_INDEX, reg);
    return in8(CMOS_DATA);
}

static void cmos_write(uint8_t reg, uint8_t value)
{
    out8(CMOS_INDEX, reg);
    out8(CMOS_DATA, value);
}

static void on_rtc(struct frame *frame)
{
    if (cmos_read(RTC_C) & RTC_UIE)
        updates++;
    else
        spurious++;
    apic_write(APIC_EOI, 0);
}

static void route(const struct board_info *board, unsigned gsi, uint32_t entry)
{
    ioapic_write(board->ioapic_address, 0x11 + 2 * gsi, apic_id() << 24);
    ioapic_write(board->ioapic_address, 0x10 + 2 * gsi, entry);
}

static void wait_until(volatile unsigned *count, unsigned value)
{
    interrupts_off();
    while (*count < value)
        wait_for_interrupt();
}

void guest_main(void)
{
    struct board_info board;

    board_find(&board);
    interrupts_init();
    pic_init(0x20, 0xffff);
    apic_enable(false);
    set_handler(VECTOR_SCI, on_sci);
    set_handler(VECTOR_RTC, on_rtc);
    route(&board, SCI_GSI, VECTOR_SCI | REDIR_LEVEL);
    route(&board, RTC_GSI, VECTOR_RTC);

    cmos_read(RTC_C);
    cmos_write(RTC_B, RTC_24H | RTC_UIE);
    wait_until(&updates, 2);
    cmos_write(RTC_B, RTC_24H);
    check(updates == 2, "two seconds of the RTC");

    out16(PM1_ENABLE, POWER_BUTTON);
    print("waiting for the button\n");
    wait_until(&buttons, 1);
    check(buttons == 1, "the button");
    check(!(in16(PM1_STATUS) & POWER_BUTTON), "acknowledged");
    check(spurious == 0, "no other interrupts");
}
