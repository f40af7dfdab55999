/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interrupt controllers, timers and many vCPUs, as user space sees them. */
#include "kvm_test.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum {
    X2APIC_BASE = 0xfee00c00, MSR_APIC_BASE = 0x1b, MSR_X2APIC_SVR = 0x80f, SVR_ENABLE = 0x1ff,
    LAPIC_IRR = 0x200,
};

static int irqchip_vm(void)
{
    int vm = create_vm(0);

    NEED(vm, KVM_CAP_IRQCHIP);
    IOCTL(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_IRQCHIP, 0), 0);
    return vm;
}

static int enable(int fd, uint32_t cap, uint64_t value)
{
    struct kvm_enable_cap args = { .cap = cap, .args = { value } };

    return IOCTL(fd, KVM_ENABLE_CAP, &args);
}

static int set_msr(int vcpu, uint32_t index, uint64_t value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

    return IOCTL(vcpu, KVM_SET_MSRS, &msrs);
}

static bool irr_has(int vcpu, unsigned vector)
{
    struct kvm_lapic_state state;
    uint32_t word;

    CHECK_EQ(IOCTL(vcpu, KVM_GET_LAPIC, &state), 0);
    memcpy(&word, &state.regs[LAPIC_IRR + 16 * (vector / 32)], sizeof(word));
    return word >> vector % 32 & 1;
}

static int send_msi(int vm, uint32_t dest, uint32_t data)
{
    struct kvm_msi msi = { .address_lo = 0xfee00000 | (dest & 0xff) << 12,
                           .address_hi = dest & ~0xffu, .data = data };

    return IOCTL(vm, KVM_SIGNAL_MSI, &msi);
}

/* An x2APIC that is on. */
static int add_x2apic(int vm, unsigned id)
{
    int vcpu = IOCTL(vm, KVM_CREATE_VCPU, id);

    CHECK(vcpu >= 0);
    set_supported_cpuid(vcpu);
    CHECK_EQ(set_msr(vcpu, MSR_APIC_BASE, X2APIC_BASE), 1);
    CHECK_EQ(set_msr(vcpu, MSR_X2APIC_SVR, SVR_ENABLE), 1);
    return vcpu;
}

static void ids_beyond_8_bits(void)
{
    int vm = irqchip_vm(), limit = check_extension(vm, KVM_CAP_MAX_VCPU_ID);
    int low, high, last;

    if (limit <= 512)
        test_skip("KVM_CAP_MAX_VCPU_ID is %d", limit);
    CHECK(check_extension(vm, KVM_CAP_MAX_VCPUS) <= limit);
    CHECK_EQ(enable(vm, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS), 0);
    low = add_x2apic(vm, 1);
    high = add_x2apic(vm, 257);
    last = add_x2apic(vm, limit - 1);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_VCPU, limit), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_VCPU, 257), -EEXIST);
    CHECK_EQ(send_msi(vm, 257, 0x41), 1);
    CHECK_EQ(send_msi(vm, limit - 1, 0x42), 1);
    CHECK(send_msi(vm, 258, 0x43) <= 0);
    CHECK(!irr_has(low, 0x41) && irr_has(high, 0x41) && !irr_has(last, 0x41));
    CHECK(!irr_has(low, 0x42) && !irr_has(high, 0x42) && irr_has(last, 0x42));
}

/* jmp $; and hlt; jmp back to it */
static const uint8_t spin[] = { 0xeb, 0xfe }, sleep_for_ever[] = { 0xf4, 0xeb, 0xfd };

static void *run_cancellable(void *opaque)
{
    const struct machine *m = opaque;
    int unused;

    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &unused);
    machine_run(m);
    return NULL;
}

/* A thread that is taken out of KVM_RUN by force leaves the vCPU usable. */
static void cancel_a_thread(const uint8_t *code, size_t size)
{
    struct machine m = { .vm = irqchip_vm(), .ram_size = 0x10000, .ram = host_memory(0x10000) };
    struct kvm_mp_state state;
    pthread_t thread;
    void *result;

    CHECK_EQ(set_region(m.vm, 0, 0, 0, m.ram_size, m.ram), 0);
    machine_add_vcpu(&m);
    machine_real_mode(&m, code, size);
    CHECK_EQ(pthread_create(&thread, NULL, run_cancellable, &m), 0);
    /* Wherever it is by then. */
    usleep(20000);
    CHECK_EQ(pthread_cancel(thread), 0);
    CHECK_EQ(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MP_STATE, &state), 0);
    CHECK_EQ(machine_regs(&m).rip & ~1ull, CODE_AT);
    m.run->immediate_exit = 1;
    CHECK_EQ(machine_run(&m), -EINTR);
}

static void cancelled_threads(void)
{
#ifdef __SANITIZE_THREAD__
    test_skip("the thread sanitizer doesn't see what a cancelled thread unlocks");
#endif
    cancel_a_thread(spin, sizeof(spin));
    cancel_a_thread(sleep_for_ever, sizeof(sleep_for_ever));
}

static const struct test_case cases[] = {
    { "threads cancelled in KVM_RUN", cancelled_threads },
    { "vCPU ids beyond 8 bits", ids_beyond_8_bits },
};

TEST_MAIN(cases)
