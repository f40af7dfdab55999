/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A driver for a virtio disk (virtio 1.2) that shares what the device shall reach:
 * a ring and buffers in shared pages work; a private buffer fails its request, a
 * private ring stops the device until it is reset.
 *
 * Registers are reached through the device's window in configuration space, so by IN
 * and OUT alone.  Nothing is waited for by interrupt.
 */
#include "guest.h"

enum {
    CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc, ADDRESS_ENABLE = 1u << 31,
    VIRTIO_BLK = 0x10421af4, COMMAND = 4, COMMAND_MASTER = 4, CAPABILITIES = 0x34,
    CAP_VENDOR = 9, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_DATA = 16,
    TYPE_COMMON = 1, TYPE_NOTIFY = 2, TYPE_WINDOW = 5,
};

/* Common configuration. */
enum {
    FEATURE_SELECT = 0, FEATURE = 4, DRIVER_SELECT = 8, DRIVER_FEATURE = 12, STATUS = 20,
    QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_ENABLE = 28, QUEUE_DESC = 32, QUEUE_DRIVER = 40,
    QUEUE_DEVICE = 48,
    ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 0x40,
    VERSION_1 = 1, ACCESS_PLATFORM = 2,         /* bits 32 and 33 */
};

enum {
    PAGE = 4096, SHARED_RING = 0x900000, SHARED_DATA = 0x901000, PRIVATE_RING = 0x902000,
    PRIVATE_DATA = 0x903000,
    RING_SIZE = 8, DESC_NEXT = 1, DESC_WRITE = 2, AVAILABLE = 0x200, USED = 0x400,
    SECTOR = 512, OP_READ = 0, OP_WRITE = 1,
    HEADER = 0x800, STATUS_BYTE = 0x810,        /* in the data page, behind the data */
};

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

static uint32_t device;                         /* its configuration address */
static unsigned window, common, notify, bar;
static uint64_t ring;
static uint16_t submitted;

static uint32_t config_read(unsigned offset)
{
    out32(CONFIG_ADDRESS, device | offset);
    return in32(CONFIG_DATA);
}

static void config_write(unsigned offset, uint32_t value)
{
    out32(CONFIG_ADDRESS, device | offset);
    out32(CONFIG_DATA, value);
}

static uint8_t config_byte(unsigned offset)
{
    return config_read(offset & ~3u) >> (offset & 3) * 8;
}

static void aim(unsigned offset, unsigned size)
{
    config_write(window + CAP_BAR, bar);
    config_write(window + CAP_OFFSET, offset);
    config_write(window + CAP_LENGTH, size);
}

static uint32_t reg_read(unsigned offset, unsigned size)
{
    aim(offset, size);
    return config_read(window + CAP_DATA);
}

static void reg_write(unsigned offset, unsigned size, uint32_t value)
{
    aim(offset, size);
    config_write(window + CAP_DATA, value);
}

static void reg_write64(unsigned offset, uint64_t value)
{
    reg_write(offset, 4, (uint32_t)value);
    reg_write(offset + 4, 4, value >> 32);
}

static bool find_device(void)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        device = ADDRESS_ENABLE | slot << 11;
        if (config_read(0) == VIRTIO_BLK)
            return true;
    }
    return false;
}

static void read_capabilities(void)
{
    for (unsigned at = config_byte(CAPABILITIES); at; at = config_byte(at + 1)) {
        if (config_byte(at) != CAP_VENDOR)
            continue;
        switch (config_byte(at + CAP_TYPE)) {
        case TYPE_COMMON:
            common = config_read(at + CAP_OFFSET);
            bar = config_byte(at + CAP_BAR);
            break;
        case TYPE_NOTIFY:
            notify = config_read(at + CAP_OFFSET);
            break;
        case TYPE_WINDOW:
            window = at;
            break;
        }
    }
}

static uint8_t status(void)
{
    return reg_read(common + STATUS, 1);
}

/* From a reset to DRIVER_OK with a ring there. */
static bool start(uint64_t ring_page)
{
    reg_write(common + STATUS, 1, 0);
    while (status())
        cpu_pause();
    ring = ring_page;
    submitted = 0;
    memset((void *)(uintptr_t)ring, 0, PAGE);
    reg_write(common + STATUS, 1, ACKNOWLEDGE | DRIVER);
    reg_write(common + FEATURE_SELECT, 4, 1);
    reg_write(common + DRIVER_SELECT, 4, 1);
    reg_write(common + DRIVER_FEATURE, 4,
              reg_read(common + FEATURE, 4) & (VERSION_1 | ACCESS_PLATFORM));
    reg_write(common + STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(status() & FEATURES_OK))
        return false;
    reg_write(common + QUEUE_SELECT, 2, 0);
    reg_write(common + QUEUE_SIZE, 2, RING_SIZE);
    reg_write64(common + QUEUE_DESC, ring);
    reg_write64(common + QUEUE_DRIVER, ring + AVAILABLE);
    reg_write64(common + QUEUE_DEVICE, ring + USED);
    reg_write(common + QUEUE_ENABLE, 2, 1);
    reg_write(common + STATUS, 1, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return true;
}

static void kick(void)
{
    volatile uint16_t *available = (volatile uint16_t *)(uintptr_t)(ring + AVAILABLE);

    available[2 + submitted % RING_SIZE] = 0;
    __asm__ volatile("" : : : "memory");
    available[1] = ++submitted;
    reg_write(notify, 2, 0);
}

/* True: given back; false: the device has stopped. */
static bool wait_used(void)
{
    volatile uint16_t *used = (volatile uint16_t *)(uintptr_t)(ring + USED);

    while (used[1] != submitted) {
        if (status() & NEEDS_RESET)
            return false;
    }
    return true;
}

/* One sector between the disk and a page, the status byte elsewhere; 0xff: none came. */
static int request(uint32_t type, uint64_t sector, uint64_t data, uint64_t result)
{
    struct descriptor *table = (struct descriptor *)(uintptr_t)ring;
    struct header *header = (struct header *)(uintptr_t)(SHARED_DATA + HEADER);
    volatile uint8_t *byte = (volatile uint8_t *)(uintptr_t)result;

    *header = (struct header){ type, 0, sector };
    *byte = 0xff;
    table[0] = (struct descriptor){ (uintptr_t)header, sizeof(*header), DESC_NEXT, 1 };
    table[1] = (struct descriptor){ data, SECTOR, DESC_NEXT | (type == OP_READ ? DESC_WRITE : 0),
                                    2 };
    table[2] = (struct descriptor){ result, 1, DESC_WRITE, 0 };
    kick();
    return wait_used() ? *byte : -1;
}

static void fill(uint64_t page, uint8_t seed)
{
    static const char text[] = "written by the guest";
    uint8_t *bytes = (uint8_t *)(uintptr_t)page;

    for (unsigned i = 0; i < SECTOR; i++)
        bytes[i] = i + seed;
    memcpy(bytes, text, sizeof(text));
}

static void share(uint64_t page)
{
    share_page(page);
    memset((void *)(uintptr_t)page, 0, PAGE);
}

void guest_main(void)
{
    const uint64_t result = SHARED_DATA + STATUS_BYTE;
    uint8_t *data = (uint8_t *)SHARED_DATA;
    int stopped;

    check(find_device(), "a disk");
    read_capabilities();
    config_write(COMMAND, COMMAND_MASTER);
    share(SHARED_RING);
    share(SHARED_DATA);
    check(start(SHARED_RING), "features");
    fill(SHARED_DATA, 3);
    print("write: %d\n", request(OP_WRITE, 1, SHARED_DATA, result));
    memset(data, 0, SECTOR);
    print("read: %d\n", request(OP_READ, 1, SHARED_DATA, result));
    check(data[100] == 103 && memcmp(data, "written", 7) == 0, "the same bytes");
    print("beyond the end: %d\n", request(OP_READ, 1 << 30, SHARED_DATA, result));
    fill(PRIVATE_DATA, 9);
    print("private data: %d\n", request(OP_WRITE, 2, PRIVATE_DATA, result));
    print("private buffer to read into: %d\n", request(OP_READ, 1, PRIVATE_DATA, result));
    print("private status: %d\n", request(OP_READ, 1, SHARED_DATA, PRIVATE_DATA));
    print("shared again: %d\n", request(OP_READ, 1, SHARED_DATA, result));
    check(start(PRIVATE_RING), "reset");
    stopped = request(OP_READ, 1, SHARED_DATA, result);
    print("private ring: %d\n", stopped);
    check(start(SHARED_RING), "reset");
    print("after the reset: %d\n", request(OP_READ, 1, SHARED_DATA, result));
}
