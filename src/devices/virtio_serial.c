/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The console device (virtio 1.2, 5.3) with several ports: queues for each, and a
 * pair for control messages, by which ports come, go, open and close.
 */
#include "virtio_serial.h"

#include "error.h"

#include <linux/virtio_console.h>
#include <string.h>

enum {
    QUEUE_CONTROL_IN = 2, QUEUE_CONTROL_OUT = 3,
    OUT_CHUNK = 4096,
    OUT_MAX = 1 << 20,          /* of one request; the rest is dropped */
    NAME_MAX_SENT = 256, VECTORS = 2,
};

struct serial_message {
    struct virtio_console_control control;
    char *name;                 /* of PORT_NAME */
};

static struct virtio_serial *to_serial(struct virtio *v)
{
    return (struct virtio_serial *)v;
}

/* Port 0 has queues 0 and 1, the control messages 2 and 3, port n 2n + 2 and 2n + 3. */
static unsigned queue_in(unsigned port)
{
    return port ? 2 * port + 2 : 0;
}

static bool multiport(const struct virtio_serial *serial)
{
    return virtio_has_feature(&serial->v, VIRTIO_CONSOLE_F_MULTIPORT);
}

bool serial_port_open(const struct virtio_port *port)
{
    const struct virtio_serial *serial = port->serial;

    if (!(serial->v.status & VIRTIO_CONFIG_S_DRIVER_OK))
        return false;
    return multiport(serial) ? port->guest_open : port->nr == 0;
}

/* --- Control messages --- */

static void message_free(gpointer data)
{
    struct serial_message *message = data;

    g_free(message->name);
    g_free(message);
}

void serial_send(struct virtio_serial *serial, struct virtio_port *port, uint16_t event,
                 uint16_t value)
{
    struct serial_message *message;

    if (!serial->ready || !multiport(serial))
        return;
    if (serial->control.length >= SERIAL_CONTROL_MAX) {
        virtio_break(&serial->v, "control messages aren't taken");
        return;
    }
    message = g_new0(struct serial_message, 1);
    message->control = (struct virtio_console_control){
        .id = GUINT32_TO_LE(port->nr), .event = GUINT16_TO_LE(event),
        .value = GUINT16_TO_LE(value),
    };
    message->name = event == VIRTIO_CONSOLE_PORT_NAME ? g_strdup(port->name) : NULL;
    g_queue_push_tail(&serial->control, message);
    virtio_kick(&serial->v);
}

static void port_ready(struct virtio_serial *serial, struct virtio_port *port)
{
    if (port->console)
        serial_send(serial, port, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    if (port->name && *port->name)
        serial_send(serial, port, VIRTIO_CONSOLE_PORT_NAME, 1);
    if (port->host_open)
        serial_send(serial, port, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

/* Machine lock held. The chardev of a port that opened, for chardev_accept_input(). */
static struct chardev *take_message(struct virtio_serial *serial, uint32_t id, uint16_t event,
                                    uint16_t value)
{
    struct virtio_port *port = id < serial->max_ports ? serial->ports[id] : NULL;

    if (event == VIRTIO_CONSOLE_DEVICE_READY) {
        serial->ready = value != 0;
        for (unsigned i = 0; i < serial->max_ports; i++) {
            if (serial->ports[i])
                serial_send(serial, serial->ports[i], VIRTIO_CONSOLE_PORT_ADD, 1);
        }
    } else if (port && event == VIRTIO_CONSOLE_PORT_READY && value) {
        port_ready(serial, port);
    } else if (port && event == VIRTIO_CONSOLE_PORT_OPEN) {
        port->guest_open = value != 0;
        return port->chr;
    }
    return NULL;
}

static uint32_t control_out(struct virtio *v, struct virtio_request *request)
{
    struct virtio_serial *serial = to_serial(v);
    struct virtio_console_control control;
    struct chardev *chr = NULL;

    if (!virtio_read(v, request, 0, &control, sizeof(control)))
        return 0;
    bus_lock(v->bus);
    if (multiport(serial))
        chr = take_message(serial, GUINT32_FROM_LE(control.id), GUINT16_FROM_LE(control.event),
                           GUINT16_FROM_LE(control.value));
    bus_unlock(v->bus);
    if (chr)
        chardev_accept_input(chr);
    return 0;
}

/* The name follows its message, without an end. */
static uint32_t control_in(struct virtio *v, struct virtio_request *request)
{
    struct virtio_serial *serial = to_serial(v);
    struct serial_message *message;
    size_t name, size = sizeof(message->control);

    bus_lock(v->bus);
    message = g_queue_pop_head(&serial->control);
    bus_unlock(v->bus);
    if (!message)
        return 0;
    name = message->name ? strnlen(message->name, NAME_MAX_SENT) : 0;
    if (!virtio_write(v, request, 0, &message->control, size))
        size = 0;
    else if (name && virtio_write(v, request, size, message->name, name))
        size += name;
    message_free(message);
    return size;
}

/* --- Data --- */

static uint32_t data_out(struct virtio *v, struct virtio_request *request)
{
    struct virtio_serial *serial = to_serial(v);
    struct virtio_port *port = serial->ports[serial->current];
    uint64_t size = MIN(request->out_size, OUT_MAX);
    char bytes[OUT_CHUNK];

    for (uint64_t done = 0; done < size && port && port->chr; done += OUT_CHUNK) {
        uint64_t n = MIN(size - done, OUT_CHUNK);

        if (!virtio_read(v, request, done, bytes, n) ||
            !chardev_write_all(port->chr, port, bytes, n, OUT_MAX + CHARDEV_QUEUE_MAX))
            break;
    }
    return 0;
}

/* A run of what waits, without a lock while it is copied: only the worker takes it out. */
static uint32_t data_in(struct virtio *v, struct virtio_request *request)
{
    struct virtio_serial *serial = to_serial(v);
    struct virtio_port *port = serial->ports[serial->current];
    uint8_t bytes[SERIAL_FIFO];
    unsigned size = 0;

    bus_lock(v->bus);
    for (; port && size < port->used && size < request->in_size; size++)
        bytes[size] = port->fifo[(port->first + size) % SERIAL_FIFO];
    if (port) {
        port->first = (port->first + size) % SERIAL_FIFO;
        port->used -= size;
    }
    bus_unlock(v->bus);
    if (!virtio_write(v, request, 0, bytes, size))
        size = 0;
    if (port && port->chr)
        chardev_accept_input(port->chr);
    return size;
}

/* --- The worker --- */

static bool has_control(struct virtio_serial *serial)
{
    bool ret;

    bus_lock(serial->v.bus);
    ret = serial->control.length > 0;
    bus_unlock(serial->v.bus);
    return ret;
}

/* What may be served now of a port; a queue without a port is emptied. */
static void port_state(struct virtio_serial *serial, unsigned nr, bool *out, bool *in)
{
    struct virtio_port *port;

    bus_lock(serial->v.bus);
    port = serial->ports[nr];
    *out = !port || !port->chr || !chardev_congested(port->chr);
    *in = port && port->used;
    bus_unlock(serial->v.bus);
}

static bool work_on_port(struct virtio_serial *serial, unsigned nr)
{
    bool out, in;

    serial->current = nr;
    port_state(serial, nr, &out, &in);
    out = out && virtio_serve(&serial->v, queue_in(nr) + 1, data_out);
    in = in && virtio_serve(&serial->v, queue_in(nr), data_in);
    return out || in;
}

/* A request of each queue in turn, so that no port keeps the others waiting. */
static void work(struct virtio *v)
{
    struct virtio_serial *serial = to_serial(v);
    bool more;

    do {
        more = virtio_serve(v, QUEUE_CONTROL_OUT, control_out);
        if (has_control(serial) && virtio_serve(v, QUEUE_CONTROL_IN, control_in))
            more = true;
        for (unsigned i = 0; i < serial->max_ports; i++)
            more = work_on_port(serial, i) || more;
    } while (more);
}

/* --- Coming and going --- */

static void reset(struct virtio *v)
{
    struct virtio_serial *serial = to_serial(v);

    g_queue_clear_full(&serial->control, message_free);
    serial->ready = false;
    for (unsigned i = 0; i < serial->max_ports; i++) {
        if (serial->ports[i])
            serial->ports[i]->guest_open = false;
    }
}

static const struct virtio_class serial_class = {
    .name = "virtio-serial", .id = VIRTIO_ID_CONSOLE, .pci_class = 0x0780,
    .config_size = offsetof(struct virtio_console_config, emerg_wr), .work = work, .reset = reset,
};

static void init(struct device *dev)
{
    virtio_init(dev);
    to_serial(to_virtio(dev))->max_ports = SERIAL_MAX_PORTS;
    /* One for all queues: drivers share it. */
    to_virtio(dev)->vectors = VECTORS;
}

static bool realize(struct device *dev, GError **error)
{
    struct virtio_serial *serial = to_serial(to_virtio(dev));
    struct virtio_console_config config = { 0 };

    if (!serial->max_ports || serial->max_ports > SERIAL_MAX_PORTS) {
        error_set(error, "maximum ports supported: %u", SERIAL_MAX_PORTS);
        return false;
    }
    config.max_nr_ports = GUINT32_TO_LE(serial->max_ports);
    memcpy(serial->v.config, &config, serial_class.config_size);
    serial->v.class = &serial_class;
    serial->v.features = 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
    serial->v.nr_queues = 2 * (serial->max_ports + 1);
    return virtio_realize(&serial->v, error);
}

static void unrealize(struct device *dev)
{
    struct virtio_serial *serial = to_serial(to_virtio(dev));

    virtio_unrealize(&serial->v);
    g_queue_clear_full(&serial->control, message_free);
}

static const struct property properties[] = {
    { "max_ports", PROP_UINT32, offsetof(struct virtio_serial, max_ports),
      .help = "ports that there can be, up to 31" },
    { NULL },
};

const struct device_type virtio_serial_type = {
    .name = "virtio-serial-pci", .help = "consoles and serial ports", .bus_type = "PCI",
    .child_bus_type = "virtio-serial-bus", .size = sizeof(struct virtio_serial),
    .properties = (const struct property *const[]){
        properties, pci_device_properties, virtio_properties, NULL },
    .init = init, .realize = realize, .unrealize = unrealize, VIRTIO_DEVICE_OPS,
};
