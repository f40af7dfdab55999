/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The 8254: programming, counting, latches, read-back, port 0x61, ticks and their making up. */
#include "irqchip_steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Vectors from 0x20, nothing masked; IRQ 0 by the PIC. */
#define INIT_PIC OUT(0x20, 0x11), OUT(0x21, 0x20), OUT(0x21, 0x04), OUT(0x21, 0x01)
#define TICK TAKE(0, 0x20), OUT(0x20, 0x20)

/* One clock is 838.1 ns. */
enum { COUNT_1000_NS = 838095, COUNT_64K_NS = 54925401 };

static void test_mode0_counts_down_and_interrupts_once(void **state)
{
    RUN(*state, INIT_PIC, OUT(0x43, 0x30), OUT(0x40, 1000 & 0xff), OUT(0x40, 1000 >> 8),
        IN(0x40, 1000 & 0xff), IN(0x40, 1000 >> 8), ADVANCE(COUNT_1000_NS / 2),
        IN(0x40, 501 & 0xff), IN(0x40, 501 >> 8), KICKED(0), ADVANCE(COUNT_1000_NS / 2 + 2),
        KICKED(1), TICK, ADVANCE(10 * MS), TAKE(0, NONE));
}

static void test_mode2_ticks(void **state)
{
    RUN(*state, INIT_PIC, OUT(0x43, 0x34), OUT(0x40, 1000 & 0xff), OUT(0x40, 1000 >> 8),
        ADVANCE(COUNT_1000_NS), TICK, TAKE(0, NONE), ADVANCE(COUNT_1000_NS + 1), TICK,
        ADVANCE(COUNT_1000_NS - 2), TAKE(0, NONE), ADVANCE(2), TICK,
        /* A new control word stops it. */
        OUT(0x43, 0x34), ADVANCE(10 * MS), TAKE(0, NONE));
}

static void test_count_0_is_the_largest(void **state)
{
    RUN(*state, INIT_PIC, OUT(0x43, 0x36), OUT(0x40, 0), OUT(0x40, 0), ADVANCE(COUNT_64K_NS - 1),
        TAKE(0, NONE), ADVANCE(1), TICK);
}

static void test_fast_ticks_are_limited(void **state)
{
    RUN(*state, INIT_PIC, OUT(0x43, 0x14), OUT(0x40, 1), ADVANCE(199 * US), TAKE(0, NONE),
        ADVANCE(US), TICK);
}

static void test_missed_ticks_are_made_up(void **state)
{
    struct board *board = *state;

    RUN(board, INIT_PIC, OUT(0x43, 0x34), OUT(0x40, 1000 & 0xff), OUT(0x40, 1000 >> 8),
        ADVANCE(3 * COUNT_1000_NS), TICK, TICK, TICK, TAKE(0, NONE));
    assert_int_equal(irqchip_set_pit_reinject(board->chip, false), 0);
    RUN(board, ADVANCE(3 * COUNT_1000_NS + 3), TICK, TAKE(0, NONE));
}

static void test_masked_ticks_are_not_kept(void **state)
{
    RUN(*state, INIT_PIC, OUT(0x21, 1), OUT(0x43, 0x34), OUT(0x40, 1000 & 0xff),
        OUT(0x40, 1000 >> 8), ADVANCE(30 * COUNT_1000_NS), OUT(0x21, 0), TICK, TAKE(0, NONE));
}

static void test_byte_accesses(void **state)
{
    RUN(*state, OUT(0x43, 0x50), OUT(0x41, 0x12), IN(0x41, 0x12),       /* low byte only */
        OUT(0x43, 0x60), OUT(0x41, 0x12), IN(0x41, 0x12),               /* high byte only */
        OUT(0x43, 0x40), IN(0x41, 0x12),                                /* latched */
        OUT(0x43, 0x70), OUT(0x41, 0x34), OUT(0x41, 0x12), IN(0x41, 0x34), IN(0x41, 0x12),
        IN(0x43, 0));
}

static void test_latch_holds_the_count(void **state)
{
    RUN(*state, OUT(0x43, 0x70), OUT(0x41, 0), OUT(0x41, 0x10), OUT(0x43, 0x40), ADVANCE(MS),
        /* The second latch command doesn't count while the first is unread. */
        OUT(0x43, 0x40), IN(0x41, 0), IN(0x41, 0x10), IN(0x41, 0x57), IN(0x41, 0x0b));
}

static void test_read_back(void **state)
{
    RUN(*state, OUT(0x43, 0x74), OUT(0x41, 0x34), OUT(0x41, 0x12), OUT(0x43, 0xb0),
        OUT(0x42, 0x10), OUT(0x42, 0),
        /* Status and count of channels 1 and 2: status comes first. */
        OUT(0x43, 0xcc), IN(0x41, 0xb4), IN(0x41, 0x34), IN(0x41, 0x12), IN(0x42, 0x30),
        IN(0x42, 0x10), IN(0x42, 0),
        /* Status alone, after channel 2's output rose. */
        ADVANCE(MS), OUT(0x43, 0xe8), IN(0x42, 0xb0));
}

static void test_bcd(void **state)
{
    RUN(*state, OUT(0x43, 0x71), OUT(0x41, 0x00), OUT(0x41, 0x10), ADVANCE(838), IN(0x41, 0x00),
        IN(0x41, 0x10), ADVANCE(2), IN(0x41, 0x99), IN(0x41, 0x09));
}

static void test_mode3_output_is_square(void **state)
{
    RUN(*state, OUT(0x61, 1), OUT(0x43, 0xb6), OUT(0x42, 1000 & 0xff), OUT(0x42, 1000 >> 8),
        IN(0x61, 0x21), ADVANCE(COUNT_1000_NS / 2 - 1), IN(0x61, 0x31), ADVANCE(2),
        IN(0x61, 0x11), ADVANCE(COUNT_1000_NS / 2 + 1), IN(0x61, 0x31));
}

static void test_port61_gate_restarts_mode1(void **state)
{
    RUN(*state, OUT(0x61, 0), OUT(0x43, 0xb2), OUT(0x42, 1000 & 0xff), OUT(0x42, 1000 >> 8),
        ADVANCE(16384 * 62), IN(0x61, 0x20), OUT(0x61, 3), IN(0x61, 0x03),
        ADVANCE(16384 * 52), IN(0x61, 0x23), OUT(0x61, 0), IN(0x61, 0x20));
}

static void test_calibration_by_channel2(void **state)
{
    /* What Linux does: mode 0, gate up, wait for bit 5. */
    RUN(*state, OUT(0x61, 1), OUT(0x43, 0xb0), OUT(0x42, 0x9b), OUT(0x42, 0x2e), IN(0x61, 0x01),
        ADVANCE(9 * MS), IN(0x61, 0x11), ADVANCE(1001 * US), IN(0x61, 0x21));
}

static void test_state_round_trip(void **state)
{
    struct board *board = *state;
    struct kvm_pit_state2 saved;

    RUN(board, INIT_PIC, OUT(0x61, 3), OUT(0x43, 0x34), OUT(0x40, 1000 & 0xff), OUT(0x40, 1000 >> 8));
    assert_int_equal(irqchip_get_pit(board->chip, &saved), 0);
    assert_int_equal(saved.channels[0].count, 1000);
    assert_int_equal(saved.channels[0].mode, 2);
    assert_int_equal(saved.channels[2].gate, 1);
    assert_int_equal(saved.flags, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
    RUN(board, OUT(0x43, 0x30), OUT(0x61, 0));
    assert_int_equal(irqchip_set_pit(board->chip, &saved), 0);
    RUN(board, IN(0x61, 0x23), ADVANCE(COUNT_1000_NS), TICK);
    /* The HPET has taken IRQ 0 over: no ticks. */
    saved.flags = KVM_PIT_FLAGS_HPET_LEGACY;
    assert_int_equal(irqchip_set_pit(board->chip, &saved), 0);
    RUN(board, ADVANCE(10 * MS), TAKE(0, NONE));
}

static void test_bad_state_changes_nothing(void **state)
{
    struct board *board = *state;
    struct kvm_pit_state2 good, bad;

    assert_int_equal(irqchip_get_pit(board->chip, &good), 0);
    memset(&bad, 0xff, sizeof(bad));
    assert_int_equal(irqchip_set_pit(board->chip, &bad), -EINVAL);
    bad = good;
    bad.channels[2].count = 0x10001;
    assert_int_equal(irqchip_set_pit(board->chip, &bad), -EINVAL);
    bad = good;
    bad.channels[1].mode = 6;
    assert_int_equal(irqchip_set_pit(board->chip, &bad), -EINVAL);
    assert_int_equal(irqchip_get_pit(board->chip, &bad), 0);
    assert_memory_equal(&good, &bad, sizeof(good));
    /* A count of 0 is the largest, not a division by it. */
    memset(&bad, 0, sizeof(bad));
    bad.channels[0].mode = bad.channels[2].mode = 3;
    assert_int_equal(irqchip_set_pit(board->chip, &bad), 0);
    RUN(board, IN(0x40, 0), IN(0x61, 0x20));
}

static void test_creation(void **state)
{
    struct board *board = *state;
    struct kvm_pit_config config = { .flags = 2 };
    uint8_t value;

    assert_int_equal(irqchip_create_pit(board->chip, &config), -EINVAL);
    config.flags = 0;
    assert_int_equal(irqchip_create_pit(board->chip, &config), -EEXIST);
    assert_false(irqchip_pio(board->chip, 0x44, &value, 1, false));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, board_setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mode0_counts_down_and_interrupts_once),
        TEST(test_mode2_ticks),
        TEST(test_count_0_is_the_largest),
        TEST(test_fast_ticks_are_limited),
        TEST(test_missed_ticks_are_made_up),
        TEST(test_masked_ticks_are_not_kept),
        TEST(test_byte_accesses),
        TEST(test_latch_holds_the_count),
        TEST(test_read_back),
        TEST(test_bcd),
        TEST(test_mode3_output_is_square),
        TEST(test_port61_gate_restarts_mode1),
        TEST(test_calibration_by_channel2),
        TEST(test_state_round_trip),
        TEST(test_bad_state_changes_nothing),
        TEST(test_creation),
    };

    return cmocka_run_group_tests_name("pit", tests, NULL, NULL);
}
