/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the vCPU loop and the table of exits. */
#ifndef KVM_EXITS_H
#define KVM_EXITS_H

#include "vm.h"

/* What happened at one KVM_RUN: hand it to the handler that its reason has. */
struct kvm_exit {
    struct kvm_vcpu *vcpu;
    struct kvm_run *run;
    const struct kvm_exit_ops *ops;
    void *opaque;
    int error;                  /* 0, or what KVM_RUN failed with */
};

enum kvm_exit_action kvm_exit_handle(const struct kvm_exit *exit);
/* The next KVM_RUN first completes this exit (moves data to registers): they aren't final yet. */
bool kvm_exit_is_pending(uint32_t exit_reason);

#endif
