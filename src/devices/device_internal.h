/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What device.c and device_add.c know of one another. */
#ifndef DEVICES_DEVICE_INTERNAL_H
#define DEVICES_DEVICE_INTERNAL_H

#include "device.h"
#include "property.h"

struct devices {
    struct device_host host;
    GPtrArray *list;            /* struct device *, oldest first */
    struct main_timer *gone_timer;
};

/* Of a device that isn't realized, or no longer. */
void device_free(struct device *dev);

#endif
