/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Registers in struct kvm_run.  User space may change the page at any time, so
 * each part is copied before it is checked.  Takes the vCPU's run_lock.
 * Source: Documentation/virt/kvm/api.rst, KVM_CAP_SYNC_REGS.
 */
#include "sync_regs.h"

#include "kvm_uapi.h"
#include "soft_vcpu.h"
#include "vcpu_state.h"

#include <errno.h>

static uint64_t load_bits(const __u64 *bits)
{
    return __atomic_load_n(bits, __ATOMIC_RELAXED);
}

static int load_parts(struct vcpu *vcpu, uint64_t dirty)
{
    const struct kvm_sync_regs *from = &vcpu->run->s.regs;
    int ret = 0;

    if (dirty & KVM_SYNC_X86_REGS) {
        struct kvm_regs regs = from->regs;

        vcpu_set_regs(vcpu, &regs);
    }
    if (dirty & KVM_SYNC_X86_SREGS) {
        struct kvm_sregs sregs = from->sregs;

        ret = vcpu_set_sregs(vcpu, &sregs);
    }
    if (!ret && dirty & KVM_SYNC_X86_EVENTS) {
        struct kvm_vcpu_events events = from->events;

        ret = vcpu_set_events(vcpu, &events);
    }
    return ret ? -EINVAL : 0;
}

int sync_regs_load(struct vcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint64_t dirty = load_bits(&run->kvm_dirty_regs);
    int ret;

    /* KVM looks at the lower half only. */
    if ((uint32_t)(load_bits(&run->kvm_valid_regs) | dirty) & ~(uint32_t)KVM_SYNC_X86_VALID_FIELDS)
        return -EINVAL;
    if (!dirty)
        return 0;
    pthread_mutex_lock(&vcpu->run_lock);
    ret = load_parts(vcpu, dirty);
    pthread_mutex_unlock(&vcpu->run_lock);
    if (!ret)
        __atomic_and_fetch(&run->kvm_dirty_regs, ~dirty, __ATOMIC_RELAXED);
    return ret;
}

void sync_regs_store(struct vcpu *vcpu)
{
    struct kvm_sync_regs *to = &vcpu->run->s.regs;
    uint64_t valid = load_bits(&vcpu->run->kvm_valid_regs);

    if (!(valid & KVM_SYNC_X86_VALID_FIELDS))
        return;
    pthread_mutex_lock(&vcpu->run_lock);
    if (valid & KVM_SYNC_X86_REGS)
        vcpu_get_regs(vcpu, &to->regs);
    if (valid & KVM_SYNC_X86_SREGS)
        vcpu_get_sregs(vcpu, &to->sregs);
    if (valid & KVM_SYNC_X86_EVENTS)
        vcpu_get_events(vcpu, &to->events);
    pthread_mutex_unlock(&vcpu->run_lock);
}
