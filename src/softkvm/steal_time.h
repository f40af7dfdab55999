/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Steal time: how long a vCPU's thread was ready to run while the host's
 * processors did something else, in a structure of the guest's.
 *
 * Source: Linux 6.12 Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME.
 */
#ifndef SOFTKVM_STEAL_TIME_H
#define SOFTKVM_STEAL_TIME_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* Does the host's kernel tell?  Without it the feature isn't announced and the MSR takes only 0. */
bool steal_time_available(void);
/* MSR_KVM_STEAL_TIME, to be followed by steal_time_refresh(). False: #GP. */
bool steal_time_set_msr(struct vcpu *vcpu, uint64_t value);
/* Add what was stolen since the last time; the vCPU's thread, in the guest. */
void steal_time_refresh(struct vcpu *vcpu);
/* The vCPU isn't going to run: other vCPUs needn't spin for what it holds. Likewise. */
void steal_time_preempted(struct vcpu *vcpu);

#endif
