/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Linux bzImage: what its header says, checked against the file.  Works on a buffer
 * and touches nothing else.
 */
#ifndef MACHINE_BZIMAGE_H
#define MACHINE_BZIMAGE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BOOT_PARAMS_SIZE = 4096 };

struct bzimage {
    size_t payload_offset;      /* of the protected-mode part in the file */
    size_t payload_size;
    size_t header_size;         /* of the setup header, from offset 0x1f1 on */
    uint64_t end;               /* no address from LAYOUT_HIGH_MEMORY to here may be used */
    uint64_t initrd_max;        /* last address that the initrd may take */
    uint32_t cmdline_max;       /* without the final zero */
};

/* Does this look like one?  (Then only bzimage_parse() can say what is wrong with it.) */
bool bzimage_is(const uint8_t *file, size_t size);
/* All of *ret is consistent with size, without wrapping.  False: what is wrong with the file. */
bool bzimage_parse(const uint8_t *file, size_t size, struct bzimage *ret, GError **error);

/* What the loader decided. */
struct bzimage_boot {
    uint32_t cmdline, initrd, initrd_size;
    uint64_t rsdp;
    const struct memory_range *map;
    unsigned map_entries;
};
/* The boot_params page ("zero page") for this file. */
void bzimage_boot_params(const struct bzimage *image, const uint8_t *file,
                         const struct bzimage_boot *boot, uint8_t params[BOOT_PARAMS_SIZE]);

#endif
