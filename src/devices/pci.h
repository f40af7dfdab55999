/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI bus 0 of a Q35: configuration space through ports 0xcf8 and 0xcfc and through
 * the memory-mapped window (ECAM).  Functions hang on it; they are conventional ones
 * with 256 bytes each.
 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include "bus.h"
#include "power.h"

enum {
    PCI_CONFIG_SIZE = 256,
    /* Offsets in the type 0 header. */
    PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06,
    PCI_REVISION = 0x08, PCI_CLASS = 0x0a, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c, PCI_SUBSYSTEM = 0x2e, PCI_CAPABILITIES = 0x34,
    PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d,
};

#define PCI_DEVFN(slot_, function_) ((slot_) << 3 | (function_))

struct pci_function {
    const char *name;
    uint8_t devfn;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE];          /* bits that the guest may change */
    uint8_t clearable[PCI_CONFIG_SIZE];         /* status bits: writing one clears */
    uint8_t initial[PCI_CONFIG_SIZE];           /* config at reset; set by pci_add() */
    /* config has changed in [offset, offset + size). May be NULL. */
    void (*written)(struct pci_function *function, unsigned offset, unsigned size);
};

struct pci_bus;

/*
 * pci_bus_new - the host bridge's ports and its ECAM window of 256 MiB at ecam.
 * power->reset is what port 0xcf9, which lies between the others, does.
 * NULL: ports or window are taken.
 */
struct pci_bus *pci_bus_new(struct bus *bus, uint64_t ecam, const struct power_ops *power);
void pci_bus_free(struct pci_bus *pci);
/* All functions to their initial configuration.  Machine lock held. */
void pci_bus_reset(struct pci_bus *pci);

/* False: there is one at that devfn.  The function stays the caller's. */
bool pci_add(struct pci_bus *pci, struct pci_function *function);

void pci_set16(uint8_t *config, unsigned offset, uint16_t value);
void pci_set32(uint8_t *config, unsigned offset, uint32_t value);

/* The I/O APIC input of a slot's interrupt pin (1: INTA); the DSDT's _PRT says the same. */
unsigned pci_gsi(unsigned slot, unsigned pin);

#endif
