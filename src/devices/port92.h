/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System control port A at 0x92: address line 20 and a fast reset (PS/2; ICH9 data sheet, 13.7.3). */
#ifndef DEVICES_PORT92_H
#define DEVICES_PORT92_H

#include "bus.h"
#include "power.h"

struct port92;

/* NULL: the port is taken. */
struct port92 *port92_new(struct bus *bus, const struct power_ops *power);
void port92_free(struct port92 *port);
void port92_reset(struct port92 *port);         /* machine lock held */

#endif
