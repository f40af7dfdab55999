/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of this folder share.  Everything below runs with chip->lock
 * held unless it says otherwise; nothing here blocks.
 */
#ifndef SOFTKVM_IRQCHIP_INTERNAL_H
#define SOFTKVM_IRQCHIP_INTERNAL_H

#include "irqchip.h"

#include <pthread.h>

enum {
    PIC_PINS = 16,              /* both chips; 8 and up are the slave's */
    IOAPIC_PINS = KVM_IOAPIC_NUM_PINS,
    PIT_GSI = 0,
    MAX_ROUTES = 4096,          /* KVM_CAP_IRQ_ROUTING */
    NSEC_PER_SEC = 1000000000,
    /* Linux 6.12 arch/x86/kvm/lapic.c, min_timer_period_us: a guest can't flood us. */
    MIN_PERIOD_NS = 200 * 1000,
};

#define TIMER_NEVER UINT64_MAX

/*
 * Who holds an interrupt line: the line is up while one of them holds it.  As
 * KVM's irq source ids.
 */
enum irq_source { SOURCE_USER, SOURCE_RESAMPLE, SOURCE_PIT };

/* Delivery modes: SDM vol. 3, 11.5.1 (LVT) and 11.6.1 (ICR). */
enum delivery_mode {
    DELIVER_FIXED, DELIVER_LOWEST, DELIVER_SMI, DELIVER_RESERVED,
    DELIVER_NMI, DELIVER_INIT, DELIVER_STARTUP, DELIVER_EXTINT,
};

enum shorthand { SHORT_NONE, SHORT_SELF, SHORT_ALL, SHORT_OTHERS };
enum { ICR_LOGICAL = 1 << 11, ICR_SHORTHANDS = 3 << 18 };

/* A message on the APIC bus. */
struct apic_message {
    uint32_t dest;              /* 8 bits, or 32 from an x2APIC */
    uint8_t vector;
    uint8_t mode;               /* enum delivery_mode */
    uint8_t shorthand;
    bool logical;
    bool level;                 /* level triggered */
    bool assert;                /* INIT only: false is the de-assert of old */
    struct lapic *sender;       /* NULL: an I/O APIC or MSI */
};

struct irq_timer {
    uint64_t deadline;          /* CLOCK_MONOTONIC ns */
    int slot;                   /* in the heap, -1 when idle */
    void (*fire)(struct irq_timer *timer, uint64_t now);
};

/* All timers of a VM: a binary heap on their deadlines, and the thread that serves it. */
struct irq_timers {
    struct irq_timer **heap;
    int count, reserved, capacity;
    uint64_t sleeping_until;    /* what the thread waits for; 0 while it is awake */
    pthread_cond_t changed;
    pthread_t thread;
    bool running, stop;
    bool manual;                /* tests move the clock, there is no thread */
    uint64_t manual_now;
};

struct pic {
    struct kvm_pic_state chip[2];       /* [0] master */
    uint8_t sources[PIC_PINS];          /* bit n: enum irq_source n holds the line */
    bool output;                        /* INTR of the master */
};

struct ioapic {
    uint64_t base;
    uint32_t select, id;
    uint32_t irr;                       /* level: the pin; edge: not yet taken by an APIC */
    uint32_t delivered;                 /* edge pins whose bit in irr was delivered */
    uint64_t redir[IOAPIC_PINS];
    uint8_t sources[IOAPIC_PINS];
};

struct pit {
    struct irqchip *chip;
    struct kvm_pit_channel_state channel[3];
    uint32_t config, flags;             /* KVM_PIT_SPEAKER_DUMMY; KVM_PIT_FLAGS_* */
    bool speaker_data;
    bool reinject;
    unsigned missed;                    /* ticks of channel 0 not yet given to the guest */
    uint64_t period;                    /* ns of channel 0; 0: not periodic */
    struct irq_timer timer;
};

/* Where a GSI goes: up to one pin of each chip, or an MSI. */
struct route {
    int8_t pin[KVM_NR_IRQCHIPS];        /* -1: none */
    bool is_msi;
    uint32_t address_lo, address_hi, data;
};

struct routing {
    struct route *routes;
    unsigned count;                     /* routes[gsi] for gsi < count */
    int16_t ioapic_gsi[IOAPIC_PINS];    /* the first GSI on a pin; -1: none */
    int16_t pic_gsi[PIC_PINS];
};

struct irqchip {
    pthread_mutex_t lock;
    const struct irqchip_ops *ops;
    void *opaque;
    bool present;
    bool split;                 /* PICs, I/O APIC and PIT are user space's */
    unsigned reserved_gsis;     /* split: GSIs below are pins of user space's I/O APIC */
    uint64_t apic_bus_ns;       /* a tick of the local APICs' bus clock */
    bool resampled;             /* a line was ever held by SOURCE_RESAMPLE */
    bool x2apic_format, no_broadcast_quirk;     /* KVM_CAP_X2APIC_API */
    struct pic pic;
    struct ioapic ioapic;
    struct pit *pit;
    struct routing routing;
    struct lapic **lapics;              /* in order of vcpu_id */
    unsigned lapic_count;
    struct apic_ids {                   /* of those that are on; delivery.c */
        bool known;
        bool physical_plain;            /* each answers to its vcpu_id alone */
        bool all_x2apic;
    } ids;
    unsigned lowest_turn;               /* rotates lowest-priority delivery among equals */
    struct irq_timers timers;
};

#define LAPIC_REGS 64u

struct lapic {
    struct irqchip *chip;
    uint32_t vcpu_id;
    uint64_t base;                      /* IA32_APIC_BASE */
    uint32_t regs[LAPIC_REGS];          /* register at MMIO offset 16 * n, or MSR 0x800 + n */
    uint32_t errors;                    /* what the next write to ESR shows */
    uint32_t ended[8];                  /* split: vectors for lapic_take_eoi() */
    struct lapic_pending signals;       /* nmi, smi, init, sipi */
    struct irq_timer timer;
    uint64_t period;                    /* of the running count, ns */
    uint64_t tsc_deadline;
    uint64_t tsc_offset;
    uint32_t tsc_khz;
};

/* Indices into lapic.regs: SDM vol. 3, table 11-1, offset / 16. */
enum lapic_reg {
    REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a,
    REG_EOI = 0x0b, REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SVR = 0x0f, REG_ISR = 0x10,
    REG_TMR = 0x18, REG_IRR = 0x20, REG_ESR = 0x28, REG_ICR = 0x30, REG_ICR2 = 0x31,
    REG_LVT_TIMER = 0x32, REG_LVT_THERMAL = 0x33, REG_LVT_PMC = 0x34, REG_LVT_LINT0 = 0x35,
    REG_LVT_LINT1 = 0x36, REG_LVT_ERROR = 0x37, REG_TIMER_INITIAL = 0x38,
    REG_TIMER_CURRENT = 0x39, REG_TIMER_DIVIDE = 0x3e, REG_SELF_IPI = 0x3f,
};

enum {
    APIC_BASE_BSP = 1 << 8, APIC_BASE_X2APIC = 1 << 10, APIC_BASE_ENABLE = 1 << 11,
    SVR_ENABLE = 1 << 8,
    LVT_MASKED = 1 << 16,
    LVT_TIMER_PERIODIC = 1 << 17, LVT_TIMER_DEADLINE = 2 << 17, LVT_TIMER_MODE = 3 << 17,
    ESR_SEND_VECTOR = 1 << 5, ESR_RECEIVE_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7,
};

/* timers.c.  A timer is reserved before it is first armed, so that arming can't fail. */
int timers_init(struct irq_timers *timers);             /* without the lock; 0 or -errno */
void timers_destroy(struct irqchip *chip);              /* without the lock; joins the thread */
int timers_reserve(struct irqchip *chip);               /* 0 or -errno; starts the thread */
void timers_unreserve(struct irqchip *chip);
uint64_t timers_now(const struct irqchip *chip);
/* The ticks that guests' TSCs are made of, as a counter of khz; from the manual clock too. */
uint64_t timers_ticks(const struct irqchip *chip, uint32_t khz);
void timer_arm(struct irqchip *chip, struct irq_timer *timer, uint64_t deadline);
void timer_cancel(struct irqchip *chip, struct irq_timer *timer);

/* routing.c */
int routing_set_default(struct irqchip *chip);
int routing_set_empty(struct irqchip *chip);
/*
 * Split: does a reserved GSI send this vector as a level, and to this APIC?  Where
 * the vector came as one, a route that leads elsewhere by now will do.
 */
bool routing_reserved_vector(const struct lapic *lapic, uint8_t vector, bool came_as_level);
void routing_free(struct routing *routing);
int routing_set_line(struct irqchip *chip, unsigned gsi, enum irq_source source, bool level);
/* A pin was acknowledged by the guest: tell who waits for that. */
void routing_ack_ioapic(struct irqchip *chip, unsigned pin);
void routing_ack_pic(struct irqchip *chip, unsigned pin);
/* As KVM_SIGNAL_MSI: APICs reached, 0 coalesced, -1 none. */
int msi_send(struct irqchip *chip, uint32_t address_lo, uint32_t address_hi, uint32_t data);

/* pic.c */
void pic_reset(struct pic *pic);
int pic_set_line(struct irqchip *chip, unsigned pin, enum irq_source source, bool level);
int pic_take(struct irqchip *chip);                     /* INTA: vector, -1: output is low */
bool pic_pio(struct irqchip *chip, uint16_t port, uint8_t *value, bool write);
void pic_set_state(struct irqchip *chip, unsigned which, const struct kvm_pic_state *state);

/* ioapic.c */
void ioapic_reset(struct ioapic *ioapic);
int ioapic_set_line(struct irqchip *chip, unsigned pin, enum irq_source source, bool level);
void ioapic_eoi(struct irqchip *chip, uint8_t vector, bool level);
uint32_t ioapic_read(struct irqchip *chip, unsigned offset);
void ioapic_write(struct irqchip *chip, unsigned offset, uint32_t value);
void ioapic_get_state(struct irqchip *chip, struct kvm_ioapic_state *state);
void ioapic_set_state(struct irqchip *chip, const struct kvm_ioapic_state *state);

/* pit.c */
/* NULL without memory; free() when its timer isn't armed any more. */
struct pit *pit_new(struct irqchip *chip, uint32_t config);
bool pit_pio(struct pit *pit, uint16_t port, uint8_t *value, bool write);
void pit_get_state(struct pit *pit, struct kvm_pit_state2 *state);
int pit_set_state(struct pit *pit, const struct kvm_pit_state2 *state);  /* 0, -EINVAL */
void pit_acked(struct pit *pit);                        /* the guest took a tick */

/* delivery.c */
bool apic_matches(const struct lapic *lapic, const struct apic_message *message);
/* The index of the first APIC whose vcpu_id isn't below id. */
unsigned lapic_index(const struct irqchip *chip, uint32_t id);
/* APICs reached, 0 coalesced, -1 nobody listens. */
int apic_deliver(struct irqchip *chip, const struct apic_message *message);

/* lapic.c */
bool lapic_enabled(const struct lapic *lapic);          /* by base and by SVR */
bool lapic_hw_enabled(const struct lapic *lapic);
bool lapic_is_x2apic(const struct lapic *lapic);
int lapic_accept(struct lapic *lapic, const struct apic_message *message);
void lapic_update(struct lapic *lapic);                 /* priorities changed; may kick */
void lapic_eoi(struct lapic *lapic);
void lapic_error(struct lapic *lapic, uint32_t error);
void lapic_local(struct lapic *lapic, enum lapic_reg lvt);      /* a local source fires */
void lapic_pic_output(struct irqchip *chip, bool rising);       /* LINT0 of every APIC */

/* lapic_regs.c */
void lapic_reset_regs(struct lapic *lapic, bool init);
void lapic_refresh_ids(struct lapic *lapic);            /* the mode changed */

/* lapic_timer.c */
void lapic_timer_init(struct lapic *lapic);
void lapic_timer_stop(struct lapic *lapic);
void lapic_timer_start(struct lapic *lapic, uint32_t count);    /* count: ticks to go first */
uint32_t lapic_timer_current(const struct lapic *lapic);
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value);
void lapic_timer_set_divide(struct lapic *lapic, uint32_t value);
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc);

#endif
