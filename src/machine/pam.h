/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host bridge's Programmable Attribute Map: whether the guest sees RAM or the
 * firmware's ROM in each piece of 0xc0000 to 0xfffff (Intel 3 Series Express Chipset
 * data sheet, 5.1.13 to 5.1.19).
 */
#ifndef MACHINE_PAM_H
#define MACHINE_PAM_H

#include "memory.h"

enum { PAM_REGISTERS = 7, PAM_WRITABLE = 0x33, PAM_WRITABLE_FIRST = 0x30 };
#define PAM_START 0xc0000ULL
#define PAM_END   0x100000ULL

struct pam;

/*
 * ram: mapped from address 0 on, but not here; bios: its end is what is seen below
 * 1 MiB, its last 128 KiB at most.  Neither has a guest_memfd.
 */
struct pam *pam_new(struct memory *mem, struct ram_block *ram, struct ram_block *bios);
void pam_free(struct pam *pam);

/* The registers say something new.  Machine lock held; any thread. */
void pam_update(struct pam *pam, const uint8_t registers[PAM_REGISTERS]);

#endif
