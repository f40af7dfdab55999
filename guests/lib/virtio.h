/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A driver of one virtio device (virtio 1.2) with one queue.  Registers are reached
 * through the device's window in configuration space, so by IN and OUT alone.  Nothing is
 * waited for by interrupt.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "guest.h"

enum { VIRTIO_ID_BLOCK = 2, VIRTIO_ID_MEM = 24, VIRTIO_PAGE = 4096 };

enum { DESC_NEXT = 1, DESC_WRITE = 2 };

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

/* The first device of that kind on bus 0, made bus master. False: none. */
bool virtio_find(unsigned id);
/* From a reset to DRIVER_OK with the ring in that page, whose descriptors are at its beginning. */
bool virtio_start(uint64_t ring_page);
/* Give descriptor 0's chain to the device. True: it came back; false: the device has stopped. */
bool virtio_submit(void);
/* Bytes that the device says it wrote into the last one. */
uint32_t virtio_used_length(void);
/* The device's own configuration, 4 bytes at an offset. */
uint32_t virtio_config(unsigned offset);
/* Memory of the guest's own that devices reach: zeroes. */
void virtio_share(uint64_t page);

#endif
