/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile guest on the q35 board: any access to any of its ports, to configuration
 * space and MMIO, to flash memory, commands of fw_cfg's DMA at any address, while devices come
 * and go, the lines' other ends send and refuse, and the board is reset.  Beside not crashing: fw_cfg
 * gives what is in its items; what is seen below 1 MiB, in SMRAM and TSEG is what a
 * reading of the bridge's registers of our own says; a reset leaves no interrupt line high.
 */
#include "fuzz.h"

#include "debug_memory.h"
#include "debugcon.h"
#include "fake_kvm.h"
#include "layout.h"
#include "memory_internal.h"
#include "pflash.h"
#include "q35.h"
#include "virtio_devices.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM (16 * MIB)
#define FLASH_AT (4 * GIB - BIOS - FLASH)

enum {
    MAX_OPERATIONS = 64, MAX_IO = 8, LINES = 24, PIECES = 13, SLOT = 5,
    BIOS = 256 * KIB, COMMAND_AT = 0x1000, COMPARE_MAX = 64 * KIB,
    FLASH = 64 * KIB,
    BRIDGE_PAM = 0x90, BRIDGE_SMRAM = 0x9d, BRIDGE_ESMRAMC = 0x9e, BRIDGE_LAST = 0x9f,
};

static struct kvm_vm *vm;
static struct memory *mem;
static struct ram_block *ram, *bios;
static struct q35 *board;
static struct devices *devices;
static struct ram_block *flash_block;
static struct pflash *flash;
static int flash_fd;
static bool line_high[LINES];
static bool smram_locked;       /* with these values, until the next reset */
static uint8_t locked_smram, locked_esmramc;

/* --- The outside: character devices that take what the input says --- */

struct chardev {
    const struct chardev_front *front;
    void *opaque;
};

static struct chardev serial_line, debug_line;
static size_t line_room;

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

struct chardev *chardev_find(const char *id)
{
    return &debug_line;
}

size_t chardev_write(struct chardev *chr, void *front, const void *data, size_t size)
{
    size = MIN(size, line_room);
    line_room -= size;
    return size;
}

void chardev_accept_input(struct chardev *chr)
{
}

/* --- The board --- */

static int driver_ioctl(int fd, unsigned long request, unsigned long arg)
{
    const struct kvm_irq_level *line = (const void *)arg;

    if (request != KVM_IRQ_LINE)
        return fake_driver.ioctl(fd, request, arg);
    fail_unless(line->irq < LINES && line->level <= 1 && line_high[line->irq] != line->level);
    line_high[line->irq] = line->level;
    return 0;
}

static void ignore(void *opaque)
{
}

/* Key, and what is there. */
static struct {
    uint16_t key;
    const void *data;
    uint32_t size;
} items[] = {
    { FW_CFG_SIGNATURE, "QEMU", 4 }, { FW_CFG_ID, "\3\0\0", 4 }, { 0x50, "", 0 },
    { 0x51, "\x5a", 1 }, { 0x52, NULL, 5000 }, { FW_CFG_FILE_FIRST, "0123456789", 10 },
    { 0x3abc, "", 0 },          /* not there */
};

static void add_items(struct fw_cfg *fw)
{
    uint8_t *large = g_malloc(items[4].size);

    for (uint32_t i = 0; i < items[4].size; i++)
        large[i] = i % 251 + 1;
    items[4].data = large;
    for (unsigned i = 2; i < 5; i++)
        fw_cfg_add(fw, items[i].key, items[i].data, items[i].size);
    fail_unless(fw_cfg_add_file(fw, "opt/a", items[5].data, items[5].size, NULL));
}

static void make_memory(void)
{
    static struct kvm_driver driver;
    const struct kvm_needs needs = { .vm_type = KVM_X86_DEFAULT_VM };

    driver = fake_driver;
    driver.ioctl = driver_ioctl;
    fake_reset(KVM_ATTRIBUTES_NONE);
    fake_set_cap(KVM_CAP_X86_SMM, 1);
    fake_set_cap(KVM_CAP_MULTI_ADDRESS_SPACE, 2);
    fail_unless(kvm_vm_new(&driver, &needs, &vm) == 0);
    mem = memory_new(vm);
    fail_unless(memory_enable_smm(mem));
    ram = ram_block_new_internal(mem, "pc.ram", RAM, false, NULL);
    bios = ram_block_new_internal(mem, "pc.bios", BIOS, true, NULL);
    fail_unless(memory_map(mem, ram, 0, 0, LAYOUT_VGA, NULL) &&
                memory_map(mem, ram, MIB, MIB, RAM - MIB, NULL) &&
                memory_map_readonly(mem, bios, 0, 4 * GIB - BIOS, BIOS, NULL));
}

static void make_flash(void)
{
    g_autofree char *option = NULL;

    flash_fd = memfd_create("flash", MFD_CLOEXEC);
    option = g_strdup_printf("driver=file,node-name=f,filename=/proc/self/fd/%d", flash_fd);
    flash_block = ram_block_new_internal(mem, "system.flash1", FLASH, true, NULL);
    fail_unless(ftruncate(flash_fd, FLASH) == 0 && disk_add_option(option, NULL) &&
                memory_map_readonly(mem, flash_block, 0, FLASH_AT, FLASH, NULL));
    flash = pflash_new(q35_bus(board), mem, flash_block, FLASH_AT, disk_find("f"), NULL);
    fail_unless(flash);
}

static void make_board(void)
{
    const struct power_ops power = { .shutdown = ignore, .reset = ignore };
    struct device_host host = { .mem = mem };

    device_type_register(&virtio_rng_type);
    device_type_register(&debugcon_type);
    make_memory();
    board = q35_new(mem, false, &power, 1);
    devices = q35_make_devices(board, &host);
    add_items(q35_fw_cfg(board));
    make_flash();
    q35_use_firmware(board, pam_new(mem, ram, bios), smram_new(mem, ram, RAM));
    fail_unless(q35_connect_serial(board, 0, &serial_line, NULL) &&
                device_add_option(devices, "isa-debugcon,chardev=c", false, NULL));
}

/* --- Accesses --- */

static void port_io(uint16_t port, void *data, unsigned size, bool write)
{
    bus_lock(q35_bus(board));
    bus_pio(q35_bus(board), port, data, size, write);
    bus_unlock(q35_bus(board));
}

static void mmio(uint64_t gpa, void *data, unsigned size, bool write)
{
    bus_lock(q35_bus(board));
    bus_mmio(q35_bus(board), gpa, data, size, write);
    bus_unlock(q35_bus(board));
}

static void out(uint16_t port, uint32_t value, unsigned size)
{
    port_io(port, &value, size, true);
}

static uint32_t in(uint16_t port, unsigned size)
{
    uint32_t value = 0;

    port_io(port, &value, size, false);
    return value;
}

static uint8_t bridge(unsigned offset)
{
    uint8_t value;

    mmio(LAYOUT_ECAM + offset, &value, 1, false);
    return value;
}

/* --- What is seen where --- */

static void check_piece(uint64_t gpa, uint64_t size, unsigned bits)
{
    struct memory_piece piece = memory_look(mem, gpa, size);
    struct ram_block *expected = bits & 1 ? ram : gpa >= 0xe0000 ? bios : NULL;

    fail_unless(piece.block == expected);
    if (!expected)
        return;
    fail_unless(piece.size == size);
    fail_unless(piece.offset == (expected == ram ? gpa : BIOS - MIB + gpa));
    fail_unless(memory_write(mem, gpa, "", 1, NULL) == (bits == 3));
}

static void check_pam(void)
{
    check_piece(0xf0000, 0x10000, bridge(BRIDGE_PAM) >> 4 & 3);
    for (unsigned i = 0; i < PIECES - 1; i++)
        check_piece(0xc0000 + i * 0x4000, 0x4000,
                    bridge(BRIDGE_PAM + 1 + i / 2) >> (i % 2 ? 4 : 0) & 3);
}

static bool seen(uint64_t gpa)
{
    return memory_look(mem, gpa, 1).block == ram;
}

/* SMM's own part: as many ranges as there should be, at those places. */
static void check_smm(uint64_t segment, uint64_t tseg)
{
    unsigned found = 0;

    for (guint i = 0; i < mem->smm_mappings->len; i++) {
        const struct mapping *map = &g_array_index(mem->smm_mappings, struct mapping, i);

        if (map->gpa == segment)
            found += map->offset == LAYOUT_VGA && map->size == 128 * KIB;
        else
            found += map->gpa == RAM - tseg && map->offset == map->gpa && map->size == tseg;
    }
    fail_unless(found == mem->smm_mappings->len && found == (segment ? 1u : 0) + (tseg ? 1u : 0));
}

static void check_smram(void)
{
    static const uint64_t sizes[] = { MIB, 2 * MIB, 8 * MIB, 0 };
    uint8_t reg = bridge(BRIDGE_SMRAM), esmramc = bridge(BRIDGE_ESMRAMC);
    bool on = reg & 0x08, open = on && (reg & 0x40), high = esmramc & 0x80;
    uint64_t tseg = on && (esmramc & 1) ? sizes[esmramc >> 1 & 3] : 0;

    if (smram_locked)
        fail_unless((reg & ~0x20) == (locked_smram & ~0x20) && esmramc == locked_esmramc);
    else if (reg & 0x10)
        smram_locked = true;
    locked_smram = reg;
    locked_esmramc = esmramc;
    fail_unless(!(smram_locked && open));
    fail_unless(seen(0xa0000) == (open && !high) && seen(0xfeda0000) == (open && high));
    fail_unless(seen(RAM - 1) == !tseg && seen(RAM - tseg - 1));
    check_smm(on && !open ? high ? 0xfeda0000 : 0xa0000 : 0, tseg);
}

static void check_views(void)
{
    static uint8_t before[BRIDGE_LAST - BRIDGE_PAM];
    uint8_t now[sizeof(before)];

    for (unsigned i = 0; i < sizeof(now); i++)
        now[i] = bridge(BRIDGE_PAM + i);
    if (memcmp(now, before, sizeof(now))) {
        check_pam();
        check_smram();
    }
    memcpy(before, now, sizeof(now));
}

/* --- Ports, configuration, MMIO --- */

static const struct {
    uint16_t port, count;
} ports[] = {
    { 0x3f8, 8 }, { 0x60, 5 }, { 0x70, 2 }, { 0x92, 1 }, { 0xb2, 2 }, { 0xe9, 1 }, { 0x510, 12 },
    { 0x600, 0x80 }, { 0xae00, 12 }, { 0xcf8, 8 }, { 0, 0xffff },
};

/* The same access again and again: what fills and what counts. */
static void op_port(struct input *input)
{
    unsigned which = take(input, 1) % G_N_ELEMENTS(ports), how = take(input, 1);
    unsigned size = 1 + how % MAX_IO, times = 1 + (how >> 4);
    uint16_t port = ports[which].port + take(input, ports[which].count > 255 ? 2 : 1) %
                    ports[which].count;
    uint64_t value = take(input, MIN(size, 4)), data = value;

    for (; times; times--, data = value)
        port_io(port, &data, size, how & 8);
}

static void op_config(struct input *input)
{
    static const uint8_t functions[] = { 0, 0x1f << 3, SLOT << 3 };
    unsigned where = take(input, 1), offset = take(input, 1), size = 1u << take(input, 1) % 3;
    unsigned devfn = where < 192 ? functions[where % 3] : where;
    uint32_t value = take(input, size), read = 0, again = 0;

    offset &= ~(size - 1);
    if (where & 1)
        mmio(LAYOUT_ECAM + (devfn << 12) + offset, &value, size, true);
    out(0xcf8, 0x80000000 | devfn << 8 | (offset & 0xfc), 4);
    if (!(where & 1))
        out(0xcfc + (offset & 3), value, size);
    port_io(0xcfc + (offset & 3), &read, size, false);
    mmio(LAYOUT_ECAM + (devfn << 12) + offset, &again, size, false);
    fail_unless(read == again);
}

static void op_bridge(struct input *input)
{
    unsigned offset = BRIDGE_PAM + take(input, 1) % (BRIDGE_LAST - BRIDGE_PAM);
    uint8_t value = take(input, 1);

    mmio(LAYOUT_ECAM + offset, &value, 1, true);
}

static void op_mmio(struct input *input)
{
    unsigned how = take(input, 1), size = 1 + how % MAX_IO;
    uint64_t gpa = how & 16 ? LAYOUT_ECAM + take(input, 4) : take(input, 8);
    uint64_t value = take(input, size);

    mmio(gpa, &value, size, how & 8);
}

/* --- fw_cfg --- */

static void op_fw_cfg_read(struct input *input)
{
    unsigned which = take(input, 1) % G_N_ELEMENTS(items), count = take(input, 2) % 6000;
    const uint8_t *data = items[which].data;

    out(FW_CFG_PORT, items[which].key | (take(input, 1) & 1 ? 0x4000 : 0), 2);
    for (unsigned i = 0; i < count; i++)
        fail_unless(in(FW_CFG_PORT + 1, 1) == (i < items[which].size ? data[i] : 0));
}

struct command {
    uint32_t control, size;     /* big-endian */
    uint64_t gpa;
};

static void run_command(uint64_t at)
{
    out(FW_CFG_PORT + 4, GUINT32_TO_BE(at >> 32), 4);
    out(FW_CFG_PORT + 8, GUINT32_TO_BE((uint32_t)at), 4);
}

/* Select, skip, read to anywhere: what has come is the item from there on, then zeroes. */
static void op_dma(struct input *input)
{
    unsigned which = take(input, 1) % G_N_ELEMENTS(items);
    uint32_t skip = take(input, 2), size = take(input, 1) & 1 ? take(input, 4) : take(input, 2);
    uint64_t gpa = take(input, 1) & 1 ? take(input, 8) : take(input, 3);
    struct command select = { GUINT32_TO_BE((uint32_t)items[which].key << 16 | 8 | 4),
                              GUINT32_TO_BE(skip), 0 };
    struct command command = { GUINT32_TO_BE(2), GUINT32_TO_BE(size), GUINT64_TO_BE(gpa) };
    bool inside = gpa >= COMMAND_AT + sizeof(command) && gpa < LAYOUT_VGA &&
                  size <= LAYOUT_VGA - gpa;
    const uint8_t *data = items[which].data;

    fail_unless(memory_write(mem, COMMAND_AT, &select, sizeof(select), NULL));
    run_command(COMMAND_AT);
    fail_unless(memory_read(mem, COMMAND_AT, &select, sizeof(select), NULL) && !select.control);
    memory_write(mem, COMMAND_AT, &command, sizeof(command), NULL);
    run_command(COMMAND_AT);
    memory_read(mem, COMMAND_AT, &command, sizeof(command), NULL);
    fail_unless(!inside || !command.control);
    fail_unless(gpa < 4 * GIB || !size || command.control == GUINT32_TO_BE(1));
    for (uint32_t i = 0; inside && i < MIN(size, COMPARE_MAX); i++) {
        uint32_t from = skip + i;

        fail_unless(((uint8_t *)ram_block_host(ram))[gpa + i] ==
                    (from < items[which].size ? data[from] : 0));
    }
}

/* Anything anywhere. */
static void op_wild_dma(struct input *input)
{
    uint64_t at = take(input, 1) & 1 ? take(input, 8) : take(input, 3);
    struct command command = { take(input, 4), take(input, 4), take(input, 8) };

    memory_write(mem, at, &command, sizeof(command), NULL);
    run_command(at);
}

/* --- Flash memory: what the guest reads is what is saved, and it reads it after "read array" --- */

static void check_flash(void)
{
    static uint8_t saved[FLASH];

    fail_unless(pread(flash_fd, saved, FLASH, 0) == FLASH);
    fail_unless(memcmp(saved, ram_block_host(flash_block), FLASH) == 0);
    fail_unless(memory_look(mem, FLASH_AT, FLASH).block == flash_block);
}

static void op_flash(struct input *input)
{
    unsigned n = take(input, 1) % 16;

    for (unsigned i = 0; i < n; i++) {
        uint64_t at = FLASH_AT + take(input, 2) % FLASH, value = take(input, 1);

        mmio(at, &value, 1 + value % 4, true);
        mmio(at, &value, 4, false);
    }
    pflash_reset(flash);
    check_flash();
}

/* --- What happens to a board --- */

static void turn_main_loop(struct input *input)
{
    while (g_main_context_iteration(NULL, FALSE))
        continue;
}

static void op_plug(struct input *input)
{
    device_add_option(devices, "virtio-rng-pci,id=r0,addr=5", true, NULL);
}

static void op_unplug(struct input *input)
{
    struct device *dev = device_find(devices, "r0");

    if (dev && !dev->gone)
        fail_unless(device_del(dev, NULL));
}

static void op_receive(struct input *input)
{
    static const uint8_t bytes[16] = "0123456789";
    size_t room = serial_line.front->can_receive(serial_line.opaque);

    serial_line.front->receive(serial_line.opaque, bytes, MIN(room, take(input, 1) % 17));
    if (take(input, 1) & 1)
        serial_line.front->line_break(serial_line.opaque);
}

static void op_room(struct input *input)
{
    line_room = take(input, 1);
    serial_line.front->drained(serial_line.opaque);
}

static void op_button(struct input *input)
{
    q35_power_button(board);
    bus_lock(q35_bus(board));
    q35_take_smi(board);
    bus_unlock(q35_bus(board));
}

static void op_reset(struct input *input)
{
    devices_pause(devices);
    q35_reset(board);
    devices_resume(devices);
    smram_locked = false;
    for (unsigned i = 0; i < LINES; i++)
        fail_unless(!line_high[i]);
}

static void (*const operations[])(struct input *input) = {
    op_port, op_config, op_bridge, op_mmio, op_fw_cfg_read, op_dma, op_wild_dma, turn_main_loop,
    op_plug, op_unplug, op_receive, op_room, op_button, op_reset, op_flash,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };

    if (!board)
        make_board();
    fake.nr_calls = 0;
    op_reset(NULL);
    pflash_reset(flash);
    turn_main_loop(NULL);
    for (unsigned i = 0; i < MAX_OPERATIONS && input.size; i++) {
        operations[take(&input, 1) % G_N_ELEMENTS(operations)](&input);
        check_views();
    }
    return 0;
}

/* fw_cfg read and by DMA, to RAM, over its end, far away; a command over itself. */
static const uint8_t seed_fw_cfg[] = {
    4, 0, 8, 0, 0, 4, 4, 0x88, 0x13, 1, 4, 6, 4, 0, 0,
    5, 4, 10, 0, 0, 0, 4, 0, 0, 0x20, 0, 5, 4, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0x20, 0,
    5, 1, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0x30, 0, 0, 0x52, 0, 8 | 2,
    0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0x30, 0, 6, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
};
/* All RAM, RAM without writes; SMRAM open, closed, high, with TSEG, locked; written again; reset. */
static const uint8_t seed_bridge[] = {
    2, 0, 0x30, 2, 1, 0x33, 2, 2, 0x11, 2, 6, 0x21, 1, 0, 0x90, 2, 0x33, 0x33, 0x33, 0x33,
    2, 13, 0x4a, 2, 13, 0x0a, 2, 14, 0x80, 2, 14, 0x85, 2, 13, 0x4a, 2, 13, 0x1a, 2, 13, 0x4a,
    2, 14, 0, 13, 2, 13, 0x4a, 2, 14, 0x83, 13,
};
/* Plug, BARs and memory decoding, MSI-X, ask for it back, eject by the guest, plug again, reset. */
static const uint8_t seed_plug[] = {
    8, 0, 8, 11, 8, 0, 0, 0, 0, 1, 5, 0x14, 2, 0, 0, 0, 0xc0, 1, 5, 4, 1, 6, 0,
    3, 0x0b, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 9, 0, 8, 3, 4, 0, 0, 0, 0,
    0, 8, 11, 8, 0x20, 0, 0, 0, 7, 8, 1, 5, 4, 1, 6, 0, 9, 13, 7, 8,
};
/* Serial: FIFOs, loopback, interrupts, input and breaks; a line that takes nothing; RTC; power. */
static const uint8_t seed_ports[] = {
    0, 0, 8, 2, 0xc1, 0, 0, 8, 1, 15, 11, 3, 0, 0, 0xf8, 0, 'x', 10, 16, 1, 0, 0, 0, 0, 0,
    0, 0, 8, 4, 0x1f, 0, 0, 0xf8, 0, 'y', 0, 0, 0, 2, 0, 11, 255, 0, 0, 0, 5, 0,
    0, 2, 8, 0, 0x0b, 0, 2, 8, 1, 0x72, 0, 2, 8, 0, 0x0c, 0, 2, 0, 1, 0, 7,
    0, 7, 11, 0, 0, 0xff, 0xff, 0, 0, 12, 0, 7, 9, 4, 0, 0x20, 0x20, 0, 4, 8, 0, 1,
    0, 1, 8, 4, 0xaa, 0, 1, 0, 0, 0, 0, 1, 8, 4, 0xfe, 0, 3, 8, 0, 3, 0, 9, 8, 1, 6, 13,
};

/* Status, erase, program, query, what isn't confirmed. */
static const uint8_t seed_flash[] = {
    14, 9, 0, 0x10, 0x70, 0, 0x10, 0x20, 0, 0x10, 0xd0, 1, 0x10, 0x10, 1, 0x10, 0x3c, 0, 0, 0x98,
    0, 0, 0x90, 0, 0, 0x50, 0, 0, 0xff, 14, 4, 9, 0, 0x20, 9, 0, 0xff, 0xff, 0xff, 0x40, 0xff, 0xff, 7,
};

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    static const struct {
        const uint8_t *data;
        size_t size;
    } seeds[] = {
        { seed_fw_cfg, sizeof(seed_fw_cfg) }, { seed_bridge, sizeof(seed_bridge) },
        { seed_plug, sizeof(seed_plug) }, { seed_ports, sizeof(seed_ports) },
        { seed_flash, sizeof(seed_flash) },
    };

    if (n >= G_N_ELEMENTS(seeds))
        return NULL;
    *size = seeds[n].size;
    return seeds[n].data;
}
