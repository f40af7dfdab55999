// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What systems do to a processor at start: MSRs that they touch without asking, MSRs and
 * modes that CPUID must announce, an expired timer, interrupts by hypercall.
 */
#include "kvm_test.h"

#include <asm/kvm_para.h>
#include <linux/kvm_para.h>
#include <errno.h>
#include <string.h>

enum { LEAF_FEATURES = 1, LEAF_STRUCTURED = 7, LEAF_SIZES = 0x80000008, ECX_X2APIC = 1 << 21,
       ECX_TSC_DEADLINE = 1 << 24 };

enum { EAX, EBX, ECX, EDX };

/* Sets or clears bits of a register of a leaf of a vCPU's CPUID. */
static void announce(const struct machine *m, uint32_t leaf, int reg, uint32_t bits, bool set)
{
    union cpuid_table cpuid = { .head.nent = 256 };

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_CPUID2, &cpuid), 0);
    for (uint32_t i = 0; i < cpuid.head.nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid.head.entries[i];
        uint32_t *value = &entry->eax + reg;

        if (entry->function == leaf && !entry->index)
            *value = set ? *value | bits : *value & ~bits;
    }
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_CPUID2, &cpuid), 0);
}

/* mov $index,%ecx; xor %edx,%edx; mov $value,%eax; wrmsr; rdmsr; hlt */
static void run_msr(struct machine *m, uint32_t index, uint32_t value, uint32_t exit_reason)
{
    uint8_t code[] = { 0xb9, 0, 0, 0, 0, 0x31, 0xd2, 0xb8, 0, 0, 0, 0, 0x0f, 0x30, 0x0f, 0x32, 0xf4 };

    memcpy(code + 1, &index, 4);
    memcpy(code + 8, &value, 4);
    machine_long_mode(m, code, sizeof(code));
    machine_run_to(m, exit_reason);
}

/* Counters that aren't there: a write is lost, and they read as zero. */
static void absent_units(void)
{
    static const uint32_t indices[] = { 0xc1, 0x186, 0xc0010000, 0xc0010007, 0xc001001f };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    if (test_is_pvm())
        test_skip("kvm_pvm counts");
    for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
        run_msr(&m, indices[i], 0, KVM_EXIT_HLT);
        CHECK_EQ(machine_regs(&m).rax, 0);
    }
}

/* The guest's #GP ends in a shutdown, as it has no IDT. */
static void by_cpuid(void)
{
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm doesn't ask CPUID");
    machine_init(&m, 0, 0x100000);
    announce(&m, LEAF_STRUCTURED, EDX, 1u << 26 | 1u << 27 | 1u << 31, false);
    announce(&m, LEAF_SIZES, EBX, 1u << 12 | 1u << 14 | 1u << 15 | 1u << 24, false);
    run_msr(&m, 0x48, 0, KVM_EXIT_SHUTDOWN);            /* SPEC_CTRL */
    machine_init(&m, 0, 0x100000);
    announce(&m, LEAF_STRUCTURED, EDX, 1u << 26 | 1u << 27 | 1u << 31, false);
    announce(&m, LEAF_SIZES, EBX, 1u << 12 | 1u << 14 | 1u << 15 | 1u << 24, false);
    run_msr(&m, 0x49, 1, KVM_EXIT_SHUTDOWN);            /* PRED_CMD */
}

static void apic_base(void)
{
    struct kvm_sregs sregs;
    struct machine m;
    uint64_t base;

    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    base = sregs.apic_base;
    sregs.apic_base = base | 1ULL << 52;                /* beyond any processor's addresses */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), -EINVAL);
    announce(&m, LEAF_FEATURES, ECX, ECX_X2APIC, false);
    sregs.apic_base = base | 1 << 10;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), -EINVAL);
    sregs.apic_base = base;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), 0);
    run_msr(&m, 0x1b, 0xfee00d00, KVM_EXIT_SHUTDOWN);
}

/* A VM whose processor 0 has an x2APIC that is on. */
static void x2apic_machine(struct machine *m)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entries[2];
    } msrs = { .head.nmsrs = 2, .entries = { { .index = 0x1b, .data = 0xfee00d00 },
                                             { .index = 0x80f, .data = 0x1ff } } };

    *m = (struct machine){ .ram_size = 0x100000, .vm = create_vm(0) };
    NEED(m->vm, KVM_CAP_IRQCHIP);
    IOCTL(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    CHECK_EQ(IOCTL(m->vm, KVM_CREATE_IRQCHIP, 0), 0);
    m->ram = host_memory(m->ram_size);
    CHECK_EQ(set_region(m->vm, 0, 0, 0, m->ram_size, m->ram), 0);
    machine_add_vcpu(m);
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_MSRS, &msrs), 2);
}

static bool is_requested(const struct machine *m, uint8_t vector)
{
    struct kvm_lapic_state lapic;

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_LAPIC, &lapic), 0);
    return lapic.regs[0x200 + vector / 32 * 16 + vector / 8 % 4] >> (vector % 8) & 1;
}

static void ipis_by_hypercall(void)
{
    const uint8_t modrm = hypercall_modrm(true);
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm never leaves the guest for a hypercall");
    x2apic_machine(&m);
    machine_long_mode(&m, CODE(0xb8, KVM_HC_SEND_IPI, 0, 0, 0,  /* mov $10,%eax */
                               0xbb, 0x03, 0, 0, 0,             /* ids 0 and 1: there is no 1 */
                               0x31, 0xc9, 0x31, 0xd2,          /* xor %ecx,%ecx; %edx: from 0 on */
                               0xbe, 0x41, 0, 0, 0,             /* mov $0x41,%esi: the vector */
                               0x0f, 0x01, modrm, 0xe6, 0x10,   /* out %al,$0x10 */
                               0xb8, KVM_HC_SEND_IPI, 0, 0, 0,
                               0xba, 0xff, 0xff, 0xff, 0xff,    /* from the last id on: nobody */
                               0x0f, 0x01, modrm, 0xe6, 0x10,
                               0xb8, KVM_HC_SEND_IPI, 0, 0, 0,
                               0x31, 0xd2, 0xbe, 0x41, 0, 0x0c, 0, /* with a shorthand */
                               0x0f, 0x01, modrm, 0xe6, 0x10));
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 1);
    CHECK(is_requested(&m, 0x41));
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, (uint64_t)-KVM_EINVAL);
}

/* A deadline that has passed: the request is there before the next instruction. */
static void expired_deadline(void)
{
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm goes on before it looks at its timers");
    x2apic_machine(&m);
    NEED(m.vm, KVM_CAP_TSC_DEADLINE_TIMER);
    announce(&m, LEAF_FEATURES, ECX, ECX_TSC_DEADLINE, true);
    machine_long_mode(&m, CODE(0xb9, 0x32, 0x08, 0, 0, 0x31, 0xd2,      /* LVT timer: */
                               0xb8, 0x42, 0, 0x04, 0, 0x0f, 0x30,      /* deadline, vector 0x42 */
                               0xb9, 0xe0, 0x06, 0, 0, 0xb8, 1, 0, 0, 0, 0x0f, 0x30,
                               0xb9, 0x22, 0x08, 0, 0, 0x0f, 0x32,      /* IRR, 0x40 to 0x5f */
                               0xe6, 0x10));
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax & 4, 4);
}

static const struct test_case cases[] = {
    { "MSRs of units that aren't there", absent_units },
    { "MSRs that CPUID must announce", by_cpuid },
    { "IA32_APIC_BASE by CPUID", apic_base },
    { "KVM_HC_SEND_IPI", ipis_by_hypercall },
    { "a TSC deadline that has passed", expired_deadline },
};

TEST_MAIN(cases)
