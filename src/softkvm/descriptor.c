/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of this library's descriptors. */
#include "descriptor.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct descriptor {
    const struct descriptor_class *class;
    void *object;
    unsigned refs;              /* under table.lock */
};

static struct {
    pthread_mutex_t lock;
    struct descriptor **entry;  /* by descriptor number */
    size_t size;
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Under table.lock. */
static int table_grow(size_t fd)
{
    size_t size = table.size ? table.size : 64;
    struct descriptor **entry;

    if (fd < table.size)
        return 0;
    while (size <= fd)
        size *= 2;
    entry = realloc(table.entry, size * sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    memset(entry + table.size, 0, (size - table.size) * sizeof(*entry));
    table.entry = entry;
    table.size = size;
    return 0;
}

int descriptor_add(int fd, const struct descriptor_class *class, void *object)
{
    struct descriptor *descriptor = malloc(sizeof(*descriptor)), *stale = NULL;
    int ret = descriptor ? 0 : -ENOMEM;

    if (descriptor)
        *descriptor = (struct descriptor){ .class = class, .object = object, .refs = 1 };
    pthread_mutex_lock(&table.lock);
    if (!ret)
        ret = table_grow(fd);
    if (!ret) {
        /* Somebody closed it behind our back and the number came round again. */
        stale = table.entry[fd];
        table.entry[fd] = descriptor;
    }
    pthread_mutex_unlock(&table.lock);
    if (stale)
        descriptor_put(stale);
    if (!ret)
        return fd;
    free(descriptor);
    close(fd);
    if (class->release)
        class->release(object);
    return ret;
}

struct descriptor *descriptor_get(int fd)
{
    struct descriptor *descriptor = NULL;

    pthread_mutex_lock(&table.lock);
    if (fd >= 0 && (size_t)fd < table.size)
        descriptor = table.entry[fd];
    if (descriptor)
        descriptor->refs++;
    pthread_mutex_unlock(&table.lock);
    return descriptor;
}

void descriptor_put(struct descriptor *descriptor)
{
    bool last;

    pthread_mutex_lock(&table.lock);
    last = --descriptor->refs == 0;
    pthread_mutex_unlock(&table.lock);
    if (!last)
        return;
    if (descriptor->class->release)
        descriptor->class->release(descriptor->object);
    free(descriptor);
}

const struct descriptor_class *descriptor_class(const struct descriptor *descriptor)
{
    return descriptor->class;
}

void *descriptor_object(const struct descriptor *descriptor)
{
    return descriptor->object;
}

int descriptor_close(int fd)
{
    struct descriptor *descriptor = NULL;

    pthread_mutex_lock(&table.lock);
    if (fd >= 0 && (size_t)fd < table.size) {
        descriptor = table.entry[fd];
        table.entry[fd] = NULL;
    }
    pthread_mutex_unlock(&table.lock);
    if (!descriptor)
        return -EBADF;
    close(fd);
    descriptor_put(descriptor);
    return 0;
}
