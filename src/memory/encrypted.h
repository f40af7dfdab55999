/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of a SEV guest (sev_client.h): what was loaded becomes its cipher text, in
 * place, before it runs; docs/sev.md says in which order it is measured.
 */
#ifndef MEMORY_ENCRYPTED_H
#define MEMORY_ENCRYPTED_H

#include "memory.h"

/*
 * memory_encrypt - a piece of RAM or ROM, of whole 16-byte blocks, is encrypted and measured
 * now, ahead of what memory_launch() does with all that was loaded.  Once for each piece.
 */
bool memory_encrypt(struct memory *mem, uint64_t gpa, uint64_t size, GError **error);

/* The owner's packet goes to gpa, which is private. After memory_launch(), before the guest runs. */
bool memory_inject_secret(struct memory *mem, uint64_t gpa, GBytes *header, GBytes *data,
                          GError **error);

/* The sentence, and what KVM (-errno) or the firmware (its code, with -EIO) say. */
void error_set_sev(GError **error, int ret, uint32_t fw, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

#endif
