/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vAPIC's word in the guest's RAM, and exits for accesses to the task priority. */
#include "kvm_test.h"

enum {
    RAM_SIZE = 0x100000, WORD_AT = 0x3000,
    READ_AT = CODE_AT + 13, AFTER_READ = READ_AT + 6, WRITE_AT = AFTER_READ + 2,
    AFTER_WRITE = WRITE_AT + 10,
};

static const uint8_t use_tpr[] = {
    0xc6, 0x04, 0x25, 0x00, 0x30, 0x00, 0x00, 0x50,             /* mov byte [WORD_AT], 0x50 */
    0xb9, 0x00, 0x00, 0xe0, 0xfe,                               /* mov ecx, 0xfee00000 */
    0x8b, 0x81, 0x80, 0x00, 0x00, 0x00,                         /* mov eax, [rcx + 0x80] */
    0xe6, 0x10,                                                 /* out 0x10, al */
    0xc7, 0x81, 0x80, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, /* mov dword [...], 0x20 */
    0xe6, 0x10,
    0xe6, 0x10,
};

static void machine_with_apic(struct machine *m)
{
    *m = (struct machine){ .ram_size = RAM_SIZE, .vm = create_vm(0) };
    NEED(m->vm, KVM_CAP_VAPIC);
    CHECK_EQ(IOCTL(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000), 0);
    CHECK_EQ(IOCTL(m->vm, KVM_CREATE_IRQCHIP, 0), 0);
    m->ram = host_memory(RAM_SIZE);
    CHECK_EQ(set_region(m->vm, 0, 0, 0, RAM_SIZE, m->ram), 0);
    machine_add_vcpu(m);
    machine_long_mode(m, use_tpr, sizeof(use_tpr));
}

static int set_vapic(const struct machine *m, uint64_t gpa)
{
    struct kvm_vapic_addr addr = { .vapic_addr = gpa };

    return IOCTL(m->vcpu, KVM_SET_VAPIC_ADDR, &addr);
}

static uint32_t word(const struct machine *m)
{
    uint32_t value;

    memcpy(&value, m->ram + WORD_AT, sizeof(value));
    return value;
}

static uint8_t port_value(const struct machine *m)
{
    return ((uint8_t *)m->run)[m->run->io.data_offset];
}

static uint32_t task_priority(const struct machine *m)
{
    struct kvm_lapic_state apic;
    uint32_t value;

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_LAPIC, &apic), 0);
    memcpy(&value, &apic.regs[0x80], sizeof(value));
    return value;
}

/* The guest's word is the priority; written also by who uses the register (at once, here). */
static void priority_in_memory(void)
{
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm goes on with the next instructions first");
    machine_with_apic(&m);
    CHECK_EQ(set_vapic(&m, WORD_AT), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(port_value(&m), 0x50);
    CHECK_EQ(task_priority(&m), 0x50);
    machine_run_to(&m, KVM_EXIT_IO);
    if (test_is_softkvm())
        CHECK_EQ(word(&m), 0x20);
    /* Taken away: neither read nor written. */
    CHECK_EQ(set_vapic(&m, 0), 0);
    memset(m.ram + WORD_AT, 0xee, 4);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(word(&m), 0xeeeeeeee);
    if (test_is_softkvm())
        CHECK_EQ(task_priority(&m), 0x20);
}

static void bad_addresses(void)
{
    struct machine m;

    machine_with_apic(&m);
    CHECK_EQ(set_vapic(&m, 1ull << 40), -EINVAL);
    machine_run_to(&m, KVM_EXIT_IO);
    machine_init(&m, 0, RAM_SIZE);
    CHECK_EQ(set_vapic(&m, WORD_AT), -EINVAL);
    CHECK_EQ(set_vapic(&m, 0), -EINVAL);
}

/* The exit comes after the instruction, and names it. */
static void check_access(const struct machine *m, uint64_t rip, bool write, uint64_t after)
{
    machine_run_to(m, KVM_EXIT_TPR_ACCESS);
    CHECK_EQ(m->run->tpr_access.rip, rip);
    CHECK_EQ(m->run->tpr_access.is_write, write);
    CHECK_EQ(machine_regs(m).rip, after);
}

static void reports_accesses(void)
{
    struct kvm_tpr_access_ctl control = { .enabled = 1, .flags = 1 };
    struct machine m;

    if (test_is_pvm())
        test_skip("kvm_pvm goes on with the next instructions first");
    machine_with_apic(&m);
    CHECK_EQ(IOCTL(m.vcpu, KVM_TPR_ACCESS_REPORTING, &control), -EINVAL);
    control.flags = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_TPR_ACCESS_REPORTING, &control), 0);
    check_access(&m, READ_AT, false, AFTER_READ);
    machine_run_to(&m, KVM_EXIT_IO);
    check_access(&m, WRITE_AT, true, AFTER_WRITE);
    control.enabled = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_TPR_ACCESS_REPORTING, &control), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    machine_long_mode(&m, use_tpr, sizeof(use_tpr));
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(port_value(&m), 0x20);
}

static const struct test_case cases[] = {
    { "the task priority in the guest's memory", priority_in_memory },
    { "addresses without memory", bad_addresses },
    { "accesses are reported", reports_accesses },
};

TEST_MAIN(cases)
