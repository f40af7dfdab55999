/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every source of interrupts: the PIT through the PIC and through the I/O APIC,
 * the serial port as a device on the I/O APIC, the local APIC's timer in its three
 * modes, NMI.  Counts interrupts; how long they take is nobody's business here.
 */
#include "guest.h"

enum {
    PIC_BASE = 0x20, VECTOR_PIT = 0x60, VECTOR_SERIAL = 0x61, VECTOR_TIMER = 0x70,
    VECTOR_NMI = 2, ICR_SELF = 1 << 18, ICR_NMI = 0x400,
    LVT_MASKED = 1 << 16, LVT_PERIODIC = 1 << 17, LVT_DEADLINE = 1 << 18,
    MSR_TSC_DEADLINE = 0x6e0, CPUID_DEADLINE = 1 << 24,
    PIT_HZ = 1193182, TICKS = 20, REDIR_MASKED = 1 << 16,
    COM1_IER = 0x3f9, COM1_IIR = 0x3fa, IER_EMPTY = 2, SERIAL_GSI = 4,
};

static volatile unsigned pit_ticks, timer_ticks, nmis, serial_empty;
static struct board_info board;

static void on_pic_pit(struct frame *frame)
{
    pit_ticks++;
    out8(0x20, 0x20);
}

static void on_apic_pit(struct frame *frame)
{
    pit_ticks++;
    apic_write(APIC_EOI, 0);
}

static void on_timer(struct frame *frame)
{
    timer_ticks++;
    apic_write(APIC_EOI, 0);
}

static void on_nmi(struct frame *frame)
{
    nmis++;
}

/* Reading IIR takes the request back. */
static void on_serial(struct frame *frame)
{
    if ((in8(COM1_IIR) & 0xf) == 2)
        serial_empty++;
    out8(COM1_IER, 0);
    apic_write(APIC_EOI, 0);
}

static void wait_until(volatile unsigned *count, unsigned value)
{
    interrupts_off();
    while (*count < value)
        wait_for_interrupt();
}

static void start_pit(unsigned hz)
{
    unsigned count = PIT_HZ / hz;

    out8(0x43, 0x34);
    out8(0x40, (uint8_t)count);
    out8(0x40, (uint8_t)(count >> 8));
}

static void stop_pit(void)
{
    out8(0x43, 0x30);           /* mode 0, and no count */
}

static void test_pit_by_pic(void)
{
    set_handler(PIC_BASE, on_pic_pit);
    pic_init(PIC_BASE, 0xfffe);
    start_pit(1000);
    wait_until(&pit_ticks, TICKS);
    check(true, "PIT through the PIC");
    stop_pit();
    out8(0x21, 0xff);
}

static void set_pin(unsigned pin, uint32_t low, uint32_t id)
{
    ioapic_write(board.ioapic_address, 0x11 + 2 * pin, id << 24);
    ioapic_write(board.ioapic_address, 0x10 + 2 * pin, low);
}

static void test_pit_by_ioapic(void)
{
    unsigned before = pit_ticks;

    set_handler(VECTOR_PIT, on_apic_pit);
    set_pin(board.irq0_gsi, VECTOR_PIT, apic_id());
    start_pit(1000);
    wait_until(&pit_ticks, before + TICKS);
    stop_pit();
    set_pin(board.irq0_gsi, REDIR_MASKED, 0);
    check(true, "PIT through the I/O APIC");
}

static void test_serial(void)
{
    set_handler(VECTOR_SERIAL, on_serial);
    set_pin(SERIAL_GSI, VECTOR_SERIAL, apic_id());
    out8(COM1_IER, IER_EMPTY);
    wait_until(&serial_empty, 1);
    set_pin(SERIAL_GSI, REDIR_MASKED, 0);
    check(true, "serial port's interrupt");
}

static void test_one_shot(void)
{
    timer_ticks = 0;
    apic_write(APIC_TDCR, 0xb);
    apic_write(APIC_LVTT, VECTOR_TIMER);
    for (unsigned n = 1; n <= TICKS; n++) {
        apic_write(APIC_TMICT, 100000);
        wait_until(&timer_ticks, n);
    }
    check(timer_ticks == TICKS && apic_read(APIC_TMCCT) == 0, "APIC timer, one-shot");
}

static void test_periodic(void)
{
    timer_ticks = 0;
    apic_write(APIC_LVTT, LVT_PERIODIC | VECTOR_TIMER);
    apic_write(APIC_TMICT, 1000000);
    wait_until(&timer_ticks, TICKS);
    apic_write(APIC_TMICT, 0);
    apic_write(APIC_LVTT, LVT_MASKED | VECTOR_TIMER);
    check(true, "APIC timer, periodic");
}

static void test_deadline(void)
{
    uint32_t regs[4];
    bool late = true;

    cpuid(1, 0, regs);
    if (!(regs[2] & CPUID_DEADLINE)) {
        print("APIC timer, TSC deadline: not there\n");
        return;
    }
    timer_ticks = 0;
    apic_write(APIC_LVTT, LVT_DEADLINE | VECTOR_TIMER);
    __asm__ volatile("mfence" : : : "memory");
    for (unsigned n = 1; n <= TICKS; n++) {
        uint64_t deadline = rdtsc() + 1000000;

        wrmsr(MSR_TSC_DEADLINE, deadline);
        wait_until(&timer_ticks, n);
        late &= rdtsc() >= deadline;
    }
    check(late && rdmsr(MSR_TSC_DEADLINE) == 0, "APIC timer, TSC deadline");
    apic_write(APIC_LVTT, LVT_MASKED | VECTOR_TIMER);
}

static void test_nmi(void)
{
    set_handler(VECTOR_NMI, on_nmi);
    apic_ipi(0, ICR_SELF | ICR_NMI);
    while (nmis < 1)
        cpu_pause();
    check(nmis == 1, "NMI with interrupts off");
}

/* TPR holds an interrupt back until it is lowered. */
static void test_priority(void)
{
    unsigned before;

    timer_ticks = 0;
    apic_write(APIC_TPR, 0x70);
    apic_ipi(0, ICR_SELF | VECTOR_TIMER);
    interrupts_on();
    for (unsigned n = 0; n < 1000; n++)
        cpu_pause();
    before = timer_ticks;
    apic_write(APIC_TPR, 0);
    while (!timer_ticks)
        cpu_pause();
    interrupts_off();
    check(before == 0 && timer_ticks == 1, "task priority");
}

void guest_main(void)
{
    board_find(&board);
    test_pit_by_pic();
    apic_enable(false);
    set_handler(VECTOR_TIMER, on_timer);
    test_pit_by_ioapic();
    test_serial();
    test_one_shot();
    test_periodic();
    test_deadline();
    test_nmi();
    test_priority();
    if (apic_has_x2apic()) {
        apic_enable(true);
        test_one_shot();
        test_deadline();
        test_priority();
    }
}
