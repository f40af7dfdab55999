/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Kernel files, one thing wrong with each; and what the good ones turn into. */
#include "bzimage.h"
#include "elf_pvh.h"
#include "kernel_files.h"
#include "layout.h"
#include "memory_map.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* One change to a good file, and what the error has to say. */
struct damage {
    unsigned offset, bytes;
    uint64_t value;
    size_t size;                /* the file is cut to this; 0: not */
    const char *message;
};

static const struct damage bad_bzimages[] = {
    { 0x202, 4, 0, 0, "not a Linux bzImage" },
    { 0x1fe, 2, 0, 0, "not a Linux bzImage" },
    { 0, 0, 0, 0x204, "not a Linux bzImage" },
    { 0, 0, 0, 0x220, "truncated within its header" },
    { 0x206, 2, 0x0205, 0, "boot protocol 2.05 is too old" },
    { 0x211, 1, 0, 0, "a zImage" },
    { 0x1f1, 1, 255, 0, "truncated" },          /* setup alone is longer than the file */
    { 0x1f1, 1, 0, 0xa00, "truncated" },        /* 0 means 4 sectors, and nothing is left */
    { 0, 0, 0, 0x800, "truncated" },
    { 0x1f4, 4, 0xffffffff, 0, "truncated" },
    { 0x230, 4, 0, 0, "kernel_alignment" },
    { 0x230, 4, 0x300000, 0, "kernel_alignment" },
    { 0x258, 8, 0xffffffffffffff00, 0, "wants to run at" },
    { 0x258, 8, 0x100000000, 0, "wants to run at" },
    { 0x230, 4, 0x80000000, 0, NULL },          /* odd, but possible: 2 GiB are below 4 GiB */
};

static void damage(uint8_t *file, const struct damage *d)
{
    store(file + d->offset, d->value, d->bytes);
}

static void expect(const char *kind, size_t row, const struct damage *d, bool ok, GError *error)
{
    if (!d->message) {
        if (!ok)
            fail_msg("%s row %zu: %s", kind, row, error->message);
        return;
    }
    if (ok || !strstr(error->message, d->message))
        fail_msg("%s row %zu: got '%s', want '%s'", kind, row, ok ? "no error" : error->message,
                 d->message);
}

static void test_bad_bzimages_are_refused(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad_bzimages); i++) {
        const struct damage *d = &bad_bzimages[i];
        g_autoptr(GError) error = NULL;
        uint8_t file[GOOD_BZIMAGE_SIZE];
        struct bzimage image;

        bool ok;

        good_bzimage(file);
        damage(file, d);
        ok = bzimage_parse(file, d->size ? d->size : sizeof(file), &image, &error);
        expect("bzImage", i, d, ok, error);
    }
}

static void test_bzimage_fields(void **state)
{
    uint8_t file[GOOD_BZIMAGE_SIZE];
    struct bzimage image;

    good_bzimage(file);
    assert_true(bzimage_is(file, sizeof(file)));
    assert_true(bzimage_parse(file, sizeof(file), &image, NULL));
    assert_int_equal(image.payload_offset, 0x400);
    assert_int_equal(image.payload_size, 0xc00);
    assert_int_equal(image.header_size, 0x26c - 0x1f1);
    assert_int_equal(image.end, 0x1400000);     /* preferred address and init_size */
    assert_int_equal(image.initrd_max, 0x7fffffff);
    assert_int_equal(image.cmdline_max, 2047);
    /* Not relocatable, and so small that what it needs is where it is loaded. */
    file[0x234] = 0;
    store(file + 0x258, 0x100000, 8);
    store(file + 0x260, 0x100, 4);
    assert_true(bzimage_parse(file, sizeof(file), &image, NULL));
    assert_int_equal(image.end, 0x100000 + 0xc00);
}

static uint64_t load(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static void test_boot_params(void **state)
{
    static const struct memory_range map[] = {
        { 0, 0x9fc00, RANGE_RAM }, { 0x100000, 0x3f00000, RANGE_RAM },
    };
    const struct bzimage_boot boot = {
        .cmdline = 0x10000, .initrd = 0x3000000, .initrd_size = 0x1234, .rsdp = 0x3ff1000,
        .map = map, .map_entries = 2,
    };
    uint8_t file[GOOD_BZIMAGE_SIZE], params[BOOT_PARAMS_SIZE];
    struct bzimage image;

    good_bzimage(file);
    assert_true(bzimage_parse(file, sizeof(file), &image, NULL));
    bzimage_boot_params(&image, file, &boot, params);
    assert_memory_equal(params + 0x202, "HdrS", 4);
    assert_int_equal(params[0x210], 0xff);
    assert_int_equal(load(params + 0x070, 8), boot.rsdp);
    assert_int_equal(load(params + 0x218, 4), boot.initrd);
    assert_int_equal(load(params + 0x21c, 4), boot.initrd_size);
    assert_int_equal(load(params + 0x228, 4), boot.cmdline);
    assert_int_equal(params[0x1e8], 2);
    assert_int_equal(load(params + 0x2d0 + 20, 8), 0x100000);
    assert_int_equal(load(params + 0x2d0 + 28, 8), 0x3f00000);
    assert_int_equal(load(params + 0x2d0 + 36, 4), 1);
}

static const struct damage bad_elfs[] = {
    { 0, 0, 0, 5, "truncated within its ELF header" },
    { 0, 0, 0, 63, "truncated within its ELF header" },
    { EI_CLASS, 1, 7, 0, "unknown class" },
    { EI_DATA, 1, ELFDATA2MSB, 0, "for another processor" },
    { 18, 2, EM_AARCH64, 0, "for another processor" },
    { 56, 2, 0, 0, "program headers" },                 /* e_phnum */
    { 56, 2, 0xffff, 0, "program headers" },
    { 54, 2, 8, 0, "outside the file" },                /* e_phentsize */
    { 32, 8, 0x1000, 0, "outside the file" },           /* e_phoff */
    { 32, 8, 0xffffffffffffffc0, 0, "outside the file" },
    { 0x40 + 8, 8, 0x1000, 0, "truncated" },            /* PT_LOAD p_offset */
    { 0x40 + 8, 8, 0xfffffffffffffff0, 0, "truncated" },
    { 0x40 + 32, 8, 0xffffffffffffffff, 0, "truncated" },       /* p_filesz */
    { 0x40 + 40, 8, 0x10, 0, "larger in the file than in memory" },     /* p_memsz */
    { 0x40 + 24, 8, 0xfffffffffffff000, 0, "isn't below 4 GiB" },       /* p_paddr */
    { 0x40 + 40, 8, 0xfffffffffff00000, 0, "isn't below 4 GiB" },
    { 0x40, 4, PT_NULL, 0, "without anything to load" },
    { 0x190, 4, 0x101000, 0, "outside what is loaded" },        /* the entry */
    { 0x190, 4, 0xfffff, 0, "outside what is loaded" },
    { 0x18c, 4, 0x006e6558 + 1, 0, "without a PVH entry" },     /* not "Xen" */
    { 0x188, 4, 17, 0, "without a PVH entry" },
    { 0x180, 4, 0xfffffffc, 0, "without a PVH entry" },         /* name size */
    { 0x184, 4, 0xfffffffc, 0, "without a PVH entry" },         /* description size */
    { 0x78 + 32, 8, 12, 0, "without a PVH entry" },             /* the note's own size */
    { 0x78 + 8, 8, 0xffffffffffffff00, 0, "without a PVH entry" },
    { 0x78, 4, PT_LOAD, 0, "without a PVH entry" },
};

static void test_bad_elfs_are_refused(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad_elfs); i++) {
        const struct damage *d = &bad_elfs[i];
        g_autoptr(GError) error = NULL;
        uint8_t file[GOOD_ELF_SIZE];
        struct elf_pvh elf;

        bool ok;

        good_elf(file);
        damage(file, d);
        ok = elf_pvh_parse(file, d->size ? d->size : sizeof(file), &elf, &error);
        expect("ELF", i, d, ok, error);
    }
}

static void test_elf_segments(void **state)
{
    g_autoptr(GError) error = NULL;
    uint8_t file[GOOD_ELF_SIZE], two[GOOD_ELF_SIZE];
    struct elf_pvh elf;

    good_elf(file);
    assert_true(elf_pvh_is(file, sizeof(file)));
    assert_true(elf_pvh_parse(file, sizeof(file), &elf, &error));
    assert_int_equal(elf.nr_segments, 1);
    assert_int_equal(elf.segments[0].gpa, 0x100000);
    assert_int_equal(elf.segments[0].file_size, 0x80);
    assert_int_equal(elf.segments[0].memory_size, 0x1000);
    assert_int_equal(elf.entry, 0x100010);
    assert_int_equal(elf.end, 0x101000);

    /* A third header: a segment over the last page of the first one. */
    memcpy(two, file, sizeof(two));
    store(two + 56, 3, 2);
    memcpy(two + 0x40 + 2 * 56, two + 0x40, 56);
    store(two + 0x40 + 2 * 56 + 24, 0x100fff, 8);
    assert_false(elf_pvh_parse(two, sizeof(two), &elf, &error));
    assert_non_null(strstr(error->message, "overlap"));
    /* Behind it, or before it, is fine. */
    store(two + 0x40 + 2 * 56 + 24, 0xff000, 8);
    assert_true(elf_pvh_parse(two, sizeof(two), &elf, NULL));
    assert_int_equal(elf.segments[0].gpa, 0xff000);
    assert_int_equal(elf.end, 0x101000);
}

static void test_start_info(void **state)
{
    static const struct memory_range map[] = { { 0, 0x1000, RANGE_RAM } };
    const struct pvh_boot with = {
        .cmdline = 0x10000, .initrd = 0x200000, .initrd_size = 0x100, .rsdp = 0x5000,
        .map = map, .map_entries = 1,
    };
    g_autoptr(GByteArray) info = pvh_start_info(&with, 0x3000);
    const uint8_t *data = info->data;

    assert_int_equal(load(data, 4), 0x336ec578);
    assert_int_equal(load(data + 12, 4), 1);
    assert_int_equal(load(data + 16, 8), 0x3000 + 56);
    assert_int_equal(load(data + 24, 8), 0x10000);
    assert_int_equal(load(data + 32, 8), 0x5000);
    assert_int_equal(load(data + 40, 8), 0x3000 + 56 + 32);
    assert_int_equal(load(data + 48, 4), 1);
    assert_int_equal(load(data + 56, 8), 0x200000);
    assert_int_equal(load(data + 64, 8), 0x100);
    assert_int_equal(load(data + 88 + 8, 8), 0x1000);
    assert_int_equal(info->len, 56 + 32 + 24);
}

/* Whatever the size: ascending, disjoint, and as much RAM as there is (less tables and holes). */
static void test_memory_map_covers_ram(void **state)
{
    static const uint64_t sizes[] = {
        LAYOUT_MIN_RAM, 64 * MIB, LAYOUT_LOW_RAM_MAX - 4096, LAYOUT_LOW_RAM_MAX, 4 * GIB, TIB,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct memory_range map[MEMORY_MAP_MAX];
        unsigned n = memory_map_build(sizes[i], map);
        uint64_t ram = 0, end = 0;

        for (unsigned k = 0; k < n; k++) {
            assert_true(map[k].start >= end);
            assert_true(map[k].size > 0);
            end = map[k].start + map[k].size;
            if (map[k].type == RANGE_RAM)
                ram += map[k].size;
        }
        assert_int_equal(ram, sizes[i] - LAYOUT_ACPI_SIZE - (LAYOUT_HIGH_MEMORY -
                                                             LAYOUT_BASE_RAM_END));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_bzimages_are_refused),
        cmocka_unit_test(test_bzimage_fields),
        cmocka_unit_test(test_boot_params),
        cmocka_unit_test(test_bad_elfs_are_refused),
        cmocka_unit_test(test_elf_segments),
        cmocka_unit_test(test_start_info),
        cmocka_unit_test(test_memory_map_covers_ram),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
