/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The PC's real-time clock and CMOS RAM at ports 0x70 and 0x71. */
#ifndef DEVICES_RTC_H
#define DEVICES_RTC_H

#include "bus.h"

enum { RTC_CENTURY = 0x32 };    /* the register that ACPI's FADT points to */

struct rtc;

/* NULL: the ports are taken. irq: line 8. Runs on the host's clock, UTC. */
struct rtc *rtc_new(struct bus *bus, const struct irq *irq);
void rtc_free(struct rtc *rtc);
/* The RESET line: time, alarm and CMOS stay, interrupts are off.  Machine lock held. */
void rtc_reset(struct rtc *rtc);
/* A byte of CMOS RAM, not one of the clock's registers.  Before the guest runs. */
void rtc_set_cmos(struct rtc *rtc, uint8_t index, uint8_t value);

#endif
