/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory devices side by side: the machine's list of devices is the record of who is where. */
#include "memory_device.h"

#include "device_internal.h"
#include "error.h"
#include "range.h"

#include <inttypes.h>

/* The memory device that takes some of a range; NULL: none does. */
static struct device *find_overlap(struct devices *all, uint64_t gpa, uint64_t size,
                                   struct memory_device_info *ret)
{
    for (guint i = 0; i < all->list->len; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (!dev->type->memory)
            continue;
        dev->type->memory(dev, ret);
        if (ranges_overlap(ret->memaddr, ret->max_size, gpa, size))
            return dev;
    }
    return NULL;
}

static bool check_given(struct devices *all, uint64_t gpa, uint64_t size, uint64_t align,
                        GError **error)
{
    const struct device_host *host = &all->host;
    struct memory_device_info info;
    struct device *other;

    if (!is_aligned(gpa, align)) {
        error_set(error, "address must be aligned to 0x%" PRIx64 " bytes", align);
        return false;
    }
    if (gpa < host->memory_base ||
        !range_within(gpa - host->memory_base, size, host->memory_size)) {
        error_set(error, "can't add memory device [0x%" PRIx64 ":0x%" PRIx64 "], usable range for "
                  "memory devices [0x%" PRIx64 ":0x%" PRIx64 "]", gpa, size, host->memory_base,
                  host->memory_size);
        return false;
    }
    other = find_overlap(all, gpa, size, &info);
    if (other)
        error_set(error, "address range conflicts with memory device id='%s'",
                  other->id ? other->id : "");
    return !other;
}

static uint64_t align_up(uint64_t value, uint64_t align)
{
    return (value + align - 1) & ~(align - 1);
}

/* First fit: behind whoever is in the way, until nobody is. */
static bool find_free(struct devices *all, uint64_t size, uint64_t align, uint64_t *ret)
{
    const struct device_host *host = &all->host;
    uint64_t end = host->memory_base + host->memory_size;
    uint64_t gpa = align_up(host->memory_base, align);
    struct memory_device_info info;

    while (gpa >= host->memory_base && gpa <= end && size <= end - gpa) {
        if (!find_overlap(all, gpa, size, &info)) {
            *ret = gpa;
            return true;
        }
        gpa = align_up(info.memaddr + info.max_size, align);
    }
    return false;
}

bool memory_device_place(struct devices *all, uint64_t size, uint64_t align, uint64_t *gpa,
                         GError **error)
{
    uint64_t total = all->host.memory_size, used = memory_device_sums(all).max;

    if (!total) {
        error_set(error, "memory devices (e.g. for memory hotplug) are not enabled, please specify "
                  "the maxmem option");
        return false;
    }
    if (size > total - used) {
        error_set(error, "not enough space, currently 0x%" PRIx64 " in use of total space for "
                  "memory devices 0x%" PRIx64, used, total);
        return false;
    }
    if (*gpa)
        return check_given(all, *gpa, size, align, error);
    if (find_free(all, size, align, gpa))
        return true;
    error_set(error, "could not find position in guest address space for memory device - memory "
              "fragmented due to alignments");
    return false;
}

struct memory_device_sums memory_device_sums(struct devices *all)
{
    struct memory_device_sums sums = { 0 };
    struct memory_device_info info;

    for (guint i = 0; i < all->list->len; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (!dev->type->memory)
            continue;
        dev->type->memory(dev, &info);
        sums.plugged += info.size;
        sums.max += info.max_size;
    }
    return sums;
}
