/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Time of the guest: the TSC, and when its kvm-clock pages are written.
 *
 * The TSC is the host's ticks (host_ticks.h), scaled where the frequencies differ,
 * plus an offset; kvm-clock is a line through the same ticks, so neither drifts
 * against the other.  Both count as CLOCK_MONOTONIC_RAW does.  Source: Linux 6.12 Documentation/virt/kvm/x86/msr.rst.
 */
#ifndef SOFTKVM_GUEST_CLOCK_H
#define SOFTKVM_GUEST_CLOCK_H

#include "kvm_uapi.h"

#include <stdint.h>

struct vcpu;
struct vm;

/* The guest's TSC now, and setting it (IA32_TSC; the run_lock is held). */
uint64_t tsc_read(struct vcpu *vcpu);
void tsc_write(struct vcpu *vcpu, uint64_t value);
/* A new vCPU's: all vCPUs of a VM count from the moment it was created. */
void tsc_start(struct vcpu *vcpu);
/*
 * User space's write of IA32_TSC.  A VMM restores its vCPUs one after the other;
 * as in KVM, values that fit within a second mean the same TSC, and 0 means the
 * VM's own.
 */
void tsc_write_host(struct vcpu *vcpu, uint64_t value);
/* KVM_VCPU_TSC_OFFSET: what the vCPU's TSC is ahead of the host's, as KVM_GET_CLOCK tells that. */
void tsc_set_offset(struct vcpu *vcpu, uint64_t offset);
/* KVM_SET_TSC_KHZ: 0 means the default. -EINVAL. The count goes on from where it is. */
int tsc_set_khz(struct vcpu *vcpu, unsigned long khz);
/* Tell the local APIC what a TSC deadline means. */
void tsc_changed(struct vcpu *vcpu);

/* MSR_KVM_SYSTEM_TIME (to be followed by kvmclock_refresh()), MSR_KVM_WALL_CLOCK. */
void kvmclock_set_msr(struct vcpu *vcpu, uint64_t value);
void wall_clock_set_msr(struct vcpu *vcpu, uint64_t value);
/* Write the guest's clock page again if something about time changed; before entering. */
void kvmclock_refresh(struct vcpu *vcpu);
/* KVM_KVMCLOCK_CTRL: 0; -EINVAL: the guest has no clock. */
int kvmclock_tell_stopped(struct vcpu *vcpu);

/* KVM_GET_CLOCK, KVM_SET_CLOCK. */
int kvmclock_get(struct vm *vm, struct kvm_clock_data *clock);
int kvmclock_set(struct vm *vm, const struct kvm_clock_data *clock);

#endif
