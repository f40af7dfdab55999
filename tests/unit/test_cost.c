/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What memory is held, and that a conversion with two backings leaves no old copy. */
#include "cost.h"
#include "error.h"
#include "fake_kvm.h"
#include "memory_internal.h"
#include "range.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define PAGE ((uint64_t)GUEST_PAGE_SIZE)
enum { PAGES = 64 };

static struct kvm_vm *vm;
static struct memory *mem;
static struct ram_block *block;

static void set_up_with(const char *option, enum kvm_attributes_regime regime)
{
    const struct kvm_needs needs = { .vm_type = KVM_X86_SW_PROTECTED_VM };
    GError *error = NULL;

    fake_reset(regime);
    assert_int_equal(kvm_vm_new(&fake_driver, &needs, &vm), 0);
    mem = memory_new(vm);
    assert_true(object_add_option(option, &error));
    block = ram_block_new(mem, memory_backend_find("m0"), &error);
    assert_non_null(block);
    assert_true(memory_map(mem, block, 0, 0, PAGES * PAGE, &error));
}

static void tear_down(void)
{
    memory_free(mem);
    kvm_vm_free(vm);
    object_delete_all();
    assert_int_equal(fake.open_fds, 0);
}

/* Pages: held for shared and private ones, by both, for nothing. */
#define assert_cost(shared_, private__, doubly_, stale_)                                        \
    do {                                                                                        \
        g_autoptr(GPtrArray) costs_ = memory_costs(mem, NULL);                                  \
        const struct memory_cost *cost_ = g_ptr_array_index(costs_, 0);                         \
        assert_int_equal(cost_->shared / PAGE, shared_);                                        \
        assert_int_equal(cost_->private_ / PAGE, private__);                                    \
        assert_int_equal(cost_->doubly / PAGE, doubly_);                                        \
        assert_int_equal(cost_->stale / PAGE, stale_);                                          \
        assert_true(cost_->private_known);                                                      \
    } while (0)

static void touch(uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n; i++)
        *(volatile char *)((char *)block->host + i * PAGE) = 1;
}

/* The guest's side: its pages of the guest_memfd, which here is a memfd. */
static void touch_private(uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n; i++)
        assert_int_equal(pwrite(block->guest_memfd, "x", 1, (off_t)(i * PAGE)), 1);
}

static void convert(uint64_t first, uint64_t n, bool private_)
{
    assert_int_equal(memory_convert(mem, first * PAGE, n * PAGE, private_, NULL), 0);
}

static void test_two_backings(void **state)
{
    static const char *const options[] = {
        "memory-backend-ram,id=m0,size=256K,private=on",
        "memory-backend-ram,id=m0,size=256K,private=on,share=on",
        "memory-backend-memfd,id=m0,size=256K,private=on",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        set_up_with(options[i], KVM_ATTRIBUTES_VM);
        assert_cost(0, 0, 0, 0);
        touch(0, 20);
        assert_cost(20, 0, 0, 0);
        convert(10, 20, true);
        assert_cost(10, 0, 0, 0);
        touch_private(12, 8);
        assert_cost(10, 8, 0, 0);
        /* What stays by mistake is seen. */
        touch(12, 2);
        touch_private(0, 1);
        assert_cost(12, 9, 3, 3);
        convert(10, 20, false);
        assert_cost(12, 1, 1, 1);
        assert_int_equal(memory_get_counters(mem).failed_discards, 0);
        tear_down();
    }
}

static void test_in_place(void **state)
{
    set_up_with("memory-backend-guest-memfd,id=m0,size=256K", KVM_ATTRIBUTES_GUEST_MEMFD);
    touch(0, 20);
    convert(10, 20, true);
    assert_cost(10, 10, 0, 0);
    tear_down();
}

/* Pages of four pages each, as hugetlb has larger ones: one goes when all of it is private. */
static void test_old_copies_of_huge_pages(void **state)
{
    struct host_memory *host;

    set_up_with("memory-backend-memfd,id=m0,size=256K,private=on", KVM_ATTRIBUTES_VM);
    host = &block->backend->host;
    host->page_size = 4 * PAGE;
    touch(0, PAGES);
    convert(2, 12, true);
    assert_cost(PAGES - 8, 0, 0, 4);
    convert(0, 2, true);
    assert_cost(PAGES - 12, 0, 0, 2);
    convert(14, 1, true);
    assert_cost(PAGES - 12, 0, 0, 3);
    convert(15, 1, true);
    assert_cost(PAGES - 16, 0, 0, 0);
    convert(0, PAGES, true);
    assert_cost(0, 0, 0, 0);
    assert_int_equal(memory_get_counters(mem).failed_discards, 0);
    tear_down();
}

static void test_plain(void **state)
{
    set_up_with("memory-backend-ram,id=m0,size=256K,prealloc=on", KVM_ATTRIBUTES_VM);
    assert_cost(PAGES, 0, 0, 0);
    tear_down();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_backings),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_old_copies_of_huge_pages),
        cmocka_unit_test(test_plain),
    };

    memory_register_backends();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
