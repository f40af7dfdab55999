/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* readlink(2) of /proc/self/fd/N: KVM's descriptors have the names that Linux gives them. */
#include "descriptor.h"
#include "preload.h"
#include "soft_vcpu.h"
#include "softkvm.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_DIGITS = 10 };

static const char *after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);

    return text && !strncmp(text, prefix, length) ? text + length : NULL;
}

/* The descriptor that path names, -1: it names none. */
static int descriptor_of_path(const char *path)
{
    static const char *const folders[] = { "/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/" };
    const char *digits = NULL;
    char mine[32];

    if (!path || path[0] != '/')
        return -1;
    for (size_t i = 0; !digits && i < sizeof(folders) / sizeof(folders[0]); i++)
        digits = after(path, folders[i]);
    if (!digits && after(path, "/proc/")) {
        snprintf(mine, sizeof(mine), "/proc/%d/fd/", (int)getpid());
        digits = after(path, mine);
    }
    if (!digits || !*digits || strlen(digits) > MAX_DIGITS ||
        digits[strspn(digits, "0123456789")])
        return -1;
    return strtol(digits, NULL, 10);
}

/* As virt/kvm/ names its anonymous inodes. */
static void name_of(struct descriptor *descriptor, char *name, size_t size)
{
    const char *kind = descriptor_class(descriptor)->name;

    if (!strcmp(kind, "system"))
        snprintf(name, size, "/dev/kvm");
    else if (!strcmp(kind, "sev"))
        snprintf(name, size, "/dev/sev");
    else if (!strcmp(kind, "vcpu"))
        snprintf(name, size, "anon_inode:kvm-vcpu:%u",
                 ((const struct vcpu *)descriptor_object(descriptor))->id);
    else if (!strcmp(kind, "guest_memfd"))
        snprintf(name, size, "anon_inode:[kvm-gmem]");
    else
        snprintf(name, size, "anon_inode:kvm-%s", kind);
}

/* -1: go on to libc. */
static ssize_t served_link(const char *path, char *buffer, size_t size)
{
    int saved = errno, fd = descriptor_of_path(path);
    struct descriptor *descriptor = fd >= 0 && softkvm_owns(fd) ? descriptor_get(fd) : NULL;
    char name[64];
    size_t length;

    errno = saved;
    if (!descriptor)
        return -1;
    name_of(descriptor, name, sizeof(name));
    descriptor_put(descriptor);
    length = strlen(name) < size ? strlen(name) : size;
    memcpy(buffer, name, length);
    return length;
}

ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t room);
ssize_t __readlinkat_chk(int dir, const char *path, char *buffer, size_t size, size_t room);

INTERPOSED ssize_t readlink(const char *path, char *buffer, size_t size)
{
    ssize_t length = served_link(path, buffer, size);

    return length >= 0 ? length : NEXT(readlink)(path, buffer, size);
}

INTERPOSED ssize_t readlinkat(int dir, const char *path, char *buffer, size_t size)
{
    ssize_t length = served_link(path, buffer, size);

    return length >= 0 ? length : NEXT(readlinkat)(dir, path, buffer, size);
}

/* Too small a buffer: libc ends the program. */
INTERPOSED ssize_t __readlink_chk(const char *path, char *buffer, size_t size, size_t room)
{
    ssize_t length = size > room ? -1 : served_link(path, buffer, size);

    return length >= 0 ? length : NEXT(__readlink_chk)(path, buffer, size, room);
}

INTERPOSED ssize_t __readlinkat_chk(int dir, const char *path, char *buffer, size_t size,
                                    size_t room)
{
    ssize_t length = size > room ? -1 : served_link(path, buffer, size);

    return length >= 0 ? length : NEXT(__readlinkat_chk)(dir, path, buffer, size, room);
}
