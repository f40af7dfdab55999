/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The TSC and KVM's paravirtual clock: both are lines through the host's ticks. */
#include "guest_clock.h"

#include "cpu.h"
#include "guest_page.h"
#include "host_ticks.h"
#include "irqchip.h"
#include "kvmclock.h"
#include "range.h"
#include "soft_vcpu.h"
#include "soft_vm.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_SEC 1000000000ULL

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

static uint64_t tsc_at(const struct vcpu *vcpu, uint64_t ticks)
{
    return host_ticks_scale(ticks, vcpu->tsc_khz) + vcpu->tsc_offset;
}

uint64_t tsc_read(struct vcpu *vcpu)
{
    return tsc_at(vcpu, host_ticks());
}

void tsc_changed(struct vcpu *vcpu)
{
    if (vcpu->lapic)
        lapic_set_tsc_scale(vcpu->lapic, vcpu->tsc_offset, vcpu->tsc_khz);
    __atomic_store_n(&vcpu->kvmclock_stale, true, __ATOMIC_RELAXED);
}

void tsc_write(struct vcpu *vcpu, uint64_t value)
{
    vcpu->tsc_offset += value - tsc_read(vcpu);
    tsc_changed(vcpu);
}

void tsc_start(struct vcpu *vcpu)
{
    vcpu->tsc_khz = __atomic_load_n(&vcpu->vm->default_tsc_khz, __ATOMIC_RELAXED);
    vcpu->tsc_offset = -host_ticks_scale(vcpu->vm->created_ticks, vcpu->tsc_khz);
    /* In step with the others, where user space moved those of this frequency. */
    if (__atomic_load_n(&vcpu->vm->last_tsc_khz, __ATOMIC_ACQUIRE) == vcpu->tsc_khz)
        vcpu->tsc_offset = __atomic_load_n(&vcpu->vm->last_tsc_offset, __ATOMIC_RELAXED);
    tsc_changed(vcpu);
}

void tsc_write_host(struct vcpu *vcpu, uint64_t value)
{
    uint64_t offset = vcpu->tsc_offset + (value - tsc_read(vcpu)), last;
    uint64_t second = vcpu->tsc_khz * 1000ULL;

    if (!value) {
        tsc_start(vcpu);
        return;
    }
    last = __atomic_exchange_n(&vcpu->vm->last_tsc_offset, offset, __ATOMIC_RELAXED);
    if (offset - last + second < 2 * second) {
        offset = last;
        __atomic_store_n(&vcpu->vm->last_tsc_offset, last, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&vcpu->vm->last_tsc_khz, vcpu->tsc_khz, __ATOMIC_RELEASE);
    vcpu->tsc_offset = offset;
    tsc_changed(vcpu);
}

void tsc_set_offset(struct vcpu *vcpu, uint64_t offset)
{
    __atomic_store_n(&vcpu->vm->last_tsc_offset, offset, __ATOMIC_RELAXED);
    __atomic_store_n(&vcpu->vm->last_tsc_khz, vcpu->tsc_khz, __ATOMIC_RELEASE);
    vcpu->tsc_offset = offset;
    tsc_changed(vcpu);
}

int tsc_set_khz(struct vcpu *vcpu, unsigned long khz)
{
    uint64_t now = tsc_read(vcpu);

    if (khz > UINT32_MAX)
        return -EINVAL;
    vcpu->tsc_khz = khz ? khz : host_ticks_khz();
    tsc_write(vcpu, now);
    return 0;
}

/* With the guests' own arithmetic: to the nanosecond what they read from their page. */
static uint64_t kvmclock_at(const struct vm *vm, uint64_t ticks)
{
    struct pvclock_vcpu_time_info line;

    kvmclock_fill(&line, vm->clock.ticks, vm->clock.ns, host_ticks_khz(), 0);
    return kvmclock_ns(&line, ticks);
}

static void write_wall_clock(struct vcpu *vcpu)
{
    struct cpu_page page;
    void *dest = guest_struct_find(vcpu, vcpu->wall_clock_msr, sizeof(struct pvclock_wall_clock),
                                   &page);

    vcpu->wall_clock_due = !dest && vcpu->wants_page;
    if (!dest)
        return;
    kvmclock_publish_wall(dest, clock_ns(CLOCK_REALTIME) -
                                    kvmclock_at(vcpu->vm, host_ticks()));
    guest_struct_written(&page);
}

void kvmclock_refresh(struct vcpu *vcpu)
{
    uint8_t flags = PVCLOCK_TSC_STABLE;
    struct pvclock_vcpu_time_info info;
    const struct vm *vm = vcpu->vm;
    struct cpu_page page;
    void *dest;

    if (vcpu->wall_clock_due)
        write_wall_clock(vcpu);
    if (!__atomic_exchange_n(&vcpu->kvmclock_stale, false, __ATOMIC_RELAXED) ||
        !(vcpu->kvmclock_msr & 1))
        return;
    dest = guest_struct_find(vcpu, vcpu->kvmclock_msr & ~1ULL, sizeof(info), &page);
    if (!dest) {
        __atomic_store_n(&vcpu->kvmclock_stale, vcpu->wants_page, __ATOMIC_RELAXED);
        return;
    }
    if (vcpu->kvmclock_stopped)
        flags |= PVCLOCK_GUEST_STOPPED;
    vcpu->kvmclock_stopped = false;
    /* One point of the line for all vCPUs: rounding doesn't set their clocks apart. */
    kvmclock_fill(&info, tsc_at(vcpu, vm->clock.ticks), vm->clock.ns, vcpu->tsc_khz, flags);
    kvmclock_publish(dest, &info);
    guest_struct_written(&page);
}

void kvmclock_set_msr(struct vcpu *vcpu, uint64_t value)
{
    vcpu->kvmclock_msr = value;
    __atomic_store_n(&vcpu->kvmclock_stale, true, __ATOMIC_RELAXED);
}

void wall_clock_set_msr(struct vcpu *vcpu, uint64_t value)
{
    vcpu->wall_clock_msr = value;
    vcpu->wall_clock_due = false;
    if (value)                  /* 0 is what it is reset to, not an address */
        write_wall_clock(vcpu);
}

int kvmclock_tell_stopped(struct vcpu *vcpu)
{
    if (!(vcpu->kvmclock_msr & 1))
        return -EINVAL;
    vcpu->kvmclock_stopped = true;
    __atomic_store_n(&vcpu->kvmclock_stale, true, __ATOMIC_RELAXED);
    return 0;
}

int kvmclock_get(struct vm *vm, struct kvm_clock_data *clock)
{
    uint64_t now;

    pthread_mutex_lock(&vm->lock);
    now = host_ticks();
    *clock = (struct kvm_clock_data){
        .clock = kvmclock_at(vm, now),
        .flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC,
        .realtime = clock_ns(CLOCK_REALTIME),
        .host_tsc = now,
    };
    pthread_mutex_unlock(&vm->lock);
    return 0;
}

int kvmclock_set(struct vm *vm, const struct kvm_clock_data *clock)
{
    uint64_t value = clock->clock, realtime = clock_ns(CLOCK_REALTIME);

    if (clock->flags & ~(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC))
        return -EINVAL;
    /* Time went on since the value was taken, as far as the wall clock can tell. */
    if (clock->flags & KVM_CLOCK_REALTIME && realtime > clock->realtime)
        value += realtime - clock->realtime;
    pthread_mutex_lock(&vm->lock);
    vm_pause(vm);
    vm->clock.ticks = host_ticks();
    vm->clock.ns = value;
    for (unsigned i = 0; i < vm->nr_vcpus; i++)
        __atomic_store_n(&vm->vcpus[i]->kvmclock_stale, true, __ATOMIC_RELAXED);
    vm_resume(vm);
    pthread_mutex_unlock(&vm->lock);
    return 0;
}
