/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One row a range of layout.h; the loader passes it on in the kernel's format. */
#include "memory_map.h"

#include "acpi.h"
#include "layout.h"

unsigned memory_map_build(uint64_t ram_size, struct memory_range map[MEMORY_MAP_MAX])
{
    uint64_t low = layout_low_ram(ram_size), acpi = layout_acpi(ram_size);
    const struct memory_range rows[] = {
        { 0, LAYOUT_BASE_RAM_END, RANGE_RAM },
        { LAYOUT_BASE_RAM_END, 0xa0000 - LAYOUT_BASE_RAM_END, RANGE_RESERVED },
        { 0xf0000, 0x10000, RANGE_RESERVED },
        { LAYOUT_HIGH_MEMORY, acpi - LAYOUT_HIGH_MEMORY, RANGE_RAM },
        { acpi, ACPI_TABLES_OFFSET, RANGE_ACPI_NVS },
        { acpi + ACPI_TABLES_OFFSET, LAYOUT_ACPI_SIZE - ACPI_TABLES_OFFSET, RANGE_ACPI },
        { LAYOUT_ECAM, LAYOUT_ECAM_SIZE, RANGE_RESERVED },
        { LAYOUT_KVM_RESERVED, 4 * GIB - LAYOUT_KVM_RESERVED, RANGE_RESERVED },
        { LAYOUT_HIGH_RAM, ram_size - low, RANGE_RAM },
    };
    unsigned entries = 0;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].size)
            map[entries++] = rows[i];
    }
    return entries;
}
