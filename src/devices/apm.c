/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two bytes that stay as they were written; firmware passes its commands there. */
#include "apm.h"

#include <glib.h>
#include <string.h>

enum { PORT_COMMAND = 0xb2, PORTS = 2 };

struct apm {
    struct bus *bus;
    void (*smi)(void *opaque);
    void *opaque;
    uint8_t bytes[PORTS];       /* command, status */
};

static uint64_t apm_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct apm *)opaque)->bytes[offset];
}

static void apm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct apm *apm = opaque;

    apm->bytes[offset] = value;
    if (offset == 0)
        apm->smi(apm->opaque);
}

static const struct io_ops apm_io = {
    .read = apm_read, .write = apm_write, .min_size = 1, .max_size = 1,
};

void apm_reset(struct apm *apm)
{
    memset(apm->bytes, 0, sizeof(apm->bytes));
}

struct apm *apm_new(struct bus *bus, void (*smi)(void *opaque), void *opaque)
{
    struct apm *apm = g_new0(struct apm, 1);

    apm->bus = bus;
    apm->smi = smi;
    apm->opaque = opaque;
    if (bus_add_pio(bus, PORT_COMMAND, PORTS, "apm", &apm_io, apm) < 0) {
        g_free(apm);
        return NULL;
    }
    return apm;
}

void apm_free(struct apm *apm)
{
    if (!apm)
        return;
    bus_remove(apm->bus, apm);
    g_free(apm);
}
