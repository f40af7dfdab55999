/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Virtio's common part: negotiation, what a ring may contain, private pages, interrupts. */
#include "virtio_board.h"

#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)

enum { NEXT = VRING_DESC_F_NEXT, WRITE = VRING_DESC_F_WRITE, TABLE = VRING_DESC_F_INDIRECT };

struct test {
    struct virtio_board *board;
    struct virtio *v;
};

static int setup(void **state)
{
    struct test *t = g_new0(struct test, 1);

    t->board = virtio_board_new();
    t->v = virtio_board_add(t->board, "virtio-rng-pci,id=r");
    *state = t;
    return t->v ? 0 : -1;
}

static int teardown(void **state)
{
    struct test *t = *state;

    virtio_board_free(t->board);
    g_free(t);
    return 0;
}

static bool zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

static struct device_dma dma(struct test *t)
{
    struct device_dma ret;

    virtio_dma(&t->v->pci.dev, &ret);
    return ret;
}

static void test_a_request_is_served(void **state)
{
    struct test *t = *state;
    uint32_t length;

    assert_true(vb_start(t->board, t->v, INDIRECT, 1));
    vb_descriptor(t->board, 0, 3, VB_DATA, 100, WRITE | NEXT, 7);
    vb_descriptor(t->board, 0, 7, VB_DATA + 0x1000, 50, WRITE, 0);
    vb_submit(t->board, t->v, 0, 3);
    assert_int_equal(vb_used(t->board, 0, &length), 1);
    assert_int_equal(length, 150);
    assert_false(zero(t->board->ram + VB_DATA, 100));
    assert_false(zero(t->board->ram + VB_DATA + 0x1000, 50));
    assert_true(zero(t->board->ram + VB_DATA + 100, 0x1000 - 100));
    assert_int_equal(dma(t).requests, 1);
    /* The same chain again and again, past the end of the ring. */
    for (int i = 0; i < 40; i++)
        vb_submit(t->board, t->v, 0, 3);
    assert_int_equal(vb_used(t->board, 0, NULL), 41);
}

static void test_features(void **state)
{
    struct test *t = *state;

    assert_false(vb_start(t->board, t->v, 1ull << 50, 1));      /* never offered */
    assert_true(vb_start(t->board, t->v, 0, 1));
    /* Settled: a late change changes nothing. */
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_GF), 4, 0);
    assert_true(t->v->driver_features & 1ull << VIRTIO_F_VERSION_1);
    /* Offered in a protected VM, or where it is asked for: the driver has to take it. */
    t->v = virtio_board_add(t->board, "virtio-rng-pci,iommu_platform=on");
    assert_non_null(t->v);
    assert_false(vb_start(t->board, t->v, 0, 1));
    assert_true(vb_start(t->board, t->v, 1ull << VIRTIO_F_ACCESS_PLATFORM, 1));
}

static void expect_broken(struct test *t, const char *what)
{
    if (!(vb_status(t->board, t->v) & VIRTIO_CONFIG_S_NEEDS_RESET))
        fail_msg("%s: the device goes on", what);
    assert_int_equal(vb_used(t->board, 0, NULL), 0);
}

/* Chains that make no sense, as descriptors from 0 on. */
static const struct {
    const char *what;
    uint16_t head;
    bool indirect;              /* the feature is negotiated */
    struct {
        uint64_t gpa;
        uint32_t size;
        uint16_t flags, next;
    } table[4];
} wrong_chains[] = {
    { "head outside the table", 16, true, { { VB_DATA, 1, WRITE, 0 } } },
    { "head far outside", 0xffff, true, { { VB_DATA, 1, WRITE, 0 } } },
    { "link outside", 0, true, { { VB_DATA, 1, WRITE | NEXT, 16 } } },
    { "link far outside", 0, true, { { VB_DATA, 1, WRITE | NEXT, 0xffff } } },
    { "link to itself", 0, true, { { VB_DATA, 1, WRITE | NEXT, 0 } } },
    { "loop of two", 0, true, { { VB_DATA, 1, WRITE | NEXT, 1 }, { VB_DATA, 1, WRITE | NEXT, 0 } } },
    { "empty buffer", 0, true, { { VB_DATA, 0, WRITE, 0 } } },
    { "buffer that wraps", 0, true, { { UINT64_MAX - 10, 100, WRITE, 0 } } },
    { "read after write", 0, true, { { VB_DATA, 1, WRITE | NEXT, 1 }, { VB_DATA, 1, 0, 0 } } },
    { "indirect not negotiated", 0, false, { { VB_DATA, 16, TABLE, 0 } } },
    { "indirect, not whole entries", 0, true, { { VB_DATA, 17, TABLE, 0 } } },
    { "indirect, empty", 0, true, { { VB_DATA, 0, TABLE, 0 } } },
    { "indirect, huge", 0, true, { { VB_DATA, 0xfffffff0, TABLE, 0 } } },
    { "indirect, goes on", 0, true, { { VB_DATA, 16, TABLE | NEXT, 1 }, { VB_DATA, 1, WRITE, 0 } } },
    { "indirect, in no RAM", 0, true, { { 1ull << 40, 16, TABLE, 0 } } },
    { "indirect, wraps", 0, true, { { UINT64_MAX - 15, 32, TABLE, 0 } } },
    { "indirect, in itself", 0, true, { { VB_RING, 64, TABLE, 0 } } },
};

static void test_wrong_chains(void **state)
{
    struct test *t = *state;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong_chains); i++) {
        assert_true(vb_start(t->board, t->v, wrong_chains[i].indirect ? INDIRECT : 0, 1));
        for (unsigned n = 0; n < 4; n++)
            vb_descriptor(t->board, 0, n, wrong_chains[i].table[n].gpa,
                          wrong_chains[i].table[n].size, wrong_chains[i].table[n].flags,
                          wrong_chains[i].table[n].next);
        vb_submit(t->board, t->v, 0, wrong_chains[i].head);
        expect_broken(t, wrong_chains[i].what);
        assert_int_equal(dma(t).broken, i + 1);
    }
    /* Whatever it was, a reset brings it back. */
    test_a_request_is_served(state);
}

static void test_index_runs_ahead(void **state)
{
    struct test *t = *state;

    assert_true(vb_start(t->board, t->v, 0, 1));
    t->board->ram[VB_RING + VB_AVAILABLE + 2] = VB_RING_SIZE + 1;
    vb_settle(t->v);
    expect_broken(t, "index");
}

/* Sizes and addresses that are no ring. */
static void test_wrong_queues(void **state)
{
    static const struct {
        unsigned offset, size;
        uint64_t value;
    } writes[] = {
        { VIRTIO_PCI_COMMON_Q_SIZE, 2, 0 }, { VIRTIO_PCI_COMMON_Q_SIZE, 2, 3 },
        { VIRTIO_PCI_COMMON_Q_SIZE, 2, 512 }, { VIRTIO_PCI_COMMON_Q_DESCLO, 4, 8 },
        { VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 1 }, { VIRTIO_PCI_COMMON_Q_USEDLO, 4, 2 },
        { VIRTIO_PCI_COMMON_Q_USEDHI, 4, 0xffffffff },
    };
    struct test *t = *state;

    for (size_t i = 0; i < G_N_ELEMENTS(writes); i++) {
        assert_true(vb_start(t->board, t->v, 0, 0));
        vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_SELECT), 2, 0);
        if (writes[i].offset == VIRTIO_PCI_COMMON_Q_USEDHI)
            vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_USEDLO), 4, 0xfffffff0);
        vb_store(t->board, vb_register(t->v, writes[i].offset), writes[i].size, writes[i].value);
        vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_ENABLE), 2, 1);
        assert_true(vb_status(t->board, t->v) & VIRTIO_CONFIG_S_NEEDS_RESET);
    }
    /* A queue that there isn't reads as nothing and takes nothing. */
    assert_true(vb_start(t->board, t->v, 0, 0));
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_SELECT), 2, 1);
    assert_int_equal(vb_load(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_SIZE), 2), 0);
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_ENABLE), 2, 1);
    assert_false(vb_status(t->board, t->v) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void test_private_pages(void **state)
{
    struct test *t = *state;
    uint32_t length;

    assert_true(vb_start(t->board, t->v, 0, 1));
    t->board->private_page[(VB_DATA + VB_PAGE) / VB_PAGE] = true;
    /* Half of the buffer is private: that half isn't written, and the request ends. */
    vb_descriptor(t->board, 0, 0, VB_DATA, 2 * VB_PAGE, WRITE, 0);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(vb_used(t->board, 0, &length), 1);
    assert_int_equal(length, VB_PAGE);
    assert_true(zero(t->board->ram + VB_DATA + VB_PAGE, VB_PAGE));
    assert_int_equal(dma(t).refused, 1);
    assert_int_equal(dma(t).broken, 0);
    /* The ring turns private under the device. */
    t->board->private_page[VB_RING / VB_PAGE] = true;
    vb_settle(t->v);
    assert_true(vb_status(t->board, t->v) & VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(dma(t).broken, 1);
    assert_true(dma(t).needs_reset);
    t->board->private_page[VB_RING / VB_PAGE] = false;
    vb_settle(t->v);
    assert_int_equal(vb_used(t->board, 0, NULL), 1);
    assert_true(vb_start(t->board, t->v, 0, 1));
}

static void enable_msix(struct test *t, unsigned vector, uint32_t data)
{
    uint64_t table = 0xc0000000 + (t->v->pci.function.devfn >> 3) * 0x1000 + vector * 16;

    vb_store(t->board, table, 4, 0xfee00000);
    vb_store(t->board, table + 8, 4, data);
    vb_store(t->board, table + 12, 4, 0);
    vb_store(t->board, vb_config_address(t->v, t->v->pci.function.msix_capability + 2), 2, 0x8000);
}

static void test_interrupts(void **state)
{
    struct test *t = *state;

    enable_msix(t, 1, 0x55);
    assert_true(vb_start(t->board, t->v, 0, 1));
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_SELECT), 2, 0);
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_MSIX), 2, 77);
    assert_int_equal(vb_load(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_MSIX), 2), 0xffff);
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_MSIX), 2, 1);
    vb_descriptor(t->board, 0, 0, VB_DATA, 16, WRITE, 0);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(t->board->messages, 1);
    assert_int_equal(t->board->last_data, 0x55);
    t->board->ram[VB_RING + VB_AVAILABLE] = VRING_AVAIL_F_NO_INTERRUPT;
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(t->board->messages, 1);
    /* Event indices: the first, and then the one that used_event names. */
    assert_true(vb_start(t->board, t->v, EVENT_IDX, 1));
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_SELECT), 2, 0);
    vb_store(t->board, vb_register(t->v, VIRTIO_PCI_COMMON_Q_MSIX), 2, 1);
    vb_descriptor(t->board, 0, 0, VB_DATA, 16, WRITE, 0);
    t->board->ram[VB_RING + VB_AVAILABLE + 4 + 2 * VB_RING_SIZE] = 2;
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(t->board->messages, 2);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(t->board->messages, 2);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(t->board->messages, 3);
}

/* Without MSI-X: the status register says why and takes the line back. */
static void test_intx(void **state)
{
    struct test *t = *state;

    assert_true(vb_start(t->board, t->v, 0, 1));
    vb_descriptor(t->board, 0, 0, VB_DATA, 16, WRITE, 0);
    vb_submit(t->board, t->v, 0, 0);
    assert_true(vb_load(t->board, vb_config_address(t->v, PCI_STATUS), 2) & PCI_STATUS_INTERRUPT);
    assert_int_equal(vb_load(t->board, vb_register(t->v, VB_ISR), 1), 1);
    assert_int_equal(vb_load(t->board, vb_register(t->v, VB_ISR), 1), 0);
    assert_false(vb_load(t->board, vb_config_address(t->v, PCI_STATUS), 2) & PCI_STATUS_INTERRUPT);
}

static void test_pause_and_reset(void **state)
{
    struct test *t = *state;

    assert_true(vb_start(t->board, t->v, 0, 1));
    devices_pause(t->board->devices);
    vb_descriptor(t->board, 0, 0, VB_DATA, 16, WRITE, 0);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(vb_used(t->board, 0, NULL), 0);
    devices_resume(t->board->devices);
    vb_settle(t->v);
    assert_int_equal(vb_used(t->board, 0, NULL), 1);
    /* No bus mastering, no access. */
    vb_store(t->board, vb_config_address(t->v, PCI_COMMAND), 2, PCI_COMMAND_MEMORY);
    vb_submit(t->board, t->v, 0, 0);
    assert_int_equal(vb_used(t->board, 0, NULL), 1);
    bus_lock(t->board->bus);
    devices_reset(t->board->devices);
    bus_unlock(t->board->bus);
    assert_int_equal(vb_status(t->board, t->v), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_is_served, setup, teardown),
        cmocka_unit_test_setup_teardown(test_features, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_chains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index_runs_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_queues, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_and_reset, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
