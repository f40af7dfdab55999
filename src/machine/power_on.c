/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every piece of a vCPU's state that KVM lets one read and write (Linux 6.12
 * Documentation/virt/kvm/api.rst), as rows of a table, and all its MSRs.
 */
#include "power_on.h"

#include "layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    MSR_IA32_TSC = 0x10, MSR_MTRR_DEF_TYPE = 0x2ff, MTRR_ENABLED = 1 << 11, MTRR_WRITE_BACK = 6,
    MAX_MSRS = 1024,
};

struct vcpu_state {
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    struct kvm_fpu fpu;
    struct kvm_xsave xsave;
    struct kvm_xcrs xcrs;
    struct kvm_debugregs debugregs;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp_state;
    struct kvm_vcpu_events events;
    struct kvm_msrs *msrs;
};

struct state_part {
    unsigned long get, set;
    size_t offset;
    unsigned capability;        /* 0: always there */
    bool instead;               /* only where the row before isn't there */
};

#define PART(member_, name_, ...)                                                              \
    { KVM_GET_##name_, KVM_SET_##name_, offsetof(struct vcpu_state, member_), ##__VA_ARGS__ }

/* In the order of restoring: the APIC base before the APIC, pending events last. */
static const struct state_part state_parts[] = {
    PART(sregs, SREGS),
    PART(regs, REGS),
    PART(xcrs, XCRS, KVM_CAP_XCRS),
    PART(xsave, XSAVE, KVM_CAP_XSAVE),
    PART(fpu, FPU, 0, true),
    PART(debugregs, DEBUGREGS, KVM_CAP_DEBUGREGS),
    PART(lapic, LAPIC, KVM_CAP_IRQCHIP),
    PART(mp_state, MP_STATE, KVM_CAP_MP_STATE),
    PART(events, VCPU_EVENTS, KVM_CAP_VCPU_EVENTS),
};

static bool part_present(struct kvm_vm *vm, const struct state_part *part)
{
    if (part->instead)
        return !part_present(vm, part - 1);
    return !part->capability || kvm_vm_check_extension(vm, part->capability) > 0;
}

/* --- MSRs --- */

static struct kvm_msr_list *msr_list(struct kvm_vm *vm)
{
    struct kvm_msr_list *list = calloc(1, sizeof(*list) + MAX_MSRS * sizeof(list->indices[0]));

    if (!list)
        return NULL;
    list->nmsrs = MAX_MSRS;
    if (vm->driver->ioctl(vm->system_fd, KVM_GET_MSR_INDEX_LIST, (unsigned long)list) < 0)
        list->nmsrs = 0;
    return list;
}

static int one_msr(struct kvm_vcpu *vcpu, unsigned long request, struct kvm_msr_entry *entry)
{
    union {
        struct kvm_msrs msrs;
        char room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
    } one = { .msrs.nmsrs = 1 };
    struct kvm_msr_entry *slot = (struct kvm_msr_entry *)(one.room + sizeof(struct kvm_msrs));
    int ret;

    *slot = *entry;
    ret = kvm_vcpu_ioctl(vcpu, request, &one);
    *entry = *slot;
    return ret;
}

/* One by one: KVM lists some that this vCPU doesn't have, and stops at the first of those. */
static int save_msrs(struct kvm_vcpu *vcpu, struct vcpu_state *state)
{
    struct kvm_msr_list *list = msr_list(kvm_vcpu_vm(vcpu));
    struct kvm_msrs *msrs;

    if (!list)
        return -ENOMEM;
    msrs = calloc(1, sizeof(*msrs) + list->nmsrs * sizeof(msrs->entries[0]));
    if (!msrs) {
        free(list);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        struct kvm_msr_entry entry = { .index = list->indices[i] };

        /* The TSCs run on: setting them one after another would set them apart. */
        if (entry.index != MSR_IA32_TSC && one_msr(vcpu, KVM_GET_MSRS, &entry) == 1)
            msrs->entries[msrs->nmsrs++] = entry;
    }
    free(list);
    state->msrs = msrs;
    return 0;
}

static void restore_msrs(struct kvm_vcpu *vcpu, const struct vcpu_state *state)
{
    for (uint32_t i = 0; i < state->msrs->nmsrs; i++) {
        struct kvm_msr_entry entry = state->msrs->entries[i];

        one_msr(vcpu, KVM_SET_MSRS, &entry);    /* some can only be read */
    }
}

/* --- vCPUs --- */

int vcpu_state_save(struct kvm_vcpu *vcpu, struct vcpu_state **ret)
{
    struct vcpu_state *state = calloc(1, sizeof(*state));
    int result = state ? save_msrs(vcpu, state) : -ENOMEM;

    for (size_t i = 0; result == 0 && i < sizeof(state_parts) / sizeof(state_parts[0]); i++) {
        if (part_present(kvm_vcpu_vm(vcpu), &state_parts[i]))
            result = kvm_vcpu_ioctl(vcpu, state_parts[i].get,
                                    (char *)state + state_parts[i].offset);
    }
    if (result < 0) {
        vcpu_state_free(state);
        return result;
    }
    *ret = state;
    return 0;
}

int vcpu_state_restore(struct kvm_vcpu *vcpu, const struct vcpu_state *state)
{
    int result = 0;

    for (size_t i = 0; result >= 0 && i < sizeof(state_parts) / sizeof(state_parts[0]); i++) {
        if (part_present(kvm_vcpu_vm(vcpu), &state_parts[i]))
            result = kvm_vcpu_ioctl(vcpu, state_parts[i].set,
                                    (char *)state + state_parts[i].offset);
        if (state_parts[i].set == KVM_SET_SREGS)
            restore_msrs(vcpu, state);
    }
    return result < 0 ? result : 0;
}

void vcpu_state_free(struct vcpu_state *state)
{
    if (!state)
        return;
    free(state->msrs);
    free(state);
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
    return (struct kvm_segment){
        .selector = selector, .base = 0, .limit = 0xffffffff, .type = type,
        .present = 1, .s = 1, .db = 1, .g = 1,
    };
}

int vcpu_set_entry(struct kvm_vcpu *vcpu, const struct boot_entry *entry)
{
    enum { CODE = 0x10, DATA = 0x18, TYPE_CODE = 0xb, TYPE_DATA = 0x3, TYPE_TSS_BUSY = 0xb };
    struct kvm_regs regs = {
        .rip = entry->eip, .rbx = entry->ebx, .rsi = entry->esi, .rflags = 2,
    };
    struct kvm_sregs sregs;
    int ret = kvm_vcpu_ioctl(vcpu, KVM_GET_SREGS, &sregs);

    if (ret < 0)
        return ret;
    sregs.cs = flat_segment(CODE, TYPE_CODE);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(DATA, TYPE_DATA);
    sregs.tr = (struct kvm_segment){ .type = TYPE_TSS_BUSY, .present = 1, .limit = 0x67 };
    sregs.gdt.base = LAYOUT_GDT;
    sregs.gdt.limit = 4 * 8 - 1;
    sregs.idt.base = sregs.idt.limit = 0;
    sregs.cr0 = 0x11;           /* protected mode, and the bit that is always set */
    sregs.cr3 = sregs.cr4 = sregs.efer = 0;
    ret = kvm_vcpu_ioctl(vcpu, KVM_SET_SREGS, &sregs);
    return ret < 0 ? ret : kvm_vcpu_ioctl(vcpu, KVM_SET_REGS, &regs);
}

int vcpu_enable_mtrrs(struct kvm_vcpu *vcpu)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msrs = {
        .head.nmsrs = 1,
        .entry = { .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED | MTRR_WRITE_BACK },
    };
    int ret = kvm_vcpu_ioctl(vcpu, KVM_SET_MSRS, &msrs);

    return ret == 1 ? 0 : ret < 0 ? ret : -EINVAL;
}

/* --- Interrupt controllers and PIT --- */

enum { IRQCHIPS = 3 };

struct irqchip_state {
    struct kvm_irqchip chips[IRQCHIPS];
    struct kvm_pit_state2 pit;
};

int irqchip_state_save(struct kvm_vm *vm, struct irqchip_state **ret)
{
    struct irqchip_state *state = calloc(1, sizeof(*state));
    int result = state ? 0 : -ENOMEM;

    for (unsigned i = 0; result >= 0 && i < IRQCHIPS; i++) {
        state->chips[i].chip_id = i;
        result = kvm_vm_ioctl(vm, KVM_GET_IRQCHIP, &state->chips[i]);
    }
    if (result >= 0)
        result = kvm_vm_ioctl(vm, KVM_GET_PIT2, &state->pit);
    if (result < 0) {
        irqchip_state_free(state);
        return result;
    }
    *ret = state;
    return 0;
}

int irqchip_state_restore(struct kvm_vm *vm, const struct irqchip_state *state)
{
    struct irqchip_state copy = *state;
    int result = 0;

    for (unsigned i = 0; result >= 0 && i < IRQCHIPS; i++)
        result = kvm_vm_ioctl(vm, KVM_SET_IRQCHIP, &copy.chips[i]);
    if (result >= 0)
        result = kvm_vm_ioctl(vm, KVM_SET_PIT2, &copy.pit);
    return result < 0 ? result : 0;
}

void irqchip_state_free(struct irqchip_state *state)
{
    free(state);
}
