/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The virtio disk: each kind of request, in any layout, with what may be wrong about it. */
#include "disk.h"
#include "virtio_board.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    NEXT = VRING_DESC_F_NEXT, WRITE = VRING_DESC_F_WRITE,
    SECTORS = 128, HEADER = VB_DATA, DATA = VB_DATA + 0x1000, STATUS = VB_DATA + 0x800,
    NO_STATUS = 0xee,
};

struct test {
    struct virtio_board *board;
    struct virtio *v;
    int fd;
};

static int setup_with(void **state, const char *more)
{
    struct test *t = g_new0(struct test, 1);
    g_autofree char *option = NULL;

    t->fd = memfd_create("disk", MFD_CLOEXEC);
    if (t->fd < 0 || ftruncate(t->fd, SECTORS * DISK_SECTOR) < 0)
        return -1;
    option = g_strdup_printf("file=/proc/self/fd/%d,format=raw,if=none,id=d%s", t->fd, more);
    t->board = virtio_board_new();
    if (!disk_add_drive(option, NULL, NULL))
        return -1;
    t->v = virtio_board_add(t->board, "virtio-blk-pci,drive=d,serial=12345678901234567890more");
    *state = t;
    return t->v && vb_start(t->board, t->v, t->v->features, 1) ? 0 : -1;
}

static int setup(void **state)
{
    return setup_with(state, "");
}

static int setup_readonly(void **state)
{
    return setup_with(state, ",readonly=on");
}

static int teardown(void **state)
{
    struct test *t = *state;

    virtio_board_free(t->board);
    disk_free_all();
    close(t->fd);
    g_free(t);
    return 0;
}

/* size bytes at DATA, which the device reads or writes; the status, and what was used in *length. */
static uint8_t request(struct test *t, uint32_t type, uint64_t sector, uint32_t size, bool in,
                       uint32_t *length)
{
    struct virtio_blk_outhdr header = {
        .type = GUINT32_TO_LE(type), .sector = GUINT64_TO_LE(sector),
    };

    memcpy(t->board->ram + HEADER, &header, sizeof(header));
    t->board->ram[STATUS] = NO_STATUS;
    vb_descriptor(t->board, 0, 0, HEADER, sizeof(header), NEXT, size ? 1 : 2);
    vb_descriptor(t->board, 0, 1, DATA, size, NEXT | (in ? WRITE : 0), 2);
    vb_descriptor(t->board, 0, 2, STATUS, 1, WRITE, 0);
    vb_submit(t->board, t->v, 0, 0);
    vb_used(t->board, 0, length);
    return t->board->ram[STATUS];
}

static void test_write_and_read(void **state)
{
    struct test *t = *state;
    char bytes[1024];
    uint32_t length;

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = t->board->ram[DATA + i] = i * 7;
    assert_int_equal(request(t, VIRTIO_BLK_T_OUT, 5, 1024, false, &length), VIRTIO_BLK_S_OK);
    assert_int_equal(length, 1);
    memset(t->board->ram + DATA, 0, 1024);
    assert_int_equal(request(t, VIRTIO_BLK_T_IN, 5, 1024, true, &length), VIRTIO_BLK_S_OK);
    assert_int_equal(length, 1025);
    assert_memory_equal(t->board->ram + DATA, bytes, 1024);
    assert_int_equal(pread(t->fd, t->board->ram + DATA, 512, 6 * 512), 512);
    assert_memory_equal(t->board->ram + DATA, bytes + 512, 512);
    assert_int_equal(request(t, VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), VIRTIO_BLK_S_OK);
    assert_int_equal(request(t, VIRTIO_BLK_T_GET_ID, 0, 20, true, NULL), VIRTIO_BLK_S_OK);
    assert_memory_equal(t->board->ram + DATA, "12345678901234567890", 20);
}

/* Sector, size, and that nothing but an error comes of it. */
static void test_out_of_bounds(void **state)
{
    static const struct {
        uint64_t sector;
        uint32_t size;
    } wrong[] = {
        { SECTORS, 512 }, { SECTORS - 1, 1024 }, { UINT64_MAX, 512 }, { UINT64_MAX / 512, 1024 },
        { 1ull << 55, 512 }, { 0, 511 }, { 0, 1 }, { 0, (SECTORS + 1) * 512 }, { 0, 0xfffffe00 },
    };
    struct test *t = *state;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        assert_int_equal(request(t, VIRTIO_BLK_T_IN, wrong[i].sector, wrong[i].size, true, NULL),
                         VIRTIO_BLK_S_IOERR);
        assert_int_equal(request(t, VIRTIO_BLK_T_OUT, wrong[i].sector, wrong[i].size, false, NULL),
                         VIRTIO_BLK_S_IOERR);
    }
    assert_int_equal(request(t, VIRTIO_BLK_T_GET_ID, 0, 19, true, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(t, 77, 0, 512, true, NULL), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(request(t, UINT32_MAX, 0, 512, true, NULL), VIRTIO_BLK_S_UNSUPP);
    /* The end of the disk itself is fine. */
    assert_int_equal(request(t, VIRTIO_BLK_T_IN, SECTORS - 1, 512, true, NULL), VIRTIO_BLK_S_OK);
}

static uint8_t range_request(struct test *t, uint32_t type, uint64_t sector, uint32_t sectors,
                             uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes range = {
        .sector = GUINT64_TO_LE(sector), .num_sectors = GUINT32_TO_LE(sectors),
        .flags = GUINT32_TO_LE(flags),
    };

    memcpy(t->board->ram + DATA, &range, sizeof(range));
    return request(t, type, 0, sizeof(range), false, NULL);
}

static void test_discard_and_zeroes(void **state)
{
    const uint32_t zeroes = VIRTIO_BLK_T_WRITE_ZEROES, discard = VIRTIO_BLK_T_DISCARD;
    struct test *t = *state;
    char bytes[SECTORS * DISK_SECTOR], now[sizeof(bytes)];

    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(pwrite(t->fd, bytes, sizeof(bytes), 0), sizeof(bytes));
    assert_int_equal(range_request(t, zeroes, 2, 3, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(range_request(t, zeroes, 64, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
                     VIRTIO_BLK_S_OK);
    memset(bytes + 2 * 512, 0, 3 * 512);
    memset(bytes + 64 * 512, 0, 8 * 512);
    assert_int_equal(pread(t->fd, now, sizeof(now), 0), sizeof(now));
    assert_memory_equal(now, bytes, sizeof(now));
    assert_int_equal(range_request(t, discard, 100, 8, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(range_request(t, zeroes, 0, 1, 4), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(range_request(t, discard, 0, 1, 1), VIRTIO_BLK_S_UNSUPP);
    assert_int_equal(range_request(t, discard, 0, 0, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(range_request(t, discard, SECTORS - 1, 2, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(range_request(t, zeroes, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(t, zeroes, 0, 15, false, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(pread(t->fd, now, 1024, 0), 1024);
    assert_memory_equal(now, bytes, 1024);
}

/* Header and status in pieces, and together with data. */
static void test_any_layout(void **state)
{
    struct test *t = *state;
    struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN, .sector = GUINT64_TO_LE(1) };
    uint32_t length;

    assert_int_equal(pwrite(t->fd, "sector one", 10, 512), 10);
    memcpy(t->board->ram + HEADER, &header, sizeof(header));
    vb_descriptor(t->board, 0, 0, HEADER, 3, NEXT, 1);
    vb_descriptor(t->board, 0, 1, HEADER + 3, 13, NEXT, 2);
    vb_descriptor(t->board, 0, 2, DATA, 5, NEXT | WRITE, 3);
    vb_descriptor(t->board, 0, 3, DATA + 5, 508, WRITE, 0);
    t->board->ram[DATA + 512] = NO_STATUS;
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(vb_used(t->board, 0, &length), 1);
    assert_int_equal(length, 513);
    assert_int_equal(t->board->ram[DATA + 512], VIRTIO_BLK_S_OK);
    assert_memory_equal(t->board->ram + DATA, "sector one", 10);
    /* A header that is too short; nothing to write the status to. */
    vb_descriptor(t->board, 0, 0, HEADER, 15, NEXT, 2);
    vb_descriptor(t->board, 0, 2, STATUS, 1, WRITE, 0);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(t->board->ram[STATUS], VIRTIO_BLK_S_IOERR);
    vb_descriptor(t->board, 0, 0, HEADER, 16, 0, 0);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(vb_used(t->board, 0, &length), 3);
    assert_int_equal(length, 0);
}

static void test_private_pages(void **state)
{
    struct test *t = *state;

    t->board->private_page[DATA / VB_PAGE] = true;
    assert_int_equal(request(t, VIRTIO_BLK_T_OUT, 0, 512, false, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(t, VIRTIO_BLK_T_IN, 0, 512, true, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(t, VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), VIRTIO_BLK_S_OK);
    t->board->private_page[HEADER / VB_PAGE] = true;
    assert_int_equal(request(t, VIRTIO_BLK_T_FLUSH, 0, 0, false, NULL), NO_STATUS);
    assert_int_equal(vb_used(t->board, 0, NULL), 4);
    assert_int_equal(t->v->broken, 0);
}

static void test_readonly(void **state)
{
    struct test *t = *state;

    assert_true(t->v->features & 1ull << VIRTIO_BLK_F_RO);
    assert_int_equal(request(t, VIRTIO_BLK_T_OUT, 0, 512, false, NULL), VIRTIO_BLK_S_IOERR);
    assert_int_equal(range_request(t, VIRTIO_BLK_T_DISCARD, 0, 1, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(range_request(t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(request(t, VIRTIO_BLK_T_IN, 0, 512, true, NULL), VIRTIO_BLK_S_OK);
}

/* The file becomes shorter under the guest. */
static void test_truncated(void **state)
{
    struct test *t = *state;

    assert_int_equal(ftruncate(t->fd, 1000), 0);
    assert_int_equal(request(t, VIRTIO_BLK_T_IN, 0, 512, true, NULL), VIRTIO_BLK_S_OK);
    assert_int_equal(request(t, VIRTIO_BLK_T_IN, 1, 512, true, NULL), VIRTIO_BLK_S_IOERR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_discard_and_zeroes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readonly, setup_readonly, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
