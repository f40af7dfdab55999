/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ACPI power management registers of the ICH9, and the power button. */
#ifndef DEVICES_ACPI_PM_H
#define DEVICES_ACPI_PM_H

#include "bus.h"
#include "power.h"

/* Port base and offsets, which the FADT repeats. */
enum {
    ACPI_PM_BASE = 0x600,
    ACPI_PM1_EVENT = 0x00,
    ACPI_PM1_CONTROL = 0x04,
    ACPI_PM_TIMER = 0x08,
    ACPI_GPE0 = 0x20,
    ACPI_GPE0_SIZE = 16,
    ACPI_SMI_ENABLE = 0x30,
    ACPI_PM_SIZE = 0x80,
    ACPI_SCI = 9,               /* the interrupt */
    ACPI_SLEEP_S5 = 0,          /* SLP_TYP of soft off, for the DSDT's _S5 */
};

struct acpi_pm;

/* NULL: the ports are taken. sci: the system control interrupt, level. */
struct acpi_pm *acpi_pm_new(struct bus *bus, const struct irq *sci, const struct power_ops *power);
void acpi_pm_free(struct acpi_pm *pm);
void acpi_pm_reset(struct acpi_pm *pm);         /* machine lock held */
/* The button is pressed and let go.  Machine lock held. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* The machine has SMM: SMI_EN is the guest's.  Before it runs. */
void acpi_pm_use_smm(struct acpi_pm *pm);
/* Does writing the APM command raise an SMI?  Machine lock held. */
bool acpi_pm_apm_smi(const struct acpi_pm *pm);
/* SMI_EN stays as it is until the next reset.  Machine lock held. */
void acpi_pm_lock_smi(struct acpi_pm *pm);
/* General-purpose event 0 to 63: the DSDT's \_GPE._Lxx or _Exx. Machine lock held. */
void acpi_pm_raise_gpe(struct acpi_pm *pm, unsigned event);

#endif
