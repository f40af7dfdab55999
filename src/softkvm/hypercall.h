/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMCALL and VMMCALL: KVM's hypercalls. */
#ifndef SOFTKVM_HYPERCALL_H
#define SOFTKVM_HYPERCALL_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* KVM_HC_* that can be sent to user space: KVM_CAP_EXIT_HYPERCALL. */
uint64_t hypercall_exit_mask(void);

/* The guest stands on one. True: run is filled, user space answers. */
bool hypercall(struct vcpu *vcpu);

/* User space has answered: into the guest's RAX. */
void hypercall_complete(struct vcpu *vcpu);

#endif
