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

/*
 * sti; hlt; out 0x10, al; cli; out 0x11, al; sti; nop; out 0x12, al; and an
 * interrupt handler: inc word [0x500]; mov ecx, 0x80b; xor eax, eax;
 * xor edx, edx; wrmsr (x2APIC EOI); iret
 */
static const uint8_t wait_and_tell[] = { 0xfb, 0xf4, 0xe6, 0x10, 0xfa, 0xe6, 0x11, 0xfb, 0x90,
                                         0xe6, 0x12 };
static const uint8_t handler[] = { 0xff, 0x06, 0x00, 0x05, 0x66, 0xb9, 0x0b, 0x08, 0, 0, 0x66,
                                   0x31, 0xc0, 0x66, 0x31, 0xd2, 0x0f, 0x30, 0xcf };
enum { HANDLER_AT = 0x2000, COUNTER_AT = 0x500, LEVEL_VECTOR = 0x41, PIC_VECTOR = 0x42 };

static void set_vector(struct machine *m, unsigned vector)
{
    static const uint16_t entry[] = { HANDLER_AT, 0 };

    memcpy(m->ram + 4 * vector, entry, sizeof(entry));
}

static int route_pin(int vm, unsigned type)
{
    struct {
        struct kvm_irq_routing head;
        struct kvm_irq_routing_entry entry;
    } routing = { .head.nr = 1, .entry = { .gsi = 5, .type = type } };

    if (type == KVM_IRQ_ROUTING_MSI) {
        routing.entry.u.msi.address_lo = 0xfee00000;
        routing.entry.u.msi.data = LEVEL_VECTOR | 1 << 15;
    }
    return IOCTL(vm, KVM_SET_GSI_ROUTING, &routing);
}

static void split_limits(int vm)
{
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
    struct kvm_pit_config pit = { 0 };
    struct kvm_irqfd irqfd = { .flags = KVM_IRQFD_FLAG_RESAMPLE, .fd = -1, .resamplefd = -1 };

    CHECK_EQ(enable(vm, KVM_CAP_SPLIT_IRQCHIP, 4097), -EINVAL);
    CHECK_EQ(enable(vm, KVM_CAP_SPLIT_IRQCHIP, 24), 0);
    CHECK_EQ(enable(vm, KVM_CAP_SPLIT_IRQCHIP, 24), -EEXIST);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
    CHECK_EQ(IOCTL(vm, KVM_GET_IRQCHIP, &chip), -ENXIO);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_PIT2, &pit), -ENOENT);
    CHECK_EQ(IOCTL(vm, KVM_IRQFD, &irqfd), -EINVAL);
    CHECK_EQ(route_pin(vm, KVM_IRQ_ROUTING_IRQCHIP), -EINVAL);
    CHECK_EQ(route_pin(vm, KVM_IRQ_ROUTING_MSI), 0);
}

static void machine_split(struct machine *m)
{
    *m = (struct machine){ .vm = create_vm(0), .ram_size = 0x10000,
                           .ram = host_memory(0x10000) };
    NEED(m->vm, KVM_CAP_SPLIT_IRQCHIP);
    IOCTL(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    split_limits(m->vm);
    CHECK_EQ(set_region(m->vm, 0, 0, 0, m->ram_size, m->ram), 0);
    machine_add_vcpu(m);
    machine_real_mode(m, wait_and_tell, sizeof(wait_and_tell));
    memcpy(m->ram + HANDLER_AT, handler, sizeof(handler));
    set_vector(m, LEVEL_VECTOR);
    set_vector(m, PIC_VECTOR);
    CHECK_EQ(set_msr(m->vcpu, MSR_APIC_BASE, X2APIC_BASE | 1 << 8), 1);
    CHECK_EQ(set_msr(m->vcpu, MSR_X2APIC_SVR, SVR_ENABLE), 1);
}

/* I/O APIC and PICs are user space's: it learns of ends, and injects what PICs send. */
static void split_irqchip(void)
{
    struct kvm_irq_level line = { .irq = 5, .level = 1 };
    struct kvm_interrupt interrupt = { .irq = PIC_VECTOR };
    struct machine m;
    bool is_window;

    machine_split(&m);
    CHECK_EQ(IOCTL(m.vm, KVM_IRQ_LINE, &line), 0);
    machine_run_to(&m, KVM_EXIT_IOAPIC_EOI);
    CHECK_EQ(m.run->eoi.vector, LEVEL_VECTOR);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x10);
    CHECK_EQ(m.ram[COUNTER_AT], 1);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x11);
    CHECK_EQ(m.run->ready_for_interrupt_injection, 0);
    m.run->request_interrupt_window = 1;
    CHECK_EQ(machine_run(&m), 0);
    is_window = m.run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN;
    CHECK(is_window && m.run->ready_for_interrupt_injection);
    CHECK_EQ(IOCTL(m.vcpu, KVM_INTERRUPT, &interrupt), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_INTERRUPT, &interrupt), -EEXIST);
    m.run->request_interrupt_window = 0;
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x12);
    CHECK_EQ(m.ram[COUNTER_AT], 2);
}

/* A bus clock of 25 MHz: some 250 ns are 10 ticks. */
static void apic_bus_clock(void)
{
    int vm = create_vm(0), late = irqchip_vm();

    NEED(vm, KVM_CAP_X86_APIC_BUS_CYCLES_NS);
    CHECK_EQ(enable(vm, KVM_CAP_X86_APIC_BUS_CYCLES_NS, 0), -EINVAL);
    CHECK_EQ(enable(vm, KVM_CAP_X86_APIC_BUS_CYCLES_NS, 1ull << 25 | 1), -EINVAL);
    CHECK_EQ(enable(vm, KVM_CAP_X86_APIC_BUS_CYCLES_NS, 40), -ENXIO);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_IRQCHIP, 0), 0);
    CHECK_EQ(enable(vm, KVM_CAP_X86_APIC_BUS_CYCLES_NS, 40), 0);
    CHECK(IOCTL(late, KVM_CREATE_VCPU, 0) >= 0);
    CHECK_EQ(enable(late, KVM_CAP_X86_APIC_BUS_CYCLES_NS, 40), -EINVAL);
}

static uint64_t get_msr(int vcpu, uint32_t index)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = { .head.nmsrs = 1, .entry = { .index = index } };

    CHECK_EQ(IOCTL(vcpu, KVM_GET_MSRS, &msrs), 1);
    return msrs.entry.data;
}

static void tsc_offset(void)
{
    uint64_t offset = 0, moved, before, after;
    struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
                                    .addr = (uintptr_t)&offset };
    struct kvm_device_attr unknown = { .group = KVM_VCPU_TSC_CTRL, .attr = 1 };
    struct machine m;

    machine_init(&m, 0, 0x10000);
    NEED(m.vm, KVM_CAP_VCPU_ATTRIBUTES);
    CHECK_EQ(IOCTL(m.vcpu, KVM_HAS_DEVICE_ATTR, &unknown), -ENXIO);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_DEVICE_ATTR, &unknown), -ENXIO);
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_DEVICE_ATTR, &unknown), -ENXIO);
    CHECK_EQ(IOCTL(m.vcpu, KVM_HAS_DEVICE_ATTR, &attr), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_DEVICE_ATTR, &attr), 0);
    before = get_msr(m.vcpu, 0x10);
    moved = offset += 1ull << 50;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_DEVICE_ATTR, &attr), 0);
    after = get_msr(m.vcpu, 0x10);
    CHECK(after - before >= 1ull << 50 && after - before < 1ull << 51);
    offset = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_DEVICE_ATTR, &attr), 0);
    CHECK_EQ(offset, moved);
    attr.addr = 0;
    CHECK_EQ(IOCTL(m.vcpu, KVM_SET_DEVICE_ATTR, &attr), -EFAULT);
    CHECK_EQ(IOCTL(m.vcpu, KVM_GET_DEVICE_ATTR, &attr), -EFAULT);
}

/* out 0x40, al; out 0x41, al; out 0x10, al; jmp to the start */
static const uint8_t port_writes[] = { 0xe6, 0x40, 0xe6, 0x41, 0xe6, 0x10, 0xeb, 0xf8 };

/* Writes wait in the ring until the guest comes out for another reason, or it is full. */
static void coalesced_writes(void)
{
    struct kvm_coalesced_mmio_zone zone = { .addr = 0x40, .size = 1, .pio = 1 };
    struct kvm_coalesced_mmio_zone bad = { .addr = 0x40, .size = 1, .pio = 2 };
    struct kvm_coalesced_mmio_zone wide = { .addr = 0x40, .size = 2, .pio = 1 };
    struct kvm_coalesced_mmio_ring *ring;
    struct machine m;
    int page;

    machine_init(&m, 0, 0x10000);
    NEED(m.vm, KVM_CAP_COALESCED_PIO);
    page = check_extension(m.vm, KVM_CAP_COALESCED_MMIO);
    ring = (void *)((uint8_t *)m.run + 4096 * page);
    machine_real_mode(&m, port_writes, sizeof(port_writes));
    CHECK_EQ(IOCTL(m.vm, KVM_REGISTER_COALESCED_MMIO, &bad), -EINVAL);
    CHECK_EQ(IOCTL(m.vm, KVM_REGISTER_COALESCED_MMIO, &zone), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x41);
    CHECK(ring->first == 0 && ring->last == 1);
    CHECK_EQ(ring->coalesced_mmio[0].phys_addr, 0x40);
    CHECK(ring->coalesced_mmio[0].len == 1 && ring->coalesced_mmio[0].pio == 1);
    /* Garbage of user space's. */
    ring->last = 0xffffffff;
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x10);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x40);
    ring->last = 4;
    ring->first = 5;                    /* full */
    machine_run_to(&m, KVM_EXIT_IO);
    machine_run_to(&m, KVM_EXIT_IO);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(m.run->io.port, 0x40);
    ring->first = ring->last = 0;
    /* A bigger one than was registered takes nothing away, a part of it does. */
    CHECK_EQ(IOCTL(m.vm, KVM_UNREGISTER_COALESCED_MMIO, &wide), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    machine_run_to(&m, KVM_EXIT_IO);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK(m.run->io.port == 0x41 && ring->last == 1);
    CHECK_EQ(IOCTL(m.vm, KVM_UNREGISTER_COALESCED_MMIO, &zone), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK(m.run->io.port == 0x40 && ring->last == 1);
}

static void old_pit_state(void)
{
    struct kvm_pit_config config = { 0 };
    struct kvm_pit_state state = { 0 };
    struct kvm_pit_state2 state2 = { 0 };
    int vm = irqchip_vm();

    NEED(vm, KVM_CAP_PIT2);
    CHECK_EQ(IOCTL(vm, KVM_GET_PIT, &state), -ENXIO);
    CHECK_EQ(IOCTL(vm, KVM_SET_PIT, &state), -ENXIO);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_PIT2, &config), 0);
    CHECK_EQ(IOCTL(vm, KVM_GET_PIT, &state), 0);
    state.channels[2].count = 0x1234;
    state.channels[2].mode = 3;
    CHECK_EQ(IOCTL(vm, KVM_SET_PIT, &state), 0);
    CHECK_EQ(IOCTL(vm, KVM_GET_PIT2, &state2), 0);
    CHECK_EQ(state2.channels[2].count, 0x1234);
    CHECK_EQ(state2.channels[2].mode, 3);
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
#ifdef __SANITIZE_ADDRESS__
    test_skip("the address sanitizer takes the stack that a cancelled thread left for an error");
#endif
    cancel_a_thread(spin, sizeof(spin));
    cancel_a_thread(sleep_for_ever, sizeof(sleep_for_ever));
}

static const struct test_case cases[] = {
    { "split irqchip", split_irqchip },
    { "old PIT state", old_pit_state },
    { "coalesced writes", coalesced_writes },
    { "APIC bus clock", apic_bus_clock },
    { "TSC offset", tsc_offset },
    { "threads cancelled in KVM_RUN", cancelled_threads },
    { "vCPU ids beyond 8 bits", ids_beyond_8_bits },
};

TEST_MAIN(cases)
