/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest_memfd: memory that is the guest's while it is private.
 *
 * The file is a sealed memfd.  This library's own view of it is one mapping of
 * the whole file; the caller's mappings are kept in a registry so that private
 * pages can be taken out of them: there an empty file is mapped, and whoever
 * touches it gets SIGBUS (the kernel: EFAULT), as on a guest_memfd of Linux.
 * Those that children of fork() inherited are treated in the same way.
 *
 * Source: Linux 6.18 virt/kvm/guest_memfd.c for behaviour, and v8 of the
 * in-place conversion series.
 */
#ifndef SOFTKVM_GUEST_MEMFD_H
#define SOFTKVM_GUEST_MEMFD_H

#include "kvm_uapi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attr_map;
struct code_words;
struct descriptor;
struct gmem_pin;
struct softkvm_options;
struct vm;

struct guest_memfd {
    struct vm *vm;              /* referenced */
    uint64_t id;                /* no other file of this process and its parents has it */
    int fd;                     /* our own descriptor of the file */
    uint64_t inode;             /* of fd, should somebody have closed it */
    uint64_t size, flags;
    unsigned refs;              /* the caller's descriptor and mappings; atomic */
    /* Under vm->lock, written with vCPUs paused and under the registry's lock. */
    struct attr_map *private_pages;
    struct gmem_pin *pins;              /* likewise */
    uint8_t *host;              /* whole file; made when it is bound first */
    struct code_words *code;
};

/* KVM_CREATE_GUEST_MEMFD: a descriptor or -errno. */
int guest_memfd_create(struct vm *vm, const struct kvm_create_guest_memfd *args);

/* The GUEST_MEMFD_FLAG_* that may be set for a VM; NULL: for some VM. */
uint64_t guest_memfd_valid_flags(const struct softkvm_options *options, const struct vm *vm);

/*
 * guest_memfd_find - the file behind a descriptor.
 * *holder must be given to descriptor_put() afterwards (not under vm->lock, as
 * that may be the last reference); NULL on error.  -EBADF; -EINVAL: another file.
 */
int guest_memfd_find(int fd, struct descriptor **holder, struct guest_memfd **ret);

/*
 * guest_memfd_bind - check a slot's wish and prepare the file for the guest.
 * -EINVAL, -EEXIST, -ENOMEM; vm->lock held.
 */
int guest_memfd_bind(struct vm *vm, struct guest_memfd *gmem, uint64_t offset, uint64_t size);

/* Has the page memory of its own already? Asks the kernel. */
bool guest_memfd_has_page(const struct guest_memfd *gmem, uint64_t offset);

/* softkvm_pin() and softkvm_unpin(). -EINVAL, -ENOMEM, -ENOENT. */
int guest_memfd_pin(struct guest_memfd *gmem, uint64_t offset, uint64_t size, unsigned tries);
int guest_memfd_unpin(struct guest_memfd *gmem, uint64_t offset, uint64_t size);

/* The last one takes vm->lock. */
void guest_memfd_put(struct guest_memfd *gmem);

#endif
