/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The debug object of SEV guests, and the access layer above it, against a firmware and
 * RAM made here: whole blocks are all that this firmware takes, and what was encrypted
 * at one address is noise at another.
 */
#include "debug_memory.h"
#include "debug_object.h"
#include "error.h"
#include "page_walk.h"
#include "sev_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- RAM at 0: all private by the record, but for one page --- */

enum { RAM_SIZE = 0x20000, SHARED_PAGE = 0x1e000, PAGE = 4096, C_BIT = 51 };
#define C (1ULL << C_BIT)

static uint8_t ram[RAM_SIZE] __attribute__((aligned(PAGE)));
static struct kvm_sev sev = { .c_bit = C_BIT };
static struct kvm_vm vm = { .type = KVM_X86_SEV_VM, .sev = &sev };
static bool running;
static unsigned commands;

struct kvm_vm *memory_vm(struct memory *mem)
{
    return &vm;
}

struct memory_piece memory_look(struct memory *mem, uint64_t gpa, uint64_t size)
{
    struct memory_piece piece = { .state = MEMORY_PRIVATE, .offset = gpa };
    uint64_t end = gpa < SHARED_PAGE ? SHARED_PAGE
                 : gpa < SHARED_PAGE + PAGE ? SHARED_PAGE + PAGE : RAM_SIZE;

    if (gpa >= RAM_SIZE)
        return (struct memory_piece){ MEMORY_NOTHING, size };
    if (end == SHARED_PAGE + PAGE)
        piece.state = MEMORY_SHARED;
    piece.size = MIN(size, end - gpa);
    return piece;
}

uint64_t memory_copy_host(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    memcpy(write ? ram + gpa : buf, write ? buf : ram + gpa, size);
    return size;
}

uint64_t memory_copy_shared(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    return memory_copy_host(mem, gpa, buf, size, write);
}

int memory_with_host(struct memory *mem, uint64_t gpa, uint64_t size, bool private_only,
                     memory_host_fn fn, void *opaque)
{
    if (private_only && memory_look(mem, gpa, size).state != MEMORY_PRIVATE)
        return -EFAULT;
    return fn(opaque, ram + gpa, size);
}

int memory_copy_private(struct memory *mem, struct kvm_vcpu *vcpu0, uint64_t gpa, void *buf,
                        uint64_t size, bool write, const char **ret_what)
{
    return -EIO;
}

/* --- The firmware --- */

static void cipher(void *to, const void *from, uint64_t address, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i] ^ (uint8_t)(0x5a + (address + i) / 16 * 7);
}

static int command(uint64_t guest, void *to, const void *from, uint32_t size, uint32_t *fw)
{
    commands++;
    assert_true(guest < RAM_SIZE && size <= RAM_SIZE - guest);
    assert_true(guest % 16 == 0 && size % 16 == 0 && size && (uintptr_t)to % 16 == 0);
    /* Within a page on either side, or whole pages. */
    assert_true((guest % PAGE == 0 && size % PAGE == 0 && (uintptr_t)from % PAGE == 0 &&
                 (uintptr_t)to % PAGE == 0) ||
                (guest % PAGE + size <= PAGE && (uintptr_t)from % PAGE + size <= PAGE));
    *fw = sev.policy & KVM_SEV_POLICY_NODBG ? 7 : 0;
    if (*fw)
        return -EIO;
    cipher(to, from, guest, size);
    return 0;
}

int kvm_sev_debug_decrypt(struct kvm_vm *vm_, const void *guest, void *to, uint32_t size,
                          uint32_t *fw)
{
    return command((uint64_t)((const uint8_t *)guest - ram), to, guest, size, fw);
}

int kvm_sev_debug_encrypt(struct kvm_vm *vm_, void *guest, const void *from, uint32_t size,
                          uint32_t *fw)
{
    return command((uint64_t)((uint8_t *)guest - ram), guest, from, size, fw);
}

const char *kvm_sev_error_text(uint32_t fw)
{
    return "the policy forbids it";
}

/* --- The machine --- */

static bool is_running(void *opaque)
{
    return running;
}

static uint64_t mmio_look(void *opaque, uint64_t gpa, uint64_t size, bool *ret_claimed)
{
    *ret_claimed = gpa >= 0xfe000000 && gpa < 0xfe001000;
    return *ret_claimed ? MIN(size, 0xfe001000 - gpa) : size;
}

static void mmio(void *opaque, uint64_t gpa, void *data, unsigned size, bool write)
{
    memset(data, 0x77, size);
}

static struct kvm_vcpu *no_cpu(void *opaque, unsigned index)
{
    return NULL;
}

static unsigned one_cpu(void *opaque)
{
    return 1;
}

static struct debug *dbg;
static const struct debug_machine machine = {
    .running = is_running, .mmio_look = mmio_look, .mmio = mmio, .cpu = no_cpu,
    .cpu_count = one_cpu,
};

static uint8_t plain_at(uint64_t gpa)
{
    return (uint8_t)(gpa * 31 + gpa / 256);
}

static int setup_with(const char *object)
{
    sev.policy = 0;
    running = false;
    commands = 0;
    for (uint64_t i = 0; i < RAM_SIZE; i++)
        ram[i] = plain_at(i);
    cipher(ram, ram, 0, SHARED_PAGE);
    cipher(ram + SHARED_PAGE + PAGE, ram + SHARED_PAGE + PAGE, SHARED_PAGE + PAGE,
          RAM_SIZE - SHARED_PAGE - PAGE);
    debug_free(dbg);
    dbg = debug_new(&machine, object, NULL);
    return dbg ? 0 : -1;
}

static int setup(void **state)
{
    return setup_with("d0");
}

static int setup_without(void **state)
{
    return setup_with(NULL);
}

static int teardown(void **state)
{
    debug_free(dbg);
    dbg = NULL;
    return 0;
}

static uint8_t decrypted(uint64_t gpa)
{
    uint8_t byte;

    cipher(&byte, &ram[gpa], gpa, 1);
    return byte;
}

static void put_private(uint64_t gpa, const void *data, uint64_t size)
{
    cipher(ram + gpa, data, gpa, size);
}

static void put_entry(uint64_t table, unsigned index, uint64_t entry)
{
    put_private(table + index * 8, &entry, 8);
}

/* --- Copies --- */

static const struct {
    uint64_t gpa, size;
} ranges[] = {
    { 0, 1 }, { 0, 16 }, { 0, 17 }, { 1, 14 }, { 1, 15 }, { 1, 16 }, { 15, 2 }, { 8, 32 },
    { 23, 33 }, { 0x1000, 0x1000 }, { 0xfff, 2 }, { 0xff0, 32 }, { 0xff8, 16 }, { 0x1001, 0xfff },
    { 0x1008, 0x1000 }, { 0x1017, 0x3000 }, { 0x2fff, 0x2002 }, { 0x1dfff, 1 },
    { 0x1dff8, 0x1010 },        /* private, shared, private */
};

static void test_read(void **state)
{
    uint8_t buf[0x4000];

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        uint64_t gpa = ranges[i].gpa, size = ranges[i].size;

        memset(buf, 0, sizeof(buf));
        assert_int_equal(debug_read(dbg, NULL, gpa, buf, size, NULL), size);
        for (uint64_t n = 0; n < size; n++)
            assert_int_equal(buf[n], plain_at(gpa + n));
        assert_int_equal(buf[size], 0);
    }
}

static void test_write(void **state)
{
    uint8_t buf[0x4000], before[RAM_SIZE];

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        uint64_t gpa = ranges[i].gpa, size = ranges[i].size;

        setup_with("d0");
        memcpy(before, ram, sizeof(before));
        for (uint64_t n = 0; n < size; n++)
            buf[n] = (uint8_t)~plain_at(gpa + n);
        assert_int_equal(debug_write(dbg, NULL, gpa, buf, size, NULL), size);
        for (uint64_t n = 0; n < size; n++) {
            bool shared = gpa + n >= SHARED_PAGE;

            assert_int_equal(shared && gpa + n < SHARED_PAGE + PAGE ? ram[gpa + n]
                                                                    : decrypted(gpa + n), buf[n]);
        }
        /* Neighbours in the same blocks too. */
        assert_memory_equal(ram, before, gpa);
        assert_memory_equal(ram + gpa + size, before + gpa + size, RAM_SIZE - gpa - size);
        teardown(NULL);
    }
    setup_with("d0");
}

static void test_mmio(void **state)
{
    uint8_t bytes[8];

    assert_int_equal(debug_read(dbg, NULL, 0xfe000000, bytes, 8, NULL), 8);
    assert_int_equal(bytes[7], 0x77);
    assert_int_equal(commands, 0);
}

/* --- Who may --- */

static void check_refused(uint64_t gpa, bool write, const char *words)
{
    g_autoptr(GError) error = NULL;
    uint8_t byte = 0;

    assert_int_equal(write ? debug_write(dbg, NULL, gpa, &byte, 1, &error)
                           : debug_read(dbg, NULL, gpa, &byte, 1, &error), 0);
    if (!strstr(error->message, words))
        fail_msg("'%s' lacks '%s'", error->message, words);
    assert_int_equal(commands, 0);
}

static void check_rest_is_readable(void)
{
    uint8_t byte;

    assert_int_equal(debug_read(dbg, NULL, SHARED_PAGE + 5, &byte, 1, NULL), 1);
    assert_int_equal(byte, plain_at(SHARED_PAGE + 5));
    assert_int_equal(debug_read(dbg, NULL, 0xfe000000, &byte, 1, NULL), 1);
    assert_int_equal(debug_read(dbg, NULL, SHARED_PAGE + PAGE, &byte, 1, NULL), 0);
}

static void test_forbidden(void **state)
{
    sev.policy = KVM_SEV_POLICY_NODBG;
    check_refused(0x1234, false, "0x1234 is private memory, which may not be read by the policy "
                  "of 'd0' (policy=0x1, NODBG): launch it with bit 0 of the sev-guest object's "
                  "policy clear (policy=0x0)");
    check_refused(0x1234, true, "may not be written by the policy of 'd0'");
    check_rest_is_readable();
    assert_null(debug_notice(dbg));
}

static void test_without_object(void **state)
{
    check_refused(0, false, "0x0 is private memory, which can't be read without a debug object: "
                  "-object sev-guest-debug,id=d0 -machine debug=d0");
    check_rest_is_readable();
    sev.policy = KVM_SEV_POLICY_NODBG;
    check_refused(0, true, "and policy=0x0 of the sev-guest object");
}

static void test_running(void **state)
{
    uint8_t byte;

    running = true;
    check_refused(0x10, true, "can't be written while the guest runs: stop");
    assert_int_equal(debug_read(dbg, NULL, 0x10, &byte, 1, NULL), 1);
    assert_int_equal(byte, plain_at(0x10));
}

static void test_notice(void **state)
{
    g_autofree char *notice = debug_notice(dbg);

    assert_string_equal(notice, "debugging of private memory is allowed by 'd0': it can be read "
                                "and changed (policy=0x0)");
}

static void test_protected_registers(void **state)
{
    g_autoptr(GError) error = NULL;
    struct debug_registers registers;

    sev.policy = KVM_SEV_POLICY_ES;
    assert_false(debug_registers(dbg, 0, &registers, &error));
    assert_string_equal(error->message, "CPU 0: its registers can't be read: they are encrypted "
                                        "(SEV-ES, bit 2 of the guest's policy)");
}

/* Objects of other VMs, and none. */
static void test_misfits(void **state)
{
    static const struct {
        const char *id, *words;
    } rows[] = {
        { "other", "debug=other: a sw-protected-vm-debug is for kvm-type=sw-protected-vm: "
                   "-object sev-guest-debug,id=other" },
        { "none", "debug=none: there is no such object: -object sev-guest-debug,id=none" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;

        assert_null(debug_new(&machine, rows[i].id, &error));
        assert_string_equal(error->message, rows[i].words);
    }
}

/* --- Page tables --- */

static const struct kvm_sregs long_mode = {
    .cr0 = 0x80000001, .cr3 = 0x1000 | C, .cr4 = 0x20, .efer = 0xd00,
};

/* Tables at 0x1000 to 0x4000; virtual 0: private, 0x1000: shared, 0x200000: large, private. */
static void make_tables(void)
{
    for (unsigned i = 0; i < 512 * 4; i++)
        put_entry(0x1000, i, 0);
    put_entry(0x1000, 0, 0x2000 | 7 | C);
    put_entry(0x2000, 0, 0x3000 | 7 | C);
    put_entry(0x3000, 0, 0x4000 | 7 | C);
    put_entry(0x3000, 1, 0x83 | C | PTE_NO_EXECUTE);
    put_entry(0x4000, 0, 0x8000 | 7 | C);
    put_entry(0x4000, 1, 0x9000 | 7);
    put_entry(0x4000, 2, SHARED_PAGE | 7 | C);
    put_entry(0x4000, 3, 0xfe000000 | 7);
}

static bool no_c_bit(void *opaque, const struct page_leaf *leaf, const char *reason)
{
    assert_null(reason);
    assert_int_equal(leaf->entry & C, 0);
    assert_int_equal(leaf->gpa & C, 0);
    ++*(unsigned *)opaque;
    return true;
}

static void test_walk(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    struct page_leaf leaf;
    unsigned leaves = 0;

    make_tables();
    assert_true(page_walk_each(walk, 0, UINT64_MAX, no_c_bit, &leaves, NULL));
    assert_int_equal(leaves, 5);
    assert_true(debug_translate(walk, 0x200000, &leaf, NULL));
    assert_true(leaf.large && leaf.gpa == 0 && leaf.no_execute && leaf.view == DEBUG_PRIVATE);
    assert_true(debug_translate(walk, 0x1000, &leaf, NULL));
    assert_true(leaf.gpa == 0x9000 && leaf.view == DEBUG_SHARED);
}

/* The entry says how the guest sees it, whatever the record says. */
static void test_virtual(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    uint8_t buf[0x2000], byte;

    make_tables();
    memcpy(ram + 0x9000, "told nobody", 11);
    assert_int_equal(debug_read(dbg, walk, 0xff0, buf, 27, NULL), 27);
    assert_int_equal(buf[0], plain_at(0x8ff0));
    assert_memory_equal(buf + 16, "told nobody", 11);
    assert_int_equal(debug_write(dbg, walk, 0x1000, "W", 1, NULL), 1);
    assert_int_equal(ram[0x9000], 'W');
    /* By the record it is shared, through this entry the guest sees it decrypted. */
    assert_int_equal(debug_read(dbg, walk, 0x2003, &byte, 1, NULL), 1);
    assert_int_equal(byte, decrypted(SHARED_PAGE + 3));
    assert_int_equal(debug_read(dbg, walk, 0x3000, &byte, 1, NULL), 1);
    assert_int_equal(byte, 0x77);
    assert_int_equal(debug_read(dbg, walk, 0x200123, &byte, 1, NULL), 1);
    assert_int_equal(byte, plain_at(0x123));
}

/* Without paging, and with entries that have no room for the bit, all is private. */
static void test_old_modes(void **state)
{
    const struct kvm_sregs off = { .cr0 = 1 }, narrow = { .cr0 = 0x80000001, .cr3 = 0x1000 };
    AUTO_PAGE_WALK flat = page_walk_new_sregs(dbg, &off);
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &narrow);
    uint32_t directory = 0x2000 | 7, table = SHARED_PAGE | 7;
    uint8_t byte;

    assert_int_equal(debug_read(dbg, flat, 0x8123, &byte, 1, NULL), 1);
    assert_int_equal(byte, plain_at(0x8123));
    assert_int_equal(debug_read(dbg, flat, SHARED_PAGE, &byte, 1, NULL), 1);
    assert_int_equal(byte, decrypted(SHARED_PAGE));
    put_private(0x1000, &directory, 4);
    put_private(0x2000, &table, 4);
    assert_int_equal(debug_read(dbg, walk, 1, &byte, 1, NULL), 1);
    assert_int_equal(byte, decrypted(SHARED_PAGE + 1));
}

static void test_tables_refused(void **state)
{
    AUTO_PAGE_WALK walk = page_walk_new_sregs(dbg, &long_mode);
    g_autoptr(GError) error = NULL;
    struct page_leaf leaf;

    make_tables();
    sev.policy = KVM_SEV_POLICY_NODBG;
    assert_false(debug_translate(walk, 0, &leaf, &error));
    assert_int_not_equal(error->code, DEBUG_UNMAPPED);
    assert_non_null(strstr(error->message, "page table at 0x1000: 0x1000 is private memory, which "
                                           "may not be read by the policy of 'd0'"));
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read), TEST(test_write), TEST(test_mmio), TEST(test_forbidden),
        cmocka_unit_test_setup_teardown(test_without_object, setup_without, teardown),
        TEST(test_running), TEST(test_notice), TEST(test_protected_registers), TEST(test_misfits),
        TEST(test_walk), TEST(test_virtual), TEST(test_old_modes), TEST(test_tables_refused),
    };

    debug_register_objects();
    if (!object_add_option("sev-guest-debug,id=d0", NULL) ||
        !object_add_option("sw-protected-vm-debug,id=other", NULL))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
