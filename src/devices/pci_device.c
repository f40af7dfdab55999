/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between a device and bus 0.  One function a slot: a slot is what is plugged and
 * ejected.
 */
#include "pci_device.h"

#include "error.h"

#include <string.h>

const struct property pci_device_properties[] = {
    { "addr", PROP_STRING, offsetof(struct pci_device, addr),
      .help = "slot, in hex; the first free one if not given" },
    { NULL },
};

static const struct device_host *host_of(const struct pci_device *pci)
{
    return devices_host(pci->dev.all);
}

/* "SLOT" or "SLOT.FUNCTION", hex; -1: not that. */
static int parse_addr(const char *text)
{
    char *end;
    guint64 slot = g_ascii_strtoull(text, &end, 16), function = 0;

    if (!g_ascii_isxdigit(text[0]) || slot >= PCI_SLOTS)
        return -1;
    if (*end == '.') {
        const char *part = end + 1;

        function = g_ascii_strtoull(part, &end, 16);
        if (!g_ascii_isxdigit(part[0]) || function > 7)
            return -1;
    }
    return *end ? -1 : (int)PCI_DEVFN(slot, function);
}

static bool choose_devfn(struct pci_device *pci, int *ret, GError **error)
{
    const char *type = pci->dev.type->name;
    struct pci_bus *bus = host_of(pci)->pci;
    struct pci_function *there;

    if (!pci->addr || !*pci->addr) {
        for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
            *ret = PCI_DEVFN(slot, 0);
            if (!pci_find(bus, (unsigned)*ret))
                return true;
        }
        error_set(error, "PCI: no slot/function available for %s, all in use or reserved", type);
        return false;
    }
    *ret = parse_addr(pci->addr);
    if (*ret < 0) {
        error_set(error, "Property '%s.addr' doesn't take value '%s'", type, pci->addr);
        return false;
    }
    if (*ret & 7) {
        error_set(error, "PCI: slot %d function %d not available for %s: function 0 of a slot is",
                  *ret >> 3, *ret & 7, type);
        return false;
    }
    there = pci_find(bus, (unsigned)*ret);
    if (there)
        error_set(error, "PCI: slot %d function %d not available for %s, in use by %s", *ret >> 3,
                  *ret & 7, type, there->name);
    return !there;
}

bool pci_device_plug(struct pci_device *pci, GError **error)
{
    const struct device_host *host = host_of(pci);
    int devfn;
    bool ok;

    bus_lock(host->bus);
    ok = choose_devfn(pci, &devfn, error);
    if (ok) {
        pci->function.name = pci->dev.type->name;
        pci->function.devfn = devfn;
        pci->function.owner = &pci->dev;
        ok = pci_add(host->pci, &pci->function);
    }
    if (ok && pci->dev.hotplugged && host->hotplug)
        pci_hotplug_plugged(host->hotplug, (unsigned)devfn >> 3);
    bus_unlock(host->bus);
    if (ok) {
        g_free(pci->addr);
        pci->addr = g_strdup_printf("%02x.%x", devfn >> 3, devfn & 7);
    }
    return ok;
}

void pci_device_unplug(struct pci_device *pci)
{
    const struct device_host *host = host_of(pci);

    bus_lock(host->bus);
    if (pci->function.pci && host->hotplug)
        pci_hotplug_emptied(host->hotplug, pci->function.devfn >> 3);
    pci_remove(&pci->function);
    bus_unlock(host->bus);
}

bool pci_device_request_unplug(struct device *dev, GError **error)
{
    const struct device_host *host = devices_host(dev->all);

    if (!host->hotplug) {
        error_set(error, "Bus 'pcie.0' does not support hotplugging");
        return false;
    }
    bus_lock(host->bus);
    if (!dev->gone)
        pci_hotplug_request_unplug(host->hotplug, to_pci_device(dev)->function.devfn >> 3);
    bus_unlock(host->bus);
    return true;
}

void pci_device_eject(struct devices *all, unsigned slot)
{
    struct pci_function *function = pci_find(devices_host(all)->pci, PCI_DEVFN(slot, 0));

    /* The board's own bridges have no device behind them. */
    if (function && function->owner) {
        pci_remove(function);
        device_gone(function->owner);
    }
}

/* --- For people --- */

static const struct {
    uint16_t class;
    const char *name;
} classes[] = {
    { 0x0100, "SCSI controller" }, { 0x0500, "RAM controller" }, { 0x0600, "Host bridge" },
    { 0x0601, "ISA bridge" },
};

const char *pci_class_name(uint16_t class)
{
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (classes[i].class == class)
            return classes[i].name;
    }
    return NULL;
}

void pci_device_describe(struct device *dev, int indent, GString *out)
{
    const struct pci_function *f = &to_pci_device(dev)->function;
    struct bus *bus = devices_host(dev->all)->bus;
    uint16_t class = pci_get16(f->config, PCI_CLASS);
    const char *name = pci_class_name(class);

    bus_lock(bus);
    g_string_append_printf(out, "%*sclass ", indent, "");
    if (name)
        g_string_append(out, name);
    else
        g_string_append_printf(out, "Class %04x", class);
    g_string_append_printf(out, ", addr 00:%02x.%x, pci id %04x:%04x (sub %04x:%04x)\n",
                           f->devfn >> 3, f->devfn & 7u, pci_get16(f->config, PCI_VENDOR),
                           pci_get16(f->config, PCI_DEVICE),
                           pci_get16(f->config, PCI_SUBSYSTEM_VENDOR),
                           pci_get16(f->config, PCI_SUBSYSTEM));
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &f->bars[i];

        if (bar->size)
            g_string_append_printf(out, "%*sbar %u: mem at 0x%" G_GINT64_MODIFIER "x [0x%"
                                   G_GINT64_MODIFIER "x]\n", indent, "", i, bar->address,
                                   bar->address + bar->size - 1);
    }
    bus_unlock(bus);
}
