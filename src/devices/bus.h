/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What devices hang on: guest I/O ports, MMIO ranges and interrupt lines; and the
 * machine lock, which covers every device of one board.
 *
 * The machine lock is held by whoever calls bus_pio() or bus_mmio(), so a device
 * model has no lock of its own.  A device's own callbacks from the main loop
 * (timers, character devices) take it themselves.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct bus;

struct io_ops {
    /* offset: from the start of the range; size: 1, 2, 4 or 8. */
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
    unsigned min_size, max_size;        /* 0: 1 and 8; others are split or answered with all ones */
};

struct bus *bus_new(void);
void bus_free(struct bus *bus);

/* The machine lock.  Not recursive; never held while waiting for a vCPU to park. */
void bus_lock(struct bus *bus);
void bus_unlock(struct bus *bus);

/*
 * 0; -EEXIST: overlaps; -EINVAL: empty or past the end of the address space.
 * name is for `info mtree` and traces (static).
 */
int bus_add_pio(struct bus *bus, uint16_t port, uint32_t size, const char *name,
                const struct io_ops *ops, void *opaque);
int bus_add_mmio(struct bus *bus, uint64_t gpa, uint64_t size, const char *name,
                 const struct io_ops *ops, void *opaque);
/* All ranges with this opaque. */
void bus_remove(struct bus *bus, void *opaque);

/*
 * An access that nobody claims reads all ones and ignores writes, as on the board.
 * data: size bytes, little-endian; any size, split where a device or a range's end
 * asks for it.
 */
void bus_pio(struct bus *bus, uint16_t port, void *data, unsigned size, bool write);
void bus_mmio(struct bus *bus, uint64_t gpa, void *data, unsigned size, bool write);
/* Bytes from gpa on, at most size, that one device claims, or else that nobody does. */
uint64_t bus_mmio_look(struct bus *bus, uint64_t gpa, uint64_t size, bool *ret_claimed);

/* An interrupt line that a device drives; set by whoever wires the board. */
struct irq {
    void (*set)(void *opaque, unsigned line, bool level);
    void *opaque;
    unsigned line;
};

static inline void irq_set(const struct irq *irq, bool level)
{
    if (irq->set)
        irq->set(irq->opaque, irq->line, level);
}

#endif
