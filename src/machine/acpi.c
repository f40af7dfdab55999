/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ACPI tables (ACPI 6.4, chapter 5; MCFG: PCI Firmware 3.2, 4.1.2).  The FADT is
 * revision 3: everything that this board has is in it.  No SMI command port, so the
 * machine is always in ACPI mode; the power button is a fixed feature.
 */
#include "acpi.h"

#include "acpi_pm.h"
#include "aml.h"
#include "fw_cfg.h"
#include "layout.h"
#include "pci.h"
#include "pci_hotplug.h"
#include "rtc.h"

#include <string.h>

const struct acpi_serial acpi_serials[4] = {
    { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 },
};

static uint8_t checksum(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;

    while (size--)
        sum += *bytes++;
    return -sum;
}

/* The header of a table that starts here; finish_table() fills in length and checksum. */
static guint start_table(GByteArray *out, const char *signature, uint8_t revision)
{
    guint start;

    while (out->len % 8)
        put8(out, 0);
    start = out->len;
    g_byte_array_append(out, (const guint8 *)signature, 4);
    put32(out, 0);
    put8(out, revision);
    put8(out, 0);
    g_byte_array_append(out, (const guint8 *)"CLOISTCLOISTER", 14);     /* OEM id, table id */
    put32(out, 1);
    g_byte_array_append(out, (const guint8 *)"CLST", 4);
    put32(out, 1);
    return start;
}

static void set32(GByteArray *out, guint offset, uint32_t value)
{
    for (int i = 0; i < 4; i++, value >>= 8)
        out->data[offset + i] = value;
}

static void finish_table(GByteArray *out, guint start)
{
    set32(out, start + ACPI_HEADER_LENGTH, out->len - start);
    out->data[start + ACPI_HEADER_CHECKSUM] = checksum(out->data + start, out->len - start);
}

/* An address of something in the tables, noted for those who move them. */
static void put_pointer(struct acpi_tables *tables, guint table, guint target, unsigned size)
{
    struct acpi_pointer pointer = { .table = table, .offset = tables->bytes->len, .size = size };

    g_array_append_val(tables->pointers, pointer);
    if (size == 8)
        put64(tables->bytes, tables->gpa + target);
    else
        put32(tables->bytes, tables->gpa + target);
}

/* --- DSDT --- */

static void add_interrupt_routing(GByteArray *out)
{
    aml_block table;

    aml_name(out, "_PRT");
    table = aml_package(out, 32 * 4);
    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            aml_block entry = aml_package(out, 4);

            aml_integer(out, slot << 16 | 0xffff);
            aml_integer(out, pin);
            aml_integer(out, 0);        /* no link device: the next is the input itself */
            aml_integer(out, pci_gsi(slot, pin + 1));
            aml_close(out, entry);
        }
    }
    aml_close(out, table);
}

static aml_block open_isa_device(GByteArray *out, const char *name, const char *id, unsigned uid)
{
    aml_block device = aml_device(out, name);

    aml_name(out, "_HID");
    aml_hardware_id(out, id);
    aml_name(out, "_UID");
    aml_integer(out, uid);
    aml_name(out, "_STA");
    aml_integer(out, 0x0f);
    return device;
}

/* irq 0: none. */
static void add_port_device(GByteArray *out, const char *name, const char *id, unsigned uid,
                            uint16_t port, uint8_t size, unsigned irq)
{
    aml_block device = open_isa_device(out, name, id, uid), resources;

    aml_name(out, "_CRS");
    resources = aml_resources(out);
    aml_io(out, port, size);
    if (irq)
        aml_irq(out, irq);
    aml_close_resources(out, resources);
    aml_close(out, device);
}

static void add_isa_bridge(GByteArray *out, const struct acpi_board *board)
{
    aml_block bridge = aml_device(out, "ISA");

    aml_name(out, "_ADR");
    aml_integer(out, 0x1f0000);
    add_port_device(out, "RTC", "PNP0B00", 0, 0x70, 2, 8);
    for (unsigned i = 0; i < board->serials; i++) {
        char name[8];

        g_snprintf(name, sizeof(name), "COM%u", i + 1);
        add_port_device(out, name, "PNP0501", i + 1, acpi_serials[i].port, 8,
                        acpi_serials[i].irq);
    }
    /* QEMU's name for it, by which Linux's driver (qemu_fw_cfg) finds it. */
    add_port_device(out, "FWCF", "QEMU0002", 0, FW_CFG_PORT, FW_CFG_PORTS, 0);
    aml_close(out, bridge);
}

/* --- PCI hot-plug: src/devices/pci_hotplug.h has the registers --- */

enum { SLOT_FIRST = 1, SLOT_LAST = 30, NOTIFY_CHECK = 1, NOTIFY_EJECT = 3 };

static void slot_name(char name[8], unsigned slot)
{
    g_snprintf(name, 8, "S%02X", slot);
}

/* A slot that can be ejected: its bit goes to the register. */
static void add_slot(GByteArray *out, unsigned slot)
{
    aml_block device, method;
    char name[8];

    slot_name(name, slot);
    device = aml_device(out, name);
    aml_name(out, "_SUN");
    aml_integer(out, slot);
    aml_name(out, "_ADR");
    aml_integer(out, slot << 16);
    method = aml_method(out, "_EJ0", 1);
    aml_store(out);
    aml_integer(out, 1u << slot);
    aml_name_string(out, "PHEJ");
    aml_close(out, method);
    aml_close(out, device);
}

/* HPNT (slots, value): notify each of them. */
static void add_notify_method(GByteArray *out)
{
    aml_block method = aml_method(out, "HPNT", 2), branch;
    char name[8];

    for (unsigned slot = SLOT_FIRST; slot <= SLOT_LAST; slot++) {
        branch = aml_if_argument_bits(out, 0, 1u << slot);
        slot_name(name, slot);
        aml_notify(out);
        aml_name_string(out, name);
        aml_argument(out, 1);
        aml_close(out, branch);
    }
    aml_close(out, method);
}

/* HPEV (): what the event's handler calls. */
static void add_event_method(GByteArray *out)
{
    static const struct {
        const char *field;
        unsigned value;
    } causes[] = { { "PHUP", NOTIFY_CHECK }, { "PHDN", NOTIFY_EJECT } };
    aml_block method = aml_method(out, "HPEV", 0);

    for (size_t i = 0; i < G_N_ELEMENTS(causes); i++) {
        aml_name_string(out, "HPNT");
        aml_name_string(out, causes[i].field);
        aml_integer(out, causes[i].value);
    }
    aml_close(out, method);
}

static void add_hotplug(GByteArray *out)
{
    static const char *const fields[] = { "PHUP", "PHDN", "PHEJ" };

    aml_ports(out, "PHPR", PCI_HOTPLUG_BASE, PCI_HOTPLUG_SIZE);
    aml_fields32(out, "PHPR", fields, G_N_ELEMENTS(fields));
    for (unsigned slot = SLOT_FIRST; slot <= SLOT_LAST; slot++)
        add_slot(out, slot);
    add_notify_method(out);
    add_event_method(out);
}

/* \_GPE._E01, an edge: the status bit is cleared before the handler looks. */
static void add_events(GByteArray *out)
{
    aml_block scope = aml_scope(out, "\\_GPE"), method;
    char name[8];

    g_snprintf(name, sizeof(name), "_E%02X", PCI_HOTPLUG_GPE);
    method = aml_method(out, name, 0);
    aml_name_path(out, "\\_SB", "PCI0", "HPEV");
    aml_close(out, method);
    aml_close(out, scope);
}

static void add_host_bridge(GByteArray *out, const struct acpi_board *board)
{
    aml_block bridge = aml_device(out, "PCI0"), resources;

    aml_name(out, "_HID");
    aml_hardware_id(out, "PNP0A08");
    aml_name(out, "_CID");
    aml_hardware_id(out, "PNP0A03");
    aml_name(out, "_UID");
    aml_integer(out, 0);
    aml_name(out, "_CRS");
    resources = aml_resources(out);
    aml_window_bus(out, 0, 255);
    aml_io(out, 0xcf8, 8);
    aml_window_io(out, 0x0000, 0x0cf7);
    aml_window_io(out, 0x0d00, 0xffff);
    aml_window_memory32(out, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_LAST);
    if (board->pci_window64_size)
        aml_window_memory64(out, board->pci_window64,
                            board->pci_window64 + board->pci_window64_size - 1);
    aml_close_resources(out, resources);
    add_interrupt_routing(out);
    add_isa_bridge(out, board);
    add_hotplug(out);
    aml_close(out, bridge);
}

/* What no driver may take: the configuration window and the power management ports. */
static void add_reserved(GByteArray *out, const struct acpi_board *board)
{
    aml_block device = open_isa_device(out, "MRES", "PNP0C02", 0), resources;

    aml_name(out, "_CRS");
    resources = aml_resources(out);
    aml_memory32_fixed(out, board->ecam, LAYOUT_ECAM_SIZE);
    aml_io(out, ACPI_PM_BASE, ACPI_PM_SIZE);
    aml_io(out, PCI_HOTPLUG_BASE, PCI_HOTPLUG_SIZE);
    aml_close_resources(out, resources);
    aml_close(out, device);
}

static void add_cpus(GByteArray *out, const struct acpi_board *board)
{
    for (unsigned i = 0; i < board->cpus; i++) {
        char name[8];
        aml_block device;

        g_snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        device = aml_device(out, name);
        aml_name(out, "_HID");
        aml_hardware_id(out, "ACPI0007");
        aml_name(out, "_UID");
        aml_integer(out, i);
        aml_close(out, device);
    }
}

static void add_sleep_states(GByteArray *out)
{
    aml_block package;

    aml_name(out, "\\_S5");
    package = aml_package(out, 4);
    aml_integer(out, ACPI_SLEEP_S5);
    aml_integer(out, ACPI_SLEEP_S5);
    aml_integer(out, 0);
    aml_integer(out, 0);
    aml_close(out, package);
}

static guint add_dsdt(GByteArray *out, const struct acpi_board *board)
{
    guint start = start_table(out, "DSDT", 2);
    aml_block scope;

    add_sleep_states(out);
    scope = aml_scope(out, "\\_SB");
    add_host_bridge(out, board);
    add_reserved(out, board);
    add_cpus(out, board);
    aml_close(out, scope);
    add_events(out);
    finish_table(out, start);
    return start;
}

/* --- FACS, FADT, MADT, MCFG --- */

static guint add_facs(GByteArray *out)
{
    guint start = out->len;

    g_byte_array_append(out, (const guint8 *)"FACS", 4);
    put32(out, 64);
    put32(out, 0);              /* hardware signature */
    put32(out, 0);              /* waking vector */
    for (int i = 0; i < 48; i++)
        put8(out, i == 16 ? 1 : 0);     /* version, at offset 32 */
    return start;
}

/* Generic Address Structure of an I/O port. */
static void add_gas(GByteArray *out, uint16_t port, unsigned bytes)
{
    put8(out, 1);               /* system I/O */
    put8(out, bytes * 8);
    put8(out, 0);
    put8(out, bytes > 4 ? 0 : bytes == 4 ? 3 : bytes);  /* access size: byte, word, dword */
    put64(out, port);
}

static void add_no_gas(GByteArray *out)
{
    put32(out, 0);
    put64(out, 0);
}

enum {
    FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLEEP_BUTTON = 1 << 5,
    FADT_FIX_RTC = 1 << 6, FADT_RESET_REGISTER = 1 << 10,
    BOOT_LEGACY_DEVICES = 1 << 0, BOOT_NO_VGA = 1 << 2,
    RESET_PORT = 0xcf9, RESET_VALUE = 0x0f,
    LATENCY_UNSUPPORTED = 0xfff,
};

static void add_fadt_blocks(GByteArray *out)
{
    put32(out, ACPI_PM_BASE + ACPI_PM1_EVENT);
    put32(out, 0);
    put32(out, ACPI_PM_BASE + ACPI_PM1_CONTROL);
    put32(out, 0);
    put32(out, 0);
    put32(out, ACPI_PM_BASE + ACPI_PM_TIMER);
    put32(out, ACPI_PM_BASE + ACPI_GPE0);
    put32(out, 0);
    put8(out, 4);
    put8(out, 2);
    put8(out, 0);
    put8(out, 4);
    put8(out, ACPI_GPE0_SIZE);
    put8(out, 0);
    put8(out, 0);
    put8(out, 0);
}

/* Offsets in comments: 5.2.9, table 5.9. */
static guint add_fadt(struct acpi_tables *tables, guint facs, guint dsdt)
{
    GByteArray *out = tables->bytes;
    guint start = start_table(out, "FACP", 3);

    put_pointer(tables, start, facs, 4);
    put_pointer(tables, start, dsdt, 4);
    put8(out, 0);
    put8(out, 0);               /* 45: power profile: unspecified */
    put16(out, ACPI_SCI);
    put32(out, 0);              /* 48: no SMI command port */
    put32(out, 0);              /* 52: and so no commands */
    add_fadt_blocks(out);       /* 56 */
    put16(out, LATENCY_UNSUPPORTED);
    put16(out, LATENCY_UNSUPPORTED);
    put32(out, 0);              /* 100: cache flush by size and stride: WBINVD does it */
    put32(out, 0);              /* 104: duty cycle, day and month alarm */
    put8(out, RTC_CENTURY);
    put16(out, BOOT_LEGACY_DEVICES | BOOT_NO_VGA);
    put8(out, 0);
    put32(out, FADT_WBINVD | FADT_PROC_C1 | FADT_SLEEP_BUTTON | FADT_FIX_RTC |
               FADT_RESET_REGISTER);
    add_gas(out, RESET_PORT, 1);        /* 116 */
    put8(out, RESET_VALUE);
    put16(out, 0);
    put8(out, 0);
    put64(out, 0);              /* 132: the FACS is below 4 GiB */
    put_pointer(tables, start, dsdt, 8);
    add_gas(out, ACPI_PM_BASE + ACPI_PM1_EVENT, 4);     /* 148 */
    add_no_gas(out);
    add_gas(out, ACPI_PM_BASE + ACPI_PM1_CONTROL, 2);
    add_no_gas(out);
    add_no_gas(out);
    add_gas(out, ACPI_PM_BASE + ACPI_PM_TIMER, 4);
    add_gas(out, ACPI_PM_BASE + ACPI_GPE0, ACPI_GPE0_SIZE);
    add_no_gas(out);
    finish_table(out, start);
    return start;
}

enum {
    MADT_LOCAL_APIC = 0, MADT_IO_APIC = 1, MADT_OVERRIDE = 2, MADT_LOCAL_NMI = 4,
    MADT_ACTIVE_HIGH_LEVEL = 0x0d,
};

static void add_override(GByteArray *out, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    put8(out, MADT_OVERRIDE);
    put8(out, 10);
    put8(out, 0);               /* ISA */
    put8(out, irq);
    put32(out, gsi);
    put16(out, flags);
}

static guint add_madt(GByteArray *out, const struct acpi_board *board)
{
    guint start = start_table(out, "APIC", 3);

    put32(out, LAYOUT_LAPIC);
    put32(out, 1);              /* there are 8259s too */
    for (unsigned i = 0; i < board->cpus; i++) {
        put8(out, MADT_LOCAL_APIC);
        put8(out, 8);
        put8(out, i);           /* _UID in the DSDT */
        put8(out, i);           /* APIC id */
        put32(out, 1);
    }
    put8(out, MADT_IO_APIC);
    put8(out, 12);
    put8(out, 0);
    put8(out, 0);
    put32(out, LAYOUT_IOAPIC);
    put32(out, 0);
    /* IRQ 0 is on pin 0, not 2 as on other boards: KVM's default routing has it there. */
    add_override(out, ACPI_SCI, ACPI_SCI, MADT_ACTIVE_HIGH_LEVEL);
    put8(out, MADT_LOCAL_NMI);
    put8(out, 6);
    put8(out, 0xff);            /* of every CPU */
    put16(out, 0);
    put8(out, 1);
    finish_table(out, start);
    return start;
}

static guint add_mcfg(GByteArray *out, const struct acpi_board *board)
{
    guint start = start_table(out, "MCFG", 1);

    put64(out, 0);
    put64(out, board->ecam);
    put16(out, 0);
    put8(out, 0);
    put8(out, LAYOUT_ECAM_SIZE / MIB - 1);      /* last bus: a MiB each */
    put32(out, 0);
    finish_table(out, start);
    return start;
}

/* --- SRAT (5.2.16): one node, for the sake of memory that may come --- */

enum {
    SRAT_CPU = 0, SRAT_MEMORY = 1, SRAT_CPU_ENABLED = 1,
    SRAT_MEMORY_ENABLED = 1, SRAT_MEMORY_HOTPLUGGABLE = 2,
};

static void add_memory_affinity(GByteArray *out, uint64_t start, uint64_t size, uint32_t flags)
{
    if (!size)
        return;
    put8(out, SRAT_MEMORY);
    put8(out, 40);
    put32(out, 0);              /* proximity domain */
    put16(out, 0);
    put64(out, start);
    put64(out, size);
    put32(out, 0);
    put32(out, flags);
    put64(out, 0);
}

static guint add_srat(GByteArray *out, const struct acpi_board *board)
{
    guint start = start_table(out, "SRAT", 3);
    uint64_t low = layout_low_ram(board->ram_size);

    put32(out, 1);
    put64(out, 0);
    for (unsigned i = 0; i < board->cpus; i++) {
        put8(out, SRAT_CPU);
        put8(out, 16);
        put8(out, 0);           /* proximity domain, its low byte */
        put8(out, i);           /* APIC id */
        put32(out, SRAT_CPU_ENABLED);
        put32(out, 0);
        put32(out, 0);
    }
    add_memory_affinity(out, 0, LAYOUT_BASE_RAM_END, SRAT_MEMORY_ENABLED);
    add_memory_affinity(out, LAYOUT_HIGH_MEMORY, low - LAYOUT_HIGH_MEMORY, SRAT_MEMORY_ENABLED);
    add_memory_affinity(out, LAYOUT_HIGH_RAM, board->ram_size - low, SRAT_MEMORY_ENABLED);
    add_memory_affinity(out, board->device_memory, board->device_memory_size,
                        SRAT_MEMORY_ENABLED | SRAT_MEMORY_HOTPLUGGABLE);
    finish_table(out, start);
    return start;
}

/* --- RSDP and XSDT --- */

void acpi_fill_rsdp(uint8_t rsdp[ACPI_RSDP_SIZE], uint64_t xsdt)
{
    memset(rsdp, 0, ACPI_RSDP_SIZE);
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, "CLOIST", 6);
    rsdp[15] = 2;
    rsdp[20] = ACPI_RSDP_SIZE;
    for (int i = 0; i < 8; i++)
        rsdp[ACPI_RSDP_XSDT + i] = xsdt >> (8 * i);
    rsdp[ACPI_RSDP_CHECKSUM] = checksum(rsdp, ACPI_RSDP_V1_SIZE);
    rsdp[ACPI_RSDP_EXTENDED_CHECKSUM] = checksum(rsdp, ACPI_RSDP_SIZE);
}

struct acpi_tables *acpi_build(const struct acpi_board *board, uint64_t gpa)
{
    struct acpi_tables *all = g_new0(struct acpi_tables, 1);
    GByteArray *out = g_byte_array_new();
    guint facs = add_facs(out), tables[4], nr_tables = 0, dsdt;

    all->bytes = out;
    all->gpa = gpa;
    all->pointers = g_array_new(FALSE, FALSE, sizeof(struct acpi_pointer));
    g_byte_array_set_size(out, ACPI_TABLES_OFFSET + ACPI_RSDP_SIZE);
    memset(out->data + facs + 64, 0, out->len - facs - 64);
    dsdt = add_dsdt(out, board);
    tables[nr_tables++] = add_fadt(all, facs, dsdt);
    tables[nr_tables++] = add_madt(out, board);
    tables[nr_tables++] = add_mcfg(out, board);
    if (board->device_memory_size)
        tables[nr_tables++] = add_srat(out, board);
    all->xsdt = start_table(out, "XSDT", 1);
    for (guint i = 0; i < nr_tables; i++)
        put_pointer(all, all->xsdt, tables[i], 8);
    finish_table(out, all->xsdt);
    acpi_fill_rsdp(out->data + ACPI_RSDP_OFFSET, gpa + all->xsdt);
    return all;
}

void acpi_tables_free(struct acpi_tables *tables)
{
    g_byte_array_unref(tables->bytes);
    g_array_free(tables->pointers, TRUE);
    g_free(tables);
}
