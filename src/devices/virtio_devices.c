/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of virtio devices; apart from them, so that tests link those that they need. */
#include "virtio_serial.h"

void virtio_register_devices(void)
{
    device_type_register(&virtio_blk_type);
    device_type_register(&virtio_mem_type);
    device_type_register(&virtio_rng_type);
    device_type_register(&virtio_serial_type);
    device_type_register(&virtconsole_type);
    device_type_register(&virtserialport_type);
}
