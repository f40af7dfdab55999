/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System management mode: its address space, the saved state, what waits for its end. */
#include "kvm_test.h"

#include <unistd.h>

enum {
    PAGE = 4096,
    SMRAM_SLOT = 1 << 16,               /* slot 0 of address space 1 */
    SMRAM_AT = 0x40000, SMRAM_SIZE = 0x20000,
    SMBASE = 0x40000, OTHER_SMBASE = 0x50000,
    MSR_SMBASE = 0x9e,
    /* In the saved state, from SMBASE. */
    SAVED_CS = 0xfe10, SAVED_EFER = 0xfed0, SAVED_REVISION = 0xfefc, SAVED_SMBASE = 0xff00,
    SAVED_CR0 = 0xff58, SAVED_RFLAGS = 0xff70, SAVED_RIP = 0xff78, SAVED_RAX = 0xfff8,
};

/* out %al,$0x10; rsm */
static const uint8_t handler[] = { 0xe6, 0x10, 0x0f, 0xaa };
/* 0: nop; out %al,$0x80; jmp 0b */
static const uint8_t loop[] = { 0x90, 0xe6, 0x80, 0xeb, 0xfb };

static void set_smbase(const struct machine *m, uint64_t value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = MSR_SMBASE, .data = value } };

    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_MSRS, &msrs), 1);
}

static uint64_t get_smbase(const struct machine *m)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = MSR_SMBASE } };

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_MSRS, &msrs), 1);
    return msrs.entry.data;
}

static struct kvm_vcpu_events get_events(const struct machine *m)
{
    struct kvm_vcpu_events events;

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_VCPU_EVENTS, &events), 0);
    return events;
}

/* SMRAM with the handler at both places, in space 1 only; returns it by guest-physical address. */
static uint8_t *add_smram(struct machine *m)
{
    uint8_t *smram = host_memory(SMRAM_SIZE);

    NEED(m->vm, KVM_CAP_X86_SMM);
    CHECK_EQ(set_region(m->vm, SMRAM_SLOT, 0, SMRAM_AT, SMRAM_SIZE, smram), 0);
    memcpy(smram + 0x8000, handler, sizeof(handler));
    memcpy(smram + 0x18000, handler, sizeof(handler));
    set_smbase(m, SMBASE);
    return smram - SMRAM_AT;
}

static void run_to_port(const struct machine *m, uint16_t port)
{
    machine_run_to(m, KVM_EXIT_IO);
    CHECK_EQ(m->run->io.port, port);
    CHECK_EQ(m->run->flags & KVM_RUN_X86_SMM, port == 0x10 ? KVM_RUN_X86_SMM : 0);
}

static uint64_t saved(const uint8_t *smram, uint64_t smbase, unsigned at, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, smram + smbase + at, size);
    return value;
}

static void address_spaces(void)
{
    struct machine m;
    uint8_t *mem = host_memory(2 * PAGE);

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_X86_SMM);
    CHECK_EQ(check_extension(m.vm, KVM_CAP_MULTI_ADDRESS_SPACE), 2);
    CHECK_EQ(set_region(m.vm, SMRAM_SLOT, 0, 0, PAGE, mem), 0);         /* over slot 0 */
    CHECK_EQ(set_region(m.vm, SMRAM_SLOT | 1, 0, 0, PAGE, mem), -EEXIST);
    CHECK_EQ(set_region(m.vm, SMRAM_SLOT, 0, 2 * PAGE, PAGE, mem), 0);
    CHECK_EQ(set_region(m.vm, SMRAM_SLOT | 1, 0, 0, PAGE, mem), 0);
    CHECK_EQ(set_region(m.vm, SMRAM_SLOT, 0, 0, 0, NULL), 0);
    CHECK_EQ(set_region(m.vm, SMRAM_SLOT, 0, 0, 0, NULL), -EINVAL);
    CHECK_EQ(set_region(m.vm, 2 << 16, 0, 0, PAGE, mem), -EINVAL);
}

static void no_second_space_beside_private_memory(void)
{
    int vm = create_vm(KVM_X86_SW_PROTECTED_VM);

    NEED(vm, KVM_CAP_X86_SMM);
    CHECK_EQ(check_extension(vm, KVM_CAP_MULTI_ADDRESS_SPACE), 1);
    CHECK_EQ(set_region(vm, SMRAM_SLOT, 0, 0, PAGE, host_memory(PAGE)), -EINVAL);
}

/* From 64-bit mode and back; what the handler changes in the saved state is what is loaded. */
static void in_and_out(void)
{
    struct machine m;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    uint8_t *smram;
    uint64_t value = 0x1122334455667788;

    machine_init(&m, 0, 0x100000);
    smram = add_smram(&m);
    machine_long_mode(&m, loop, sizeof(loop));
    regs = machine_regs(&m);
    regs.rax = 0xabcdef0123456789;
    regs.r15 = 15;
    machine_set_regs(&m, &regs);
    run_to_port(&m, 0x80);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);
    CHECK(get_events(&m).smi.pending);
    run_to_port(&m, 0x10);
    CHECK(get_events(&m).smi.smm);
    CHECK(!get_events(&m).smi.pending);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    CHECK_EQ(sregs.cs.base, SMBASE);
    CHECK_EQ(sregs.cs.selector, SMBASE >> 4);
    CHECK_EQ(sregs.ds.limit, UINT32_MAX);
    CHECK_EQ(sregs.cr0 & 0x80000001, 0);
    CHECK_EQ(sregs.efer, 0);
    CHECK_EQ(saved(smram, SMBASE, SAVED_RAX, 8), 0xabcdef0123456789);
    CHECK_EQ(saved(smram, SMBASE, SAVED_RAX - 8 * 15, 8), 15);
    CHECK_EQ(saved(smram, SMBASE, SAVED_RIP, 8), CODE_AT + 3);
    CHECK_EQ(saved(smram, SMBASE, SAVED_EFER, 8), 0x500);
    CHECK_EQ(saved(smram, SMBASE, SAVED_CR0, 8) & 0x80000001, 0x80000001);
    CHECK_EQ(saved(smram, SMBASE, SAVED_CS, 2), 8);
    CHECK_EQ(saved(smram, SMBASE, SAVED_REVISION, 4), 0x20064);
    CHECK_EQ(saved(smram, SMBASE, SAVED_SMBASE, 4), SMBASE);
    memcpy(smram + SMBASE + SAVED_RAX, &value, sizeof(value));
    memcpy(smram + SMBASE + SAVED_SMBASE, &(uint32_t){ OTHER_SMBASE }, 4);
    run_to_port(&m, 0x80);
    CHECK(!get_events(&m).smi.smm);
    CHECK_EQ(machine_regs(&m).rax, value);
    CHECK_EQ(machine_regs(&m).r15, 15);
    CHECK_EQ(get_smbase(&m), OTHER_SMBASE);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);
    run_to_port(&m, 0x10);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    CHECK_EQ(sregs.cs.base, OTHER_SMBASE);
    run_to_port(&m, 0x80);
}

/* The same address has other memory in SMM: data, and code of the same address. */
static void other_memory(void)
{
    /* mov $0x48000,%ebx; 5: mov (%rbx),%eax; out %al,$0x80; jmp 5b: in the handler's page */
    static const uint8_t read_it[] = { 0xbb, 0, 0x80, 4, 0, 0x8b, 0x03, 0xe6, 0x80, 0xeb, 0xfa };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    add_smram(&m);
    memset(m.ram + SMBASE + 0x8000, 0x5a, PAGE);
    machine_long_mode(&m, read_it, sizeof(read_it));
    for (unsigned i = 0; i < 3; i++) {
        run_to_port(&m, 0x80);
        CHECK_EQ(machine_regs(&m).rax, 0x5a5a5a5a);
        CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);
        run_to_port(&m, 0x10);
    }
    CHECK_EQ(m.ram[SMBASE + SAVED_RAX], 0);     /* and the state isn't there */
}

static void rsm_elsewhere_is_ud(void)
{
    static const uint8_t code[] = { 0x0f, 0xaa };
    struct machine m;
    struct kvm_sregs sregs;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_X86_SMM);
    machine_real_mode(&m, code, sizeof(code));
    memcpy(m.ram + 6 * 4, "\x00\x20\x00\x00", 4);
    memcpy(m.ram + 0x2000, "\xe6\x80", 2);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_SREGS, &sregs), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rip & ~3ULL, 0x2000);
}

/* State that no processor can be in: shutdown. */
static void rsm_of_nonsense(void)
{
    struct machine m;
    uint8_t *smram;

    machine_init(&m, 0, 0x100000);
    smram = add_smram(&m);
    machine_real_mode(&m, loop, sizeof(loop));
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);
    run_to_port(&m, 0x10);
    memcpy(smram + SMBASE + SAVED_CR0, &(uint64_t){ 0x80000000 }, 8);   /* PG without PE */
    machine_run_to(&m, KVM_EXIT_SHUTDOWN);
}

static void nmi_waits(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    add_smram(&m);
    machine_real_mode(&m, loop, sizeof(loop));
    memcpy(m.ram + 2 * 4, "\x00\x20\x00\x00", 4);
    memcpy(m.ram + 0x2000, "\xe6\x20\xcf", 3);          /* out %al,$0x20; iret */
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);
    run_to_port(&m, 0x10);
    CHECK(get_events(&m).nmi.masked);
    CHECK_EQ(IOCTL(m.vcpu, KVM_NMI, 0), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);             /* the next one comes first */
    run_to_port(&m, 0x10);
    run_to_port(&m, 0x20);
    CHECK(get_events(&m).nmi.masked);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);             /* inside of the NMI's handler */
    run_to_port(&m, 0x10);
    CHECK(get_events(&m).smi.smm_inside_nmi);
    run_to_port(&m, 0x80);
    CHECK(!get_events(&m).nmi.masked);
}

/* A vCPU is moved while it is in SMM: to another of the same VM's description. */
static void moved_while_in_smm(void)
{
    struct machine from, to;
    struct kvm_vcpu_events events;
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    uint8_t *smram;

    machine_init(&from, 0, 0x100000);
    smram = add_smram(&from);
    machine_long_mode(&from, loop, sizeof(loop));
    CHECK_EQ(IOCTL(from.vcpu, KVM_SMI, 0), 0);
    run_to_port(&from, 0x10);
    from.run->immediate_exit = 1;
    CHECK_EQ(machine_run(&from), -EINTR);
    regs = machine_regs(&from);
    events = get_events(&from);
    CHECK_EQ(IOCTL(from.vcpu, KVM_GET_SREGS, &sregs), 0);
    machine_init(&to, 0, 0x100000);
    memcpy(to.ram, from.ram, from.ram_size);
    memcpy(add_smram(&to) + SMRAM_AT, smram + SMRAM_AT, SMRAM_SIZE);
    CHECK_EQ(IOCTL(to.vcpu, KVM_SET_SREGS, &sregs), 0);
    machine_set_regs(&to, &regs);
    events.flags = KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_NMI_PENDING;
    CHECK_EQ(IOCTL(to.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
    run_to_port(&to, 0x80);
    CHECK_EQ(IOCTL(to.vcpu, KVM_GET_SREGS, &sregs), 0);
    CHECK_EQ(sregs.efer, 0x500);
}

/* With an irqchip: SMI ends HLT; INIT waits for RSM. */
static void with_irqchip(void)
{
    static const uint8_t hlt[] = { 0xf4, 0xe6, 0x80, 0xeb, 0xfb };
    struct machine m = { .ram_size = 0x100000, .vm = create_vm(0) };
    struct kvm_vcpu_events events;

    IOCTL(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    CHECK_EQ(IOCTL(m.vm, KVM_CREATE_IRQCHIP, 0), 0);
    m.ram = host_memory(m.ram_size);
    CHECK_EQ(set_region(m.vm, 0, 0, 0, m.ram_size, m.ram), 0);
    machine_add_vcpu(&m);
    add_smram(&m);
    machine_real_mode(&m, hlt, sizeof(hlt));
    m.run->immediate_exit = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);
    run_to_port(&m, 0x10);
    events = get_events(&m);
    events.flags = KVM_VCPUEVENT_VALID_SMM;
    events.smi.pending = 1;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
    run_to_port(&m, 0x10);              /* the second one */
    events = get_events(&m);
    events.flags = KVM_VCPUEVENT_VALID_SMM;
    events.smi.latched_init = 1;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_VCPU_EVENTS, &events), 0);
    CHECK(get_events(&m).smi.latched_init);
    /* After RSM it is an INIT: to the reset vector, where there is no memory. */
    machine_run_to(&m, KVM_EXIT_INTERNAL_ERROR);
    CHECK(!get_events(&m).smi.smm);
    CHECK_EQ(machine_regs(&m).rip, 0xfff0);
}

static void no_memory_for_the_state(void)
{
    struct machine m;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_X86_SMM);
    machine_real_mode(&m, loop, sizeof(loop));
    CHECK_EQ(IOCTL(m.vcpu, KVM_SMI, 0), 0);
    CHECK_EQ(machine_run(&m), -EIO);
}

static const struct test_case cases[] = {
    { "slots of the second address space", address_spaces },
    { "none where memory can be private", no_second_space_beside_private_memory },
    { "SMI, saved state, RSM, another SMBASE", in_and_out },
    { "other memory at the same address", other_memory },
    { "RSM outside of SMM is #UD", rsm_elsewhere_is_ud },
    { "RSM of an impossible state is a shutdown", rsm_of_nonsense },
    { "NMI waits for RSM, a second SMI goes first", nmi_waits },
    { "state is moved while in SMM", moved_while_in_smm },
    { "with an irqchip: INIT is latched", with_irqchip },
    { "no memory at SMBASE", no_memory_for_the_state },
};

TEST_MAIN(cases)
