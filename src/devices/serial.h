/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A 16550A at an I/O port, behind it a character device. */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include "bus.h"
#include "chardev.h"

struct serial;

/*
 * serial_new - eight ports from port on.
 * @chr: where it leads; NULL: output is lost and input never comes.  Stays the
 * caller's, and must outlive the port.
 * False: the ports are taken or the chardev has a front end already.
 */
struct serial *serial_new(struct bus *bus, uint16_t port, const struct irq *irq,
                          struct chardev *chr, GError **error);
void serial_free(struct serial *serial);
/* Power-on state.  Machine lock held. */
void serial_reset(struct serial *serial);

#endif
