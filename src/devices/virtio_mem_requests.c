/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The memory device's requests (virtio 1.2, 5.15.6): blocks come and go. */
#include "virtio_mem.h"

#include "trace.h"

#include <inttypes.h>
#include <linux/virtio_mem.h>

/* How much more than what is requested the driver may use: two of Linux's memory blocks. */
#define USABLE_EXTENT   (256 * MIB)

/* --- What the driver is told. Machine lock held. --- */

void virtio_mem_update_config(struct virtio_mem *vm)
{
    struct virtio_mem_config config = {
        .block_size = GUINT64_TO_LE(vm->block_size), .node_id = GUINT16_TO_LE(vm->node),
        .addr = GUINT64_TO_LE(vm->memaddr), .region_size = GUINT64_TO_LE(vm->region_size),
        .usable_region_size = GUINT64_TO_LE(vm->usable_size),
        .plugged_size = GUINT64_TO_LE(vm->size),
        .requested_size = GUINT64_TO_LE(vm->requested_size),
    };

    _Static_assert(sizeof(config) <= VIRTIO_CONFIG_SIZE, "the configuration fits");
    memcpy(vm->v.config, &config, sizeof(config));
}

void virtio_mem_resize_usable(struct virtio_mem *vm, bool may_shrink)
{
    uint64_t size = vm->requested_size;

    if (size)
        size = MIN(vm->region_size, (size + USABLE_EXTENT + vm->block_size - 1) &
                                    ~(vm->block_size - 1));
    if (size > vm->usable_size || may_shrink)
        vm->usable_size = size;
}

void virtio_mem_set_size(struct virtio_mem *vm, uint64_t size, bool all)
{
    const struct device_host *host = devices_host(vm->v.pci.dev.all);
    bool changed = size != vm->size;

    vm->size = size;
    if (all && !size)
        virtio_mem_resize_usable(vm, true);
    virtio_mem_update_config(vm);
    if (changed && host->size_changed)
        host->size_changed(host->opaque, vm->v.pci.dev.id, vm->path, size);
}

static void set_size_locking(struct virtio_mem *vm, uint64_t size, bool all)
{
    bus_lock(vm->v.bus);
    virtio_mem_set_size(vm, size, all);
    bus_unlock(vm->v.bus);
}

/* --- Blocks come and go: 0, or -errno with nothing changed --- */

static int plug(struct virtio_mem *vm, uint64_t offset, uint64_t size)
{
    int ret = ram_block_discard_range(vm->block, offset, size);

    if (!ret && vm->prealloc)
        ret = ram_block_populate(vm->block, offset, size);
    if (!ret)
        ret = ram_discard_plug(vm->source, offset, size);
    if (ret)
        ram_block_discard_range(vm->block, offset, size);
    return ret;
}

/* What can't be freed stays plugged, unless a listener doesn't take it back. */
static int unplug(struct virtio_mem *vm, uint64_t offset, uint64_t size)
{
    int ret = ram_discard_unplug(vm->source, offset, size);

    if (ret)
        return ret;
    ret = ram_block_discard_range(vm->block, offset, size);
    if (ret && ram_discard_plug(vm->source, offset, size) != 0)
        ret = 0;
    return ret;
}

uint64_t virtio_mem_unplug_all(struct virtio_mem *vm)
{
    uint64_t left = vm->size, offset = 0, size;

    for (; left && ram_discard_source_run(vm->source, &offset, &size); offset += size) {
        if (unplug(vm, offset, size) == 0)
            left -= size;
    }
    return left;
}

/* --- Requests: the type of the response (5.15.6) --- */

/* Where the blocks of a request are. False: not within the usable region. */
static bool find_range(const struct virtio_mem *vm, uint64_t addr, uint16_t blocks,
                       uint64_t *offset, uint64_t *size)
{
    uint64_t usable;

    bus_lock(vm->v.bus);
    usable = vm->usable_size;
    bus_unlock(vm->v.bus);
    addr = GUINT64_FROM_LE(addr);
    blocks = GUINT16_FROM_LE(blocks);
    if (!blocks || addr < vm->memaddr || !is_aligned(addr - vm->memaddr, vm->block_size) ||
        blocks > usable / vm->block_size)
        return false;
    *offset = addr - vm->memaddr;
    *size = blocks * vm->block_size;
    return range_within(*offset, *size, usable);
}

static uint16_t serve_plug(struct virtio_mem *vm, const struct virtio_mem_req *req,
                           struct virtio_mem_resp *resp)
{
    uint64_t offset, size, requested;

    if (!find_range(vm, req->u.plug.addr, req->u.plug.nb_blocks, &offset, &size) ||
        !ram_discard_source_lacks(vm->source, offset, size))
        return VIRTIO_MEM_RESP_ERROR;
    bus_lock(vm->v.bus);
    requested = vm->requested_size;
    bus_unlock(vm->v.bus);
    if (vm->size + size > requested)
        return VIRTIO_MEM_RESP_NACK;
    if (plug(vm, offset, size) != 0)
        return VIRTIO_MEM_RESP_BUSY;
    set_size_locking(vm, vm->size + size, false);
    return VIRTIO_MEM_RESP_ACK;
}

static uint16_t serve_unplug(struct virtio_mem *vm, const struct virtio_mem_req *req,
                             struct virtio_mem_resp *resp)
{
    uint64_t offset, size;

    if (!find_range(vm, req->u.unplug.addr, req->u.unplug.nb_blocks, &offset, &size) ||
        !ram_discard_source_has(vm->source, offset, size))
        return VIRTIO_MEM_RESP_ERROR;
    if (unplug(vm, offset, size) != 0)
        return VIRTIO_MEM_RESP_BUSY;
    set_size_locking(vm, vm->size - size, false);
    return VIRTIO_MEM_RESP_ACK;
}

static uint16_t serve_unplug_all(struct virtio_mem *vm, const struct virtio_mem_req *req,
                                 struct virtio_mem_resp *resp)
{
    uint64_t left = virtio_mem_unplug_all(vm);

    set_size_locking(vm, left, true);
    return left ? VIRTIO_MEM_RESP_BUSY : VIRTIO_MEM_RESP_ACK;
}

static uint16_t serve_state(struct virtio_mem *vm, const struct virtio_mem_req *req,
                            struct virtio_mem_resp *resp)
{
    uint16_t state = VIRTIO_MEM_STATE_MIXED;
    uint64_t offset, size;

    if (!find_range(vm, req->u.state.addr, req->u.state.nb_blocks, &offset, &size))
        return VIRTIO_MEM_RESP_ERROR;
    if (ram_discard_source_has(vm->source, offset, size))
        state = VIRTIO_MEM_STATE_PLUGGED;
    else if (ram_discard_source_lacks(vm->source, offset, size))
        state = VIRTIO_MEM_STATE_UNPLUGGED;
    resp->u.state.state = GUINT16_TO_LE(state);
    return VIRTIO_MEM_RESP_ACK;
}

static const struct {
    const char *name;
    uint16_t (*serve)(struct virtio_mem *vm, const struct virtio_mem_req *req,
                      struct virtio_mem_resp *resp);
} kinds[] = {
    [VIRTIO_MEM_REQ_PLUG] = { "plug", serve_plug },
    [VIRTIO_MEM_REQ_UNPLUG] = { "unplug", serve_unplug },
    [VIRTIO_MEM_REQ_UNPLUG_ALL] = { "unplug-all", serve_unplug_all },
    [VIRTIO_MEM_REQ_STATE] = { "state", serve_state },
};

static uint32_t handle(struct virtio *v, struct virtio_request *request)
{
    struct virtio_mem *vm = to_virtio_mem(v);
    struct virtio_mem_resp resp = { 0 };
    struct virtio_mem_req req = { 0 };
    uint16_t type, answer = VIRTIO_MEM_RESP_ERROR;

    /* Without room for the answer nothing is done: the driver wouldn't know. */
    if (request->in_size < sizeof(resp))
        return 0;
    if (!virtio_read(v, request, 0, &req, sizeof(req)))
        return 0;
    type = GUINT16_FROM_LE(req.type);
    if (type < G_N_ELEMENTS(kinds))
        answer = kinds[type].serve(vm, &req, &resp);
    trace(TRACE_VIRTIO_MEM_REQUEST, "\"%s\": %s 0x%" PRIx64 " blocks=%u: %u",
          v->pci.dev.id ? v->pci.dev.id : "", type < G_N_ELEMENTS(kinds) ? kinds[type].name : "?",
          GUINT64_FROM_LE(req.u.plug.addr), GUINT16_FROM_LE(req.u.plug.nb_blocks), answer);
    resp.type = GUINT16_TO_LE(answer);
    return virtio_write(v, request, 0, &resp, sizeof(resp)) ? sizeof(resp) : 0;
}

static void work(struct virtio *v)
{
    while (virtio_serve(v, 0, handle))
        ;
}

const struct virtio_class virtio_mem_class = {
    .name = "virtio-mem", .id = VIRTIO_ID_MEM, .pci_class = 0x00ff,
    .config_size = sizeof(struct virtio_mem_config), .work = work,
};
