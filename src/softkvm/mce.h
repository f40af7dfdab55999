/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Machine checks that user space gives to a vCPU (KVM_X86_SETUP_MCE,
 * KVM_X86_SET_MCE).  The banks are MSRs: cpu/cpu_msr.c has them.
 *
 * Sources: Intel SDM vol. 3, chapter 15; Linux 6.12 arch/x86/kvm/x86.c for what
 * is ignored.  There are no corrected-error interrupts (CMCI) and no local
 * machine checks (LMCE).
 */
#ifndef SOFTKVM_MCE_H
#define SOFTKVM_MCE_H

#include "kvm_uapi.h"

#include <stdint.h>

struct vcpu;

/* KVM_X86_GET_MCE_CAP_SUPPORTED: bits of IA32_MCG_CAP. */
uint64_t mce_supported_cap(void);

/* 0 or -EINVAL; the run_lock is held. */
int mce_setup(struct vcpu *vcpu, uint64_t mcg_cap);
int mce_inject(struct vcpu *vcpu, const struct kvm_x86_mce *mce);

#endif
