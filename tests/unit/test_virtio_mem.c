/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory device as a driver sees it, good and bad, with real guest memory behind
 * it: who may use what after each request, and what is left when a step fails.
 */
#include "virtio_board.h"

#include "attributes.h"
#include "discard.h"
#include "fake_kvm.h"
#include "memory_device.h"

#include <errno.h>
#include <linux/virtio_mem.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MB (1ULL << 20)
#define BLOCK (2 * MB)
#define BASE VB_DEVICE_MEMORY
#define PAGE 4096ULL
#define INACCESSIBLE (1ull << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE)

enum {
    REQUEST = VB_DATA, RESPONSE = VB_DATA + 0x1000, NO_ANSWER = 0xeeee,
    PLUG = VIRTIO_MEM_REQ_PLUG, UNPLUG = VIRTIO_MEM_REQ_UNPLUG,
    UNPLUG_ALL = VIRTIO_MEM_REQ_UNPLUG_ALL, STATE = VIRTIO_MEM_REQ_STATE,
    ACK = VIRTIO_MEM_RESP_ACK, NACK = VIRTIO_MEM_RESP_NACK, BUSY = VIRTIO_MEM_RESP_BUSY,
    ERROR = VIRTIO_MEM_RESP_ERROR,
};

static struct virtio_board *board;
static struct virtio *v;
static struct ram_block *block;

/* --- A listener --- */

struct watcher {
    struct memory_listener listener;
    uint64_t held;              /* bytes */
    bool refuse;
};

static struct watcher watcher;

static int on_populate(struct memory_listener *listener, const struct memory_section *section)
{
    if (section->block == block && watcher.refuse)
        return -ENOSPC;
    if (section->block == block)
        watcher.held += section->size;
    return 0;
}

/* Of what it has: the device never tells to let go of anything else here. */
static void on_discard(struct memory_listener *listener, const struct memory_section *section)
{
    if (section->block == block)
        watcher.held -= MIN(section->size, watcher.held);
}

/* --- Fixtures --- */

static struct ram_block *find_block(void)
{
    g_autoptr(GPtrArray) blocks = memory_blocks(board->mem);

    return g_ptr_array_index(blocks, 0);        /* the largest */
}

static int set_up(bool protected)
{
    g_autoptr(GError) error = NULL;

    vb_protected = protected;
    board = virtio_board_new();
    if (!object_add_option(protected ? "memory-backend-ram,id=m0,size=32M,private=on"
                                     : "memory-backend-ram,id=m0,size=32M", &error))
        return -1;
    v = virtio_board_add(board, "virtio-mem-pci,id=vm0,memdev=m0,ioeventfd=off,"
                                "iommu_platform=off,requested-size=16M");
    if (!v)
        return -1;
    block = find_block();
    watcher = (struct watcher){ { on_populate, on_discard } };
    return memory_listener_add(board->mem, &watcher.listener) == 0 &&
           vb_start(board, v, v->features, 1) ? 0 : -1;
}

static int set_up_protected(void **state)
{
    return set_up(true);
}

static int set_up_ordinary(void **state)
{
    return set_up(false);
}

static int tear_down(void **state)
{
    memory_listener_remove(board->mem, &watcher.listener);
    virtio_board_free(board);
    object_delete_all();
    return fake.open_fds != 0 || fake.open_maps != 0;
}

/* --- Requests --- */

static uint16_t request_sized(uint16_t type, uint64_t addr, uint16_t blocks, uint32_t out,
                              uint32_t in)
{
    struct virtio_mem_req req = { .type = GUINT16_TO_LE(type) };
    struct virtio_mem_resp resp;

    req.u.plug.addr = GUINT64_TO_LE(addr);
    req.u.plug.nb_blocks = GUINT16_TO_LE(blocks);
    memcpy(board->ram + REQUEST, &req, sizeof(req));
    memset(board->ram + RESPONSE, NO_ANSWER & 0xff, sizeof(resp));
    vb_descriptor(board, 0, 0, REQUEST, out, VRING_DESC_F_NEXT, 1);
    vb_descriptor(board, 0, 1, RESPONSE, in, VRING_DESC_F_WRITE, 0);
    vb_submit(board, v, 0, 0);
    memcpy(&resp, board->ram + RESPONSE, sizeof(resp));
    return GUINT16_FROM_LE(resp.type);
}

static uint16_t request(uint16_t type, uint64_t addr, uint16_t blocks)
{
    return request_sized(type, addr, blocks, sizeof(struct virtio_mem_req),
                         sizeof(struct virtio_mem_resp));
}

/* -1: the request failed. */
static int state_of(uint64_t addr, uint16_t blocks)
{
    struct virtio_mem_resp resp;

    if (request(STATE, addr, blocks) != ACK)
        return -1;
    memcpy(&resp, board->ram + RESPONSE, sizeof(resp));
    return GUINT16_FROM_LE(resp.u.state.state);
}

static uint64_t config(size_t offset)
{
    uint64_t at = vb_register(v, VB_CONFIG + offset);

    return vb_load(board, at, 4) | vb_load(board, at + 4, 4) << 32;
}

#define CONFIG(field_) config(offsetof(struct virtio_mem_config, field_))

static bool set_requested(int64_t size)
{
    struct json_object *value = json_object_new_int64(size);
    bool ok = device_set_property(&v->pci.dev, "requested-size", value, NULL);

    json_object_put(value);
    return ok;
}

static struct attr_summary summary(void)
{
    g_autoptr(GPtrArray) list = memory_attributes_summary(board->mem, ram_block_name(block), NULL);

    return *(struct attr_summary *)g_ptr_array_index(list, 0);
}

/* --- What works --- */

static void test_plug_and_unplug(void **state)
{
    assert_int_equal(CONFIG(block_size), BLOCK);
    assert_int_equal(CONFIG(addr), BASE);
    assert_int_equal(CONFIG(region_size), 32 * MB);
    assert_int_equal(CONFIG(usable_region_size), 32 * MB);
    assert_int_equal(CONFIG(requested_size), 16 * MB);
    assert_int_equal(state_of(BASE, 16), VIRTIO_MEM_STATE_UNPLUGGED);
    assert_int_equal(request(PLUG, BASE + 2 * BLOCK, 3), ACK);
    assert_int_equal(CONFIG(plugged_size), 3 * BLOCK);
    assert_int_equal(state_of(BASE + 2 * BLOCK, 3), VIRTIO_MEM_STATE_PLUGGED);
    assert_int_equal(state_of(BASE + BLOCK, 2), VIRTIO_MEM_STATE_MIXED);
    assert_int_equal(memory_device_sums(board->devices).plugged, 3 * BLOCK);
    assert_int_equal(request(UNPLUG, BASE + 3 * BLOCK, 1), ACK);
    assert_int_equal(state_of(BASE + 2 * BLOCK, 3), VIRTIO_MEM_STATE_MIXED);
    assert_int_equal(request(UNPLUG_ALL, 0, 0), ACK);
    assert_int_equal(request(UNPLUG_ALL, 0, 0), ACK);
    assert_int_equal(CONFIG(plugged_size), 0);
    assert_int_equal(state_of(BASE, 16), VIRTIO_MEM_STATE_UNPLUGGED);
}

/* --- What doesn't: nothing has changed afterwards --- */

static void test_hostile_requests(void **state)
{
    static const struct {
        uint16_t type;
        uint64_t addr;
        uint16_t blocks, answer;
    } rows[] = {
        /* Plugged: blocks 4 to 6, of 16; 8 are requested. */
        { PLUG, BASE, 0, ERROR }, { PLUG, BASE + 1, 1, ERROR }, { PLUG, BASE + PAGE, 1, ERROR },
        { PLUG, BASE - BLOCK, 1, ERROR }, { PLUG, 0, 1, ERROR }, { PLUG, BASE + 32 * MB, 1, ERROR },
        { PLUG, BASE + 15 * BLOCK, 2, ERROR }, { PLUG, BASE, UINT16_MAX, ERROR },
        { PLUG, UINT64_MAX - BLOCK + 1, 1, ERROR }, { PLUG, UINT64_MAX - BLOCK + 1, 2, ERROR },
        { PLUG, BASE + 4 * BLOCK, 1, ERROR }, { PLUG, BASE + 3 * BLOCK, 2, ERROR },
        { PLUG, BASE + 6 * BLOCK, 2, ERROR }, { PLUG, BASE + 7 * BLOCK, 6, NACK },
        { UNPLUG, BASE, 1, ERROR }, { UNPLUG, BASE + 3 * BLOCK, 2, ERROR },
        { UNPLUG, BASE + 6 * BLOCK, 2, ERROR }, { UNPLUG, BASE + 4 * BLOCK, 0, ERROR },
        { UNPLUG, BASE + 4 * BLOCK + PAGE, 1, ERROR }, { UNPLUG, 0, 1, ERROR },
        { STATE, BASE + 16 * BLOCK, 1, ERROR }, { STATE, BASE, 0, ERROR },
        { STATE, BASE + 8, 1, ERROR }, { STATE, BASE - BLOCK, 2, ERROR },
        { 4, BASE, 1, ERROR }, { UINT16_MAX, BASE, 1, ERROR },
    };

    assert_int_equal(request(PLUG, BASE + 4 * BLOCK, 3), ACK);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint16_t answer = request(rows[i].type, rows[i].addr, rows[i].blocks);

        if (answer != rows[i].answer)
            fail_msg("row %zu: answer %u, not %u", i, answer, rows[i].answer);
        assert_int_equal(CONFIG(plugged_size), 3 * BLOCK);
        assert_int_equal(state_of(BASE + 4 * BLOCK, 3), VIRTIO_MEM_STATE_PLUGGED);
        assert_int_equal(state_of(BASE, 4), VIRTIO_MEM_STATE_UNPLUGGED);
        assert_int_equal(state_of(BASE + 7 * BLOCK, 9), VIRTIO_MEM_STATE_UNPLUGGED);
    }
    /* No room for an answer, half a request: nothing is done, and the next one is served. */
    request_sized(UNPLUG_ALL, 0, 0, sizeof(struct virtio_mem_req), 9);
    assert_int_equal(request_sized(UNPLUG_ALL, 0, 0, 7, sizeof(struct virtio_mem_resp)), NO_ANSWER);
    assert_int_equal(CONFIG(plugged_size), 3 * BLOCK);
    assert_int_equal(request(UNPLUG, BASE + 4 * BLOCK, 3), ACK);
}

/* What is usable grows with the request at once, and shrinks when all is unplugged at once. */
static void test_requested_size(void **state)
{
    uint64_t generation = vb_register(v, VIRTIO_PCI_COMMON_CFGGENERATION);
    uint64_t before = vb_load(board, generation, 1);

    assert_false(set_requested(MB));
    assert_false(set_requested(34 * MB));
    assert_false(set_requested(-1));
    assert_int_equal(CONFIG(requested_size), 16 * MB);
    assert_true(set_requested(4 * MB));
    assert_int_equal(CONFIG(requested_size), 4 * MB);
    assert_int_not_equal(vb_load(board, generation, 1), before);
    assert_int_equal(request(PLUG, BASE, 3), NACK);
    assert_int_equal(request(PLUG, BASE, 2), ACK);
    assert_true(set_requested(0));
    assert_int_equal(CONFIG(usable_region_size), 32 * MB);
    assert_int_equal(request(PLUG, BASE + 2 * BLOCK, 1), NACK);
    assert_int_equal(request(UNPLUG, BASE, 2), ACK);
    assert_int_equal(CONFIG(usable_region_size), 32 * MB);
    assert_int_equal(state_of(BASE, 1), VIRTIO_MEM_STATE_UNPLUGGED);
    assert_int_equal(request(UNPLUG_ALL, 0, 0), ACK);
    assert_int_equal(CONFIG(usable_region_size), 0);
    assert_int_equal(state_of(BASE, 1), -1);
}

/* --- Private memory --- */

static void test_blocks_begin_private(void **state)
{
    assert_int_equal(summary().private_, 32 * MB);
    /* Made shared before it is plugged: nobody gets it, and it is private when it is plugged. */
    assert_int_equal(memory_convert(board->mem, BASE, BLOCK, false, NULL), 0);
    assert_int_equal(watcher.held, 0);
    assert_int_equal(request(PLUG, BASE, 2), ACK);
    assert_int_equal(summary().private_, 32 * MB);
    assert_int_equal(watcher.held, 0);

    /* Converted as all other memory, and taken back when it is unplugged. */
    assert_int_equal(memory_convert(board->mem, BASE + BLOCK - PAGE, 2 * PAGE, false, NULL), 0);
    assert_int_equal(watcher.held, 2 * PAGE);
    assert_int_equal(summary().populated, 2 * PAGE);
    assert_true(memory_write(board->mem, BASE + BLOCK - 4, "12345678", 8, NULL));
    assert_int_equal(request(UNPLUG, BASE, 1), ACK);
    assert_int_equal(watcher.held, PAGE);
    assert_false(memory_write(board->mem, BASE + BLOCK - 4, "12345678", 8, NULL));
    assert_int_equal(request(UNPLUG_ALL, 0, 0), ACK);
    assert_int_equal(watcher.held, 0);
    assert_int_equal(summary().private_, 32 * MB);

    /* What was there is gone. */
    assert_int_equal(request(PLUG, BASE, 2), ACK);
    assert_int_equal(memory_convert(board->mem, BASE, 2 * BLOCK, false, NULL), 0);
    for (uint64_t offset = 0; offset < 2 * BLOCK; offset += PAGE)
        assert_int_equal(*((char *)ram_block_host(block) + offset), 0);
    assert_int_equal(watcher.held, 2 * BLOCK);
}

/* KVM refuses the way to private: the block stays plugged, and listeners have what they had. */
static void test_unplug_is_busy(void **state)
{
    assert_int_equal(request(PLUG, BASE, 2), ACK);
    assert_int_equal(memory_convert(board->mem, BASE, BLOCK, false, NULL), 0);
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 0, -ENOMEM);
    assert_int_equal(request(UNPLUG, BASE, 1), BUSY);
    assert_int_equal(CONFIG(plugged_size), 2 * BLOCK);
    assert_int_equal(watcher.held, BLOCK);
    assert_int_equal(state_of(BASE, 2), VIRTIO_MEM_STATE_PLUGGED);
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 0, -ENOMEM);
    assert_int_equal(request(UNPLUG_ALL, 0, 0), BUSY);
    assert_int_equal(CONFIG(plugged_size), 2 * BLOCK);
    assert_int_equal(request(UNPLUG_ALL, 0, 0), ACK);
    assert_int_equal(watcher.held, 0);
}

/* --- Listeners of ordinary memory --- */

static void test_listener_refuses_a_plug(void **state)
{
    watcher.refuse = true;
    assert_int_equal(request(PLUG, BASE, 2), BUSY);
    assert_int_equal(CONFIG(plugged_size), 0);
    assert_int_equal(state_of(BASE, 16), VIRTIO_MEM_STATE_UNPLUGGED);
    watcher.refuse = false;
    assert_int_equal(request(PLUG, BASE, 2), ACK);
    assert_int_equal(watcher.held, 2 * BLOCK);
    assert_true(memory_write(board->mem, BASE + 4, "1234", 4, NULL));
    assert_int_equal(request(UNPLUG, BASE, 1), ACK);
    assert_int_equal(watcher.held, BLOCK);
    assert_false(memory_write(board->mem, BASE + 4, "1234", 4, NULL));
    assert_int_equal(*((char *)ram_block_host(block) + 4), 0);
}

/* --- Resets, and going --- */

static void test_resets(void **state)
{
    assert_int_equal(request(PLUG, BASE, 2), ACK);
    /* The driver's own leaves the memory. */
    assert_true(vb_start(board, v, v->features, 1));
    assert_int_equal(CONFIG(plugged_size), 2 * BLOCK);
    devices_pause(board->devices);
    bus_lock(board->bus);
    devices_reset(board->devices);
    bus_unlock(board->bus);
    devices_resume(board->devices);
    assert_int_equal(CONFIG(plugged_size), 0);
    assert_int_equal(CONFIG(requested_size), 16 * MB);
    assert_int_equal(watcher.held, 0);
}

static void test_unplug_request(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_int_equal(request(PLUG, BASE, 1), ACK);
    assert_false(device_del(&v->pci.dev, &error));
    assert_non_null(strstr(error->message, "still plugged"));
    g_clear_error(&error);
    assert_int_equal(request(UNPLUG, BASE, 1), ACK);
    assert_false(device_del(&v->pci.dev, &error));
    assert_non_null(strstr(error->message, "'requested-size' != '0'"));
}

/* A driver that might read what isn't plugged is refused where that costs memory. */
static void test_features(void **state)
{
    assert_true(v->features & INACCESSIBLE);
    assert_false(vb_start(board, v, v->features & ~INACCESSIBLE, 1));
    assert_true(vb_start(board, v, v->features, 1));
}

static void test_features_of_anonymous_memory(void **state)
{
    assert_false(v->features & INACCESSIBLE);
    assert_true(v->features >> VIRTIO_MEM_F_ACPI_PXM & 1);
}

static void test_two_devices(void **state)
{
    g_autoptr(GPtrArray) list = NULL;
    struct memory_device_info info;
    struct device *second;

    assert_true(object_add_option("memory-backend-memfd,id=m1,size=8M", NULL));
    assert_true(object_add_option("memory-backend-ram,id=m2,size=32M", NULL));
    assert_false(device_add_option(board->devices, "virtio-mem-pci,memdev=m2,memaddr=0x100200000",
                                   true, NULL));
    assert_non_null(virtio_board_add(board,
                                     "virtio-mem-pci,memdev=m1,block-size=8M,ioeventfd=off"));
    list = devices_list(board->devices);
    second = g_ptr_array_index(list, 1);
    second->type->memory(second, &info);
    assert_int_equal(info.memaddr, BASE + 32 * MB);
    assert_int_equal(memory_device_sums(board->devices).max, 40 * MB);
    /* 24 MiB are left, and a failed attempt leaves nothing behind. */
    assert_false(device_add_option(board->devices, "virtio-mem-pci,memdev=m2", true, NULL));
    assert_int_equal(object_find("m2")->users, 0);
}

int main(void)
{
#define PROTECTED(test_) cmocka_unit_test_setup_teardown(test_, set_up_protected, tear_down)
#define ORDINARY(test_) cmocka_unit_test_setup_teardown(test_, set_up_ordinary, tear_down)
    static const struct CMUnitTest tests[] = {
        PROTECTED(test_plug_and_unplug), ORDINARY(test_plug_and_unplug),
        PROTECTED(test_hostile_requests), ORDINARY(test_hostile_requests),
        PROTECTED(test_requested_size), PROTECTED(test_blocks_begin_private),
        PROTECTED(test_unplug_is_busy), ORDINARY(test_listener_refuses_a_plug),
        PROTECTED(test_resets), ORDINARY(test_resets), ORDINARY(test_unplug_request),
        PROTECTED(test_features), ORDINARY(test_features_of_anonymous_memory),
        ORDINARY(test_two_devices),
    };

    memory_register_backends();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
