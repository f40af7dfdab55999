/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest-physical address space of the q35 board: where RAM lies, where devices
 * are, and what the loader puts where.  Numbers that have to agree with QEMU's q35
 * are QEMU 7.2's.
 */
#ifndef MACHINE_LAYOUT_H
#define MACHINE_LAYOUT_H

#include "range.h"

/* RAM below 4 GiB ends at the second, or at the first where there is more than that. */
#define LAYOUT_LOW_RAM_SPLIT    0x80000000ULL
#define LAYOUT_LOW_RAM_MAX      0xb0000000ULL
#define LAYOUT_HIGH_RAM         (4 * GIB)

#define LAYOUT_ECAM             0xb0000000ULL
#define LAYOUT_ECAM_SIZE        (256 * MIB)
#define LAYOUT_PCI_WINDOW       0xc0000000ULL
#define LAYOUT_PCI_WINDOW_LAST  0xfebfffffULL
#define LAYOUT_IOAPIC           0xfec00000ULL
#define LAYOUT_LAPIC            0xfee00000ULL
/* Four pages that KVM uses itself (KVM_SET_TSS_ADDR, its identity map), below all firmware. */
#define LAYOUT_KVM_RESERVED     0xfeffc000ULL

/* Below 1 MiB: what a PC keeps free, and what the loader needs. */
#define LAYOUT_GDT              0x1000ULL
#define LAYOUT_BOOT_PARAMS      0x2000ULL
#define LAYOUT_PVH_INFO         0x3000ULL
#define LAYOUT_CMDLINE          0x10000ULL
#define LAYOUT_CMDLINE_MAX      0x10000ULL
#define LAYOUT_LOADER_END       0x20000ULL
#define LAYOUT_BASE_RAM_END     0x9fc00ULL      /* 639 KiB, as where there is a BIOS data area */
#define LAYOUT_VGA              0xa0000ULL
#define LAYOUT_HIGH_MEMORY      0x100000ULL

/* The ACPI tables lie at the end of low RAM. */
#define LAYOUT_ACPI_SIZE        (64 * KIB)

/* Less than this can't hold what the board itself puts there. */
#define LAYOUT_MIN_RAM          (2 * MIB)

static inline uint64_t layout_low_ram(uint64_t ram_size)
{
    if (ram_size < LAYOUT_LOW_RAM_MAX)
        return ram_size;
    return LAYOUT_LOW_RAM_SPLIT;
}

/* Where RAM above 4 GiB ends; 4 GiB: there is none. */
static inline uint64_t layout_high_end(uint64_t ram_size)
{
    return LAYOUT_HIGH_RAM + ram_size - layout_low_ram(ram_size);
}

/*
 * Memory that comes later (-m maxmem=) is above RAM from a GiB boundary on, where QEMU
 * has it: what maxmem is more than RAM, and a GiB for each slot, so that everything
 * fits whatever its alignment.
 */
static inline uint64_t layout_device_memory(uint64_t ram_size)
{
    return (layout_high_end(ram_size) + GIB - 1) & ~(GIB - 1);
}

/*
 * The window for 64-bit BARs: 32 GiB (QEMU's pci-hole64-size) above all memory, which
 * ends at end, from a boundary of its own size on, or what the processor's addresses
 * leave of it; 0: nothing.
 */
#define LAYOUT_PCI_WINDOW64_SIZE (32 * GIB)

static inline uint64_t layout_pci_window64(uint64_t end, unsigned address_bits, uint64_t *size)
{
    uint64_t top = 1ULL << (address_bits < 52 ? address_bits : 52);
    uint64_t start = (end + LAYOUT_PCI_WINDOW64_SIZE - 1) & ~(LAYOUT_PCI_WINDOW64_SIZE - 1);

    *size = start < top ? LAYOUT_PCI_WINDOW64_SIZE : 0;
    if (start + *size > top)
        *size = top - start;
    return start;
}

static inline uint64_t layout_acpi(uint64_t ram_size)
{
    return layout_low_ram(ram_size) - LAYOUT_ACPI_SIZE;
}

#endif
