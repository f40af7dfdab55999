/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Into the banks, and as #MC; see mce.h. */
#include "mce.h"

#include "soft_vcpu.h"

#include <errno.h>

#define MCG_CTL_P (1ULL << 8)
#define MCG_SER_P (1ULL << 24)
#define MCG_BANKS 0xffULL
#define MCG_EXTENDED_REGS 0xff0000ULL
#define MCG_STATUS_MCIP (1ULL << 2)

#define STATUS_VAL (1ULL << 63)
#define STATUS_OVER (1ULL << 62)
#define STATUS_UC (1ULL << 61)
#define STATUS_PCC (1ULL << 57)
#define STATUS_S (1ULL << 56)
#define STATUS_AR (1ULL << 55)

#define CR4_MCE (1ULL << 6)

enum { BANK_CTL, BANK_STATUS, BANK_ADDR, BANK_MISC };

uint64_t mce_supported_cap(void)
{
    return MCG_CTL_P | MCG_SER_P;
}

int mce_setup(struct vcpu *vcpu, uint64_t mcg_cap)
{
    struct cpu *cpu = vcpu->cpu;
    unsigned banks = mcg_cap & MCG_BANKS;

    if (!banks || banks > CPU_MCE_BANKS ||
        mcg_cap & ~(mce_supported_cap() | MCG_BANKS | MCG_EXTENDED_REGS))
        return -EINVAL;
    cpu->mcg_cap = mcg_cap;
    if (mcg_cap & MCG_CTL_P)
        cpu->mcg_ctl = UINT64_MAX;
    for (unsigned i = 0; i < banks; i++)
        cpu->mce_banks[i][BANK_CTL] = UINT64_MAX;
    return 0;
}

static void fill(uint64_t *bank, const struct kvm_x86_mce *mce, uint64_t flags)
{
    bank[BANK_STATUS] = mce->status | flags;
    bank[BANK_ADDR] = mce->addr;
    bank[BANK_MISC] = mce->misc;
}

/* Uncorrected, and nothing needs to be done about it (SDM vol. 3, 15.6.3). */
static bool is_ucna(const struct kvm_x86_mce *mce)
{
    return !mce->mcg_status && mce->status & STATUS_UC &&
           !(mce->status & (STATUS_PCC | STATUS_S | STATUS_AR));
}

static void inject_uncorrected(struct vcpu *vcpu, const struct kvm_x86_mce *mce, uint64_t *bank)
{
    struct cpu *cpu = vcpu->cpu;

    /* Switched off: for all banks, or for this one. */
    if ((cpu->mcg_cap & MCG_CTL_P && cpu->mcg_ctl != UINT64_MAX) || bank[BANK_CTL] != UINT64_MAX)
        return;
    if (cpu->mcg_status & MCG_STATUS_MCIP || !(cpu->cr4 & CR4_MCE)) {
        vcpu->triple_fault = true;
        return;
    }
    fill(bank, mce, bank[BANK_STATUS] & STATUS_VAL ? STATUS_OVER : 0);
    cpu->mcg_status = mce->mcg_status;
    vcpu_inject_fault(vcpu, VECTOR_MC);
}

/* A corrected error doesn't displace an uncorrected one. */
static void note_corrected(const struct kvm_x86_mce *mce, uint64_t *bank)
{
    bool taken = bank[BANK_STATUS] & STATUS_VAL;

    if (taken && bank[BANK_STATUS] & STATUS_UC)
        bank[BANK_STATUS] |= STATUS_OVER;
    else
        fill(bank, mce, taken ? STATUS_OVER : 0);
}

int mce_inject(struct vcpu *vcpu, const struct kvm_x86_mce *mce)
{
    uint64_t *bank;

    if (mce->bank >= (vcpu->cpu->mcg_cap & MCG_BANKS) || !(mce->status & STATUS_VAL))
        return -EINVAL;
    bank = vcpu->cpu->mce_banks[mce->bank];
    if (is_ucna(mce)) {
        fill(bank, mce, 0);
        vcpu->cpu->mcg_status = 0;
    } else if (mce->status & STATUS_UC) {
        inject_uncorrected(vcpu, mce, bank);
    } else {
        note_corrected(mce, bank);
    }
    return 0;
}
