/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An option ROM with a bootstrap entry vector (BIOS Boot Specification 1.01, 3.3; Plug
 * and Play BIOS Specification 1.0a, 3.2).  Its code gives fw_cfg's DMA interface four
 * commands that stand ready in it (setup, kernel, command line, initrd) and goes to the
 * kernel's 16-bit entry (Linux's Documentation/arch/x86/boot.rst).
 */
#include "linuxboot.h"

#include "error.h"
#include "layout.h"

#include <string.h>

enum {
    ROM_SIZE = 512, ROM_PNP_POINTER = 0x1a, ROM_PNP = 0x20, ROM_CODE = 0x40, ROM_COMMANDS = 0xa0,
    PNP_SIZE = 32, PNP_CHECKSUM = 9, PNP_BEV = 0x1a,
};

/* Where things go; the code has the first two in it. */
enum { SETUP = 0x10000, SETUP_STACK = 0xfff0, SETUP_MAX = 0x8200, CMDLINE = 0x20000, CMDLINE_MAX = 0x10000 };
/* SeaBIOS's own tables are at the end of RAM. */
#define FIRMWARE_RAM (160 * KIB)

enum {
    HDR_TYPE_OF_LOADER = 0x210, HDR_LOADFLAGS = 0x211, HDR_RAMDISK_IMAGE = 0x218,
    HDR_RAMDISK_SIZE = 0x21c, HDR_HEAP_END = 0x224, HDR_CMD_LINE_PTR = 0x228,
    LOADER_QEMU = 0xb0, CAN_USE_HEAP = 0x80,
};

static const uint8_t code[] = {
    0x0e, 0x1f,                         /*       push %cs; pop %ds */
    0x66, 0x31, 0xc0, 0x8e, 0xc0,       /*       xor %eax, %eax; mov %ax, %es */
    0xfc,                               /*       cld */
    0xbe, ROM_COMMANDS, 0x00,           /*       mov $commands, %si */
    0xbf, 0x00, 0x7c,                   /* next: mov $0x7c00, %di: free RAM before a boot */
    0xb9, 0x08, 0x00, 0xf3, 0xa5,       /*       mov $8, %cx; rep movsw */
    0x66, 0x31, 0xc0,                   /*       xor %eax, %eax */
    0xba, 0x14, 0x05, 0x66, 0xef,       /*       mov $0x514, %dx; out %eax, %dx */
    0xba, 0x18, 0x05,                   /*       mov $0x518, %dx */
    0x66, 0xb8, 0x00, 0x00, 0x7c, 0x00, /*       mov $0x7c0000, %eax: 0x7c00, big-endian */
    0x66, 0xef,                         /*       out %eax, %dx: done when it returns */
    0x26, 0x66, 0x83, 0x3e, 0x00, 0x7c, 0x00,   /* cmpl $0, %es:0x7c00 */
    0x75, 0x1f,                         /*       jne fail */
    0x81, 0xfe, ROM_COMMANDS + 64, 0x00,        /* cmp $end of commands, %si */
    0x72, 0xd6,                         /*       jb next */
    0xfa,                               /*       cli */
    0xb8, SETUP >> 4 & 0xff, SETUP >> 12,       /* mov $0x1000, %ax */
    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8, 0x8e, 0xd0,         /* to ds, es, fs, gs, ss */
    0x66, 0xbc, 0xf0, 0xff, 0x00, 0x00, /*       mov $0xfff0, %esp */
    0xea, 0x00, 0x00, 0x20, 0x10,       /*       ljmp $0x1020, $0 */
    0xcd, 0x18,                         /* fail: int $0x18: the next device */
};
G_STATIC_ASSERT(ROM_CODE + sizeof(code) <= ROM_COMMANDS);

static uint8_t checksum(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;

    while (size--)
        sum += *bytes++;
    return -sum;
}

static void put_le(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (; bytes--; value >>= 8)
        *at++ = value;
}

/* Select an item and read all of it. */
static void put_command(uint8_t *at, uint16_t key, uint32_t size, uint64_t gpa)
{
    enum { SELECT_AND_READ = 8 | 2 };
    uint32_t control = GUINT32_TO_BE((uint32_t)key << 16 | SELECT_AND_READ);

    size = GUINT32_TO_BE(size);
    gpa = GUINT64_TO_BE(gpa);
    memcpy(at, &control, 4);
    memcpy(at + 4, &size, 4);
    memcpy(at + 8, &gpa, 8);
}

static void make_rom(uint8_t *rom, const struct linuxboot *boot, uint64_t initrd)
{
    uint8_t *pnp = rom + ROM_PNP, *commands = rom + ROM_COMMANDS;

    memcpy(rom, "\x55\xaa\x01\xcb", 4);         /* 512 bytes; to be initialised: retf */
    put_le(rom + ROM_PNP_POINTER, ROM_PNP, 2);
    memcpy(pnp, "$PnP\x01", 5);
    pnp[5] = PNP_SIZE / 16;
    put_le(pnp + PNP_BEV, ROM_CODE, 2);
    pnp[PNP_CHECKSUM] = checksum(pnp, PNP_SIZE);
    memcpy(rom + ROM_CODE, code, sizeof(code));
    put_command(commands, FW_CFG_SETUP_DATA, boot->image->payload_offset, SETUP);
    put_command(commands + 16, FW_CFG_KERNEL_DATA, boot->image->payload_size, LAYOUT_HIGH_MEMORY);
    put_command(commands + 32, FW_CFG_CMDLINE_DATA, boot->cmdline_size, CMDLINE);
    put_command(commands + 48, FW_CFG_INITRD_DATA, boot->initrd_size, initrd);
    rom[ROM_SIZE - 1] = checksum(rom, ROM_SIZE - 1);
}

/* As a boot loader does: the header's fields of protocol 2.02 and later. */
static void fill_setup(const struct linuxboot *boot, uint64_t initrd)
{
    uint8_t *setup = boot->setup;

    setup[HDR_TYPE_OF_LOADER] = LOADER_QEMU;
    setup[HDR_LOADFLAGS] |= CAN_USE_HEAP;
    put_le(setup + HDR_RAMDISK_IMAGE, boot->initrd_size ? initrd : 0, 4);
    put_le(setup + HDR_RAMDISK_SIZE, boot->initrd_size, 4);
    put_le(setup + HDR_HEAP_END, SETUP_STACK - 0x200 - 0x100, 2);
    put_le(setup + HDR_CMD_LINE_PTR, CMDLINE, 4);
}

bool linuxboot_add(struct fw_cfg *fw, const struct linuxboot *boot, GError **error)
{
    static const char order[] = "/rom@genroms/linuxboot.bin";
    uint64_t end = layout_low_ram(boot->ram_size) - FIRMWARE_RAM, initrd;
    uint8_t rom[ROM_SIZE] = { 0 };

    end = MIN(end, boot->image->initrd_max + 1);
    if (boot->cmdline_size > MIN((uint64_t)boot->image->cmdline_max + 1, CMDLINE_MAX)) {
        error_set(error, "-append: %zu characters are too many", boot->cmdline_size - 1);
        return false;
    }
    if (boot->image->payload_offset > SETUP_MAX) {
        error_set(error, "-kernel: its real-mode part is %zu bytes, which is too large: up to %d",
                  boot->image->payload_offset, SETUP_MAX);
        return false;
    }
    if (end < boot->image->end || boot->initrd_size > end - boot->image->end) {
        error_set(error, "-kernel: it and its initrd need more memory: more with -m");
        return false;
    }
    initrd = (end - boot->initrd_size) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    fill_setup(boot, initrd);
    make_rom(rom, boot, initrd);
    return fw_cfg_add_file(fw, "genroms/linuxboot.bin", rom, sizeof(rom), error) &&
           fw_cfg_add_file(fw, "bootorder", order, sizeof(order), error);
}
