/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM_HC_MAP_GPA_RANGE with ranges that nobody may convert: each is refused with
 * the ABI's error, and the guest goes on.  Prints what RAX holds; the expected
 * values are in tests/guest/guests.cfg, as they depend on the VM's type.
 */
#include "guest.h"

enum { PAGE = 4096, RAM = 0x800000 };

struct call {
    const char *what;
    uint64_t nr, gpa, pages, attributes;
};

static const struct call calls[] = {
    { "unknown number", 99, 0, 0, 0 },
    { "unaligned", HC_MAP_GPA_RANGE, RAM + 1, 1, MAP_GPA_SHARED },
    { "zero pages", HC_MAP_GPA_RANGE, RAM, 0, MAP_GPA_SHARED },
    { "wrapped", HC_MAP_GPA_RANGE, 0xfffffffffffff000, 2, MAP_GPA_SHARED },
    { "wrapped in bytes", HC_MAP_GPA_RANGE, RAM, 1ULL << 52, MAP_GPA_SHARED },
    { "all pages there are", HC_MAP_GPA_RANGE, 0, UINT64_MAX, MAP_GPA_SHARED },
    { "beyond memory, to shared", HC_MAP_GPA_RANGE, 1ULL << 40, 1, MAP_GPA_SHARED },
    { "beyond memory, to private", HC_MAP_GPA_RANGE, 1ULL << 40, 1, MAP_GPA_PRIVATE },
    { "beyond the address space", HC_MAP_GPA_RANGE, 1ULL << 60, 1, MAP_GPA_SHARED },
    { "device registers, to shared", HC_MAP_GPA_RANGE, 0xfec00000, 1, MAP_GPA_SHARED },
    { "device registers, to private", HC_MAP_GPA_RANGE, 0xfec00000, 1, MAP_GPA_PRIVATE },
    { "across the end of memory", HC_MAP_GPA_RANGE, RAM, 1 << 20, MAP_GPA_PRIVATE },
    { "good, to shared", HC_MAP_GPA_RANGE, RAM, 2, MAP_GPA_SHARED },
    { "good, again", HC_MAP_GPA_RANGE, RAM, 2, MAP_GPA_SHARED },
    { "good, to private", HC_MAP_GPA_RANGE, RAM, 2, MAP_GPA_PRIVATE },
    { "good, size hint 2M", HC_MAP_GPA_RANGE, RAM, 512, MAP_GPA_SHARED | 1 },
    { "good, back", HC_MAP_GPA_RANGE, RAM, 512, MAP_GPA_PRIVATE | 1 },
};

static uint64_t make_call(uint64_t index)
{
    const struct call *call = &calls[index];

    return (uint64_t)hypercall(call->nr, call->gpa, call->pages, call->attributes);
}

void guest_main(void)
{
    volatile uint64_t *memory = (uint64_t *)(uintptr_t)RAM;

    for (unsigned n = 0; n < sizeof(calls) / sizeof(calls[0]); n++) {
        last_fault.happened = false;
        print("%s: %ld\n", calls[n].what, (int64_t)try_call(make_call, n));
        if (last_fault.happened)
            print("vector %u instead\n", last_fault.vector);
    }
    print("from ring 3: %ld\n", (int64_t)ring3_call(make_call, 12));
    *memory = 0x1234567890abcdef;
    check(*memory == 0x1234567890abcdef, "memory afterwards");
}
