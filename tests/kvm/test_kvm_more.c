/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What programs other than a VMM ask of KVM: statistics, registers in kvm_run, limits. */
#include "kvm_test.h"

#include "softkvm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const uint8_t halt_twice[] = { 0xf4, 0xf4 };
/* in al, 0x10; hlt */
static const uint8_t in_and_halt[] = { 0xe4, 0x10, 0xf4 };

static ssize_t read_at(int fd, void *buffer, size_t size, off_t offset)
{
    return test_is_softkvm() ? softkvm_pread(fd, buffer, size, offset)
                             : pread(fd, buffer, size, offset);
}

/* The value of a statistic, -1 if there is none of that name. */
static int64_t statistic(int fd, const char *name)
{
    struct kvm_stats_header header;

    CHECK_EQ(read_at(fd, &header, sizeof(header), 0), sizeof(header));
    for (uint32_t i = 0; i < header.num_desc; i++) {
        size_t size = sizeof(struct kvm_stats_desc) + header.name_size;
        union {
            struct kvm_stats_desc stat;
            char bytes[512];
        } desc;
        uint64_t value;

        CHECK(size < sizeof(desc));
        CHECK_EQ(read_at(fd, &desc, size, header.desc_offset + i * size), size);
        if (strcmp(desc.bytes + sizeof(desc.stat), name))
            continue;
        CHECK_EQ(read_at(fd, &value, sizeof(value), header.data_offset + desc.stat.offset),
                 sizeof(value));
        return value;
    }
    return -1;
}

static void statistics(void)
{
    struct kvm_stats_header header;
    struct machine m;
    int vm_stats, stats;
    char id[512];

    machine_init(&m, 0, 0x10000);
    NEED(m.vm, KVM_CAP_BINARY_STATS_FD);
    machine_real_mode(&m, halt_twice, sizeof(halt_twice));
    vm_stats = IOCTL(m.vm, KVM_GET_STATS_FD, 0);
    stats = IOCTL(m.vcpu, KVM_GET_STATS_FD, 0);
    CHECK(vm_stats >= 0 && stats >= 0);
    CHECK_EQ(read_at(stats, &header, sizeof(header), 0), sizeof(header));
    CHECK(header.name_size < sizeof(id));
    CHECK_EQ(read_at(stats, id, header.name_size, header.id_offset), header.name_size);
    CHECK(!strncmp(id, "kvm-", 4) && strstr(id, "/vcpu-0"));
    CHECK_EQ(statistic(stats, "no such"), -1);
    CHECK(statistic(stats, "exits") >= 0);
    if (test_is_softkvm()) {            /* the kernel counts those that it handles too */
        int64_t before = statistic(stats, "exits");

        machine_run_to(&m, KVM_EXIT_HLT);
        CHECK_EQ(statistic(stats, "exits"), before + 1);
        CHECK_EQ(statistic(stats, "halt_exits"), 1);
        CHECK_EQ(statistic(stats, "io_exits"), 0);
        CHECK_EQ(statistic(vm_stats, "vcpus"), 1);
        CHECK_EQ(read_at(stats, id, sizeof(id), 1 << 20), 0);
        CHECK_EQ(read_at(m.vm, id, sizeof(id), 0), -ESPIPE);
    }
    kvm_close(vm_stats);
    kvm_close(stats);
}

static void registers_in_run(void)
{
    struct machine m;

    machine_init(&m, 0, 0x10000);
    NEED(m.vm, KVM_CAP_SYNC_REGS);
    machine_real_mode(&m, halt_twice, sizeof(halt_twice));
    m.run->kvm_valid_regs = 1u << 31;
    CHECK_EQ(machine_run(&m), -EINVAL);
    m.run->kvm_valid_regs = 0;
    m.run->kvm_dirty_regs = 1u << 31;
    CHECK_EQ(machine_run(&m), -EINVAL);
    m.run->kvm_dirty_regs = 0;
    m.run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS;
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(m.run->s.regs.regs.rip, CODE_AT + 1);
    CHECK_EQ(m.run->s.regs.sregs.cr0 & 1, 0);
    /* Changed there, and not looked at unless marked. */
    m.run->s.regs.regs.rip = CODE_AT;
    m.run->s.regs.regs.rbx = 0xabc;
    m.run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(m.run->kvm_dirty_regs, 0);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 1);
    CHECK_EQ(machine_regs(&m).rbx, 0xabc);
    m.run->s.regs.regs.rbx = 0xdef;
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(m.run->s.regs.regs.rbx, 0xabc);
    m.run->s.regs.sregs.cr4 = 1ull << 63;
    m.run->kvm_dirty_regs = KVM_SYNC_X86_SREGS;
    CHECK_EQ(machine_run(&m), -EINVAL);
}

static void cpuid_after_running(void)
{
    static struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[256];
    } cpuid;                            /* struct kvm_cpuid2 */
    struct machine m;

    machine_init(&m, 0, 0x10000);
    machine_real_mode(&m, halt_twice, sizeof(halt_twice));
    cpuid.nent = 256;
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_CPUID2, &cpuid), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID2, &cpuid), 0);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID2, &cpuid), 0);
    cpuid.nent--;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID2, &cpuid), -EINVAL);
    cpuid.nent++;
    for (uint32_t i = 0; i < cpuid.nent; i++) {
        if (cpuid.entries[i].function == 7)
            cpuid.entries[i].ebx ^= 1;
    }
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID2, &cpuid), -EINVAL);
}

static int enable(int fd, uint32_t cap, uint64_t value)
{
    struct kvm_enable_cap args = { .cap = cap, .args = { value } };

    return IOCTL(fd, KVM_ENABLE_CAP, &args);
}

static void limits(void)
{
    int vm = create_vm(0), limit = check_extension(vm, KVM_CAP_MAX_VCPU_ID);

    CHECK_EQ(enable(vm, KVM_CAP_MAX_VCPU_ID, limit + 1), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_SET_BOOT_CPU_ID, 1ull << 32), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_SET_BOOT_CPU_ID, limit + 1), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_SET_BOOT_CPU_ID, 2), 0);
    CHECK_EQ(enable(vm, KVM_CAP_MAX_VCPU_ID, 1), -EINVAL);
    CHECK_EQ(enable(vm, KVM_CAP_MAX_VCPU_ID, 3), 0);
    CHECK_EQ(enable(vm, KVM_CAP_MAX_VCPU_ID, 4), -EINVAL);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_VCPU, 3), -EINVAL);
    CHECK(IOCTL(vm, KVM_CREATE_VCPU, 2) >= 0);
}

/* Programs look at the reason again after they had an access completed so. */
static void completion_keeps_the_reason(void)
{
    struct machine m;

    machine_init(&m, 0, 0x10000);
    machine_real_mode(&m, in_and_halt, sizeof(in_and_halt));
    machine_run_to(&m, KVM_EXIT_IO);
    m.run->immediate_exit = 1;
    CHECK_EQ(machine_run(&m), -EINTR);
    CHECK_EQ(m.run->exit_reason, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rip, CODE_AT + 2);
    m.run->immediate_exit = 0;
    machine_run_to(&m, KVM_EXIT_HLT);
}

static void page_tables_outside_memory(void)
{
    struct kvm_sregs sregs;
    struct machine m;

    machine_init(&m, 0, 0x100000);
    machine_long_mode(&m, halt_twice, sizeof(halt_twice));
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.cr3 = 0x40000000;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), 0);
    CHECK_EQ(machine_run(&m), 0);
    CHECK(m.run->exit_reason == KVM_EXIT_INTERNAL_ERROR || m.run->exit_reason == KVM_EXIT_SHUTDOWN);
    sregs.cr4 |= 1 << 12;               /* LA57: five levels */
    if (test_is_softkvm())
        CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), -EINVAL);
}

static int set_msr(int vcpu, uint32_t index, uint64_t value)
{
    struct {
        uint32_t nmsrs, pad;
        struct kvm_msr_entry entry;
    } msrs = { .nmsrs = 1, .entry = { .index = index, .data = value } };

    return IOCTL(vcpu, KVM_SET_MSRS, &msrs);
}

/* MAXPHYADDR is the table's, not KVM_GET_SUPPORTED_CPUID's: a mask of an MTRR shows it. */
static void physical_address_size(void)
{
    enum { MTRR_MASK_0 = 0x201, MASK_VALID = 1 << 11 };
    static const uint8_t widths[] = { 36, 40, 48, 52 };
    struct machine m;

    machine_init(&m, 0, 0x10000);
    for (size_t i = 0; i < sizeof(widths); i++) {
        struct {
            uint32_t nent, padding;
            struct kvm_cpuid_entry2 entries[2];
        } cpuid = { 2, 0, { { .function = 0x80000000, .eax = 0x80000008 },
                            { .function = 0x80000008, .eax = widths[i] } } };

        CHECK_EQ(IOCTL(m.vcpu, KVM_SET_CPUID2, &cpuid), 0);
        CHECK_EQ(set_msr(m.vcpu, MTRR_MASK_0, 1ull << (widths[i] - 1) | MASK_VALID), 1);
        CHECK_EQ(set_msr(m.vcpu, MTRR_MASK_0, 1ull << widths[i] | MASK_VALID), 0);
    }
}

/* A VMM with a local APIC of its own restores this MSR all the same. */
static void deadline_without_apic(void)
{
    enum { TSC_DEADLINE = 0x6e0 };
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { { .nmsrs = 1 }, { .index = TSC_DEADLINE, .data = 1 } };
    struct machine m;

    machine_init(&m, 0, 0x10000);
    CHECK_EQ(set_msr(m.vcpu, TSC_DEADLINE, 12345), 1);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_MSRS, &msrs), 1);
    CHECK_EQ(msrs.entry.data, 0);
}

/* mov ecx, 0xce; rdmsr; hlt; rdmsr: the last is #GP, which nobody handles */
static const uint8_t platform_info_code[] = { 0x66, 0xb9, 0xce, 0, 0, 0, 0x0f, 0x32, 0xf4,
                                              0x0f, 0x32, 0xf4 };

static void platform_info(void)
{
    struct kvm_sregs sregs;
    struct machine m;

    machine_init(&m, 0, 0x10000);
    NEED(m.vm, KVM_CAP_MSR_PLATFORM_INFO);
    machine_real_mode(&m, platform_info_code, sizeof(platform_info_code));
    CHECK_EQ(set_msr(m.vcpu, 0xce, 0xff00), 1);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(machine_regs(&m).rax & 0xff00, 0xff00);
    CHECK_EQ(enable(m.vm, KVM_CAP_MSR_PLATFORM_INFO, 0), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.idt.limit = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_SREGS, &sregs), 0);
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
    CHECK_EQ(set_msr(m.vcpu, 0xc0010015, 1 << 18 | 1 << 3), 1);
    CHECK_EQ(set_msr(m.vcpu, 0xc0010015, 1), 0);
}

static uint64_t get_tsc(int vcpu)
{
    struct {
        uint32_t nmsrs, pad;
        struct kvm_msr_entry entry;
    } msrs = { .nmsrs = 1, .entry = { .index = 0x10 } };

    CHECK_EQ(IOCTL(vcpu, KVM_GET_MSRS, &msrs), 1);
    return msrs.entry.data;
}

static void tsc_of_later_vcpus(void)
{
    const uint64_t far = 1ull << 50;
    uint64_t first_tsc, second_tsc;
    struct machine m;
    int second;

    machine_init(&m, 0, 0x10000);
    machine_real_mode(&m, halt_twice, sizeof(halt_twice));
    CHECK_EQ(set_msr(m.vcpu, 0x10, far), 1);
    second = IOCTL(m.vm, KVM_CREATE_VCPU, 1);
    CHECK(second >= 0);
    CHECK(get_tsc(second) >= far && get_tsc(second) < far + (far >> 4));
    /* Whichever is read later has the larger one. */
    first_tsc = get_tsc(m.vcpu);
    second_tsc = get_tsc(second);
    CHECK(first_tsc <= second_tsc && second_tsc <= get_tsc(m.vcpu));
}

static const struct test_case cases[] = {
    { "statistics", statistics },
    { "registers in struct kvm_run", registers_in_run },
    { "CPUID after running", cpuid_after_running },
    { "width of physical addresses", physical_address_size },
    { "TSC deadline without a local APIC", deadline_without_apic },
    { "limits of vCPU ids", limits },
    { "completing an access keeps the exit reason", completion_keeps_the_reason },
    { "page tables outside memory", page_tables_outside_memory },
    { "MSR_PLATFORM_INFO and HWCR", platform_info },
    { "TSC of a vCPU made later", tsc_of_later_vcpus },
};

TEST_MAIN(cases)
