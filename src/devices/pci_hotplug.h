/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that come and go on PCI bus 0 while the guest runs: a few registers that
 * the DSDT's methods read and write, and a general-purpose event of the power
 * management block.  Machine lock held, but for pci_hotplug_new() and _free().
 */
#ifndef DEVICES_PCI_HOTPLUG_H
#define DEVICES_PCI_HOTPLUG_H

#include "acpi_pm.h"
#include "bus.h"

/* Ports, each a 32-bit register with a bit for a slot; the DSDT repeats them. */
enum {
    PCI_HOTPLUG_BASE = 0xae00,
    PCI_HOTPLUG_UP = 0,         /* came since this was read last */
    PCI_HOTPLUG_DOWN = 4,       /* shall go */
    PCI_HOTPLUG_EJECT = 8,      /* written: the guest lets go of it */
    PCI_HOTPLUG_SIZE = 12,
    PCI_HOTPLUG_GPE = 1,
};

struct pci_hotplug;

/* ejected: the guest lets go of what is in a slot. NULL: the ports are taken. */
struct pci_hotplug *pci_hotplug_new(struct bus *bus, struct acpi_pm *pm,
                                    void (*ejected)(void *opaque, unsigned slot), void *opaque);
void pci_hotplug_free(struct pci_hotplug *hotplug);
/* Nobody is told any more; the slots that should have gone are ejected. */
void pci_hotplug_reset(struct pci_hotplug *hotplug);

void pci_hotplug_plugged(struct pci_hotplug *hotplug, unsigned slot);
void pci_hotplug_request_unplug(struct pci_hotplug *hotplug, unsigned slot);
/* What was in the slot is gone, whoever took it. */
void pci_hotplug_emptied(struct pci_hotplug *hotplug, unsigned slot);

#endif
