/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ACPI tables as a guest finds them: from the RSDP down, every checksum and
 * length; and ACPICA's compiler reads them back without complaint where it is installed.
 */
#include "acpi.h"
#include "layout.h"

#include <glib/gstdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BASE 0x3ff0000ULL

static GByteArray *build(unsigned cpus, unsigned serials)
{
    const struct acpi_board board = {
        .cpus = cpus, .serials = serials, .ecam = LAYOUT_ECAM, .ram_size = 6 * GIB,
        .device_memory = 9 * GIB, .device_memory_size = 2 * GIB,
    };

    struct acpi_tables *tables = acpi_build(&board, BASE);
    GByteArray *bytes = g_byte_array_ref(tables->bytes);

    acpi_tables_free(tables);
    return bytes;
}

static uint64_t load(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static uint8_t sum(const uint8_t *at, size_t size)
{
    uint8_t total = 0;

    while (size--)
        total += *at++;
    return total;
}

/* The table at a guest address, checked. */
static const uint8_t *table(const GByteArray *tables, uint64_t gpa, const char *signature)
{
    const uint8_t *at = tables->data + (gpa - BASE);
    uint32_t length;

    assert_in_range(gpa, BASE, BASE + tables->len - 36);
    length = load(at + 4, 4);
    assert_true(gpa - BASE + length <= tables->len);
    assert_memory_equal(at, signature, 4);
    assert_int_equal(sum(at, length), 0);
    return at;
}

static const uint8_t *find(const GByteArray *tables, const char *signature)
{
    const uint8_t *rsdp = tables->data + ACPI_RSDP_OFFSET, *xsdt;
    unsigned entries;

    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    xsdt = table(tables, load(rsdp + 24, 8), "XSDT");
    entries = (load(xsdt + 4, 4) - 36) / 8;
    for (unsigned i = 0; i < entries; i++) {
        uint64_t gpa = load(xsdt + 36 + 8 * i, 8);

        if (memcmp(tables->data + (gpa - BASE), signature, 4) == 0)
            return table(tables, gpa, signature);
    }
    fail_msg("no table %s", signature);
    return NULL;
}

static void test_fadt_leads_to_dsdt_and_facs(void **state)
{
    g_autoptr(GByteArray) tables = build(1, 1);
    const uint8_t *fadt = find(tables, "FACP");

    assert_int_equal(load(fadt + 4, 4), 244);
    table(tables, load(fadt + 40, 4), "DSDT");
    assert_int_equal(load(fadt + 140, 8), load(fadt + 40, 4));
    assert_int_equal(load(fadt + 36, 4) % 64, 0);
    assert_memory_equal(tables->data + (load(fadt + 36, 4) - BASE), "FACS", 4);
    assert_int_equal(load(fadt + 56, 4), 0x600);
    assert_int_equal(load(fadt + 64, 4), 0x604);
    assert_int_equal(load(fadt + 76, 4), 0x608);
    assert_int_equal(load(fadt + 152, 8), 0x600);       /* the same in the extended fields */
    assert_int_equal(load(fadt + 176, 8), 0x604);
    assert_int_equal(load(fadt + 212, 8), 0x608);
    assert_int_equal(load(fadt + 120, 8), 0xcf9);
    assert_int_equal(load(fadt + 112, 4) >> 10 & 1, 1); /* the reset register is supported */
    assert_int_equal(load(fadt + 112, 4) >> 4 & 1, 0);  /* fixed power button */
}

static void test_madt_has_every_cpu(void **state)
{
    static const unsigned counts[] = { 1, 2, 64 };

    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        g_autoptr(GByteArray) tables = build(counts[i], 1);
        const uint8_t *madt = find(tables, "APIC"), *end = madt + load(madt + 4, 4);
        unsigned cpus = 0, ioapics = 0;

        assert_true(tables->len <= LAYOUT_ACPI_SIZE);
        for (const uint8_t *entry = madt + 44; entry < end; entry += entry[1]) {
            assert_true(entry[1] >= 2);
            if (entry[0] == 0) {
                assert_int_equal(entry[3], cpus);
                cpus++;
            }
            ioapics += entry[0] == 1;
        }
        assert_int_equal(cpus, counts[i]);
        assert_int_equal(ioapics, 1);
    }
}

static void test_mcfg_is_the_ecam_window(void **state)
{
    g_autoptr(GByteArray) tables = build(1, 1);
    const uint8_t *mcfg = find(tables, "MCFG");

    assert_int_equal(load(mcfg + 44, 8), LAYOUT_ECAM);
    assert_int_equal(mcfg[54], 0);
    assert_int_equal(mcfg[55], 255);
}

/* All RAM, then the place for memory devices, which may be empty; every CPU. */
static void test_srat_is_all_memory(void **state)
{
    static const uint64_t memory[][3] = {
        { 0, LAYOUT_BASE_RAM_END, 1 },
        { LAYOUT_HIGH_MEMORY, LAYOUT_LOW_RAM_SPLIT - LAYOUT_HIGH_MEMORY, 1 },
        { LAYOUT_HIGH_RAM, 6 * GIB - LAYOUT_LOW_RAM_SPLIT, 1 },
        { 9 * GIB, 2 * GIB, 3 },
    };
    g_autoptr(GByteArray) tables = build(3, 1);
    const uint8_t *srat = find(tables, "SRAT"), *end = srat + load(srat + 4, 4);
    unsigned cpus = 0, ranges = 0;

    for (const uint8_t *entry = srat + 48; entry < end; entry += entry[1]) {
        assert_true(entry[1] >= 2);
        if (entry[0] == 0) {
            assert_int_equal(entry[3], cpus++);
            assert_int_equal(load(entry + 4, 4), 1);
            continue;
        }
        assert_int_equal(entry[0], 1);
        assert_in_range(ranges, 0, G_N_ELEMENTS(memory) - 1);
        assert_int_equal(load(entry + 2, 4), 0);
        assert_int_equal(load(entry + 8, 8), memory[ranges][0]);
        assert_int_equal(load(entry + 16, 8), memory[ranges][1]);
        assert_int_equal(load(entry + 28, 4), memory[ranges][2]);
        ranges++;
    }
    assert_int_equal(cpus, 3);
    assert_int_equal(ranges, G_N_ELEMENTS(memory));
}

static void write_table(const char *folder, const char *name, const uint8_t *at)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);

    assert_true(g_file_set_contents(path, (const char *)at, load(at + 4, 4), NULL));
}

static void remove_folder(const char *folder)
{
    static const char *const names[] = {
        "dsdt.dat", "facp.dat", "apic.dat", "mcfg.dat", "srat.dat",
        "dsdt.dsl", "facp.dsl", "apic.dsl", "mcfg.dsl", "srat.dsl", "dsdt.aml",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);

        g_unlink(path);
    }
    g_rmdir(folder);
}

/* Disassemble all, compile the DSDT's source again: no error, no warning. */
static void test_acpica_reads_them(void **state)
{
    g_autoptr(GByteArray) tables = build(3, 4);
    g_autofree char *iasl = g_find_program_in_path("iasl");
    g_autofree char *folder = NULL, *command = NULL, *out = NULL, *dsl = NULL, *source = NULL;
    const uint8_t *fadt;
    int status;

    if (!iasl) {
        print_message("skipped: iasl (package acpica-tools) is not installed\n");
        skip();
    }
    folder = g_dir_make_tmp("acpi-XXXXXX", NULL);
    assert_non_null(folder);
    fadt = find(tables, "FACP");
    write_table(folder, "dsdt.dat", table(tables, load(fadt + 40, 4), "DSDT"));
    write_table(folder, "facp.dat", fadt);
    write_table(folder, "apic.dat", find(tables, "APIC"));
    write_table(folder, "mcfg.dat", find(tables, "MCFG"));
    write_table(folder, "srat.dat", find(tables, "SRAT"));
    command = g_strdup_printf("/bin/sh -c 'cd %s && iasl -d dsdt.dat facp.dat apic.dat mcfg.dat "
                              "srat.dat 2>&1 && iasl -oe dsdt.dsl 2>&1'", folder);
    assert_true(g_spawn_command_line_sync(command, &out, NULL, &status, NULL));
    dsl = g_build_filename(folder, "dsdt.dsl", NULL);
    g_file_get_contents(dsl, &source, NULL, NULL);
    remove_folder(folder);
    if (status != 0 || !strstr(out, "0 Errors, 0 Warnings"))
        fail_msg("iasl: ...%s", out + MAX(strlen(out), 600) - 600);
    assert_non_null(strstr(source, "Device (COM4)"));
    assert_non_null(strstr(source, "Device (C002)"));
    assert_non_null(strstr(source, "\\_S5"));
    assert_non_null(strstr(source, "EisaId (\"PNP0A08\")"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fadt_leads_to_dsdt_and_facs),
        cmocka_unit_test(test_madt_has_every_cpu),
        cmocka_unit_test(test_mcfg_is_the_ecam_window),
        cmocka_unit_test(test_srat_is_all_memory),
        cmocka_unit_test(test_acpica_reads_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
