/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI configuration space (PCI Local Bus 3.0, 3.2.2.3.2: mechanism #1; PCI Express
 * 4.0, 7.2.2: ECAM), and the reset control register at 0xcf9 (ICH9 data sheet,
 * 13.7.5), which shares the ports of the address register.
 */
#include "pci.h"

#include <glib.h>
#include <string.h>

enum {
    PORT_ADDRESS = 0xcf8, PORT_DATA = 0xcfc,
    RESET_CONTROL = 1,          /* 0xcf9, from 0xcf8 */
    RESET_CPU = 0x04,           /* the write that sets it resets; bits 1 and 3 say how hard */
    RESET_KEPT = 0x0a,
    ECAM_SIZE = 256 << 20,
};
#define ADDRESS_ENABLE 0x80000000u

struct pci_bus {
    struct bus *bus;
    struct power_ops power;
    uint32_t address;
    uint8_t reset_control;
    struct pci_function *functions[256];
    struct pci_wires wires;
    unsigned asserted[PCI_INTX_LINES];  /* how many functions pull a line */
};

void pci_set16(uint8_t *config, unsigned offset, uint16_t value)
{
    config[offset] = value;
    config[offset + 1] = value >> 8;
}

void pci_set32(uint8_t *config, unsigned offset, uint32_t value)
{
    pci_set16(config, offset, value);
    pci_set16(config, offset + 2, value >> 16);
}

unsigned pci_gsi(unsigned slot, unsigned pin)
{
    return 16 + (slot + pin - 1) % 8;
}

static uint32_t config_read(struct pci_bus *pci, unsigned bus_number, unsigned devfn,
                            unsigned offset, unsigned size)
{
    struct pci_function *f = bus_number == 0 ? pci->functions[devfn] : NULL;
    uint32_t value = UINT32_MAX;

    if (f && offset + size <= PCI_CONFIG_SIZE) {
        if (f->reading)
            f->reading(f, offset, size);
        value = 0;
        memcpy(&value, f->config + offset, size);
    }
    return value;
}

/* --- INTx: lines that several functions share --- */

static unsigned intx_line(const struct pci_function *f)
{
    return pci_gsi(f->devfn >> 3, 1) - pci_gsi(0, 1);
}

/* What the pin does, after the command register's say. */
static bool intx_asserted(const struct pci_function *f)
{
    return (pci_get16(f->config, PCI_STATUS) & PCI_STATUS_INTERRUPT) &&
           !(pci_get16(f->config, PCI_COMMAND) & PCI_COMMAND_INTX_OFF);
}

static void update_intx(struct pci_function *f, bool before)
{
    struct pci_bus *pci = f->pci;
    unsigned line = intx_line(f);
    bool now = intx_asserted(f);

    if (now == before)
        return;
    pci->asserted[line] += now ? 1 : -1u;
    irq_set(&pci->wires.intx[line], pci->asserted[line] != 0);
}

void pci_set_intx(struct pci_function *f, bool level)
{
    bool before = intx_asserted(f);
    uint16_t status = pci_get16(f->config, PCI_STATUS);

    if (!f->pci)
        return;
    pci_set16(f->config, PCI_STATUS,
              level ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT);
    update_intx(f, before);
}

/* --- Configuration --- */

/* After any change of config: what follows from it. */
static void config_changed(struct pci_function *f, bool intx_before)
{
    update_intx(f, intx_before);
    pci_bars_update(f);
    pci_msix_update(f);
}

static void config_write(struct pci_bus *pci, unsigned bus_number, unsigned devfn,
                         unsigned offset, unsigned size, uint32_t value)
{
    struct pci_function *f = bus_number == 0 ? pci->functions[devfn] : NULL;

    bool intx_before;

    if (!f || offset + size > PCI_CONFIG_SIZE)
        return;
    intx_before = intx_asserted(f);
    for (unsigned i = offset; i < offset + size; i++, value >>= 8) {
        uint8_t mask = f->writable[i];

        f->config[i] = (f->config[i] & ~mask) | (value & mask);
        f->config[i] &= ~(value & f->clearable[i]);
    }
    config_changed(f, intx_before);
    if (f->written)
        f->written(f, offset, size);
}

static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bus *pci = opaque;

    if (offset == 0 && size == 4)
        return pci->address;
    if (offset == RESET_CONTROL && size == 1)
        return pci->reset_control;
    return UINT64_MAX;
}

/* Only whole-word writes are the address; a byte at 0xcf9 is reset control. */
static void address_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_bus *pci = opaque;

    if (offset == 0 && size == 4) {
        pci->address = value;
    } else if (offset == RESET_CONTROL && size == 1) {
        bool rises = (value & RESET_CPU) && !(pci->reset_control & RESET_CPU);

        pci->reset_control = value & (RESET_KEPT | RESET_CPU);
        if (rises)
            pci->power.reset(pci->power.opaque);
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bus *pci = opaque;
    uint32_t address = pci->address;

    if (!(address & ADDRESS_ENABLE))
        return UINT64_MAX;
    return config_read(pci, address >> 16 & 0xff, address >> 8 & 0xff, (address & 0xfc) + offset,
                       size);
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_bus *pci = opaque;
    uint32_t address = pci->address;

    if (address & ADDRESS_ENABLE)
        config_write(pci, address >> 16 & 0xff, address >> 8 & 0xff, (address & 0xfc) + offset,
                     size, value);
}

static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size)
{
    return config_read(opaque, offset >> 20, offset >> 12 & 0xff, offset & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    config_write(opaque, offset >> 20, offset >> 12 & 0xff, offset & 0xfff, size, value);
}

static const struct io_ops address_io = {
    .read = address_read, .write = address_write, .min_size = 1, .max_size = 4,
};
static const struct io_ops data_io = {
    .read = data_read, .write = data_write, .min_size = 1, .max_size = 4,
};
static const struct io_ops ecam_io = {
    .read = ecam_read, .write = ecam_write, .min_size = 1, .max_size = 4,
};

bool pci_add(struct pci_bus *pci, struct pci_function *function)
{
    if (pci->functions[function->devfn])
        return false;
    memcpy(function->initial, function->config, PCI_CONFIG_SIZE);
    function->pci = pci;
    pci->functions[function->devfn] = function;
    pci_msix_reset(function);
    return true;
}

static void reset_function(struct pci_function *f)
{
    pci_set_intx(f, false);
    pci_bars_unmap(f);
    memcpy(f->config, f->initial, PCI_CONFIG_SIZE);
    pci_msix_reset(f);
}

void pci_remove(struct pci_function *function)
{
    if (!function->pci)
        return;
    reset_function(function);
    function->pci->functions[function->devfn] = NULL;
    function->pci = NULL;
}

struct pci_function *pci_find(struct pci_bus *pci, unsigned devfn)
{
    return devfn < G_N_ELEMENTS(pci->functions) ? pci->functions[devfn] : NULL;
}

struct bus *pci_io_bus(struct pci_bus *pci)
{
    return pci->bus;
}

void pci_send_msi(struct pci_bus *pci, uint64_t address, uint32_t data)
{
    if (pci->wires.msi)
        pci->wires.msi(pci->wires.opaque, address, data);
}

void pci_bus_wire(struct pci_bus *pci, const struct pci_wires *wires)
{
    pci->wires = *wires;
}

void pci_bus_reset(struct pci_bus *pci)
{
    pci->address = 0;
    pci->reset_control = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(pci->functions); i++) {
        struct pci_function *f = pci->functions[i];

        if (!f)
            continue;
        reset_function(f);
        if (f->written)
            f->written(f, 0, PCI_CONFIG_SIZE);
    }
}

struct pci_bus *pci_bus_new(struct bus *bus, uint64_t ecam, const struct power_ops *power)
{
    struct pci_bus *pci = g_new0(struct pci_bus, 1);

    pci->bus = bus;
    pci->power = *power;
    if (bus_add_pio(bus, PORT_ADDRESS, 4, "pci-conf-address", &address_io, pci) < 0 ||
        bus_add_pio(bus, PORT_DATA, 4, "pci-conf-data", &data_io, pci) < 0 ||
        bus_add_mmio(bus, ecam, ECAM_SIZE, "pci-ecam", &ecam_io, pci) < 0) {
        pci_bus_free(pci);
        return NULL;
    }
    return pci;
}

void pci_bus_free(struct pci_bus *pci)
{
    if (!pci)
        return;
    bus_remove(pci->bus, pci);
    g_free(pci);
}
