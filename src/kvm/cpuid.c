/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guest's CPUID: what KVM supports, with the topology of this machine put
 * in.  Leaves: Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E; KVM's own
 * leaves: Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "sev_client.h"

#include <errno.h>
#include <stdlib.h>

struct topology {
    struct kvm_vm *vm;
    uint32_t apic_id;
    uint32_t cores;
    uint32_t id_bits;           /* bits of an APIC id that number the cores */
};

/* Leaf 1: APIC id, logical processors; what KVM leaves to its user to announce. */
static void set_leaf_1(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    uint32_t logical = 1u << top->id_bits;

    entry->ebx = (entry->ebx & 0xffff) | (logical > 255 ? 255 : logical) << 16 |
                 (top->apic_id & 0xff) << 24;
    if (top->cores > 1)
        entry->edx |= 1u << 28;                             /* HTT: more than one */
    else
        entry->edx &= ~(1u << 28);
    entry->ecx |= 1u << 31;                                 /* a hypervisor is there */
    if (kvm_vm_check_extension(top->vm, KVM_CAP_TSC_DEADLINE_TIMER))
        entry->ecx |= 1u << 24;
}

/* AMD's caches: level 3 is shared by all cores, the others belong to one. */
static void set_leaf_8000001d(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    uint32_t level = entry->eax >> 5 & 7;
    uint32_t span = (1u << top->id_bits) - 1;

    if ((entry->eax & 0x1f) == 0)
        return;
    entry->eax &= 0x3fff;
    entry->eax |= (level >= 3 ? span & 0xfff : 0) << 14;
}

/* Intel's: the same, and the number of core ids. */
static void set_leaf_4(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    uint32_t span = (1u << top->id_bits) - 1;

    if ((entry->eax & 0x1f) == 0)
        return;
    set_leaf_8000001d(entry, top);
    entry->eax |= (span > 63 ? 63 : span) << 26;
}

/* Leaves 0xb and 0x1f: one thread a core, all cores in one package. */
static void set_leaf_b(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    entry->eax = entry->ebx = entry->ecx = 0;
    if (entry->index == 0) {
        entry->ebx = 1;
        entry->ecx = 1 << 8;                                /* SMT */
    } else if (entry->index == 1) {
        entry->eax = top->id_bits;
        entry->ebx = top->cores;
        entry->ecx = 2 << 8 | 1;                            /* core */
    } else {
        entry->ecx = entry->index & 0xff;
    }
    entry->edx = top->apic_id;
}

/* AMD: number of cores and of APIC id bits. */
static void set_leaf_80000008(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    entry->ecx = (entry->ecx & ~0xf0ffu) | ((top->cores - 1) & 0xff) | top->id_bits << 12;
}

/* AMD: extended APIC id, core id with one thread each, node 0 of 1. */
static void set_leaf_8000001e(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    entry->eax = top->apic_id;
    entry->ebx = top->apic_id & 0xff;
    entry->ecx = entry->edx = 0;
}

/*
 * KVM's features: bits 16 (KVM_FEATURE_HC_MAP_GPA_RANGE) and 17 (KVM_FEATURE_MIGRATION_CONTROL)
 * are the VMM's to set.  Linux as a SEV guest tells what it shares if it has the second.
 */
static void set_leaf_40000001(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    if (top->vm->regime != KVM_ATTRIBUTES_NONE)
        entry->eax |= 1u << 16;
    if (top->vm->regime == KVM_ATTRIBUTES_ENCRYPTED)
        entry->eax |= 1u << 17;
}

/* AMD's memory encryption: what this guest has of it, and with how many bits less of addresses. */
static void set_leaf_8000001f(struct kvm_cpuid_entry2 *entry, const struct topology *top)
{
    const struct kvm_sev *sev = top->vm->sev;

    if (!sev)
        return;
    entry->eax = 1u << 1 | (sev->policy & KVM_SEV_POLICY_ES ? 1u << 3 : 0);
    entry->ebx = sev->c_bit | sev->reduced_bits << 6;
    entry->ecx = entry->edx = 0;
}

static const struct leaf {
    uint32_t function;
    void (*set)(struct kvm_cpuid_entry2 *entry, const struct topology *top);
} leaves[] = {
    { 0x00000001, set_leaf_1 },
    { 0x00000004, set_leaf_4 },
    { 0x0000000b, set_leaf_b },
    { 0x0000001f, set_leaf_b },
    { 0x40000001, set_leaf_40000001 },
    { 0x80000008, set_leaf_80000008 },
    { 0x8000001d, set_leaf_8000001d },
    { 0x8000001e, set_leaf_8000001e },
    { 0x8000001f, set_leaf_8000001f },
};

/* KVM says how many there are only by refusing fewer. */
static int get_supported(struct kvm_vm *vm, struct kvm_cpuid2 **ret_cpuid)
{
    for (uint32_t n = 64; n <= 4096; n *= 2) {
        struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + n * sizeof(cpuid->entries[0]));
        int ret;

        if (!cpuid)
            return -ENOMEM;
        cpuid->nent = n;
        ret = vm->driver->ioctl(vm->system_fd, KVM_GET_SUPPORTED_CPUID, (unsigned long)cpuid);
        if (ret >= 0) {
            *ret_cpuid = cpuid;
            return 0;
        }
        free(cpuid);
        if (ret != -E2BIG)
            return ret;
    }
    return -E2BIG;
}

/* Leaf 0xb lists its levels as subleaves; KVM's list has what the host has, perhaps only 0. */
static int add_subleaf(struct kvm_cpuid2 **cpuid, uint32_t function, uint32_t index)
{
    struct kvm_cpuid2 *list = *cpuid;
    const struct kvm_cpuid_entry2 *like = NULL;
    struct kvm_cpuid_entry2 copy;

    for (uint32_t i = 0; i < list->nent; i++) {
        if (list->entries[i].function == function && list->entries[i].index == index)
            return 0;
        if (list->entries[i].function == function)
            like = &list->entries[i];
    }
    if (!like)
        return 0;
    copy = *like;
    copy.index = index;
    list = realloc(list, sizeof(*list) + (list->nent + 1) * sizeof(list->entries[0]));
    if (!list)
        return -ENOMEM;
    list->entries[list->nent++] = copy;
    *cpuid = list;
    return 0;
}

static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 0;

    while (1u << bits < count)
        bits++;
    return bits;
}

int kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, unsigned vcpus)
{
    struct topology top = {
        .vm = kvm_vcpu_vm(vcpu), .apic_id = kvm_vcpu_index(vcpu),
        .cores = vcpus, .id_bits = bits_for(vcpus),
    };
    struct kvm_cpuid2 *cpuid = NULL;
    int ret = get_supported(top.vm, &cpuid);

    for (uint32_t index = 0; !ret && index < 3; index++)
        ret = add_subleaf(&cpuid, 0xb, index);
    for (uint32_t i = 0; !ret && i < cpuid->nent; i++) {
        for (size_t j = 0; j < sizeof(leaves) / sizeof(leaves[0]); j++) {
            if (cpuid->entries[i].function == leaves[j].function)
                leaves[j].set(&cpuid->entries[i], &top);
        }
    }
    if (!ret)
        ret = kvm_vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid);
    free(cpuid);
    return ret;
}

int kvm_vm_cpuid(struct kvm_vm *vm, uint32_t function, uint32_t index, struct kvm_cpuid_entry2 *ret)
{
    struct kvm_cpuid2 *cpuid = NULL;
    int result = get_supported(vm, &cpuid);

    if (result < 0)
        return result;
    result = -ENOENT;
    for (uint32_t i = 0; i < cpuid->nent && result; i++) {
        if (cpuid->entries[i].function == function && cpuid->entries[i].index == index) {
            *ret = cpuid->entries[i];
            result = 0;
        }
    }
    free(cpuid);
    return result;
}

unsigned kvm_vm_address_bits(struct kvm_vm *vm)
{
    struct kvm_cpuid_entry2 leaf = { 0 };
    unsigned bits = kvm_vm_cpuid(vm, 0x80000008, 0, &leaf) ? 0 : leaf.eax & 0xff;

    /* Addresses end below the C-bit. */
    if (vm->sev && bits > vm->sev->c_bit)
        bits = vm->sev->c_bit;
    return bits ? bits : 36;
}
