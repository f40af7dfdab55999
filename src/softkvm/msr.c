/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MSRs outside the processor: a table of ranges, asked before cpu/cpu_msr.c.
 *
 * Left out: performance counters, machine-check banks beyond what
 * cpu/cpu_msr.c has, asynchronous page faults: CPUID doesn't announce them, and
 * their MSRs are #GP.
 */
#include "msr.h"

#include "cpu.h"
#include "guest_clock.h"
#include "irqchip.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "steal_time.h"

#include <asm/kvm_para.h>
#include <linux/kvm.h>

enum {
    MSR_TSC = 0x10, MSR_APIC_BASE = 0x1b, MSR_SMI_COUNT = 0x34, MSR_TSC_ADJUST = 0x3b,
    MSR_MICROCODE_REVISION = 0x8b, MSR_SMBASE = 0x9e, MSR_PLATFORM_INFO = 0xce, MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC_FIRST = 0x800, MSR_X2APIC_LAST = 0x8ff,
};

/* What cpu/cpu_msr.c answers, for those who ask before there is a processor. */
#define MICROCODE_REVISION (1ULL << 32)

struct msr_row {
    uint32_t first, last;
    bool (*read)(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host);
    bool (*write)(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host);
    uint32_t pv_features;       /* of KVM's MSRs: a bit, 1 << KVM_FEATURE_*; else 0 */
};

static bool read_tsc(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = tsc_read(vcpu);
    return true;
}

static bool write_tsc(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (host) {
        tsc_write_host(vcpu, value);
    } else {
        vcpu->tsc_adjust += value - tsc_read(vcpu);
        tsc_write(vcpu, value);
    }
    return true;
}

static bool read_tsc_adjust(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->tsc_adjust;
    return true;
}

/* For user space the register alone: the TSC is restored by its own MSR. */
static bool write_tsc_adjust(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (!host) {
        vcpu->tsc_offset += value - vcpu->tsc_adjust;
        tsc_changed(vcpu);
    }
    vcpu->tsc_adjust = value;
    return true;
}

static bool read_lapic(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    return vcpu->lapic && lapic_rdmsr(vcpu->lapic, index, value);
}

static bool write_lapic(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    return vcpu->lapic && lapic_wrmsr(vcpu->lapic, index, value, host);
}

/* Also without a local APIC here: user space has one, and the guest wants to know where. */
static bool read_apic_base(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    if (vcpu->lapic)
        return lapic_rdmsr(vcpu->lapic, index, value);
    *value = vcpu->apic_base;
    return true;
}

static bool write_apic_base(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (!cpuid_allows_apic_base(vcpu, value))
        return false;
    if (vcpu->lapic)
        return lapic_wrmsr(vcpu->lapic, index, value, host);
    vcpu->apic_base = value;
    return true;
}

/* Without a local APIC here there is no such timer: 0, and nothing is kept, as in Linux. */
static bool read_tsc_deadline(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = 0;
    return !vcpu->lapic || lapic_rdmsr(vcpu->lapic, index, value);
}

static bool write_tsc_deadline(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    return !vcpu->lapic || lapic_wrmsr(vcpu->lapic, index, value, host);
}

static bool read_platform_info(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    if (!host && __atomic_load_n(&vcpu->vm->platform_info_denied, __ATOMIC_RELAXED))
        return false;
    *value = vcpu->platform_info;
    return true;
}

static bool write_platform_info(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (host)
        vcpu->platform_info = value;
    return host;
}

/* What Linux takes: some bits are ignored, two kept, the others are #GP. */
#define HWCR_IGNORED (1u << 3 | 1u << 6 | 1u << 8)
#define HWCR_KEPT (1u << 18 | 1u << 24)
#define MSR_HWCR 0xc0010015

static bool read_hwcr(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->hwcr;
    return true;
}

static bool write_hwcr(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (value & ~(uint64_t)(HWCR_IGNORED | HWCR_KEPT))
        return false;
    vcpu->hwcr = value & HWCR_KEPT;
    return true;
}

static bool read_kvmclock(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->kvmclock_msr;
    return true;
}

static bool write_kvmclock(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    kvmclock_set_msr(vcpu, value);
    if (!host)                  /* a guest reads it as its next instruction */
        kvmclock_refresh(vcpu);
    return true;
}

static bool read_wall_clock(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->wall_clock_msr;
    return true;
}

static bool write_wall_clock(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    wall_clock_set_msr(vcpu, value);
    return true;
}

/* The guest reads it in SMM, and changes it there in the state that RSM loads. */
static bool read_smbase(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->cpu->smbase;
    return host || vcpu->cpu->in_smm;
}

static bool write_smbase(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (host)
        vcpu->cpu->smbase = value;
    return host;
}

static bool read_smi_count(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->smi_count;
    return true;
}

static bool write_smi_count(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (host)
        vcpu->smi_count = value;
    return host;
}

static bool read_steal_time(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->steal.msr;
    return true;
}

static bool write_steal_time(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (!steal_time_set_msr(vcpu, value))
        return false;
    if (!host)
        steal_time_refresh(vcpu);
    return true;
}

/* SEV_STATUS: is this guest encrypted?  Where it isn't there is no such register. */
#define MSR_SEV_STATUS 0xc0010131

static bool read_sev_status(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = 1;
    return !host && vcpu->vm->sev;
}

/* May the guest be migrated?  One that is encrypted says so itself. */
static bool read_migration_control(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    *value = vcpu->migration_control;
    return cpuid_pv_has(vcpu, KVM_FEATURE_MIGRATION_CONTROL);
}

static bool write_migration_control(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    if (!cpuid_pv_has(vcpu, KVM_FEATURE_MIGRATION_CONTROL) ||
        value & ~(uint64_t)KVM_MIGRATION_READY)
        return false;
    vcpu->migration_control = value;
    return true;
}

static const struct msr_row rows[] = {
    { MSR_TSC, MSR_TSC, read_tsc, write_tsc },
    { MSR_KVM_WALL_CLOCK, MSR_KVM_WALL_CLOCK, read_wall_clock, write_wall_clock,
      1 << KVM_FEATURE_CLOCKSOURCE },
    { MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME, read_kvmclock, write_kvmclock,
      1 << KVM_FEATURE_CLOCKSOURCE },
    { MSR_APIC_BASE, MSR_APIC_BASE, read_apic_base, write_apic_base },
    { MSR_TSC_ADJUST, MSR_TSC_ADJUST, read_tsc_adjust, write_tsc_adjust },
    { MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, read_platform_info, write_platform_info },
    { MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, read_tsc_deadline, write_tsc_deadline },
    { MSR_X2APIC_FIRST, MSR_X2APIC_LAST, read_lapic, write_lapic },
    { MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_WALL_CLOCK_NEW, read_wall_clock, write_wall_clock,
      1 << KVM_FEATURE_CLOCKSOURCE2 },
    { MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_SYSTEM_TIME_NEW, read_kvmclock, write_kvmclock,
      1 << KVM_FEATURE_CLOCKSOURCE2 },
    { MSR_KVM_STEAL_TIME, MSR_KVM_STEAL_TIME, read_steal_time, write_steal_time,
      1 << KVM_FEATURE_STEAL_TIME },
    { MSR_HWCR, MSR_HWCR, read_hwcr, write_hwcr },
    { MSR_SEV_STATUS, MSR_SEV_STATUS, read_sev_status, NULL },
    { MSR_KVM_MIGRATION_CONTROL, MSR_KVM_MIGRATION_CONTROL, read_migration_control,
      write_migration_control },
    { MSR_SMBASE, MSR_SMBASE, read_smbase, write_smbase },
    { MSR_SMI_COUNT, MSR_SMI_COUNT, read_smi_count, write_smi_count },
};

static const struct msr_row *find(uint32_t index)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (index >= rows[i].first && index <= rows[i].last)
            return &rows[i];
    }
    return NULL;
}

/* The MSR's row; NULL also where CPUID hides it and that is enforced. */
static const struct msr_row *find_visible(const struct vcpu *vcpu, uint32_t index, bool *hidden)
{
    const struct msr_row *row = find(index);

    *hidden = row && row->pv_features && !cpuid_pv_allows(vcpu, __builtin_ctz(row->pv_features));
    return *hidden ? NULL : row;
}

/* Registers that a guest has by a bit of its CPUID: any of those named.  User space always has. */
struct cpuid_bits {
    uint32_t msr, leaf;
    enum { CPUID_EBX = 1, CPUID_EDX = 3 } reg;
    uint32_t bits;
};

static const struct cpuid_bits by_cpuid[] = {
    { 0x48, 7, CPUID_EDX, 1u << 26 },                   /* SPEC_CTRL: IBRS and IBPB, */
    { 0x48, 0x80000008, CPUID_EBX, 1u << 14 | 1u << 15 | 1u << 24 }, /* AMD's IBRS, STIBP, SSBD */
    { 0x49, 7, CPUID_EDX, 1u << 26 },                   /* PRED_CMD */
    { 0x49, 0x80000008, CPUID_EBX, 1u << 12 },          /* AMD's IBPB */
    { 0x10a, 7, CPUID_EDX, 1u << 29 },                  /* ARCH_CAPABILITIES */
};

static bool hidden_by_cpuid(const struct vcpu *vcpu, uint32_t index)
{
    bool listed = false;

    for (size_t i = 0; i < sizeof(by_cpuid) / sizeof(by_cpuid[0]); i++) {
        const struct cpuid_bits *row = &by_cpuid[i];
        const struct kvm_cpuid_entry2 *entry;

        if (row->msr != index)
            continue;
        listed = true;
        entry = cpuid_find(vcpu, row->leaf, 0);
        if (entry && (row->reg == CPUID_EBX ? entry->ebx : entry->edx) & row->bits)
            return false;
    }
    return listed;
}

bool msr_known(const struct vcpu *vcpu, uint32_t index)
{
    bool hidden;

    return find_visible(vcpu, index, &hidden) || (!hidden && cpu_msr_known(index));
}

/* What is hidden can be saved and restored as 0: it is in the list. */
bool msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool host)
{
    bool hidden;
    const struct msr_row *row = find_visible(vcpu, index, &hidden);

    if (row)
        return row->read && row->read(vcpu, index, value, host);
    if (!host && hidden_by_cpuid(vcpu, index))
        return false;
    if (!hidden)
        return cpu_msr_read(vcpu->cpu, index, value);
    *value = 0;
    return host;
}

bool msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value, bool host)
{
    bool hidden;
    const struct msr_row *row = find_visible(vcpu, index, &hidden);

    if (row)
        return row->write && row->write(vcpu, index, value, host);
    if (!host && hidden_by_cpuid(vcpu, index))
        return false;
    return hidden ? host && !value : cpu_msr_write(vcpu->cpu, index, value, host);
}

/* What has to be saved and restored with a vCPU. */
static const uint32_t saved[] = {
    0x174, 0x175, 0x176,                        /* SYSENTER_CS, _ESP, _EIP */
    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, /* STAR, LSTAR, CSTAR, SFMASK */
    0xc0000102, 0xc0000103,                     /* KERNEL_GS_BASE, TSC_AUX */
    MSR_TSC, MSR_TSC_ADJUST, 0x277, 0x1a0, 0x1fc, /* PAT, MISC_ENABLE, POWER_CTL */
    MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_STEAL_TIME, MSR_APIC_BASE, MSR_TSC_DEADLINE, MSR_SMBASE, MSR_SMI_COUNT,
    0x17a, 0x17b,                               /* MCG_STATUS, MCG_CTL */
    0x2ff,                                      /* MTRR default type, fixed, variable */
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
    0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207,
    0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f,
};

const uint32_t *msr_saved_list(size_t *count)
{
    *count = sizeof(saved) / sizeof(saved[0]);
    return saved;
}

static const uint32_t features[] = { MSR_MICROCODE_REVISION };

const uint32_t *msr_feature_list(size_t *count)
{
    *count = sizeof(features) / sizeof(features[0]);
    return features;
}

bool msr_feature_get(uint32_t index, uint64_t *value)
{
    *value = MICROCODE_REVISION;
    return index == MSR_MICROCODE_REVISION;
}
