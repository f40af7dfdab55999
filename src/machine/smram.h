/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SMRAM: what of RAM only processors in system management mode see, by the host
 * bridge's registers SMRAM and ESMRAMC (Intel 3 Series Express Chipset data sheet,
 * 5.1.26 and 5.1.27).
 */
#ifndef MACHINE_SMRAM_H
#define MACHINE_SMRAM_H

#include "memory.h"

enum {
    SMRAM_LOCK = 1 << 4, SMRAM_OPEN = 1 << 6, SMRAM_ENABLE = 1 << 3, SMRAM_CLOSED = 1 << 5,
    SMRAM_RESET = 0x02,         /* the segment's place, which can't be chosen */
    ESMRAMC_HIGH = 1 << 7, ESMRAMC_TSEG_SIZE = 3 << 1, ESMRAMC_TSEG = 1 << 0,
    ESMRAMC_RESET = 0x38,       /* not cached */
};

struct smram;

/* ram: host memory; mapped from 1 MiB to low_end, and not at 0xa0000. */
struct smram *smram_new(struct memory *mem, struct ram_block *ram, uint64_t low_end);
void smram_free(struct smram *smram);

/* The registers say something new.  Machine lock held; any thread. */
void smram_update(struct smram *smram, uint8_t smram_register, uint8_t esmramc);

#endif
