/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state in which KVM made processors and interrupt controllers, kept so that a
 * reset can put it back: what power-on is, KVM knows better than a table here.
 */
#ifndef MACHINE_POWER_ON_H
#define MACHINE_POWER_ON_H

#include "boot.h"
#include "vm.h"

struct vcpu_state;
struct irqchip_state;

/* The vCPU is parked.  0 or -errno. */
int vcpu_state_save(struct kvm_vcpu *vcpu, struct vcpu_state **ret);
int vcpu_state_restore(struct kvm_vcpu *vcpu, const struct vcpu_state *state);
void vcpu_state_free(struct vcpu_state *state);

/* All vCPUs are parked. */
int irqchip_state_save(struct kvm_vm *vm, struct irqchip_state **ret);
int irqchip_state_restore(struct kvm_vm *vm, const struct irqchip_state *state);
void irqchip_state_free(struct irqchip_state *state);

/*
 * As firmware leaves them: all memory write-back.  Linux changes memory types in place, as a
 * SEV guest has to, only if the processor has them.  0 or -errno.
 */
int vcpu_enable_mtrrs(struct kvm_vcpu *vcpu);
/* 32-bit protected mode at the entry, flat, with the GDT of layout.h.  0 or -errno. */
int vcpu_set_entry(struct kvm_vcpu *vcpu, const struct boot_entry *entry);

#endif
