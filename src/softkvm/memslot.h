/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory slots: what is behind guest-physical addresses.
 *
 * Written with vm->lock held and every vCPU out of the guest (vm_pause()),
 * except while there is nobody to see it; so whoever holds vm->lock, or is a
 * vCPU in the guest, reads without more.
 */
#ifndef SOFTKVM_MEMSLOT_H
#define SOFTKVM_MEMSLOT_H

#include "kvm_uapi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct code_words;
struct guest_memfd;
struct vm;

enum { MEMSLOT_MAX = 32764 };   /* 32767 less KVM's own three */

#define MANUAL_DIRTY_LOG_FLAGS (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET)

struct memslot {
    uint32_t id, flags;
    struct memslots *space;     /* that it is in */
    uint64_t gpa, size, hva;
    struct guest_memfd *gmem;   /* NULL: none, or its last descriptor was closed */
    uint64_t gmem_offset;
    bool gmem_only;             /* the guest_memfd serves shared pages too */
    struct code_words *code;    /* of the pages at hva */
    uint8_t *usable;            /* a page's USABLE_*: what the kernel said of hva; atomic */
    uint64_t *dirty;            /* bitmap while KVM_MEM_LOG_DIRTY_PAGES; atomic */
};

enum { USABLE_READ = 1 << 0, USABLE_WRITE = 1 << 1 };

struct memslots {
    struct memslot **by_gpa;    /* sorted, no overlaps */
    size_t count, capacity;
    struct memslot *by_id[MEMSLOT_MAX];
};

static inline uint64_t memslot_pages(const struct memslot *slot)
{
    return slot->size / 4096;
}

/* NULL: no slot there. */
struct memslot *memslots_find(const struct memslots *slots, uint64_t gpa);

/* KVM_SET_USER_MEMORY_REGION(2), all checks in KVM's order. */
int vm_set_memory_region(struct vm *vm, const struct kvm_userspace_memory_region2 *region,
                         uint32_t valid_flags);

/*
 * KVM_GET_DIRTY_LOG, which clears the log unless KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is
 * enabled; and KVM_CLEAR_DIRTY_LOG.  -EINVAL, -ENOENT without a log, -EFAULT, -ENOMEM.
 */
int vm_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log);
int vm_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log);

void memslots_free(struct vm *vm);

#endif
