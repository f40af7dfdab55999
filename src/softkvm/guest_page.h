/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a guest-physical page to what serves it: slots, attributes, backings together. */
#ifndef SOFTKVM_GUEST_PAGE_H
#define SOFTKVM_GUEST_PAGE_H

#include "cpu.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vcpu;
struct vm;

enum guest_page_kind {
    GUEST_PAGE_RAM,             /* found */
    GUEST_PAGE_NONE,            /* no slot, or a read-only one and a write: MMIO */
    GUEST_PAGE_WRONG_STATE,     /* KVM_EXIT_MEMORY_FAULT */
    GUEST_PAGE_NO_MEMORY,       /* -ENOMEM, and what KVM_EXIT_MEMORY_FAULT tells */
    GUEST_PAGE_BAD,             /* nothing usable at the slot's userspace_addr: -EFAULT */
    GUEST_PAGE_WRONG_VIEW,      /* of a SEV guest: leave the guest, sev_switch_page(), try again */
};

/*
 * guest_page_find - what is at page-aligned gpa for an access.
 * smm: in the address space of vCPUs that are in SMM.  gpa of a SEV guest: with the C-bit
 * for an encrypted access.
 * *page is filled for GUEST_PAGE_RAM; *is_private always.  The caller is a vCPU
 * in the guest or holds vm->lock.  A write makes the page dirty in its slot's log.
 */
enum guest_page_kind guest_page_find(struct vm *vm, bool smm, uint64_t gpa, enum cpu_access access,
                                     struct cpu_page *page, bool *is_private);

/*
 * Where a structure that KVM writes for the guest is: NULL where there is no RAM,
 * or it isn't aligned to 4 or crosses a page; or of a SEV guest, not yet: the vCPU leaves
 * the guest for the page then (vcpu->wants_page).  The same callers; guest_struct_written()
 * after the write.
 */
void *guest_struct_find(struct vcpu *vcpu, uint64_t gpa, size_t size, struct cpu_page *page);
void guest_struct_written(const struct cpu_page *page);

#endif
