/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the guest can do to the board as a whole: registers that switch it off or
 * reset it.  Set by whoever wires the board; called with the machine lock held, so
 * they note the wish and return.
 */
#ifndef DEVICES_POWER_H
#define DEVICES_POWER_H

struct power_ops {
    void (*shutdown)(void *opaque);
    void (*reset)(void *opaque);
    void *opaque;
};

#endif
