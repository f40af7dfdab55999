/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading a kernel into guest memory, and the registers with which it starts.
 * Files are opened once; loading again (reset) reads them again.
 */
#ifndef MACHINE_BOOT_H
#define MACHINE_BOOT_H

#include "acpi.h"
#include "memory.h"

struct boot;

/* Opens the files and looks whether they can be loaded at all. initrd, append may be NULL. */
struct boot *boot_open(const char *kernel, const char *initrd, const char *append, GError **error);
void boot_close(struct boot *boot);

/* The files' bytes for firmware that loads them itself; the caller frees. No initrd: nothing is set. */
bool boot_read_kernel(struct boot *boot, uint8_t **data, uint64_t *size, GError **error);
bool boot_read_initrd(struct boot *boot, uint8_t **data, uint64_t *size, GError **error);
const char *boot_cmdline(const struct boot *boot);      /* never NULL */
/* A regular file that isn't empty, up to 1 GiB. */
bool boot_read_file(const char *option, const char *name, uint8_t **data, uint64_t *size,
                    GError **error);

/* How the first vCPU starts: 32-bit protected mode, paging off, flat segments. */
struct boot_entry {
    uint32_t eip, ebx, esi;
};

/*
 * boot_load - ACPI tables, kernel, initrd and what describes them to guest memory,
 * which is all shared at this time.  Errors begin with the option's name.
 */
bool boot_load(struct boot *boot, struct memory *mem, uint64_t ram_size,
               const struct acpi_board *board, struct boot_entry *entry, GError **error);

#endif
