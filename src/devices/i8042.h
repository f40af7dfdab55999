/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keyboard controller's command port, without a keyboard: it can reset the board. */
#ifndef DEVICES_I8042_H
#define DEVICES_I8042_H

#include "bus.h"
#include "power.h"

struct i8042;

/* NULL: the ports are taken. */
struct i8042 *i8042_new(struct bus *bus, const struct power_ops *power);
void i8042_free(struct i8042 *kbc);
void i8042_reset(struct i8042 *kbc);            /* machine lock held */

#endif
