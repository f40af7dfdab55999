/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Backends and what they refuse, blocks, the guest-physical map, access, loading and reset. */
#include "encrypted.h"
#include "error.h"
#include "fake_kvm.h"
#include "memory_internal.h"
#include "range.h"
#include "sev_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <cmocka.h>

#define PAGE ((uint64_t)GUEST_PAGE_SIZE)

static struct kvm_vm *vm;
static struct memory *mem;

static void make_vm(enum kvm_attributes_regime regime)
{
    const struct kvm_needs needs = {
        .vm_type = regime == KVM_ATTRIBUTES_NONE ? KVM_X86_DEFAULT_VM : KVM_X86_SW_PROTECTED_VM,
    };

    fake_reset(regime);
    assert_int_equal(kvm_vm_new(&fake_driver, &needs, &vm), 0);
    mem = memory_new(vm);
}

static int tear_down(void **state)
{
    memory_free(mem);
    kvm_vm_free(vm);
    mem = NULL;
    vm = NULL;
    object_delete_all();
    return fake.open_fds != 0 || fake.open_maps != 0;
}

static const struct {
    const char *option, *message;
} bad_options[] = {
    { "memory-backend-ram,id=m", "Parameter 'size' is missing" },
    { "memory-backend-ram,id=m,size=0", "property 'size' of memory-backend-ram doesn't take value '0'" },
    { "memory-backend-guest-memfd,id=m,size=0",
      "property 'size' of memory-backend-guest-memfd doesn't take value '0'" },
    { "memory-backend-ram,id=m,size=4097",
      "backend 'memory-backend-ram' memory size must be multiple of 4 KiB" },
    { "memory-backend-memfd,id=m,size=4097",
      "backend 'memory-backend-memfd' memory size must be multiple of 4 KiB" },
    { "memory-backend-ram,id=m,size=15E", "cannot set up guest memory 'm': Cannot allocate memory" },
    { "memory-backend-ram,id=m,size=18446744073709547520",
      "cannot set up guest memory 'm': Cannot allocate memory" },
    { "memory-backend-memfd,id=m,size=15E", "cannot set up guest memory 'm': File too large" },
    { "memory-backend-memfd,id=m,size=7E", "cannot set up guest memory 'm': Cannot allocate memory" },
    { "memory-backend-ram,id=m,size=1M,prealloc=on,reserve=off",
      "'prealloc=on' and 'reserve=off' are incompatible" },
    { "memory-backend-memfd,id=m,size=1M,guest-memfd=on,share=off",
      "a guest_memfd needs 'share=on'" },
    { "memory-backend-guest-memfd,id=m,size=1M,share=off", "a guest_memfd needs 'share=on'" },
    { "memory-backend-memfd,id=m,size=1M,guest-memfd=on,private=on",
      "'private=on' and 'guest-memfd=on' are incompatible" },
    { "memory-backend-memfd,id=m,size=2M,guest-memfd=on,hugetlb=on",
      "'hugetlb=on' and 'guest-memfd=on' are incompatible" },
    { "memory-backend-memfd,id=m,size=2M,hugetlbsize=2M", "'hugetlbsize' needs 'hugetlb=on'" },
    { "memory-backend-memfd,id=m,size=6M,hugetlb=on,hugetlbsize=3M",
      "'hugetlbsize' must be a power of two" },
    { "memory-backend-memfd,id=m,size=1M,hugetlb=on,hugetlbsize=2M",
      "memory size of 'm' must be a multiple of the huge page size" },
    { "memory-backend-guest-memfd,id=m,size=1M,merge=on", "'merge=on' can't work" },
    { "memory-backend-guest-memfd,id=m,size=1M,private=on", "Invalid parameter 'private'" },
    { "memory-backend-ram,id=m,size=1M,hugetlb=on", "Invalid parameter 'hugetlb'" },
    { "memory-backend-ram,id=m,size=1M,share=2", "Parameter 'share' expects 'on' or 'off'" },
    { "memory-backend-memfd,id=m,size=1M,guest-memfd=yes",
      "Parameter 'guest-memfd' does not accept value 'yes'" },
    { "memory-backend-epc,id=m,size=1M", "Parameter 'qom-type' does not accept value" },
};

static void test_backends_refuse(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bad_options); i++) {
        g_autoptr(GError) error = NULL;

        if (object_add_option(bad_options[i].option, &error))
            fail_msg("accepted: %s", bad_options[i].option);
        if (!g_str_has_prefix(error->message, bad_options[i].message))
            fail_msg("%s: %s", bad_options[i].option, error->message);
    }
    assert_null(memory_backend_find("m"));
}

static void add(const char *option)
{
    g_autoptr(GError) error = NULL;

    if (!object_add_option(option, &error))
        fail_msg("%s: %s", option, error->message);
}

static void test_backends_describe(void **state)
{
    struct json_object *memdev;

    add("memory-backend-ram,id=a,size=1M");
    add("memory-backend-memfd,id=b,size=2M,seal=off,dump=off");
    add("memory-backend-memfd,id=c,size=1M,guest-memfd=on");
    add("memory-backend-ram,id=d,size=1M,private=on,prealloc=on");
    assert_int_equal(memory_backend_kind(memory_backend_find("a")), BACKEND_PLAIN);
    assert_int_equal(memory_backend_kind(memory_backend_find("b")), BACKEND_PLAIN);
    assert_int_equal(memory_backend_kind(memory_backend_find("c")), BACKEND_IN_PLACE);
    assert_int_equal(memory_backend_kind(memory_backend_find("d")), BACKEND_TWO_BACKINGS);
    memdev = memory_backend_describe(memory_backend_find("b"));
    assert_string_equal(json_object_to_json_string_ext(memdev, JSON_C_TO_STRING_PLAIN),
                        "{\"id\":\"b\",\"size\":2097152,\"merge\":true,\"dump\":false,"
                        "\"prealloc\":false,\"share\":true,\"reserve\":true,\"host-nodes\":[],"
                        "\"policy\":\"default\"}");
    json_object_put(memdev);
    object_delete_all();
}

static struct ram_block *block_of(const char *option, const char *id, GError **error)
{
    add(option);
    return ram_block_new(mem, memory_backend_find(id), error);
}

/* A backend and a KVM that don't fit: by the name of what is missing. */
static void test_blocks_refuse(void **state)
{
    static const struct {
        enum kvm_attributes_regime regime;
        const char *option, *missing;   /* NULL: it fits */
    } rows[] = {
        { KVM_ATTRIBUTES_NONE, "memory-backend-ram,id=m,size=1M,private=on",
          "KVM_CAP_MEMORY_ATTRIBUTES (233)" },
        { KVM_ATTRIBUTES_GUEST_MEMFD, "memory-backend-ram,id=m,size=1M,private=on",
          "KVM_CAP_MEMORY_ATTRIBUTES (233)" },
        { KVM_ATTRIBUTES_VM, "memory-backend-guest-memfd,id=m,size=1M",
          "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES (250)" },
        { KVM_ATTRIBUTES_VM, "memory-backend-ram,id=m,size=1M,private=on", NULL },
        { KVM_ATTRIBUTES_GUEST_MEMFD, "memory-backend-guest-memfd,id=m,size=1M", NULL },
        { KVM_ATTRIBUTES_GUEST_MEMFD, "memory-backend-memfd,id=m,size=1M,guest-memfd=on", NULL },
        { KVM_ATTRIBUTES_NONE, "memory-backend-guest-memfd,id=m,size=1M,prealloc=on", NULL },
        { KVM_ATTRIBUTES_NONE, "memory-backend-ram,id=m,size=1M", NULL },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        struct ram_block *block;

        make_vm(rows[i].regime);
        block = block_of(rows[i].option, "m", &error);
        if ((block == NULL) != (rows[i].missing != NULL))
            fail_msg("row %zu: %s", i, block ? "fits" : error->message);
        if (rows[i].missing && !strstr(error->message, rows[i].missing))
            fail_msg("row %zu: %s", i, error->message);
        if (block)
            assert_int_equal(ram_block_has_attributes(block),
                             rows[i].regime != KVM_ATTRIBUTES_NONE);
        assert_int_equal(tear_down(NULL), 0);
    }
    /* Creation and mapping that KVM refuses leave nothing behind. */
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) error = NULL;

        make_vm(KVM_ATTRIBUTES_GUEST_MEMFD);
        fake_fail(i ? KVM_SET_USER_MEMORY_REGION2 : KVM_CREATE_GUEST_MEMFD, 1, 0, -EMFILE);
        struct ram_block *block = block_of("memory-backend-guest-memfd,id=m,size=1M", "m", &error);
        if (block)
            assert_false(memory_map(mem, block, 0, 0, MIB, &error));
        assert_non_null(strstr(error->message, "Too many open files"));
        assert_int_equal(tear_down(NULL), 0);
    }
}

/* Twice what the host has: a guest_memfd can't be swapped, so that is asked for by name only. */
static void test_overcommit(void **state)
{
    g_autoptr(GError) error = NULL;
    struct sysinfo info;

    assert_int_equal(sysinfo(&info), 0);
    g_autofree char *option = g_strdup_printf("memory-backend-guest-memfd,id=m,size=%lluK",
                                              (unsigned long long)info.totalram * info.mem_unit /
                                                  4096 * 8);
    g_autofree char *willing = g_strconcat(option, ",reserve=off", NULL);

    make_vm(KVM_ATTRIBUTES_GUEST_MEMFD);
    assert_null(block_of(option, "m", &error));
    assert_string_equal(error->message,
                        "cannot set up guest memory 'm' in a guest_memfd: Cannot allocate memory");
    g_clear_error(&error);
    assert_true(object_del("m", &error));
    assert_non_null(block_of(willing, "m", &error));
}

static void test_busy_backend(void **state)
{
    g_autoptr(GError) error = NULL;

    make_vm(KVM_ATTRIBUTES_NONE);
    assert_non_null(block_of("memory-backend-ram,id=m,size=1M", "m", &error));
    assert_null(ram_block_new(mem, memory_backend_find("m"), &error));
    assert_string_equal(error->message, "can't use already busy memdev: m");
    g_clear_error(&error);
    assert_false(object_del("m", &error));
    assert_string_equal(error->message, "object 'm' is in use, can not be deleted");
}

static void test_default_backend(void **state)
{
    g_autoptr(GError) error = NULL;
    struct memory_backend *backend;
    struct ram_block *block;

    make_vm(KVM_ATTRIBUTES_VM);
    assert_null(memory_backend_new_internal("pc.ram", 0, BACKEND_PLAIN, &error));
    assert_non_null(error);
    g_clear_error(&error);
    backend = memory_backend_new_internal("pc.ram", MIB, BACKEND_TWO_BACKINGS, &error);
    block = ram_block_new(mem, backend, &error);
    assert_string_equal(ram_block_name(block), "pc.ram");
    assert_true(ram_block_has_attributes(block));
}

static void test_map_refuses(void **state)
{
    static const struct {
        uint64_t offset, gpa, size;
        bool ok;
    } rows[] = {
        { 0, 0, 0, false },
        { 0, 1, PAGE, false },
        { 1, 0, PAGE, false },
        { 0, 0, PAGE + 1, false },
        { 0, 0, MIB + PAGE, false },
        { MIB, 0, PAGE, false },
        { PAGE, 0, UINT64_MAX - PAGE + 1, false },
        { 0, UINT64_MAX - PAGE + 1, PAGE, false },
        { 0, MIB, MIB / 2, true },
        { 0, 4 * MIB, MIB / 2, false },         /* a guest_memfd is bound once */
        { MIB / 2, MIB, MIB / 2, false },       /* overlaps */
        { MIB / 2, MIB / 2 + PAGE, MIB / 2, false },
        { MIB / 2, MIB / 2, MIB / 2, true },
    };
    g_autoptr(GError) none = NULL;
    struct ram_block *block;

    make_vm(KVM_ATTRIBUTES_GUEST_MEMFD);
    block = block_of("memory-backend-guest-memfd,id=m,size=1M", "m", &none);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;

        if (memory_map(mem, block, rows[i].offset, rows[i].gpa, rows[i].size, &error) != rows[i].ok)
            fail_msg("row %zu: %s", i, error ? error->message : "accepted");
    }
    assert_int_equal(memory_ram_at(mem, MIB / 2), MIB / 2);
    assert_int_equal(memory_ram_at(mem, MIB + 5), MIB / 2 - 5);
    assert_int_equal(memory_ram_at(mem, 3 * MIB), 0);
    assert_true(memory_unmap(mem, MIB, MIB / 2, &none));
    assert_false(memory_unmap(mem, MIB, MIB / 2, &none));
}

static void test_access(void **state)
{
    g_autoptr(GError) error = NULL;
    struct ram_block *ram, *rom;
    char out[3 * 4096], in[3 * 4096];
    uint64_t bad = 0;

    make_vm(KVM_ATTRIBUTES_GUEST_MEMFD);
    ram = block_of("memory-backend-guest-memfd,id=m,size=64K", "m", &error);
    rom = ram_block_new_internal(mem, "rom", PAGE, true, &error);
    assert_true(memory_map(mem, ram, 0, 0, 64 * KIB, &error));
    assert_true(memory_map(mem, rom, 0, 64 * KIB, PAGE, &error));
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (char)(i * 7 + 1);
    assert_true(memory_write(mem, 0x1001, out, sizeof(out) - 5, NULL));
    assert_true(memory_read(mem, 0x1001, in, sizeof(out) - 5, NULL));
    assert_memory_equal(in, out, sizeof(out) - 5);
    assert_memory_equal((char *)ram_block_host(ram) + 0x1001, out, sizeof(out) - 5);

    /* To the first private page and not into it: its mapping would be a SIGBUS. */
    assert_int_equal(memory_convert(mem, 0x3000, PAGE, true, NULL), 0);
    assert_int_equal(mprotect((char *)ram_block_host(ram) + 0x3000, PAGE, PROT_NONE), 0);
    assert_false(memory_write(mem, 0x2ff0, out, 0x20, &bad));
    assert_int_equal(bad, 0x3000);
    assert_false(memory_read(mem, 0x3800, in, 8, &bad));
    assert_int_equal(bad, 0x3800);
    assert_true(memory_read(mem, 0x4000, in, 8, NULL));
    assert_false(memory_read(mem, 64 * KIB + 0x800, in, PAGE, &bad));
    assert_int_equal(bad, 64 * KIB + PAGE);
    assert_false(memory_write(mem, 64 * KIB, in, 8, &bad));
    assert_int_equal(bad, 64 * KIB);
    assert_false(memory_read(mem, UINT64_MAX, in, 8, &bad));
    assert_int_equal(memory_get_counters(mem).refused_accesses, 5);
    assert_int_equal(mprotect((char *)ram_block_host(ram) + 0x3000, PAGE, PROT_READ | PROT_WRITE), 0);
}

static void test_order_of_blocks(void **state)
{
    g_autoptr(GError) error = NULL;

    make_vm(KVM_ATTRIBUTES_NONE);
    assert_non_null(ram_block_new_internal(mem, "a", 4 * PAGE, false, &error));
    assert_non_null(ram_block_new_internal(mem, "b", 8 * PAGE, false, &error));
    assert_non_null(ram_block_new_internal(mem, "c", 4 * PAGE, false, &error));
    assert_null(ram_block_new_internal(mem, "d", 100, false, &error));
    g_autoptr(GPtrArray) blocks = memory_blocks(mem);
    assert_int_equal(blocks->len, 3);
    assert_string_equal(ram_block_name(g_ptr_array_index(blocks, 0)), "b");
    assert_string_equal(ram_block_name(g_ptr_array_index(blocks, 1)), "a");
    assert_string_equal(ram_block_name(g_ptr_array_index(blocks, 2)), "c");
}

/* In place: what was loaded is what becomes private; a reset brings back zeroes, all shared. */
static void test_launch_and_reset_in_place(void **state)
{
    g_autoptr(GError) error = NULL;
    struct ram_block *ram;
    char in[8] = "";

    make_vm(KVM_ATTRIBUTES_GUEST_MEMFD);
    ram = block_of("memory-backend-guest-memfd,id=m,size=1M", "m", &error);
    assert_true(memory_map(mem, ram, 0, 0, MIB / 2, &error));
    assert_true(memory_map(mem, ram, MIB / 2, 4 * GIB, MIB / 2, &error));
    for (unsigned i = 0; i < 2; i++) {
        assert_true(memory_write(mem, 4 * GIB + 0x123, "content", 8, NULL));
        assert_true(memory_launch(mem, NULL, &error));
        assert_int_equal(attr_map_count(ram->private_pages), 256);
        assert_memory_equal((char *)ram_block_host(ram) + MIB / 2 + 0x123, "content", 8);
        assert_true(memory_reset(mem, &error));
        assert_int_equal(attr_map_count(ram->private_pages), 0);
        assert_true(memory_read(mem, 4 * GIB + 0x123, in, 8, NULL));
        assert_memory_equal(in, "\0\0\0\0\0\0\0\0", 8);
    }
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES2, 2, 0, -EIO);
    assert_false(memory_launch(mem, NULL, &error));
    assert_non_null(strstr(error->message, "'m' at 0x100000000"));
}

/* --- Guests that encrypt their memory --- */

static bool can_read(uint64_t gpa)
{
    char byte;

    return memory_read(mem, gpa, &byte, 1, NULL);
}

static void tell_shared(uint64_t gpa)
{
    const struct conversion_origin origin = { .cause = CONVERSION_HYPERCALL };

    assert_int_equal(memory_convert_for(mem, &origin, gpa, PAGE, false, NULL), 0);
}

static void test_encrypted_launch(void **state)
{
    struct kvm_sev sev = { .device = -1 };
    struct memory_backend *backend, *two;
    char page[GUEST_PAGE_SIZE];
    struct ram_block *ram;
    unsigned since;

    make_vm(KVM_ATTRIBUTES_VM);
    vm->regime = KVM_ATTRIBUTES_ENCRYPTED;
    vm->sev = &sev;
    backend = memory_backend_new_internal("pc.ram", 16 * PAGE, BACKEND_PLAIN, NULL);
    ram = ram_block_new(mem, backend, NULL);
    assert_non_null(ram);
    assert_int_equal(fake_count(KVM_MEMORY_ENCRYPT_REG_REGION, 0), 1);
    assert_true(memory_map(mem, ram, 0, 0, 16 * PAGE, NULL));
    memset(page, 'x', sizeof(page));
    assert_true(memory_write(mem, 2 * PAGE + 100, page, sizeof(page), NULL));
    assert_true(memory_write(mem, 5 * PAGE, "loaded", 6, NULL));
    assert_true(memory_write(mem, 7 * PAGE, "first", 5, NULL));
    since = fake.nr_calls;
    assert_true(memory_encrypt(mem, 7 * PAGE, 32, NULL));
    assert_false(memory_encrypt(mem, 15 * PAGE, 2 * PAGE, NULL));
    assert_int_equal(fake_count(KVM_MEMORY_ENCRYPT_OP, since), 1);
    /* Pages 2 and 3, and page 5; KVM isn't asked about attributes. */
    assert_true(memory_launch(mem, NULL, NULL));
    assert_int_equal(fake_count(KVM_MEMORY_ENCRYPT_OP, since), 3);
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES, 0), 0);
    two = memory_backend_new_internal("two", PAGE, BACKEND_TWO_BACKINGS, NULL);
    assert_null(ram_block_new(mem, two, NULL));
    vm->sev = NULL;
}

/* Devices see all of it as it is, until the guest says what it shares; a reset begins anew. */
static void test_encrypted_access(void **state)
{
    struct kvm_sev sev = { .device = -1 };
    struct memory_backend *backend;
    struct ram_block *ram;

    make_vm(KVM_ATTRIBUTES_VM);
    vm->regime = KVM_ATTRIBUTES_ENCRYPTED;
    vm->sev = &sev;
    backend = memory_backend_new_internal("pc.ram", 16 * PAGE, BACKEND_PLAIN, NULL);
    ram = ram_block_new(mem, backend, NULL);
    assert_true(ram && memory_map(mem, ram, 0, 0, 8 * PAGE, NULL));
    assert_true(memory_launch(mem, NULL, NULL));
    assert_true(can_read(0) && can_read(4 * PAGE));
    tell_shared(4 * PAGE);
    assert_false(can_read(0));
    assert_true(can_read(4 * PAGE));
    assert_int_equal(memory_get_counters(mem).refused_accesses, 1);
    /* What comes into view later is private, too. */
    assert_true(memory_map(mem, ram, 8 * PAGE, 8 * PAGE, 8 * PAGE, NULL));
    assert_false(can_read(8 * PAGE));
    assert_true(memory_relaunch(mem, NULL));
    assert_true(can_read(0));
    tell_shared(0);
    assert_true(can_read(0));
    assert_false(can_read(4 * PAGE));
    vm->sev = NULL;
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backends_refuse),
        cmocka_unit_test(test_backends_describe),
        TEST(test_encrypted_launch), TEST(test_encrypted_access),
        cmocka_unit_test(test_blocks_refuse),
        TEST(test_overcommit),
        TEST(test_busy_backend),
        TEST(test_default_backend),
        TEST(test_map_refuses),
        TEST(test_access),
        TEST(test_order_of_blocks),
        TEST(test_launch_and_reset_in_place),
    };

    memory_register_backends();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
