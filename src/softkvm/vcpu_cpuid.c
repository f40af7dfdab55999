/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUID of a vCPU: user space's table (KVM_SET_CPUID2), with the bits that
 * follow the processor's state filled in, and KVM's own leaves.
 *
 * Source: Linux 6.12 arch/x86/kvm/cpuid.c for which leaf answers when the one
 * that was asked for isn't there; Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "vcpu_cpuid.h"

#include "cpu_model.h"
#include "irqchip.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "steal_time.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEAF_FEATURES = 0x1, LEAF_MORE_FEATURES = 0x7, LEAF_XSAVE = 0xd, ECX_LA57 = 1 << 16,
    LEAF_KVM = 0x40000000, LEAF_KVM_FEATURES = 0x40000001,
    LEAF_EXTENDED = 0x80000000, LEAF_ADDRESS_SIZES = 0x80000008,
    ECX_MONITOR = 1 << 3, ECX_X2APIC = 1 << 21, ECX_XSAVE = 1 << 26, ECX_OSXSAVE = 1 << 27,
    EDX_APIC = 1 << 9, MISC_ENABLE_MWAIT = 1 << 18,
    CR4_OSXSAVE = 1 << 18,
    APIC_BASE_ENABLED = 1 << 11, APIC_BASE_X2APIC = 1 << 10,
    XSAVE_LEGACY_AND_HEADER = 576,
    /* Without the leaf; what page tables can hold. */
    DEFAULT_PHYS_BITS = 36, MIN_PHYS_BITS = 32, MAX_PHYS_BITS = 52,
};

/* The paravirtual features that work here; docs/kvm-api.md lists them. */
#define KVM_FEATURES                                                                    \
    (1u << KVM_FEATURE_CLOCKSOURCE | 1u << KVM_FEATURE_NOP_IO_DELAY |                   \
     1u << KVM_FEATURE_CLOCKSOURCE2 | 1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT |        \
     1u << KVM_FEATURE_PV_SEND_IPI | 1u << KVM_FEATURE_PV_SCHED_YIELD)

static struct kvm_cpuid_entry2 from_cpu(const struct cpuid_entry *entry)
{
    return (struct kvm_cpuid_entry2){
        .function = entry->leaf,
        .index = entry->subleaf,
        .flags = entry->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        .eax = entry->eax, .ebx = entry->ebx, .ecx = entry->ecx, .edx = entry->edx,
    };
}

static uint32_t kvm_features(void)
{
    return KVM_FEATURES | (steal_time_available() ? 1u << KVM_FEATURE_STEAL_TIME : 0);
}

/* Leaf 0x40000000: the signature "KVMKVMKVM". */
static struct kvm_cpuid_entry2 kvm_signature(void)
{
    return (struct kvm_cpuid_entry2){ .function = LEAF_KVM, .eax = LEAF_KVM_FEATURES,
                                      .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d };
}

int cpuid_get_supported(const struct cpu_model *model, struct kvm_cpuid2 *cpuid)
{
    struct cpuid_entry entries[KVM_CPUID_MAX];
    size_t n = cpu_model_apply(model, entries, cpu_supported_cpuid(entries, KVM_CPUID_MAX - 2),
                               KVM_CPUID_MAX - 2);

    if (cpuid->nent < n + 2)
        return -E2BIG;
    for (size_t i = 0; i < n; i++)
        cpuid->entries[i] = from_cpu(&entries[i]);
    cpuid->entries[n] = kvm_signature();
    cpuid->entries[n + 1] = (struct kvm_cpuid_entry2){ .function = LEAF_KVM_FEATURES,
                                                       .eax = kvm_features() };
    cpuid->nent = n + 2;
    return 0;
}

static uint64_t read_gpa_limit(void)
{
    struct cpuid_entry entries[KVM_CPUID_MAX];
    size_t n = cpu_supported_cpuid(entries, KVM_CPUID_MAX);

    for (size_t i = 0; i < n; i++) {
        if (entries[i].leaf == LEAF_ADDRESS_SIZES)
            return 1ULL << (entries[i].eax & 0xff);
    }
    return 1ULL << DEFAULT_PHYS_BITS;
}

uint64_t vcpu_gpa_limit(void)
{
    static uint64_t limit;
    uint64_t known = __atomic_load_n(&limit, __ATOMIC_RELAXED);

    if (!known) {
        known = read_gpa_limit();
        __atomic_store_n(&limit, known, __ATOMIC_RELAXED);
    }
    return known;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < vcpu->nr_cpuid; i++) {
        const struct kvm_cpuid_entry2 *entry = &vcpu->cpuid[i];

        if (entry->function == leaf &&
            (!(entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || entry->index == subleaf))
            return entry;
    }
    return NULL;
}

static void fill_in_state(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf,
                          uint32_t regs[4]);

/* But for what follows the processor's state. */
static bool same_entry(const struct vcpu *vcpu, const struct kvm_cpuid_entry2 *a,
                       const struct kvm_cpuid_entry2 *b)
{
    uint32_t regs_a[4], regs_b[4];

    memcpy(regs_a, &a->eax, sizeof(regs_a));
    memcpy(regs_b, &b->eax, sizeof(regs_b));
    fill_in_state(vcpu, a->function, a->index, regs_a);
    fill_in_state(vcpu, b->function, b->index, regs_b);
    return a->function == b->function && a->index == b->index && a->flags == b->flags &&
           !memcmp(regs_a, regs_b, sizeof(regs_a));
}

static bool same_table(const struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
    if (cpuid->nent != vcpu->nr_cpuid)
        return false;
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        if (!same_entry(vcpu, &cpuid->entries[i], &vcpu->cpuid[i]))
            return false;
    }
    return true;
}

/*
 * MAXPHYADDR is what user space says, as in KVM: a VMM may hand on the host's
 * own, which is another one than KVM_GET_SUPPORTED_CPUID's.  So is 5-level paging.
 */
static void set_address_sizes(struct vcpu *vcpu)
{
    const struct kvm_cpuid_entry2 *more = cpuid_find(vcpu, LEAF_MORE_FEATURES, 0);
    const struct kvm_cpuid_entry2 *last = cpuid_find(vcpu, LEAF_EXTENDED, 0);
    const struct kvm_cpuid_entry2 *entry = cpuid_find(vcpu, LEAF_ADDRESS_SIZES, 0);
    bool known = entry && last && last->eax >= LEAF_ADDRESS_SIZES;
    uint32_t bits = known ? entry->eax & 0xff : DEFAULT_PHYS_BITS;

    vcpu->cpu->phys_bits = bits < MIN_PHYS_BITS   ? MIN_PHYS_BITS
                           : bits > MAX_PHYS_BITS ? MAX_PHYS_BITS
                                                  : bits;
    vcpu->cpu->la57 = more && more->ecx & ECX_LA57;
    cpu_state_replaced(vcpu->cpu);
}

bool cpuid_allows_apic_base(const struct vcpu *vcpu, uint64_t base)
{
    const struct kvm_cpuid_entry2 *features = cpuid_find(vcpu, LEAF_FEATURES, 0);
    bool x2apic = features && features->ecx & ECX_X2APIC;

    return !(base >> vcpu->cpu->phys_bits) && (x2apic || !(base & APIC_BASE_X2APIC));
}

/* KVM's leaves may stand at any multiple of 0x100, after those of another hypervisor. */
static struct kvm_cpuid_entry2 *pv_features(struct kvm_cpuid_entry2 *entries, uint32_t count)
{
    const struct kvm_cpuid_entry2 signature = kvm_signature();
    uint32_t leaf = 0;

    for (uint32_t i = 0; !leaf && i < count; i++) {
        if ((entries[i].function & 0xffff00ff) == LEAF_KVM && entries[i].ebx == signature.ebx &&
            entries[i].ecx == signature.ecx && entries[i].edx == signature.edx)
            leaf = entries[i].function + 1;
    }
    for (uint32_t i = 0; leaf && i < count; i++) {
        if (entries[i].function == leaf)
            return &entries[i];
    }
    return NULL;
}

/* A processor that halts by itself can't be woken by another's hypercall. */
static void remove_pv_unhalt(const struct vcpu *vcpu, struct kvm_cpuid_entry2 *entries,
                             uint32_t count)
{
    struct kvm_cpuid_entry2 *features = pv_features(entries, count);

    if (features && __atomic_load_n(&vcpu->vm->hlt_in_guest, __ATOMIC_RELAXED))
        features->eax &= ~(1u << KVM_FEATURE_PV_UNHALT);
}

int cpuid_set(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
    size_t size = cpuid->nent * sizeof(cpuid->entries[0]);
    struct kvm_cpuid_entry2 *copy = NULL;

    /* A processor that runs stays what it is. */
    if (vcpu->has_run)
        return same_table(vcpu, cpuid) ? 0 : -EINVAL;
    if (size) {
        copy = malloc(size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, cpuid->entries, size);
        remove_pv_unhalt(vcpu, copy, cpuid->nent);
    }
    free(vcpu->cpuid);
    vcpu->cpuid = copy;
    vcpu->nr_cpuid = cpuid->nent;
    set_address_sizes(vcpu);
    return 0;
}

/* Bits that say what the processor's state is, not what it can do. */
static void fill_in_state(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf,
                          uint32_t regs[4])
{
    uint64_t apic_base = vcpu->lapic ? lapic_get_base(vcpu->lapic) : vcpu->apic_base;

    if (leaf == LEAF_FEATURES) {
        regs[2] &= ~ECX_OSXSAVE;
        if (regs[2] & ECX_XSAVE && vcpu->cpu->cr4 & CR4_OSXSAVE)
            regs[2] |= ECX_OSXSAVE;
        regs[3] &= ~EDX_APIC;
        if (apic_base & APIC_BASE_ENABLED)
            regs[3] |= EDX_APIC;
        if (vcpu->vm->disabled_quirks & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT) {
            regs[2] &= ~ECX_MONITOR;
            if (vcpu->cpu->misc_enable & MISC_ENABLE_MWAIT)
                regs[2] |= ECX_MONITOR;
        }
    } else if (leaf == LEAF_XSAVE && subleaf == 0) {
        /* x87 and SSE lie in the legacy area, whichever of them is enabled. */
        regs[1] = XSAVE_LEGACY_AND_HEADER;
    }
}

int cpuid_get(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid)
{
    if (cpuid->nent < vcpu->nr_cpuid)
        return -E2BIG;
    for (uint32_t i = 0; i < vcpu->nr_cpuid; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        uint32_t regs[4];

        *entry = vcpu->cpuid[i];
        memcpy(regs, &entry->eax, sizeof(regs));
        fill_in_state(vcpu, entry->function, entry->index, regs);
        memcpy(&entry->eax, regs, sizeof(regs));
    }
    cpuid->nent = vcpu->nr_cpuid;
    return 0;
}

/*
 * Intel: a leaf beyond the last basic one answers as that one does.  Ranges of
 * hypervisors and extended leaves answer zeros, and so does everything on AMD.
 */
static const struct kvm_cpuid_entry2 *out_of_range(const struct vcpu *vcpu, uint32_t leaf,
                                                   uint32_t subleaf)
{
    const struct kvm_cpuid_entry2 *basic = cpuid_find(vcpu, 0, 0), *class = basic;

    if (!basic || basic->ebx != 0x756e6547)     /* "Genu" */
        return NULL;
    if (leaf >= LEAF_EXTENDED)
        class = cpuid_find(vcpu, LEAF_EXTENDED, 0);
    else if (leaf >= LEAF_KVM && leaf < LEAF_KVM + 0x10000)
        class = cpuid_find(vcpu, leaf & ~0xffu, 0);
    if (class && leaf <= class->eax)
        return NULL;
    return cpuid_find(vcpu, basic->eax, subleaf);
}

void cpuid_query(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    const struct kvm_cpuid_entry2 *entry = cpuid_find(vcpu, leaf, subleaf);

    memset(regs, 0, 4 * sizeof(regs[0]));
    if (!entry) {
        entry = out_of_range(vcpu, leaf, subleaf);
        leaf = entry ? entry->function : leaf;
    }
    if (!entry)
        return;
    memcpy(regs, &entry->eax, 4 * sizeof(regs[0]));
    fill_in_state(vcpu, leaf, subleaf, regs);
}

bool cpuid_pv_has(const struct vcpu *vcpu, unsigned feature)
{
    const struct kvm_cpuid_entry2 *entry = pv_features(vcpu->cpuid, vcpu->nr_cpuid);

    return entry && entry->eax >> feature & 1;
}

bool cpuid_pv_allows(const struct vcpu *vcpu, unsigned feature)
{
    return !vcpu->pv_enforced || cpuid_pv_has(vcpu, feature);
}

bool cpuid_has_mwait(struct vcpu *vcpu)
{
    uint32_t regs[4];

    cpuid_query(vcpu, LEAF_FEATURES, 0, regs);
    return regs[2] & ECX_MONITOR;
}
