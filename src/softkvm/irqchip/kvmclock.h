/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The clock that KVM gives its guests in memory: per vCPU a line through (TSC,
 * nanoseconds), per VM the wall clock at nanosecond zero.
 *
 * Source: Linux 6.12 Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW
 * and MSR_KVM_WALL_CLOCK_NEW.
 */
#ifndef SOFTKVM_KVMCLOCK_H
#define SOFTKVM_KVMCLOCK_H

#include <stdint.h>

/* In guest memory at the address in the MSR, less its bit 0 (enable); 4-byte aligned. */
struct pvclock_vcpu_time_info {
    uint32_t version;           /* odd while it is being written */
    uint32_t pad0;
    uint64_t tsc_timestamp;     /* guest TSC at ... */
    uint64_t system_time;       /* ... this many ns of kvmclock */
    uint32_t tsc_to_system_mul; /* ns = ((tsc << tsc_shift) * mul) >> 32 */
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad[2];
} __attribute__((packed));

enum {
    PVCLOCK_TSC_STABLE = 1 << 0,        /* all vCPUs' clocks agree (TSC in step) */
    PVCLOCK_GUEST_STOPPED = 1 << 1,     /* KVM_KVMCLOCK_CTRL: user space paused the guest */
};

struct pvclock_wall_clock {
    uint32_t version;
    uint32_t sec, nsec;         /* since 1970, at kvmclock 0 */
} __attribute__((packed));

/* One moment: guest TSC tsc is ns of kvmclock; tsc_khz > 0. The version is left 0. */
void kvmclock_fill(struct pvclock_vcpu_time_info *info, uint64_t tsc, uint64_t ns,
                   uint32_t tsc_khz, uint8_t flags);

/*
 * Publish to the guest: the version goes odd, the contents follow, it goes even.
 * dest: host address of all of it, 4-byte aligned (a structure that crosses a
 * page needs memory that is contiguous here).  Callers for one dest take turns.
 */
void kvmclock_publish(void *dest, const struct pvclock_vcpu_time_info *info);

/* The same for the wall clock: wall_ns is CLOCK_REALTIME less kvmclock, in ns. */
void kvmclock_publish_wall(void *dest, uint64_t wall_ns);

/* What the guest computes: ns of kvmclock at guest TSC tsc. */
uint64_t kvmclock_ns(const struct pvclock_vcpu_time_info *info, uint64_t tsc);

#endif
