/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two halves of the memory device know of one another. */
#ifndef DEVICES_VIRTIO_MEM_H
#define DEVICES_VIRTIO_MEM_H

#include "virtio_devices.h"

#include "discard.h"
#include "range.h"

struct virtio_mem {
    struct virtio v;            /* first */
    /* Properties; memaddr and block_size are settled by realize(). */
    char *memdev;
    uint64_t memaddr, block_size, requested_size;
    uint64_t size;              /* plugged */
    uint32_t node;
    bool prealloc, dynamic_memslots;
    enum on_off_auto unplugged_inaccessible;

    struct ram_block *block;
    struct ram_discard_source *source;
    uint64_t region_size, usable_size;
    char *path;
};

static inline struct virtio_mem *to_virtio_mem(struct virtio *v)
{
    return (struct virtio_mem *)v;
}

/* --- virtio_mem_requests.c --- */

extern const struct virtio_class virtio_mem_class;

/* The configuration as the driver reads it. Machine lock held, as for the next two. */
void virtio_mem_update_config(struct virtio_mem *vm);
/* What the driver may use follows what is requested. */
void virtio_mem_resize_usable(struct virtio_mem *vm, bool may_shrink);
/*
 * The size is what it was, or a new one that is told to whoever asked.  all: everything was
 * to be unplugged, and what is usable may shrink, of which a driver isn't told else.
 */
void virtio_mem_set_size(struct virtio_mem *vm, uint64_t size, bool all);
/*
 * What is plugged afterwards: 0, or what couldn't be freed.  The worker, or any thread while
 * it rests.
 */
uint64_t virtio_mem_unplug_all(struct virtio_mem *vm);

#endif
