/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The 16550A's registers, interrupts and FIFOs, on a character device of the test's own. */
#include "serial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR, PORT = 0x3f8 };

/* --- The character device: takes up to .room bytes --- */

struct chardev {
    const struct chardev_front *front;
    void *opaque;
    char written[256];
    size_t length, room;
    unsigned accepts;
};

bool chardev_attach(struct chardev *chr, const struct chardev_front *front, void *opaque,
                    GError **error)
{
    chr->front = front;
    chr->opaque = opaque;
    return true;
}

void chardev_detach(struct chardev *chr, void *opaque)
{
    chr->front = NULL;
}

size_t chardev_write(struct chardev *chr, void *front, const void *data, size_t size)
{
    size = MIN(size, chr->room);
    size = MIN(size, sizeof(chr->written) - chr->length);
    memcpy(chr->written + chr->length, data, size);
    chr->length += size;
    chr->room -= size;
    return size;
}

void chardev_accept_input(struct chardev *chr)
{
    chr->accepts++;
}

/* --- The board: one port, one line --- */

struct board {
    struct bus *bus;
    struct serial *serial;
    struct chardev chr;
    bool level;
    unsigned edges;             /* times that the line rose */
};

static void board_line(void *opaque, unsigned line, bool level)
{
    struct board *b = opaque;

    b->edges += level && !b->level;
    b->level = level;
}

static int setup(void **state)
{
    struct board *b = g_new0(struct board, 1);
    struct irq irq = { .set = board_line, .opaque = b };

    b->bus = bus_new();
    b->chr.room = SIZE_MAX;
    b->serial = serial_new(b->bus, PORT, &irq);
    *state = b;
    return b->serial && serial_connect(b->serial, &b->chr, NULL) ? 0 : -1;
}

static int teardown(void **state)
{
    struct board *b = *state;

    serial_free(b->serial);
    bus_free(b->bus);
    g_free(b);
    return 0;
}

static uint8_t in(struct board *b, unsigned reg)
{
    uint8_t value;

    bus_lock(b->bus);
    bus_pio(b->bus, PORT + reg, &value, 1, false);
    bus_unlock(b->bus);
    return value;
}

static void out(struct board *b, unsigned reg, uint8_t value)
{
    bus_lock(b->bus);
    bus_pio(b->bus, PORT + reg, &value, 1, true);
    bus_unlock(b->bus);
}

static void type(struct board *b, const char *text)
{
    b->chr.front->receive(b->chr.opaque, text, strlen(text));
}

static size_t room(struct board *b)
{
    return b->chr.front->can_receive(b->chr.opaque);
}

static void test_output_goes_to_the_chardev(void **state)
{
    struct board *b = *state;

    for (const char *p = "hello"; *p; p++) {
        assert_int_equal(in(b, LSR) & 0x60, 0x60);
        out(b, RBR, *p);
    }
    assert_int_equal(b->chr.length, 5);
    assert_memory_equal(b->chr.written, "hello", 5);
    assert_false(b->level);
}

static void test_thre_interrupt(void **state)
{
    struct board *b = *state;

    assert_int_equal(in(b, IIR), 0x01);
    /* Enabling it while THR is empty raises it: that is how drivers start. */
    out(b, IER, 0x02);
    assert_true(b->level);
    /* Reading IIR with this cause clears it. */
    assert_int_equal(in(b, IIR), 0x02);
    assert_false(b->level);
    assert_int_equal(in(b, IIR), 0x01);
    /* A character was sent: THR is empty again. */
    out(b, RBR, 'x');
    assert_true(b->level);
    assert_int_equal(b->edges, 2);
    assert_int_equal(in(b, IIR), 0x02);
    /* Off and on raises it again; writing the same value does not. */
    out(b, IER, 0x00);
    out(b, IER, 0x02);
    assert_int_equal(in(b, IIR), 0x02);
    out(b, IER, 0x02);
    assert_int_equal(in(b, IIR), 0x01);
}

static void test_a_full_chardev_holds_the_transmitter(void **state)
{
    struct board *b = *state;

    out(b, FCR, 0x01);
    out(b, IER, 0x02);
    in(b, IIR);
    b->chr.room = 3;
    for (unsigned i = 0; i < 16 + 3; i++)
        out(b, RBR, 'a' + i);
    assert_int_equal(b->chr.length, 3);
    assert_int_equal(in(b, LSR) & 0x60, 0);     /* neither THR nor the transmitter is empty */
    in(b, IIR);
    assert_false(b->level);
    b->chr.room = 10;
    b->chr.front->drained(b->chr.opaque);
    assert_false(b->level);
    b->chr.room = 10;
    b->chr.front->drained(b->chr.opaque);
    assert_true(b->level);
    assert_int_equal(in(b, LSR) & 0x60, 0x60);
    assert_int_equal(b->chr.length, 19);
    assert_memory_equal(b->chr.written, "abcdefghijklmnopqrs", 19);
}

static void test_received_data_and_its_interrupt(void **state)
{
    struct board *b = *state;

    assert_int_equal(room(b), 1);
    out(b, IER, 0x01);
    type(b, "k");
    assert_true(b->level);
    assert_int_equal(room(b), 0);
    assert_int_equal(in(b, LSR) & 0x01, 0x01);
    assert_int_equal(in(b, IIR), 0x04);
    assert_int_equal(in(b, RBR), 'k');
    assert_false(b->level);
    assert_int_equal(in(b, LSR) & 0x01, 0);
    assert_true(b->chr.accepts > 0);            /* back-pressure is let go */
    assert_int_equal(room(b), 1);
}

static void test_receive_fifo_trigger_and_timeout(void **state)
{
    struct board *b = *state;

    out(b, FCR, 0x81);          /* trigger at 8 */
    out(b, IER, 0x01);
    assert_int_equal(in(b, IIR), 0xc1);
    assert_int_equal(room(b), 16);
    type(b, "1234567");
    assert_int_equal(in(b, IIR), 0xcc);         /* fewer than 8: timed out */
    type(b, "8");
    assert_int_equal(in(b, IIR), 0xc4);
    for (unsigned i = 1; i <= 8; i++)
        assert_int_equal(in(b, RBR), '0' + i);
    assert_int_equal(in(b, IIR), 0xc1);
    type(b, "x");
    out(b, FCR, 0x83);          /* clears the receive FIFO */
    assert_int_equal(in(b, LSR) & 0x01, 0);
}

static void test_overrun_and_break_are_line_status(void **state)
{
    struct board *b = *state;

    out(b, IER, 0x04);
    type(b, "ab");              /* no FIFO: one character fits */
    assert_int_equal(in(b, IIR), 0x06);
    assert_int_equal(in(b, LSR) & 0x03, 0x03);
    assert_false(b->level);
    assert_int_equal(in(b, LSR) & 0x02, 0);
    assert_int_equal(in(b, RBR), 'a');
    b->chr.front->line_break(b->chr.opaque);
    assert_true(b->level);
    assert_int_equal(in(b, LSR) & 0x11, 0x11);
    assert_int_equal(in(b, RBR), 0);
}

static void test_priorities(void **state)
{
    struct board *b = *state;

    out(b, IER, 0x0f);
    type(b, "ab");
    assert_int_equal(in(b, IIR), 0x06);         /* line status first */
    in(b, LSR);
    assert_int_equal(in(b, IIR), 0x04);         /* then data */
    in(b, RBR);
    assert_int_equal(in(b, IIR), 0x02);         /* then THR */
    out(b, MCR, 0x10);          /* loopback drops the modem inputs: their deltas come last */
    assert_int_equal(in(b, IIR), 0x00);
    in(b, MSR);
    assert_int_equal(in(b, IIR), 0x01);
}

static void test_loopback(void **state)
{
    struct board *b = *state;

    assert_int_equal(in(b, MSR) & 0xf0, 0xb0);
    out(b, MCR, 0x1a);          /* Linux's probe: loop, OUT2, RTS */
    assert_int_equal(in(b, MSR) & 0xf0, 0x90);
    assert_int_equal(room(b), 0);
    out(b, RBR, 'L');
    assert_int_equal(in(b, RBR), 'L');
    assert_int_equal(b->chr.length, 0);
    out(b, MCR, 0x0b);
    assert_int_equal(in(b, MSR) & 0xf0, 0xb0);
}

static void test_divisor_and_scratch(void **state)
{
    struct board *b = *state;

    out(b, LCR, 0x83);
    out(b, RBR, 0x34);
    out(b, IER, 0x12);
    assert_int_equal(in(b, RBR), 0x34);
    assert_int_equal(in(b, IER), 0x12);
    out(b, LCR, 0x03);
    assert_int_equal(in(b, IER), 0);
    assert_int_equal(b->chr.length, 0);
    out(b, SCR, 0xa5);
    assert_int_equal(in(b, SCR), 0xa5);
}

static void test_reset_lowers_the_line(void **state)
{
    struct board *b = *state;

    out(b, FCR, 0x01);
    out(b, IER, 0x03);
    type(b, "abc");
    assert_true(b->level);
    bus_lock(b->bus);
    serial_reset(b->serial);
    bus_unlock(b->bus);
    assert_false(b->level);
    assert_int_equal(in(b, IIR), 0x01);
    assert_int_equal(in(b, LSR), 0x60);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_output_goes_to_the_chardev),
        TEST(test_thre_interrupt),
        TEST(test_a_full_chardev_holds_the_transmitter),
        TEST(test_received_data_and_its_interrupt),
        TEST(test_receive_fifo_trigger_and_timeout),
        TEST(test_overrun_and_break_are_line_status),
        TEST(test_priorities),
        TEST(test_loopback),
        TEST(test_divisor_and_scratch),
        TEST(test_reset_lowers_the_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
