/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest is told of time: steal time, the TSC, and that the clocks agree. */
#include "kvm_test.h"

#include <asm/kvm_para.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { STEAL_AT = 0x3000, CLOCK_AT = 0x4000, MSR_TSC = 0x10 };

static int set_msr(int vcpu, uint32_t index, uint64_t value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

    return IOCTL(vcpu, KVM_SET_MSRS, &msrs);
}

/* KVM's leaf of features has the bit? */
static bool has_pv_feature(unsigned bit)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[256];
    } cpuid = { .head.nent = 256 };

    CHECK_EQ(IOCTL(kvm_fd(), KVM_GET_SUPPORTED_CPUID, &cpuid), 0);
    for (unsigned i = 0; i < cpuid.head.nent; i++) {
        if (cpuid.entries[i].function == KVM_CPUID_FEATURES)
            return cpuid.entries[i].eax >> bit & 1;
    }
    return false;
}

/* How long this thread has waited for a processor, as the kernel counts it. */
static uint64_t run_delay(void)
{
    char text[96] = "";
    unsigned long long delay = 0;
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);

    CHECK(fd >= 0);
    CHECK(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    CHECK_EQ(sscanf(text, "%*u %llu", &delay), 1);
    return delay;
}

static void *spin_until(void *opaque)
{
    while (!__atomic_load_n((bool *)opaque, __ATOMIC_RELAXED))
        continue;
    return NULL;
}

/* Another thread has this one's processor for a while. Returns what that added. */
static uint64_t be_stolen_from(void)
{
    uint64_t before = run_delay(), now;
    cpu_set_t all, one;
    bool stop = false;
    pthread_t thief;

    CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    CHECK_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    CHECK_EQ(pthread_create(&thief, NULL, spin_until, &stop), 0);
    do {
        sched_yield();
        now = run_delay();
    } while (now - before < 200 * 1000);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    CHECK_EQ(pthread_join(thief, NULL), 0);
    CHECK_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
    return now - before;
}

static void steal_time(void)
{
    static const uint8_t port_writes[] = { 0xe6, 0x10, 0xeb, 0xfc };    /* out; jmp back to it */
    struct kvm_steal_time *page, before;
    struct machine m;
    uint64_t stolen;

    if (!has_pv_feature(KVM_FEATURE_STEAL_TIME))
        test_skip("no KVM_FEATURE_STEAL_TIME");
    machine_init(&m, 0, 0x10000);
    page = (void *)(m.ram + STEAL_AT);
    machine_real_mode(&m, port_writes, sizeof(port_writes));
    /* Garbage, and in the middle of an update: it must end even. */
    page->version = 7;
    page->preempted = 1;
    CHECK_EQ(set_msr(m.vcpu, MSR_KVM_STEAL_TIME, STEAL_AT | 2 | KVM_MSR_ENABLED), 0);
    CHECK_EQ(set_msr(m.vcpu, MSR_KVM_STEAL_TIME, STEAL_AT | KVM_MSR_ENABLED), 1);
    machine_run_to(&m, KVM_EXIT_IO);
    before = *page;
    CHECK(before.version > 7 && before.version % 2 == 0);
    CHECK_EQ(before.flags, 0);
    CHECK_EQ(before.preempted, 0);
    stolen = be_stolen_from();
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK(page->version > before.version && page->version % 2 == 0);
    CHECK(page->steal - before.steal >= stolen);
    CHECK_EQ(page->preempted, 0);
    /* Off: nothing is written any more; and an address without RAM does no harm. */
    CHECK_EQ(set_msr(m.vcpu, MSR_KVM_STEAL_TIME, 0), 1);
    before = *page;
    be_stolen_from();
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(memcmp(&before, page, sizeof(before)), 0);
    CHECK_EQ(set_msr(m.vcpu, MSR_KVM_STEAL_TIME, 1ull << 38 | KVM_MSR_ENABLED), 1);
    machine_run_to(&m, KVM_EXIT_IO);
}

struct clock_page {
    uint32_t version, pad;
    uint64_t tsc, ns;
    uint32_t mul;
    int8_t shift;
    uint8_t flags;
};

/* kvm-clock at a TSC, as a guest computes it. */
static uint64_t guest_ns(const struct clock_page *page, uint64_t tsc)
{
    uint64_t delta = tsc - page->tsc;

    delta = page->shift < 0 ? delta >> -page->shift : delta << page->shift;
    return page->ns + (uint64_t)((unsigned __int128)delta * page->mul >> 32);
}

static uint64_t guest_tsc(const struct machine *m)
{
    struct kvm_regs regs;

    machine_run_to(m, KVM_EXIT_IO);
    regs = machine_regs(m);
    return regs.rdx << 32 | regs.rax;
}

/* What the guest reads lies between what user space reads before and after. */
static void check_clocks(const struct machine *m, uint64_t offset)
{
    const struct clock_page *page = (void *)(m->ram + CLOCK_AT);
    bool scaled = IOCTL(m->vcpu, KVM_GET_TSC_KHZ, 0) != IOCTL(m->vm, KVM_GET_TSC_KHZ, 0);
    struct kvm_clock_data before, after;
    uint64_t tsc, ns;

    CHECK_EQ(IOCTL(m->vm, KVM_GET_CLOCK, &before), 0);
    tsc = guest_tsc(m);
    CHECK_EQ(IOCTL(m->vm, KVM_GET_CLOCK, &after), 0);
    ns = guest_ns(page, tsc);
    /* Scaling rounds. */
    CHECK(before.clock <= ns + scaled && ns <= after.clock + scaled);
    if (!scaled && before.flags & after.flags & KVM_CLOCK_HOST_TSC)
        CHECK(before.host_tsc + offset <= tsc && tsc <= after.host_tsc + offset);
}

/* mov $0x4b564d01,%ecx; mov $0x4001,%eax; xor %edx,%edx; wrmsr; 1: rdtsc; out; jmp 1b */
static const uint8_t clock_reader[] = {
    0xb9, 0x01, 0x4d, 0x56, 0x4b, 0xb8, 0x01, 0x40, 0x00, 0x00, 0x31, 0xd2, 0x0f, 0x30,
    0x0f, 0x31, 0xe6, 0x10, 0xeb, 0xfa,
};

/* TSC, kvm-clock, KVM_GET_CLOCK and the TSC's offset are of one piece, whatever is set. */
static void clocks_agree(void)
{
    uint64_t offset = 0;
    struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
                                    .addr = (uintptr_t)&offset };
    struct kvm_clock_data clock = { .clock = 5ull << 40 };
    struct machine m;
    int khz;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_VCPU_ATTRIBUTES);
    NEED(m.vm, KVM_CAP_VM_TSC_CONTROL);
    if (!(check_extension(m.vm, KVM_CAP_ADJUST_CLOCK) & KVM_CLOCK_HOST_TSC) || test_is_pvm())
        test_skip("KVM_GET_CLOCK doesn't tell the TSC");
    machine_long_mode(&m, clock_reader, sizeof(clock_reader));
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_DEVICE_ATTR, &attr), 0);
    check_clocks(&m, offset);
    CHECK_EQ(IOCTL(m.vm, KVM_SET_CLOCK, &clock), 0);
    check_clocks(&m, offset);
    offset = -(1ull << 45);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_DEVICE_ATTR, &attr), 0);
    check_clocks(&m, offset);
    offset = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_DEVICE_ATTR, &attr), 0);
    check_clocks(&m, offset);
    /* Another frequency: the count goes on from where it is, the clock at its speed. */
    khz = IOCTL(m.vcpu, KVM_GET_TSC_KHZ, 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_TSC_KHZ, khz / 3), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_TSC_KHZ, 0), khz / 3);
    check_clocks(&m, 0);
    CHECK_EQ(set_msr(m.vcpu, MSR_TSC, 1), 1);
    check_clocks(&m, 0);
}

/* The time is where the guest wants it; 0, with which a VMM resets the MSR, isn't a place. */
static void wall_clock(void)
{
    const uint32_t *at = NULL;
    struct machine m;

    machine_init(&m, 0, 0x10000);
    machine_real_mode(&m, "\xf4\xeb\xfd", 3);     /* hlt; jmp back to it */
    at = (void *)(m.ram + CLOCK_AT);
    CHECK_EQ(set_msr(m.vcpu, MSR_KVM_WALL_CLOCK_NEW, CLOCK_AT), 1);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK(at[0] && at[0] % 2 == 0 && at[1]);
    CHECK_EQ(set_msr(m.vcpu, MSR_KVM_WALL_CLOCK_NEW, 0), 1);
    CHECK_EQ(set_msr(m.vcpu, MSR_KVM_WALL_CLOCK, 0), 1);
    machine_run_to(&m, KVM_EXIT_HLT);
    for (int i = 0; i < 12; i++)
        CHECK_EQ(m.ram[i], 0);
}

static const struct test_case cases[] = {
    { "the wall clock, and nothing at 0", wall_clock },
    { "TSC, kvm-clock and KVM_GET_CLOCK agree", clocks_agree },
    { "steal time", steal_time },
};

TEST_MAIN(cases)
