/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Split virtqueues from the device's side (virtio 1.2, 2.7).  Nothing in a ring is
 * trusted: each index, length and link is checked before it is used, and a chain has
 * at most as many descriptors as its table.
 */
#include "virtio.h"

#include "range.h"

#include <glib.h>
#include <linux/virtio_ring.h>

/* The descriptors of one chain: the ring's own table, or an indirect one. */
struct table {
    uint64_t gpa;
    uint32_t count;
    bool indirect;
};

static bool ring_read(struct virtio *v, uint64_t gpa, void *buf, unsigned size)
{
    if (memory_read(v->mem, gpa, buf, size, NULL))
        return true;
    virtio_count_refused(v);
    virtio_break(v, "a ring can't be read");
    return false;
}

static bool ring_write(struct virtio *v, uint64_t gpa, const void *buf, unsigned size)
{
    if (memory_write(v->mem, gpa, buf, size, NULL))
        return true;
    virtio_count_refused(v);
    virtio_break(v, "a ring can't be written");
    return false;
}

static bool ring_read16(struct virtio *v, uint64_t gpa, uint16_t *ret)
{
    uint16_t value;

    if (!ring_read(v, gpa, &value, 2))
        return false;
    *ret = GUINT16_FROM_LE(value);
    return true;
}

static bool ring_write16(struct virtio *v, uint64_t gpa, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    return ring_write(v, gpa, &value, 2);
}

/* Available ring: flags, idx, ring[size], used_event.  Used ring: flags, idx, ring, avail_event. */
static uint64_t available_entry(const struct virtqueue *vq, uint16_t index)
{
    return vq->available + 4 + 2ull * (index % vq->size);
}

static uint64_t used_entry(const struct virtqueue *vq, uint16_t index)
{
    return vq->used + 4 + 8ull * (index % vq->size);
}

static uint64_t used_event(const struct virtqueue *vq)
{
    return vq->available + 4 + 2ull * vq->size;
}

static uint64_t avail_event(const struct virtqueue *vq)
{
    return vq->used + 4 + 8ull * vq->size;
}

/*
 * Rings lie in pages of their own (Linux allocates them so), and are empty when the
 * queue is enabled and when the device is reset: nothing is lost with the contents.
 */
bool virtqueue_convert(struct virtio *v, struct virtqueue *vq, bool private_)
{
    const struct {
        uint64_t start, end;
    } parts[] = {
        { vq->descriptors, vq->descriptors + 16ull * vq->size },
        { vq->available, used_event(vq) + 2 },
        { vq->used, avail_event(vq) + 2 },
    };
    bool ok = true;

    vq->made_shared = !private_;
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        uint64_t start = parts[i].start & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
        uint64_t end = (parts[i].end + GUEST_PAGE_SIZE - 1) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);

        ok &= memory_convert(v->mem, start, end - start, private_, NULL) == 0;
    }
    return ok;
}

/* 2.7: alignment, and a size that is a power of two; no table wraps around the address space. */
bool virtqueue_valid(const struct virtqueue *vq)
{
    return vq->size && vq->size <= VIRTIO_QUEUE_SIZE && !(vq->size & (vq->size - 1)) &&
           vq->descriptors % 16 == 0 && vq->available % 2 == 0 && vq->used % 4 == 0 &&
           MAX(vq->descriptors, MAX(vq->available, vq->used)) < UINT64_MAX - (1 << 20);
}

/*
 * What was read or written before it was, for the driver too, before what follows.  A
 * locked exchange is a full barrier on x86, and unlike a fence the thread sanitizer
 * knows it.
 */
static void ring_barrier(void)
{
    volatile uint32_t word = 0;

    __atomic_exchange_n(&word, 1, __ATOMIC_SEQ_CST);
}

/* --- Taking a chain --- */

static bool add_segment(struct virtio *v, struct virtio_request *request,
                        const struct vring_desc *desc)
{
    bool in = desc->flags & VRING_DESC_F_WRITE;
    unsigned n = request->outs + request->ins;

    if (n >= VIRTIO_MAX_SEGMENTS || !desc->len || (!in && request->ins) ||
        desc->addr > UINT64_MAX - desc->len) {
        virtio_break(v, n >= VIRTIO_MAX_SEGMENTS ? "a chain is too long"
                        : !desc->len ? "a buffer is empty"
                        : !in && request->ins ? "a buffer to read follows one to write"
                        : "a buffer wraps");
        return false;
    }
    request->segments[n] = (struct virtio_segment){ desc->addr, desc->len };
    if (in) {
        request->ins++;
        request->in_size += desc->len;
    } else {
        request->outs++;
        request->out_size += desc->len;
    }
    return true;
}

static bool read_descriptor(struct virtio *v, const struct table *table, unsigned index,
                            struct vring_desc *ret)
{
    if (index >= table->count) {
        virtio_break(v, "a link leads out of the descriptor table");
        return false;
    }
    if (!ring_read(v, table->gpa + index * sizeof(*ret), ret, sizeof(*ret)))
        return false;
    ret->addr = GUINT64_FROM_LE(ret->addr);
    ret->len = GUINT32_FROM_LE(ret->len);
    ret->flags = GUINT16_FROM_LE(ret->flags);
    ret->next = GUINT16_FROM_LE(ret->next);
    return true;
}

/* 2.7.5.3.1: negotiated, not nested, the last of its chain, and a whole number of entries. */
static bool enter_indirect(struct virtio *v, const struct vring_desc *desc, struct table *table)
{
    if (!virtio_has_feature(v, VIRTIO_RING_F_INDIRECT_DESC) || table->indirect ||
        (desc->flags & VRING_DESC_F_NEXT) || !desc->len || desc->len % sizeof(*desc) ||
        desc->len / sizeof(*desc) > VIRTIO_MAX_SEGMENTS || desc->addr > UINT64_MAX - desc->len) {
        virtio_break(v, "an indirect table makes no sense");
        return false;
    }
    *table = (struct table){ desc->addr, desc->len / sizeof(*desc), true };
    return true;
}

static bool read_chain(struct virtio *v, const struct virtqueue *vq, struct virtio_request *request)
{
    struct table table = { vq->descriptors, vq->size, false };
    unsigned index = request->head;
    struct vring_desc desc;

    /* A chain longer than its table has a loop. */
    for (unsigned left = table.count; left > 0; left--) {
        if (!read_descriptor(v, &table, index, &desc))
            return false;
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            if (!enter_indirect(v, &desc, &table))
                return false;
            left = table.count + 1;
            index = 0;
            continue;
        }
        if (!add_segment(v, request, &desc))
            return false;
        if (!(desc.flags & VRING_DESC_F_NEXT))
            return true;
        index = desc.next;
    }
    virtio_break(v, "a chain has a loop");
    return false;
}

/* Entries that wait; false: the ring can't be used. */
static bool count_available(struct virtio *v, const struct virtqueue *vq, uint16_t *ret)
{
    uint16_t index;

    if (!ring_read16(v, vq->available + 2, &index))
        return false;
    *ret = index - vq->next_available;
    if (*ret <= vq->size)
        return true;
    virtio_break(v, "the available index runs ahead of the ring");
    return false;
}

/* Ask for a notification of the next entry, then look once more: the driver may have just missed. */
static bool find_available(struct virtio *v, struct virtqueue *vq, uint16_t *ret)
{
    if (!count_available(v, vq, ret))
        return false;
    if (*ret || !virtio_has_feature(v, VIRTIO_RING_F_EVENT_IDX))
        return true;
    if (!ring_write16(v, avail_event(vq), vq->next_available))
        return false;
    ring_barrier();
    return count_available(v, vq, ret);
}

enum virtio_pop virtio_pop(struct virtio *v, unsigned queue, struct virtio_request *request)
{
    struct virtqueue *vq = &v->queues[queue];
    uint16_t waiting = 0, head;

    if (!vq->enabled)
        return VIRTIO_EMPTY;
    if (!find_available(v, vq, &waiting))
        return VIRTIO_BROKEN;
    if (!waiting)
        return VIRTIO_EMPTY;
    /* The entry was written before the index that covers it. */
    ring_barrier();
    if (!ring_read16(v, available_entry(vq, vq->next_available), &head))
        return VIRTIO_BROKEN;
    request->head = head;
    request->outs = request->ins = 0;
    request->out_size = request->in_size = 0;
    if (!read_chain(v, vq, request))
        return VIRTIO_BROKEN;
    vq->next_available++;
    return VIRTIO_POPPED;
}

/* --- Giving it back --- */

/* 2.7.7.2: has next_used passed the index at which the driver wants to hear? */
static bool wants_interrupt(struct virtio *v, struct virtqueue *vq, bool *ret)
{
    uint16_t word, before = vq->signalled_used;
    bool valid = vq->signalled;

    if (!virtio_has_feature(v, VIRTIO_RING_F_EVENT_IDX)) {
        *ret = ring_read16(v, vq->available, &word) && !(word & VRING_AVAIL_F_NO_INTERRUPT);
        return !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET);
    }
    if (!ring_read16(v, used_event(vq), &word))
        return false;
    vq->signalled_used = vq->next_used;
    vq->signalled = true;
    *ret = !valid || (uint16_t)(vq->next_used - word - 1) < (uint16_t)(vq->next_used - before);
    return true;
}

bool virtio_push(struct virtio *v, unsigned queue, const struct virtio_request *request,
                 uint32_t written, bool *interrupt)
{
    struct virtqueue *vq = &v->queues[queue];
    struct vring_used_elem entry = {
        .id = GUINT32_TO_LE(request->head), .len = GUINT32_TO_LE(written),
    };

    if (!ring_write(v, used_entry(vq, vq->next_used), &entry, sizeof(entry)))
        return false;
    ring_barrier();
    vq->next_used++;
    if (!ring_write16(v, vq->used + 2, vq->next_used))
        return false;
    /* The index is out before the driver's wish is read: one of the two sides sees the other. */
    ring_barrier();
    return wants_interrupt(v, vq, interrupt);
}

bool virtio_has_request(struct virtio *v, unsigned queue)
{
    struct virtqueue *vq = &v->queues[queue];
    uint16_t waiting = 0;

    return vq->enabled && (v->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
           !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET) && find_available(v, vq, &waiting) &&
           waiting > 0;
}
