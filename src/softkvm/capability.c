/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM_CHECK_EXTENSION: capabilities with a value of their own, and those that
 * are no ioctl; 1 for what a row of the ioctl tables names; 0 for all else.
 */
#include "capability.h"

#include "cpu.h"
#include "guest_memfd.h"
#include "hypercall.h"
#include "ioctl_table.h"
#include "memslot.h"
#include "soft_vm.h"

#include <unistd.h>

static uint64_t nr_vcpus(const struct softkvm_options *options, const struct vm *vm)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > VM_MAX_VCPUS ? VM_MAX_VCPUS : n;
}

static uint64_t types(const struct softkvm_options *options, const struct vm *vm)
{
    return vm_types(options);
}

static uint64_t quirks(const struct softkvm_options *options, const struct vm *vm)
{
    return vm_valid_quirks();
}

static uint64_t address_spaces(const struct softkvm_options *options, const struct vm *vm)
{
    return vm_address_spaces(vm);
}

static uint64_t exit_hypercall(const struct softkvm_options *options, const struct vm *vm)
{
    return hypercall_exit_mask();
}

static uint64_t guest_memfd_flags(const struct softkvm_options *options, const struct vm *vm)
{
    return guest_memfd_valid_flags(options, vm);
}

#define CAP(cap_, ...) { #cap_, cap_, __VA_ARGS__ }
const struct capability_row capability_rows[] = {
    CAP(KVM_CAP_HLT, 1),
    CAP(KVM_CAP_NOP_IO_DELAY, 1),
    CAP(KVM_CAP_SYNC_MMU, 1),
    CAP(KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1),
    CAP(KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1),
    CAP(KVM_CAP_CLOCKSOURCE, 1),
    CAP(KVM_CAP_NR_VCPUS, 0, nr_vcpus),
    CAP(KVM_CAP_MAX_VCPUS, VM_MAX_VCPUS),
    CAP(KVM_CAP_MAX_VCPU_ID, VM_MAX_VCPU_IDS),
    CAP(KVM_CAP_NR_MEMSLOTS, MEMSLOT_MAX),
    CAP(KVM_CAP_MP_STATE, 1),
    CAP(KVM_CAP_IRQ_ROUTING, 4096),
    CAP(KVM_CAP_SPLIT_IRQCHIP, 1),
    CAP(KVM_CAP_COALESCED_MMIO, KVM_COALESCED_MMIO_PAGE_OFFSET),
    CAP(KVM_CAP_COALESCED_PIO, 1),
    CAP(KVM_CAP_X86_APIC_BUS_CYCLES_NS, 1),
    CAP(KVM_CAP_IRQFD_RESAMPLE, 1),
    CAP(KVM_CAP_IOEVENTFD_ANY_LENGTH, 1),
    CAP(KVM_CAP_IOEVENTFD_NO_LENGTH, 1),
    CAP(KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC),
    CAP(KVM_CAP_INTERNAL_ERROR_DATA, 1),
    CAP(KVM_CAP_VCPU_EVENTS, 1),
    CAP(KVM_CAP_X86_ROBUST_SINGLESTEP, 1),
    CAP(KVM_CAP_GET_TSC_KHZ, 1),
    CAP(KVM_CAP_TSC_DEADLINE_TIMER, 1),
    CAP(KVM_CAP_READONLY_MEM, 1),
    CAP(KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS),
    CAP(KVM_CAP_MSR_PLATFORM_INFO, 1),
    CAP(KVM_CAP_X2APIC_API,
        KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK),
    CAP(KVM_CAP_X86_USER_SPACE_MSR, 1),
    CAP(KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1),
    CAP(KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1),
    CAP(KVM_CAP_EXCEPTION_PAYLOAD, 1),
    CAP(KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1),
    CAP(KVM_CAP_XSAVE2, sizeof(struct kvm_xsave)),
    CAP(KVM_CAP_MCE, CPU_MCE_BANKS),
    CAP(KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE),
    CAP(KVM_CAP_DISABLE_QUIRKS, 1),
    CAP(KVM_CAP_DISABLE_QUIRKS2, 0, quirks),
    CAP(KVM_CAP_MULTI_ADDRESS_SPACE, 0, address_spaces),
    CAP(KVM_CAP_IMMEDIATE_EXIT, 1),
    CAP(KVM_CAP_SET_GUEST_DEBUG, 1),
    CAP(KVM_CAP_SET_GUEST_DEBUG2,
        KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP |
        KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP |
        KVM_GUESTDBG_BLOCKIRQ),
    CAP(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, MANUAL_DIRTY_LOG_FLAGS),
    CAP(KVM_CAP_EXIT_HYPERCALL, 0, exit_hypercall),
    CAP(KVM_CAP_MEMORY_FAULT_INFO, 1),
    CAP(KVM_CAP_MEMORY_ATTRIBUTES, 0, vm_valid_attributes),
    CAP(KVM_CAP_VM_TYPES, 0, types),
    CAP(KVM_CAP_GUEST_MEMFD_FLAGS, 0, guest_memfd_flags),
    CAP(KVM_CAP_MEMORY_ATTRIBUTES2, 0, vm_valid_attributes2),
    CAP(KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, 0, guest_memfd_valid_attributes),
};

const size_t nr_capability_rows = sizeof(capability_rows) / sizeof(capability_rows[0]);

int capability_check(const struct softkvm_options *options, const struct vm *vm, unsigned cap)
{
    for (size_t i = 0; i < nr_capability_rows; i++) {
        const struct capability_row *row = &capability_rows[i];

        if (row->cap == cap)
            return row->fn ? row->fn(options, vm) : row->value;
    }
    return ioctl_has_cap(&system_ioctls, cap) || ioctl_has_cap(&vm_ioctls, cap) ||
           ioctl_has_cap(&vcpu_ioctls, cap);
}
