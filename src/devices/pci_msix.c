/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MSI-X (PCI Local Bus 3.0, 6.8.2): a table of messages and their pending bits, both
 * in a BAR of their own: the table from 0 on, the bits from the middle on.
 */
#include "pci.h"

#include <string.h>

enum {
    CAP_ID = 0x11, CAP_SIZE = 12,
    CAP_CONTROL = 2, CONTROL_ENABLE = 1 << 15, CONTROL_MASK = 1 << 14,
    CAP_TABLE = 4, CAP_PBA = 8,
    ENTRY_SIZE = 16, BAR_SIZE = 4096, PBA = BAR_SIZE / 2,
    VECTOR_MASKED = 1,
};
_Static_assert(PCI_MSIX_MAX * ENTRY_SIZE <= PBA, "table and pending bits fit");

static uint16_t control(const struct pci_function *f)
{
    return f->msix_capability ? pci_get16(f->config, f->msix_capability + CAP_CONTROL) : 0;
}

bool pci_msix_enabled(const struct pci_function *function)
{
    return control(function) & CONTROL_ENABLE;
}

static bool masked(const struct pci_function *f, const struct pci_msix_vector *vector)
{
    return (control(f) & CONTROL_MASK) || (vector->control & VECTOR_MASKED);
}

static void send_pending(struct pci_function *f, struct pci_msix_vector *vector)
{
    if (!vector->pending || !f->pci || !pci_msix_enabled(f) || masked(f, vector))
        return;
    vector->pending = false;
    pci_send_msi(f->pci, vector->address, vector->data);
}

void pci_msix_notify(struct pci_function *function, unsigned vector)
{
    if (vector >= function->msix_vectors || !pci_msix_enabled(function))
        return;
    function->msix[vector].pending = true;
    send_pending(function, &function->msix[vector]);
}

void pci_msix_update(struct pci_function *function)
{
    for (unsigned i = 0; i < function->msix_vectors; i++)
        send_pending(function, &function->msix[i]);
}

void pci_msix_reset(struct pci_function *function)
{
    memset(function->msix, 0, sizeof(function->msix));
    for (unsigned i = 0; i < function->msix_vectors; i++)
        function->msix[i].control = VECTOR_MASKED;
}

/* The aligned 32-bit word at an offset of the BAR. */
static uint32_t read_word(const struct pci_function *f, unsigned offset)
{
    uint32_t bits = 0;

    if (offset < f->msix_vectors * ENTRY_SIZE) {
        const struct pci_msix_vector *vector = &f->msix[offset / ENTRY_SIZE];
        const uint32_t words[] = {
            vector->address, vector->address >> 32, vector->data, vector->control,
        };

        return words[offset % ENTRY_SIZE / 4];
    }
    if (offset < PBA)
        return 0;
    for (unsigned i = 0, first = (offset - PBA) * 8; i < 32; i++) {
        if (first + i < f->msix_vectors && f->msix[first + i].pending)
            bits |= 1u << i;
    }
    return bits;
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_word(opaque, offset & ~3ull) >> (offset & 3) * 8;
}

/* Software writes whole words (6.8.2); others, and the pending bits, stay as they are. */
static void table_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *f = opaque;
    struct pci_msix_vector *vector = &f->msix[offset / ENTRY_SIZE % PCI_MSIX_MAX];

    if (size != 4 || offset >= f->msix_vectors * ENTRY_SIZE)
        return;
    switch (offset % ENTRY_SIZE) {
    case 0:
        vector->address = (vector->address & ~(uint64_t)UINT32_MAX) | (value & ~3ull);
        break;
    case 4:
        vector->address = (uint32_t)vector->address | value << 32;
        break;
    case 8:
        vector->data = value;
        break;
    case 12:
        vector->control = value & VECTOR_MASKED;
        send_pending(f, vector);
        break;
    }
}

static const struct io_ops table_io = { .read = table_read, .write = table_write };

void pci_add_msix(struct pci_function *function, unsigned bar, unsigned vectors)
{
    unsigned at = pci_add_capability(function, CAP_ID, CAP_SIZE);

    function->msix_capability = at;
    function->msix_vectors = vectors;
    pci_set16(function->config, at + CAP_CONTROL, vectors - 1);
    pci_set16(function->writable, at + CAP_CONTROL, CONTROL_ENABLE | CONTROL_MASK);
    pci_set32(function->config, at + CAP_TABLE, bar);
    pci_set32(function->config, at + CAP_PBA, PBA | bar);
    pci_set_bar(function, bar, BAR_SIZE, false, &table_io, function);
}
