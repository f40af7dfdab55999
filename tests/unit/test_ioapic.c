/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The I/O APIC: registers, edge and level, Remote IRR, EOI broadcast, resampling, routing. */
#include "irqchip_steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LEVEL = 1 << 15, MASKED = 1 << 16, LOGICAL = 1 << 11, REMOTE_IRR = 1 << 14, LOWEST = 1 << 8 };

#define DEST(id) ((uint32_t)(id) << 24)

static void test_registers(void **state)
{
    RUN(*state, IOAPIC_R(1, 0x170011), IOAPIC_W(0, 0xff000000), IOAPIC_R(0, 0x0f000000),
        IOAPIC_R(2, 0x0f000000), IOAPIC_R(0x10, MASKED), IOAPIC_R(0x11, 0),
        /* Delivery status and Remote IRR are read-only, the reserved bits are 0. */
        IOAPIC_W(0x10, 0xffffffff), IOAPIC_R(0x10, 0x1afff), IOAPIC_W(0x11, 0xffffffff),
        IOAPIC_R(0x11, DEST(0xff)), IOAPIC_R(0x3f, 0), IOAPIC_W(0x40, 0), IOAPIC_R(0x40, 0),
        IOAPIC_W(1, 0), IOAPIC_R(1, 0x170011));
}

static void test_edge(void **state)
{
    RUN(*state, ENABLE(1), PIN(20, 0x55, DEST(1)), LINE(20, 1, 1), KICKED(2), TAKE(1, 0x55),
        LINE(20, 1, 0), TAKE(1, NONE), EOI(1), TAKE(1, NONE), ENDED(1 << 20),
        LINE(20, 0, 1), LINE(20, 1, 1), LINE(20, 0, 1), LINE(20, 1, 0), TAKE(1, 0x55));
}

static void test_masked_edge_is_lost(void **state)
{
    RUN(*state, ENABLE(0), PIN(20, MASKED | 0x55, 0), LINE(20, 1, -1), PIN(20, 0x55, 0),
        PENDING(0, 0));
}

static void test_masked_level_waits(void **state)
{
    RUN(*state, ENABLE(0), PIN(20, MASKED | LEVEL | 0x55, 0), LINE(20, 1, -1),
        PIN(20, LEVEL | 0x55, 0), KICKED(1), TAKE(0, 0x55));
}

static void test_level_comes_again_until_lowered(void **state)
{
    RUN(*state, ENABLE(0), PIN(20, LEVEL | 0x55, 0), LINE(20, 1, 1),
        IOAPIC_R(0x38, REMOTE_IRR | LEVEL | 0x55), LINE(20, 1, -1), TAKE(0, 0x55),
        APIC_R(0, 0x1a0, 1 << 0x15), EOI(0), KICKED(1), TAKE(0, 0x55), LINE(20, 0, 1), EOI(0),
        TAKE(0, NONE), IOAPIC_R(0x38, LEVEL | 0x55));
}

static void test_edge_for_a_moment_clears_remote_irr(void **state)
{
    RUN(*state, ENABLE(0), PIN(20, LEVEL | 0x55, 0), LINE(20, 1, 1),
        IOAPIC_W(0x38, MASKED | 0x55), IOAPIC_R(0x38, MASKED | 0x55), LINE(20, 0, 1),
        IOAPIC_W(0x38, LEVEL | 0x55), IOAPIC_R(0x38, LEVEL | 0x55), LINE(20, 1, 0));
}

static void test_resampled_line_is_lowered_at_eoi(void **state)
{
    RUN(*state, ENABLE(0), PIN(20, LEVEL | 0x55, 0), RESAMPLE(20), TAKE(0, 0x55), EOI(0),
        ENDED(1 << 20), TAKE(0, NONE),
        /* Held by user space as well: it comes again. */
        LINE(20, 1, 1), RESAMPLE(20), TAKE(0, 0x55), EOI(0), TAKE(0, 0x55));
}

static void test_eoi_of_another_vector_changes_nothing(void **state)
{
    RUN(*state, ENABLE(0), PIN(20, LEVEL | 0x55, 0), PIN(21, LEVEL | 0x66, 0), LINE(20, 1, 1),
        LINE(21, 1, 1), TAKE(0, 0x66), EOI(0), IOAPIC_R(0x38, REMOTE_IRR | LEVEL | 0x55),
        ENDED(1 << 21));
}

static void test_destinations(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), ENABLE(2), APIC_W(0, 0xd0, DEST(1)),
        APIC_W(1, 0xd0, DEST(2)), APIC_W(2, 0xd0, DEST(4)),
        PIN(20, 0x55, DEST(2)), LINE(20, 1, 1), KICKED(1 << 2),
        PIN(21, LOGICAL | 0x56, DEST(3)), LINE(21, 1, 2), KICKED(3),
        PIN(22, 0x57, DEST(0xff)), LINE(22, 1, 3), KICKED(7),
        PIN(23, 0x58, DEST(9)), LINE(23, 1, -1), KICKED(0));
}

static void test_lowest_priority_spares_the_busy(void **state)
{
    RUN(*state, ENABLE(0), ENABLE(1), APIC_W(0, 0xd0, DEST(1)), APIC_W(1, 0xd0, DEST(2)),
        TPR(0, 4), PIN(20, LOGICAL | LOWEST | 0x95, DEST(3)), LINE(20, 1, 1), KICKED(2),
        TPR(1, 5), KICKED(2), PIN(21, LOGICAL | LOWEST | 0x96, DEST(3)), LINE(21, 1, 1), KICKED(1));
}

static void test_default_routing_reaches_both_chips(void **state)
{
    RUN(*state, ENABLE(0), PIN(4, 0x34, 0), OUT(0x20, 0x11), OUT(0x21, 0x20), OUT(0x21, 4),
        OUT(0x21, 1), LINE(4, 1, 2), TAKE(0, 0x24), TAKE(0, 0x34), LINE(24, 1, -1));
}

static struct kvm_irq_routing_entry pin_entry(unsigned gsi, unsigned irqchip, unsigned pin)
{
    struct kvm_irq_routing_entry entry = { .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP };

    entry.u.irqchip.irqchip = irqchip;
    entry.u.irqchip.pin = pin;
    return entry;
}

static void test_user_routing(void **state)
{
    struct board *board = *state;
    struct kvm_irq_routing_entry entries[] = {
        pin_entry(0, KVM_IRQCHIP_IOAPIC, 2),
        pin_entry(0, KVM_IRQCHIP_PIC_MASTER, 0),
        { .gsi = 30, .type = KVM_IRQ_ROUTING_MSI,
          .u.msi = { .address_lo = 0xfee01000, .data = 0x77 } },
    };

    assert_int_equal(irqchip_set_routing(board->chip, entries, 3), 0);
    RUN(board, ENABLE(0), ENABLE(1), PIN(2, 0x30, 0), LINE(0, 1, 2), TAKE(0, 0x00), TAKE(0, 0x30),
        LINE(1, 1, -1), LINE(30, 0, -1), LINE(30, 1, 1), LINE(30, 1, 0), TAKE(1, 0x77),
        LINE(31, 1, -1), LINE(4095, 1, -1));
    /* An empty table routes nothing. */
    assert_int_equal(irqchip_set_routing(board->chip, NULL, 0), 0);
    RUN(board, LINE(0, 1, -1));
}

static void test_bad_routing_changes_nothing(void **state)
{
    struct board *board = *state;
    struct kvm_irq_routing_entry msi = { .gsi = 5, .type = KVM_IRQ_ROUTING_MSI };
    struct kvm_irq_routing_entry bad[][2] = {
        { pin_entry(5, KVM_IRQCHIP_IOAPIC, 24) },
        { pin_entry(5, KVM_IRQCHIP_PIC_MASTER, 8) },
        { pin_entry(5, KVM_IRQCHIP_PIC_SLAVE, 8) },
        { pin_entry(5, 3, 0) },
        { pin_entry(4096, KVM_IRQCHIP_IOAPIC, 0) },
        { pin_entry(5, KVM_IRQCHIP_IOAPIC, 0), pin_entry(5, KVM_IRQCHIP_IOAPIC, 1) },
        { pin_entry(5, KVM_IRQCHIP_IOAPIC, 0), msi },
        { msi, pin_entry(5, KVM_IRQCHIP_IOAPIC, 0) },
        { msi, msi },
        { { .gsi = 5, .type = KVM_IRQ_ROUTING_MSI, .flags = 1 } },
        { { .gsi = 5, .type = 0 } },
        { { .gsi = 5, .type = KVM_IRQ_ROUTING_HV_SINT } },
    };

    for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
        unsigned count = bad[n][1].type ? 2 : 1;

        assert_int_equal(irqchip_set_routing(board->chip, bad[n], count), -EINVAL);
    }
    assert_int_equal(irqchip_set_routing(board->chip, bad[0], 4097), -EINVAL);
    RUN(board, ENABLE(0), PIN(20, 0x55, 0), LINE(20, 1, 1), TAKE(0, 0x55));
}

static void test_msi(void **state)
{
    struct board *board = *state;
    struct kvm_msi flagged = { .address_lo = 0xfee00000, .data = 0x41, .flags = 1 };

    RUN(board, ENABLE(0), ENABLE(1), MSI(0xfee01000, 0x41, 1), MSI(0xfee01000, 0x41, 0),
        TAKE(1, 0x41), MSI(0xfee09000, 0x41, -1), MSI(0xfee00000, 0x400, 1), PENDING(0, P_NMI),
        /* Without 32-bit ids the upper address is not looked at. */
        MSI(0x100fee01000, 0x42, 1));
    assert_int_equal(irqchip_send_msi(board->chip, &flagged), -EINVAL);
    irqchip_set_x2apic_api(board->chip, true, true);
    RUN(board, MSI(0x10000fee01000, 0x43, -1), MSI(0x1fee01000, 0x43, -EINVAL));
}

static void test_narrow_and_wide_accesses(void **state)
{
    struct board *board = *state;
    uint64_t value = 1;

    assert_true(irqchip_mmio(board->chip, IOAPIC_BASE, &value, 1, true));
    value = UINT64_MAX;
    assert_true(irqchip_mmio(board->chip, IOAPIC_BASE + 0x10, &value, 8, false));
    assert_int_equal(value, 0x170011);
    assert_true(irqchip_mmio(board->chip, IOAPIC_BASE + 0x10, &value, 2, false));
    assert_int_equal((uint16_t)value, 0x11);
    assert_true(irqchip_mmio(board->chip, IOAPIC_BASE + 0x44, &value, 4, false));
    assert_int_equal((uint32_t)value, 0);
    assert_false(irqchip_mmio(board->chip, IOAPIC_BASE + 0x100, &value, 4, false));
    assert_false(irqchip_mmio(board->chip, IOAPIC_BASE - 4, &value, 4, false));
}

static void test_state_round_trip(void **state)
{
    struct board *board = *state;
    struct board *other = board_new();
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC }, again = chip;

    /* 20 waits masked; 21 was delivered and must not come twice. */
    RUN(board, ENABLE(0), PIN(20, MASKED | LEVEL | 0x55, 0), LINE(20, 1, -1), PIN(21, 0x66, 0),
        LINE(21, 1, 1), IOAPIC_W(0, DEST(2)));
    assert_int_equal(irqchip_get_state(board->chip, &chip), 0);
    assert_int_equal(chip.chip.ioapic.base_address, IOAPIC_BASE);
    assert_int_equal(chip.chip.ioapic.id, 2);
    assert_int_equal(chip.chip.ioapic.irr, 1 << 20);
    assert_int_equal(chip.chip.ioapic.redirtbl[21].fields.vector, 0x66);
    RUN(other, ENABLE(0));
    assert_int_equal(irqchip_set_state(other->chip, &chip), 0);
    assert_int_equal(irqchip_get_state(other->chip, &again), 0);
    assert_memory_equal(&chip.chip.ioapic, &again.chip.ioapic, sizeof(chip.chip.ioapic));
    RUN(other, PENDING(0, 0), PIN(20, LEVEL | 0x55, 0), TAKE(0, 0x55), TAKE(0, NONE));
    board_free(other);
}

static void test_hostile_state(void **state)
{
    struct board *board = *state;
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

    memset(&chip.chip, 0xff, sizeof(chip.chip));
    assert_int_equal(irqchip_set_state(board->chip, &chip), 0);
    chip.chip.ioapic.base_address = IOAPIC_BASE;
    assert_int_equal(irqchip_set_state(board->chip, &chip), 0);
    RUN(board, IOAPIC_R(0xff, 0), LINE(0, 1, 1), LINE(0, 0, 2));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_registers),
        TEST(test_edge),
        TEST(test_masked_edge_is_lost),
        TEST(test_masked_level_waits),
        TEST(test_level_comes_again_until_lowered),
        TEST(test_edge_for_a_moment_clears_remote_irr),
        TEST(test_resampled_line_is_lowered_at_eoi),
        TEST(test_eoi_of_another_vector_changes_nothing),
        TEST(test_destinations),
        TEST(test_lowest_priority_spares_the_busy),
        TEST(test_default_routing_reaches_both_chips),
        TEST(test_user_routing),
        TEST(test_bad_routing_changes_nothing),
        TEST(test_msi),
        TEST(test_narrow_and_wide_accesses),
        TEST(test_state_round_trip),
        TEST(test_hostile_state),
    };

    return cmocka_run_group_tests_name("ioapic", tests, NULL, NULL);
}
