/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the descriptors that callers hold to the objects behind them.
 *
 * Descriptors are real ones of the process (eventfd, memfd), so that they can
 * be polled and their numbers clash with nothing; the table says which of them
 * are ours.  One mutex covers it; it is never held while an object works.
 * Several descriptors may be one open file (dup): the object goes with the last.
 *
 * In a child of fork() the descriptors stay known, but the threads that worked
 * for them are gone and locks may be held for ever: only objects of a class that
 * says so are used, the others answer EIO, as KVM does to another process.
 */
#ifndef SOFTKVM_DESCRIPTOR_H
#define SOFTKVM_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a kind of object does. All but ioctl may be NULL; 0 or more, or -errno. */
struct descriptor_class {
    int (*ioctl)(void *object, unsigned long request, unsigned long arg);
    int (*mmap)(void *object, void *addr, size_t length, int prot, int flags, int fd,
                off_t offset, void **ret);
    /* fallocate(2) after the checks that every file has; in_child: of the VM's process. */
    int (*fallocate)(void *object, int mode, uint64_t offset, uint64_t length, bool in_child);
    /* pread(2): bytes, which may be fewer, or -errno. */
    ssize_t (*pread)(void *object, void *buffer, size_t size, uint64_t offset);
    /* softkvm_private_run(). */
    int (*private_run)(void *object, uint64_t at, bool *ret_private, uint64_t *ret_end);
    /* The descriptor was closed and the last call on it has returned. */
    void (*release)(void *object);
    const char *name;           /* "system", "vm", "vcpu", "guest_memfd", "stats" */
    bool by_path;               /* was opened by a path: a position can be given to it */
    bool survives_fork;         /* ioctls work in a child as well */
};

struct descriptor;

/*
 * descriptor_add - the table takes over fd and the caller's reference to object.
 * Returns fd; -errno, with fd closed and the object released.
 */
int descriptor_add(int fd, const struct descriptor_class *class, void *object);

/* NULL: not one of ours. Every get needs a put. */
struct descriptor *descriptor_get(int fd);
void descriptor_put(struct descriptor *descriptor);

const struct descriptor_class *descriptor_class(const struct descriptor *descriptor);
void *descriptor_object(const struct descriptor *descriptor);

/* It was made before a fork(), and this is the child. */
bool descriptor_inherited(const struct descriptor *descriptor);

/* The file position, which all descriptors of an open file share. */
uint64_t descriptor_position(struct descriptor *descriptor);
void descriptor_advance(struct descriptor *descriptor, uint64_t by);

/* Lock-free, safe in signal handlers: may fd be one of ours? */
bool descriptor_owned(int fd);

/* dup3(2), or with newfd -1 fcntl(F_DUPFD) from least on. A descriptor or -errno. */
int descriptor_dup(int fd, int newfd, int least, int flags);

/* 0; -EBADF. */
int descriptor_close(int fd);

#endif
