/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_SET_VAPIC_ADDR and KVM_TPR_ACCESS_REPORTING; the caller has the vCPU's run_lock. */
#ifndef SOFTKVM_VAPIC_H
#define SOFTKVM_VAPIC_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* 0: no vAPIC.  -EINVAL: no RAM there, or no local APIC in the kernel. */
int vapic_set_address(struct vcpu *vcpu, uint64_t gpa);

/*
 * The task priority from the guest's word to the APIC, and what the APIC has to
 * the word.  To the APIC whenever the guest may have written the word and somebody
 * looks; to the word when that may have changed something, and on entry.
 */
void vapic_to_apic(struct vcpu *vcpu);
void vapic_from_apic(struct vcpu *vcpu);

#endif
