/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The topology that a guest reads from CPUID, and what KVM leaves to its user to announce. */
#include "fake_kvm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 150 };            /* more than the first try has room for */

/* As a host with 8 threads might say it, topology and all. */
static const struct kvm_cpuid_entry2 host[MANY] = {
    { .function = 0x0, .eax = 0xd },
    { .function = 0x1, .ebx = 0x05080800, .ecx = 0x00200000, .edx = 1u << 28 },
    { .function = 0x4, .index = 0, .flags = 1, .eax = 0x1c004121 },
    { .function = 0x4, .index = 3, .flags = 1, .eax = 0x1c03c163 },
    { .function = 0x4, .index = 4, .flags = 1, .eax = 0 },
    { .function = 0xb, .index = 0, .flags = 1, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 5 },
    { .function = 0x40000001, .eax = 0x0f },
    { .function = 0x80000008, .eax = 0x3030, .ecx = 0x7007 },
    { .function = 0x8000001e, .eax = 5, .ebx = 0x102, .ecx = 0x100 },
    { .function = 0x80000021, .eax = 0x42 },
};

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpu;

static void set_up(enum kvm_attributes_regime regime, unsigned index, unsigned vcpus)
{
    static const struct kvm_exit_ops ops;
    const struct kvm_needs needs = { .vm_type = KVM_X86_SW_PROTECTED_VM };

    fake_reset(regime);
    fake.supported = host;
    fake.nr_supported = MANY;
    assert_int_equal(kvm_vm_new(&fake_driver, &needs, &vm), 0);
    assert_int_equal(kvm_vcpu_new(vm, index, &ops, NULL, &vcpu), 0);
    assert_int_equal(kvm_vcpu_set_cpuid(vcpu, vcpus), 0);
}

static int tear_down(void **state)
{
    kvm_vcpu_free(vcpu);
    kvm_vm_free(vm);
    return fake.open_fds != 0 || fake.open_maps != 0;
}

static struct kvm_cpuid_entry2 leaf(uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < fake.nr_cpuid; i++) {
        if (fake.cpuid[i].function == function && fake.cpuid[i].index == index)
            return fake.cpuid[i];
    }
    fail_msg("leaf 0x%x.%u isn't there", function, index);
    return (struct kvm_cpuid_entry2){ 0 };
}

static void test_three_of_four(void **state)
{
    set_up(KVM_ATTRIBUTES_VM, 3, 4);
    assert_int_equal(leaf(0x1, 0).ebx, 0x03040800);
    assert_int_equal(leaf(0x1, 0).ecx, 0x80200000);
    assert_int_equal(leaf(0x1, 0).edx, 1u << 28);
    assert_int_equal(leaf(0x4, 0).eax, 3u << 26 | 0x121);           /* L1: each its own */
    assert_int_equal(leaf(0x4, 3).eax, 3u << 26 | 3u << 14 | 0x163);        /* L3: all share it */
    assert_int_equal(leaf(0x4, 4).eax, 0);
    assert_int_equal(leaf(0xb, 0).eax, 0);
    assert_int_equal(leaf(0xb, 0).ebx, 1);
    assert_int_equal(leaf(0xb, 0).ecx, 0x100);
    assert_int_equal(leaf(0xb, 1).eax, 2);
    assert_int_equal(leaf(0xb, 1).ebx, 4);
    assert_int_equal(leaf(0xb, 1).ecx, 0x201);
    assert_int_equal(leaf(0xb, 2).ecx, 2);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(leaf(0xb, i).edx, 3);
    assert_int_equal(leaf(0x80000008, 0).ecx, 0x2003);
    assert_int_equal(leaf(0x8000001e, 0).eax, 3);
    assert_int_equal(leaf(0x8000001e, 0).ebx, 3);
    assert_int_equal(leaf(0x80000021, 0).eax, 0x42);
}

static void test_odd_numbers_need_a_bit_more(void **state)
{
    set_up(KVM_ATTRIBUTES_NONE, 2, 3);
    assert_int_equal(leaf(0xb, 1).eax, 2);
    assert_int_equal(leaf(0xb, 1).ebx, 3);
}

static void test_one_alone(void **state)
{
    set_up(KVM_ATTRIBUTES_NONE, 0, 1);
    assert_int_equal(leaf(0x1, 0).ebx, 0x00010800);
    assert_int_equal(leaf(0x1, 0).edx, 0);
    assert_int_equal(leaf(0xb, 1).eax, 0);
    assert_int_equal(leaf(0xb, 1).ebx, 1);
    assert_int_equal(leaf(0x80000008, 0).ecx, 0);
}

static void test_address_bits(void **state)
{
    set_up(KVM_ATTRIBUTES_NONE, 0, 1);
    assert_int_equal(kvm_vm_address_bits(vm), 0x30);
    fake_fail(KVM_GET_SUPPORTED_CPUID, 1, 0, -EFAULT);
    assert_int_equal(kvm_vm_address_bits(vm), 36);
}

static void test_hypercall_is_announced_with_private_memory(void **state)
{
    set_up(KVM_ATTRIBUTES_VM, 0, 1);
    assert_int_equal(leaf(0x40000001, 0).eax, 0x1000f);
    tear_down(NULL);
    set_up(KVM_ATTRIBUTES_GUEST_MEMFD, 0, 1);
    assert_int_equal(leaf(0x40000001, 0).eax, 0x1000f);
    tear_down(NULL);
    set_up(KVM_ATTRIBUTES_NONE, 0, 1);
    assert_int_equal(leaf(0x40000001, 0).eax, 0xf);
}

static void test_errors_are_kvms(void **state)
{
    set_up(KVM_ATTRIBUTES_NONE, 0, 1);
    fake_fail(KVM_GET_SUPPORTED_CPUID, 1, 0, -EFAULT);
    assert_int_equal(kvm_vcpu_set_cpuid(vcpu, 1), -EFAULT);
    fake_fail(KVM_SET_CPUID2, 1, 0, -EINVAL);
    assert_int_equal(kvm_vcpu_set_cpuid(vcpu, 1), -EINVAL);
    fake_fail(KVM_GET_SUPPORTED_CPUID, 1, 100, -E2BIG);
    assert_int_equal(kvm_vcpu_set_cpuid(vcpu, 1), -E2BIG);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_three_of_four),
        TEST(test_odd_numbers_need_a_bit_more),
        TEST(test_one_alone),
        TEST(test_address_bits),
        TEST(test_hypercall_is_announced_with_private_memory),
        TEST(test_errors_are_kvms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
