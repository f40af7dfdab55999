/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors, capabilities, CPUID, MSRs, and registers set and read back. */
#include "kvm_test.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define UNKNOWN_IOCTL _IO(KVMIO, 0xff)

/* KVM's structures that end in an array, with room for it. */
union msr_table {
    struct kvm_msrs head;
    uint8_t space[sizeof(struct kvm_msrs) + 256 * sizeof(struct kvm_msr_entry)];
};

union msr_list {
    struct kvm_msr_list head;
    uint8_t space[sizeof(struct kvm_msr_list) + 2000 * sizeof(uint32_t)];
};

static void descriptors(void)
{
    int kvm = kvm_fd(), vm = create_vm(0), vcpu, pair[2];

    CHECK_EQ(IOCTL(kvm, KVM_GET_API_VERSION, 0), 12);
    CHECK_EQ(IOCTL(kvm, KVM_GET_API_VERSION, 1), -EINVAL);
    CHECK(IOCTL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0) >= (int)sizeof(struct kvm_run));
    CHECK_EQ(IOCTL(kvm, KVM_CREATE_VM, 30), -EINVAL);
    CHECK_EQ(IOCTL(kvm, UNKNOWN_IOCTL, 0), -EINVAL);
    CHECK_EQ(IOCTL(vm, UNKNOWN_IOCTL, 0), -ENOTTY);
    vcpu = IOCTL(vm, KVM_CREATE_VCPU, 0);
    CHECK(vcpu >= 0);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_VCPU, 0), -EEXIST);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_VCPU, 1 << 20), -EINVAL);
    CHECK_EQ(IOCTL(vcpu, UNKNOWN_IOCTL, 0), -EINVAL);
    CHECK_EQ(IOCTL(vcpu, KVM_GET_REGS, NULL), -EFAULT);
    CHECK_EQ(IOCTL(vcpu, KVM_SET_REGS, 1), -EFAULT);
    CHECK_EQ(IOCTL(vcpu, KVM_RUN, 1), -EINVAL);
    /* The id is taken for as long as the VM lives. */
    CHECK_EQ(kvm_close(vcpu), 0);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_VCPU, 0), -EEXIST);
    CHECK_EQ(kvm_ioctl(-1, KVM_GET_API_VERSION, 0), -EBADF);
    CHECK_EQ(pipe(pair), 0);
    if (test_is_softkvm())
        CHECK_EQ(kvm_ioctl(pair[0], KVM_GET_API_VERSION, 0), -EBADF);
    close(pair[0]);
    close(pair[1]);
}

/* A vCPU's memory stays when the VM's descriptor goes first. */
static void closing_order(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_real_mode(&m, "\xf4", 1);
    kvm_close(m.vm);
    machine_run_to(&m, KVM_EXIT_HLT);
    kvm_close(m.vcpu);
    CHECK_EQ(m.run->exit_reason, KVM_EXIT_HLT);
}

static void capabilities(void)
{
    static const unsigned always[] = {
        KVM_CAP_USER_MEMORY, KVM_CAP_SET_TSS_ADDR, KVM_CAP_EXT_CPUID, KVM_CAP_NR_VCPUS,
        KVM_CAP_NR_MEMSLOTS, KVM_CAP_MP_STATE, KVM_CAP_IRQCHIP, KVM_CAP_HLT,
        KVM_CAP_DESTROY_MEMORY_REGION_WORKS, KVM_CAP_VCPU_EVENTS, KVM_CAP_DEBUGREGS,
        KVM_CAP_XSAVE, KVM_CAP_MAX_VCPUS, KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_ENABLE_CAP_VM,
        KVM_CAP_READONLY_MEM, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_GET_TSC_KHZ, KVM_CAP_SIGNAL_MSI,
        KVM_CAP_IRQFD, KVM_CAP_IOEVENTFD, KVM_CAP_ADJUST_CLOCK,
    };
    int kvm = kvm_fd(), vm = create_vm(0);

    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        if (check_extension(kvm, always[i]) <= 0 || check_extension(vm, always[i]) <= 0)
            test_fail(__FILE__, __LINE__, "no capability %u", always[i]);
    }
    CHECK_EQ(check_extension(kvm, 100000), 0);
    CHECK_EQ(IOCTL(kvm, KVM_CHECK_EXTENSION, -1), 0);
    CHECK(check_extension(kvm, KVM_CAP_NR_VCPUS) <= check_extension(kvm, KVM_CAP_MAX_VCPUS));
    if (test_is_softkvm())
        CHECK_EQ(check_extension(kvm, KVM_CAP_VM_TYPES), 3);
}

static void cpuid(void)
{
    union cpuid_table supported = { .head.nent = 1 }, got = { .head.nent = 256 };
    union cpuid_table big = { .head.nent = 257 };
    int kvm = kvm_fd();
    struct machine m;
    bool signature = false;

    CHECK_EQ(IOCTL(kvm, KVM_GET_SUPPORTED_CPUID, &supported), -E2BIG);
    CHECK_EQ(IOCTL(kvm, KVM_GET_SUPPORTED_CPUID, NULL), -EFAULT);
    supported.head.nent = 256;
    CHECK_EQ(IOCTL(kvm, KVM_GET_SUPPORTED_CPUID, &supported), 0);
    CHECK(supported.head.nent > 5 && supported.head.nent < 256);
    for (uint32_t i = 0; i < supported.head.nent; i++) {
        const struct kvm_cpuid_entry2 *e = &supported.head.entries[i];

        if (e->function == 0x40000000)
            signature = !memcmp(&e->ebx, "KVMKVMKVM\0\0\0", 12);
    }
    CHECK(signature);
    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID2, &big), -E2BIG);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID2, &supported), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_CPUID2, &got), 0);
    CHECK_EQ(got.head.nent, supported.head.nent);
    got.head.nent = 1;
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_CPUID2, &got), -E2BIG);
    /* The guest sees the same: leaf 0x40000000. */
    machine_real_mode(&m, "\x66\xb8\x00\x00\x00\x40\x0f\xa2\xf4", 9);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ((uint32_t)machine_regs(&m).rbx, 0x4b4d564b);
}

static void msr_lists(void)
{
    union msr_list list = { .head.nmsrs = 0 };
    int kvm = kvm_fd();
    struct machine m;
    uint32_t n;

    CHECK_EQ(IOCTL(kvm, KVM_GET_MSR_INDEX_LIST, &list), -E2BIG);
    n = list.head.nmsrs;
    CHECK(n > 10 && n <= 2000);
    CHECK_EQ(IOCTL(kvm, KVM_GET_MSR_INDEX_LIST, &list), 0);
    CHECK_EQ(list.head.nmsrs, n);
    list.head.nmsrs = 0;
    CHECK_EQ(IOCTL(kvm, KVM_GET_MSR_FEATURE_INDEX_LIST, &list), -E2BIG);
    if (!test_is_softkvm())
        return;
    /* Whatever is listed can be read, and what was read can be written. */
    list.head.nmsrs = 2000;
    CHECK_EQ(IOCTL(kvm, KVM_GET_MSR_INDEX_LIST, &list), 0);
    machine_init(&m, 0, 0x100000);
    for (uint32_t i = 0; i < n; i++) {
        union msr_table msrs = { .head.nmsrs = 1 };

        msrs.head.entries[0].index = list.head.indices[i];
        if (list.head.indices[i] == 0x6e0)           /* needs a local APIC */
            continue;
        if (IOCTL(m.vcpu, KVM_GET_MSRS, &msrs) != 1 || IOCTL(m.vcpu, KVM_SET_MSRS, &msrs) != 1)
            test_fail(__FILE__, __LINE__, "MSR 0x%x", list.head.indices[i]);
    }
}

static void msrs(void)
{
    union msr_table msrs = { .head.nmsrs = 3 };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    msrs.head.entries[0].index = 0xc0000082;         /* LSTAR */
    msrs.head.entries[0].data = 0x123456789000;
    msrs.head.entries[1].index = 0x12345678;         /* none */
    msrs.head.entries[2].index = 0xc0000082;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_MSRS, &msrs), 1);
    msrs.head.entries[0].data = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MSRS, &msrs), 1);
    CHECK_EQ(msrs.head.entries[0].data, 0x123456789000);
    msrs.head.nmsrs = 256;
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MSRS, &msrs), -E2BIG);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MSRS, NULL), -EFAULT);
}

static void registers(void)
{
    struct kvm_regs regs = { 0 }, got;
    uint64_t *word = (uint64_t *)&regs;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_REGS, &got), 0);
    CHECK_EQ(got.rip, 0xfff0);
    CHECK_EQ(got.rflags, 2);
    for (int i = 0; i < 17; i++)
        word[i] = 0x1234567800000000 + i;
    regs.rflags = 0xad7;                        /* arithmetic flags, IF is off */
    machine_set_regs(&m, &regs);
    got = machine_regs(&m);
    CHECK(!memcmp(&regs, &got, sizeof(regs)));
}

static void special_registers(void)
{
    struct kvm_sregs reset, sregs, got;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &reset), 0);
    CHECK_EQ(reset.cs.base, 0xffff0000);
    CHECK_EQ(reset.cs.selector, 0xf000);
    CHECK_EQ(reset.cr0, 0x60000010);
    CHECK_EQ(reset.cr3, 0);
    CHECK_EQ(reset.efer, 0);
    CHECK_EQ(reset.apic_base & ~0x100ULL, 0xfee00800);
    machine_long_mode(&m, "\xf4", 1);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.gdt = (struct kvm_dtable){ .base = 0x1000, .limit = 0x7f };
    sregs.idt = (struct kvm_dtable){ .base = 0x2000, .limit = 0xfff };
    sregs.cr2 = 0xdead000;
    sregs.fs.base = 0x123456789000;
    sregs.cr8 = 5;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &got), 0);
    CHECK(!memcmp(&sregs.cs, &got.cs, sizeof(got.cs)));
    CHECK_EQ(got.gdt.base, 0x1000);
    CHECK_EQ(got.idt.limit, 0xfff);
    CHECK_EQ(got.cr0, sregs.cr0);
    CHECK_EQ(got.cr2, 0xdead000);
    CHECK_EQ(got.cr3, sregs.cr3);
    CHECK_EQ(got.cr4, sregs.cr4);
    CHECK_EQ(got.cr8, 5);
    CHECK_EQ(got.efer, sregs.efer);
    CHECK_EQ(got.fs.base, 0x123456789000);
    /* States that no processor can be in. */
    got = sregs;
    got.cr0 &= ~1ULL;                           /* paging without protection */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &got), -EINVAL);
    got = sregs;
    got.cr4 &= ~(1ULL << 5);                    /* long mode without PAE */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &got), -EINVAL);
    got = sregs;
    got.efer &= ~(1ULL << 10);                  /* LME and PG without LMA */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &got), -EINVAL);
    got = sregs;
    got.cr3 |= 1ULL << 62;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &got), -EINVAL);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &reset), 0);
}

static void fpu(void)
{
    struct kvm_fpu fpu, got;
    struct kvm_xsave *xsave;
    struct kvm_xcrs xcrs;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_FPU, &fpu), 0);
    CHECK_EQ(fpu.fcw, 0x37f);
    memset(fpu.xmm, 0x5a, sizeof(fpu.xmm));
    for (int i = 0; i < 8; i++)
        memset(fpu.fpr[i], 0x10 + i, 10);
    fpu.fsw = 3 << 11;
    fpu.ftwx = 0x0f;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_FPU, &fpu), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_FPU, &got), 0);
    for (int i = 0; i < 8; i++)
        CHECK(!memcmp(fpu.fpr[i], got.fpr[i], 10));
    CHECK(!memcmp(fpu.xmm, got.xmm, sizeof(fpu.xmm)));
    CHECK_EQ(got.fsw, 3 << 11);
    CHECK_EQ(got.ftwx, 0x0f);
    NEED(m.vm, KVM_CAP_XSAVE);
    xsave = host_memory(4096);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_XSAVE, xsave), 0);
    xsave->region[128] |= 3;                    /* XSTATE_BV, byte 512: x87 and SSE */
    xsave->region[40] = 0x12345678;             /* XMM0, byte 160 of the image */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_XSAVE, xsave), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_FPU, &got), 0);
    CHECK_EQ(*(uint32_t *)got.xmm[0], 0x12345678);
    xsave->region[128 + 1] = 0x80000000;        /* a component that nobody has */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_XSAVE, xsave), -EINVAL);
    NEED(m.vm, KVM_CAP_XCRS);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_XCRS, &xcrs), 0);
    CHECK_EQ(xcrs.nr_xcrs, 1);
    CHECK_EQ(xcrs.xcrs[0].value, 1);
    xcrs.xcrs[0].value = 3;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_XCRS, &xcrs), 0);
    xcrs.xcrs[0].value = 2;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_XCRS, &xcrs), -EINVAL);
}

static void events_and_debug_registers(void)
{
    struct kvm_vcpu_events events, got;
    struct kvm_debugregs regs, got_regs;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_VCPU_EVENTS, &events), 0);
    CHECK_EQ(events.exception.injected, 0);
    events.exception.injected = 1;
    events.exception.nr = 13;
    events.exception.has_error_code = 1;
    events.exception.error_code = 8;
    events.nmi.masked = 1;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_VCPU_EVENTS, &got), 0);
    CHECK_EQ(got.exception.injected, 1);
    CHECK_EQ(got.exception.nr, 13);
    CHECK_EQ(got.exception.error_code, 8);
    CHECK_EQ(got.nmi.masked, 1);
    events.exception.nr = 32;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), -EINVAL);
    events.exception.nr = 13;
    events.flags = 1u << 31;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), -EINVAL);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_DEBUGREGS, &regs), 0);
    CHECK_EQ(regs.dr6, 0xffff0ff0);
    CHECK_EQ(regs.dr7, 0x400);
    regs.db[2] = 0x1234;
    regs.dr7 = 0x420;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_DEBUGREGS, &regs), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_DEBUGREGS, &got_regs), 0);
    CHECK_EQ(got_regs.db[2], 0x1234);
    CHECK_EQ(got_regs.dr7, 0x420);
    regs.dr7 = 1ULL << 40;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_DEBUGREGS, &regs), -EINVAL);
}

static void translate(void)
{
    struct kvm_translation tr = { .linear_address = 0x201234 };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, "\xf4", 1);
    CHECK_EQ(IOCTL(m.vcpu, KVM_TRANSLATE, &tr), 0);
    CHECK_EQ(tr.valid, 1);
    CHECK_EQ(tr.physical_address, 0x201234);
    tr.linear_address = 1ULL << 40;
    CHECK_EQ(IOCTL(m.vcpu, KVM_TRANSLATE, &tr), 0);
    CHECK_EQ(tr.valid, 0);
}

static void guest_debug(void)
{
    struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm gives the guest's INT3 to the guest");
    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_SET_GUEST_DEBUG);
    machine_real_mode(&m, "\x90\x90\xcc\x90\xf4", 5);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
    machine_run_to(&m, KVM_EXIT_DEBUG);
    CHECK_EQ(m.run->debug.arch.pc, CODE_AT + 1);
    CHECK_EQ(m.run->debug.arch.exception, 1);
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
    machine_run_to(&m, KVM_EXIT_DEBUG);
    CHECK_EQ(m.run->debug.arch.pc, CODE_AT + 2);
    CHECK_EQ(m.run->debug.arch.exception, 3);
    /* The debugger puts the instruction back, and a breakpoint on the next. */
    m.ram[CODE_AT + 2] = 0x90;
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    debug.arch.debugreg[0] = CODE_AT + 3;
    debug.arch.debugreg[7] = 0x401;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
    machine_run_to(&m, KVM_EXIT_DEBUG);
    CHECK_EQ(m.run->debug.arch.pc, CODE_AT + 3);
    CHECK_EQ(m.run->debug.arch.dr6 & 0xf, 1);
    debug.control = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
    machine_run_to(&m, KVM_EXIT_HLT);
}

/* INT3 that isn't the debugger's: the guest's handler is to return behind it. */
static void guest_debug_gives_back(void)
{
    struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };
    struct kvm_regs regs;
    struct machine m;
    uint16_t back;

    if (test_is_pvm())
        test_skip("kvm_pvm gives the guest's INT3 to the guest");
    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_SET_GUEST_DEBUG);
    machine_real_mode(&m, "\x90\xcc\xf4", 3);
    memcpy(m.ram + 3 * 4, (uint16_t[]){ CODE_AT + 0x100, 0 }, 4);
    m.ram[CODE_AT + 0x100] = 0xf4;
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_REGS, &regs), 0);
    regs.rsp = 0x800;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_REGS, &regs), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
    machine_run_to(&m, KVM_EXIT_DEBUG);
    CHECK_EQ(m.run->debug.arch.exception, 3);
    debug.control |= KVM_GUESTDBG_INJECT_BP;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_GUEST_DEBUG, &debug), 0);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_REGS, &regs), 0);
    CHECK_EQ(regs.rip, CODE_AT + 0x101);
    memcpy(&back, m.ram + regs.rsp, sizeof(back));
    CHECK_EQ(back, CODE_AT + 2);
}

/* Real-mode vector 0x20 points to a handler that says so on port 0x21. */
static void load_interruptible(struct machine *m)
{
    machine_real_mode(m, "\xfb\x90\xf4\xeb\xfd", 5);    /* sti; nop; 1: hlt; jmp 1b */
    memcpy(m->ram + 0x2000, "\xe6\x21\xcf", 3);         /* out %al,$0x21; iret */
    memcpy(m->ram + 0x20 * 4, "\x00\x20\x00\x00", 4);
    memcpy(m->ram + 2 * 4, "\x00\x20\x00\x00", 4);      /* NMI: the same */
}

static void interrupts_from_user_space(void)
{
    struct kvm_interrupt irq = { .irq = 0x20 };
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm emulates real mode without looking for an interrupt window");
    machine_init(&m, 0, 0x100000);
    load_interruptible(&m);
    m.run->request_interrupt_window = 1;
    machine_run_to(&m, KVM_EXIT_IRQ_WINDOW_OPEN);
    CHECK_EQ(m.run->ready_for_interrupt_injection, 1);
    CHECK_EQ(m.run->if_flag, 1);
    m.run->request_interrupt_window = 0;
    irq.irq = 256;
    CHECK_EQ(IOCTL(m.vcpu, KVM_INTERRUPT, &irq), -EINVAL);
    irq.irq = 0x20;
    CHECK_EQ(IOCTL(m.vcpu, KVM_INTERRUPT, &irq), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_INTERRUPT, &irq), 0);    /* in place of the first */
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x21);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(IOCTL(m.vcpu, KVM_NMI, 0), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    machine_run_to(&m, KVM_EXIT_HLT);
}

/* Creates the irqchip before the vCPU. */
static void machine_with_irqchip(struct machine *m)
{
    *m = (struct machine){ .ram_size = 0x100000, .vm = create_vm(0) };
    IOCTL(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    CHECK_EQ(IOCTL(m->vm, KVM_CREATE_IRQCHIP, 0), 0);
    CHECK_EQ(IOCTL(m->vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
    m->ram = host_memory(m->ram_size);
    CHECK_EQ(set_region(m->vm, 0, 0, 0, m->ram_size, m->ram), 0);
    machine_add_vcpu(m);
}

/* The 8259A's base is 0x20; line 1 comes by ioctl, by irqfd, and wakes HLT. */
static void interrupts_from_irqchip(void)
{
    static const uint8_t program[] = {
        0xb0, 0x11, 0xe6, 0x20,         /* mov $0x11,%al; out %al,$0x20: ICW1 */
        0xb0, 0x20, 0xe6, 0x21,         /* base 0x20 */
        0xb0, 0x04, 0xe6, 0x21,
        0xb0, 0x01, 0xe6, 0x21,
        0xb0, 0xfd, 0xe6, 0x21,         /* only line 1 */
        0xe6, 0x80,                     /* ready */
        0xfb, 0xf4, 0xeb, 0xfd,         /* sti; 1: hlt; jmp 1b */
    };
    struct kvm_irq_level level = { .irq = 1, .level = 1 };
    struct kvm_irqfd irqfd = { .gsi = 1 };
    struct machine m;
    uint64_t one = 1;

    machine_with_irqchip(&m);
    machine_real_mode(&m, program, sizeof(program));
    memcpy(m.ram + 0x2000, "\xe6\x22\xb0\x20\xe6\x20\xcf", 7);  /* out; EOI; iret */
    memcpy(m.ram + 0x21 * 4, "\x00\x20\x00\x00", 4);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x80);
    CHECK_EQ(IOCTL(m.vm, KVM_IRQ_LINE, &level), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x22);
    level.level = 0;
    CHECK_EQ(IOCTL(m.vm, KVM_IRQ_LINE, &level), 0);
    irqfd.fd = eventfd(0, 0);
    CHECK_EQ(IOCTL(m.vm, KVM_IRQFD, &irqfd), 0);
    CHECK_EQ(IOCTL(m.vm, KVM_IRQFD, &irqfd), -EBUSY);
    CHECK_EQ(write(irqfd.fd, &one, sizeof(one)), sizeof(one));
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x22);
    irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
    CHECK_EQ(IOCTL(m.vm, KVM_IRQFD, &irqfd), 0);
    close(irqfd.fd);
    irqfd.flags = 0;
    CHECK_EQ(IOCTL(m.vm, KVM_IRQFD, &irqfd), -EBADF);
    irqfd.fd = m.vm;
    CHECK(IOCTL(m.vm, KVM_IRQFD, &irqfd) < 0);
}

static void ioeventfd(void)
{
    struct kvm_ioeventfd io = { .addr = 0x510, .len = 2, .flags = KVM_IOEVENTFD_FLAG_PIO |
                                KVM_IOEVENTFD_FLAG_DATAMATCH, .datamatch = 7 };
    struct machine m;
    uint64_t count;

    machine_init(&m, 0, 0x100000);
    io.fd = eventfd(0, 0);
    CHECK_EQ(IOCTL(m.vm, KVM_IOEVENTFD, &io), 0);
    CHECK_EQ(IOCTL(m.vm, KVM_IOEVENTFD, &io), -EEXIST);
    /* mov $0x510,%dx; mov $7,%ax; out %ax,%dx twice; inc %ax; out %ax,%dx; hlt */
    machine_real_mode(&m, "\xba\x10\x05\xb8\x07\x00\xef\xef\x40\xef\xf4", 11);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 8);
    CHECK_EQ(read(io.fd, &count, sizeof(count)), sizeof(count));
    CHECK_EQ(count, 2);
    machine_run_to(&m, KVM_EXIT_HLT);
    io.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    CHECK_EQ(IOCTL(m.vm, KVM_IOEVENTFD, &io), 0);
    CHECK_EQ(IOCTL(m.vm, KVM_IOEVENTFD, &io), -ENOENT);
    io.flags = 1u << 20;
    CHECK_EQ(IOCTL(m.vm, KVM_IOEVENTFD, &io), -EINVAL);
    io.flags = 0;
    io.len = 3;
    CHECK_EQ(IOCTL(m.vm, KVM_IOEVENTFD, &io), -EINVAL);
    close(io.fd);
}

static void mp_state(void)
{
    struct kvm_mp_state state = { .mp_state = 100 };
    struct machine m;
    int ap;

    machine_with_irqchip(&m);
    ap = IOCTL(m.vm, KVM_CREATE_VCPU, 1);
    CHECK(ap >= 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MP_STATE, &state), 0);
    CHECK_EQ(state.mp_state, KVM_MP_STATE_RUNNABLE);
    CHECK_EQ(IOCTL(ap, KVM_GET_MP_STATE, &state), 0);
    CHECK_EQ(state.mp_state, KVM_MP_STATE_UNINITIALIZED);
    state.mp_state = 100;
    CHECK_EQ(IOCTL(ap, KVM_SET_MP_STATE, &state), -EINVAL);
}

static void vm_settings(void)
{
    uint64_t identity = 0xfffbc000;
    int vm = create_vm(0);

    CHECK_EQ(IOCTL(vm, KVM_SET_TSS_ADDR, 0xffffe000), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_SET_TSS_ADDR, 0xfffbd000), 0);
    CHECK_EQ(IOCTL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity), 0);
    CHECK_EQ(IOCTL(vm, KVM_SET_NR_MMU_PAGES, 63), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_SET_NR_MMU_PAGES, 1000), 0);
    CHECK(IOCTL(vm, KVM_CREATE_VCPU, 0) >= 0);
    CHECK_EQ(IOCTL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_SET_BOOT_CPU_ID, 1), -EBUSY);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_IRQCHIP, 0), -EINVAL);
}

static const struct test_case cases[] = {
    { "descriptors and unknown ioctls", descriptors },
    { "descriptors closed in any order", closing_order },
    { "capabilities", capabilities },
    { "CPUID", cpuid },
    { "lists of MSRs", msr_lists },
    { "MSRs", msrs },
    { "registers", registers },
    { "special registers", special_registers },
    { "FPU, XSAVE, XCR0", fpu },
    { "events and debug registers", events_and_debug_registers },
    { "KVM_TRANSLATE", translate },
    { "KVM_SET_GUEST_DEBUG", guest_debug },
    { "KVM_GUESTDBG_INJECT_BP", guest_debug_gives_back },
    { "KVM_INTERRUPT and KVM_NMI", interrupts_from_user_space },
    { "interrupts of the irqchip", interrupts_from_irqchip },
    { "KVM_IOEVENTFD", ioeventfd },
    { "MP state", mp_state },
    { "settings of the VM", vm_settings },
};

TEST_MAIN(cases)
