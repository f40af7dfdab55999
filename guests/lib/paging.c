/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes to the identity map that start.S made. */
#include "guest.h"

enum { TABLES = 8, ENTRY = 0x7 };

extern uint64_t page_directories[];

static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
static unsigned used;

uint64_t *split_large_page(uint64_t address)
{
    uint64_t *table, base = address & ~0x1fffffULL;

    if (used == TABLES) {
        check(false, "page tables left");
        finish();
    }
    table = tables[used++];
    for (unsigned n = 0; n < 512; n++)
        table[n] = (base + 4096 * n) | ENTRY;
    page_directories[address >> 21] = (uint64_t)table | ENTRY;
    for (unsigned n = 0; n < 512; n++)
        flush_page(base + 4096 * n);
    return table;
}
