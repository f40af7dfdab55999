/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two 8259A: initialisation, priorities, ends of interrupt, cascade, ELCR, poll. */
#include "irqchip_steps.h"

#include <errno.h>
#include <string.h>

/* As every PC boots: vectors 0x20 and 0x28, nothing masked. */
#define INIT_PICS                                                             \
    OUT(0x20, 0x11), OUT(0x21, 0x20), OUT(0x21, 0x04), OUT(0x21, 0x01),       \
    OUT(0xa0, 0x11), OUT(0xa1, 0x28), OUT(0xa1, 0x02), OUT(0xa1, 0x01)

static void test_edge_is_taken_once(void **state)
{
    RUN(*state, INIT_PICS, LINE(1, 1, 1), KICKED(1), PENDING(0, P_IRQ), TAKE(0, 0x21),
        TAKE(0, NONE), OUT(0x20, 0x20), PENDING(0, 0), LINE(1, 1, 1),
        TAKE(0, NONE), LINE(1, 0, 2), LINE(1, 1, 1), TAKE(0, 0x21));
}

static void test_second_edge_before_the_first_is_taken_is_coalesced(void **state)
{
    RUN(*state, INIT_PICS, LINE(1, 1, 1), LINE(1, 0, 2), LINE(1, 1, 0), TAKE(0, 0x21),
        OUT(0x20, 0x20), TAKE(0, NONE));
}

static void test_masked_waits_for_its_mask(void **state)
{
    RUN(*state, INIT_PICS, OUT(0x21, 0x02), LINE(1, 1, -1), PENDING(0, 0), KICKED(0),
        IN(0x21, 0x02), IN(0x20, 0x02), OUT(0x21, 0), KICKED(1), TAKE(0, 0x21));
}

static void test_higher_priority_interrupts_lower(void **state)
{
    RUN(*state, INIT_PICS, LINE(4, 1, 1), TAKE(0, 0x24), LINE(6, 1, 1), TAKE(0, NONE),
        LINE(3, 1, 1), TAKE(0, 0x23), OUT(0x20, 0x0b), IN(0x20, 0x18),
        OUT(0x20, 0x20), IN(0x20, 0x10), TAKE(0, NONE), OUT(0x20, 0x20), TAKE(0, 0x26));
}

static void test_specific_eoi_ends_that_one(void **state)
{
    RUN(*state, INIT_PICS, LINE(4, 1, 1), TAKE(0, 0x24), LINE(3, 1, 1), TAKE(0, 0x23),
        OUT(0x20, 0x64), OUT(0x20, 0x0b), IN(0x20, 0x08), ENDED(1 << 4));
}

static void test_cascade(void **state)
{
    RUN(*state, INIT_PICS, LINE(12, 1, 1), TAKE(0, 0x2c), OUT(0x20, 0x0b), OUT(0xa0, 0x0b),
        IN(0x20, 0x04), IN(0xa0, 0x10), LINE(14, 1, 1), TAKE(0, NONE),
        /* More urgent on the same slave, but the master still serves IR2. */
        LINE(8, 1, 1), TAKE(0, NONE), OUT(0xa0, 0x20), OUT(0x20, 0x20), TAKE(0, 0x28),
        OUT(0xa0, 0x20), OUT(0x20, 0x20), TAKE(0, 0x2e), ENDED(1 << 12 | 1 << 8 | 1 << 2));
}

static void test_special_fully_nested_slave_interrupts_itself(void **state)
{
    RUN(*state, OUT(0x20, 0x11), OUT(0x21, 0x20), OUT(0x21, 0x04), OUT(0x21, 0x11),
        OUT(0xa0, 0x11), OUT(0xa1, 0x28), OUT(0xa1, 0x02), OUT(0xa1, 0x01),
        LINE(12, 1, 1), TAKE(0, 0x2c), LINE(8, 1, 1), TAKE(0, 0x28));
}

static void test_vanished_slave_request_is_spurious(void **state)
{
    /* Level triggered, and gone when the processor asks. */
    RUN(*state, INIT_PICS, OUT(0x4d1, 0x04), LINE(10, 1, 1), LINE(10, 0, 2), TAKE(0, 0x2f),
        OUT(0xa0, 0x0b), IN(0xa0, 0));
}

static void test_vanished_master_request_is_not_taken(void **state)
{
    RUN(*state, INIT_PICS, OUT(0x4d0, 0x20), LINE(5, 1, 1), PENDING(0, P_IRQ), LINE(5, 0, 2),
        PENDING(0, 0), TAKE(0, NONE));
}

static void test_level_comes_again_until_lowered(void **state)
{
    RUN(*state, INIT_PICS, OUT(0x4d0, 0xff), IN(0x4d0, 0xf8), OUT(0x4d1, 0xff), IN(0x4d1, 0xde),
        LINE(5, 1, 1), TAKE(0, 0x25), OUT(0x20, 0x20), TAKE(0, 0x25), LINE(5, 0, 2),
        OUT(0x20, 0x20), TAKE(0, NONE));
}

static void test_elcr_sees_a_line_that_is_up(void **state)
{
    RUN(*state, INIT_PICS, LINE(5, 1, 1), TAKE(0, 0x25), OUT(0x20, 0x20), TAKE(0, NONE),
        OUT(0x4d0, 0x20), TAKE(0, 0x25));
}

static void test_rotation(void **state)
{
    RUN(*state, INIT_PICS, OUT(0x20, 0xc3),     /* IR3 lowest: IR4 is first */
        LINE(3, 1, 1), LINE(4, 1, 1), LINE(1, 1, 1), TAKE(0, 0x24),
        OUT(0x20, 0xa0),                        /* rotate on EOI: IR4 lowest */
        TAKE(0, 0x21), OUT(0x20, 0x20), TAKE(0, 0x23));
}

static void test_auto_eoi(void **state)
{
    RUN(*state, OUT(0x20, 0x11), OUT(0x21, 0x20), OUT(0x21, 0x04), OUT(0x21, 0x03),
        LINE(4, 1, 1), TAKE(0, 0x24), OUT(0x20, 0x0b), IN(0x20, 0), ENDED(1 << 4),
        LINE(6, 1, 1), TAKE(0, 0x26));
}

static void test_special_mask_lets_lower_ones_through(void **state)
{
    RUN(*state, INIT_PICS, LINE(4, 1, 1), TAKE(0, 0x24), LINE(6, 1, 1), TAKE(0, NONE),
        OUT(0x21, 0x10), OUT(0x20, 0x68), TAKE(0, 0x26));
}

static void test_poll_acknowledges(void **state)
{
    RUN(*state, INIT_PICS, OUT(0x20, 0x0c), IN(0x20, 0), LINE(3, 1, 1), OUT(0x20, 0x0c),
        IN(0x20, 0x83), OUT(0x20, 0x0b), IN(0x20, 0x08), TAKE(0, NONE));
}

static void test_icw1_forgets(void **state)
{
    RUN(*state, INIT_PICS, LINE(4, 1, 1), TAKE(0, 0x24), LINE(3, 1, 1), OUT(0x21, 0x55),
        OUT(0x20, 0x11), ENDED(1 << 4), OUT(0x21, 0x40), OUT(0x21, 0x04), OUT(0x21, 0x01),
        IN(0x21, 0), IN(0x20, 0), TAKE(0, NONE), LINE(7, 1, 1), TAKE(0, 0x47));
}

static void test_unmasked_lint0_decides_who_takes(void **state)
{
    RUN(*state, INIT_PICS, LINE(1, 1, 1), TAKE(1, NONE), PENDING(1, 0),
        /* LINT0 masked on the boot processor, ExtINT on the second. */
        ENABLE(0), APIC_W(0, 0x350, 0x10700), PENDING(0, 0), ENABLE(1), KICKED(1),
        APIC_W(1, 0x350, 0x700), KICKED(2), TAKE(0, NONE), TAKE(1, 0x21));
}

static void test_resample_line_is_let_go(void **state)
{
    RUN(*state, INIT_PICS, OUT(0x4d1, 0x04), RESAMPLE(10), TAKE(0, 0x2a), OUT(0xa0, 0x20),
        OUT(0x20, 0x20), ENDED(1 << 10 | 1 << 2), TAKE(0, NONE));
}

static void test_wide_access_is_lost(void **state)
{
    struct board *board = *state;
    uint16_t value = 0xffff;

    assert_true(irqchip_pio(board->chip, 0x21, &value, 2, true));
    assert_true(irqchip_pio(board->chip, 0x21, &value, 2, false));
    assert_int_equal(value, 0);
    assert_false(irqchip_pio(board->chip, 0x22, &value, 1, true));
}

static void test_state_round_trip(void **state)
{
    struct board *board = *state;
    struct kvm_irqchip before = { .chip_id = KVM_IRQCHIP_PIC_MASTER }, after = before;

    RUN(board, INIT_PICS, OUT(0x21, 0x80), LINE(4, 1, 1), TAKE(0, 0x24), LINE(3, 1, 1));
    assert_int_equal(irqchip_get_state(board->chip, &before), 0);
    assert_int_equal(before.chip.pic.irq_base, 0x20);
    assert_int_equal(before.chip.pic.imr, 0x80);
    assert_int_equal(before.chip.pic.isr, 0x10);
    assert_int_equal(before.chip.pic.irr, 0x08);
    RUN(board, INIT_PICS, PENDING(0, 0));
    assert_int_equal(irqchip_set_state(board->chip, &before), 0);
    assert_int_equal(irqchip_get_state(board->chip, &after), 0);
    assert_memory_equal(&before.chip.pic, &after.chip.pic, sizeof(before.chip.pic));
    RUN(board, TAKE(0, 0x23));
}

static void test_hostile_state_is_cut_to_size(void **state)
{
    struct board *board = *state;
    struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_SLAVE };

    memset(&chip.chip, 0xff, sizeof(chip.chip));
    assert_int_equal(irqchip_set_state(board->chip, &chip), 0);
    assert_int_equal(irqchip_get_state(board->chip, &chip), 0);
    assert_int_equal(chip.chip.pic.priority_add, 7);
    assert_int_equal(chip.chip.pic.elcr, 0xde);
    chip.chip_id = 3;
    assert_int_equal(irqchip_get_state(board->chip, &chip), -EINVAL);
    assert_int_equal(irqchip_set_state(board->chip, &chip), -EINVAL);
}

static void test_nothing_without_irqchip(void **state)
{
    static const struct irqchip_ops no_ops;
    struct irqchip *chip = irqchip_new(&no_ops, NULL);
    struct kvm_irqchip chip_state = { .chip_id = 0 };
    struct kvm_pit_config config = { .flags = 0 };
    uint8_t value = 0;

    assert_false(irqchip_present(chip));
    assert_false(irqchip_pio(chip, 0x20, &value, 1, true));
    assert_int_equal(irqchip_get_state(chip, &chip_state), -ENXIO);
    assert_int_equal(irqchip_create_pit(chip, &config), -ENOENT);
    assert_int_equal(irqchip_set_line(chip, 0, true), -1);
    assert_int_equal(irqchip_create(chip), 0);
    assert_int_equal(irqchip_create(chip), -EEXIST);
    irqchip_free(chip);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_edge_is_taken_once),
        TEST(test_second_edge_before_the_first_is_taken_is_coalesced),
        TEST(test_masked_waits_for_its_mask),
        TEST(test_higher_priority_interrupts_lower),
        TEST(test_specific_eoi_ends_that_one),
        TEST(test_cascade),
        TEST(test_special_fully_nested_slave_interrupts_itself),
        TEST(test_vanished_slave_request_is_spurious),
        TEST(test_vanished_master_request_is_not_taken),
        TEST(test_level_comes_again_until_lowered),
        TEST(test_elcr_sees_a_line_that_is_up),
        TEST(test_rotation),
        TEST(test_auto_eoi),
        TEST(test_special_mask_lets_lower_ones_through),
        TEST(test_poll_acknowledges),
        TEST(test_icw1_forgets),
        TEST(test_unmasked_lint0_decides_who_takes),
        TEST(test_resample_line_is_let_go),
        TEST(test_wide_access_is_lost),
        TEST(test_state_round_trip),
        TEST(test_hostile_state_is_cut_to_size),
        cmocka_unit_test(test_nothing_without_irqchip),
    };

    return cmocka_run_group_tests_name("pic", tests, NULL, NULL);
}
