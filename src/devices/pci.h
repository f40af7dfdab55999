/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI bus 0 of a Q35: configuration space through ports 0xcf8 and 0xcfc and through
 * the memory-mapped window (ECAM).  Functions hang on it; they are conventional ones
 * with 256 bytes each, memory BARs, MSI-X and INTx.
 *
 * Everything here is called with the machine lock held, but for pci_bus_new() and
 * pci_bus_free().
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
    PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d, PCI_HEADER_SIZE = 0x40,

    PCI_COMMAND_MEMORY = 1 << 1, PCI_COMMAND_MASTER = 1 << 2, PCI_COMMAND_INTX_OFF = 1 << 10,
    PCI_STATUS_INTERRUPT = 1 << 3, PCI_STATUS_CAPABILITIES = 1 << 4,

    PCI_BARS = 6, PCI_SLOTS = 32, PCI_INTX_LINES = 8, PCI_MSIX_MAX = 128,
};
#define PCI_UNMAPPED UINT64_MAX

#define PCI_DEVFN(slot_, function_) ((slot_) << 3 | (function_))

struct pci_function;

/* A base address register for memory, and what lies behind it. */
struct pci_bar {
    struct pci_function *function;
    unsigned index;
    uint64_t size;              /* a power of two; 0: there is no such BAR */
    bool is64;                  /* takes two registers, prefetchable */
    const struct io_ops *ops;
    void *opaque;
    uint64_t address;           /* where it is mapped; PCI_UNMAPPED: nowhere */
};

struct pci_msix_vector {
    uint64_t address;
    uint32_t data, control;     /* control bit 0: masked */
    bool pending;
};

struct pci_function {
    const char *name;
    uint8_t devfn;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE];          /* bits that the guest may change */
    uint8_t clearable[PCI_CONFIG_SIZE];         /* status bits: writing one clears */
    uint8_t initial[PCI_CONFIG_SIZE];           /* config at reset; set by pci_add() */
    /* config has changed in [offset, offset + size). May be NULL. */
    void (*written)(struct pci_function *function, unsigned offset, unsigned size);
    /* config is about to be read there: bring it up to date. May be NULL. */
    void (*reading)(struct pci_function *function, unsigned offset, unsigned size);
    /* The rest is pci.c's and its companions'. */
    struct pci_bus *pci;        /* NULL: on none */
    struct device *owner;       /* whose it is; NULL: the board's */
    struct pci_bar bars[PCI_BARS];
    unsigned next_capability, last_capability;  /* offsets */
    unsigned msix_capability, msix_vectors;     /* 0: no MSI-X */
    struct pci_msix_vector msix[PCI_MSIX_MAX];
};

struct pci_bus;

/* How interrupts leave the bus: eight shared lines, and messages. */
struct pci_wires {
    struct irq intx[PCI_INTX_LINES];    /* number n is pci_gsi() n + 16 */
    void (*msi)(void *opaque, uint64_t address, uint32_t data);
    void *opaque;
};

/*
 * pci_bus_new - the host bridge's ports and its ECAM window of 256 MiB at ecam.
 * power->reset is what port 0xcf9, which lies between the others, does.
 * NULL: ports or window are taken.
 */
struct pci_bus *pci_bus_new(struct bus *bus, uint64_t ecam, const struct power_ops *power);
void pci_bus_free(struct pci_bus *pci);
/* Once, before there are functions that interrupt. */
void pci_bus_wire(struct pci_bus *pci, const struct pci_wires *wires);
/* All functions to their initial configuration.  Machine lock held. */
void pci_bus_reset(struct pci_bus *pci);

/* False: there is one at that devfn.  The function stays the caller's. */
bool pci_add(struct pci_bus *pci, struct pci_function *function);
/* Its BARs are unmapped, its interrupt line is low; it may be freed. */
void pci_remove(struct pci_function *function);
/* NULL: none there. */
struct pci_function *pci_find(struct pci_bus *pci, unsigned devfn);

/* --- Making a function, before pci_add() --- */

/* is64: a 64-bit prefetchable BAR, which takes the next index too. */
void pci_set_bar(struct pci_function *function, unsigned index, uint64_t size, bool is64,
                 const struct io_ops *ops, void *opaque);
/* Room for a capability of size bytes with its id; its offset. It fits: the caller counts. */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size);
/* MSI-X with its tables in a BAR of their own. vectors: 1 to PCI_MSIX_MAX. */
void pci_add_msix(struct pci_function *function, unsigned bar, unsigned vectors);

/* --- Interrupts --- */

bool pci_msix_enabled(const struct pci_function *function);
/* Send the vector's message, or note it as pending while it is masked. A wild number: nothing. */
void pci_msix_notify(struct pci_function *function, unsigned vector);
void pci_set_intx(struct pci_function *function, bool level);

/* --- Between pci.c, pci_bar.c and pci_msix.c --- */

struct bus *pci_io_bus(struct pci_bus *pci);
void pci_send_msi(struct pci_bus *pci, uint64_t address, uint32_t data);
/* Map the BARs where the configuration says, or unmap all of them. */
void pci_bars_update(struct pci_function *function);
void pci_bars_unmap(struct pci_function *function);
/* The capability's control word may have changed. */
void pci_msix_update(struct pci_function *function);
void pci_msix_reset(struct pci_function *function);

static inline uint16_t pci_get16(const uint8_t *config, unsigned offset)
{
    return config[offset] | (uint16_t)(config[offset + 1] << 8);
}

static inline uint32_t pci_get32(const uint8_t *config, unsigned offset)
{
    return pci_get16(config, offset) | (uint32_t)pci_get16(config, offset + 2) << 16;
}

void pci_set16(uint8_t *config, unsigned offset, uint16_t value);
void pci_set32(uint8_t *config, unsigned offset, uint32_t value);

/* The I/O APIC input of a slot's interrupt pin (1: INTA); the DSDT's _PRT says the same. */
unsigned pci_gsi(unsigned slot, unsigned pin);

#endif
