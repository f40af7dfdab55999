/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System control port A.  Address line 20 is never masked, as KVM has no such mask;
 * the bit reads as it was written, so firmware that waits for it goes on.
 */
#include "port92.h"

#include <glib.h>

enum { PORT = 0x92, RESET_NOW = 1 << 0, A20 = 1 << 1, KEPT = 0xfe };

struct port92 {
    struct bus *bus;
    struct power_ops power;
    uint8_t value;
};

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct port92 *)opaque)->value;
}

/* Bit 0 always reads 0: whoever sets line 20 and writes the rest back resets nothing. */
static void port92_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct port92 *port = opaque;

    port->value = value & KEPT;
    if (value & RESET_NOW)
        port->power.reset(port->power.opaque);
}

static const struct io_ops port92_io = {
    .read = port92_read, .write = port92_write, .min_size = 1, .max_size = 1,
};

void port92_reset(struct port92 *port)
{
    port->value = A20;
}

struct port92 *port92_new(struct bus *bus, const struct power_ops *power)
{
    struct port92 *port = g_new0(struct port92, 1);

    port->bus = bus;
    port->power = *power;
    port92_reset(port);
    if (bus_add_pio(bus, PORT, 1, "port92", &port92_io, port) < 0) {
        g_free(port);
        return NULL;
    }
    return port;
}

void port92_free(struct port92 *port)
{
    if (!port)
        return;
    bus_remove(port->bus, port);
    g_free(port);
}
