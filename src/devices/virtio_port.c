/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ports of the virtio serial device: between a character device, which is the main
 * thread's, and the queues, which are the worker's.  What comes from outside waits
 * in the port's FIFO; when that is full, the chardev isn't read.
 */
#include "virtio_serial.h"

#include "error.h"

#include <linux/virtio_console.h>
#include <string.h>

enum { NR_AUTO = UINT32_MAX };

static struct virtio_port *to_port(struct device *dev)
{
    return (struct virtio_port *)dev;
}

/* --- The chardev's side: main thread, no lock --- */

static size_t can_receive(void *opaque)
{
    struct virtio_port *port = opaque;
    size_t room;

    bus_lock(port->serial->v.bus);
    room = serial_port_open(port) ? SERIAL_FIFO - port->used : 0;
    bus_unlock(port->serial->v.bus);
    return room;
}

static void receive(void *opaque, const void *data, size_t size)
{
    struct virtio_port *port = opaque;
    const uint8_t *bytes = data;

    bus_lock(port->serial->v.bus);
    for (size_t i = 0; i < size && port->used < SERIAL_FIFO; i++)
        port->fifo[(port->first + port->used++) % SERIAL_FIFO] = bytes[i];
    bus_unlock(port->serial->v.bus);
    virtio_kick(&port->serial->v);
}

static void set_host_open(struct virtio_port *port, bool open)
{
    bus_lock(port->serial->v.bus);
    /* A port that the driver doesn't know yet is told as open when it is ready. */
    if (port->host_open != open && port->serial->ports[port->nr] == port)
        serial_send(port->serial, port, VIRTIO_CONSOLE_PORT_OPEN, open);
    port->host_open = open;
    bus_unlock(port->serial->v.bus);
}

static void opened(void *opaque)
{
    set_host_open(opaque, true);
}

static void closed(void *opaque)
{
    set_host_open(opaque, false);
}

static void drained(void *opaque)
{
    virtio_kick(&((struct virtio_port *)opaque)->serial->v);
}

static const struct chardev_front front = {
    .can_receive = can_receive, .receive = receive, .opened = opened, .closed = closed,
    .drained = drained,
};

/* --- Coming and going --- */

/* Port 0 is for consoles: a driver without MULTIPORT has only that one. */
static bool choose_number(struct virtio_port *port, GError **error)
{
    struct virtio_serial *serial = port->serial;
    const char *type = port->dev.type->name;

    if (port->nr == NR_AUTO) {
        for (uint32_t i = !port->console; i < serial->max_ports && port->nr == NR_AUTO; i++) {
            if (!serial->ports[i])
                port->nr = i;
        }
        if (port->nr == NR_AUTO)
            error_set(error, "virtio-serial-bus: Maximum port limit for this device reached");
        return port->nr != NR_AUTO;
    }
    if (port->nr >= serial->max_ports)
        error_set(error, "virtio-serial-bus: Out-of-range port id specified, max. allowed: %u",
                  serial->max_ports - 1);
    else if (port->nr == 0 && !port->console)
        error_set(error, "Port number 0 on virtio-serial devices is for consoles, not for %s", type);
    else if (serial->ports[port->nr])
        error_set(error, "virtio-serial-bus: A port already exists at id %u", port->nr);
    else
        return true;
    return false;
}

static bool find_chardev(struct virtio_port *port, GError **error)
{
    const char *type = port->dev.type->name;

    if (!port->chardev || !*port->chardev)
        return true;
    port->chr = chardev_find(port->chardev);
    if (!port->chr) {
        error_set(error, "Property '%s.chardev' can't find value '%s'", type, port->chardev);
        return false;
    }
    if (chardev_attach(port->chr, &front, port, NULL))
        return true;
    port->chr = NULL;
    error_set(error, "Property '%s.chardev' can't take value '%s': Device '%s' is in use", type,
              port->chardev, port->chardev);
    return false;
}

static void set_port(struct virtio_port *port, struct virtio_port *value)
{
    struct virtio_serial *serial = port->serial;
    struct device *dev = &serial->v.pci.dev;
    bool was_paused;

    bus_lock(serial->v.bus);
    was_paused = serial->v.paused;
    bus_unlock(serial->v.bus);
    /* The worker may be serving the port. */
    virtio_pause(dev);
    bus_lock(serial->v.bus);
    serial->ports[port->nr] = value;
    serial_send(serial, port, value ? VIRTIO_CONSOLE_PORT_ADD : VIRTIO_CONSOLE_PORT_REMOVE, 1);
    bus_unlock(serial->v.bus);
    if (!was_paused)
        virtio_resume(dev);
}

static bool realize(struct device *dev, GError **error)
{
    struct virtio_port *port = to_port(dev);

    port->serial = (struct virtio_serial *)dev->parent;
    port->console = dev->type == &virtconsole_type;
    if (!choose_number(port, error) || !find_chardev(port, error))
        return false;
    set_port(port, port);
    if (port->chr)
        chardev_accept_input(port->chr);
    return true;
}

static void unrealize(struct device *dev)
{
    struct virtio_port *port = to_port(dev);

    set_port(port, NULL);
    if (port->chr)
        chardev_detach(port->chr, port);
}

static void init(struct device *dev)
{
    to_port(dev)->nr = NR_AUTO;
}

static void describe(struct device *dev, int indent, GString *out)
{
    struct virtio_port *port = to_port(dev);

    bus_lock(port->serial->v.bus);
    g_string_append_printf(out, "%*sport %u, guest %s, host %s\n", indent, "", port->nr,
                           port->guest_open ? "on" : "off", port->host_open ? "on" : "off");
    bus_unlock(port->serial->v.bus);
}

static const struct property properties[] = {
    { "chardev", PROP_STRING, offsetof(struct virtio_port, chardev), .help = "id of a -chardev" },
    { "name", PROP_STRING, offsetof(struct virtio_port, name),
      .help = "what the guest calls it: /dev/virtio-ports/NAME" },
    { "nr", PROP_UINT32, offsetof(struct virtio_port, nr),
      .help = "number of the port; the first free one if not given" },
    { NULL },
};

#define PORT_TYPE(name_, help_)                                                                 \
    {                                                                                           \
        .name = name_, .help = help_, .bus_type = "virtio-serial-bus",                          \
        .size = sizeof(struct virtio_port),                                                     \
        .properties = (const struct property *const[]){ properties, NULL },                     \
        .init = init, .realize = realize, .unrealize = unrealize, .describe = describe,         \
    }

const struct device_type virtconsole_type =
    PORT_TYPE("virtconsole", "a console: hvc0 of Linux");
const struct device_type virtserialport_type =
    PORT_TYPE("virtserialport", "a serial port for programs");
