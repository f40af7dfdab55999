// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * MSRs whose value is in struct cpu or never changes (SDM vol. 4; AMD APM vol.
 * 2, appendix A).  The local APIC, the TSC's offset and what KVM adds are the
 * machine's, and asked for through cpu_ops.
 */
#include "control.h"
#include "mode.h"
#include "segment.h"

#include <string.h>

enum {
    MSR_TSC = 0x10, MSR_PRED_CMD = 0x49, MSR_PAT = 0x277, MSR_MTRR_DEF_TYPE = 0x2ff, MSR_MTRR_VAR = 0x200,
    MSR_MISC_ENABLE = 0x1a0, MSR_DEBUGCTL = 0x1d9, MSR_UCODE_REV = 0x8b, MSR_MC0_CTL = 0x400,
    MISC_ENABLE_FIXED = 1 << 11 | 1 << 12, MISC_ENABLE_EMON = 1 << 7,
    MSR_MCG_CAP = 0x179, MSR_MCG_CTL = 0x17b,
    MSR_FS_BASE = 0xc0000100, MSR_GS_BASE = 0xc0000101, MSR_EFER = 0xc0000080,
};

/* What this processor says of itself in IA32_ARCH_CAPABILITIES: it doesn't speculate. */
#define ARCH_CAPABILITIES                                                               \
    (1ull << 0 /* RDCL_NO */ | 1ull << 3 /* SKIP_L1DFL */ | 1ull << 4 /* SSB_NO */ |    \
     1ull << 5 /* MDS_NO */ | 1ull << 6 /* PSCHANGE_MC_NO */ | 1ull << 8 /* TAA_NO */ | \
     1ull << 13 /* SBDR_SSDP_NO */ | 1ull << 14 /* FBSDP_NO */ | 1ull << 15 /* PSDP_NO */ | \
     1ull << 20 /* BHI_NO */ | 1ull << 24 /* PBRSB_NO */ | 1ull << 26 /* GDS_NO */ |    \
     1ull << 27 /* RFDS_NO */ | 1ull << 62 /* ITS_NO */)

#define MCG_CTL_P (1ull << 8)   /* of IA32_MCG_CAP: there is an IA32_MCG_CTL */

/* An MSR that is a field of struct cpu. */
struct msr_field {
    uint32_t index;
    uint16_t offset;
    bool canonical;
    uint64_t writable;          /* other bits must be zero */
};

#define FIELD(index_, field_, writable_) \
    { .index = (index_), .offset = offsetof(struct cpu, field_), .writable = (writable_) }
#define ADDRESS(index_, field_) \
    { .index = (index_), .offset = offsetof(struct cpu, field_), .writable = UINT64_MAX, \
      .canonical = true }

static const struct msr_field fields[] = {
    FIELD(0x48, spec_ctrl, 7),
    FIELD(0x174, sysenter_cs, UINT32_MAX),
    ADDRESS(0x175, sysenter_esp),
    ADDRESS(0x176, sysenter_eip),
    FIELD(MSR_MCG_CAP, mcg_cap, 0),
    FIELD(0x17a, mcg_status, UINT64_MAX),
    FIELD(MSR_MCG_CTL, mcg_ctl, UINT64_MAX),
    FIELD(0x1fc, power_ctl, UINT64_MAX),
    FIELD(0x250, mtrr_fixed[0], UINT64_MAX),
    FIELD(0x258, mtrr_fixed[1], UINT64_MAX),
    FIELD(0x259, mtrr_fixed[2], UINT64_MAX),
    FIELD(0x268, mtrr_fixed[3], UINT64_MAX),
    FIELD(0x269, mtrr_fixed[4], UINT64_MAX),
    FIELD(0x26a, mtrr_fixed[5], UINT64_MAX),
    FIELD(0x26b, mtrr_fixed[6], UINT64_MAX),
    FIELD(0x26c, mtrr_fixed[7], UINT64_MAX),
    FIELD(0x26d, mtrr_fixed[8], UINT64_MAX),
    FIELD(0x26e, mtrr_fixed[9], UINT64_MAX),
    FIELD(0x26f, mtrr_fixed[10], UINT64_MAX),
    FIELD(MSR_PAT, pat, UINT64_MAX),
    FIELD(MSR_MTRR_DEF_TYPE, mtrr_def_type, 0xcff),
    FIELD(0xc0000081, star, UINT64_MAX),
    ADDRESS(0xc0000082, lstar),
    ADDRESS(0xc0000083, cstar),
    FIELD(0xc0000084, sfmask, UINT32_MAX),
    ADDRESS(MSR_FS_BASE, seg[SEG_FS].base),
    ADDRESS(MSR_GS_BASE, seg[SEG_GS].base),
    ADDRESS(0xc0000102, kernel_gs_base),
    FIELD(0xc0000103, tsc_aux, UINT32_MAX),
};

/* MSRs with one value.  Writes of that value, or of zero, are taken and change nothing. */
struct msr_constant {
    uint32_t index;
    uint64_t value;
    bool writable;
};

static const struct msr_constant constants[] = {
    { 0x0, 0, true },                           /* IA32_P5_MC_ADDR */
    { 0x1, 0, true },                           /* IA32_P5_MC_TYPE */
    { 0x17, 0, false },                         /* IA32_PLATFORM_ID */
    { 0x2a, 0, true },                          /* EBL_CR_POWERON */
    { 0x34, 0, false },                         /* SMI_COUNT */
    { 0x3a, 1, false },                         /* IA32_FEATURE_CONTROL: locked */
    { MSR_UCODE_REV, 1ull << 32, true },        /* revision 1; written with 0 before it is read */
    { 0xfe, 0x508, false },                     /* IA32_MTRRCAP: fixed, WC, 8 variable */
    { 0x10a, ARCH_CAPABILITIES, false },
    { 0x140, 0, true },                         /* MISC_FEATURES_ENABLES */
    { 0xc0010010, 0, true },                    /* SYSCFG: no memory encryption of the host's */
    { 0xc0011029, 2, true },                    /* DE_CFG: LFENCE is serialising */
};

/*
 * Registers of units that aren't there, which systems touch without asking CPUID: they
 * read as zero, and what is written is lost.  The list is Linux's (kvm_get_msr_common,
 * kvm_set_msr_common), for a processor without performance counters.
 */
struct msr_inert {
    uint32_t first, last;
    bool readable, writable;
};

static const struct msr_inert inert[] = {
    { 0x79, 0x79, false, true },                /* IA32_BIOS_UPDT_TRIG: microcode */
    { 0xc1, 0xc2, true, true },                 /* IA32_PMC0, 1 */
    { 0x186, 0x187, true, true },               /* IA32_PERFEVTSEL0, 1 */
    { 0x199, 0x199, true, false },              /* IA32_PERF_CTL */
    { 0x1db, 0x1de, true, false },              /* LASTBRANCHFROMIP ... LASTINTTOIP */
    { 0x606, 0x606, true, false },              /* RAPL_POWER_UNIT, and four energy counters */
    { 0x611, 0x611, true, false },
    { 0x619, 0x619, true, false },
    { 0x639, 0x639, true, false },
    { 0x641, 0x641, true, false },
    { 0xc0010000, 0xc0010007, true, true },     /* PerfEvtSel0 ... 3, PerfCtr0 ... 3 */
    { 0xc001001f, 0xc001001f, true, true },     /* NB_CFG */
    { 0xc0010020, 0xc0010020, false, true },    /* PATCH_LOADER */
    { 0xc0010055, 0xc0010055, true, false },    /* INT_PENDING_MSG */
    { 0xc0010058, 0xc0010058, true, false },    /* MMIO_CONF_BASE */
    { 0xc0010112, 0xc0010113, true, false },    /* TSEG_ADDR, TSEG_MASK */
    { 0xc0010117, 0xc0010117, true, true },     /* VM_HSAVE_PA */
    { 0xc0011022, 0xc0011023, true, true },     /* DC_CFG, TW_CFG */
    { 0xc001102a, 0xc001102a, true, true },     /* BU_CFG2 */
    { 0xc001102c, 0xc001102c, true, true },     /* EX_CFG */
};

static const struct msr_inert *find_inert(uint32_t index)
{
    for (size_t i = 0; i < sizeof(inert) / sizeof(inert[0]); i++) {
        if (index >= inert[i].first && index <= inert[i].last)
            return &inert[i];
    }
    return NULL;
}

static const struct msr_field *find_field(uint32_t index)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].index == index)
            return &fields[i];
    }
    return NULL;
}

static const struct msr_constant *find_constant(uint32_t index)
{
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        if (constants[i].index == index)
            return &constants[i];
    }
    return NULL;
}

static bool is_bank(const struct cpu *cpu, uint32_t index)
{
    return index - MSR_MC0_CTL < (cpu->mcg_cap & 0xff) * 4;
}

/* MSRs in rows: machine-check banks, variable MTRRs. */
static uint64_t *find_array(struct cpu *cpu, uint32_t index)
{
    if (is_bank(cpu, index))
        return &cpu->mce_banks[0][0] + (index - MSR_MC0_CTL);
    if (index - MSR_MTRR_VAR < 16)
        return &cpu->mtrr_var[index - MSR_MTRR_VAR];
    return NULL;
}

/* Memory types that PAT (with UC-) and MTRRs know: a bit each. */
enum { PAT_TYPES = 0xf3, MTRR_TYPES = 0x73 };

static bool are_types(uint64_t value, unsigned types)
{
    for (unsigned i = 0; i < 8; i++) {
        uint8_t type = value >> (i * 8);

        if (type > 7 || !(types >> type & 1))
            return false;
    }
    return true;
}

/* Rules beyond which bits exist. */
static bool value_ok(const struct cpu *cpu, uint32_t index, uint64_t value, bool host)
{
    if (index == MSR_PAT)
        return are_types(value, PAT_TYPES);
    if (index == MSR_MTRR_DEF_TYPE)
        return (value & 0xff) <= 7 && (MTRR_TYPES >> (value & 7) & 1);
    if (index >= 0x250 && index <= 0x26f)
        return are_types(value, MTRR_TYPES);
    if (index - MSR_MTRR_VAR < 16 && (index & 1))
        return !(value & 0x7ff) && !(value >> cpu->phys_bits);
    if (index - MSR_MTRR_VAR < 16)
        return (value & 0xff) <= 7 && (MTRR_TYPES >> (value & 7) & 1) && !(value & 0xf00) &&
               !(value >> cpu->phys_bits);
    if (index == MSR_MCG_CAP)   /* KVM_X86_SETUP_MCE sets it */
        return false;
    if (index == MSR_MCG_CTL)
        return (cpu->mcg_cap & MCG_CTL_P || (host && !value)) && (!value || value == UINT64_MAX);
    /* What old systems clear for errata of old processors may be clear. */
    if (is_bank(cpu, index) && (index & 3) == 0)
        return value == 0 || (value | 1 << 10 | 1) == UINT64_MAX;
    if (is_bank(cpu, index) && (index & 3) == 1)
        return host || value == 0;
    return true;
}

bool cpu_msr_known(uint32_t index)
{
    return find_field(index) || find_constant(index) || index - MSR_MC0_CTL < CPU_MCE_BANKS * 4 ||
           find_inert(index) || index - MSR_MTRR_VAR < 16 || index == MSR_EFER || index == MSR_DEBUGCTL ||
           index == MSR_MISC_ENABLE || index == MSR_PRED_CMD || index == MSR_TSC;
}

bool cpu_msr_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
    const struct msr_field *field = find_field(index);
    const struct msr_constant *constant = find_constant(index);
    const uint64_t *element = find_array(cpu, index);

    if (field)
        memcpy(value, (const uint8_t *)cpu + field->offset, sizeof(*value));
    else if (constant)
        *value = constant->value;
    else if (element)
        *value = *element;
    else if (index == MSR_EFER)
        *value = cpu->efer;
    else if (index == MSR_DEBUGCTL)
        *value = cpu->debugctl;
    else if (index == MSR_MISC_ENABLE)
        *value = cpu->misc_enable;
    else if (index == MSR_TSC)
        *value = cpu->ops->read_tsc(cpu->opaque);
    else if (find_inert(index) && find_inert(index)->readable)
        *value = 0;
    else
        return false;
    return true;
}

static bool write_field(struct cpu *cpu, const struct msr_field *field, uint64_t value)
{
    if ((value & ~field->writable) || (field->canonical && !is_canonical_base(cpu, value)))
        return false;
    memcpy((uint8_t *)cpu + field->offset, &value, sizeof(value));
    return true;
}

/* By the guest: what says that there is no BTS or PEBS can't be changed, and EMON doesn't. */
static bool write_misc_enable(struct cpu *cpu, uint64_t value, bool host)
{
    uint64_t changed = value ^ cpu->misc_enable;

    if (!host && changed & MISC_ENABLE_FIXED)
        return false;
    cpu->misc_enable ^= host ? changed : changed & ~(uint64_t)MISC_ENABLE_EMON;
    return true;
}

/* User space restores EFER before or after CR0: it is taken as it is. */
static bool write_efer(struct cpu *cpu, uint64_t value, bool host)
{
    if (!host)
        return control_write_efer(cpu, value);
    cpu->efer = value & (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    cpu_state_replaced(cpu);
    return cpu->efer == value;
}

bool cpu_msr_write(struct cpu *cpu, uint32_t index, uint64_t value, bool host)
{
    const struct msr_field *field = find_field(index);
    const struct msr_constant *constant = find_constant(index);
    uint64_t *element = find_array(cpu, index);

    if (!value_ok(cpu, index, value, host))
        return false;
    if (field)
        return write_field(cpu, field, value);
    if (constant)
        return host || (constant->writable && (value == 0 || value == constant->value));
    if (element) {
        *element = value;
        return true;
    }
    if (index == MSR_EFER)
        return write_efer(cpu, value, host);
    if (index == MSR_MISC_ENABLE)
        return write_misc_enable(cpu, value, host);
    if (index == MSR_DEBUGCTL) {
        /* LBR and BTF may be asked for and don't stay on, as where a hypervisor hides them. */
        return !(value & ~3ull);
    }
    if (index == MSR_PRED_CMD)  /* nothing is predicted */
        return !(value & ~1ull);
    return find_inert(index) && find_inert(index)->writable;
}
