/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which MSRs a guest may use (KVM_X86_SET_MSR_FILTER), and which of the
 * accesses that fail go to user space (KVM_CAP_X86_USER_SPACE_MSR).
 *
 * Source: Linux 6.12 Documentation/virt/kvm/api.rst, 4.97 and 7.21.
 */
#ifndef SOFTKVM_MSR_FILTER_H
#define SOFTKVM_MSR_FILTER_H

#include "kvm_uapi.h"

#include <stdbool.h>
#include <stdint.h>

struct vm;

#define MSR_EXIT_REASONS \
    (KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER)

struct msr_filter;

/* KVM_X86_SET_MSR_FILTER: 0 or -errno.  Stops the guest; takes vm->lock. */
int msr_filter_set(struct vm *vm, const struct kvm_msr_filter *from);
void msr_filter_free(struct msr_filter *filter);

/* type: KVM_MSR_FILTER_READ or _WRITE.  A vCPU's run_lock is held. */
bool msr_filter_allows(const struct vm *vm, uint32_t index, uint32_t type);

#endif
