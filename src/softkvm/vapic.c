/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vAPIC: 32 bits in the guest's RAM by which a patched guest reads and sets
 * its task priority without leaving, and the exit that tells user space which
 * instructions to patch.
 *
 * Source: Linux 6.12 Documentation/virt/kvm/api.rst 4.43 (KVM_TPR_ACCESS_REPORTING)
 * and 4.44 (KVM_SET_VAPIC_ADDR); the word's layout, arch/x86/kvm/lapic.c.
 */
#include "vapic.h"

#include "guest_access.h"
#include "guest_page.h"
#include "irqchip.h"
#include "range.h"
#include "soft_vcpu.h"
#include "soft_vm.h"

#include <errno.h>

enum { VAPIC_SIZE = 4 };

/* NULL: no RAM. */
static void *vapic_word(struct vcpu *vcpu, enum cpu_access access, struct cpu_page *page)
{
    uint64_t offset = vcpu->vapic_addr % GUEST_PAGE_SIZE;
    bool is_private;

    if (guest_page_find(vcpu->vm, false, vcpu->vapic_addr - offset, access, page, &is_private) !=
        GUEST_PAGE_RAM)
        return NULL;
    return page->host + offset;
}

int vapic_set_address(struct vcpu *vcpu, uint64_t gpa)
{
    uint64_t before = vcpu->vapic_addr;
    struct cpu_page page;

    if (!vcpu->lapic)
        return -EINVAL;
    vcpu->vapic_addr = gpa;
    if (gpa && (gpa % GUEST_PAGE_SIZE > GUEST_PAGE_SIZE - VAPIC_SIZE ||
                !vapic_word(vcpu, ACCESS_WRITE, &page))) {
        vcpu->vapic_addr = before;
        return -EINVAL;
    }
    return 0;
}

void vapic_to_apic(struct vcpu *vcpu)
{
    struct cpu_page page;
    uint32_t word;
    void *at;

    if (!vcpu->vapic_addr)
        return;
    at = vapic_word(vcpu, ACCESS_READ, &page);
    if (!at)
        return;
    guest_copy(&word, at, sizeof(word));
    lapic_set_task_priority(vcpu->lapic, word & 0xff);
}

void vapic_from_apic(struct vcpu *vcpu)
{
    struct cpu_page page;
    uint32_t word;
    void *at;

    if (!vcpu->vapic_addr)
        return;
    at = vapic_word(vcpu, ACCESS_WRITE, &page);
    if (!at)
        return;
    word = lapic_vapic_word(vcpu->lapic);
    guest_copy(at, &word, sizeof(word));
    if (__atomic_load_n(page.code, __ATOMIC_RELAXED) & 1)
        cpu_code_written(page.code);
}
