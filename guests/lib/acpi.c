/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processors and the I/O APIC, from ACPI's MADT or from the MP table.
 * Source: ACPI 6.5, 5.2.5 and 5.2.12; Intel MultiProcessor Specification 1.4.
 */
#include "guest.h"

enum {
    MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_X2APIC = 9, LAPIC_ENABLED = 1,
    MP_PROCESSOR = 0, MP_IOAPIC = 2, MP_INTERRUPT = 3,
    BIOS_START = 0xe0000, BIOS_END = 0x100000, EBDA_POINTER = 0x40e,
};

struct sdt {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
} __attribute__((packed));

/* Memory is read bytewise: tables are packed and not always aligned. */
static uint64_t get(uint64_t address, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, (const void *)address, size);
    return value;
}

static uint64_t find_signature(uint64_t start, uint64_t end, const char *signature)
{
    for (uint64_t at = start; at < end; at += 16) {
        if (!memcmp((const void *)at, signature, strlen(signature)))
            return at;
    }
    return 0;
}

static uint64_t find_in_low_memory(const char *signature)
{
    uint64_t ebda = get(EBDA_POINTER, 2) << 4, at = 0;

    if (ebda >= 0x80000 && ebda < 0xa0000)
        at = find_signature(ebda, ebda + 1024, signature);
    if (!at)
        at = find_signature(0x9fc00, 0xa0000, signature);
    return at ? at : find_signature(BIOS_START, BIOS_END, signature);
}

static void add_cpu(struct board_info *board, uint32_t id)
{
    if (board->cpu_count < sizeof(board->apic_ids) / sizeof(board->apic_ids[0]))
        board->apic_ids[board->cpu_count++] = id;
}

static void madt_entry(struct board_info *board, uint64_t at)
{
    switch (get(at, 1)) {
    case MADT_LAPIC:
        if (get(at + 4, 4) & LAPIC_ENABLED)
            add_cpu(board, (uint32_t)get(at + 3, 1));
        break;
    case MADT_X2APIC:
        if (get(at + 8, 4) & LAPIC_ENABLED)
            add_cpu(board, (uint32_t)get(at + 4, 4));
        break;
    case MADT_IOAPIC:
        board->ioapic_address = (uint32_t)get(at + 4, 4);
        break;
    case MADT_OVERRIDE:
        if (get(at + 3, 1) == 0)
            board->irq0_gsi = (uint32_t)get(at + 4, 4);
        break;
    default:
        break;
    }
}

/* The table with that signature in the RSDT or XSDT (entries of size bytes). */
static const struct sdt *find_table(uint64_t root, unsigned size, const char *signature)
{
    uint64_t end = root + get(root + 4, 4);

    for (uint64_t at = root + 36; at < end; at += size) {
        const struct sdt *sdt = (const struct sdt *)get(at, size);

        if (!memcmp(sdt->signature, signature, 4))
            return sdt;
    }
    return NULL;
}

static bool from_acpi(struct board_info *board)
{
    uint64_t rsdp = rsdp_address(), end;
    const struct sdt *madt;

    if (!rsdp)
        rsdp = find_in_low_memory("RSD PTR ");
    if (!rsdp)
        return false;
    if (get(rsdp + 15, 1) >= 2 && get(rsdp + 24, 8))
        madt = find_table(get(rsdp + 24, 8), 8, "APIC");
    else
        madt = find_table(get(rsdp + 16, 4), 4, "APIC");
    if (!madt)
        return false;
    end = (uint64_t)madt + madt->length;
    for (uint64_t at = (uint64_t)madt + 44; at < end && get(at + 1, 1); at += get(at + 1, 1))
        madt_entry(board, at);
    board->source = "MADT";
    return board->cpu_count > 0;
}

static bool from_mp_table(struct board_info *board)
{
    uint64_t pointer = find_in_low_memory("_MP_"), table, at;

    if (!pointer)
        return false;
    table = get(pointer + 4, 4);
    at = table + 44;
    for (unsigned n = (unsigned)get(table + 34, 2); n; n--) {
        unsigned type = (unsigned)get(at, 1);

        if (type == MP_PROCESSOR && (get(at + 3, 1) & LAPIC_ENABLED))
            add_cpu(board, (uint32_t)get(at + 1, 1));
        else if (type == MP_IOAPIC)
            board->ioapic_address = (uint32_t)get(at + 4, 4);
        else if (type == MP_INTERRUPT && get(at + 1, 1) == 0 && get(at + 5, 1) == 0)
            board->irq0_gsi = (uint32_t)get(at + 7, 1);
        at += type == MP_PROCESSOR ? 20 : 8;
    }
    board->source = "MP table";
    return board->cpu_count > 0;
}

void board_find(struct board_info *board)
{
    *board = (struct board_info) { .ioapic_address = 0xfec00000 };
    if (from_acpi(board))
        return;
    *board = (struct board_info) { .ioapic_address = 0xfec00000 };
    if (from_mp_table(board))
        return;
    board->cpu_count = 1;
    board->source = "default";
}
