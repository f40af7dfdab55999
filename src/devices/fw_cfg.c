/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The firmware configuration device: a selector and a byte at a time by ports, or a
 * command in guest memory whose address is written big-endian (QEMU's
 * docs/specs/fw_cfg, "Register Locations", "Guest-side DMA Interface").  Items are
 * read-only but for those that a device of ours offers for writing, by DMA; reading past
 * an item's end gives zeroes.
 *
 * Locks: the machine lock.
 */
#include "fw_cfg.h"

#include "error.h"
#include "trace.h"

#include <inttypes.h>
#include <string.h>

enum {
    OFFSET_SELECTOR = 0, OFFSET_DATA = 1, OFFSET_DMA_HIGH = 4, OFFSET_DMA_LOW = 8,
    ID_TRADITIONAL = 1, ID_DMA = 2,
    KEY_WRITE = 0x4000,         /* once chose the item for writing; the rest is the key */
};

/* Bits of a DMA command's control word; its upper half is the key to select. */
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static const uint64_t dma_signature = 0x51454d5520434647;      /* "QEMU CFG" */

struct item {
    void *data;
    uint32_t size;
    /* NULL: read-only, and data is ours. */
    void (*written)(void *opaque, size_t offset, size_t size);
    void *opaque;
};

struct file {
    uint32_t size;              /* big-endian, as the other numbers here */
    uint16_t key, reserved;
    char name[FW_CFG_NAME_MAX + 1];
};

struct fw_cfg {
    struct bus *bus;
    struct memory *mem;
    bool dma;
    GHashTable *items;          /* key to struct item */
    GArray *files;              /* struct file: the directory after its count */
    const struct item *item;    /* selected; NULL: none of that key */
    uint32_t offset;
    uint64_t dma_address;
};

/* --- Items --- */

static void item_free(gpointer data)
{
    struct item *item = data;

    if (!item->written)
        g_free(item->data);
    g_free(item);
}

void fw_cfg_add_take(struct fw_cfg *fw, uint16_t key, void *data, size_t size)
{
    struct item *item = g_new0(struct item, 1);

    g_assert(size <= UINT32_MAX);
    item->data = data;
    item->size = size;
    fw->item = NULL;
    g_hash_table_replace(fw->items, GUINT_TO_POINTER(key), item);
}

void fw_cfg_add(struct fw_cfg *fw, uint16_t key, const void *data, size_t size)
{
    fw_cfg_add_take(fw, key, g_memdup2(data, size), size);
}

void fw_cfg_add_number(struct fw_cfg *fw, uint16_t key, uint64_t value, unsigned size)
{
    value = GUINT64_TO_LE(value);
    fw_cfg_add(fw, key, &value, size);
}

static void update_directory(struct fw_cfg *fw)
{
    uint32_t count = GUINT32_TO_BE(fw->files->len);
    size_t size = fw->files->len * sizeof(struct file);
    uint8_t *directory = g_malloc(sizeof(count) + size);

    memcpy(directory, &count, sizeof(count));
    if (size)
        memcpy(directory + sizeof(count), fw->files->data, size);
    fw_cfg_add_take(fw, FW_CFG_FILE_DIR, directory, sizeof(count) + size);
}

static bool name_taken(const struct fw_cfg *fw, const char *name)
{
    for (guint i = 0; i < fw->files->len; i++) {
        if (strcmp(g_array_index(fw->files, struct file, i).name, name) == 0)
            return true;
    }
    return false;
}

/* The key of a new name; 0 with the error set. */
static uint16_t add_name(struct fw_cfg *fw, const char *name, size_t size, GError **error)
{
    uint16_t key = FW_CFG_FILE_FIRST + fw->files->len;
    struct file file = { .size = GUINT32_TO_BE(size), .key = GUINT16_TO_BE(key) };

    if (!*name || strlen(name) > FW_CFG_NAME_MAX) {
        error_set(error, "name '%s': 1 to %d characters", name, FW_CFG_NAME_MAX);
        return 0;
    }
    if (name_taken(fw, name)) {
        error_set(error, "name '%s' is taken: another name, such as opt/...", name);
        return 0;
    }
    if (fw->files->len >= FW_CFG_FILES_MAX) {
        error_set(error, "name '%s': there are %d already, which is all that fit", name,
                  FW_CFG_FILES_MAX);
        return 0;
    }
    strcpy(file.name, name);
    g_array_append_val(fw->files, file);
    update_directory(fw);
    return key;
}

bool fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, size_t size,
                     GError **error)
{
    uint16_t key = add_name(fw, name, size, error);

    if (key)
        fw_cfg_add(fw, key, data, size);
    return key;
}

bool fw_cfg_has_dma(const struct fw_cfg *fw)
{
    return fw->dma;
}

bool fw_cfg_add_writable_file(struct fw_cfg *fw, const char *name, void *data, size_t size,
                              void (*written)(void *opaque, size_t offset, size_t size),
                              void *opaque, GError **error)
{
    uint16_t key = add_name(fw, name, size, error);
    struct item *item;

    if (!key)
        return false;
    fw_cfg_add_take(fw, key, data, size);
    item = g_hash_table_lookup(fw->items, GUINT_TO_POINTER(key));
    item->written = written;
    item->opaque = opaque;
    return true;
}

static void select_item(struct fw_cfg *fw, uint16_t key)
{
    key &= ~KEY_WRITE;
    fw->item = g_hash_table_lookup(fw->items, GUINT_TO_POINTER(key));
    fw->offset = 0;
    trace(TRACE_FW_CFG_SELECT, "key=0x%x size=0x%x", key, fw->item ? fw->item->size : 0);
}

/* --- Byte by byte --- */

static uint8_t read_byte(struct fw_cfg *fw)
{
    if (!fw->item || fw->offset >= fw->item->size)
        return 0;
    return ((const uint8_t *)fw->item->data)[fw->offset++];
}

/* --- Commands in guest memory --- */

/* What is left of the item, then zeroes. */
static bool dma_copy_out(struct fw_cfg *fw, uint64_t gpa, uint32_t size)
{
    static const uint8_t zeros[64 * 1024];
    uint32_t left = fw->item ? fw->item->size - fw->offset : 0;
    uint32_t part = MIN(left, size);

    if (part && !memory_write(fw->mem, gpa, (const char *)fw->item->data + fw->offset, part, NULL))
        return false;
    fw->offset += part;
    for (gpa += part, size -= part; size; gpa += part, size -= part) {
        part = MIN(size, sizeof(zeros));
        if (!memory_write(fw->mem, gpa, zeros, part, NULL))
            return false;
    }
    return true;
}

/* All of it or nothing; what ends past the item's end is refused. */
static bool dma_copy_in(struct fw_cfg *fw, uint64_t gpa, uint32_t size)
{
    const struct item *item = fw->item;
    g_autofree uint8_t *data = NULL;

    if (!item || !item->written || size > item->size - fw->offset)
        return false;
    data = g_malloc(size);
    if (!memory_read(fw->mem, gpa, data, size, NULL))
        return false;
    if (size)
        memcpy((uint8_t *)item->data + fw->offset, data, size);
    fw->offset += size;
    item->written(item->opaque, fw->offset - size, size);
    return true;
}

static bool dma_command(struct fw_cfg *fw, uint32_t control, uint32_t size, uint64_t gpa)
{
    if (control & DMA_SELECT)
        select_item(fw, control >> 16);
    if (control & DMA_READ)
        return dma_copy_out(fw, gpa, size);
    if (control & DMA_WRITE)
        return dma_copy_in(fw, gpa, size);
    if (control & DMA_SKIP && fw->item)
        fw->offset += MIN(size, fw->item->size - fw->offset);
    return true;
}

/* A command that can't be read can't be answered either. */
static void run_dma(struct fw_cfg *fw)
{
    struct {
        uint32_t control, size;
        uint64_t gpa;
    } command;
    uint64_t at = fw->dma_address;
    uint32_t result;

    fw->dma_address = 0;
    if (!memory_read(fw->mem, at, &command, sizeof(command), NULL))
        return;
    result = dma_command(fw, GUINT32_FROM_BE(command.control), GUINT32_FROM_BE(command.size),
                         GUINT64_FROM_BE(command.gpa)) ? 0 : GUINT32_TO_BE(DMA_ERROR);
    memory_write(fw->mem, at, &result, sizeof(result), NULL);
}

/* --- Ports --- */

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fw_cfg *fw = opaque;

    if (offset == OFFSET_DATA && size == 1)
        return read_byte(fw);
    if (fw->dma && offset == OFFSET_DMA_HIGH && size == 4)
        return GUINT32_SWAP_LE_BE((uint32_t)(dma_signature >> 32));
    if (fw->dma && offset == OFFSET_DMA_LOW && size == 4)
        return GUINT32_SWAP_LE_BE((uint32_t)dma_signature);
    return UINT64_MAX;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fw_cfg *fw = opaque;
    uint32_t swapped = GUINT32_SWAP_LE_BE((uint32_t)value);

    if (offset == OFFSET_SELECTOR && size == 2)
        select_item(fw, value);
    if (!fw->dma || size != 4)
        return;
    if (offset == OFFSET_DMA_HIGH) {
        fw->dma_address = (uint64_t)swapped << 32;
    } else if (offset == OFFSET_DMA_LOW) {
        fw->dma_address |= swapped;
        run_dma(fw);
    }
}

static const struct io_ops port_ops = {
    .read = port_read, .write = port_write, .min_size = 1, .max_size = 4,
};

/* --- The device --- */

void fw_cfg_reset(struct fw_cfg *fw)
{
    select_item(fw, FW_CFG_SIGNATURE);
    fw->dma_address = 0;
}

struct fw_cfg *fw_cfg_new(struct bus *bus, struct memory *mem, bool dma)
{
    struct fw_cfg *fw = g_new0(struct fw_cfg, 1);

    fw->bus = bus;
    fw->mem = mem;
    fw->dma = dma;
    fw->items = g_hash_table_new_full(NULL, NULL, NULL, item_free);
    fw->files = g_array_new(FALSE, FALSE, sizeof(struct file));
    fw_cfg_add(fw, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_number(fw, FW_CFG_ID, ID_TRADITIONAL | (dma ? ID_DMA : 0), 4);
    update_directory(fw);
    if (bus_add_pio(bus, FW_CFG_PORT, FW_CFG_PORTS, "fw-cfg", &port_ops, fw) < 0) {
        fw_cfg_free(fw);
        return NULL;
    }
    return fw;
}

void fw_cfg_free(struct fw_cfg *fw)
{
    if (!fw)
        return;
    bus_remove(fw->bus, fw);
    g_hash_table_destroy(fw->items);
    g_array_free(fw->files, TRUE);
    g_free(fw);
}
