/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SEV's commands as the VMM gives them, against softkvm's firmware: order, codes, probing. */
#include "sev_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { PAGE = 4096, RAM = 16 * PAGE, POLICY_FAILURE = 7, INVALID_GUEST_STATE = 2 };

static const struct kvm_needs needs = {
    .vm_type = KVM_X86_SEV_VM, .encrypted = true, .sev_type = KVM_SEV_ANY_TYPE,
    .sev_device = "/dev/sev",
};

struct guest {
    struct kvm_vm *vm;
    uint8_t *ram;
};

/* A guest with RAM from 0 on, started with a policy. */
static int setup(struct guest *g, uint32_t policy)
{
    const struct kvm_sev_start start = { .policy = policy };
    struct kvm_slot slot = { .size = RAM, .guest_memfd = -1 };
    uint32_t fw;
    int ret;

    assert_int_equal(kvm_vm_new(&kvm_driver_soft_sev, &needs, &g->vm), 0);
    g->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(g->ram, MAP_FAILED);
    ret = kvm_sev_launch_start(g->vm, &start, &fw);
    if (ret == -ENODEV) {
        print_message("no userfaultfd here\n");
        skip();
    }
    if (ret)
        return fw ? (int)fw : ret;
    slot.hva = (uintptr_t)g->ram;
    assert_int_equal(kvm_vm_set_slot(g->vm, &slot), 0);
    return 0;
}

static void teardown(struct guest *g)
{
    kvm_vm_free(g->vm);
    munmap(g->ram, RAM);
}

static void test_probe(void **state)
{
    struct kvm_needs legacy = needs;
    const char *missing = NULL;

    assert_int_equal(kvm_vm_probe(&kvm_driver_soft_sev, &needs, &missing), 0);
    assert_int_equal(kvm_vm_probe(&kvm_driver_soft, &needs, &missing), -ENOTSUP);
    assert_string_equal(missing, "KVM_MEMORY_ENCRYPT_OP (SEV)");
    legacy.sev_type = KVM_SEV_OWN_TYPE;
    assert_int_equal(kvm_vm_probe(&kvm_driver_soft, &legacy, &missing), -ENOTSUP);
    assert_string_equal(missing, "KVM_X86_SEV_VM of KVM_CAP_VM_TYPES (235)");
    legacy.sev_type = KVM_SEV_LEGACY_TYPE;
    assert_int_equal(kvm_vm_probe(&kvm_driver_soft_sev, &legacy, &missing), 0);
}

static void test_launch(void **state)
{
    static const uint8_t nonce[KVM_SEV_NONCE_SIZE] = "a nonce";
    const uint8_t *sent;
    uint32_t size, fw = 99;
    struct guest g;
    void *report;

    assert_int_equal(setup(&g, 0), 0);
    assert_int_equal(g.vm->sev->state, KVM_SEV_LAUNCH_UPDATING);
    assert_true(g.vm->sev->handle);
    strcpy((char *)g.ram, "plain text");
    assert_int_equal(kvm_sev_launch_finish(g.vm, &fw), 0);
    teardown(&g);

    assert_int_equal(setup(&g, 0), 0);
    strcpy((char *)g.ram, "plain text");
    assert_int_equal(kvm_sev_register(g.vm, g.ram, RAM), 0);
    assert_int_equal(kvm_sev_launch_update(g.vm, g.ram, PAGE, &fw), 0);
    assert_string_not_equal((char *)g.ram, "plain text");
    assert_int_equal(kvm_sev_launch_measure(g.vm, &fw), 0);
    assert_int_equal(fw, 0);
    assert_int_equal(g.vm->sev->state, KVM_SEV_LAUNCH_MEASURED);
    assert_int_equal(g.vm->sev->measurement_size, 48);
    assert_int_equal(kvm_sev_launch_update(g.vm, g.ram, PAGE, &fw), -EIO);
    assert_int_equal(fw, INVALID_GUEST_STATE);
    assert_int_equal(kvm_sev_launch_finish(g.vm, &fw), 0);
    assert_int_equal(g.vm->sev->state, KVM_SEV_RUNNING);
    assert_int_equal(kvm_sev_attestation_report(g.vm, nonce, &report, &size, &fw), 0);
    sent = report;
    assert_memory_equal(sent, nonce, sizeof(nonce));
    free(report);
    assert_int_equal(kvm_sev_unregister(g.vm, g.ram, RAM), 0);
    teardown(&g);
}

static void test_debugging_by_policy(void **state)
{
    char text[32] = "";
    struct guest g;
    uint32_t fw;

    assert_int_equal(setup(&g, 0), 0);
    strcpy((char *)g.ram + 40, "plain text");
    assert_int_equal(kvm_sev_launch_update(g.vm, g.ram, PAGE, &fw), 0);
    assert_int_equal(kvm_sev_launch_measure(g.vm, &fw), 0);
    assert_int_equal(kvm_sev_launch_finish(g.vm, &fw), 0);
    assert_int_equal(kvm_sev_debug_decrypt(g.vm, g.ram + 41, text, 9, &fw), 0);
    assert_string_equal(text, "lain text");
    assert_int_equal(kvm_sev_debug_encrypt(g.vm, g.ram + 45, "b", 1, &fw), 0);
    assert_int_equal(kvm_sev_debug_decrypt(g.vm, g.ram + 40, text, 11, &fw), 0);
    assert_string_equal(text, "plainbtext");
    teardown(&g);

    assert_int_equal(setup(&g, KVM_SEV_POLICY_NODBG), 0);
    assert_int_equal(kvm_sev_launch_measure(g.vm, &fw), 0);
    assert_int_equal(kvm_sev_launch_finish(g.vm, &fw), 0);
    assert_int_equal(kvm_sev_debug_decrypt(g.vm, g.ram, text, 9, &fw), -EIO);
    assert_int_equal(fw, POLICY_FAILURE);
    assert_string_equal(kvm_sev_error_text(fw), "Policy is not allowed");
    teardown(&g);
}

static void test_a_policy_from_the_future(void **state)
{
    struct guest g;

    assert_int_equal(setup(&g, 0xff << 16), POLICY_FAILURE);
    assert_int_equal(g.vm->sev->state, KVM_SEV_UNINIT);
    teardown(&g);
}

static void test_platform(void **state)
{
    struct kvm_sev_platform platform;
    unsigned c_bit;
    struct kvm_vm *vm;
    uint32_t fw;

    assert_int_equal(kvm_vm_new(&kvm_driver_soft_sev, &needs, &vm), 0);
    assert_int_equal(kvm_sev_platform_get(vm, &platform, &c_bit, &fw), 0);
    assert_int_equal(c_bit, vm->sev->c_bit);
    assert_int_equal(platform.pdh_size, 0x824);
    assert_int_equal(platform.chain_size, 3 * 0x824);
    assert_int_equal(platform.id_size, 64);
    kvm_sev_platform_clear(&platform);
    kvm_vm_free(vm);

    assert_int_equal(kvm_vm_new(&kvm_driver_soft, &(struct kvm_needs){ 0 }, &vm), 0);
    assert_int_equal(kvm_sev_platform_get(vm, &platform, &c_bit, &fw), -ENOTTY);
    kvm_vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe), cmocka_unit_test(test_launch),
        cmocka_unit_test(test_debugging_by_policy),
        cmocka_unit_test(test_a_policy_from_the_future), cmocka_unit_test(test_platform),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
