/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What user space may decide about a vCPU: MSRs, quirks, exceptions, newer forms of its state. */
#include "kvm_test.h"

#include <signal.h>
#include <sys/time.h>

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

/* The hypercall of the processor that this runs on, and the other one. */
static const uint8_t vmcall[3] = { 0x0f, 0x01, 0xc1 }, vmmcall[3] = { 0x0f, 0x01, 0xd9 };

static const uint8_t *hypercall(bool native)
{
    return hypercall_modrm(native) == vmmcall[2] ? vmmcall : vmcall;
}

enum { HC_SCHED_YIELD = 11, HC_NONE = 99 };

static void start_hypercall(struct machine *m, const uint8_t insn[3], uint64_t nr)
{
    uint8_t code[4] = { [3] = 0xf4 };
    struct kvm_regs regs;

    memcpy(code, insn, 3);
    machine_long_mode(m, code, sizeof(code));
    regs = machine_regs(m);
    regs.rax = nr;
    regs.rbx = 0;
    machine_set_regs(m, &regs);
}

/* The wrong vendor's hypercall becomes the right one, unless that is switched off: #UD. */
static void foreign_hypercall(void)
{
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm has hypercalls of its own");
    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_DISABLE_QUIRKS2);
    start_hypercall(&m, hypercall(true), HC_NONE);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, -1000);
    CHECK(!memcmp(m.ram + CODE_AT, hypercall(true), 3));
    start_hypercall(&m, hypercall(false), HC_SCHED_YIELD);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, 0);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 4);
    CHECK(!memcmp(m.ram + CODE_AT, hypercall(true), 3));
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_DISABLE_QUIRKS2, 1ULL << 40), -EINVAL);
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN), 0);
    start_hypercall(&m, hypercall(false), HC_SCHED_YIELD);
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);      /* there is no IDT */
    CHECK(!memcmp(m.ram + CODE_AT, hypercall(false), 3));
}

/* Leaf 0x40000001 of a vCPU says that there are these features of KVM's. */
static void set_pv_features(const struct machine *m, uint32_t features)
{
    union cpuid_table cpuid = { .head.nent = 256 };

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_CPUID2, &cpuid), 0);
    for (uint32_t i = 0; i < cpuid.head.nent; i++) {
        if (cpuid.head.entries[i].function == 0x40000001)
            cpuid.head.entries[i].eax = features;
    }
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_CPUID2, &cpuid), 0);
}

static uint32_t get_pv_features(const struct machine *m)
{
    union cpuid_table cpuid = { .head.nent = 256 };

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_CPUID2, &cpuid), 0);
    for (uint32_t i = 0; i < cpuid.head.nent; i++) {
        if (cpuid.head.entries[i].function == 0x40000001)
            return cpuid.head.entries[i].eax;
    }
    return 0;
}

static void enforced_pv_features(void)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { { .nmsrs = 1 }, { .index = 0x12 } };             /* the older MSR of the clock */
    struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .flags = 1 };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_ENFORCE_PV_FEATURE_CPUID);
    CHECK_EQ(IOCTL(m.vcpu, KVM_ENABLE_CAP, &cap), -EINVAL);
    set_pv_features(&m, 1 << 3);                /* KVM_FEATURE_CLOCKSOURCE2 */
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MSRS, &msrs), 1);
    CHECK_EQ(enable_cap(m.vcpu, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1), 0);
    /* It is in the list of what is to be saved: as 0. */
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MSRS, &msrs), 1);
    CHECK_EQ(msrs.entry.data, 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_MSRS, &msrs), 1);
    msrs.entry.data = 0x3000;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_MSRS, &msrs), 0);
    msrs.entry.index = 0x4b564d01;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_MSRS, &msrs), 1);
    start_msr(&m, false, 0x4b564d01, 0);
    machine_run_to(&m, KVM_EXIT_HLT);
    start_msr(&m, false, 0x12, 0);
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
    if (test_is_pvm())
        return;
    start_hypercall(&m, hypercall(true), HC_SCHED_YIELD);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax, -1000);
}

/* MONITOR and MWAIT do nothing; without the quirk they are #UD where CPUID hasn't them. */
static void monitor_and_mwait(void)
{
    static const uint8_t code[] = { 0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9, 0xf4 };
    static const uint64_t quirks = KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS |
                                   KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT;
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { { .nmsrs = 1 }, { .index = 0x1a0, .data = 1 << 18 } };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    if ((check_extension(m.vm, KVM_CAP_DISABLE_QUIRKS2) & quirks) != quirks || !test_is_softkvm())
        test_skip("whether a processor has MONITOR differs");
    machine_long_mode(&m, code, sizeof(code));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_DISABLE_QUIRKS2, quirks), 0);
    machine_long_mode(&m, code, sizeof(code));
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
    /* IA32_MISC_ENABLE brings CPUID's bit. */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_MSRS, &msrs), 1);
    machine_long_mode(&m, code, sizeof(code));
    machine_run_to(&m, KVM_EXIT_HLT);
}

static void on_alarm(int signal)
{
}

/* HLT that doesn't exit: a signal ends the wait, and the guest goes on after it. */
static void halt_in_guest(void)
{
    static const uint8_t code[] = { 0xf4, 0x90, 0xe6, 0x80, 0xf4 };    /* hlt; nop; out */
    const struct itimerval soon = { .it_value.tv_usec = 50000 };
    struct machine m = { .ram_size = 0x100000, .vm = create_vm(0) };
    struct sigaction old;

    if (!(check_extension(m.vm, KVM_CAP_X86_DISABLE_EXITS) & KVM_X86_DISABLE_EXITS_HLT) ||
        test_is_pvm())
        test_skip("HLT always exits");
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_X86_DISABLE_EXITS, 1 << 4), -EINVAL);
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT), 0);
    /* Linux looks at it when a vCPU is made. */
    m.ram = host_memory(m.ram_size);
    CHECK_EQ(set_region(m.vm, 0, 0, 0, m.ram_size, m.ram), 0);
    machine_add_vcpu(&m);
    /* Together with waiting for KVM_HC_KICK_CPU it can't be. */
    set_pv_features(&m, 1 << 7 | 1 << 3);
    CHECK_EQ(get_pv_features(&m), 1 << 3);
    machine_long_mode(&m, code, sizeof(code));
    sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm }, &old);
    CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
    if (machine_run(&m) == -EINTR) {
        CHECK_EQ(m.run->exit_reason, KVM_EXIT_INTR);
        machine_run_to(&m, KVM_EXIT_IO);
    }
    sigaction(SIGALRM, &old, NULL);
    CHECK_EQ(m.run->exit_reason, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x80);
}

static void check_emulation_failure(const struct machine *m)
{
    machine_run_to(m, KVM_EXIT_INTERNAL_ERROR);
    CHECK_EQ(m->run->emulation_failure.suberror, KVM_INTERNAL_ERROR_EMULATION);
    CHECK(m->run->emulation_failure.ndata >= 3);
    CHECK(m->run->emulation_failure.insn_size >= 2);
    CHECK_EQ(m->run->emulation_failure.insn_bytes[0], 0xd9);
    CHECK_EQ(m->run->emulation_failure.insn_bytes[1], 0x00);
    CHECK_EQ(machine_regs(m).rip, CODE_AT + 1);
}

/* The x87 at a device: KVM's emulator doesn't know it. */
static void emulation_failure(void)
{
    static const uint8_t code[] = { 0x90, 0xd9, 0x00, 0xf4 };  /* nop; flds (%rax) */
    struct kvm_vcpu_events events;
    struct kvm_regs regs;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE);
    if (test_is_pvm())
        test_skip("kvm_pvm does without #UD for the kernel");
    CHECK_EQ(enable_cap(m.vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 2), -EINVAL);
    for (int always = 0; always <= 1; always++) {
        CHECK_EQ(enable_cap(m.vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, always), 0);
        machine_long_mode(&m, code, sizeof(code));
        regs = machine_regs(&m);
        regs.rax = 0x3000000;                   /* no slot is there */
        machine_set_regs(&m, &regs);
        check_emulation_failure(&m);
        CHECK_EQ(IOCTL(m.vcpu, KVM_GET_VCPU_EVENTS, &events), 0);
        CHECK_EQ(events.exception.injected, !always);
        if (!always) {
            CHECK_EQ(events.exception.nr, 6);
            events.exception.injected = 0;
            CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
        }
        regs.rip = CODE_AT + 3;
        machine_set_regs(&m, &regs);
        machine_run_to(&m, KVM_EXIT_HLT);
    }
}

enum { INS_AT = 0x20ff0, INS_COUNT = 5000 };

/* 64-bit code: REP INSB (the direction flag as wanted), HLT. */
static void start_ins(struct machine *m, bool down, uint64_t at, uint64_t count)
{
    const uint8_t code[] = { down ? 0xfd : 0xfc, 0xf3, 0x6c, 0xf4 };
    struct kvm_regs regs;

    machine_long_mode(m, code, sizeof(code));
    regs = machine_regs(m);
    regs.rdi = at;
    regs.rcx = count;
    regs.rdx = 0x1234;
    machine_set_regs(m, &regs);
}

/* Answer with bytes 1, 2, 3 ... (mod 251) until all have come.  How many exits that took. */
static unsigned feed_ins(struct machine *m, unsigned count)
{
    unsigned n = 0, exits = 0;

    for (; n < count; exits++) {
        uint8_t *data = (uint8_t *)m->run;

        machine_run_to(m, KVM_EXIT_IO);
        CHECK_EQ(m->run->io.port, 0x1234);
        CHECK_EQ(m->run->io.size, 1);
        CHECK(m->run->io.count >= 1 && m->run->io.count <= count - n);
        data += m->run->io.data_offset;
        for (uint32_t i = 0; i < m->run->io.count; i++)
            data[i] = ++n % 251;
    }
    machine_run_to(m, KVM_EXIT_HLT);
    return exits;
}

/* REP INS fetches ahead, within a page; downwards one by one. */
static void string_input(void)
{
    struct kvm_regs regs;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    start_ins(&m, false, INS_AT, INS_COUNT);
    CHECK(feed_ins(&m, INS_COUNT) < INS_COUNT / 100);
    for (unsigned i = 0; i < INS_COUNT; i++)
        CHECK_EQ(m.ram[INS_AT + i], (i + 1) % 251);
    CHECK_EQ(m.ram[INS_AT + INS_COUNT], 0);
    CHECK_EQ(machine_regs(&m).rcx, 0);
    CHECK_EQ(machine_regs(&m).rdi, INS_AT + INS_COUNT);
    start_ins(&m, true, 0x30010, 32);
    feed_ins(&m, 32);
    for (unsigned i = 0; i < 32; i++)
        CHECK_EQ(m.ram[0x30010 - i], i + 1);
    CHECK_EQ(machine_regs(&m).rdi, 0x30010 - 32);
    /* What user space takes from the count isn't stored. */
    start_ins(&m, false, 0x40000, 40);
    machine_run_to(&m, KVM_EXIT_IO);
    memset((uint8_t *)m.run + m.run->io.data_offset, 0xaa, 0x400);
    regs = machine_regs(&m);
    regs.rcx = 1;
    machine_set_regs(&m, &regs);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(m.ram[0x40000], 0xaa);
    CHECK_EQ(m.ram[0x40001], 0);
    CHECK_EQ(machine_regs(&m).rdi, 0x40001);
    /* immediate_exit has all of what was fetched stored. */
    start_ins(&m, false, 0x50000, 8);
    machine_run_to(&m, KVM_EXIT_IO);
    for (uint32_t n = m.run->io.count; n; n--) {
        memset((uint8_t *)m.run + m.run->io.data_offset, 0xbb, 0x400);
        m.run->immediate_exit = 1;
        if (machine_run(&m) != -EINTR)
            break;
    }
    m.run->immediate_exit = 0;
    while (machine_regs(&m).rcx)
        machine_run_to(&m, KVM_EXIT_IO);
    machine_run_to(&m, KVM_EXIT_HLT);
    for (unsigned i = 0; i < 8; i++)
        CHECK_EQ(m.ram[0x50000 + i], 0xbb);
}

static const struct test_case cases[] = {
    { "MSRs that user space answers", msr_unknown },
    { "an MSR access ends with immediate_exit", msr_completed },
    { "MSR filter", msr_filter },
    { "MSR filter: limits", msr_filter_limits },
    { "the other vendor's hypercall", foreign_hypercall },
    { "paravirtual features that CPUID hides", enforced_pv_features },
    { "MONITOR and MWAIT", monitor_and_mwait },
    { "HLT that doesn't exit", halt_in_guest },
    { "an instruction that can't be emulated", emulation_failure },
    { "REP INS", string_input },
};

TEST_MAIN(cases)
