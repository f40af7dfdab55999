/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The Bochs debug port: what is written goes to a character device; reading gives 0xe9,
 * by which firmware knows that the port is there.  What the other side doesn't take is
 * dropped: firmware can't wait for it.
 */
#include "debugcon.h"

#include "error.h"

#include <inttypes.h>

enum { THERE = 0xe9 };

struct debugcon {
    struct device dev;
    char *chardev;
    uint32_t port;
    struct chardev *chr;
};

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
    return THERE;
}

static void debugcon_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct debugcon *con = opaque;
    uint8_t byte = value;

    chardev_write(con->chr, con, &byte, 1);
}

static const struct io_ops debugcon_io = {
    .read = debugcon_read, .write = debugcon_write, .min_size = 1, .max_size = 1,
};

/* Nothing comes from outside. */
static size_t can_receive(void *opaque)
{
    return 0;
}

static void ignore(void *opaque)
{
}

static const struct chardev_front front = {
    .can_receive = can_receive, .opened = ignore, .closed = ignore,
};

static void init(struct device *dev)
{
    struct debugcon *con = (struct debugcon *)dev;

    con->port = DEBUGCON_PORT;
}

static bool add_port(struct debugcon *con, GError **error)
{
    struct bus *bus = devices_host(con->dev.all)->bus;
    int ret = -EINVAL;

    bus_lock(bus);
    if (con->port <= UINT16_MAX)
        ret = bus_add_pio(bus, con->port, 1, "debugcon", &debugcon_io, con);
    bus_unlock(bus);
    if (ret < 0)
        error_set(error, "iobase=0x%" PRIx32 ": %s: iobase=0x402 is what SeaBIOS and OVMF write to",
                  con->port, ret == -EINVAL ? "is no I/O port" : "another device is there");
    return ret == 0;
}

static bool realize(struct device *dev, GError **error)
{
    struct debugcon *con = (struct debugcon *)dev;

    if (dev->hotplugged) {
        error_set(error, "Bus 'isa.0' does not support hotplugging");
        return false;
    }
    con->chr = con->chardev ? chardev_find(con->chardev) : NULL;
    if (!con->chr) {
        if (con->chardev)
            error_set(error, "Property 'isa-debugcon.chardev' can't find value '%s'", con->chardev);
        else
            error_set(error, "Can't create serial device, empty char device");
        return false;
    }
    if (!chardev_attach(con->chr, &front, con, error))
        return false;
    if (add_port(con, error))
        return true;
    chardev_detach(con->chr, con);
    return false;
}

static bool request_unplug(struct device *dev, GError **error)
{
    error_set(error, "Bus 'isa.0' does not support hotplugging");
    return false;
}

static void unrealize(struct device *dev)
{
    struct debugcon *con = (struct debugcon *)dev;
    struct bus *bus = devices_host(dev->all)->bus;

    bus_lock(bus);
    bus_remove(bus, con);
    bus_unlock(bus);
    chardev_detach(con->chr, con);
}

static const struct property properties[] = {
    { "chardev", PROP_STRING, offsetof(struct debugcon, chardev), .help = "where it goes" },
    { "iobase", PROP_UINT32, offsetof(struct debugcon, port),
      .help = "the port (default 0xe9; firmware uses 0x402)" },
    { NULL },
};

const struct device_type debugcon_type = {
    .name = "isa-debugcon", .help = "firmware's debug port", .bus_type = "ISA",
    .size = sizeof(struct debugcon),
    .properties = (const struct property *const[]){ properties, NULL },
    .init = init, .realize = realize, .unrealize = unrealize,
    .request_unplug = request_unplug,
};
