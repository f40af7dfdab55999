/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The common part of virtio devices on PCI (Virtual I/O Device 1.2): registers,
 * negotiation, split rings, and one worker thread a device that serves them, so that
 * no vCPU waits for I/O.
 *
 * A device sees guest memory through virtio_read() and virtio_write() only, which
 * reach shared pages only (docs/memory.md): a request whose buffers are private
 * fails; a ring that is private, or makes no sense, breaks the device
 * (DEVICE_NEEDS_RESET) until the driver resets it.  Both are counted and traced.
 *
 * Locks: the machine lock covers all state; the worker drops it while it serves a
 * request.  idle_lock is below it and covers `serving` for those who wait for that.
 */
#ifndef DEVICES_VIRTIO_H
#define DEVICES_VIRTIO_H

#include "pci_device.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <pthread.h>

enum {
    VIRTIO_QUEUE_SIZE = 256,    /* of every queue */
    VIRTIO_MAX_QUEUES = 64,
    VIRTIO_MAX_SEGMENTS = 1024, /* of a request, with indirect descriptors */
    VIRTIO_CONFIG_SIZE = 64,    /* of a device's own registers, at most */
};

struct virtio_segment {
    uint64_t gpa;
    uint32_t size;
};

/* A chain of descriptors: what the device reads, then what it writes. */
struct virtio_request {
    uint16_t head;
    unsigned outs, ins;         /* segments; those that the device writes follow the others */
    uint64_t out_size, in_size;
    struct virtio_segment segments[VIRTIO_MAX_SEGMENTS];
};

struct virtqueue {
    uint16_t size;              /* a power of two when enabled */
    uint16_t vector;
    bool enabled;
    bool made_shared;           /* its pages were converted: x-share-rings */
    uint64_t descriptors, available, used;      /* guest-physical */
    uint16_t next_available, next_used;
    uint16_t signalled_used;    /* next_used at the last interrupt */
    bool signalled;             /* signalled_used is valid */
};

struct virtio;

/* What makes a device of the common part. */
struct virtio_class {
    const char *name;           /* "virtio-rng" */
    uint16_t id;                /* VIRTIO_ID_* */
    uint16_t pci_class;
    unsigned config_size;       /* bytes of v->config */
    /* Serve what is in the queues: virtio_serve(). Worker thread, no lock. */
    void (*work)(struct virtio *v);
    /* The driver wrote into v->config. Machine lock. NULL: it is read-only. */
    void (*config_written)(struct virtio *v, unsigned offset, unsigned size);
    /* Back to the state before the driver came. Machine lock. May be NULL. */
    void (*reset)(struct virtio *v);
};

struct virtio {
    struct pci_device pci;      /* first */
    const struct virtio_class *class;
    /* Properties. */
    enum on_off_auto disable_legacy;
    bool iommu_platform, event_idx, indirect_desc, ioeventfd, share_rings;
    uint32_t vectors;
    /* Set before virtio_realize(). */
    uint64_t features;          /* the device's own; the common part adds its */
    uint64_t needed_features;   /* of them: the driver has to take these */
    unsigned nr_queues;
    uint8_t config[VIRTIO_CONFIG_SIZE];
    /* Registers. */
    uint64_t driver_features;
    uint32_t feature_select, driver_feature_select;
    uint16_t config_vector, queue_select;
    uint8_t status, generation, isr;
    struct virtqueue queues[VIRTIO_MAX_QUEUES];
    uint64_t requests, broken;  /* struct device_dma has them for people */
    uint64_t refused_dma;       /* atomic */
    /* The worker. */
    struct bus *bus;
    struct memory *mem;
    int kick_fd;                /* eventfd: look at the queues */
    uint64_t kick_gpa;          /* where KVM signals it by itself; PCI_UNMAPPED: nowhere */
    bool has_worker;
    pthread_t worker;
    bool stop;                  /* atomic: the worker ends */
    uint64_t rounds;            /* atomic: how often it has looked at the queues, for tests */
    bool paused;                /* takes no further requests */
    bool serving;               /* under idle_lock too: the worker has a request */
    bool reset_wanted;          /* atomic: a reset waits for that request's end */
    pthread_mutex_t idle_lock;
    pthread_cond_t idle;
    struct virtio_request request;      /* the worker's */
    unsigned cfg_capability;    /* offset of the window for configuration accesses */
};

static inline struct virtio *to_virtio(struct device *dev)
{
    return (struct virtio *)dev;
}

extern const struct property virtio_properties[];

/* --- For device types --- */

void virtio_init(struct device *dev);   /* defaults of virtio_properties */
/* v's class, features, nr_queues and config are set.  On the bus, worker running. */
bool virtio_realize(struct virtio *v, GError **error);
void virtio_unrealize(struct virtio *v);
void virtio_pause(struct device *dev);
void virtio_resume(struct device *dev);
void virtio_system_reset(struct device *dev);
void virtio_dma(struct device *dev, struct device_dma *ret);
void virtio_describe(struct device *dev, int indent, GString *out);

/* --- For the worker: virtio_class.work --- */

/*
 * Take one request and serve it; false: there is none now.  handle runs without
 * locks; it returns how many bytes it wrote.
 */
bool virtio_serve(struct virtio *v, unsigned queue,
                  uint32_t (*handle)(struct virtio *v, struct virtio_request *request));
/* Is there a request, as far as can be said without taking it? Machine lock held. */
bool virtio_has_request(struct virtio *v, unsigned queue);
/*
 * Copy from what the driver wrote, or to what the device writes, from offset on.
 * False: past the end, or a page is private or no RAM; counted and traced.
 */
bool virtio_read(struct virtio *v, const struct virtio_request *request, uint64_t offset, void *buf,
                 uint64_t size);
bool virtio_write(struct virtio *v, const struct virtio_request *request, uint64_t offset,
                  const void *buf, uint64_t size);
/* Wake the worker. Any thread. */
void virtio_kick(struct virtio *v);
/* The worker should give up a long request: reset, or the end. */
bool virtio_giving_up(struct virtio *v);
/* config changed: tell the driver. Machine lock held. */
void virtio_config_changed(struct virtio *v);
static inline bool virtio_has_feature(const struct virtio *v, unsigned bit)
{
    return v->driver_features >> bit & 1;
}

/* --- Between virtio.c, virtio_pci.c and virtio_ring.c. Machine lock held. --- */

enum virtio_pop { VIRTIO_EMPTY, VIRTIO_POPPED, VIRTIO_BROKEN };

/* Of a device with DRIVER_OK. VIRTIO_BROKEN: the ring can't be used. */
enum virtio_pop virtio_pop(struct virtio *v, unsigned queue, struct virtio_request *request);
/* False: the ring can't be used. *interrupt: the driver wants to know. */
bool virtio_push(struct virtio *v, unsigned queue, const struct virtio_request *request,
                 uint32_t written, bool *interrupt);
bool virtqueue_valid(const struct virtqueue *vq);
/* Make the ring's pages shared, or private again, for a driver that doesn't do it itself. */
bool virtqueue_convert(struct virtio *v, struct virtqueue *vq, bool private_);
/* With or without a lock. */
static inline void virtio_count_refused(struct virtio *v)
{
    __atomic_add_fetch(&v->refused_dma, 1, __ATOMIC_RELAXED);
}
/* NEEDS_RESET; why is for the trace. */
void virtio_break(struct virtio *v, const char *why);
void virtio_do_reset(struct virtio *v);
/* The driver writes the status register. */
void virtio_set_status(struct virtio *v, uint8_t status);
/* Everything of the function's configuration space; before pci_device_plug(). */
void virtio_pci_setup(struct virtio *v);
/* ISR bit and the vector's message, or INTx. */
void virtio_pci_interrupt(struct virtio *v, uint8_t isr, uint16_t vector);
/* Let KVM signal kick_fd by itself while the driver drives, or not any more. */
void virtio_pci_update_ioeventfd(struct virtio *v);

#endif
