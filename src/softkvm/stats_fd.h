/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_GET_STATS_FD: a file of counters that describes itself. */
#ifndef SOFTKVM_STATS_FD_H
#define SOFTKVM_STATS_FD_H

struct vcpu;
struct vm;

/* Of the vCPU, or with NULL of the VM. A descriptor or -errno. */
int stats_fd_create(struct vm *vm, struct vcpu *vcpu);

#endif
