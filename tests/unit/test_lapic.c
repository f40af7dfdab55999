/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The local APIC: reset state, priorities, end of interrupt, interprocessor
 * interrupts in every shorthand and destination mode, x2APIC, the timer's three
 * modes, errors, and KVM's state layout.
 */
#include "irqchip_steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    ID = 0x20, VERSION = 0x30, TASK = 0x80, PPR = 0xa0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0,
    ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310, LVTT = 0x320,
    LVT_PMC = 0x340, LINT0 = 0x350, LINT1 = 0x360, LVT_ERR = 0x370, TMICT = 0x380, TMCCT = 0x390,
    TDCR = 0x3e0,
    MASKED = 1 << 16, PERIODIC = 1 << 17, DEADLINE = 1 << 18, DIV1 = 0xb, DIV128 = 0xa,
    FIXED = 0, LOWEST = 0x100, NMI = 0x400, INIT = 0x500, SIPI = 0x600, LOGICAL = 0x800,
    ASSERT = 1 << 14, LEVEL = 1 << 15, SELF = 1 << 18, ALL = 2 << 18, OTHERS = 3 << 18,
    MSR_BASE = 0x1b, MSR_DEADLINE = 0x6e0, X_ID = 0x802, X_TPR = 0x808, X_EOI = 0x80b,
    X_LDR = 0x80d, X_SVR = 0x80f, X_ESR = 0x828, X_ICR = 0x830, X_LVTT = 0x832, X_SELF = 0x83f,
};

#define DEST(id) ((uint32_t)(id) << 24)
#define IPI(cpu, dest, command) APIC_W(cpu, ICR2, DEST(dest)), APIC_W(cpu, ICR, command)
#define TO_X2APIC(cpu) WRMSR(cpu, MSR_BASE, 0xfee00c00 | ((cpu) == 0 ? 0x100 : 0))

static void test_reset_state(void **state)
{
    RUN(*state, APIC_R(0, ID, 0), APIC_R(3, ID, DEST(3)), APIC_R(0, VERSION, 0x50014),
        APIC_R(0, SVR, 0xff), APIC_R(0, DFR, 0xffffffff), APIC_R(0, LVTT, MASKED),
        APIC_R(0, LINT0, 0x700), APIC_R(1, LINT0, MASKED), APIC_R(1, LVT_ERR, MASKED),
        RDMSR(0, MSR_BASE, 0xfee00900), RDMSR(1, MSR_BASE, 0xfee00800), APIC_R(0, TMCCT, 0));
}

static void test_disabled_apic_masks_lvt_and_refuses(void **state)
{
    RUN(*state, APIC_W(1, LVTT, 0x40), APIC_R(1, LVTT, MASKED | 0x40), IPI(0, 1, 0x41),
        APIC_R(1, IRR + 0x20, 0), ENABLE(1), APIC_W(1, LVTT, 0x40), APIC_R(1, LVTT, 0x40),
        APIC_W(1, SVR, 0xff), APIC_R(1, LVTT, MASKED | 0x40),
        /* NMI, INIT and SIPI pass all the same. */
        IPI(0, 1, NMI), PENDING(1, P_NMI));
}

static void test_writable_bits(void **state)
{
    RUN(*state, ENABLE(0), APIC_W(0, LVTT, 0xffffffff), APIC_R(0, LVTT, 0x700ff),
        APIC_W(0, LVT_PMC, 0xffffffff), APIC_R(0, LVT_PMC, 0x107ff),
        APIC_W(0, LINT1, 0xffffffff), APIC_R(0, LINT1, 0x1a7ff),
        APIC_W(0, LVT_ERR, 0xffffffff), APIC_R(0, LVT_ERR, 0x100ff),
        APIC_W(0, TASK, 0xffffffff), APIC_R(0, TASK, 0xff), APIC_W(0, DFR, 0),
        APIC_R(0, DFR, 0x0fffffff), APIC_W(0, LDR, 0xffffffff), APIC_R(0, LDR, 0xff000000),
        APIC_W(0, TDCR, 0xffffffff), APIC_R(0, TDCR, 0xb), APIC_W(0, ID, 0xffffffff),
        APIC_R(0, ID, 0xff000000), APIC_W(0, VERSION, 0), APIC_R(0, VERSION, 0x50014));
}

static void test_highest_vector_first(void **state)
{
    RUN(*state, ENABLE(1), MSI(0xfee01000, 0x41, 1), MSI(0xfee01000, 0xf0, 1),
        MSI(0xfee01000, 0x45, 1), APIC_R(1, IRR + 0x20, 1 << 1 | 1 << 5),
        APIC_R(1, IRR + 0x70, 1 << 16), TAKE(1, 0xf0), APIC_R(1, ISR + 0x70, 1 << 16),
        APIC_R(1, PPR, 0xf0), PENDING(1, 0), TAKE(1, NONE), KICKED(2), EOI(1), KICKED(2),
        APIC_R(1, PPR, 0), TAKE(1, 0x45),
        /* The same class waits, a higher one doesn't. */
        TAKE(1, NONE), MSI(0xfee01000, 0x50, 1), TAKE(1, 0x50), APIC_R(1, PPR, 0x50), EOI(1),
        APIC_R(1, PPR, 0x40), EOI(1), TAKE(1, 0x41), EOI(1), EOI(1), TAKE(1, NONE));
}

static void test_task_priority_holds_back(void **state)
{
    struct board *board = *state;

    RUN(board, ENABLE(1), TPR(1, 5), APIC_R(1, TASK, 0x50), APIC_R(1, PPR, 0x50),
        MSI(0xfee01000, 0x5f, 1), KICKED(0), PENDING(1, 0), TAKE(1, NONE), APIC_W(1, TASK, 0x4f),
        KICKED(2), APIC_R(1, PPR, 0x4f), PENDING(1, P_IRQ), TAKE(1, 0x5f));
    assert_int_equal(lapic_get_tpr(board->cpu[1]), 4);
}

static void test_shorthands(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), ENABLE(2), ENABLE(3),
        IPI(1, 0, SELF | ASSERT | 0x41), KICKED(1 << 1), IPI(1, 0, ALL | ASSERT | 0x42), KICKED(0xf),
        IPI(1, 0, OTHERS | ASSERT | 0x43), KICKED(0xd), TAKE(1, 0x42), TAKE(1, NONE), EOI(1),
        TAKE(1, 0x41), TAKE(0, 0x43), APIC_R(1, ICR, OTHERS | ASSERT | 0x43));
}

static void test_physical_and_broadcast(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), ENABLE(2), IPI(0, 2, ASSERT | 0x41), KICKED(4),
        IPI(0, 0xff, ASSERT | 0x42), KICKED(7), IPI(0, 9, ASSERT | 0x43), KICKED(0),
        /* The id is what the guest last wrote. */
        APIC_W(1, ID, DEST(9)), IPI(0, 9, ASSERT | 0x44), KICKED(2), TAKE(1, 0x44));
}

static void test_logical_flat(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), ENABLE(2), APIC_W(0, LDR, DEST(1)), APIC_W(1, LDR, DEST(2)),
        APIC_W(2, LDR, DEST(4)), IPI(0, 6, LOGICAL | 0x41), KICKED(6),
        IPI(0, 0xff, LOGICAL | 0x42), KICKED(7), IPI(0, 8, LOGICAL | 0x43), KICKED(0));
}

static void test_logical_cluster(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), ENABLE(2), APIC_W(0, DFR, 0), APIC_W(1, DFR, 0),
        APIC_W(2, DFR, 0), APIC_W(0, LDR, DEST(0x11)), APIC_W(1, LDR, DEST(0x12)),
        APIC_W(2, LDR, DEST(0x21)), IPI(0, 0x13, LOGICAL | 0x41), KICKED(3),
        IPI(0, 0x21, LOGICAL | 0x42), KICKED(4), IPI(0, 0x31, LOGICAL | 0x43), KICKED(0),
        IPI(0, 0xff, LOGICAL | 0x44), KICKED(7));
}

static void test_lowest_priority_takes_turns(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), APIC_W(0, LDR, DEST(1)), APIC_W(1, LDR, DEST(2)),
        IPI(0, 3, LOGICAL | LOWEST | 0x41), KICKED(1), IPI(0, 3, LOGICAL | LOWEST | 0x42), KICKED(2));
}

static void test_startup(void **state)
{
    struct board *board = *state;
    struct lapic_pending pending;

    RUN(board, IPI(0, 1, INIT | ASSERT | LEVEL), KICKED(2), PENDING(1, P_INIT),
        IPI(0, 1, INIT | LEVEL), KICKED(0), CLEAR(1), PENDING(1, 0),
        IPI(0, 1, SIPI | 0x9a), KICKED(2), PENDING(1, P_SIPI));
    lapic_get_pending(board->cpu[1], &pending);
    assert_int_equal(pending.sipi_vector, 0x9a);
    /* INIT makes a SIPI before it void; one after it stays until INIT has been served. */
    RUN(board, IPI(0, 1, INIT | ASSERT), PENDING(1, P_INIT), IPI(0, 1, SIPI | 0x10),
        PENDING(1, P_INIT | P_SIPI));
    lapic_init(board->cpu[1]);
    RUN(board, PENDING(1, P_INIT | P_SIPI), CLEAR(1), PENDING(1, 0));
}

static void test_init_keeps_base_and_id(void **state)
{
    struct board *board = *state;

    RUN(board, TO_X2APIC(2), WRMSR(2, X_SVR, 0x1ff), WRMSR(2, X_TPR, 0x20),
        MSI(0xfee02000, 0x41, 1));
    lapic_init(board->cpu[2]);
    RUN(board, RDMSR(2, MSR_BASE, 0xfee00c00), RDMSR(2, X_SVR, 0xff), RDMSR(2, X_TPR, 0),
        RDMSR(2, X_ID, 2), RDMSR(2, X_LDR, 4), RDMSR(2, 0x822, 0));
}

static void test_icr_refuses_low_vectors(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), APIC_W(0, LVT_ERR, 0xfe), IPI(0, 1, 0x0f), KICKED(1),
        APIC_R(0, ESR, 0), APIC_W(0, ESR, 0), APIC_R(0, ESR, 0x20), TAKE(0, 0xfe), EOI(0),
        MSI(0xfee01000, 0x05, 0), APIC_W(1, ESR, 0), APIC_R(1, ESR, 0x40), APIC_W(1, ESR, 0),
        APIC_R(1, ESR, 0), APIC_R(1, 0x50, 0), APIC_W(1, ESR, 0), APIC_R(1, ESR, 0x80),
        /* The error interrupt's own vector is bad: counted, and no more. */
        APIC_W(1, LVT_ERR, 0), MSI(0xfee01000, 0x05, 0), APIC_W(1, ESR, 0), APIC_R(1, ESR, 0x40));
}

static void test_lint0_delivers_the_pic_as_it_is_told(void **state)
{
    RUN(*state, OUT(0x20, 0x11), OUT(0x21, 0x20), OUT(0x21, 4), OUT(0x21, 1), ENABLE(0),
        ENABLE(1), APIC_W(0, LINT0, 0x66), APIC_W(1, LINT0, NMI), LINE(1, 1, 1), TAKE(0, 0x66),
        PENDING(1, P_NMI), TAKE(0, NONE),
        /* Switched off altogether: LINT0 is the processor's INTR pin. */
        WRMSR(2, MSR_BASE, 0xfee00000), PENDING(2, P_IRQ), TAKE(2, 0x21));
}

static void test_nmi_and_set_pending(void **state)
{
    struct board *board = *state;
    const struct lapic_pending restored = { .nmis = 1, .sipi = true, .sipi_vector = 3 };

    lapic_nmi(board->cpu[1]);
    RUN(board, KICKED(2), PENDING(1, P_NMI), IPI(0, 1, NMI), CLEAR(1), PENDING(1, P_NMI),
        CLEAR(1), PENDING(1, 0));
    for (int i = 0; i < 3; i++)         /* the third is lost */
        lapic_nmi(board->cpu[1]);
    RUN(board, CLEAR(1), PENDING(1, P_NMI), CLEAR(1), PENDING(1, 0));
    lapic_set_pending(board->cpu[1], &restored);
    RUN(board, KICKED(2), PENDING(1, P_NMI | P_SIPI));
}

static void test_apic_base(void **state)
{
    struct board *board = *state;
    uint32_t value = 0;

    RUN(board, WRMSR_GP(1, MSR_BASE, 0xfee00400), WRMSR_GP(1, MSR_BASE, 0xfee00801),
        WRMSR_GP(1, MSR_BASE, 1ULL << 60), TO_X2APIC(1), WRMSR_GP(1, MSR_BASE, 0xfee00800),
        WRMSR(1, MSR_BASE, 0xfee00000), WRMSR_GP(1, MSR_BASE, 0xfee00c00),
        WRMSR(1, MSR_BASE, 0xfee00800), APIC_R(1, ID, DEST(1)), APIC_R(1, SVR, 0xff));
    assert_int_equal(lapic_set_base(board->cpu[1], 0xfee00400), -EINVAL);
    assert_int_equal(lapic_set_base(board->cpu[1], 0x12345800), 0);
    assert_int_equal(lapic_get_base(board->cpu[1]), 0x12345800);
    assert_true(lapic_mmio(board->cpu[1], 0x12345020, &value, 4, false));
    assert_int_equal(value, DEST(1));
    assert_false(lapic_mmio(board->cpu[1], APIC_BASE + 0x20, &value, 4, false));
}

static void test_mmio_sizes(void **state)
{
    struct board *board = *state;
    uint64_t value = 0;

    assert_true(lapic_mmio(board->cpu[3], APIC_BASE + 0x23, &value, 1, false));
    assert_int_equal(value, 3);
    value = UINT64_MAX;
    assert_true(lapic_mmio(board->cpu[3], APIC_BASE + 0x20, &value, 8, false));
    assert_int_equal(value, 0);
    /* Narrow writes are lost, accesses beyond the last register are errors. */
    value = 0x1ff;
    assert_true(lapic_mmio(board->cpu[3], APIC_BASE + SVR, &value, 2, true));
    RUN(board, APIC_R(3, SVR, 0xff), APIC_R(3, 0x400, 0), APIC_R(3, 0xff0, 0));
    /* In x2APIC mode there is a hole. */
    RUN(board, TO_X2APIC(3), APIC_R(3, ID, 0xffffffff));
}

static void test_x2apic_registers(void **state)
{
    RUN(*state, RDMSR_GP(1, X_ID), TO_X2APIC(1), RDMSR(1, X_ID, 1), RDMSR(1, X_LDR, 2),
        WRMSR_GP(1, X_ID, 1), WRMSR_GP(1, X_LDR, 1), RDMSR_GP(1, X_EOI), RDMSR_GP(1, 0x80e),
        RDMSR_GP(1, 0x831), RDMSR_GP(1, 0x809), RDMSR_GP(1, 0x8ff), RDMSR_GP(1, 0x840),
        WRMSR_GP(1, X_EOI, 1), WRMSR(1, X_EOI, 0), WRMSR_GP(1, X_ESR, 1), WRMSR(1, X_ESR, 0),
        WRMSR_GP(1, X_TPR, 1ULL << 32), WRMSR_GP(1, X_SELF, 0x100), RDMSR_GP(1, X_SELF),
        WRMSR_GP(1, X_ICR, 1 << 13), RDMSR_GP(1, 0x7ff), RDMSR_GP(1, 0x900));
}

static void test_x2apic_ipis(void **state)
{
    RUN(*state, TO_X2APIC(0), TO_X2APIC(1), TO_X2APIC(2), WRMSR(0, X_SVR, 0x1ff),
        WRMSR(1, X_SVR, 0x1ff), WRMSR(2, X_SVR, 0x1ff),
        WRMSR(0, X_ICR, 2ULL << 32 | 0x41), KICKED(4),
        RDMSR(0, X_ICR, 2ULL << 32 | 0x41),
        WRMSR(0, X_ICR, 6ULL << 32 | LOGICAL | 0x42), KICKED(6),
        WRMSR(0, X_ICR, 0x10006ULL << 32 | LOGICAL | 0x43), KICKED(0),
        WRMSR(0, X_ICR, 0xffffffffULL << 32 | 0x44), KICKED(7),
        /* 0xff is nobody's id from an x2APIC, and everybody's from an MSI. */
        WRMSR(0, X_ICR, 0xffULL << 32 | 0x45), KICKED(0), MSI(0xfeeff000, 0x46, 3), KICKED(7),
        WRMSR(1, X_SELF, 0x50), KICKED(2), TAKE(1, 0x50), WRMSR(1, X_EOI, 0), TAKE(1, 0x46));
}

/* Processors beyond 255: 257's id register has 1 in its 8 bits until it is an x2APIC. */
static void test_ids_beyond_8_bits(void **state)
{
    struct board *board = *state;
    struct lapic *big = lapic_new(board->chip, 257), *last = lapic_new(board->chip, 4095);
    struct lapic_pending pending;

    assert_true(big && last);
    RUN(board, TO_X2APIC(0), WRMSR(0, X_SVR, 0x1ff), WRMSR(0, X_ICR, 257ULL << 32 | INIT | ASSERT),
        PENDING(1, 0));
    lapic_get_pending(big, &pending);
    assert_true(pending.init);
    pending = (struct lapic_pending){ .init = true };
    lapic_clear_pending(big, &pending);
    /* Both listen to 1, as hardware would, until user space says that it knows better. */
    RUN(board, WRMSR(0, X_ICR, 1ULL << 32 | INIT | ASSERT), PENDING(1, P_INIT), CLEAR(1));
    lapic_get_pending(big, &pending);
    assert_true(pending.init);
    irqchip_set_x2apic_api(board->chip, true, false);
    pending = (struct lapic_pending){ .init = true };
    lapic_clear_pending(big, &pending);
    RUN(board, WRMSR(0, X_ICR, 1ULL << 32 | INIT | ASSERT), PENDING(1, P_INIT), CLEAR(1));
    lapic_get_pending(big, &pending);
    assert_false(pending.init);
    /* With all of them x2APICs, found by id and by cluster. */
    RUN(board, TO_X2APIC(1), TO_X2APIC(2), TO_X2APIC(3));
    assert_int_equal(lapic_set_base(last, 0xfee00c00), 0);
    assert_int_equal(lapic_set_base(big, 0xfee00c00), 0);
    assert_true(lapic_wrmsr(last, X_SVR, 0x1ff, false));
    assert_true(lapic_wrmsr(big, X_SVR, 0x1ff, false));
    RUN(board, WRMSR(0, X_ICR, 4095ULL << 32 | 0x41), WRMSR(0, X_ICR, 4094ULL << 32 | 0x42),
        /* Cluster 255, bit 15; cluster 16, bits 0 and 1. */
        WRMSR(0, X_ICR, 0xff8000ULL << 32 | LOGICAL | 0x43),
        WRMSR(0, X_ICR, 0x100003ULL << 32 | LOGICAL | LOWEST | 0x44),
        WRMSR(0, X_ICR, 0x110002ULL << 32 | LOGICAL | 0x45));
    assert_int_equal(lapic_take_interrupt(last), 0x43);
    assert_true(lapic_wrmsr(last, X_EOI, 0, false));
    assert_int_equal(lapic_take_interrupt(last), 0x41);
    assert_int_equal(lapic_take_interrupt(big), 0x44);
    /* Switched off and on again it is back in 8 bits. */
    assert_true(lapic_wrmsr(last, MSR_BASE, 0xfee00000, false));
    RUN(board, WRMSR(0, X_ICR, 4095ULL << 32 | 0x61));
    assert_int_equal(lapic_take_interrupt(last), -1);
    lapic_free(big);
    lapic_free(last);
}

static void test_one_shot(void **state)
{
    RUN(*state, ENABLE(1), APIC_W(1, TDCR, DIV1), APIC_W(1, LVTT, 0x40), APIC_W(1, TMICT, 1000),
        APIC_R(1, TMCCT, 1000), ADVANCE(400), APIC_R(1, TMCCT, 600), ADVANCE(599), KICKED(0),
        ADVANCE(1), KICKED(2), APIC_R(1, TMCCT, 0), TAKE(1, 0x40), EOI(1), ADVANCE(5000),
        KICKED(0), APIC_R(1, TMICT, 1000),
        /* A new count replaces the old, 0 stops. */
        APIC_W(1, TMICT, 1000), ADVANCE(900), APIC_W(1, TMICT, 1000), ADVANCE(900), KICKED(0),
        APIC_W(1, TMICT, 0), ADVANCE(5000), KICKED(0), APIC_R(1, TMCCT, 0));
}

static void test_slow_bus_clock(void **state)
{
    struct board *board = *state;

    assert_int_equal(irqchip_set_apic_bus_ns(board->chip, 0), -EINVAL);
    assert_int_equal(irqchip_set_apic_bus_ns(board->chip, 40), 0);
    RUN(board, ENABLE(1), APIC_W(1, TDCR, DIV1), APIC_W(1, LVTT, 0x40), APIC_W(1, TMICT, 100),
        ADVANCE(3999), APIC_R(1, TMCCT, 0), KICKED(0), ADVANCE(1), TAKE(1, 0x40), EOI(1),
        APIC_W(1, TMICT, 100), ADVANCE(2000), APIC_R(1, TMCCT, 50));
    /* The slowest there is: no count may wrap round into the past. */
    assert_int_equal(irqchip_set_apic_bus_ns(board->chip, 1 << 25), 0);
    RUN(board, APIC_W(1, TDCR, DIV128), KICKED(2), APIC_W(1, TMICT, 0xffffffff),
        ADVANCE(1000 * MS), TAKE(1, NONE));
}

static void test_divider(void **state)
{
    RUN(*state, ENABLE(1), APIC_W(1, LVTT, 0x40), APIC_W(1, TDCR, DIV128), APIC_W(1, TMICT, 100),
        ADVANCE(1280), APIC_R(1, TMCCT, 90), APIC_W(1, TDCR, 0), APIC_R(1, TMCCT, 90),
        ADVANCE(179), KICKED(0), ADVANCE(1), KICKED(2));
}

static void test_masked_timer_counts_silently(void **state)
{
    RUN(*state, ENABLE(1), APIC_W(1, TDCR, DIV1), APIC_W(1, LVTT, MASKED | 0x40),
        APIC_W(1, TMICT, 1000), ADVANCE(500), APIC_R(1, TMCCT, 500), ADVANCE(500), KICKED(0),
        PENDING(1, 0));
}

static void test_periodic(void **state)
{
    RUN(*state, ENABLE(1), APIC_W(1, TDCR, DIV1), APIC_W(1, LVTT, PERIODIC | 0x40),
        APIC_W(1, TMICT, 1000000), ADVANCE(MS), TAKE(1, 0x40), EOI(1), APIC_R(1, TMCCT, 1000000),
        ADVANCE(MS - 1), TAKE(1, NONE), ADVANCE(1), TAKE(1, 0x40), EOI(1),
        /* Several periods unserved are one request. */
        ADVANCE(10 * MS), TAKE(1, 0x40), EOI(1), TAKE(1, NONE),
        /* To one-shot: the running period is the last. */
        APIC_W(1, LVTT, 0x41), ADVANCE(MS), TAKE(1, 0x41), EOI(1), ADVANCE(5 * MS), TAKE(1, NONE));
}

static void test_periodic_is_limited(void **state)
{
    RUN(*state, ENABLE(1), APIC_W(1, TDCR, DIV1), APIC_W(1, LVTT, PERIODIC | 0x40),
        APIC_W(1, TMICT, 1), ADVANCE(199 * US), KICKED(0), ADVANCE(US), KICKED(2));
}

static void test_tsc_deadline(void **state)
{
    struct board *board = *state;

    lapic_set_tsc_scale(board->cpu[1], 1000, 2000000);  /* 2 GHz, 1000 at time 0 */
    RUN(board, ENABLE(1), WRMSR(1, MSR_DEADLINE, 5000), RDMSR(1, MSR_DEADLINE, 0),
        APIC_W(1, LVTT, DEADLINE | 0x40), WRMSR(1, MSR_DEADLINE, 5000),
        RDMSR(1, MSR_DEADLINE, 5000), APIC_W(1, TMICT, 77), APIC_R(1, TMICT, 0),
        APIC_R(1, TMCCT, 0), ADVANCE(1999), KICKED(0), ADVANCE(2), KICKED(2), TAKE(1, 0x40),
        RDMSR(1, MSR_DEADLINE, 0), EOI(1),
        /* In the past: at once. */
        WRMSR(1, MSR_DEADLINE, 1), RDMSR(1, MSR_DEADLINE, 0), TAKE(1, 0x40), EOI(1),
        /* Disarmed by 0, and by leaving the mode. */
        WRMSR(1, MSR_DEADLINE, 9000), WRMSR(1, MSR_DEADLINE, 0), ADVANCE(MS), TAKE(1, NONE),
        WRMSR(1, MSR_DEADLINE, 9000000), APIC_W(1, LVTT, 0x40), RDMSR(1, MSR_DEADLINE, 0),
        ADVANCE(10 * MS), TAKE(1, NONE),
        /* So far away that it never comes. */
        APIC_W(1, LVTT, DEADLINE | 0x40), WRMSR(1, MSR_DEADLINE, INT64_MAX), ADVANCE(MS),
        TAKE(1, NONE));
}

static void test_new_tsc_scale_moves_the_deadline(void **state)
{
    struct board *board = *state;

    lapic_set_tsc_scale(board->cpu[1], 0, 1000000);
    RUN(board, ENABLE(1), APIC_W(1, LVTT, DEADLINE | 0x40), WRMSR(1, MSR_DEADLINE, 1000000));
    lapic_set_tsc_scale(board->cpu[1], 500000, 1000000);
    RUN(board, ADVANCE(500 * US + 1), TAKE(1, 0x40));
}

static uint32_t state_reg(const struct kvm_lapic_state *state, unsigned offset)
{
    uint32_t value;

    memcpy(&value, &state->regs[offset], sizeof(value));
    return value;
}

static void test_state_round_trip(void **state)
{
    struct board *board = *state;
    struct kvm_lapic_state saved, again;

    RUN(board, ENABLE(1), APIC_W(1, TDCR, DIV1), APIC_W(1, LVTT, 0x40), APIC_W(1, TMICT, 1000),
        ADVANCE(400), MSI(0xfee01000, 0x81, 1), MSI(0xfee01000, 0xc041, 1), TAKE(1, 0x81),
        APIC_W(1, TASK, 0x20));
    lapic_get_state(board->cpu[1], &saved);
    assert_int_equal(state_reg(&saved, ID), DEST(1));
    assert_int_equal(state_reg(&saved, TMCCT), 600);
    assert_int_equal(state_reg(&saved, ISR + 0x40), 2);
    assert_int_equal(state_reg(&saved, IRR + 0x20), 2);
    assert_int_equal(state_reg(&saved, TMR + 0x20), 2);
    lapic_reset(board->cpu[1], false);
    RUN(board, ADVANCE(10000), KICKED(2), PENDING(1, 0));
    assert_int_equal(lapic_set_state(board->cpu[1], &saved), 0);
    lapic_get_state(board->cpu[1], &again);
    assert_memory_equal(&saved, &again, sizeof(saved));
    RUN(board, ADVANCE(599), APIC_R(1, IRR + 0x20, 2), ADVANCE(1), APIC_R(1, IRR + 0x20, 3),
        EOI(1), TAKE(1, 0x41));
}

static void test_periodic_state_goes_on_in_step(void **state)
{
    struct board *board = *state;
    struct kvm_lapic_state saved;

    RUN(board, ENABLE(1), APIC_W(1, TDCR, DIV1), APIC_W(1, LVTT, PERIODIC | 0x40),
        APIC_W(1, TMICT, 1000000), ADVANCE(900 * US));
    lapic_get_state(board->cpu[1], &saved);
    assert_int_equal(lapic_set_state(board->cpu[1], &saved), 0);
    RUN(board, ADVANCE(100 * US), TAKE(1, 0x40), EOI(1), ADVANCE(999 * US), TAKE(1, NONE),
        ADVANCE(US), TAKE(1, 0x40));
}

static void test_x2apic_state_ids(void **state)
{
    struct board *board = *state;
    struct kvm_lapic_state saved;

    RUN(board, TO_X2APIC(3));
    lapic_get_state(board->cpu[3], &saved);
    assert_int_equal(state_reg(&saved, ID), DEST(3));
    assert_int_equal(lapic_set_state(board->cpu[3], &saved), 0);
    irqchip_set_x2apic_api(board->chip, true, false);
    assert_int_equal(lapic_set_state(board->cpu[3], &saved), -EINVAL);
    lapic_get_state(board->cpu[3], &saved);
    assert_int_equal(state_reg(&saved, ID), 3);
    assert_int_equal(lapic_set_state(board->cpu[3], &saved), 0);
    RUN(board, RDMSR(3, X_LDR, 8), RDMSR(3, X_ID, 3));
}

static void test_hostile_state(void **state)
{
    struct board *board = *state;
    struct kvm_lapic_state hostile;

    memset(&hostile, 0xff, sizeof(hostile));
    assert_int_equal(lapic_set_state(board->cpu[1], &hostile), 0);
    RUN(board, APIC_R(1, VERSION, 0x50014), ADVANCE(1000 * MS), EOI(1));
    assert_int_equal(lapic_take_interrupt(board->cpu[1]), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reset_state),
        TEST(test_disabled_apic_masks_lvt_and_refuses),
        TEST(test_writable_bits),
        TEST(test_highest_vector_first),
        TEST(test_task_priority_holds_back),
        TEST(test_shorthands),
        TEST(test_physical_and_broadcast),
        TEST(test_logical_flat),
        TEST(test_logical_cluster),
        TEST(test_lowest_priority_takes_turns),
        TEST(test_startup),
        TEST(test_init_keeps_base_and_id),
        TEST(test_icr_refuses_low_vectors),
        TEST(test_lint0_delivers_the_pic_as_it_is_told),
        TEST(test_nmi_and_set_pending),
        TEST(test_apic_base),
        TEST(test_mmio_sizes),
        TEST(test_x2apic_registers),
        TEST(test_x2apic_ipis),
        TEST(test_ids_beyond_8_bits),
        TEST(test_one_shot),
        TEST(test_divider),
        TEST(test_slow_bus_clock),
        TEST(test_masked_timer_counts_silently),
        TEST(test_periodic),
        TEST(test_periodic_is_limited),
        TEST(test_tsc_deadline),
        TEST(test_new_tsc_scale_moves_the_deadline),
        TEST(test_state_round_trip),
        TEST(test_periodic_state_goes_on_in_step),
        TEST(test_x2apic_state_ids),
        TEST(test_hostile_state),
    };

    return cmocka_run_group_tests_name("lapic", tests, NULL, NULL);
}
