/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interrupt controllers and timers that KVM keeps in the kernel: two 8259A,
 * one I/O APIC, a local APIC per vCPU, the 8254, and the routing between them.
 *
 * One lock (irqchip->lock, inside) covers all of it; every function takes it
 * itself, may be called from any thread and never blocks.  Callbacks of struct
 * irqchip_ops run with it held and must not call back in.
 *
 * Sources: Intel 8259A, 8254 and 82093AA data sheets; SDM vol. 3 chapter 11;
 * Linux 6.12 Documentation/virt/kvm/api.rst for what KVM adds.
 */
#ifndef SOFTKVM_IRQCHIP_H
#define SOFTKVM_IRQCHIP_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct irqchip;
struct lapic;

struct irqchip_ops {
    /* vCPU vcpu_id has something new to look at: an interrupt, NMI, INIT or SIPI. */
    void (*kick)(void *opaque, uint32_t vcpu_id);
    /*
     * A level-triggered interrupt was acknowledged at the I/O APIC or PIC (irqfd
     * resampling); gsi as in the routing table.  May be NULL.
     */
    void (*eoi)(void *opaque, uint32_t gsi);
};

/* NULL without memory. Created empty; the parts come as user space asks for them. */
struct irqchip *irqchip_new(const struct irqchip_ops *ops, void *opaque);
void irqchip_free(struct irqchip *chip);

/* KVM_CREATE_IRQCHIP: PICs and I/O APIC with KVM's default routing. 0, -EEXIST, -ENOMEM. */
int irqchip_create(struct irqchip *chip);
bool irqchip_present(struct irqchip *chip);

/* KVM_CREATE_PIT2 (and PIT): -EEXIST, -EINVAL for flags, -ENOENT without irqchip. */
int irqchip_create_pit(struct irqchip *chip, const struct kvm_pit_config *config);

/* KVM_IRQ_LINE. Returns whether the level was delivered (1), coalesced (0) or ignored (-1). */
int irqchip_set_line(struct irqchip *chip, uint32_t gsi, bool level);

/* KVM_SIGNAL_MSI. As above; -EINVAL for a message that no APIC accepts. */
int irqchip_send_msi(struct irqchip *chip, const struct kvm_msi *msi);

/* KVM_SET_GSI_ROUTING: the whole table is replaced. -EINVAL, -ENOMEM. */
int irqchip_set_routing(struct irqchip *chip, const struct kvm_irq_routing_entry *entries,
                        unsigned count);

/* KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, KVM_GET_PIT2, KVM_SET_PIT2: -ENXIO without the device. */
int irqchip_get_state(struct irqchip *chip, struct kvm_irqchip *state);
int irqchip_set_state(struct irqchip *chip, const struct kvm_irqchip *state);
int irqchip_get_pit(struct irqchip *chip, struct kvm_pit_state2 *state);
int irqchip_set_pit(struct irqchip *chip, const struct kvm_pit_state2 *state);

/*
 * Port and memory accesses of the guest.  True: this belongs to a device here
 * and was done; false: it is user space's.
 */
bool irqchip_pio(struct irqchip *chip, uint16_t port, void *data, unsigned size, bool write);
bool irqchip_mmio(struct irqchip *chip, uint64_t gpa, void *data, unsigned size, bool write);

/* The local APIC of a vCPU: with KVM_CREATE_VCPU when there is an irqchip. */
struct lapic *lapic_new(struct irqchip *chip, uint32_t vcpu_id);
void lapic_free(struct lapic *lapic);

/* MMIO at the APIC base; only the owner calls. True as irqchip_mmio(). */
bool lapic_mmio(struct lapic *lapic, uint64_t gpa, void *data, unsigned size, bool write);

/* IA32_APIC_BASE, IA32_TSC_DEADLINE, x2APIC MSRs 0x800-0x8ff. False: #GP (or not one of these). */
bool lapic_rdmsr(struct lapic *lapic, uint32_t index, uint64_t *value);
bool lapic_wrmsr(struct lapic *lapic, uint32_t index, uint64_t value, bool host);
uint64_t lapic_get_base(struct lapic *lapic);
int lapic_set_base(struct lapic *lapic, uint64_t base);         /* -EINVAL */

uint8_t lapic_get_tpr(struct lapic *lapic);     /* CR8: bits 7:4 of the TPR */
void lapic_set_tpr(struct lapic *lapic, uint8_t cr8);

/* KVM_GET_LAPIC, KVM_SET_LAPIC. */
void lapic_get_state(struct lapic *lapic, struct kvm_lapic_state *state);
int lapic_set_state(struct lapic *lapic, const struct kvm_lapic_state *state);

/* What waits for this vCPU, without taking it. */
struct lapic_pending {
    bool interrupt;             /* deliverable now: priority above the processor's, or ExtINT from the PIC */
    bool nmi, smi, init;
    bool sipi;
    uint8_t sipi_vector;
};
void lapic_get_pending(struct lapic *lapic, struct lapic_pending *pending);

/* Take the interrupt (INTA cycle): its vector, or -1 when it has gone meanwhile. */
int lapic_take_interrupt(struct lapic *lapic);
/* Take NMI, INIT or SIPI: clears what is set in *taken. */
void lapic_clear_pending(struct lapic *lapic, const struct lapic_pending *taken);
void lapic_reset(struct lapic *lapic, bool is_bsp);

/*
 * The guest's TSC, for the TSC-deadline timer: deadline reached at host
 * CLOCK_MONOTONIC nanoseconds ns.  Set by the vCPU before its first run and
 * when the offset or frequency changes.
 */
void lapic_set_tsc_scale(struct lapic *lapic, uint64_t tsc_at_zero_ns, uint32_t tsc_khz);

#endif
