/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See virtio_board.h. */
#include "virtio_board.h"

#include <linux/virtio_pci.h>
#include <stdio.h>
#include <string.h>

#define ECAM 0xb0000000ULL
#define BAR1(slot_) (0xc0000000ULL + (slot_) * 0x1000)
#define BAR4(slot_) (0x800000000ULL + (slot_) * 0x4000)

/* --- The board --- */

static void message(void *opaque, uint64_t address, uint32_t data)
{
    struct virtio_board *board = opaque;

    board->messages++;
    board->last_data = data;
}

static void nothing(void *opaque)
{
}

struct virtio_board *virtio_board_new(void)
{
    struct virtio_board *board = g_new0(struct virtio_board, 1);
    struct power_ops power = { .shutdown = nothing, .reset = nothing };
    struct pci_wires wires = { .msi = message, .opaque = board };
    struct device_host host = { 0 };

    vb_memory_new(board, &host);
    host.bus = board->bus = bus_new();
    host.pci = board->pci = pci_bus_new(board->bus, ECAM, &power);
    pci_bus_wire(board->pci, &wires);
    board->devices = devices_new(&host);
    return board;
}

void virtio_board_free(struct virtio_board *board)
{
    devices_free(board->devices);
    pci_bus_free(board->pci);
    bus_free(board->bus);
    vb_memory_free(board);
    g_free(board);
}

uint64_t vb_config_address(const struct virtio *v, unsigned offset)
{
    return ECAM + ((uint64_t)v->pci.function.devfn << 12) + offset;
}

uint64_t vb_load(struct virtio_board *board, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    bus_lock(board->bus);
    bus_mmio(board->bus, gpa, &value, size, false);
    bus_unlock(board->bus);
    return value;
}

void vb_store(struct virtio_board *board, uint64_t gpa, unsigned size, uint64_t value)
{
    bus_lock(board->bus);
    bus_mmio(board->bus, gpa, &value, size, true);
    bus_unlock(board->bus);
}

uint64_t vb_register(const struct virtio *v, unsigned offset)
{
    return BAR4(v->pci.function.devfn >> 3) + offset;
}

struct virtio *virtio_board_add(struct virtio_board *board, const char *option)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) list = NULL;
    struct virtio *v;
    unsigned slot;

    if (!device_add_option(board->devices, option, false, &error)) {
        fprintf(stderr, "%s: %s\n", option, error->message);
        return NULL;
    }
    list = devices_list(board->devices);
    v = to_virtio(g_ptr_array_index(list, list->len - 1));
    slot = v->pci.function.devfn >> 3;
    vb_store(board, vb_config_address(v, PCI_BAR0 + 4), 4, BAR1(slot));
    vb_store(board, vb_config_address(v, PCI_BAR0 + 16), 4, (uint32_t)BAR4(slot));
    vb_store(board, vb_config_address(v, PCI_BAR0 + 20), 4, BAR4(slot) >> 32);
    vb_store(board, vb_config_address(v, PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    return v;
}

/*
 * A round that began after the first kick has seen all that was done before it: the
 * first one that ends may have begun earlier, the second hasn't.
 */
void vb_settle(struct virtio *v)
{
    for (int i = 0; i < 2; i++) {
        uint64_t before = __atomic_load_n(&v->rounds, __ATOMIC_ACQUIRE);

        virtio_kick(v);
        while (__atomic_load_n(&v->rounds, __ATOMIC_ACQUIRE) == before)
            g_thread_yield();
    }
}

/* --- A driver --- */

static void common_write(struct virtio_board *board, struct virtio *v, unsigned offset,
                         unsigned size, uint64_t value)
{
    vb_store(board, vb_register(v, VB_COMMON + offset), size, value);
}

uint64_t vb_ring(unsigned queue)
{
    return VB_RING + queue * VB_PAGE;
}

uint8_t vb_status(struct virtio_board *board, struct virtio *v)
{
    return vb_load(board, vb_register(v, VIRTIO_PCI_COMMON_STATUS), 1);
}

static void start_queue(struct virtio_board *board, struct virtio *v, unsigned queue)
{
    const unsigned offsets[] = {
        VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_PCI_COMMON_Q_USEDLO,
    };
    uint64_t ring = vb_ring(queue);
    const uint64_t addresses[] = { ring, ring + VB_AVAILABLE, ring + VB_USED };

    memset(board->ram + ring, 0, VB_PAGE);
    common_write(board, v, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
    common_write(board, v, VIRTIO_PCI_COMMON_Q_SIZE, 2, VB_RING_SIZE);
    for (int i = 0; i < 3; i++) {
        common_write(board, v, offsets[i], 4, (uint32_t)addresses[i]);
        common_write(board, v, offsets[i] + 4, 4, addresses[i] >> 32);
    }
    common_write(board, v, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

bool vb_start(struct virtio_board *board, struct virtio *v, uint64_t features, unsigned queues)
{
    uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, now;

    common_write(board, v, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    while ((now = vb_status(board, v))) {
        if (now == 0xff)
            return false;       /* nothing is mapped there */
        g_thread_yield();
    }
    vb_settle(v);
    common_write(board, v, VIRTIO_PCI_COMMON_STATUS, 1, status);
    features |= 1ull << VIRTIO_F_VERSION_1;
    for (unsigned half = 0; half < 2; half++) {
        common_write(board, v, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
        common_write(board, v, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * half));
    }
    status |= VIRTIO_CONFIG_S_FEATURES_OK;
    common_write(board, v, VIRTIO_PCI_COMMON_STATUS, 1, status);
    if (!(vb_status(board, v) & VIRTIO_CONFIG_S_FEATURES_OK))
        return false;
    for (unsigned i = 0; i < queues; i++)
        start_queue(board, v, i);
    common_write(board, v, VIRTIO_PCI_COMMON_STATUS, 1, status | VIRTIO_CONFIG_S_DRIVER_OK);
    vb_settle(v);
    return true;
}

static void put(struct virtio_board *board, uint64_t gpa, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size && gpa + i < VB_RAM; i++)
        __atomic_store_n(&board->ram[gpa + i], (uint8_t)(value >> 8 * i), __ATOMIC_RELAXED);
}

void vb_descriptor(struct virtio_board *board, unsigned queue, unsigned index, uint64_t gpa,
                   uint32_t size, uint16_t flags, uint16_t next)
{
    uint64_t at = vb_ring(queue) + 16ull * index;

    put(board, at, gpa, 8);
    put(board, at + 8, size, 4);
    put(board, at + 12, flags, 2);
    put(board, at + 14, next, 2);
}

static uint16_t get16(struct virtio_board *board, uint64_t gpa)
{
    return __atomic_load_n(&board->ram[gpa], __ATOMIC_RELAXED) |
           __atomic_load_n(&board->ram[gpa + 1], __ATOMIC_RELAXED) << 8;
}

void vb_submit(struct virtio_board *board, struct virtio *v, unsigned queue, uint16_t head)
{
    uint64_t available = vb_ring(queue) + VB_AVAILABLE;
    uint16_t index = get16(board, available + 2);

    put(board, available + 4 + 2 * (index % VB_RING_SIZE), head, 2);
    put(board, available + 2, index + 1u, 2);
    vb_store(board, vb_register(v, VB_NOTIFY + 4 * queue), 2, queue);
    vb_settle(v);
}

uint16_t vb_used(struct virtio_board *board, unsigned queue, uint32_t *length)
{
    uint64_t used = vb_ring(queue) + VB_USED;
    uint16_t index = get16(board, used + 2);

    if (length) {
        uint64_t entry = used + 4 + 8 * ((index - 1u) % VB_RING_SIZE) + 4;

        *length = get16(board, entry) | (uint32_t)get16(board, entry + 2) << 16;
    }
    return index;
}
