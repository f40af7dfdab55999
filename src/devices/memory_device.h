/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices that are memory: where they go in the region that -m maxmem= makes, and
 * what they hold together.  Main thread.
 */
#ifndef DEVICES_MEMORY_DEVICE_H
#define DEVICES_MEMORY_DEVICE_H

#include "device.h"

/*
 * An address for size bytes: *gpa if that isn't 0, else the lowest that is free.  A
 * multiple of align.  False: there is none, QEMU's words.
 */
bool memory_device_place(struct devices *all, uint64_t size, uint64_t align, uint64_t *gpa,
                         GError **error);

struct memory_device_sums {
    uint64_t plugged, max;      /* bytes */
};
struct memory_device_sums memory_device_sums(struct devices *all);

#endif
