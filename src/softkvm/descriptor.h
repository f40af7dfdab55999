/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From the descriptors that callers hold to the objects behind them.
 *
 * Descriptors are real ones of the process (eventfd, memfd), so that they can
 * be polled and their numbers clash with nothing; the table says which of them
 * are ours.  One mutex covers it; it is never held while an object works.
 */
#ifndef SOFTKVM_DESCRIPTOR_H
#define SOFTKVM_DESCRIPTOR_H

#include <stddef.h>
#include <sys/types.h>

/* What a kind of object does. All but ioctl may be NULL; 0 or more, or -errno. */
struct descriptor_class {
    int (*ioctl)(void *object, unsigned long request, unsigned long arg);
    int (*mmap)(void *object, void *addr, size_t length, int prot, int flags, int fd,
                off_t offset, void **ret);
    /* The descriptor was closed and the last call on it has returned. */
    void (*release)(void *object);
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

/* 0; -EBADF. */
int descriptor_close(int fd);

#endif
