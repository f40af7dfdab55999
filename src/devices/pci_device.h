/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices that a user puts on PCI bus 0: address, plugging and unplugging. */
#ifndef DEVICES_PCI_DEVICE_H
#define DEVICES_PCI_DEVICE_H

#include "device.h"

struct pci_device {
    struct device dev;          /* first */
    struct pci_function function;
    char *addr;                 /* "SLOT" or "SLOT.FUNCTION" in hex; NULL: the first free one */
};

extern const struct property pci_device_properties[];

/*
 * The function is filled in: onto the bus, and the guest is told where it runs already.
 * False: there is no room where it wants to be.
 */
bool pci_device_plug(struct pci_device *pci, GError **error);
/* Off the bus, if it is there. */
void pci_device_unplug(struct pci_device *pci);
/* For device_type.request_unplug. */
bool pci_device_request_unplug(struct device *dev, GError **error);
/* The guest ejects what is in a slot; for the board's pci_hotplug. Machine lock held. */
void pci_device_eject(struct devices *all, unsigned slot);
/* For device_type.describe: class, address, ids, BARs. */
void pci_device_describe(struct device *dev, int indent, GString *out);
/* "SCSI controller"; NULL: a class without a name here. */
const char *pci_class_name(uint16_t class);

static inline struct pci_device *to_pci_device(struct device *dev)
{
    return (struct pci_device *)dev;
}

#endif
