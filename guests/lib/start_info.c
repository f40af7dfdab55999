/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The start of C, and what the loader handed over.
 * Source: Xen public/arch-x86/hvm/start_info.h (struct hvm_start_info, version 1).
 */
#include "guest.h"

enum { START_MAGIC = 0x336ec578 };

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp;
    uint64_t memory_map;                /* from version 1 on */
    uint32_t memory_map_entries, reserved;
};

extern uint32_t start_info_address;

static const struct start_info *start_info(void)
{
    return (const struct start_info *)(uintptr_t)start_info_address;
}

void guest_start(void);

void guest_start(void)
{
    console_init();
    if (start_info()->magic != START_MAGIC) {
        print("no start info: magic 0x%x\n", start_info()->magic);
        check(false, "start info");
        finish();
    }
    interrupts_init();
    guest_main();
    finish();
}

const char *command_line(void)
{
    uint64_t address = start_info()->command_line;

    return address ? (const char *)address : "";
}

bool has_word(const char *word)
{
    size_t length = strlen(word);

    for (const char *s = command_line(); *s;) {
        const char *end = s;

        while (*end && *end != ' ')
            end++;
        if ((size_t)(end - s) == length && !memcmp(s, word, length))
            return true;
        s = *end ? end + 1 : end;
    }
    return false;
}

unsigned memory_map(const struct memory_range **ranges)
{
    if (start_info()->version < 1)
        return 0;
    *ranges = (const struct memory_range *)start_info()->memory_map;
    return start_info()->memory_map_entries;
}

uint64_t rsdp_address(void)
{
    return start_info()->rsdp;
}
