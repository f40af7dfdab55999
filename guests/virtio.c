/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A driver for a virtio disk that shares what the device shall reach: a ring and
 * buffers in shared pages work; a private buffer fails its request, a private ring stops
 * the device until it is reset.
 */
#include "virtio.h"

enum {
    SHARED_RING = 0x900000, SHARED_DATA = 0x901000, PRIVATE_RING = 0x902000,
    PRIVATE_DATA = 0x903000,
    SECTOR = 512, OP_READ = 0, OP_WRITE = 1,
    HEADER = 0x800, STATUS_BYTE = 0x810,        /* in the data page, behind the data */
};

struct header {
    uint32_t type, reserved;
    uint64_t sector;
};

static uint64_t ring;

static bool start(uint64_t ring_page)
{
    ring = ring_page;
    return virtio_start(ring);
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
    return virtio_submit() ? *byte : -1;
}

static void fill(uint64_t page, uint8_t seed)
{
    static const char text[] = "written by the guest";
    uint8_t *bytes = (uint8_t *)(uintptr_t)page;

    for (unsigned i = 0; i < SECTOR; i++)
        bytes[i] = i + seed;
    memcpy(bytes, text, sizeof(text));
}

void guest_main(void)
{
    const uint64_t result = SHARED_DATA + STATUS_BYTE;
    uint8_t *data = (uint8_t *)SHARED_DATA;
    int stopped;

    check(virtio_find(VIRTIO_ID_BLOCK), "a disk");
    virtio_share(SHARED_RING);
    virtio_share(SHARED_DATA);
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
