/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtio devices that there are. */
#ifndef DEVICES_VIRTIO_DEVICES_H
#define DEVICES_VIRTIO_DEVICES_H

#include "virtio.h"

/* Members of a device_type that are the same for all of them. */
#define VIRTIO_DEVICE_OPS                                                                       \
    .request_unplug = pci_device_request_unplug, .reset = virtio_system_reset,                  \
    .pause = virtio_pause, .resume = virtio_resume, .dma = virtio_dma,                   \
    .describe = virtio_describe

extern const struct device_type virtio_blk_type, virtio_mem_type, virtio_rng_type,
    virtio_serial_type;

/* Make all of them known to -device. */
void virtio_register_devices(void);

#endif
