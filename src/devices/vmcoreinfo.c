/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vmcoreinfo.h"

#include "bus.h"
#include "error.h"
#include "fw_cfg.h"

#include <string.h>

/* The file, little-endian. */
struct vmcoreinfo_file {
    uint16_t host_format, guest_format;
    uint32_t size;
    uint64_t gpa;
};
G_STATIC_ASSERT(sizeof(struct vmcoreinfo_file) == 16);

struct vmcoreinfo_device {
    struct device dev;
    struct vmcoreinfo_file file;        /* machine lock */
};

static void power_on(struct device *dev)
{
    struct vmcoreinfo_device *info = (struct vmcoreinfo_device *)dev;

    info->file = (struct vmcoreinfo_file){ .host_format = GUINT16_TO_LE(VMCOREINFO_FORMAT_ELF) };
}

/* What the host understands isn't the guest's to say. */
static void written(void *opaque, size_t offset, size_t size)
{
    struct vmcoreinfo_device *info = opaque;

    info->file.host_format = GUINT16_TO_LE(VMCOREINFO_FORMAT_ELF);
}

static struct vmcoreinfo_device *find(struct devices *all)
{
    g_autoptr(GPtrArray) list = devices_list(all);

    for (guint i = 0; i < list->len; i++) {
        struct device *dev = g_ptr_array_index(list, i);

        if (dev->type == &vmcoreinfo_type)
            return (struct vmcoreinfo_device *)dev;
    }
    return NULL;
}

static bool realize(struct device *dev, GError **error)
{
    const struct device_host *host = devices_host(dev->all);
    struct vmcoreinfo_device *info = (struct vmcoreinfo_device *)dev;
    bool ok;

    if (dev->hotplugged) {
        error_set(error, "Device 'vmcoreinfo' does not support hotplugging");
        return false;
    }
    if (find(dev->all)) {
        error_set(error, "at most one vmcoreinfo device is permitted");
        return false;
    }
    if (!host->fw_cfg || !fw_cfg_has_dma(host->fw_cfg)) {
        error_set(error, "vmcoreinfo device requires fw_cfg with DMA, which reaches no private "
                  "memory: leave it out, and have dumps search for the note (x-vmcoreinfo=search)");
        return false;
    }
    power_on(dev);
    bus_lock(host->bus);
    ok = fw_cfg_add_writable_file(host->fw_cfg, "etc/vmcoreinfo", &info->file, sizeof(info->file),
                                  written, info, error);
    bus_unlock(host->bus);
    return ok;
}

/* It stays as long as its machine, whose fw_cfg is asked no more when it goes. */
static bool request_unplug(struct device *dev, GError **error)
{
    error_set(error, "Device 'vmcoreinfo' does not support hotplugging");
    return false;
}

static void unrealize(struct device *dev)
{
}

bool vmcoreinfo_get(struct devices *all, struct vmcoreinfo *ret)
{
    struct vmcoreinfo_device *info = find(all);
    struct bus *bus = devices_host(all)->bus;

    if (!info)
        return false;
    bus_lock(bus);
    ret->format = GUINT16_FROM_LE(info->file.guest_format);
    ret->size = GUINT32_FROM_LE(info->file.size);
    ret->gpa = GUINT64_FROM_LE(info->file.gpa);
    bus_unlock(bus);
    return ret->format != VMCOREINFO_FORMAT_NONE;
}

const struct device_type vmcoreinfo_type = {
    .name = "vmcoreinfo", .help = "the guest says where its note for crash dumps is",
    .size = sizeof(struct vmcoreinfo_device),
    .properties = (const struct property *const[]){ NULL },
    .realize = realize, .unrealize = unrealize, .request_unplug = request_unplug,
    .reset = power_on,
};
