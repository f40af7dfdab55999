/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory map that the guest is told (e820, PVH: the same types). */
#ifndef MACHINE_MEMORY_MAP_H
#define MACHINE_MEMORY_MAP_H

#include <stdint.h>

enum memory_range_type {
    RANGE_RAM = 1, RANGE_RESERVED = 2, RANGE_ACPI = 3, RANGE_ACPI_NVS = 4,
};

struct memory_range {
    uint64_t start, size;
    uint32_t type;
};

enum { MEMORY_MAP_MAX = 16 };

/* Ascending, disjoint; the number of entries. ram_size: at least LAYOUT_MIN_RAM. */
unsigned memory_map_build(uint64_t ram_size, struct memory_range map[MEMORY_MAP_MAX]);

#endif
