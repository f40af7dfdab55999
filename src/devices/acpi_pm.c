/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ICH9 power management I/O registers (Intel I/O Controller Hub 9 data sheet,
 * 13.8.3), as far as ACPI uses them: PM1 status, enable and control, the timer
 * and GPE0; and what enables SMIs.  The board is always in ACPI mode: SCI_EN reads as set.
 *
 * Locks: the machine lock; the timer's callback takes it.
 */
#include "acpi_pm.h"
#include "main_timer.h"

#include <glib.h>

enum {
    PM1_TMR = 1 << 0, PM1_GBL = 1 << 5, PM1_PWRBTN = 1 << 8, PM1_RTC = 1 << 10,
    PM1_STATUS_BITS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_RTC,
    CONTROL_SCI_EN = 1 << 0, CONTROL_SLP_TYP_SHIFT = 10, CONTROL_SLP_TYP = 7 << 10,
    CONTROL_SLP_EN = 1 << 13,
    CONTROL_WRITABLE = 1 << 1 | CONTROL_SLP_TYP,        /* BM_RLD and the sleep type stay */
};

enum { SMI_GBL_EN = 1 << 0, SMI_APMC_EN = 1 << 5 };

enum { PM_TIMER_HZ = 3579545, PM_TIMER_CARRY = 23 };    /* TMR_STS: bit 23 changed */

struct acpi_pm {
    struct bus *bus;
    struct irq sci;
    struct power_ops power;
    struct main_timer *timer;
    uint16_t status, enable, control;
    uint64_t gpe0_status, gpe0_enable;
    uint32_t smi_enable;
    bool smm, smi_locked;
    uint64_t carries_seen;      /* changes of bit 23 that status knows of */
};

static uint64_t timer_ticks(void)
{
    int64_t us = g_get_monotonic_time();

    return us / 1000000 * PM_TIMER_HZ + us % 1000000 * PM_TIMER_HZ / 1000000;
}

static void update_timer_status(struct acpi_pm *pm)
{
    uint64_t carries = timer_ticks() >> PM_TIMER_CARRY;

    if (carries != pm->carries_seen)
        pm->status |= PM1_TMR;
    pm->carries_seen = carries;
}

static void update(struct acpi_pm *pm)
{
    irq_set(&pm->sci, (pm->status & pm->enable & PM1_STATUS_BITS) ||
                      (pm->gpe0_status & pm->gpe0_enable));
    if ((pm->enable & PM1_TMR) && !(pm->status & PM1_TMR)) {
        uint64_t left = (1ULL << PM_TIMER_CARRY) - (timer_ticks() & ((1 << PM_TIMER_CARRY) - 1));

        main_timer_arm(pm->timer, g_get_monotonic_time() + left * 1000000 / PM_TIMER_HZ + 1);
    } else {
        main_timer_cancel(pm->timer);
    }
}

static void pm_expired(void *opaque)
{
    struct acpi_pm *pm = opaque;

    bus_lock(pm->bus);
    update_timer_status(pm);
    update(pm);
    bus_unlock(pm->bus);
}

/* The aligned 32-bit word of registers at offset. */
static uint32_t read_word(struct acpi_pm *pm, unsigned offset)
{
    switch (offset) {
    case ACPI_PM1_EVENT:
        update_timer_status(pm);
        return pm->status | (uint32_t)pm->enable << 16;
    case ACPI_PM1_CONTROL:
        return pm->control | CONTROL_SCI_EN;
    case ACPI_PM_TIMER:
        return timer_ticks() & 0xffffff;        /* 24 bits, as the FADT says */
    case ACPI_GPE0:
        return pm->gpe0_status;
    case ACPI_GPE0 + 4:
        return pm->gpe0_status >> 32;
    case ACPI_GPE0 + 8:
        return pm->gpe0_enable;
    case ACPI_GPE0 + 12:
        return pm->gpe0_enable >> 32;
    case ACPI_SMI_ENABLE:
        return pm->smi_enable;
    }
    return 0;
}

static void write_control(struct acpi_pm *pm, uint32_t value, uint32_t mask)
{
    pm->control = ((pm->control & ~mask) | value) & CONTROL_WRITABLE;
    if ((value & CONTROL_SLP_EN) &&
        (pm->control & CONTROL_SLP_TYP) >> CONTROL_SLP_TYP_SHIFT == ACPI_SLEEP_S5)
        pm->power.shutdown(pm->power.opaque);
}

/* The bits of mask of that word; others keep their value (or status). */
static void write_word(struct acpi_pm *pm, unsigned offset, uint32_t value, uint32_t mask)
{
    unsigned shift = offset & 4 ? 32 : 0;
    uint64_t wide = (uint64_t)(value & mask) << shift, wide_mask = (uint64_t)mask << shift;

    switch (offset) {
    case ACPI_PM1_EVENT:
        update_timer_status(pm);
        pm->status &= ~(value & mask);          /* written ones clear */
        pm->enable = ((pm->enable & ~(mask >> 16)) | (value & mask) >> 16) & PM1_STATUS_BITS;
        break;
    case ACPI_PM1_CONTROL:
        write_control(pm, value & mask, mask);
        break;
    case ACPI_GPE0:
    case ACPI_GPE0 + 4:
        pm->gpe0_status &= ~wide;
        break;
    case ACPI_GPE0 + 8:
    case ACPI_GPE0 + 12:
        pm->gpe0_enable = (pm->gpe0_enable & ~wide_mask) | wide;
        break;
    case ACPI_SMI_ENABLE:
        if (pm->smm && !pm->smi_locked)
            pm->smi_enable = (pm->smi_enable & ~mask) | (value & mask);
        break;
    }
    update(pm);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_word(opaque, offset & ~3u) >> (offset & 3) * 8;
}

static void pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned shift = (offset & 3) * 8;
    uint32_t mask = (size >= 4 ? UINT32_MAX : (1u << size * 8) - 1) << shift;

    write_word(opaque, offset & ~3u, (uint32_t)value << shift, mask);
}

static const struct io_ops pm_io = {
    .read = pm_read,
    .write = pm_write,
    .min_size = 1,
    .max_size = 4,
};

void acpi_pm_power_button(struct acpi_pm *pm)
{
    pm->status |= PM1_PWRBTN;
    update(pm);
}

void acpi_pm_raise_gpe(struct acpi_pm *pm, unsigned event)
{
    pm->gpe0_status |= 1ull << event;
    update(pm);
}

/* Without SMM: firmware that finds the bit set takes SMM for set up, and leaves it alone. */
static void reset_smi(struct acpi_pm *pm)
{
    pm->smi_enable = pm->smm ? 0 : SMI_APMC_EN;
    pm->smi_locked = false;
}

void acpi_pm_use_smm(struct acpi_pm *pm)
{
    pm->smm = true;
    reset_smi(pm);
}

bool acpi_pm_apm_smi(const struct acpi_pm *pm)
{
    return pm->smm && (pm->smi_enable & SMI_APMC_EN) && (pm->smi_enable & SMI_GBL_EN);
}

void acpi_pm_lock_smi(struct acpi_pm *pm)
{
    pm->smi_locked = true;
}

void acpi_pm_reset(struct acpi_pm *pm)
{
    pm->status = pm->enable = pm->control = 0;
    pm->gpe0_status = pm->gpe0_enable = 0;
    reset_smi(pm);
    pm->carries_seen = timer_ticks() >> PM_TIMER_CARRY;
    update(pm);
}

struct acpi_pm *acpi_pm_new(struct bus *bus, const struct irq *sci, const struct power_ops *power)
{
    struct acpi_pm *pm = g_new0(struct acpi_pm, 1);

    pm->bus = bus;
    pm->sci = *sci;
    pm->power = *power;
    reset_smi(pm);
    pm->carries_seen = timer_ticks() >> PM_TIMER_CARRY;
    if (bus_add_pio(bus, ACPI_PM_BASE, ACPI_PM_SIZE, "acpi-pm", &pm_io, pm) < 0) {
        g_free(pm);
        return NULL;
    }
    pm->timer = main_timer_new(pm_expired, pm);
    return pm;
}

void acpi_pm_free(struct acpi_pm *pm)
{
    if (!pm)
        return;
    main_timer_free(pm->timer);
    bus_remove(pm->bus, pm);
    g_free(pm);
}
