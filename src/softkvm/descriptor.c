/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of this library's descriptors. */
#include "descriptor.h"

#include "fork_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct descriptor {
    const struct descriptor_class *class;
    void *object;
    unsigned refs;              /* under table.lock: descriptors, calls under way */
    unsigned generation;        /* of the process that made it */
    uint64_t position;          /* of read(2); atomic */
};

/* A bit a number: what the calls that everybody makes all the time look at. */
enum { OWNED_MAX = 1 << 20, BITS = 8 * sizeof(unsigned long) };
static unsigned long owned[OWNED_MAX / BITS];   /* atomic */

static struct {
    pthread_mutex_t lock;
    struct descriptor **entry;  /* by descriptor number */
    size_t size;
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

bool descriptor_owned(int fd)
{
    return fd >= 0 && fd < OWNED_MAX &&
           __atomic_load_n(&owned[fd / BITS], __ATOMIC_RELAXED) >> fd % BITS & 1;
}

static void set_owned(int fd, bool ours)
{
    unsigned long bit = 1UL << fd % BITS;

    if (ours)
        __atomic_or_fetch(&owned[fd / BITS], bit, __ATOMIC_RELAXED);
    else
        __atomic_and_fetch(&owned[fd / BITS], ~bit, __ATOMIC_RELAXED);
}

static void fork_prepare(void)
{
    pthread_mutex_lock(&table.lock);
}

static void fork_done(void)
{
    pthread_mutex_unlock(&table.lock);
}

static void watch_forks(void)
{
    fork_guard_add(fork_prepare, fork_done);
}

/* Under table.lock. */
static int table_grow(size_t fd)
{
    size_t size = table.size ? table.size : 64;
    struct descriptor **entry;

    if (fd >= OWNED_MAX)
        return -EMFILE;
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

/* Under table.lock. What was there before is returned: its reference is the caller's. */
static struct descriptor *table_set(int fd, struct descriptor *descriptor)
{
    struct descriptor *before = table.entry[fd];

    table.entry[fd] = descriptor;
    set_owned(fd, descriptor != NULL);
    return before;
}

int descriptor_add(int fd, const struct descriptor_class *class, void *object)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct descriptor *descriptor = malloc(sizeof(*descriptor)), *stale = NULL;
    int ret = descriptor ? 0 : -ENOMEM;

    pthread_once(&once, watch_forks);
    if (descriptor)
        *descriptor = (struct descriptor){ .class = class, .object = object, .refs = 1,
                                           .generation = fork_generation() };
    pthread_mutex_lock(&table.lock);
    if (!ret)
        ret = table_grow(fd);
    if (!ret)                   /* somebody may have closed it behind our back */
        stale = table_set(fd, descriptor);
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
    /* In a child: threads and locks are not what releasing would need. */
    if (descriptor->class->release && !descriptor_inherited(descriptor))
        descriptor->class->release(descriptor->object);
    free(descriptor);
}

bool descriptor_inherited(const struct descriptor *descriptor)
{
    return descriptor->generation != fork_generation();
}

uint64_t descriptor_position(struct descriptor *descriptor)
{
    return __atomic_load_n(&descriptor->position, __ATOMIC_RELAXED);
}

void descriptor_advance(struct descriptor *descriptor, uint64_t by)
{
    __atomic_add_fetch(&descriptor->position, by, __ATOMIC_RELAXED);
}

const struct descriptor_class *descriptor_class(const struct descriptor *descriptor)
{
    return descriptor->class;
}

void *descriptor_object(const struct descriptor *descriptor)
{
    return descriptor->object;
}

/*
 * The new number is entered under the lock that looking up takes, so nobody
 * finds it without what is behind it.
 */
int descriptor_dup(int fd, int newfd, int least, int flags)
{
    struct descriptor *descriptor = NULL, *before = NULL;
    int ret;

    pthread_mutex_lock(&table.lock);
    if (fd >= 0 && (size_t)fd < table.size)
        descriptor = table.entry[fd];
    if (!descriptor)
        ret = -EBADF;
    else if (newfd >= 0)
        ret = dup3(fd, newfd, flags);
    else
        ret = fcntl(fd, flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, least);
    if (descriptor && ret < 0)
        ret = -errno;
    if (ret >= 0) {
        int error = table_grow(ret);

        if (error) {
            close(ret);
            ret = error;
        } else {
            descriptor->refs++;
            before = table_set(ret, descriptor);
        }
    }
    pthread_mutex_unlock(&table.lock);
    if (before)
        descriptor_put(before);
    return ret;
}

int descriptor_close(int fd)
{
    struct descriptor *descriptor = NULL;

    pthread_mutex_lock(&table.lock);
    if (fd >= 0 && (size_t)fd < table.size)
        descriptor = table_set(fd, NULL);
    pthread_mutex_unlock(&table.lock);
    if (!descriptor)
        return -EBADF;
    close(fd);
    descriptor_put(descriptor);
    return 0;
}
