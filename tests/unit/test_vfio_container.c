/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A container of DMA mappings: its books, its limits, and what conversions do to both. */
#include "error.h"
#include "fake_kvm.h"
#include "memory_internal.h"
#include "range.h"
#include "vfio_container.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE ((uint64_t)GUEST_PAGE_SIZE)
enum { PAGES = 64 };

static struct kvm_vm *vm;
static struct memory *mem;
static struct ram_block *block;

static int set_up(void **state)
{
    const struct kvm_needs needs = { .vm_type = KVM_X86_SW_PROTECTED_VM };
    GError *error = NULL;

    fake_reset(KVM_ATTRIBUTES_VM);
    assert_int_equal(kvm_vm_new(&fake_driver, &needs, &vm), 0);
    mem = memory_new(vm);
    assert_true(object_add_option("memory-backend-ram,id=m0,size=256K,private=on", &error));
    block = ram_block_new(mem, memory_backend_find("m0"), &error);
    assert_non_null(block);
    assert_true(memory_map(mem, block, 0, 0, PAGES * PAGE, &error));
    return 0;
}

static int tear_down(void **state)
{
    vfio_containers_detach();
    memory_free(mem);
    kvm_vm_free(vm);
    object_delete_all();
    return fake.open_fds != 0 || fake.open_maps != 0;
}

static struct vfio_container_info info(void)
{
    struct vfio_container_info ret;

    assert_true(vfio_container_get_info(object_find("c0"), &ret));
    return ret;
}

static void add(const char *properties)
{
    g_autofree char *option = g_strdup_printf("vfio-container,id=c0%s", properties);
    g_autoptr(GError) error = NULL;

    if (!object_add_option(option, &error) || !vfio_containers_attach(mem, &error))
        fail_msg("%s", error->message);
}

static int convert(uint64_t page, uint64_t pages, bool private_)
{
    fake.nr_calls = 0;
    return memory_convert(mem, page * PAGE, pages * PAGE, private_, NULL);
}

#define assert_books(mappings_, pages_, missing_)                                               \
    do {                                                                                        \
        struct vfio_container_info info_ = info();                                              \
        assert_int_equal(info_.mappings, mappings_);                                            \
        assert_int_equal(info_.locked / PAGE, pages_);                                          \
        assert_int_equal(info_.missing / PAGE, missing_);                                       \
    } while (0)

static void test_runs_are_split(void **state)
{
    add("");
    assert_books(1, 64, 0);
    assert_int_equal(convert(10, 4, true), 0);
    assert_books(2, 60, 0);
    assert_int_equal(info().splits, 1);
    assert_int_equal(convert(14, 2, true), 0);          /* an edge: no split */
    assert_books(2, 58, 0);
    assert_int_equal(convert(0, 10, true), 0);          /* a whole mapping */
    assert_books(1, 48, 0);
    assert_int_equal(convert(0, 64, false), 0);
    assert_books(2, 64, 0);
    assert_int_equal(info().splits, 1);
    assert_int_equal(info().merges, 0);
}

static void test_limit_of_mappings(void **state)
{
    add(",max-mappings=3");
    assert_int_equal(convert(8, 1, true), 0);
    assert_int_equal(convert(16, 1, true), 0);
    assert_books(3, 62, 0);
    /* No room for both sides of this hole: the larger one it is. */
    assert_int_equal(convert(60, 1, true), 0);
    assert_books(3, 58, 3);
    /* Room again, as three become one. */
    assert_int_equal(convert(16, 1, false), 0);
    assert_books(3, 62, 0);
    assert_int_equal(info().merges, 2);
    assert_int_equal(convert(0, 8, true), 0);
    assert_int_equal(convert(0, 2, false), 0);
    assert_books(3, 56, 0);
    /* There is nothing to join it with, but there is with the next one. */
    assert_int_equal(convert(4, 1, false), -ENOSPC);
    assert_int_equal(info().refused, 1);
    assert_books(3, 56, 0);
    assert_int_equal(convert(2, 1, false), 0);
    assert_books(3, 57, 0);
    assert_int_equal(info().merges, 3);
}

/* At the limit, what a failed conversion took for a moment comes back. */
static void test_failed_conversions(void **state)
{
    add(",max-mappings=2");
    assert_int_equal(convert(8, 1, true), 0);
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 0, -EIO);
    assert_int_equal(convert(30, 4, true), -EIO);
    assert_books(2, 63, 0);
    assert_int_equal(info().merges, 2);
    /* With more than there is room for, one more is missing in place of another. */
    assert_int_equal(convert(30, 4, true), 0);
    assert_books(2, 38, 21);
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 0, -EIO);
    assert_int_equal(convert(34, 30, true), -EIO);
    assert_books(2, 29, 30);
    assert_int_equal(info().refused, 0);
    assert_int_equal(memory_get_counters(mem).failed_rollbacks, 0);
}

static void test_limit_of_locked_memory(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_true(object_add_option("vfio-container,id=c0,max-locked=128K", &error));
    assert_false(vfio_containers_attach(mem, &error));
    assert_string_equal(error->message, "vfio-container 'c0' can't map the guest's memory: more "
                        "than max-locked=131072 bytes, or than the host lets be locked");
    vfio_containers_detach();
    assert_int_equal(convert(0, 32, true), 0);
    g_clear_error(&error);
    assert_true(vfio_containers_attach(mem, &error));
    assert_books(1, 32, 0);
    assert_int_equal(convert(0, 1, false), -ENOMEM);
    assert_int_equal(convert(40, 1, true), 0);
    assert_int_equal(convert(0, 1, false), 0);
    assert_books(3, 32, 0);
}

static void test_bad_objects(void **state)
{
    static const struct {
        const char *option, *message;
    } rows[] = {
        { "vfio-container,id=c0,max-mappings=0",
          "property 'max-mappings' of vfio-container doesn't take value '0'" },
        { "vfio-container,id=c0,max-mappings=1",
          "vfio-container 'c0' can't map the guest's memory: more than max-mappings=1" },
        { "vfio-container,id=c0,group=/dev/vfio/no-such-group", NULL },
    };

    assert_int_equal(convert(8, 1, true), 0);
    assert_true(vfio_containers_attach(mem, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;

        assert_false(object_add_option(rows[i].option, &error));
        if (rows[i].message)
            assert_string_equal(error->message, rows[i].message);
        else
            assert_true(g_str_has_prefix(error->message, "vfio-container 'c0': "));
        assert_null(object_find("c0"));
    }
    /* Nothing has stayed behind: nobody refuses this. */
    assert_int_equal(convert(8, 1, false), 0);
    add("");
    assert_books(1, 64, 0);
    assert_true(object_del("c0", NULL));
    assert_int_equal(convert(8, 1, true), 0);
}

/* What is populated is mapped, or counted as missing; never more mappings than there may be. */
static void test_books_balance(void **state)
{
    static const char *const limits[] = { "", ",max-mappings=4", ",max-mappings=9,max-locked=200K" };

    for (size_t n = 0; n < G_N_ELEMENTS(limits); n++) {
        unsigned refused = 0;

        srand(5);
        convert(0, PAGES, false);
        convert(0, 20, true);
        add(limits[n]);
        for (int i = 0; i < 5000; i++) {
            uint64_t first = (uint64_t)rand() % PAGES, left = PAGES - first;
            struct vfio_container_info now;

            refused += convert(first, 1 + (uint64_t)rand() % left, rand() % 2) != 0;
            now = info();
            assert_int_equal((now.locked + now.missing) / PAGE,
                             PAGES - attr_map_count(block->private_pages));
            assert_true(now.mappings <= now.max_mappings);
            assert_true(!now.max_locked || now.locked <= now.max_locked);
        }
        assert_true(n == 0 ? !refused : refused > 10);
        vfio_containers_detach();
        assert_true(object_del("c0", NULL));
    }
    assert_int_equal(memory_get_counters(mem).failed_rollbacks, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_runs_are_split),
        TEST(test_limit_of_mappings),
        TEST(test_failed_conversions),
        TEST(test_limit_of_locked_memory),
        TEST(test_bad_objects),
        TEST(test_books_balance),
    };

    memory_register_backends();
    memory_register_vfio_container();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
