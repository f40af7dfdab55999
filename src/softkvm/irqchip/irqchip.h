/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interrupt controllers and timers that KVM keeps in the kernel: two 8259A,
 * one I/O APIC, a local APIC per vCPU, the 8254, and the routing between them.
 * This is the one header of this folder (with kvmclock.h) that softkvm uses.
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
    /*
     * vCPU vcpu_id has something new to look at: an interrupt, NMI, INIT or SIPI.
     * Called from any thread, also from the vCPU's own inside lapic_mmio(),
     * lapic_wrmsr() or lapic_set_tpr(), when what waited may be taken now.
     */
    void (*kick)(void *opaque, uint32_t vcpu_id);
    /*
     * An interrupt was ended at the I/O APIC or PIC (irqfd resampling); gsi as in
     * the routing table.  A line raised by irqchip_set_resample_line() has just
     * been lowered.  May be NULL.
     */
    void (*eoi)(void *opaque, uint32_t gsi);
};

/* NULL without memory. Created empty; the parts come as user space asks for them. */
struct irqchip *irqchip_new(const struct irqchip_ops *ops, void *opaque);
void irqchip_free(struct irqchip *chip);

/* KVM_CREATE_IRQCHIP: PICs and I/O APIC with KVM's default routing. 0, -EEXIST, -ENOMEM. */
int irqchip_create(struct irqchip *chip);
/* KVM_CAP_SPLIT_IRQCHIP: local APICs and messages only. -EEXIST, -EINVAL, -ENOMEM. */
int irqchip_create_split(struct irqchip *chip, uint64_t reserved_gsis);
bool irqchip_present(struct irqchip *chip);             /* of either kind */
bool irqchip_is_split(struct irqchip *chip);

/* KVM_CREATE_PIT2 (and PIT): -EEXIST, -EINVAL for flags, -ENOENT without irqchip. */
int irqchip_create_pit(struct irqchip *chip, const struct kvm_pit_config *config);

/* KVM_IRQ_LINE. Returns whether the level was delivered (1), coalesced (0) or ignored (-1). */
int irqchip_set_line(struct irqchip *chip, uint32_t gsi, bool level);

/*
 * KVM_IRQFD with resampling: the line is held up beside irqchip_set_line()'s level
 * and let go when the guest ends the interrupt, just before ops->eoi().
 */
int irqchip_set_resample_line(struct irqchip *chip, uint32_t gsi, bool level);

/*
 * KVM_SIGNAL_MSI: how many APICs took it, 0 coalesced, -1 no APIC there (which is
 * what KVM's ioctl returns too); -EINVAL without irqchip or for flags.
 */
int irqchip_send_msi(struct irqchip *chip, const struct kvm_msi *msi);

/*
 * KVM_SET_GSI_ROUTING: the whole table is replaced, or on error nothing.
 * -EINVAL (also without irqchip), -ENOMEM.  Until then GSI n is I/O APIC pin n and
 * PIC pin n; a board whose ACPI tables move IRQ 0 to pin 2 says so here.
 */
int irqchip_set_routing(struct irqchip *chip, const struct kvm_irq_routing_entry *entries,
                        unsigned count);

/* KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, KVM_GET_PIT2, KVM_SET_PIT2: -ENXIO without the device. */
int irqchip_get_state(struct irqchip *chip, struct kvm_irqchip *state);
int irqchip_set_state(struct irqchip *chip, const struct kvm_irqchip *state);
int irqchip_get_pit(struct irqchip *chip, struct kvm_pit_state2 *state);
int irqchip_set_pit(struct irqchip *chip, const struct kvm_pit_state2 *state);

/* KVM_REINJECT_CONTROL: whether ticks of the PIT that the guest missed are made up for. -ENXIO. */
int irqchip_set_pit_reinject(struct irqchip *chip, bool reinject);

/* KVM_CAP_X2APIC_API's two flags; they are never taken back. */
void irqchip_set_x2apic_api(struct irqchip *chip, bool ids_32bit, bool no_broadcast_quirk);

/*
 * KVM_CAP_X86_APIC_BUS_CYCLES_NS: what the timers' bus clock takes for a tick, 1 ns
 * unless set.  -EINVAL: 0, or too long for the longest count; -ENXIO without irqchip.
 */
int irqchip_set_apic_bus_ns(struct irqchip *chip, uint64_t ns);

/*
 * Port and memory accesses of the guest.  True: this belongs to a device here
 * and was done; false: it is user space's.
 */
bool irqchip_pio(struct irqchip *chip, uint16_t port, void *data, unsigned size, bool write);
bool irqchip_mmio(struct irqchip *chip, uint64_t gpa, void *data, unsigned size, bool write);

/*
 * The local APIC of a vCPU: with KVM_CREATE_VCPU when there is an irqchip.  In its
 * reset state, but not the boot processor: lapic_reset().  NULL without memory.
 * All are freed before the irqchip.
 */
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

void lapic_set_task_priority(struct lapic *lapic, uint8_t tpr);         /* all eight bits */
/* What the guest's vAPIC shows: TPR, class of the highest vector in service, highest waiting. */
uint32_t lapic_vapic_word(struct lapic *lapic);
/* Is this the TPR's address, by MMIO? */
bool lapic_is_tpr(struct lapic *lapic, uint64_t gpa);

/* KVM_GET_LAPIC, KVM_SET_LAPIC. */
void lapic_get_state(struct lapic *lapic, struct kvm_lapic_state *state);
int lapic_set_state(struct lapic *lapic, const struct kvm_lapic_state *state);

/* What waits for this vCPU, without taking it. */
struct lapic_pending {
    bool interrupt;             /* deliverable now: priority above the processor's, or ExtINT from the PIC */
    uint8_t nmis;               /* up to LAPIC_MAX_NMIS */
    bool smi, init;
    bool sipi;
    uint8_t sipi_vector;
};

/* One that is being delivered, and one latched meanwhile. */
enum { LAPIC_MAX_NMIS = 2 };


void lapic_get_pending(struct lapic *lapic, struct lapic_pending *pending);

/* Would it take an interrupt of a PIC, of user space's where the irqchip is split? */
bool lapic_takes_extint(struct lapic *lapic);
/*
 * Split irqchip: the next vector that the guest ended and that an I/O APIC of user
 * space wants to know of (KVM_EXIT_IOAPIC_EOI), or -1.
 */
int lapic_take_eoi(struct lapic *lapic);

/* Take the interrupt (INTA cycle): its vector, or -1 when it has gone meanwhile. */
int lapic_take_interrupt(struct lapic *lapic);
/* Take NMIs, SMI, INIT or SIPI: clears what is set in *taken. */
void lapic_clear_pending(struct lapic *lapic, const struct lapic_pending *taken);
/* KVM_SET_VCPU_EVENTS: replaces nmis, smi, init, sipi and its vector. */
void lapic_set_pending(struct lapic *lapic, const struct lapic_pending *pending);
/* KVM_NMI */
void lapic_nmi(struct lapic *lapic);
/* KVM_SMI */
void lapic_smi(struct lapic *lapic);

/*
 * KVM_HC_SEND_IPI: what icr says (vector and mode, no destination: else -KVM_EINVAL) to the
 * APICs whose ids are first plus the numbers of the bits set in low, and in high from
 * first + width.  How many took it.  Source: Documentation/virt/kvm/x86/hypercalls.rst.
 */
int lapic_send_ipis(struct lapic *sender, uint64_t low, uint64_t high, uint32_t first,
                    unsigned width, uint32_t icr);

/* Power-on; and the INIT signal, which keeps base, mode and what is pending. */
void lapic_reset(struct lapic *lapic, bool is_bsp);
void lapic_init(struct lapic *lapic);

/*
 * The guest's TSC, for the TSC-deadline timer: host_ticks() scaled to
 * tsc_khz, plus tsc_offset, modulo 2^64.  Set by the vCPU before its
 * first run and when the offset or frequency changes; until then no deadline fires.
 */
void lapic_set_tsc_scale(struct lapic *lapic, uint64_t tsc_offset, uint32_t tsc_khz);

/*
 * For tests: before anything is created, replace CLOCK_MONOTONIC by a clock that
 * starts at 0 and moves only here, firing what falls due on the way.
 */
void irqchip_set_manual_clock(struct irqchip *chip);
void irqchip_advance_clock(struct irqchip *chip, uint64_t ns);

#endif
