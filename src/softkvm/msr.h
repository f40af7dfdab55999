/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Model-specific registers: which there are, and those that the processor
 * itself (cpu/msr.c) doesn't hold: TSC, local APIC, KVM's own.
 */
#ifndef SOFTKVM_MSR_H
#define SOFTKVM_MSR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vcpu;

enum {
    MSR_LIST_MAX = 1024,        /* what callers may offer room for at most */
    MSR_IO_MAX = 255,           /* KVM_GET_MSRS, KVM_SET_MSRS: fewer than 256 */
};

/* KVM_GET_MSR_INDEX_LIST, KVM_GET_MSR_FEATURE_INDEX_LIST. */
const uint32_t *msr_saved_list(size_t *count);
const uint32_t *msr_feature_list(size_t *count);

/* KVM_GET_MSRS on the system descriptor. False: no feature MSR. */
bool msr_feature_get(uint32_t index, uint64_t *value);

/*
 * Every MSR of a vCPU.  host: for user space, which may do what a guest may not.
 * False: #GP.  The vCPU's run_lock is held.
 */
bool msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host);
bool msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host);
/* False: no such MSR, whatever the value. */
bool msr_known(const struct vcpu *vcpu, uint32_t index);

#endif
