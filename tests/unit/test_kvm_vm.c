/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Probing and making a VM; the attribute regime; which call sets attributes, and its retries. */
#include "fake_kvm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct kvm_needs two_backings = {
    .vm_type = KVM_X86_SW_PROTECTED_VM, .two_backings = true,
};
static const struct kvm_needs in_place = { .vm_type = KVM_X86_SW_PROTECTED_VM, .in_place = true };
static const struct kvm_needs mmap_only = { .guest_memfd_mmap = true };

static void test_probe_names_what_is_missing(void **state)
{
    static const struct {
        enum kvm_attributes_regime regime;
        const struct kvm_needs *needs;
        unsigned cap;           /* answered with answer instead; 0: none */
        int answer;
        const char *missing;    /* NULL: nothing */
    } rows[] = {
        { KVM_ATTRIBUTES_VM, &two_backings, 0, 0, NULL },
        { KVM_ATTRIBUTES_GUEST_MEMFD, &in_place, 0, 0, NULL },
        { KVM_ATTRIBUTES_VM2, &two_backings, 0, 0, NULL },
        /* It has no version 1, or what has its number is something else. */
        { KVM_ATTRIBUTES_VM2, &two_backings, KVM_CAP_MEMORY_ATTRIBUTES, 0, NULL },
        { KVM_ATTRIBUTES_NONE, &two_backings, KVM_CAP_MEMORY_ATTRIBUTES2, 9,
          "KVM_CAP_MEMORY_ATTRIBUTES (233)" },
        { KVM_ATTRIBUTES_VM2, &in_place, 0, 0, "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES (250)" },
        { KVM_ATTRIBUTES_NONE, &mmap_only, 0, 0, NULL },
        { KVM_ATTRIBUTES_NONE, &two_backings, 0, 0, "KVM_CAP_MEMORY_ATTRIBUTES (233)" },
        { KVM_ATTRIBUTES_GUEST_MEMFD, &two_backings, 0, 0, "KVM_CAP_MEMORY_ATTRIBUTES (233)" },
        { KVM_ATTRIBUTES_VM, &in_place, 0, 0, "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES (250)" },
        /* Another series' capability of the same number. */
        { KVM_ATTRIBUTES_GUEST_MEMFD, &in_place, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, 0xf,
          "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES (250)" },
        { KVM_ATTRIBUTES_GUEST_MEMFD, &in_place, KVM_CAP_GUEST_MEMFD_FLAGS, 1,
          "KVM_CAP_GUEST_MEMFD_FLAGS (244)" },
        { KVM_ATTRIBUTES_VM, &two_backings, KVM_CAP_VM_TYPES, 1,
          "KVM_X86_SW_PROTECTED_VM of KVM_CAP_VM_TYPES (235)" },
        { KVM_ATTRIBUTES_VM, &two_backings, KVM_CAP_GUEST_MEMFD, 0, "KVM_CAP_GUEST_MEMFD (234)" },
        { KVM_ATTRIBUTES_VM, &two_backings, KVM_CAP_USER_MEMORY2, 0,
          "KVM_CAP_USER_MEMORY2 (231)" },
        { KVM_ATTRIBUTES_VM, &mmap_only, 0, 0, "KVM_CAP_GUEST_MEMFD_FLAGS (244)" },
        { KVM_ATTRIBUTES_VM, &two_backings, KVM_CAP_IMMEDIATE_EXIT, 0,
          "KVM_CAP_IMMEDIATE_EXIT (136)" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *missing = NULL;
        int ret;

        fake_reset(rows[i].regime);
        if (rows[i].cap)
            fake_set_cap(rows[i].cap, rows[i].answer);
        ret = kvm_vm_probe(&fake_driver, rows[i].needs, &missing);
        assert_int_equal(ret, rows[i].missing ? -ENOTSUP : 0);
        if (rows[i].missing)
            assert_string_equal(missing, rows[i].missing);
        assert_int_equal(fake.open_fds, 0);
    }
}

static void test_new_fails_whole(void **state)
{
    static const unsigned long steps[] = {
        KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE, KVM_ENABLE_CAP,
    };

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct kvm_vm *vm = NULL;

        fake_reset(KVM_ATTRIBUTES_VM);
        fake_fail(steps[i], 1, 0, -EIO);
        assert_int_equal(kvm_vm_new(&fake_driver, &two_backings, &vm), -EIO);
        assert_null(vm);
        assert_int_equal(fake.open_fds, 0);
    }
    kvm_vm_free(NULL);
}

static struct kvm_vm *new_vm(enum kvm_attributes_regime regime)
{
    struct kvm_needs needs = {
        .vm_type = regime == KVM_ATTRIBUTES_NONE ? KVM_X86_DEFAULT_VM : KVM_X86_SW_PROTECTED_VM,
    };
    struct kvm_vm *vm = NULL;

    fake_reset(regime);
    assert_int_equal(kvm_vm_new(&fake_driver, &needs, &vm), 0);
    assert_int_equal(vm->regime, regime);
    return vm;
}

static void test_regime_decides_the_call(void **state)
{
    const struct fake_call *call;
    struct kvm_vm *vm = new_vm(KVM_ATTRIBUTES_VM);

    assert_int_equal(kvm_set_private(vm, 0x5000, 99, 0x1000, 0x2000, true, NULL), 0);
    call = fake_find(KVM_SET_MEMORY_ATTRIBUTES, 0, 0);
    assert_true(call && call->address == 0x5000 && call->size == 0x2000);
    assert_int_equal(call->attributes, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES2, 0), 0);
    kvm_vm_free(vm);

    vm = new_vm(KVM_ATTRIBUTES_VM2);
    assert_int_equal(kvm_set_private(vm, 0x5000, 99, 0x1000, 0x2000, true, NULL), 0);
    call = fake_find(KVM_SET_MEMORY_ATTRIBUTES2, 0, 0);
    assert_true(call && call->address == 0x5000 && call->size == 0x2000);
    assert_int_equal(call->attributes, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES, 0), 0);
    kvm_vm_free(vm);

    vm = new_vm(KVM_ATTRIBUTES_GUEST_MEMFD);
    assert_int_equal(kvm_set_private(vm, 0x5000, 99, 0x1000, 0x2000, false, NULL), 0);
    call = fake_find(KVM_SET_MEMORY_ATTRIBUTES2, 0, 0);
    assert_true(call && call->address == 0x1000 && call->size == 0x2000);
    assert_int_equal(call->attributes, 0);
    kvm_vm_free(vm);

    vm = new_vm(KVM_ATTRIBUTES_NONE);
    assert_int_equal(kvm_set_private(vm, 0x5000, 99, 0x1000, 0x2000, true, NULL), -ENOTSUP);
    assert_int_equal(fake_count(KVM_ENABLE_CAP, 0), 0);
    kvm_vm_free(vm);
    assert_int_equal(fake.open_fds, 0);
}

/* All three at once: one is taken, and the others' ioctls are never tried. */
static void test_order_of_regimes(void **state)
{
    static const struct {
        unsigned cap;
        enum kvm_attributes_regime regime;      /* that there is with this one and those above */
    } rows[] = {
        { KVM_CAP_MEMORY_ATTRIBUTES, KVM_ATTRIBUTES_VM },
        { KVM_CAP_MEMORY_ATTRIBUTES2, KVM_ATTRIBUTES_VM2 },
        { KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, KVM_ATTRIBUTES_GUEST_MEMFD },
    };
    const struct kvm_needs needs = { .vm_type = KVM_X86_SW_PROTECTED_VM };

    fake_reset(KVM_ATTRIBUTES_NONE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kvm_vm *vm = NULL;

        fake_set_cap(rows[i].cap, KVM_MEMORY_ATTRIBUTE_PRIVATE);
        assert_int_equal(kvm_vm_new(&fake_driver, &needs, &vm), 0);
        assert_int_equal(vm->regime, rows[i].regime);
        assert_non_null(kvm_attributes_text(vm->regime));
        kvm_vm_free(vm);
    }
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES, 0), 0);
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES2, 0), 0);
}

static void test_busy_page_is_retried_then_reported(void **state)
{
    struct kvm_vm *vm = new_vm(KVM_ATTRIBUTES_GUEST_MEMFD);
    uint64_t where = 42;

    fake_fail(KVM_SET_MEMORY_ATTRIBUTES2, 1, 2, -EAGAIN);
    assert_int_equal(kvm_set_private(vm, 0, 99, 0x1000, 0x4000, true, &where), 0);
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES2, 0), 4);
    assert_int_equal(where, 42);

    fake_fail(KVM_SET_MEMORY_ATTRIBUTES2, 1, 1000, -EAGAIN);
    fake.fail_error_offset = 0x3000;
    assert_int_equal(kvm_set_private(vm, 0, 99, 0x1000, 0x4000, true, &where), -EAGAIN);
    assert_int_equal(where, 0x2000);    /* from the start of the range */
    assert_true(fake_count(KVM_SET_MEMORY_ATTRIBUTES2, 0) < 30);

    /* An offset outside of what was asked for is not believed. */
    fake.fail_error_offset = 0x800000;
    assert_int_equal(kvm_set_private(vm, 0, 99, 0x1000, 0x4000, true, &where), -EAGAIN);
    assert_int_equal(where, 0);

    /* Nothing else is. */
    fake_reset(KVM_ATTRIBUTES_GUEST_MEMFD);
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES2, 1, 0, -ENOMEM);
    assert_int_equal(kvm_set_private(vm, 0, 99, 0x1000, 0x4000, true, &where), -ENOMEM);
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES2, 0), 1);
    kvm_vm_free(vm);
}

static void test_slots(void **state)
{
    struct kvm_slot slot = {
        .id = 3, .gpa = 0x100000, .size = 0x10000, .hva = 0x7000000, .guest_memfd = -1,
        .readonly = true,
    };
    struct kvm_vm *vm = new_vm(KVM_ATTRIBUTES_VM);
    const struct fake_call *call;

    assert_int_equal(kvm_vm_set_slot(vm, &slot), 0);
    call = fake_find(KVM_SET_USER_MEMORY_REGION, 0, 0);
    assert_true(call && call->slot == 3 && call->flags == KVM_MEM_READONLY);
    slot.readonly = false;
    slot.guest_memfd = 99;
    assert_int_equal(kvm_vm_set_slot(vm, &slot), 0);
    call = fake_find(KVM_SET_USER_MEMORY_REGION2, 0, 0);
    assert_true(call && call->flags == KVM_MEM_GUEST_MEMFD);
    slot.size = 0;
    assert_int_equal(kvm_vm_set_slot(vm, &slot), 0);
    call = fake_find(KVM_SET_USER_MEMORY_REGION, 1, 0);
    assert_true(call && call->size == 0 && call->flags == 0);
    kvm_vm_free(vm);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_names_what_is_missing),
        cmocka_unit_test(test_new_fails_whole),
        cmocka_unit_test(test_regime_decides_the_call),
        cmocka_unit_test(test_order_of_regimes),
        cmocka_unit_test(test_busy_page_is_retried_then_reported),
        cmocka_unit_test(test_slots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
