/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile driver of each virtio device: the input's first byte chooses the device,
 * the rest is a program of accesses to registers, configuration space, rings and
 * buffers.  It must neither crash nor hang, and reach no byte outside the RAM's shared pages.
 */
#include "fuzz.h"
#include "virtio_board.h"

#include "chardev.h"
#include "disk.h"

#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISK_SIZE = 64 * 1024, MAX_OPERATIONS = 48, SECRET = 0xa5 };

static const char *const options[] = {
    "virtio-rng-pci,addr=1",
    "virtio-blk-pci,addr=2,drive=d0",
    "virtio-blk-pci,addr=3,drive=d1",
    "virtio-serial-pci,addr=4,max_ports=3,id=s0",
};

static struct virtio_board *board;
static struct virtio *devices[G_N_ELEMENTS(options)];

static void add_disk(const char *id, const char *more)
{
    int fd = memfd_create(id, MFD_CLOEXEC);
    g_autofree char *option = g_strdup_printf(
        "file=/proc/self/fd/%d,format=raw,if=none,id=%s%s", fd, id, more);

    if (fd < 0 || ftruncate(fd, DISK_SIZE) < 0 || !disk_add_drive(option, NULL, NULL))
        abort();
    close(fd);
}

static void make_board(void)
{
    board = virtio_board_new();
    add_disk("d0", "");
    add_disk("d1", ",readonly=on");
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        devices[i] = virtio_board_add(board, options[i]);
        if (!devices[i])
            abort();
    }
    if (!chardev_new_option("null,id=c0", NULL) ||
        !device_add_option(board->devices, "virtconsole,chardev=c0", false, NULL) ||
        !device_add_option(board->devices, "virtserialport,name=n", false, NULL))
        abort();
}

/* --- Operations --- */

static unsigned take_size(struct input *in)
{
    return 1u << take(in, 1) % 3;
}

static void op_register_write(struct virtio *v, struct input *in)
{
    unsigned size = take_size(in), offset = take(in, 2) % 0x4000;

    vb_store(board, vb_register(v, offset), size, take(in, size));
}

static void op_common_write(struct virtio *v, struct input *in)
{
    unsigned size = take_size(in), offset = take(in, 1) % 64;

    vb_store(board, vb_register(v, offset), size, take(in, size));
}

static void op_register_read(struct virtio *v, struct input *in)
{
    unsigned size = take_size(in);

    vb_load(board, vb_register(v, take(in, 2) % 0x4000), size);
}

/* BARs stay where they are: what the next operations need is there. */
static void op_config(struct virtio *v, struct input *in)
{
    unsigned size = take_size(in), offset = take(in, 1);
    uint64_t value = take(in, size);

    if (offset >= PCI_HEADER_SIZE || offset + size <= PCI_BAR0)
        vb_store(board, vb_config_address(v, offset), size, value);
    vb_load(board, vb_config_address(v, offset), size);
}

static void op_msix(struct virtio *v, struct input *in)
{
    vb_store(board, v->pci.function.bars[1].address + take(in, 2) % 4096, 4, take(in, 4));
}

/* The device may be looking. */
static void poke(uint64_t gpa, uint8_t value)
{
    __atomic_store_n(&board->ram[gpa], value, __ATOMIC_RELAXED);
}

static void op_ram(struct virtio *v, struct input *in)
{
    uint64_t gpa = take(in, 3) % VB_RAM;
    unsigned size = take(in, 1) % 16;

    for (unsigned i = 0; i < size; i++)
        poke((gpa + i) % VB_RAM, take(in, 1));
}

static void op_private(struct virtio *v, struct input *in)
{
    unsigned page = take(in, 1) % (VB_RAM / VB_PAGE);
    bool private_ = take(in, 1) & 1;

    /* The worker may be in the middle of it. */
    devices_pause(board->devices);
    __atomic_store_n(&board->private_page[page], private_, __ATOMIC_RELAXED);
    memset(board->ram + page * VB_PAGE, private_ ? SECRET : 0, VB_PAGE);
    devices_resume(board->devices);
}

static void op_start(struct virtio *v, struct input *in)
{
    uint64_t features = take(in, 4);

    vb_start(board, v, features & v->features, 1 + take(in, 1) % 4);
}

static void op_descriptor(struct virtio *v, struct input *in)
{
    unsigned queue = take(in, 1) % 4, index = take(in, 1) % VB_RING_SIZE;
    uint64_t gpa = take(in, 3) << (take(in, 1) & 1 ? 20 : 0);
    uint32_t size = take(in, 3);
    uint16_t flags = take(in, 1);

    vb_descriptor(board, queue, index, gpa, size, flags, take(in, 1));
}

static void op_submit(struct virtio *v, struct input *in)
{
    unsigned queue = take(in, 1) % 4;

    vb_submit(board, v, queue, take(in, 1));
}

static void op_blk_header(struct virtio *v, struct input *in)
{
    uint64_t gpa = VB_DATA + take(in, 1) * 16, sector;
    uint32_t type = take(in, 1);

    sector = take(in, 2);
    for (unsigned i = 0; i < 8; i++) {
        poke(gpa + i, (uint64_t)type >> 8 * i);
        poke(gpa + 8 + i, sector >> 8 * i);
    }
}

static void op_pause(struct virtio *v, struct input *in)
{
    devices_pause(board->devices);
    if (take(in, 1) & 1) {
        bus_lock(board->bus);
        devices_reset(board->devices);
        bus_unlock(board->bus);
    }
    devices_resume(board->devices);
}

static void (*const operations[])(struct virtio *v, struct input *in) = {
    op_register_write, op_common_write, op_register_read, op_config, op_msix, op_ram, op_private,
    op_start, op_descriptor, op_submit, op_blk_header, op_pause,
};

/* --- One run --- */

static void check_private_pages(void)
{
    for (unsigned page = 0; page < VB_RAM / VB_PAGE; page++) {
        for (unsigned i = 0; board->private_page[page] && i < VB_PAGE; i++) {
            if (board->ram[page * VB_PAGE + i] != SECRET)
                abort();
        }
    }
}

static void start_over(struct virtio *v)
{
    devices_pause(board->devices);
    memset(board->ram, 0, VB_RAM);
    memset(board->private_page, 0, sizeof(board->private_page));
    bus_lock(board->bus);
    devices_reset(board->devices);
    bus_unlock(board->bus);
    devices_resume(board->devices);
    vb_store(board, vb_config_address(v, PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = { data, size };
    struct virtio *v;

    if (!board)
        make_board();
    v = devices[take(&in, 1) % G_N_ELEMENTS(devices)];
    start_over(v);
    for (unsigned i = 0; i < MAX_OPERATIONS && in.size; i++) {
        unsigned n = take(&in, 1) % G_N_ELEMENTS(operations);

        operations[n](v, &in);
        /* What the driver itself writes into a private page is its own affair. */
        if (operations[n] == op_ram || operations[n] == op_descriptor ||
            operations[n] == op_submit || operations[n] == op_start ||
            operations[n] == op_blk_header) {
            for (unsigned page = 0; page < VB_RAM / VB_PAGE; page++) {
                if (board->private_page[page])
                    memset(board->ram + page * VB_PAGE, SECRET, VB_PAGE);
            }
        }
    }
    devices_pause(board->devices);
    check_private_pages();
    devices_resume(board->devices);
    return 0;
}

/* Device, start, a header at VB_DATA, three descriptors, submit; then once more with something else. */
static const uint8_t seed_blk[] = {
    1, 7, 0, 0, 0, 0x10, 0, 10, 0, 0, 0, 0,
    8, 0, 0, 0x00, 0x00, 0x02, 0, 16, 0, 0, 1, 1,
    8, 0, 1, 0x00, 0x10, 0x02, 0, 0, 2, 0, 3, 2,
    8, 0, 2, 0x00, 0x20, 0x02, 0, 1, 0, 0, 2, 0, 9, 0, 0,
    10, 0, 1, 5, 0, 8, 0, 1, 0x00, 0x10, 0x02, 0, 0, 2, 0, 1, 2, 9, 0, 0,
    6, 0x21, 1, 9, 0, 0, 6, 0x22, 1, 9, 0, 0, 11, 1, 7, 0, 0, 0, 0, 0, 9, 0, 0,
};
static const uint8_t seed_rng[] = {
    0, 4, 16, 0, 0, 0, 0xe0, 0xfe, 4, 24, 0, 0x41, 0, 0, 0, 4, 28, 0, 0, 0, 0, 0,
    7, 0, 0, 0, 0x30, 0, 1, 1, 22, 0, 0, 1, 1, 26, 1, 0,
    8, 0, 0, 0x00, 0x00, 0x02, 0, 100, 0, 0, 3, 1, 8, 0, 1, 0x00, 0x10, 0x02, 0, 50, 0, 0, 2, 0,
    9, 0, 0, 5, 0, 0x90, 0, 8, 0, 0, 2, 0, 0, 0, 0, 0, 9, 0, 0, 8, 0, 0, 0, 0, 2, 0, 32, 0, 0, 4, 0,
    9, 0, 0, 3, 2, 0x50, 1, 2, 3, 4, 2, 0, 0, 0x10, 11, 0, 9, 0, 0,
};

/* MULTIPORT and four queues; DEVICE_READY, a buffer for the answers, data out of port 0. */
static const uint8_t seed_serial[] = {
    3, 7, 2, 0, 0, 0x10, 3,
    8, 2, 0, 0x00, 0x00, 0x02, 0, 64, 0, 0, 2, 0, 8, 2, 1, 0x00, 0x01, 0x02, 0, 64, 0, 0, 2, 0,
    9, 2, 0, 9, 2, 1, 5, 0x00, 0x10, 0x02, 8, 0, 0, 0, 0, 0, 0, 1, 0,
    8, 3, 0, 0x00, 0x10, 0x02, 0, 8, 0, 0, 0, 0, 9, 3, 0,
    5, 0x00, 0x10, 0x02, 8, 0, 0, 0, 0, 3, 0, 1, 0, 9, 3, 0, 9, 2, 0,
    5, 0x00, 0x10, 0x02, 8, 0, 0, 0, 0, 6, 0, 1, 0, 9, 3, 0,
    8, 1, 0, 0x00, 0x20, 0x02, 0, 0, 1, 0, 0, 0, 9, 1, 0,
};

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    static uint8_t copy[sizeof(seed_blk)];

    switch (n) {
    case 0:
        *size = sizeof(seed_blk);
        return seed_blk;
    case 1:
        *size = sizeof(seed_rng);
        return seed_rng;
    case 2:                     /* the read-only disk */
        memcpy(copy, seed_blk, sizeof(copy));
        copy[0] = 2;
        *size = sizeof(copy);
        return copy;
    case 3:
        *size = sizeof(seed_serial);
        return seed_serial;
    }
    return NULL;
}
