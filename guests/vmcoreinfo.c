/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes the fw_cfg file etc/vmcoreinfo by DMA: where its note for crash dumps is, as a
 * kernel does, and then all sorts of things that aren't so.  After each it says
 * "step N: NAME" and waits for a key, so that somebody can make a dump; with "wait" on the
 * command line before all that.
 */
#include "guest.h"

enum {
    PORT_DMA = 0x514, KEY_FILES = 0x19, KEY_SIGNATURE = 0, MAX_FILES = 64,
    DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16,
};

struct dma {
    uint32_t control, size;
    uint64_t gpa;
};

struct file {
    uint32_t size;
    uint16_t key, reserved;
    char name[56];
};

struct info {
    uint16_t host_format, guest_format;
    uint32_t size;
    uint64_t gpa;
};

static struct note {
    uint32_t name_size, size, type;
    char name[12];
    char text[64];
} note __attribute__((aligned(4096))) = {
    11, 57, 0, "VMCOREINFO", "OSRELEASE=1.2-bare\nPAGESIZE=4096\nNUMBER(phys_base)=-8192\n",
};

static struct note forged = { 5, 64, 1, "CORE", "what the host says of a CPU\n" };
static struct note endless = { 11, 0xfffffff0, 0, "VMCOREINFO", "OSRELEASE=no\n" };

static const struct {
    const char *name;
    uint16_t format;
    uint32_t size;
    uint64_t gpa;               /* 0: of the note */
} steps[] = {
    { "good", 1, sizeof(note), 0 },
    { "nothing", 0, sizeof(note), 0 },
    { "format", 7, sizeof(note), 0 },
    { "nowhere", 1, sizeof(note), 1ULL << 50 },
    { "end of the address space", 1, sizeof(note), UINT64_MAX - 16 },
    { "device", 1, sizeof(note), 0xb0000000 },
    { "huge", 1, UINT32_MAX, 0 },
    { "larger than RAM", 1, 1 << 20, (64 << 20) - 4096 },
    { "short", 1, 8, 0 },
    { "no size", 1, 0, 0 },
    { "another note", 1, sizeof(forged), (uint64_t)(uintptr_t)&forged },
    { "endless", 1, sizeof(endless), (uint64_t)(uintptr_t)&endless },
    { "good again", 1, sizeof(note), 0 },
};

/* True: done; false: the error bit. */
static bool transfer(uint32_t control, void *data, uint32_t size)
{
    volatile struct dma dma = {
        __builtin_bswap32(control), __builtin_bswap32(size),
        __builtin_bswap64((uint64_t)(uintptr_t)data),
    };
    uint64_t at = (uint64_t)(uintptr_t)&dma;

    out32(PORT_DMA, __builtin_bswap32((uint32_t)(at >> 32)));
    out32(PORT_DMA + 4, __builtin_bswap32((uint32_t)at));
    return dma.control == 0;
}

static uint32_t selecting(uint16_t key, uint32_t command)
{
    return (uint32_t)key << 16 | DMA_SELECT | command;
}

static uint16_t find(const char *name)
{
    static struct {
        uint32_t count;
        struct file files[MAX_FILES];
    } dir;

    transfer(selecting(KEY_FILES, DMA_READ), &dir, sizeof(dir));
    for (unsigned n = 0; n < __builtin_bswap32(dir.count) && n < MAX_FILES; n++) {
        if (!memcmp(dir.files[n].name, name, strlen(name) + 1))
            return __builtin_bswap16(dir.files[n].key);
    }
    return 0;
}

/* What isn't the guest's to write, or isn't all there. */
static void check_refusals(uint16_t key)
{
    struct info info[2] = { { 0 } };
    uint32_t signature = 0;

    check(!transfer(selecting(key, DMA_WRITE), info, sizeof(info)), "past the end is refused");
    check(transfer(selecting(key, DMA_SKIP), info, 8) && transfer(DMA_WRITE, info, 8),
          "a part of it");
    check(!transfer(DMA_WRITE, info, 1), "past the end after a part is refused");
    check(!transfer(selecting(KEY_SIGNATURE, DMA_WRITE), &signature, 4),
          "the signature isn't for writing");
    transfer(selecting(KEY_SIGNATURE, DMA_READ), &signature, 4);
    check(signature == 0x554d4551, "the signature");
    check(!transfer(selecting(key, DMA_WRITE), (void *)(1ULL << 50), sizeof(*info)),
          "from nowhere is refused");
    check(!transfer(selecting(0x7fff, DMA_WRITE), info, 1), "no such item");
}

void guest_main(void)
{
    struct info info = { 0 };
    uint16_t key;

    if (has_word("wait")) {
        print("waiting for a key\n");
        console_wait();
    }
    key = find("etc/vmcoreinfo");
    check(key, "etc/vmcoreinfo is there");
    check_refusals(key);
    for (unsigned n = 0; key && n < sizeof(steps) / sizeof(steps[0]); n++) {
        info = (struct info){ 0, steps[n].format, steps[n].size,
                              steps[n].gpa ? steps[n].gpa : (uint64_t)(uintptr_t)&note };
        check(transfer(selecting(key, DMA_WRITE), &info, sizeof(info)), "%s", steps[n].name);
        transfer(selecting(key, DMA_READ), &info, sizeof(info));
        check(info.host_format == 1 && info.guest_format == steps[n].format, "what is read back");
        print("step %u: %s\nwaiting for a key\n", n, steps[n].name);
        console_wait();
    }
}
