/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ports of virtio-serial: control messages, data in both directions, a driver that floods. */
#include "chardev.h"
#include "virtio_board.h"

#include <linux/virtio_console.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    CONTROL_IN = 2, CONTROL_OUT = 3, DATA_IN = 4, DATA_OUT = 5, QUEUES = 6,
    BUFFERS = VB_DATA, BUFFER = 64, OUT = VB_DATA + 0x4000, IN = VB_DATA + 0x5000, PORT = 1,
};

struct test {
    struct virtio_board *board;
    struct virtio *v;
    int fd;                     /* the other end of the port's socket */
    uint16_t control_buffers, control_seen;
};

static int setup(void **state)
{
    struct test *t = g_new0(struct test, 1);
    g_autofree char *option = NULL;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0)
        return -1;
    t->fd = fds[1];
    option = g_strdup_printf("socket,id=c,fd=%d", fds[0]);
    t->board = virtio_board_new();
    t->v = virtio_board_add(t->board, "virtio-serial-pci,id=s,max_ports=2");
    if (!t->v || !chardev_new_option(option, NULL) ||
        !device_add_option(t->board->devices, "virtserialport,id=p,name=org.test,chardev=c", false,
                           NULL))
        return -1;
    *state = t;
    return vb_start(t->board, t->v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT, QUEUES) ? 0 : -1;
}

static int teardown(void **state)
{
    struct test *t = *state;

    virtio_board_free(t->board);
    chardev_free_all();
    close(t->fd);
    g_free(t);
    return 0;
}

static void offer_control_buffer(struct test *t)
{
    unsigned n = t->control_buffers++ % VB_RING_SIZE;

    vb_descriptor(t->board, CONTROL_IN, n, BUFFERS + n * BUFFER, BUFFER, VRING_DESC_F_WRITE, 0);
    vb_submit(t->board, t->v, CONTROL_IN, n);
}

static void send_control(struct test *t, uint32_t id, uint16_t event, uint16_t value)
{
    struct virtio_console_control control = {
        .id = GUINT32_TO_LE(id), .event = GUINT16_TO_LE(event), .value = GUINT16_TO_LE(value),
    };

    devices_pause(t->board->devices);
    memcpy(t->board->ram + OUT, &control, sizeof(control));
    devices_resume(t->board->devices);
    vb_descriptor(t->board, CONTROL_OUT, 0, OUT, sizeof(control), 0, 0);
    vb_submit(t->board, t->v, CONTROL_OUT, 0);
}

/* The next message of the device's is this one. */
static void expect_control(struct test *t, uint16_t event, uint16_t value, const char *more)
{
    struct virtio_console_control control;
    uint64_t at;

    offer_control_buffer(t);
    at = BUFFERS + t->control_seen++ % VB_RING_SIZE * BUFFER;
    assert_int_equal(vb_used(t->board, CONTROL_IN, NULL), t->control_seen);
    memcpy(&control, t->board->ram + at, sizeof(control));
    assert_int_equal(GUINT32_FROM_LE(control.id), PORT);
    assert_int_equal(GUINT16_FROM_LE(control.event), event);
    assert_int_equal(GUINT16_FROM_LE(control.value), value);
    assert_memory_equal(t->board->ram + at + sizeof(control), more, strlen(more));
}

static void turn_main_loop(void)
{
    for (int i = 0; i < 20; i++)
        g_main_context_iteration(NULL, FALSE);
}

static void open_port(struct test *t)
{
    turn_main_loop();           /* the chardev is connected */
    send_control(t, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect_control(t, VIRTIO_CONSOLE_PORT_ADD, 1, "");
    send_control(t, PORT, VIRTIO_CONSOLE_PORT_READY, 1);
    expect_control(t, VIRTIO_CONSOLE_PORT_NAME, 1, "org.test");
    expect_control(t, VIRTIO_CONSOLE_PORT_OPEN, 1, "");
    send_control(t, PORT, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void test_data_in_both_directions(void **state)
{
    struct test *t = *state;
    char text[16];
    uint32_t length;

    assert_int_equal(write(t->fd, "to the guest", 12), 12);
    open_port(t);
    turn_main_loop();
    /* The first five bytes fit, the rest waits. */
    vb_descriptor(t->board, DATA_IN, 0, IN, 5, VRING_DESC_F_WRITE, 0);
    vb_submit(t->board, t->v, DATA_IN, 0);
    assert_int_equal(vb_used(t->board, DATA_IN, &length), 1);
    assert_int_equal(length, 5);
    vb_descriptor(t->board, DATA_IN, 0, IN + 5, 100, VRING_DESC_F_WRITE, 0);
    vb_submit(t->board, t->v, DATA_IN, 0);
    assert_int_equal(vb_used(t->board, DATA_IN, &length), 2);
    assert_int_equal(length, 7);
    assert_memory_equal(t->board->ram + IN, "to the guest", 12);
    devices_pause(t->board->devices);
    memcpy(t->board->ram + OUT, "to the host", 11);
    devices_resume(t->board->devices);
    vb_descriptor(t->board, DATA_OUT, 0, OUT, 11, 0, 0);
    vb_submit(t->board, t->v, DATA_OUT, 0);
    turn_main_loop();
    assert_int_equal(read(t->fd, text, sizeof(text)), 11);
    assert_memory_equal(text, "to the host", 11);
}

/* A port that the guest hasn't opened isn't read from outside. */
static void test_closed_port_takes_nothing(void **state)
{
    struct test *t = *state;
    uint32_t length;

    open_port(t);
    send_control(t, PORT, VIRTIO_CONSOLE_PORT_OPEN, 0);
    assert_int_equal(write(t->fd, "x", 1), 1);
    turn_main_loop();
    vb_descriptor(t->board, DATA_IN, 0, IN, 5, VRING_DESC_F_WRITE, 0);
    vb_submit(t->board, t->v, DATA_IN, 0);
    assert_int_equal(vb_used(t->board, DATA_IN, NULL), 0);
    send_control(t, PORT, VIRTIO_CONSOLE_PORT_OPEN, 1);
    turn_main_loop();
    vb_settle(t->v);
    assert_int_equal(vb_used(t->board, DATA_IN, &length), 1);
    assert_int_equal(length, 1);
}

static void test_ports_come_and_go(void **state)
{
    struct test *t = *state;

    open_port(t);
    assert_true(device_del(device_find(t->board->devices, "p"), NULL));
    expect_control(t, VIRTIO_CONSOLE_PORT_REMOVE, 1, "");
    assert_false(device_add_option(t->board->devices, "virtserialport,nr=0", true, NULL));
    assert_true(device_add_option(t->board->devices, "virtserialport,chardev=c", true, NULL));
    expect_control(t, VIRTIO_CONSOLE_PORT_ADD, 1, "");
}

/* Messages that it asks for again and again, and doesn't take; ids and events that aren't there. */
static void test_flood(void **state)
{
    struct test *t = *state;
    struct device_dma dma;

    send_control(t, 77, VIRTIO_CONSOLE_PORT_READY, 1);
    send_control(t, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
    send_control(t, PORT, 99, 1);
    for (int i = 0; i < 300 && !(vb_status(t->board, t->v) & VIRTIO_CONFIG_S_NEEDS_RESET); i++)
        send_control(t, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    virtio_dma(&t->v->pci.dev, &dma);
    assert_true(dma.needs_reset);
    assert_int_equal(dma.broken, 1);
    assert_true(vb_start(t->board, t->v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT, QUEUES));
    t->control_buffers = t->control_seen = 0;
    open_port(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_data_in_both_directions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_port_takes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ports_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
