/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ACPI tables that describe the board to the guest. */
#ifndef MACHINE_ACPI_H
#define MACHINE_ACPI_H

#include <glib.h>
#include <stdint.h>

struct acpi_board {
    unsigned cpus;              /* APIC ids 0 to cpus - 1 */
    unsigned serials;           /* COM1 to COMn */
    uint64_t ecam;
    uint64_t pci_window64, pci_window64_size;   /* size 0: none */
    uint64_t ram_size;
    uint64_t device_memory, device_memory_size; /* where memory may come; size 0: nowhere, no SRAT */
};

/* Guest-physical addresses within what acpi_build() made for gpa. */
enum {
    ACPI_FACS_OFFSET = 0,       /* a page of its own: it is NVS, the rest is reclaimable */
    ACPI_TABLES_OFFSET = 4096,
    ACPI_RSDP_OFFSET = ACPI_TABLES_OFFSET,
};

/* Where an address stands in the tables that has to change with where they are. */
struct acpi_pointer {
    unsigned table;             /* the offset of the table that holds it */
    unsigned offset, size;      /* 4 or 8 bytes */
};

struct acpi_tables {
    GByteArray *bytes;
    uint64_t gpa;               /* of the first byte */
    GArray *pointers;           /* struct acpi_pointer, of one table after another */
    unsigned xsdt;              /* offset */
};

/*
 * RSDP, XSDT, FADT, MADT, MCFG, SRAT, DSDT, FACS for address gpa (a page's, below 4 GiB; 0:
 * addresses are offsets, for firmware that moves them). Never NULL.
 */
struct acpi_tables *acpi_build(const struct acpi_board *board, uint64_t gpa);
void acpi_tables_free(struct acpi_tables *tables);

enum {
    ACPI_HEADER_LENGTH = 4, ACPI_HEADER_CHECKSUM = 9,   /* of a table */
    ACPI_RSDP_SIZE = 36, ACPI_RSDP_V1_SIZE = 20, ACPI_RSDP_CHECKSUM = 8, ACPI_RSDP_XSDT = 24,
    ACPI_RSDP_EXTENDED_CHECKSUM = 32,
};
void acpi_fill_rsdp(uint8_t rsdp[ACPI_RSDP_SIZE], uint64_t xsdt);

/* Ports and interrupts of COM1 to COM4. */
struct acpi_serial {
    uint16_t port;
    unsigned irq;
};
extern const struct acpi_serial acpi_serials[4];

#endif
