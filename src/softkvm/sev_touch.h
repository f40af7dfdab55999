/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who touches a page that was taken out of a mapping: a userfaultfd, one thread
 * that gives pages which are just missing, and one that brings back those which
 * the guest has.  The first never waits for a vCPU: one that waits for a page
 * always gets it, and can then be stopped for the second.
 */
#ifndef SOFTKVM_SEV_TOUCH_H
#define SOFTKVM_SEV_TOUCH_H

#include <stdbool.h>
#include <stdint.h>

struct sev_memory;
struct sev_touch;
struct vm;

/* 0, -ENODEV, -ENOMEM, -EAGAIN: as sev_memory_new(). */
int sev_touch_new(struct sev_memory *memory, struct vm *vm, struct sev_touch **ret);
void sev_touch_free(struct sev_touch *touch);

/* Whole pages; *shmem: shared memory, not anonymous. As sev_memory_add(). */
int sev_touch_register(struct sev_touch *touch, uint64_t hva, uint64_t size, bool *shmem);
void sev_touch_unregister(struct sev_touch *touch, uint64_t hva, uint64_t size);

/* A page of zeros where there is none. -EEXIST: there is one; -EFAULT: there is no memory. */
int sev_touch_zero(struct sev_touch *touch, uint64_t hva);
/* The same with these bytes. */
int sev_touch_fill(struct sev_touch *touch, uint64_t hva, const void *page);

/*
 * For its threads, by sev_memory.c: is the missing page at hva the guest's?  If
 * not, it was given a page, or has one (*zeroed false).
 */
bool sev_memory_is_guests(struct sev_memory *memory, uint64_t hva, bool *zeroed);

#endif
