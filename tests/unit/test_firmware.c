/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What firmware finds: fw_cfg by ports and by commands in guest memory, sane ones and
 * others; the linker/loader script, carried out as firmware does; the PAM's slots.
 */
#include "acpi_loader.h"
#include "fake_kvm.h"
#include "memory_internal.h"
#include "pflash.h"
#include "q35.h"
#include "range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { RAM = 1 << 20, DMA_AT = 0x1000, BUFFER = 0x2000 };

static struct kvm_vm *vm;
static struct memory *mem;
static struct bus *bus;
static struct fw_cfg *fw;

static struct ram_block *add_ram(uint64_t gpa, uint64_t size, enum backend_kind kind)
{
    struct memory_backend *backend = memory_backend_new_internal("ram", size, kind, NULL);
    struct ram_block *block = ram_block_new(mem, backend, NULL);

    assert_true(memory_map(mem, block, 0, gpa, size, NULL));
    return block;
}

static void make(enum kvm_attributes_regime regime, bool dma)
{
    const struct kvm_needs needs = {
        .vm_type = regime == KVM_ATTRIBUTES_NONE ? KVM_X86_DEFAULT_VM : KVM_X86_SW_PROTECTED_VM,
    };

    fake_reset(regime);
    assert_int_equal(kvm_vm_new(&fake_driver, &needs, &vm), 0);
    mem = memory_new(vm);
    bus = bus_new();
    fw = fw_cfg_new(bus, mem, dma);
    assert_non_null(fw);
    assert_null(fw_cfg_new(bus, mem, dma));     /* the ports are taken */
}

static int tear_down(void **state)
{
    fw_cfg_free(fw);
    bus_free(bus);
    memory_free(mem);
    kvm_vm_free(vm);
    return fake.open_fds != 0 || fake.open_maps != 0;
}

static void out(uint16_t port, uint32_t value, unsigned size)
{
    bus_pio(bus, port, &value, size, true);
}

static uint32_t in(uint16_t port, unsigned size)
{
    uint32_t value = 0;

    bus_pio(bus, port, &value, size, false);
    return value;
}

static void read_bytes(uint16_t key, void *to, size_t size)
{
    out(0x510, key, 2);
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = in(0x511, 1);
}

static void test_ports(void **state)
{
    char text[8];

    make(KVM_ATTRIBUTES_NONE, true);
    read_bytes(FW_CFG_SIGNATURE, text, 6);
    assert_memory_equal(text, "QEMU\0\0", 6);   /* then zeroes */
    read_bytes(FW_CFG_ID, text, 4);
    assert_memory_equal(text, "\3\0\0\0", 4);
    assert_int_equal(in(0x514, 4), 0x554d4551); /* "QEMU CFG" */
    assert_int_equal(in(0x518, 4), 0x47464320);
    read_bytes(0x3fff, text, 1);                /* nothing of that key */
    assert_int_equal(text[0], 0);
    out(0x511, 0x55, 1);                        /* can't be written */
    read_bytes(FW_CFG_SIGNATURE | 0x4000, text, 4);
    assert_memory_equal(text, "QEMU", 4);
    fw_cfg_add_number(fw, FW_CFG_NB_CPUS, 0x1234, 2);
    read_bytes(FW_CFG_NB_CPUS, text, 3);
    assert_memory_equal(text, "\x34\x12\0", 3);
    fw_cfg_reset(fw);
    assert_int_equal(in(0x511, 1), 'Q');
}

static void test_files(void **state)
{
    char long_name[FW_CFG_NAME_MAX + 2];
    uint8_t directory[4 + 2 * 64];
    g_autoptr(GError) error = NULL;

    make(KVM_ATTRIBUTES_NONE, true);
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = 0;
    assert_true(fw_cfg_add_file(fw, "opt/a", "one", 3, NULL));
    assert_true(fw_cfg_add_file(fw, long_name + 1, "", 0, NULL));
    assert_false(fw_cfg_add_file(fw, long_name, "", 0, NULL));
    assert_false(fw_cfg_add_file(fw, "", "", 0, NULL));
    assert_false(fw_cfg_add_file(fw, "opt/a", "", 0, &error));
    assert_non_null(strstr(error->message, "taken"));
    read_bytes(FW_CFG_FILE_DIR, directory, sizeof(directory));
    assert_memory_equal(directory, "\0\0\0\2" "\0\0\0\3" "\0\x20\0\0opt/a", 17);
    assert_memory_equal(directory + 68, "\0\0\0\0" "\0\x21\0\0xxx", 11);
    for (int i = 2; i < FW_CFG_FILES_MAX; i++) {
        g_snprintf(long_name, sizeof(long_name), "opt/%d", i);
        assert_true(fw_cfg_add_file(fw, long_name, "", 0, NULL));
    }
    assert_false(fw_cfg_add_file(fw, "opt/more", "", 0, NULL));
}

/* The control word as the device leaves it. */
static uint32_t dma(uint32_t control, uint32_t size, uint64_t gpa)
{
    struct {
        uint32_t control, size;
        uint64_t gpa;
    } command = { GUINT32_TO_BE(control), GUINT32_TO_BE(size), GUINT64_TO_BE(gpa) };

    assert_true(memory_write(mem, DMA_AT, &command, sizeof(command), NULL));
    out(0x514, 0, 4);
    out(0x518, GUINT32_TO_BE(DMA_AT), 4);
    assert_true(memory_read(mem, DMA_AT, &command, sizeof(command), NULL));
    return GUINT32_FROM_BE(command.control);
}

static void test_dma(void **state)
{
    char text[8];

    make(KVM_ATTRIBUTES_NONE, true);
    add_ram(0, RAM, BACKEND_PLAIN);
    fw_cfg_add(fw, 0x77, "abcdef", 6);
    memset(text, 'x', sizeof(text));
    memory_write(mem, BUFFER, text, 8, NULL);
    assert_int_equal(dma(0x77 << 16 | 8 | 2, 2, BUFFER), 0);    /* select, read */
    assert_int_equal(dma(4, 1, 0), 0);                          /* skip */
    assert_int_equal(dma(2, 5, BUFFER + 2), 0);                 /* the rest, and zeroes */
    memory_read(mem, BUFFER, text, 8, NULL);
    assert_memory_equal(text, "abdef\0\0x", 8);
    assert_int_equal(dma(4, UINT32_MAX, 0), 0);
    assert_int_equal(dma(2, 1, BUFFER), 0);
    assert_int_equal(dma(0, 1, 0), 0);                          /* nothing to do */
    assert_int_equal(dma(0x77 << 16 | 8 | 16, 1, BUFFER), 1);   /* items can't be written */
    assert_int_equal(dma(0x77 << 16 | 8 | 2, 6, RAM - 3), 1);   /* over the end of RAM */
    assert_int_equal(dma(0x77 << 16 | 8 | 2, UINT32_MAX, BUFFER + RAM / 2), 1);
    assert_int_equal(dma(2, 6, UINT64_MAX - 2), 1);
    assert_int_equal(dma(2, UINT32_MAX, 0xfffff000), 1);
    out(0x514, 0xffffffff, 4);                                  /* a command that isn't in RAM */
    out(0x518, 0xfeffffff, 4);
    assert_int_equal(dma(0x77 << 16 | 8 | 2, 1, BUFFER), 0);
}

static void test_no_dma(void **state)
{
    char text[4];

    make(KVM_ATTRIBUTES_VM, false);
    add_ram(0, RAM, BACKEND_TWO_BACKINGS);
    read_bytes(FW_CFG_ID, text, 4);
    assert_memory_equal(text, "\1\0\0\0", 4);
    assert_int_equal(in(0x514, 4), UINT32_MAX);
    assert_int_equal(dma(0x00 << 16 | 8 | 2, 4, BUFFER), 8 | 2);        /* nobody looked */
}

/* Commands and buffers in private memory are refused, and counted. */
static void test_private_dma(void **state)
{
    struct memory_counters before;

    make(KVM_ATTRIBUTES_VM, true);
    add_ram(0, RAM, BACKEND_TWO_BACKINGS);
    assert_int_equal(memory_convert(mem, BUFFER, 4096, true, NULL), 0);
    before = memory_get_counters(mem);
    assert_int_equal(dma(8 | 2, 4, BUFFER), 1);
    assert_int_equal(dma(8 | 2, 4, BUFFER - 2), 1);
    assert_int_equal(memory_get_counters(mem).refused_accesses, before.refused_accesses + 2);
    assert_int_equal(memory_convert(mem, DMA_AT, 4096, true, NULL), 0);
    out(0x518, GUINT32_TO_BE(DMA_AT), 4);
    assert_int_equal(memory_get_counters(mem).refused_accesses, before.refused_accesses + 3);
}

/* A guest that writes anything to the ports, and anything into the commands. */
static void test_hostile(void **state)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    make(KVM_ATTRIBUTES_NONE, true);
    add_ram(0, RAM, BACKEND_PLAIN);
    for (unsigned i = 0; i < 20; i++) {
        g_autofree char *name = g_strdup_printf("opt/%u", i);

        assert_true(fw_cfg_add_file(fw, name, "0123456789abcdefghijklmnopq", i, NULL));
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t value = g_rand_int(rand);

        if (i % 3 == 0) {
            uint32_t size = g_rand_int(rand) >> g_rand_int_range(rand, 0, 32);

            /* Gigabytes of zeroes are only slow. */
            dma(value & (value & 0x400 ? 0x3f001f : UINT32_MAX), size % (2 * RAM),
                g_rand_int(rand) % (RAM + BUFFER));
        } else {
            out(0x510 + value % 12, g_rand_int(rand) & 0xff0fffff, 1 << value / 16 % 3);
            in(0x510 + value / 64 % 12, 1 << value / 1024 % 3);
        }
    }
}

/* --- The linker/loader, as firmware carries it out --- */

enum { TABLES_AT = 0x7f0000, RSDP_AT = 0xf5000 };

struct loaded {
    uint8_t *tables, *rsdp;
    size_t tables_size, rsdp_size;
};

static uint8_t *read_file(const char *name, size_t *ret_size)
{
    uint8_t count[4], entry[64], *data;

    read_bytes(FW_CFG_FILE_DIR, count, 4);
    for (unsigned i = 0; i < count[3]; i++) {
        for (unsigned k = 0; k < sizeof(entry); k++)
            entry[k] = in(0x511, 1);
        if (strcmp((char *)entry + 8, name) == 0) {
            *ret_size = GUINT32_FROM_BE(*(uint32_t *)(void *)entry);
            data = g_malloc(*ret_size);
            read_bytes(entry[4] << 8 | entry[5], data, *ret_size);
            return data;
        }
    }
    fail_msg("no file %s", name);
    return NULL;
}

static uint32_t word(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void run_command(struct loaded *l, const uint8_t *command)
{
    bool rsdp = strcmp((const char *)command + 4, "etc/acpi/rsdp") == 0;
    uint8_t *file = rsdp ? l->rsdp : l->tables, sum = 0;
    size_t size = rsdp ? l->rsdp_size : l->tables_size;
    const uint8_t *more = command + 60;
    uint64_t pointer = 0;

    if (!rsdp)
        assert_string_equal(command + 4, "etc/acpi/tables");
    switch (word(command)) {
    case 1:
        assert_int_equal(command[64], rsdp ? 2 : 1);
        assert_int_equal((rsdp ? RSDP_AT : TABLES_AT) % word(more), 0);
        break;
    case 2:
        assert_string_equal(more, "etc/acpi/tables");
        assert_true(word(more + 56) + more[60] <= size);
        memcpy(&pointer, file + word(more + 56), more[60]);
        assert_true(pointer < l->tables_size);
        pointer += TABLES_AT;
        memcpy(file + word(more + 56), &pointer, more[60]);
        break;
    case 3:
        assert_true(word(more) < size && word(more + 4) + word(more + 8) <= size);
        for (unsigned i = 0; i < word(more + 8); i++)
            sum += file[word(more + 4) + i];
        file[word(more)] = -sum;
        break;
    default:
        fail_msg("command %u", word(command));
    }
}

static void test_loader(void **state)
{
    const struct acpi_board board = {
        .cpus = 3, .serials = 1, .ecam = 0xb0000000, .pci_window64 = 32 * GIB,
        .pci_window64_size = 32 * GIB,
    };
    struct acpi_tables *expected = acpi_build(&board, TABLES_AT);
    struct loaded l;
    uint8_t *script, rsdp[ACPI_RSDP_SIZE];
    size_t size;

    make(KVM_ATTRIBUTES_NONE, false);
    assert_true(acpi_loader_add(fw, &board, NULL));
    assert_false(acpi_loader_add(fw, &board, NULL));
    l.tables = read_file("etc/acpi/tables", &l.tables_size);
    l.rsdp = read_file("etc/acpi/rsdp", &l.rsdp_size);
    script = read_file("etc/table-loader", &size);
    assert_int_equal(size % 128, 0);
    for (size_t i = 0; i < size; i += 128)
        run_command(&l, script + i);
    /* Byte by byte what would have been made for that place, but for the RSDP inside. */
    assert_int_equal(l.tables_size, expected->bytes->len);
    size = ACPI_RSDP_OFFSET + ACPI_RSDP_SIZE;
    assert_memory_equal(l.tables + size, expected->bytes->data + size, l.tables_size - size);
    acpi_fill_rsdp(rsdp, TABLES_AT + expected->xsdt);
    assert_memory_equal(l.rsdp, rsdp, sizeof(rsdp));
    acpi_tables_free(expected);
    g_free(l.tables);
    g_free(l.rsdp);
    g_free(script);
}

/* --- PAM --- */

static struct mapping *mapping_of(uint64_t gpa)
{
    struct mapping *map;

    pthread_mutex_lock(&mem->lock);
    map = mapping_find(mem, gpa);
    pthread_mutex_unlock(&mem->lock);
    return map;
}

static void test_pam(void **state)
{
    static const uint8_t reset[PAM_REGISTERS], all[PAM_REGISTERS] = { 0x30, 0x33, 0x33, 0x33, 0x33,
                                                                      0x33, 0x33 };
    /* 0xf0000: RAM without writes; 0xc4000: RAM; 0xec000: writes only, which is none. */
    static const uint8_t mixed[PAM_REGISTERS] = { 0x10, 0x30, 0, 0, 0, 0, 0x20 };
    struct ram_block *ram, *bios;
    struct pam *pam;
    unsigned before;
    char byte = 1;

    make(KVM_ATTRIBUTES_NONE, false);
    ram = ram_block_new_internal(mem, "pc.ram", 2 * MIB, false, NULL);
    bios = ram_block_new_internal(mem, "pc.bios", 256 * KIB, true, NULL);
    ((char *)ram_block_host(bios))[128 * KIB] = 'B';
    pam = pam_new(mem, ram, bios);
    pam_update(pam, reset);
    assert_null(mapping_of(0xdffff));
    assert_true(mapping_of(0xe0000)->block == bios && mapping_of(0xe0000)->readonly);
    assert_int_equal(mapping_of(0xe0000)->size, 128 * KIB);
    assert_true(memory_read(mem, 0xe0000, &byte, 1, NULL));
    assert_int_equal(byte, 'B');
    assert_false(memory_write(mem, 0xe0000, &byte, 1, NULL));

    pam_update(pam, mixed);
    assert_true(mapping_of(0xf0000)->block == ram && mapping_of(0xf0000)->readonly);
    assert_int_equal(mapping_of(0xf0000)->offset, 0xf0000);
    assert_false(memory_write(mem, 0xf0000, &byte, 1, NULL));
    assert_true(mapping_of(0xc4000)->block == ram && !mapping_of(0xc4000)->readonly);
    assert_int_equal(mapping_of(0xc4000)->size, 16 * KIB);
    assert_true(mapping_of(0xec000)->block == bios);
    assert_int_equal(mapping_of(0xec000)->offset, 128 * KIB);

    pam_update(pam, all);
    assert_int_equal(mapping_of(0xc0000)->size, 256 * KIB);
    assert_true(memory_write(mem, 0xf0000, &byte, 1, NULL));
    before = fake.nr_calls;
    pam_update(pam, all);                       /* nothing new: no slot is touched */
    assert_int_equal(fake.nr_calls, before);
    pam_update(pam, reset);
    assert_null(mapping_of(0xc0000));
    pam_free(pam);
}

/* --- SMRAM, by the bridge's registers --- */

static struct q35 *board;

static void ignore(void *opaque)
{
}

static void config(uint8_t offset, uint8_t value)
{
    uint32_t address = 0x80000000 | (offset & 0xfc), byte = value;

    bus_pio(q35_bus(board), 0xcf8, &address, 4, true);
    bus_pio(q35_bus(board), 0xcfc + (offset & 3), &byte, 1, true);
}

static uint8_t config_read(uint8_t offset)
{
    uint32_t address = 0x80000000 | (offset & 0xfc);
    uint8_t byte = 0;

    bus_pio(q35_bus(board), 0xcf8, &address, 4, true);
    bus_pio(q35_bus(board), 0xcfc + (offset & 3), &byte, 1, false);
    return byte;
}

/* What SMM alone sees at that address; 0: nothing, else up to where. */
static uint64_t smm_end(uint64_t gpa)
{
    for (guint i = 0; i < mem->smm_mappings->len; i++) {
        const struct mapping *map = &g_array_index(mem->smm_mappings, struct mapping, i);

        if (map->gpa == gpa)
            return mapping_end(map);
    }
    return 0;
}

static bool smi(void)
{
    uint8_t byte = 1;

    bus_pio(q35_bus(board), 0xb2, &byte, 1, true);
    return q35_take_smi(board);
}

/* The slot that KVM was last given in that space, with that address. */
static bool slot_given(unsigned space, uint64_t gpa)
{
    for (unsigned i = fake.nr_calls; i-- > 0;) {
        const struct fake_call *call = &fake.calls[i];

        if (call->request == KVM_SET_USER_MEMORY_REGION && call->address == gpa && call->size &&
            call->slot >> 16 == space)
            return true;
    }
    return false;
}

static void test_smram(void **state)
{
    const struct power_ops power = { .shutdown = ignore, .reset = ignore };
    uint32_t enable = 0x21;
    struct ram_block *ram;
    struct smram *smram;

    make(KVM_ATTRIBUTES_NONE, false);
    assert_false(memory_enable_smm(mem));       /* this KVM has none */
    fake_set_cap(KVM_CAP_X86_SMM, 1);
    fake_set_cap(KVM_CAP_MULTI_ADDRESS_SPACE, 2);
    assert_true(memory_enable_smm(mem));
    ram = ram_block_new_internal(mem, "pc.ram", 16 * MIB, false, NULL);
    assert_true(memory_map(mem, ram, 0, 0, 0xa0000, NULL));
    assert_true(memory_map(mem, ram, MIB, MIB, 15 * MIB, NULL));
    assert_true(slot_given(0, MIB) && slot_given(1, MIB));
    smram = smram_new(mem, ram, 16 * MIB);
    board = q35_new(mem, false, &power, 0);
    q35_use_firmware(board, NULL, smram);
    assert_int_equal(config_read(0x9d), 0x02);
    assert_null(mapping_of(0xa0000));

    config(0x9d, 0x4a);                         /* enabled and open: all see it */
    assert_non_null(mapping_of(0xa0000));
    config(0x9d, 0x0a);                         /* closed */
    assert_null(mapping_of(0xa0000));
    assert_int_equal(smm_end(0xa0000), 0xc0000);
    assert_true(slot_given(1, 0xa0000));
    config(0x9e, 0x80);                         /* high: the same RAM elsewhere */
    assert_int_equal(smm_end(0xa0000), 0);
    assert_int_equal(smm_end(0xfeda0000), 0xfedc0000);
    config(0x9e, 0x05);                         /* 8 MiB of TSEG */
    assert_int_equal(smm_end(8 * MIB), 16 * MIB);
    assert_int_equal(mapping_end(mapping_of(MIB)), 8 * MIB);
    assert_null(mapping_of(8 * MIB));
    config(0x9e, 0x07);                         /* a size that there is not */
    assert_int_equal(mapping_end(mapping_of(MIB)), 16 * MIB);
    config(0x9e, 0x01);
    config(0x9d, 0x5a);                         /* locked: closed for good */
    assert_int_equal(config_read(0x9d), 0x1a);
    assert_null(mapping_of(0xa0000));
    config(0x9d, 0x4a);
    config(0x9e, 0x00);
    assert_int_equal(config_read(0x9d), 0x1a);
    assert_int_equal(smm_end(15 * MIB), 16 * MIB);

    assert_false(smi());                        /* not enabled */
    bus_pio(q35_bus(board), 0x630, &enable, 4, true);
    assert_true(smi());
    assert_false(q35_take_smi(board));

    q35_reset(board);
    assert_int_equal(config_read(0x9d), 0x02);
    assert_int_equal(mem->smm_mappings->len, 0);
    assert_int_equal(mapping_end(mapping_of(MIB)), 16 * MIB);
    assert_false(smi());
    config(0x9d, 0x4a);
    assert_non_null(mapping_of(0xa0000));
    q35_free(board);
    smram_free(smram);
}

/* --- Flash memory --- */

enum { FLASH_SIZE = 64 * KIB, FLASH_ERASE = 0x20, FLASH_CONFIRM = 0xd0, FLASH_PROGRAM = 0x10 };
#define FLASH_AT (4 * GIB - FLASH_SIZE)

static uint32_t flash_read(uint64_t offset, unsigned size)
{
    uint32_t value = 0;

    bus_mmio(bus, FLASH_AT + offset, &value, size, false);
    return value;
}

static void flash_write(uint64_t offset, uint8_t value)
{
    bus_mmio(bus, FLASH_AT + offset, &value, 1, true);
}

/* What is in the image at that offset. */
static uint8_t saved(int fd, off_t offset)
{
    uint8_t byte = 0;

    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    return byte;
}

static struct disk *flash_image(int fd, bool readonly)
{
    g_autofree char *option = g_strdup_printf(
        "driver=file,node-name=f,filename=/proc/self/fd/%d,read-only=%s", fd,
        readonly ? "on" : "off");

    assert_true(disk_add_option(option, NULL));
    return disk_find("f");
}

static struct pflash *make_flash(struct disk *node)
{
    struct ram_block *block;

    make(KVM_ATTRIBUTES_NONE, false);
    block = ram_block_new_internal(mem, "system.flash0", FLASH_SIZE, true, NULL);
    assert_int_equal(disk_read(node, 0, ram_block_host(block), FLASH_SIZE), 0);
    assert_true(memory_map_readonly(mem, block, 0, FLASH_AT, FLASH_SIZE, NULL));
    return pflash_new(bus, mem, block, FLASH_AT, node, NULL);
}

static void test_flash(void **state)
{
    int fd = memfd_create("flash", MFD_CLOEXEC);
    struct pflash *flash;

    assert_int_equal(ftruncate(fd, FLASH_SIZE), 0);
    flash = make_flash(flash_image(fd, false));
    assert_non_null(mapping_of(FLASH_AT));
    flash_write(0x1800, 0x70);                  /* status */
    assert_null(mapping_of(FLASH_AT));
    assert_int_equal(flash_read(0, 4), 0x80808080);
    flash_write(0x1800, 0x50);
    assert_int_equal(flash_read(0, 1), 0);
    flash_write(0x1800, FLASH_ERASE);
    flash_write(0x1800, FLASH_CONFIRM);
    assert_int_equal(flash_read(0, 1), 0x80);
    flash_write(0x1801, FLASH_PROGRAM);
    flash_write(0x1801, 0x3c);
    flash_write(0x1801, FLASH_PROGRAM);
    flash_write(0x1801, 0xf5);                  /* bits are cleared, never set */
    assert_null(mapping_of(FLASH_AT));
    flash_write(0, 0xff);
    assert_true(mapping_of(FLASH_AT)->readonly);
    assert_int_equal(flash_read(0x1800, 4), 0xffff34ff);
    assert_int_equal(saved(fd, 0x1801), 0x34);
    assert_int_equal(saved(fd, 0x1fff), 0xff);
    assert_int_equal(saved(fd, 0x0fff), 0);     /* the sector beside it */
    assert_int_equal(saved(fd, 0x2000), 0);

    flash_write(0, FLASH_ERASE);                /* not confirmed */
    flash_write(0, 0xff);
    assert_int_equal(flash_read(0, 1), 0xb0);
    assert_int_equal(saved(fd, 0), 0);
    flash_write(0, 0x98);
    assert_int_equal(flash_read(0x10, 4) & 0xffffff, 0x595251); /* "QRY" */
    assert_int_equal(flash_read(0x2d, 4), 0x0010000f);          /* 16 sectors of 4 KiB */
    flash_write(0, 0x90);
    assert_int_equal(flash_read(0, 2), 0x1889);
    pflash_reset(flash);
    assert_non_null(mapping_of(FLASH_AT));
    flash_write(0, 0x70);
    assert_int_equal(flash_read(0, 1), 0x80);
    pflash_free(flash);
    disk_free_all();
    close(fd);
}

static void test_readonly_flash(void **state)
{
    int fd = memfd_create("flash", MFD_CLOEXEC);
    struct pflash *flash;

    assert_int_equal(ftruncate(fd, FLASH_SIZE), 0);
    flash = make_flash(flash_image(fd, true));
    flash_write(0, FLASH_PROGRAM);
    flash_write(0, 0);
    assert_int_equal(flash_read(0, 1), 0x92);
    flash_write(0, 0x50);
    flash_write(0, FLASH_ERASE);
    flash_write(0, FLASH_CONFIRM);
    assert_int_equal(flash_read(0, 1), 0xa2);
    assert_int_equal(saved(fd, 0), 0);
    pflash_free(flash);
    disk_free_all();
    close(fd);
}

int main(void)
{
#define TEST(name_) cmocka_unit_test_teardown(name_, tear_down)
    static const struct CMUnitTest tests[] = {
        TEST(test_ports), TEST(test_files), TEST(test_dma), TEST(test_no_dma),
        TEST(test_private_dma), TEST(test_hostile), TEST(test_loader), TEST(test_pam), TEST(test_smram),
        TEST(test_flash), TEST(test_readonly_flash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
