/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Base address registers for memory (PCI Local Bus 3.0, 6.2.5.1), and capabilities
 * (6.7).  A BAR is mapped while memory decoding is on and nothing else is at its
 * address; a guest that puts two things in one place reaches the first.
 */
#include "pci.h"

#include <glib.h>

enum { BAR_64 = 2 << 1, BAR_PREFETCHABLE = 1 << 3, BAR_FLAGS = 15 };

/* The bus knows a range by its opaque, and one function may have several BARs. */
static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bar *bar = opaque;

    return bar->ops->read(bar->opaque, offset, size);
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_bar *bar = opaque;

    bar->ops->write(bar->opaque, offset, size, value);
}

static const struct io_ops bar_io = {
    .read = bar_read, .write = bar_write, .min_size = 1, .max_size = 4,
};

void pci_set_bar(struct pci_function *function, unsigned index, uint64_t size, bool is64,
                 const struct io_ops *ops, void *opaque)
{
    unsigned at = PCI_BAR0 + 4 * index;
    uint64_t mask = ~(size - 1);

    function->bars[index] = (struct pci_bar){
        .function = function, .index = index, .size = size, .is64 = is64, .ops = ops,
        .opaque = opaque, .address = PCI_UNMAPPED,
    };
    pci_set32(function->config, at, is64 ? BAR_64 | BAR_PREFETCHABLE : 0);
    pci_set32(function->writable, at, mask);
    if (is64)
        pci_set32(function->writable, at + 4, mask >> 32);
}

/* Where the registers say that it is; PCI_UNMAPPED: decoding is off, or it was never set. */
static uint64_t wanted_address(const struct pci_bar *bar)
{
    const uint8_t *config = bar->function->config;
    unsigned at = PCI_BAR0 + 4 * bar->index;
    uint64_t address = pci_get32(config, at) & ~(uint32_t)BAR_FLAGS;

    if (bar->is64)
        address |= (uint64_t)pci_get32(config, at + 4) << 32;
    if (!address || !(pci_get16(config, PCI_COMMAND) & PCI_COMMAND_MEMORY))
        return PCI_UNMAPPED;
    return address;
}

static void unmap(struct pci_bar *bar)
{
    if (bar->address != PCI_UNMAPPED)
        bus_remove(pci_io_bus(bar->function->pci), bar);
    bar->address = PCI_UNMAPPED;
}

void pci_bars_update(struct pci_function *function)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &function->bars[i];
        uint64_t wanted = bar->size ? wanted_address(bar) : PCI_UNMAPPED;

        if (!bar->size || wanted == bar->address)
            continue;
        unmap(bar);
        if (wanted != PCI_UNMAPPED &&
            bus_add_mmio(pci_io_bus(function->pci), wanted, bar->size, function->name, &bar_io,
                         bar) == 0)
            bar->address = wanted;
    }
}

void pci_bars_unmap(struct pci_function *function)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (function->bars[i].size)
            unmap(&function->bars[i]);
    }
}

unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size)
{
    unsigned at = function->next_capability ? function->next_capability : PCI_HEADER_SIZE;
    unsigned link = function->last_capability ? function->last_capability + 1u
                                              : (unsigned)PCI_CAPABILITIES;

    g_assert(at + size <= PCI_CONFIG_SIZE);
    function->config[at] = id;
    function->config[link] = at;
    function->last_capability = at;
    function->next_capability = (at + size + 3) & ~3u;
    pci_set16(function->config, PCI_STATUS,
              pci_get16(function->config, PCI_STATUS) | PCI_STATUS_CAPABILITIES);
    return at;
}
