/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The linker/loader script: allocate the files, make offsets in them addresses, and
 * sum up what changed by that.  A command is 128 bytes, packed, little-endian; what
 * SeaBIOS (romfile_loader) and OVMF (QemuLoader.h) carry out.
 */
#include "acpi_loader.h"

#include <string.h>

enum { LOADER_ALLOCATE = 1, LOADER_ADD_POINTER = 2, LOADER_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_FSEG = 2 };  /* anywhere below 4 GiB; 0xf0000 to 0xfffff */
enum { FACS_ALIGNMENT = 64, RSDP_ALIGNMENT = 16 };

struct command {
    uint32_t type;
    union {
        struct {
            char file[FW_CFG_NAME_MAX + 1];
            uint32_t alignment;
            uint8_t zone;
        } __attribute__((packed)) allocate;
        struct {
            char file[FW_CFG_NAME_MAX + 1], to[FW_CFG_NAME_MAX + 1];
            uint32_t offset;
            uint8_t size;
        } __attribute__((packed)) pointer;
        struct {
            char file[FW_CFG_NAME_MAX + 1];
            uint32_t offset, start, length;
        } __attribute__((packed)) checksum;
        uint8_t room[124];
    };
} __attribute__((packed));
G_STATIC_ASSERT(sizeof(struct command) == 128);

static const char tables_file[] = "etc/acpi/tables", rsdp_file[] = "etc/acpi/rsdp";

static void append(GByteArray *script, const struct command *command)
{
    g_byte_array_append(script, (const guint8 *)command, sizeof(*command));
}

static void allocate(GByteArray *script, const char *file, uint32_t alignment, uint8_t zone)
{
    struct command command = { .type = GUINT32_TO_LE(LOADER_ALLOCATE) };

    strcpy(command.allocate.file, file);
    command.allocate.alignment = GUINT32_TO_LE(alignment);
    command.allocate.zone = zone;
    append(script, &command);
}

/* The offset in tables_file that stands there becomes an address. */
static void add_pointer(GByteArray *script, const char *file, uint32_t offset, uint8_t size)
{
    struct command command = { .type = GUINT32_TO_LE(LOADER_ADD_POINTER) };

    strcpy(command.pointer.file, file);
    strcpy(command.pointer.to, tables_file);
    command.pointer.offset = GUINT32_TO_LE(offset);
    command.pointer.size = size;
    append(script, &command);
}

/* The byte has to be 0 before: some firmware sums it up with the rest. */
static void add_checksum(GByteArray *script, const char *file, uint8_t *bytes, uint32_t offset,
                         uint32_t start, uint32_t length)
{
    struct command command = { .type = GUINT32_TO_LE(LOADER_ADD_CHECKSUM) };

    bytes[offset] = 0;
    strcpy(command.checksum.file, file);
    command.checksum.offset = GUINT32_TO_LE(offset);
    command.checksum.start = GUINT32_TO_LE(start);
    command.checksum.length = GUINT32_TO_LE(length);
    append(script, &command);
}

/* Each table's pointers, and then its sum. */
static void link_tables(GByteArray *script, struct acpi_tables *tables)
{
    for (guint i = 0; i < tables->pointers->len; i++) {
        const struct acpi_pointer *p = &g_array_index(tables->pointers, struct acpi_pointer, i);
        bool last = i + 1 == tables->pointers->len || p[1].table != p->table;
        uint32_t length;

        add_pointer(script, tables_file, p->offset, p->size);
        if (!last)
            continue;
        memcpy(&length, tables->bytes->data + p->table + ACPI_HEADER_LENGTH, sizeof(length));
        add_checksum(script, tables_file, tables->bytes->data, p->table + ACPI_HEADER_CHECKSUM,
                     p->table, GUINT32_FROM_LE(length));
    }
}

static void link_rsdp(GByteArray *script, uint8_t *rsdp)
{
    add_pointer(script, rsdp_file, ACPI_RSDP_XSDT, 8);
    add_checksum(script, rsdp_file, rsdp, ACPI_RSDP_CHECKSUM, 0, ACPI_RSDP_V1_SIZE);
    add_checksum(script, rsdp_file, rsdp, ACPI_RSDP_EXTENDED_CHECKSUM, 0, ACPI_RSDP_SIZE);
}

bool acpi_loader_add(struct fw_cfg *fw, const struct acpi_board *board, GError **error)
{
    struct acpi_tables *tables = acpi_build(board, 0);
    g_autoptr(GByteArray) script = g_byte_array_new();
    uint8_t rsdp[ACPI_RSDP_SIZE];
    bool ok;

    acpi_fill_rsdp(rsdp, tables->xsdt);
    allocate(script, rsdp_file, RSDP_ALIGNMENT, ZONE_FSEG);
    allocate(script, tables_file, FACS_ALIGNMENT, ZONE_HIGH);
    link_tables(script, tables);
    link_rsdp(script, rsdp);
    ok = fw_cfg_add_file(fw, tables_file, tables->bytes->data, tables->bytes->len, error) &&
         fw_cfg_add_file(fw, rsdp_file, rsdp, sizeof(rsdp), error) &&
         fw_cfg_add_file(fw, "etc/table-loader", script->data, script->len, error);
    acpi_tables_free(tables);
    return ok;
}
