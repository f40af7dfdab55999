/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A 16550A at an I/O port, behind it a character device. */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include "bus.h"
#include "chardev.h"

struct serial;

/* Eight ports from port on, which lead nowhere: output is lost. NULL: the ports are taken. */
struct serial *serial_new(struct bus *bus, uint16_t port, const struct irq *irq);
void serial_free(struct serial *serial);
/* Where it leads, once; chr must outlive the port.  False: it has a front end already. */
bool serial_connect(struct serial *serial, struct chardev *chr, GError **error);
/* Power-on state.  Machine lock held. */
void serial_reset(struct serial *serial);

#endif
