/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPUID: what is supported, what user space made of it, what the guest sees. */
#ifndef SOFTKVM_VCPU_CPUID_H
#define SOFTKVM_VCPU_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct cpu_model;
struct vcpu;

enum { KVM_CPUID_MAX = 256 };   /* entries */

/* KVM_GET_SUPPORTED_CPUID: 0; -E2BIG when nent is too small. */
int cpuid_get_supported(const struct cpu_model *model, struct kvm_cpuid2 *cpuid);

/* KVM_SET_CPUID2, KVM_GET_CPUID2. 0 or -errno. */
int cpuid_set(struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid);
int cpuid_get(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid);

/* struct cpu_ops.cpuid: regs are EAX EBX ECX EDX. */
void cpuid_query(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);

/* The entry of a leaf as user space set it; NULL: none. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct vcpu *vcpu, uint32_t leaf,
                                          uint32_t subleaf);

/* Has the guest this of KVM's paravirtual features (KVM_FEATURE_*) by its CPUID? */
bool cpuid_pv_has(const struct vcpu *vcpu, unsigned feature);
/* May it use it?  Without it too, unless KVM_CAP_ENFORCE_PV_FEATURE_CPUID is enabled. */
bool cpuid_pv_allows(const struct vcpu *vcpu, unsigned feature);

/* May IA32_APIC_BASE be this, by the guest's width of addresses and its x2APIC? */
bool cpuid_allows_apic_base(const struct vcpu *vcpu, uint64_t base);

/* CPUID.1:ECX.MONITOR as the guest sees it. */
bool cpuid_has_mwait(struct vcpu *vcpu);

#endif
