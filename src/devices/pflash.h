/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Flash memory for firmware: a parallel NOR chip with Intel's command set, 8 bits wide
 * (JEDEC JESD68.01, "Common Flash Interface"; Intel 28F640J5 data sheet, "Command
 * definitions"), whose content is a disk image.
 *
 * The guest reads it as ROM.  A write is a command: then the slot goes away and reads
 * come here, until "read array".
 */
#ifndef DEVICES_PFLASH_H
#define DEVICES_PFLASH_H

#include "bus.h"
#include "disk.h"
#include "memory.h"

enum { PFLASH_SECTOR = 4096 };

struct pflash;

/*
 * block: read-only, with the image's bytes, mapped at gpa as a whole.  node: claimed by
 * the caller, as long as the block; outlives the chip.  NULL: something else is at gpa.
 */
struct pflash *pflash_new(struct bus *bus, struct memory *mem, struct ram_block *block,
                          uint64_t gpa, struct disk *node, GError **error);
void pflash_free(struct pflash *flash);
/* To reading; the content stays.  No vCPU runs, or the machine lock is held. */
void pflash_reset(struct pflash *flash);

#endif
