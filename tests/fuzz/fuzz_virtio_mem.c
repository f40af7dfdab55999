/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile driver of the memory device: the input is a program of requests with any
 * address and number of blocks, of conversions, resizes and resets.  A plain array says which
 * blocks are plugged and which pages shared; what the device, the record and a
 * listener say must agree with it after every step.
 */
#include "fuzz.h"
#include "virtio_board.h"

#include "discard.h"

#include <linux/virtio_mem.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK (1ULL << 20)
#define BASE VB_DEVICE_MEMORY
#define PAGE 4096ULL

enum { BLOCKS = 16, PAGES_OF_BLOCK = 256, PAGES = BLOCKS * PAGES_OF_BLOCK, MAX_OPERATIONS = 64 };

static struct virtio_board *board;
static struct virtio *v;
static struct ram_block *block;

/* The model. */
static bool plugged[BLOCKS], shared[PAGES], held[PAGES];
static uint64_t requested;
static bool usable;             /* all of it, or nothing */

/* --- A listener --- */

static void hold(const struct memory_section *section, bool on)
{
    for (uint64_t i = 0; section->block == block && i < section->size / PAGE; i++)
        held[section->offset / PAGE + i] = on;
}

static int on_populate(struct memory_listener *listener, const struct memory_section *section)
{
    hold(section, true);
    return 0;
}

static void on_discard(struct memory_listener *listener, const struct memory_section *section)
{
    hold(section, false);
}

static struct memory_listener listener = { on_populate, on_discard };

static void make_board(void)
{
    g_autoptr(GPtrArray) blocks = NULL;

    memory_register_backends();
    vb_protected = true;
    board = virtio_board_new();
    if (!object_add_option("memory-backend-ram,id=m0,size=16M,private=on", NULL))
        abort();
    v = virtio_board_add(board, "virtio-mem-pci,id=vm0,memdev=m0,ioeventfd=off,iommu_platform=off,"
                                "block-size=1M,requested-size=8M");
    blocks = memory_blocks(board->mem);
    block = g_ptr_array_index(blocks, 0);
    fail_unless(v && memory_listener_add(board->mem, &listener) == 0);
}

/* --- Requests --- */

static uint64_t plugged_size(void)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < BLOCKS; i++)
        size += plugged[i] ? BLOCK : 0;
    return size;
}

static void set_blocks(unsigned first, unsigned count, bool on)
{
    for (unsigned i = first; i < first + count; i++) {
        if (plugged[i] != on)
            memset(shared + i * PAGES_OF_BLOCK, 0, PAGES_OF_BLOCK);
        plugged[i] = on;
    }
}

/* What the answer has to be. */
static uint16_t expected(uint16_t type, uint64_t addr, uint16_t blocks)
{
    uint64_t first = (addr - BASE) / BLOCK;
    unsigned on = 0;

    if (type == VIRTIO_MEM_REQ_UNPLUG_ALL)
        return VIRTIO_MEM_RESP_ACK;
    if (type > VIRTIO_MEM_REQ_STATE || !blocks || addr < BASE || addr % BLOCK || !usable ||
        first >= BLOCKS || blocks > BLOCKS - first)
        return VIRTIO_MEM_RESP_ERROR;
    for (unsigned i = first; i < first + blocks; i++)
        on += plugged[i];
    if ((type == VIRTIO_MEM_REQ_PLUG && on) || (type == VIRTIO_MEM_REQ_UNPLUG && on != blocks))
        return VIRTIO_MEM_RESP_ERROR;
    if (type == VIRTIO_MEM_REQ_PLUG && plugged_size() + blocks * BLOCK > requested)
        return VIRTIO_MEM_RESP_NACK;
    return VIRTIO_MEM_RESP_ACK;
}

static void request(uint16_t type, uint64_t addr, uint16_t blocks)
{
    struct virtio_mem_req req = { .type = GUINT16_TO_LE(type) };
    struct virtio_mem_resp resp;
    uint16_t answer = expected(type, addr, blocks);

    req.u.plug.addr = GUINT64_TO_LE(addr);
    req.u.plug.nb_blocks = GUINT16_TO_LE(blocks);
    memcpy(board->ram + VB_DATA, &req, sizeof(req));
    memset(board->ram + VB_DATA + 64, 0xee, sizeof(resp));
    vb_descriptor(board, 0, 0, VB_DATA, sizeof(req), VRING_DESC_F_NEXT, 1);
    vb_descriptor(board, 0, 1, VB_DATA + 64, sizeof(resp), VRING_DESC_F_WRITE, 0);
    vb_submit(board, v, 0, 0);
    memcpy(&resp, board->ram + VB_DATA + 64, sizeof(resp));
    fail_unless(GUINT16_FROM_LE(resp.type) == answer);
    if (answer != VIRTIO_MEM_RESP_ACK || type == VIRTIO_MEM_REQ_STATE)
        return;
    if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
        set_blocks(0, BLOCKS, false);
        usable = requested;
    } else {
        set_blocks((addr - BASE) / BLOCK, blocks, type == VIRTIO_MEM_REQ_PLUG);
    }
}

static void op_request(struct input *in)
{
    uint16_t type = take(in, 1) % 4;
    uint64_t addr = BASE + take(in, 1) % (BLOCKS + 2) * BLOCK;

    request(type, addr, take(in, 1) % (BLOCKS + 2));
}

static void op_wild_request(struct input *in)
{
    uint16_t type = take(in, 2) % 8;
    uint64_t addr = take(in, 8);

    request(type, addr, take(in, 2));
}

/* Whatever it says, the driver's chain may be of any shape. */
static void op_odd_chain(struct input *in)
{
    vb_descriptor(board, 0, 0, VB_DATA, take(in, 1) % 24, VRING_DESC_F_NEXT, 1);
    memset(board->ram + VB_DATA, 0xff, 24);     /* no request that there is */
    vb_descriptor(board, 0, 1, VB_DATA + 64, take(in, 1) % 16, VRING_DESC_F_WRITE, 0);
    vb_submit(board, v, 0, 0);
    fail_unless(vb_start(board, v, v->features, 1));
}

static void op_convert(struct input *in)
{
    uint64_t first = take(in, 2) % PAGES, count = take(in, 2) % (PAGES - first) + 1;
    bool private_ = take(in, 1) & 1;

    fail_unless(memory_convert(board->mem, BASE + first * PAGE, count * PAGE, private_, NULL) == 0);
    memset(shared + first, !private_, count);
}

static void op_resize(struct input *in)
{
    struct json_object *value;
    uint64_t size = take(in, 1) % (BLOCKS + 2) * BLOCK + take(in, 1) % 4 / 3;
    bool right = size % BLOCK == 0 && size <= BLOCKS * BLOCK;

    value = json_object_new_uint64(size);
    fail_unless(device_set_property(&v->pci.dev, "requested-size", value, NULL) == right);
    json_object_put(value);
    if (right) {
        requested = size;
        usable = usable || size;
    }
}

static void reset(void)
{
    devices_pause(board->devices);
    bus_lock(board->bus);
    devices_reset(board->devices);
    bus_unlock(board->bus);
    devices_resume(board->devices);
    set_blocks(0, BLOCKS, false);
    usable = requested;
    fail_unless(vb_start(board, v, v->features, 1));
}

static void op_reset(struct input *in)
{
    reset();
}

static void (*const operations[])(struct input *in) = {
    op_request, op_wild_request, op_odd_chain, op_convert, op_resize, op_reset,
};

/* --- One run --- */

static void check(void)
{
    struct memory_device_info info;

    v->pci.dev.type->memory(&v->pci.dev, &info);
    fail_unless(info.size == plugged_size() && info.requested_size == requested);
    for (unsigned first = 0, end; first < PAGES; first = end) {
        bool there = shared[first] && plugged[first / PAGES_OF_BLOCK];

        for (end = first; end < PAGES && there == (shared[end] && plugged[end / PAGES_OF_BLOCK]);
             end++)
            fail_unless(held[end] == there);
        if (there)
            fail_unless(ram_block_is_populated(block, first * PAGE, (end - first) * PAGE));
        else
            fail_unless(!ram_block_is_populated(block, first * PAGE, PAGE) &&
                        !ram_block_is_populated(block, (end - 1) * PAGE, PAGE));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    static const uint8_t eight[] = { 8, 0 };

    if (!board)
        make_board();
    reset();
    fail_unless(memory_convert(board->mem, BASE, PAGES * PAGE, true, NULL) == 0);
    memset(shared, 0, sizeof(shared));
    op_resize(&(struct input){ eight, sizeof(eight) });
    for (unsigned i = 0; i < MAX_OPERATIONS && in.size; i++) {
        operations[take(&in, 1) % G_N_ELEMENTS(operations)](&in);
        check();
    }
    return 0;
}

/* Plug, convert across an edge, unplug, plug what is plugged, resize, ask, unplug all. */
static const uint8_t seed_requests[] = {
    0, 0, 2, 3, 3, 0, 2, 0, 3, 0, 0, 1, 3, 1, 0, 0, 2, 1, 3, 0x80, 2, 0, 2, 1,
    4, 16, 0, 0, 0, 5, 10, 0, 3, 0, 16, 0, 2, 0, 0, 4, 0, 0, 0, 0, 0, 1,
};
static const uint8_t seed_wild[] = {
    1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 1, 0, 0, 0, 0x10, 0, 1, 0, 0, 0, 1, 0,
    1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 24, 10, 2, 3, 3,
    3, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 8, 5, 4, 3, 3,
};

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    if (n == 0)
        *size = sizeof(seed_requests);
    else if (n == 1)
        *size = sizeof(seed_wild);
    return n == 0 ? seed_requests : n == 1 ? seed_wild : NULL;
}
