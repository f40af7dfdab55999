/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Page walks through tables made by hand, in each paging mode, against the leaves
 * that the manuals say they have; and tables that a hostile guest could make.
 */
#include "debug_memory.h"
#include "error.h"
#include "page_walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- A machine: RAM at 0, of which one page is private --- */

enum { RAM_SIZE = 0x20000, PRIVATE_PAGE = 0x1f000 };
static uint8_t ram[RAM_SIZE];
static struct kvm_vm vm = { .type = KVM_X86_SW_PROTECTED_VM };

struct kvm_vm *memory_vm(struct memory *mem)
{
    return &vm;
}

struct memory_piece memory_look(struct memory *mem, uint64_t gpa, uint64_t size)
{
    if (gpa < PRIVATE_PAGE)
        return (struct memory_piece){ MEMORY_SHARED, MIN(size, PRIVATE_PAGE - gpa) };
    if (gpa < RAM_SIZE)
        return (struct memory_piece){ MEMORY_PRIVATE, MIN(size, RAM_SIZE - gpa) };
    return (struct memory_piece){ MEMORY_NOTHING, size };
}

uint64_t memory_copy_shared(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    memcpy(write ? ram + gpa : buf, write ? buf : ram + gpa, size);
    return size;
}

uint64_t memory_copy_host(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    return 0;
}

int memory_with_host(struct memory *mem, uint64_t gpa, uint64_t size, bool private_only,
                     memory_host_fn fn, void *opaque)
{
    return -EIO;
}

int memory_copy_private(struct memory *mem, struct kvm_vcpu *vcpu0, uint64_t gpa, void *buf,
                        uint64_t size, bool write, const char **ret_what)
{
    return -EIO;
}

static bool is_running(void *opaque)
{
    return false;
}

static unsigned mmio_accesses;

static uint64_t mmio_look(void *opaque, uint64_t gpa, uint64_t size, bool *ret_claimed)
{
    *ret_claimed = gpa >= 0xfe000000 && gpa < 0xfe001000;
    return *ret_claimed ? MIN(size, 0xfe001000 - gpa) : size;
}

static void mmio(void *opaque, uint64_t gpa, void *data, unsigned size, bool write)
{
    mmio_accesses++;
    memset(data, (int)size, size);
}

static struct debug *dbg;

static int setup(void **state)
{
    const struct debug_machine machine = {
        .running = is_running, .mmio_look = mmio_look, .mmio = mmio,
    };

    memset(ram, 0, sizeof(ram));
    mmio_accesses = 0;
    dbg = debug_new(&machine, NULL, NULL);
    return dbg ? 0 : -1;
}

static int teardown(void **state)
{
    debug_free(dbg);
    return 0;
}

static void put64(uint64_t table, unsigned index, uint64_t entry)
{
    memcpy(ram + table + index * 8, &entry, 8);
}

static void put32(uint64_t table, unsigned index, uint32_t entry)
{
    memcpy(ram + table + index * 4, &entry, 4);
}

/* --- Comparing --- */

struct expected {
    uint64_t gva, gpa, size;
    const char *rights;         /* "uwxl": user, writable, executable, large; all levels */
};

static void check_leaf(const struct page_leaf *leaf, const struct expected *want)
{
    char rights[5];

    snprintf(rights, sizeof(rights), "%c%c%c%c", leaf->user ? 'u' : '-',
             leaf->writable ? 'w' : '-', leaf->no_execute ? '-' : 'x', leaf->large ? 'l' : '-');
    assert_int_equal(leaf->gva, want->gva);
    assert_int_equal(leaf->gpa, want->gpa);
    assert_int_equal(leaf->size, want->size);
    assert_string_equal(rights, want->rights);
}

struct check {
    const struct expected *want;
    size_t count, seen;
};

static bool check_next(void *opaque, const struct page_leaf *leaf, const char *reason)
{
    struct check *check = opaque;

    assert_null(reason);
    assert_true(check->seen < check->count);
    check_leaf(leaf, &check->want[check->seen++]);
    return true;
}

static void check_all(struct page_walk *walk, const struct expected *want, size_t count)
{
    struct check check = { want, count, 0 };

    assert_true(page_walk_each(walk, 0, UINT64_MAX, check_next, &check, NULL));
    assert_int_equal(check.seen, count);
    for (size_t i = 0; i < count; i++) {
        struct page_leaf leaf;

        assert_true(debug_translate(walk, want[i].gva, &leaf, NULL));
        check_leaf(&leaf, &want[i]);
        assert_true(debug_translate(walk, want[i].gva + want[i].size - 1, &leaf, NULL));
        check_leaf(&leaf, &want[i]);
    }
}

static void check_unmapped(struct page_walk *walk, uint64_t gva)
{
    g_autoptr(GError) error = NULL;
    struct page_leaf leaf;

    assert_false(debug_translate(walk, gva, &leaf, &error));
    assert_int_equal(error->code, DEBUG_UNMAPPED);
}

/* --- The modes --- */

#define NX PTE_NO_EXECUTE

static const struct kvm_sregs long_mode = {
    .cr0 = 0x80000001, .cr3 = 0x1000, .cr4 = 0x20, .efer = 0xd00,
};

/* A PML4 at 0x1000 with all sizes of pages; also what a PML5 leads to. */
static void make_pml4(void)
{
    put64(0x1000, 0, 0x2000 | 7);
    put64(0x1000, 256, 0x2000 | 5);             /* the upper half: the same, not writable */
    put64(0x2000, 0, 0x3000 | 7);
    put64(0x2000, 1, 0x40000000 | 0x83 | NX);   /* 1 GiB, not user */
    put64(0x3000, 0, 0x4000 | 7);
    put64(0x3000, 2, 0x12345600000 | 0x1e7);    /* 2 MiB, global, dirty, accessed */
    put64(0x3000, 3, 0x4000 | 6);               /* not present */
    put64(0x4000, 0, 0x5000 | 5);
    put64(0x4000, 511, 0x000ffffffffff000 | 7 | 0x7f0000000000000 | NX);
}

static const struct expected pml4_leaves[] = {
    { 0x0, 0x5000, 0x1000, "u-x-" },
    { 0x1ff000, 0x000ffffffffff000, 0x1000, "uw--" },
    { 0x400000, 0x12345600000, 0x200000, "uwxl" },
    { 0x40000000, 0x40000000, 0x40000000, "-w-l" },
    { 0xffff800000000000, 0x5000, 0x1000, "u-x-" },
    { 0xffff8000001ff000, 0x000ffffffffff000, 0x1000, "u---" },
    { 0xffff800000400000, 0x12345600000, 0x200000, "u-xl" },
    { 0xffff800040000000, 0x40000000, 0x40000000, "---l" },
};

static void test_4level(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    struct page_leaf leaf;

    make_pml4();
    assert_int_equal(page_walk_mode(walk), PAGING_4LEVEL);
    check_all(walk, pml4_leaves, G_N_ELEMENTS(pml4_leaves));
    check_unmapped(walk, 0x1000);
    check_unmapped(walk, 0x600000);
    check_unmapped(walk, 0x800000000000);       /* not canonical */
    check_unmapped(walk, 0xffff000000000000);
    assert_true(debug_translate(walk, 0x400000, &leaf, NULL));
    assert_int_equal(leaf.entry & 0xfff, 0x1e7);
}

static void test_no_nxe(void **state)
{
    struct kvm_sregs sregs = long_mode;
    struct page_leaf leaf;

    sregs.efer &= ~0x800ULL;
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &sregs);

    make_pml4();
    assert_true(debug_translate(walk, 0x1ff000, &leaf, NULL));
    assert_false(leaf.no_execute);
}

static void test_5level(void **state)
{
    static const struct expected upper = { 0xff00000000000000, 0x5000, 0x1000, "u-x-" };
    struct kvm_sregs sregs = long_mode;
    struct page_leaf leaf;

    sregs.cr3 = 0x9000 | 0xfff;                 /* PCID isn't address */
    sregs.cr4 |= 1 << 12;
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &sregs);

    make_pml4();
    put64(0x9000, 0, 0x1000 | 7);
    put64(0x9000, 256, 0x1000 | 7);
    assert_int_equal(page_walk_mode(walk), PAGING_5LEVEL);
    assert_true(debug_translate(walk, upper.gva, &leaf, NULL));
    check_leaf(&leaf, &upper);
    /* In the lower half bit 47 isn't a sign here. */
    assert_true(debug_translate(walk, 0x800000400000, &leaf, NULL));
    assert_int_equal(leaf.gpa, 0x12345600000);
    check_unmapped(walk, 0x100000000000000);
    check_unmapped(walk, 0xfe00000000000000);
}

static void test_pae(void **state)
{
    static const struct expected want[] = {
        { 0x0, 0x7000, 0x1000, "uwx-" },
        { 0xc0000000, 0x80000000, 0x200000, "-w-l" },
    };
    const struct kvm_sregs sregs = {
        .cr0 = 0x80000001, .cr3 = 0x1020, .cr4 = 0x20, .efer = 0x800,
    };
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &sregs);

    put64(0x1020, 0, 0x2000 | 1);               /* no rights in these */
    put64(0x1020, 3, 0x3000 | 1);
    put64(0x2000, 0, 0x4000 | 7);
    put64(0x3000, 0, 0x80000000 | 0x83 | NX);
    put64(0x4000, 0, 0x7000 | 7);
    assert_int_equal(page_walk_mode(walk), PAGING_PAE);
    check_all(walk, want, G_N_ELEMENTS(want));
    check_unmapped(walk, 0x100000000);
}

static void make_32bit(void)
{
    put32(0x1000, 0, 0x2000 | 7);
    put32(0x1000, 1, 0x00c00000 | 0x81 | 0xa6 << 13);   /* 4 MiB, bits 32 to 39 of the address */
    put32(0x1000, 1023, 0x2000 | 1);
    put32(0x2000, 0, 0xfffff000 | 7);
    put32(0x2000, 1023, 0x3000 | 3);
}

static void test_32bit(void **state)
{
    static const struct expected want[] = {
        { 0x0, 0xfffff000, 0x1000, "uwx-" },
        { 0x3ff000, 0x3000, 0x1000, "-wx-" },
        { 0x400000, 0xa600c00000, 0x400000, "--xl" },
        { 0xffc00000, 0xfffff000, 0x1000, "--x-" },
        { 0xfffff000, 0x3000, 0x1000, "--x-" },
    };
    const struct kvm_sregs sregs = { .cr0 = 0x80000001, .cr3 = 0x1fff, .cr4 = 0x10 };
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &sregs);

    make_32bit();
    assert_int_equal(page_walk_mode(walk), PAGING_32BIT);
    check_all(walk, want, G_N_ELEMENTS(want));
}

/* Without CR4.PSE, bit 7 of a directory's entry means nothing. */
static void test_32bit_without_pse(void **state)
{
    const struct kvm_sregs sregs = { .cr0 = 0x80000001, .cr3 = 0x1000 };
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &sregs);
    struct page_leaf leaf;

    put32(0x1000, 1, 0x2000 | 0x87);
    put32(0x2000, 0, 0x5000 | 7);
    assert_true(debug_translate(walk, 0x400000, &leaf, NULL));
    assert_int_equal(leaf.gpa, 0x5000);
    assert_false(leaf.large);
}

static void test_off(void **state)
{
    const struct kvm_sregs sregs = { .cr0 = 1, .cr3 = 0x1000 };
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &sregs);
    struct page_leaf leaf;

    assert_true(debug_translate(walk, 0xfee00123, &leaf, NULL));
    assert_int_equal(leaf.gpa, 0xfee00000);
    assert_false(page_walk_each(walk, 0, UINT64_MAX, check_next, NULL, NULL));
}

/* --- Ranges --- */

static void test_ranges(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    struct check check = { pml4_leaves + 1, 2, 0 };

    make_pml4();
    assert_true(page_walk_each(walk, 0x1fffff, 0x400000, check_next, &check, NULL));
    assert_int_equal(check.seen, 2);
    check = (struct check){ pml4_leaves + 4, 4, 0 };
    assert_true(page_walk_each(walk, 0xffff800000000000, UINT64_MAX, check_next, &check, NULL));
    assert_int_equal(check.seen, 4);
}

/* --- Tables that can't be read, or never end --- */

static bool note_reason(void *opaque, const struct page_leaf *leaf, const char *reason)
{
    GString *text = opaque;

    g_string_append_printf(text, "%lx+%lx %s\n", (unsigned long)leaf->gva,
                           (unsigned long)leaf->size, reason ? reason : "mapped");
    return true;
}

static void test_unreadable_tables(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    struct page_leaf leaf;

    put64(0x1000, 0, 0x2000 | 7);
    put64(0x2000, 0, PRIVATE_PAGE | 7);
    put64(0x2000, 1, 0xfe000000 | 7);           /* a device's registers: not to be touched */
    put64(0x2000, 2, 0x3000 | 7);
    put64(0x3000, 0, 0x200083);
    assert_true(page_walk_each(walk, 0, UINT64_MAX, note_reason, text, NULL));
    assert_string_equal(text->str,
        "0+40000000 page table at 0x1f000: 0x1f000 is private memory, which can't be read "
        "without a debug object: -object sw-protected-vm-debug,id=d0,allow=read "
        "-machine debug=d0\n"
        "40000000+40000000 page table at 0xfe000000: No memory is mapped at address 0xfe000000\n"
        "80000000+200000 mapped\n");
    assert_false(debug_translate(walk, 0x1000, &leaf, &error));
    assert_int_not_equal(error->code, DEBUG_UNMAPPED);
    assert_int_equal(mmio_accesses, 0);
}

static bool count_leaf(void *opaque, const struct page_leaf *leaf, const char *reason)
{
    return ++*(uint64_t *)opaque != 0;
}

static void test_endless_tables(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    uint64_t leaves = 0, next = 0;

    for (unsigned i = 0; i < 512; i++)
        put64(0x1000, i, 0x1000 | 7);
    assert_false(page_walk_each(walk, 0, UINT64_MAX, count_leaf, &leaves, &next));
    assert_true(leaves > 0 && leaves <= 512ULL * PAGE_WALK_MAX_TABLES);
    assert_true(next > 0 && next < 0x8000000000);
}

/* --- Memory behind them --- */

static void test_virtual_access(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    g_autoptr(GError) error = NULL;
    uint8_t bytes[0x3000];

    put64(0x1000, 0, 0x2000 | 7);
    put64(0x2000, 0, 0x3000 | 7);
    put64(0x3000, 0, 0x4000 | 7);
    put64(0x4000, 0, 0x8000 | 7);
    put64(0x4000, 1, 0x7000 | 7);               /* not in order */
    memset(ram + 0x8000, 1, 0x1000);
    memset(ram + 0x7000, 2, 0x1000);
    assert_int_equal(debug_read(dbg, walk, 0xffe, bytes, 4, NULL), 4);
    assert_memory_equal(bytes, "\1\1\2\2", 4);
    assert_int_equal(debug_read(dbg, walk, 0x800, bytes, 0x2000, &error), 0x1800);
    assert_string_equal(error->message, "virtual address 0x2000 isn't mapped");
    assert_int_equal(debug_write(dbg, walk, 0xffe, "abcd", 4, NULL), 4);
    assert_memory_equal(ram + 0x8ffe, "ab", 2);
    assert_memory_equal(ram + 0x7000, "cd", 2);
    /* A table is written through the walk that remembers it. */
    put64(0x4000, 1, 0x4000 | 7);
    page_walk_forget(walk);
    assert_int_equal(debug_write(dbg, walk, 0x1000 + 8, "\7\x60\0\0\0\0\0\0", 8, NULL), 8);
    memset(ram + 0x6000, 6, 0x1000);
    assert_int_equal(debug_read(dbg, walk, 0x1000, bytes, 1, NULL), 1);
    assert_int_equal(bytes[0], 6);
}

static void test_ends(void **state)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[64];

    assert_int_equal(debug_read(dbg, NULL, PRIVATE_PAGE - 8, bytes, 16, &error), 8);
    assert_non_null(strstr(error->message, "0x1f000 is private memory"));
    g_clear_error(&error);
    assert_int_equal(debug_read(dbg, NULL, UINT64_MAX - 7, bytes, 64, &error), 0);
    g_clear_error(&error);
    assert_int_equal(debug_read(dbg, NULL, RAM_SIZE, bytes, 1, &error), 0);
    assert_string_equal(error->message, "No memory is mapped at address 0x20000");
    assert_int_equal(debug_read(dbg, NULL, 0, bytes, 0, NULL), 0);
}

/* As drivers would access it: aligned, 8 bytes at most. */
static void test_mmio(void **state)
{
    uint8_t bytes[16];

    assert_int_equal(debug_read(dbg, NULL, 0xfe000003, bytes, 14, NULL), 14);
    assert_memory_equal(bytes, "\1\4\4\4\4\10\10\10\10\10\10\10\10\1", 14);
    assert_int_equal(mmio_accesses, 4);
    assert_int_equal(debug_read(dbg, NULL, 0xfe000ffc, bytes, 8, NULL), 4);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_4level), TEST(test_no_nxe), TEST(test_5level), TEST(test_pae), TEST(test_32bit),
        TEST(test_32bit_without_pse), TEST(test_off), TEST(test_ranges),
        TEST(test_unreadable_tables), TEST(test_endless_tables), TEST(test_virtual_access),
        TEST(test_ends), TEST(test_mmio),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
