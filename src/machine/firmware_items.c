/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What firmware finds in fw_cfg: numbers and files of QEMU's names, as far as SeaBIOS
 * and OVMF ask for them, a kernel's parts, and what the user added.
 */
#include "firmware.h"

#include "acpi_loader.h"
#include "bzimage.h"
#include "error.h"
#include "layout.h"
#include "linuxboot.h"
#include "object.h"

#include <string.h>

enum { E820_RAM = 1, E820_RESERVED = 2, KVM_RESERVED_SIZE = 0x4000 };

struct e820_entry {
    uint64_t start, size;
    uint32_t type;
} __attribute__((packed));

/* RAM, which firmware takes its own parts from, and what KVM uses. */
static bool add_e820(struct fw_cfg *fw, uint64_t ram_size, GError **error)
{
    uint64_t low = layout_low_ram(ram_size);
    const struct e820_entry entries[] = {
        { LAYOUT_KVM_RESERVED, KVM_RESERVED_SIZE, E820_RESERVED },
        { 0, low, E820_RAM },
        { LAYOUT_HIGH_RAM, ram_size - low, E820_RAM },
    };
    size_t n = low == ram_size ? 2 : 3;

    return fw_cfg_add_file(fw, "etc/e820", entries, n * sizeof(entries[0]), error);
}

static void add_numbers(struct fw_cfg *fw, const struct firmware_facts *facts)
{
    const struct {
        uint16_t key;
        unsigned size;
        uint64_t value;
    } numbers[] = {
        { FW_CFG_RAM_SIZE, 8, facts->ram_size }, { FW_CFG_NOGRAPHIC, 2, 1 },
        { FW_CFG_NB_CPUS, 2, facts->cpus }, { FW_CFG_MAX_CPUS, 2, facts->cpus },
        { FW_CFG_BOOT_MENU, 2, 0 },
        { FW_CFG_IRQ0_OVERRIDE, 4, 0 },         /* as in the MADT: KVM's routing has none */
    };

    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        fw_cfg_add_number(fw, numbers[i].key, numbers[i].value, numbers[i].size);
}

/* 01234567-89ab-...: checked by the option's parser; the bytes in the order of the text. */
static void add_uuid(struct fw_cfg *fw, const char *text)
{
    uint8_t uuid[16] = { 0 };
    unsigned digits = 0;

    for (; text && *text && digits < 32; text++) {
        if (g_ascii_isxdigit(*text)) {
            uuid[digits / 2] = uuid[digits / 2] << 4 | g_ascii_xdigit_value(*text);
            digits++;
        }
    }
    fw_cfg_add(fw, FW_CFG_UUID, uuid, sizeof(uuid));
}

/* SeaBIOS then has its console on the first serial port: there is no display. */
static bool add_serial_console(struct fw_cfg *fw, unsigned serials, GError **error)
{
    uint64_t port = GUINT64_TO_LE(acpi_serials[0].port);

    return !serials || fw_cfg_add_file(fw, "etc/sercon-port", &port, sizeof(port), error);
}

/* Firmware puts the 64-bit window of PCI above it. */
static bool add_memory_end(struct fw_cfg *fw, uint64_t end, GError **error)
{
    end = GUINT64_TO_LE(end);
    return !end || fw_cfg_add_file(fw, "etc/reserved-memory-end", &end, sizeof(end), error);
}

/* --- -kernel --- */

static void add_sized(struct fw_cfg *fw, uint16_t size_key, uint16_t data_key, void *data,
                      uint64_t size)
{
    fw_cfg_add_number(fw, size_key, size, 4);
    fw_cfg_add_take(fw, data_key, data, size);
}

/* setup: the real-mode part, which holds the header. */
static bool add_parts(struct fw_cfg *fw, const struct firmware_facts *facts, const uint8_t *file,
                      const struct bzimage *image, GError **error)
{
    const char *cmdline = boot_cmdline(facts->boot);
    g_autofree uint8_t *setup = g_memdup2(file, image->payload_offset);
    struct linuxboot boot = {
        .image = image, .setup = setup, .ram_size = facts->ram_size,
        .cmdline_size = strlen(cmdline) + 1,
    };
    uint8_t *initrd = NULL;

    if (!boot_read_initrd(facts->boot, &initrd, &boot.initrd_size, error))
        return false;
    add_sized(fw, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, initrd, boot.initrd_size);
    add_sized(fw, FW_CFG_CMDLINE_SIZE, FW_CFG_CMDLINE_DATA, g_strdup(cmdline), boot.cmdline_size);
    add_sized(fw, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA,
              g_memdup2(file + image->payload_offset, image->payload_size), image->payload_size);
    if (facts->seabios && !linuxboot_add(fw, &boot, error))
        return false;
    add_sized(fw, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA, g_steal_pointer(&setup),
              image->payload_offset);
    return true;
}

static bool add_boot(struct fw_cfg *fw, const struct firmware_facts *facts, GError **error)
{
    g_autofree uint8_t *file = NULL;
    struct bzimage image;
    uint64_t size;

    if (!boot_read_kernel(facts->boot, &file, &size, error))
        return false;
    if (!bzimage_is(file, size)) {
        error_set(error, "-kernel: firmware starts a Linux bzImage only: leave -bios out");
        return false;
    }
    if (!bzimage_parse(file, size, &image, error)) {
        g_prefix_error(error, "-kernel: ");
        return false;
    }
    return add_parts(fw, facts, file, &image, error);
}

/* --- -fw_cfg [name=]NAME,string=TEXT|file=FILE --- */

static bool add_user_item(struct fw_cfg *fw, const char *option, GError **error)
{
    struct item {
        char *name, *string, *file;
    } item = { 0 };
    static const struct property table[] = {
        { "name", PROP_STRING, offsetof(struct item, name), NULL, "", true },
        { "string", PROP_STRING, offsetof(struct item, string), NULL, "", false },
        { "file", PROP_STRING, offsetof(struct item, file), NULL, "", false },
        { .name = NULL },
    };
    g_autoptr(GPtrArray) list = option_parse(option, "name", error);
    g_autofree uint8_t *data = NULL;
    bool ok = list != NULL, found;
    uint64_t size = 0;

    for (guint i = 0; ok && i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);

        ok = property_set_text(table, &item, opt->key, opt->value, &found, error);
        if (!ok && !found) {
            g_clear_error(error);
            error_set(error, "Invalid parameter '%s': name, string, file", opt->key);
        }
    }
    if (ok && (!item.name || !item.string == !item.file)) {
        error_set(error, "'%s': a name and what it holds: name=opt/...,string=TEXT or file=FILE",
                  option);
        ok = false;
    }
    if (ok && item.file)
        ok = boot_read_file("-fw_cfg", item.file, &data, &size, error);
    if (ok)
        ok = fw_cfg_add_file(fw, item.name, item.file ? (void *)data : item.string,
                             item.file ? size : strlen(item.string), error);
    g_free(item.name);
    g_free(item.string);
    g_free(item.file);
    return ok;
}

bool firmware_add_items(struct fw_cfg *fw, const struct firmware_facts *facts, GError **error)
{
    add_numbers(fw, facts);
    add_uuid(fw, facts->uuid);
    if (!add_e820(fw, facts->ram_size, error) || !acpi_loader_add(fw, facts->acpi, error) ||
        !add_memory_end(fw, facts->memory_end, error) ||
        !add_serial_console(fw, facts->serials, error) ||
        (facts->boot && !add_boot(fw, facts, error)))
        return false;
    for (guint i = 0; i < facts->user_items->len; i++) {
        if (!add_user_item(fw, g_ptr_array_index(facts->user_items, i), error)) {
            g_prefix_error(error, "-fw_cfg: ");
            return false;
        }
    }
    return true;
}
