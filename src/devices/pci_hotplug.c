/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI hot-plug by ACPI (ACPI 6.4, 5.6.6 and 6.3): an event asks the guest to run the
 * DSDT's handler, which reads here what came and what shall go, and notifies the
 * slots' objects; _EJ0 writes here what the guest let go of.  The DSDT is ours, so
 * the registers are too.
 */
#include "pci_hotplug.h"

#include "pci.h"

#include <glib.h>

struct pci_hotplug {
    struct bus *bus;
    struct acpi_pm *pm;
    void (*ejected)(void *opaque, unsigned slot);
    void *opaque;
    uint32_t up, down;
};

static uint64_t hotplug_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_hotplug *h = opaque;
    uint32_t value = 0;

    if (offset == PCI_HOTPLUG_UP) {
        value = h->up;
        h->up = 0;
    } else if (offset == PCI_HOTPLUG_DOWN) {
        value = h->down;
    }
    return value;
}

static void eject(struct pci_hotplug *h, uint32_t slots)
{
    h->down &= ~slots;
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (slots >> slot & 1)
            h->ejected(h->opaque, slot);
    }
}

static void hotplug_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    if (offset == PCI_HOTPLUG_EJECT)
        eject(opaque, value);
}

static const struct io_ops hotplug_io = {
    .read = hotplug_read, .write = hotplug_write, .min_size = 4, .max_size = 4,
};

void pci_hotplug_plugged(struct pci_hotplug *hotplug, unsigned slot)
{
    hotplug->up |= 1u << slot;
    acpi_pm_raise_gpe(hotplug->pm, PCI_HOTPLUG_GPE);
}

void pci_hotplug_request_unplug(struct pci_hotplug *hotplug, unsigned slot)
{
    hotplug->down |= 1u << slot;
    acpi_pm_raise_gpe(hotplug->pm, PCI_HOTPLUG_GPE);
}

void pci_hotplug_emptied(struct pci_hotplug *hotplug, unsigned slot)
{
    hotplug->up &= ~(1u << slot);
    hotplug->down &= ~(1u << slot);
}

void pci_hotplug_reset(struct pci_hotplug *hotplug)
{
    hotplug->up = 0;
    eject(hotplug, hotplug->down);
}

struct pci_hotplug *pci_hotplug_new(struct bus *bus, struct acpi_pm *pm,
                                    void (*ejected)(void *opaque, unsigned slot), void *opaque)
{
    struct pci_hotplug *h = g_new0(struct pci_hotplug, 1);

    h->bus = bus;
    h->pm = pm;
    h->ejected = ejected;
    h->opaque = opaque;
    if (bus_add_pio(bus, PCI_HOTPLUG_BASE, PCI_HOTPLUG_SIZE, "acpi-pci-hotplug", &hotplug_io,
                    h) < 0) {
        g_free(h);
        return NULL;
    }
    return h;
}

void pci_hotplug_free(struct pci_hotplug *hotplug)
{
    if (!hotplug)
        return;
    bus_remove(hotplug->bus, hotplug);
    g_free(hotplug);
}
