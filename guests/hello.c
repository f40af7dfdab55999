/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smallest guest: a banner, what the loader says, and off. */
#include "guest.h"

void guest_main(void)
{
    const struct memory_range *ranges = NULL;
    unsigned count = memory_map(&ranges);
    uint64_t ram = 0;

    print("Hello from a guest of cloister.\n");
    print("command line: \"%s\"\n", command_line());
    for (unsigned n = 0; n < count; n++) {
        print("memory 0x%016lx+0x%lx type %u\n", ranges[n].address, ranges[n].size,
              ranges[n].type);
        if (ranges[n].type == 1)
            ram += ranges[n].size;
    }
    print("RAM: %lu KiB in %u ranges\n", ram >> 10, count);
    check(ram >= 8 << 20, "memory map");
}
