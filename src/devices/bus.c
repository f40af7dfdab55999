/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two address spaces as sorted arrays of ranges, and how an access finds its device. */
#include "bus.h"
#include "range.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>

struct region {
    uint64_t start, size;
    const char *name;
    const struct io_ops *ops;
    void *opaque;
};

struct bus {
    pthread_mutex_t lock;       /* the thread sanitizer doesn't see GLib's */
    GArray *pio, *mmio;         /* struct region, ascending, disjoint */
};

struct bus *bus_new(void)
{
    struct bus *bus = g_new0(struct bus, 1);

    pthread_mutex_init(&bus->lock, NULL);
    bus->pio = g_array_new(FALSE, FALSE, sizeof(struct region));
    bus->mmio = g_array_new(FALSE, FALSE, sizeof(struct region));
    return bus;
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    g_array_free(bus->pio, TRUE);
    g_array_free(bus->mmio, TRUE);
    pthread_mutex_destroy(&bus->lock);
    g_free(bus);
}

void bus_lock(struct bus *bus)
{
    pthread_mutex_lock(&bus->lock);
}

void bus_unlock(struct bus *bus)
{
    pthread_mutex_unlock(&bus->lock);
}

/* Index of the first region that ends above addr. */
static guint lower_bound(const GArray *space, uint64_t addr)
{
    guint low = 0, high = space->len;

    while (low < high) {
        guint middle = (low + high) / 2;
        const struct region *r = &g_array_index(space, struct region, middle);

        if (r->start + (r->size - 1) < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int add_region(GArray *space, uint64_t limit, const struct region *new)
{
    guint at;

    if (new->size == 0 || !range_within(new->start, new->size, limit))
        return -EINVAL;
    at = lower_bound(space, new->start);
    if (at < space->len) {
        const struct region *next = &g_array_index(space, struct region, at);

        if (ranges_overlap(next->start, next->size, new->start, new->size))
            return -EEXIST;
    }
    g_array_insert_val(space, at, *new);
    return 0;
}

int bus_add_pio(struct bus *bus, uint16_t port, uint32_t size, const char *name,
                const struct io_ops *ops, void *opaque)
{
    struct region new = { port, size, name, ops, opaque };

    return add_region(bus->pio, 0x10000, &new);
}

int bus_add_mmio(struct bus *bus, uint64_t gpa, uint64_t size, const char *name,
                 const struct io_ops *ops, void *opaque)
{
    struct region new = { gpa, size, name, ops, opaque };

    return add_region(bus->mmio, UINT64_MAX, &new);
}

static void remove_regions(GArray *space, void *opaque)
{
    for (guint i = space->len; i-- > 0;) {
        if (g_array_index(space, struct region, i).opaque == opaque)
            g_array_remove_index(space, i);
    }
}

void bus_remove(struct bus *bus, void *opaque)
{
    remove_regions(bus->pio, opaque);
    remove_regions(bus->mmio, opaque);
}

/* The part of an access that one device sees: a power of two within the range and its limits. */
static unsigned piece_size(const struct region *r, uint64_t addr, unsigned size)
{
    uint64_t left = r->size - (addr - r->start);
    unsigned limit = r->ops->max_size ? r->ops->max_size : 8;
    unsigned piece = 1;

    while (piece * 2 <= size && piece * 2 <= limit && piece * 2 <= left)
        piece *= 2;
    return piece;
}

static void access_region(const struct region *r, uint64_t addr, uint8_t *data, unsigned size,
                          bool write)
{
    uint64_t value = UINT64_MAX;

    if (size >= r->ops->min_size) {
        if (write) {
            value = 0;
            memcpy(&value, data, size);
            if (r->ops->write)
                r->ops->write(r->opaque, addr - r->start, size, value);
            return;
        }
        if (r->ops->read)
            value = r->ops->read(r->opaque, addr - r->start, size);
    }
    if (!write)
        memcpy(data, &value, size);
}

static void access_space(const GArray *space, uint64_t addr, uint8_t *data, unsigned size,
                         bool write)
{
    while (size) {
        guint at = lower_bound(space, addr);
        const struct region *r = &g_array_index(space, struct region, at);
        unsigned piece = 1;

        if (at < space->len && r->start <= addr) {
            piece = piece_size(r, addr, size);
            access_region(r, addr, data, piece, write);
        } else if (!write) {
            *data = 0xff;
        }
        addr += piece;
        data += piece;
        size -= piece;
    }
}

void bus_pio(struct bus *bus, uint16_t port, void *data, unsigned size, bool write)
{
    access_space(bus->pio, port, data, size, write);
}

void bus_mmio(struct bus *bus, uint64_t gpa, void *data, unsigned size, bool write)
{
    access_space(bus->mmio, gpa, data, size, write);
}

uint64_t bus_mmio_look(struct bus *bus, uint64_t gpa, uint64_t size, bool *ret_claimed)
{
    guint at = lower_bound(bus->mmio, gpa);
    const struct region *r = &g_array_index(bus->mmio, struct region, at);

    *ret_claimed = at < bus->mmio->len && r->start <= gpa;
    if (*ret_claimed)
        return MIN(size, r->size - (gpa - r->start));
    return at < bus->mmio->len ? MIN(size, r->start - gpa) : size;
}
