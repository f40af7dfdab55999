/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What firmware for SEV guests says of itself (OVMF's table of GUIDs at the image's end),
 * and the table of hashes that it checks a kernel against.
 */
#ifndef MACHINE_SEV_FIRMWARE_H
#define MACHINE_SEV_FIRMWARE_H

#include "boot.h"

enum sev_firmware_entry {
    SEV_FIRMWARE_RESET,         /* where other processors of a SEV-ES guest start */
    SEV_FIRMWARE_SECRET,        /* where it looks for the owner's secret */
    SEV_FIRMWARE_HASHES,        /* where it looks for the table of hashes */
};

/*
 * sev_firmware_find - the bytes of an entry, at least `size`; NULL: it has no such entry.  Never
 * outside the image, whatever that holds.
 */
const uint8_t *sev_firmware_find(const uint8_t *image, uint64_t image_size,
                                 enum sev_firmware_entry entry, unsigned size);

/* An entry that names a piece of low RAM. False: there is none, or it is empty. */
bool sev_firmware_area(const uint8_t *image, uint64_t image_size, enum sev_firmware_entry entry,
                       uint64_t *ret_gpa, uint64_t *ret_size);

/* Of -kernel, -initrd and -append: SHA-256 each, as QEMU lays it out. */
enum { SEV_HASHES_SIZE = 176 };
bool sev_firmware_hashes(struct boot *boot, uint8_t table[SEV_HASHES_SIZE], GError **error);

#endif
