/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entropy device (virtio 1.2, 5.4): buffers are filled with the host's random bytes. */
#include "virtio_devices.h"

#include <sys/random.h>

enum { CHUNK = 256, REQUEST_MAX = 64 * 1024 };

static uint32_t fill(struct virtio *v, struct virtio_request *request)
{
    uint64_t size = MIN(request->in_size, REQUEST_MAX), done = 0;
    uint8_t bytes[CHUNK];

    while (done < size) {
        /* Up to 256 bytes come at once, without being interrupted (getrandom(2)). */
        ssize_t n = getrandom(bytes, MIN(size - done, CHUNK), 0);

        if (n <= 0 || !virtio_write(v, request, done, bytes, (uint64_t)n))
            break;
        done += (uint64_t)n;
    }
    return done;
}

static void work(struct virtio *v)
{
    while (virtio_serve(v, 0, fill))
        ;
}

static const struct virtio_class rng_class = {
    .name = "virtio-rng", .id = VIRTIO_ID_RNG, .pci_class = 0x00ff, .work = work,
};

static bool realize(struct device *dev, GError **error)
{
    struct virtio *v = to_virtio(dev);

    v->class = &rng_class;
    v->nr_queues = 1;
    return virtio_realize(v, error);
}

static void unrealize(struct device *dev)
{
    virtio_unrealize(to_virtio(dev));
}

const struct device_type virtio_rng_type = {
    .name = "virtio-rng-pci", .help = "random numbers of the host", .bus_type = "PCI",
    .size = sizeof(struct virtio),
    .properties = (const struct property *const[]){ pci_device_properties, virtio_properties, NULL },
    .init = virtio_init, .realize = realize, .unrealize = unrealize, VIRTIO_DEVICE_OPS,
};
