/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ELF files with a PVH entry (Linux's vmlinux, bare-metal guests): segments and
 * entry, checked against the file.  Works on a buffer and touches nothing else.
 */
#ifndef MACHINE_ELF_PVH_H
#define MACHINE_ELF_PVH_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ELF_PVH_MAX_SEGMENTS = 64 };

struct elf_segment {
    uint64_t gpa, memory_size;
    uint64_t offset, file_size; /* within the file; the rest of memory_size is zero */
};

struct elf_pvh {
    struct elf_segment segments[ELF_PVH_MAX_SEGMENTS];  /* ascending by gpa, disjoint */
    unsigned nr_segments;
    uint32_t entry;             /* 32-bit, paging off; within a segment */
    uint64_t end;               /* of the highest segment, below 4 GiB */
};

bool elf_pvh_is(const uint8_t *file, size_t size);
/* All of *ret is consistent with size.  False: what is wrong with the file. */
bool elf_pvh_parse(const uint8_t *file, size_t size, struct elf_pvh *ret, GError **error);

struct pvh_boot {
    uint64_t cmdline, initrd, initrd_size, rsdp;
    const struct memory_range *map;
    unsigned map_entries;
};
/* start_info with its module list and memory map behind it, for address gpa; at most a page. */
GByteArray *pvh_start_info(const struct pvh_boot *boot, uint64_t gpa);

#endif
