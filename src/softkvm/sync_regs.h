/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_CAP_SYNC_REGS: registers that go with KVM_RUN in struct kvm_run. */
#ifndef SOFTKVM_SYNC_REGS_H
#define SOFTKVM_SYNC_REGS_H

struct vcpu;

/* kvm_dirty_regs into the vCPU, and cleared. -EINVAL: unknown bits or bad values. */
int sync_regs_load(struct vcpu *vcpu);
/* The vCPU's state into what kvm_valid_regs asks for. */
void sync_regs_store(struct vcpu *vcpu);

#endif
