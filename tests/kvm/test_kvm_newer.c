/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vCPU's state in its newer (and oldest) forms, and events that user space makes. */
#include "kvm_test.h"

enum {
    VECTOR_PF = 14, VECTOR_MC = 18,
    HANDLER_AT = 0x1800, IDT_AT = 0x3000, GDT_AT = 0x4000, PDPT_AT = 0x5000,
};

static int enable_cap(int fd, uint32_t cap, uint64_t arg)
{
    struct kvm_enable_cap enable = { .cap = cap, .args = { arg } };

    return IOCTL(fd, KVM_ENABLE_CAP, &enable);
}

/* 64-bit code: NOPs and HLT; vector's handler: CR2 to RAX, CR4 to RBX, HLT. */
static void machine_with_handler(struct machine *m, unsigned vector, uint64_t cr4)
{
    static const uint8_t code[] = { 0x90, 0x90, 0xf4 };
    static const uint8_t handler[] = { 0x0f, 0x20, 0xd0, 0x0f, 0x20, 0xe3, 0xf4 };
    uint64_t *idt, *gdt;
    struct kvm_sregs sregs;

    machine_init(m, 0, 0x100000);
    machine_long_mode(m, code, sizeof(code));
    memcpy(m->ram + HANDLER_AT, handler, sizeof(handler));
    gdt = (uint64_t *)(m->ram + GDT_AT);
    gdt[1] = 0x00af9b000000ffff;
    gdt[2] = 0x00cf93000000ffff;
    idt = (uint64_t *)(m->ram + IDT_AT);
    idt[vector * 2] = HANDLER_AT | 8 << 16 | 0x8e0000000000;
    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.gdt = (struct kvm_dtable){ .base = GDT_AT, .limit = 23 };
    sregs.idt = (struct kvm_dtable){ .base = IDT_AT, .limit = 0xfff };
    sregs.cr4 |= cr4;
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_SREGS, &sregs), 0);
}

/* The entries of PAE paging go with the other special registers. */
static void sregs2(void)
{
    static const uint64_t entries[4] = { 0x6001, 0, 0, 0x7001 };
    struct kvm_sregs2 sregs, got;
    struct kvm_sregs old;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_SREGS2);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS2, &sregs), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &old), 0);
    CHECK(!memcmp(&sregs, &old, offsetof(struct kvm_sregs, interrupt_bitmap)));
    CHECK_EQ(sregs.flags, 0);
    got = sregs;
    got.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;          /* there is no paging */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS2, &got), -EINVAL);
    got.flags = 2;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS2, &got), -EINVAL);
    memcpy(m.ram + PDPT_AT, entries, sizeof(entries));
    sregs.cr0 = 0x80000031;
    sregs.cr3 = PDPT_AT;
    sregs.cr4 = 1 << 5;
    sregs.fs.base = 0x1234000;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS2, &sregs), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS2, &got), 0);
    if (test_is_pvm())
        return;                                 /* it has no PAE paging to show */
    CHECK_EQ(got.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
    CHECK(!memcmp(got.pdptrs, entries, sizeof(entries)));
    CHECK_EQ(got.fs.base, 0x1234000);
    /* Not what is in memory, but what they were. */
    sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
    sregs.pdptrs[1] = 0x8001;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS2, &sregs), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS2, &got), 0);
    CHECK_EQ(got.pdptrs[1], 0x8001);
    CHECK_EQ(got.pdptrs[0], 0);
    sregs.efer = 0x400;                                 /* LMA without LME */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS2, &sregs), -EINVAL);
}

static void xsave2(void)
{
    struct machine m;
    uint8_t *area, *old = host_memory(0x1000);
    int size;

    machine_init(&m, 0, 0x100000);
    size = check_extension(m.vm, KVM_CAP_XSAVE2);
    if (size <= 0)
        test_skip("no KVM_CAP_XSAVE2");
    CHECK(size >= (int)sizeof(struct kvm_xsave));
    area = host_memory(0x10000);
    CHECK(size <= 0x10000);
    if (IOCTL(m.vcpu, KVM_GET_XSAVE, old) == -EINVAL)
        test_skip("no XSAVE");
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_XSAVE2, area), 0);
    CHECK(!memcmp(area, old, 0x200));
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_XSAVE, area), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_XSAVE2, NULL), -EFAULT);
}

/* KVM_SET_CPUID: leaves without subleaves, as KVM_GET_CPUID2 shows them. */
static void oldest_cpuid(void)
{
    struct {
        struct kvm_cpuid head;
        struct kvm_cpuid_entry entries[2];
    } cpuid = {
        { .nent = 2 },
        { { .function = 0, .eax = 1, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69 },
          { .function = 1, .eax = 0x600, .edx = 1 } },
    };
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[8];
    } got = { .head.nent = 8 };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID, &cpuid), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_CPUID2, &got), 0);
    CHECK(got.head.nent >= 2);                  /* kvm_pvm adds leaves of its own */
    CHECK_EQ(got.entries[0].ebx, 0x756e6547);
    CHECK_EQ(got.entries[1].eax, 0x600);
    CHECK_EQ(got.entries[1].flags, 0);
    cpuid.head.nent = 257;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID, &cpuid), -E2BIG);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID, NULL), -EFAULT);
}

static struct kvm_vcpu_events get_events(const struct machine *m)
{
    struct kvm_vcpu_events events;

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_VCPU_EVENTS, &events), 0);
    return events;
}

/* A #PF on its way, and the address that CR2 is to have when it arrives. */
static void exception_payload(void)
{
    struct kvm_vcpu_events events;
    struct kvm_sregs sregs;
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm delivers page faults itself");
    machine_with_handler(&m, VECTOR_PF, 0);
    NEED(m.vm, KVM_CAP_EXCEPTION_PAYLOAD);
    events = get_events(&m);
    CHECK(!(events.flags & KVM_VCPUEVENT_VALID_PAYLOAD));
    events.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), -EINVAL);
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_EXCEPTION_PAYLOAD, 1), 0);
    events.exception.pending = 1;
    events.exception.nr = VECTOR_PF;
    events.exception.has_error_code = 1;
    events.exception.error_code = 2;
    events.exception_has_payload = 1;
    events.exception_payload = 0x123456000;
    events.flags &= ~KVM_VCPUEVENT_VALID_PAYLOAD;       /* then nothing of this counts */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
    CHECK_EQ(get_events(&m).exception.pending, 0);
    events.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
    events = get_events(&m);
    CHECK(events.flags & KVM_VCPUEVENT_VALID_PAYLOAD);
    CHECK_EQ(events.exception.pending, 1);
    CHECK_EQ(events.exception.injected, 0);
    CHECK_EQ(events.exception_has_payload, 1);
    CHECK_EQ(events.exception_payload, 0x123456000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    CHECK_EQ(sregs.cr2, 0);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rip, HANDLER_AT + 7);
    CHECK_EQ(machine_regs(&m).rax, 0x123456000);
    events = get_events(&m);
    CHECK_EQ(events.exception.pending + events.exception.injected, 0);
}

static void triple_fault(void)
{
    struct kvm_vcpu_events events;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
    machine_long_mode(&m, "\xf4", 1);
    events = get_events(&m);
    CHECK(!(events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT));
    events.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    events.triple_fault.pending = 1;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), -EINVAL);
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
    m.run->immediate_exit = 1;
    CHECK_EQ(machine_run(&m), -EINTR);
    m.run->immediate_exit = 0;
    events = get_events(&m);
    CHECK(events.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
    CHECK_EQ(events.triple_fault.pending, 1);
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
    CHECK_EQ(get_events(&m).triple_fault.pending, 0);
}

/* IA32_MC2_STATUS, _ADDR, _MISC, IA32_MCG_STATUS. */
static void check_bank(const struct machine *m, uint64_t status, uint64_t addr)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entries[2];
    } msrs = { { .nmsrs = 2 }, { { .index = 0x409 }, { .index = 0x40a } } };

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_MSRS, &msrs), 2);
    CHECK_EQ(msrs.entries[0].data, status);
    CHECK_EQ(msrs.entries[1].data, addr);
}

static void machine_checks(void)
{
    const uint64_t valid = 1ULL << 63, over = 1ULL << 62, uc = 1ULL << 61, ar = 1ULL << 55;
    struct kvm_x86_mce mce = { .bank = 2, .status = valid | 5, .addr = 0x1000 };
    uint64_t supported, cap;
    struct machine m;
    int kvm = kvm_fd(), banks = check_extension(kvm, KVM_CAP_MCE);

    if (test_is_pvm())
        test_skip("not tried with kvm_pvm");
    if (banks <= 0)
        test_skip("no KVM_CAP_MCE");
    CHECK_EQ(IOCTL(kvm, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported), 0);
    CHECK(supported & 1 << 8);
    machine_with_handler(&m, VECTOR_MC, 1 << 6);
    cap = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SETUP_MCE, &cap), -EINVAL);
    cap = banks + 1;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SETUP_MCE, &cap), -EINVAL);
    cap = 1ULL << 40 | 4;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SETUP_MCE, &cap), -EINVAL);
    cap = 1 << 8 | 4;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SETUP_MCE, &cap), 0);
    /* Corrected errors are noted. */
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SET_MCE, &mce), 0);
    check_bank(&m, valid | 5, 0x1000);
    mce.addr = 0x2000;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SET_MCE, &mce), 0);
    check_bank(&m, valid | over | 5, 0x2000);
    mce.status = 5;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SET_MCE, &mce), -EINVAL);
    mce.status = valid | uc | ar;
    mce.bank = 4;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SET_MCE, &mce), -EINVAL);
    /* An uncorrected one is #MC. */
    mce.bank = 2;
    mce.mcg_status = 1 << 2 | 1;                        /* MCIP, RIPV */
    mce.addr = 0x3000;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SET_MCE, &mce), 0);
    check_bank(&m, valid | over | uc | ar, 0x3000);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rip, HANDLER_AT + 7);
    /* A corrected one doesn't replace it; another uncorrected one is too much. */
    mce.status = valid | 7;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SET_MCE, &mce), 0);
    check_bank(&m, valid | over | uc | ar, 0x3000);
    mce.status = valid | uc | ar;
    CHECK_EQ(IOCTL(m.vcpu, KVM_X86_SET_MCE, &mce), 0);
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
}

static void system_attributes(void)
{
    uint64_t xcr0 = 0;
    struct kvm_device_attr attr = { .attr = KVM_X86_XCOMP_GUEST_SUPP, .addr = (uintptr_t)&xcr0 };
    int kvm = kvm_fd();

    NEED(kvm, KVM_CAP_SYS_ATTRIBUTES);
    CHECK_EQ(IOCTL(kvm, KVM_HAS_DEVICE_ATTR, &attr), 0);
    CHECK_EQ(IOCTL(kvm, KVM_GET_DEVICE_ATTR, &attr), 0);
    if (test_is_softkvm())
        CHECK_EQ(xcr0, 3);
    attr.addr = 1;
    CHECK_EQ(IOCTL(kvm, KVM_GET_DEVICE_ATTR, &attr), -EFAULT);
    attr.attr = 100;
    CHECK_EQ(IOCTL(kvm, KVM_GET_DEVICE_ATTR, &attr), -ENXIO);
    CHECK_EQ(IOCTL(kvm, KVM_HAS_DEVICE_ATTR, &attr), -ENXIO);
}

static const struct test_case cases[] = {
    { "KVM_SET_SREGS2", sregs2 },
    { "KVM_GET_XSAVE2", xsave2 },
    { "KVM_SET_CPUID", oldest_cpuid },
    { "exception with payload", exception_payload },
    { "triple fault event", triple_fault },
    { "machine checks", machine_checks },
    { "attributes of /dev/kvm", system_attributes },
};

TEST_MAIN(cases)
