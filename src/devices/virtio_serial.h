/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The serial device and its ports, as far as they know of one another. */
#ifndef DEVICES_VIRTIO_SERIAL_H
#define DEVICES_VIRTIO_SERIAL_H

#include "chardev.h"
#include "virtio_devices.h"

enum {
    SERIAL_MAX_PORTS = VIRTIO_MAX_QUEUES / 2 - 1,
    SERIAL_FIFO = 4096,         /* bytes that wait for the driver's buffers */
    SERIAL_CONTROL_MAX = 256,   /* control messages that wait; a driver that asks for more is broken */
};

struct virtio_port;

struct virtio_serial {
    struct virtio v;            /* first */
    uint32_t max_ports;         /* property */
    struct virtio_port *ports[SERIAL_MAX_PORTS];
    GQueue control;             /* of struct serial_message *: to the driver */
    bool ready;                 /* the driver asked for the ports */
    unsigned current;           /* the port that the worker serves */
};

struct virtio_port {
    struct device dev;          /* first */
    char *chardev, *name;       /* properties */
    uint32_t nr;
    struct virtio_serial *serial;
    struct chardev *chr;        /* NULL: leads nowhere */
    bool console;
    /* Machine lock. */
    bool host_open, guest_open;
    unsigned first, used;       /* of fifo, a ring */
    uint8_t fifo[SERIAL_FIFO];
};

extern const struct device_type virtconsole_type, virtserialport_type;

/* Machine lock held. A message of VIRTIO_CONSOLE_* to the driver, if it listens. */
void serial_send(struct virtio_serial *serial, struct virtio_port *port, uint16_t event,
                 uint16_t value);
/* The driver can take input for this port. Machine lock held. */
bool serial_port_open(const struct virtio_port *port);

#endif
