/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A processor's state in KVM's structures. 0 or -errno; the run_lock is held. */
#ifndef SOFTKVM_VCPU_STATE_H
#define SOFTKVM_VCPU_STATE_H

#include <linux/kvm.h>

struct vcpu;

void vcpu_get_regs(struct vcpu *vcpu, struct kvm_regs *regs);
void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs);
void vcpu_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs);
int vcpu_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs);
void vcpu_get_sregs2(struct vcpu *vcpu, struct kvm_sregs2 *sregs);
int vcpu_set_sregs2(struct vcpu *vcpu, const struct kvm_sregs2 *sregs);
void vcpu_get_fpu(struct vcpu *vcpu, struct kvm_fpu *fpu);
void vcpu_set_fpu(struct vcpu *vcpu, const struct kvm_fpu *fpu);
void vcpu_get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events);
int vcpu_set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events);
/* Before the guest goes on: CR2 or DR6 of the exception that user space gave. */
void vcpu_record_exception(struct vcpu *vcpu);
void vcpu_get_debugregs(struct vcpu *vcpu, struct kvm_debugregs *regs);
int vcpu_set_debugregs(struct vcpu *vcpu, const struct kvm_debugregs *regs);

#endif
