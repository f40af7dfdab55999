/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What user space may decide about a vCPU: MSRs, quirks, exceptions, newer forms of its state. */
#include "kvm_test.h"

enum {
    MSR_SYSENTER_CS = 0x174, MSR_NONE = 0x474f4f00, MSR_MTRR_DEF_TYPE = 0x2ff, MSR_LSTAR = 0xc0000082,
    REASONS = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
              KVM_MSR_EXIT_REASON_FILTER,
    VECTOR_GP = 13,
};

static int enable_cap(int fd, uint32_t cap, uint64_t arg)
{
    struct kvm_enable_cap enable = { .cap = cap, .args = { arg } };

    return IOCTL(fd, KVM_ENABLE_CAP, &enable);
}

/* 64-bit code: (a prefix,) RDMSR or WRMSR, HLT; ECX is the MSR, EDX:EAX the value. */
static void start_msr(struct machine *m, bool write, uint32_t index, uint64_t value)
{
    const uint8_t code[] = { 0x3e, 0x0f, write ? 0x30 : 0x32, 0xf4 };
    struct kvm_regs regs;

    machine_long_mode(m, code, sizeof(code));
    regs = machine_regs(m);
    regs.rcx = index;
    regs.rax = (uint32_t)value;
    regs.rdx = value >> 32;
    machine_set_regs(m, &regs);
}

static void check_msr_exit(const struct machine *m, bool write, uint32_t index, uint64_t value,
                           uint32_t reason)
{
    machine_run_to(m, write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR);
    CHECK_EQ(m->run->msr.index, index);
    CHECK_EQ(m->run->msr.reason, reason);
    CHECK_EQ(m->run->msr.error, 0);
    if (write)
        CHECK_EQ(m->run->msr.data, value);
}

static void machine_with_msr_exits(struct machine *m, uint64_t reasons)
{
    machine_init(m, 0, 0x100000);
    NEED(m->vm, KVM_CAP_X86_USER_SPACE_MSR);
    NEED(m->vm, KVM_CAP_X86_MSR_FILTER);
    CHECK_EQ(enable_cap(m->vm, KVM_CAP_X86_USER_SPACE_MSR, reasons), 0);
}

/* RDMSR and WRMSR of what there isn't, answered by user space. */
static void msr_unknown(void)
{
    struct machine m;

    machine_with_msr_exits(&m, REASONS);
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_X86_USER_SPACE_MSR, 1 << 3), -EINVAL);
    start_msr(&m, false, MSR_NONE, 0);
    check_msr_exit(&m, false, MSR_NONE, 0, KVM_MSR_EXIT_REASON_UNKNOWN);
    m.run->msr.data = 0x123456789abcdef0;
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0x9abcdef0);
    CHECK_EQ(machine_regs(&m).rdx, 0x12345678);
    start_msr(&m, true, MSR_NONE, 0xabcdef0123456789);
    check_msr_exit(&m, true, MSR_NONE, 0xabcdef0123456789, KVM_MSR_EXIT_REASON_UNKNOWN);
    machine_run_to(&m, KVM_EXIT_HLT);
    /* A value that a real MSR refuses. */
    start_msr(&m, true, MSR_MTRR_DEF_TYPE, 2);
    check_msr_exit(&m, true, MSR_MTRR_DEF_TYPE, 2, KVM_MSR_EXIT_REASON_INVAL);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 4);
}

/* immediate_exit finishes the instruction: with a value, or with #GP. */
static void msr_completed(void)
{
    struct kvm_vcpu_events events;
    struct machine m;

    machine_with_msr_exits(&m, REASONS);
    start_msr(&m, false, MSR_NONE, 0);
    check_msr_exit(&m, false, MSR_NONE, 0, KVM_MSR_EXIT_REASON_UNKNOWN);
    m.run->msr.data = 7;
    m.run->immediate_exit = 1;
    CHECK_EQ(machine_run(&m), -EINTR);
    CHECK_EQ(machine_regs(&m).rax, 7);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 3);
    m.run->immediate_exit = 0;
    machine_run_to(&m, KVM_EXIT_HLT);
    start_msr(&m, false, MSR_NONE, 0);
    check_msr_exit(&m, false, MSR_NONE, 0, KVM_MSR_EXIT_REASON_UNKNOWN);
    m.run->msr.error = 1;
    m.run->immediate_exit = 1;
    CHECK_EQ(machine_run(&m), -EINTR);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_VCPU_EVENTS, &events), 0);
    CHECK_EQ(events.exception.injected, 1);
    CHECK_EQ(events.exception.nr, VECTOR_GP);
    CHECK_EQ(events.exception.error_code, 0);
    m.run->immediate_exit = 0;
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);      /* there is no IDT */
}

/* A filter keeps the guest from an MSR, and user space doesn't notice. */
static void msr_filter(void)
{
    uint8_t none[8] = { 0 }, but_first[8] = { 0xfe };
    struct kvm_msr_filter filter = {
        .ranges = {
            { .flags = KVM_MSR_FILTER_READ, .base = MSR_LSTAR, .nmsrs = 1, .bitmap = none },
            { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .base = MSR_SYSENTER_CS,
              .nmsrs = 3, .bitmap = but_first },
        },
    };
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { { .nmsrs = 1 }, { .index = MSR_SYSENTER_CS, .data = 0x33 } };
    struct machine m;

    machine_with_msr_exits(&m, KVM_MSR_EXIT_REASON_FILTER);
    CHECK_EQ(IOCTL(m.vm, KVM_X86_SET_MSR_FILTER, &filter), 0);
    start_msr(&m, false, MSR_LSTAR, 0);
    check_msr_exit(&m, false, MSR_LSTAR, 0, KVM_MSR_EXIT_REASON_FILTER);
    m.run->msr.data = 5;
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 5);
    start_msr(&m, true, MSR_LSTAR, 0x1000);
    machine_run_to(&m, KVM_EXIT_HLT);
    start_msr(&m, true, MSR_SYSENTER_CS, 0x10);
    check_msr_exit(&m, true, MSR_SYSENTER_CS, 0x10, KVM_MSR_EXIT_REASON_FILTER);
    machine_run_to(&m, KVM_EXIT_HLT);
    start_msr(&m, true, MSR_SYSENTER_CS + 1, 0x2000);
    machine_run_to(&m, KVM_EXIT_HLT);
    /* The filter is the guest's alone. */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_MSRS, &msrs), 1);
    msrs.entry.data = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MSRS, &msrs), 1);
    CHECK_EQ(msrs.entry.data, 0x33);
    /* Not asked for: #GP. */
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_X86_USER_SPACE_MSR, 0), 0);
    start_msr(&m, false, MSR_LSTAR, 0);
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
    /* Allowed again. */
    memset(&filter, 0, sizeof(filter));
    CHECK_EQ(IOCTL(m.vm, KVM_X86_SET_MSR_FILTER, &filter), 0);
    start_msr(&m, true, MSR_LSTAR, 0x3000);     /* an AMD processor forgot it at the shutdown */
    machine_run_to(&m, KVM_EXIT_HLT);
    start_msr(&m, false, MSR_LSTAR, 0);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0x3000);
}

static void msr_filter_limits(void)
{
    static uint8_t bitmap[0x608];
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_DENY,
    };
    int vm = create_vm(0);

    NEED(vm, KVM_CAP_X86_MSR_FILTER);
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, NULL), -EFAULT);
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);      /* denies all */
    filter.flags = 2;
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
    filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
    filter.ranges[15] = (struct kvm_msr_filter_range){ .flags = 4, .nmsrs = 1, .bitmap = bitmap };
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
    filter.ranges[15].flags = KVM_MSR_FILTER_READ;
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), 0);
    filter.ranges[15].bitmap = (uint8_t *)8;
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), -EFAULT);
    filter.ranges[15].bitmap = bitmap;
    filter.ranges[15].nmsrs = 0x600 * 8;
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), 0);
    filter.ranges[15].nmsrs++;
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
    filter.ranges[15].nmsrs = UINT32_MAX;
    CHECK_EQ(IOCTL(vm, KVM_X86_SET_MSR_FILTER, &filter), -EINVAL);
}

static const struct test_case cases[] = {
    { "MSRs that user space answers", msr_unknown },
    { "an MSR access ends with immediate_exit", msr_completed },
    { "MSR filter", msr_filter },
    { "MSR filter: limits", msr_filter_limits },
};

TEST_MAIN(cases)
