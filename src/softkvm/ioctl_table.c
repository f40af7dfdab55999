/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding an ioctl's row, and moving its argument. */
#include "ioctl_table.h"

#include "test_hooks.h"
#include "usercopy.h"

#include <errno.h>
#include <stdlib.h>

const struct ioctl_row *ioctl_find(const struct ioctl_table *table, unsigned long request)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].cmd == (unsigned)request)
            return &table->rows[i];
    }
    return NULL;
}

bool ioctl_has_cap(const struct ioctl_table *table, unsigned cap)
{
    for (size_t i = 0; i < table->count; i++) {
        if (cap != CAP_NONE && table->rows[i].cap == cap)
            return true;
    }
    return false;
}

static size_t argument_size(const struct ioctl_row *row, uint32_t count)
{
    return row->size + (size_t)count * row->element;
}

/* The handler's part, on a copy of size bytes that it may change. */
static int call_with_copy(const struct ioctl_row *row, void *object, unsigned long arg, void *copy,
                          uint32_t count)
{
    size_t size = argument_size(row, count);
    int ret = 0;

    if (row->in || _IOC_DIR(row->cmd) & _IOC_WRITE)
        ret = copy_from_user(copy, arg, size);
    /* It may have been changed since it was looked at first. */
    if (row->element)
        *(uint32_t *)copy = count;
    if (!ret)
        ret = row->fn(object, copy, arg);
    if (ret < 0 || row->in || !(_IOC_DIR(row->cmd) & _IOC_READ))
        return ret;
    if (row->element) {
        size_t out = argument_size(row, *(uint32_t *)copy);

        size = out < size ? out : size;
    }
    return copy_to_user(arg, copy, size) ? -EFAULT : ret;
}

int ioctl_call(const struct ioctl_row *row, void *object, unsigned long arg)
{
    uint32_t count = 0;
    void *copy;
    int ret = hook_ioctl(row->name);

    if (ret)
        return ret;
    if (!row->size)
        return row->fn(object, NULL, arg);
    if (row->element && copy_from_user(&count, arg, sizeof(count)))
        return -EFAULT;
    if (row->element && count > row->max_elements) {
        if (row->too_many)
            return row->too_many;
        count = row->max_elements;
    }
    copy = calloc(1, argument_size(row, count));
    if (!copy)
        return -ENOMEM;
    ret = call_with_copy(row, object, arg, copy, count);
    free(copy);
    return ret;
}
