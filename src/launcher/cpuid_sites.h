/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a program's code has the CPUID instruction. */
#ifndef LAUNCHER_CPUID_SITES_H
#define LAUNCHER_CPUID_SITES_H

#include <stddef.h>
#include <stdint.h>

/*
 * The first in [from, end) of 64-bit code that starts at start; NULL: none.  Its two
 * bytes also occur inside of other instructions: only where decoding from several places
 * before comes to the same boundary it is one.  One that isn't sure is passed over.
 */
const uint8_t *cpuid_site(const uint8_t *start, const uint8_t *from, const uint8_t *end);

#endif
