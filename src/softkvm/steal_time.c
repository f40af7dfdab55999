/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source is the kernel's own sum of each thread's waits for a processor
 * (run_delay).  It changes only while the thread is switched away from, and the
 * number of switches is cheaper to have: the file is read only when that moved.
 */
#include "steal_time.h"

#include "guest_page.h"
#include "soft_vcpu.h"

#include <asm/kvm_para.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

_Static_assert(sizeof(struct kvm_steal_time) == 64, "guest ABI");

/* schedstat: nanoseconds on a processor, nanoseconds of waiting for one, time slices. */
static bool read_run_delay(uint64_t *ns)
{
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    unsigned long long delay;
    char text[96];
    ssize_t size;

    if (fd < 0)
        return false;
    size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    if (sscanf(text, "%*u %llu", &delay) != 1)
        return false;
    *ns = delay;
    return true;
}

bool steal_time_available(void)
{
    static int known;           /* atomic: 1 no, 2 yes */
    int state = __atomic_load_n(&known, __ATOMIC_RELAXED);
    uint64_t ns;

    if (!state) {
        state = read_run_delay(&ns) ? 2 : 1;
        __atomic_store_n(&known, state, __ATOMIC_RELAXED);
    }
    return state == 2;
}

bool steal_time_set_msr(struct vcpu *vcpu, uint64_t value)
{
    if (value & KVM_STEAL_RESERVED_MASK || (value && !steal_time_available()))
        return false;
    vcpu->steal.msr = value;
    vcpu->steal.stale = true;
    return true;
}

static uint64_t thread_switches(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) ? 0 : (uint64_t)usage.ru_nvcsw + usage.ru_nivcsw;
}

/* What this thread waited since the last call; another thread's sum tells nothing. */
static uint64_t newly_stolen(struct vcpu *vcpu)
{
    uint64_t delay, last = vcpu->steal.run_delay;
    bool same = vcpu->steal.has_thread && pthread_equal(vcpu->steal.thread, pthread_self());

    if (!read_run_delay(&delay))
        return 0;
    vcpu->steal.has_thread = true;
    vcpu->steal.thread = pthread_self();
    vcpu->steal.run_delay = delay;
    return same && delay > last ? delay - last : 0;
}

/* The version is odd while the sum is being written; memory that held one starts with even. */
static void publish(struct kvm_steal_time *dest, uint64_t stolen)
{
    uint32_t version = __atomic_load_n(&dest->version, __ATOMIC_RELAXED) | 1;
    uint64_t steal = __atomic_load_n((uint64_t *)&dest->steal, __ATOMIC_RELAXED);

    __atomic_store_n(&dest->preempted, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&dest->version, version, __ATOMIC_RELAXED);
    __atomic_store_n((uint64_t *)&dest->steal, steal + stolen, __ATOMIC_RELEASE);
    __atomic_store_n(&dest->version, version + 1, __ATOMIC_RELEASE);
}

static struct kvm_steal_time *find(struct vcpu *vcpu, struct cpu_page *page)
{
    return guest_struct_find(vcpu, vcpu->steal.msr & KVM_STEAL_VALID_BITS,
                             sizeof(struct kvm_steal_time), page);
}

void steal_time_refresh(struct vcpu *vcpu)
{
    struct kvm_steal_time *dest;
    struct cpu_page page;
    uint64_t switches;

    if (!(vcpu->steal.msr & KVM_MSR_ENABLED))
        return;
    switches = thread_switches();
    if (!vcpu->steal.stale && switches == vcpu->steal.switches)
        return;
    dest = find(vcpu, &page);
    if (!dest)
        return;
    vcpu->steal.stale = false;
    vcpu->steal.switches = switches;
    publish(dest, newly_stolen(vcpu));
    guest_struct_written(&page);
}

void steal_time_preempted(struct vcpu *vcpu)
{
    struct kvm_steal_time *dest;
    struct cpu_page page;

    if (!(vcpu->steal.msr & KVM_MSR_ENABLED) || vcpu->steal.stale)
        return;
    dest = find(vcpu, &page);
    if (!dest)
        return;
    vcpu->steal.stale = true;
    __atomic_store_n(&dest->preempted, KVM_VCPU_PREEMPTED, __ATOMIC_RELEASE);
    guest_struct_written(&page);
}
