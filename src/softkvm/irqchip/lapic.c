/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The local APIC: what it accepts, in which order it hands that to its
 * processor, and end of interrupt.  Registers are in lapic_regs.c, the timer in
 * lapic_timer.c, destinations in delivery.c.
 * Source: SDM vol. 3, chapter 11 (10 in older editions).
 *
 * Left out, as in KVM: focus processor, arbitration, bus errors, EOI broadcast
 * suppression, CMCI.  There is no SMM, so a message of delivery mode SMI is lost.
 */
#include "irqchip_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool lapic_hw_enabled(const struct lapic *lapic)
{
    return lapic->base & APIC_BASE_ENABLE;
}

bool lapic_enabled(const struct lapic *lapic)
{
    return lapic_hw_enabled(lapic) && (lapic->regs[REG_SVR] & SVR_ENABLE);
}

bool lapic_is_x2apic(const struct lapic *lapic)
{
    return lapic->base & APIC_BASE_X2APIC;
}

/* The highest bit of a 256-bit register (ISR, TMR, IRR), or -1. */
static int highest_vector(const struct lapic *lapic, enum lapic_reg reg)
{
    for (int n = 7; n >= 0; n--) {
        uint32_t bits = lapic->regs[reg + n];

        if (bits)
            return 32 * n + 31 - __builtin_clz(bits);
    }
    return -1;
}

static bool vector_test(const struct lapic *lapic, enum lapic_reg reg, uint8_t vector)
{
    return lapic->regs[reg + vector / 32] & (1u << (vector % 32));
}

static void vector_put(struct lapic *lapic, enum lapic_reg reg, uint8_t vector, bool value)
{
    uint32_t bit = 1u << (vector % 32);

    if (value)
        lapic->regs[reg + vector / 32] |= bit;
    else
        lapic->regs[reg + vector / 32] &= ~bit;
}

/* PPR: the higher of the task's and the running handler's class (11.8.3.1). */
static void update_ppr(struct lapic *lapic)
{
    uint32_t tpr = lapic->regs[REG_TPR];
    int isr = highest_vector(lapic, REG_ISR);
    uint32_t running = isr < 0 ? 0 : (uint32_t)isr & 0xf0;

    lapic->regs[REG_PPR] = (tpr & 0xf0) >= running ? tpr : running;
}

/* The vector that beats the processor's priority, or -1. */
static int deliverable_vector(const struct lapic *lapic)
{
    int vector = lapic_hw_enabled(lapic) ? highest_vector(lapic, REG_IRR) : -1;

    return vector >= 0 && ((uint32_t)vector & 0xf0) > (lapic->regs[REG_PPR] & 0xf0) ? vector : -1;
}

/*
 * LINT0 passes the PIC's output on (virtual wire), and so does an APIC that is
 * switched off: its LINT0 pin is then INTR.
 */
static bool extint_enabled(const struct lapic *lapic)
{
    uint32_t lint0 = lapic->regs[REG_LVT_LINT0];

    if (!lapic_hw_enabled(lapic))
        return true;
    return !(lint0 & LVT_MASKED) && ((lint0 >> 8) & 7) == DELIVER_EXTINT;
}

static bool has_interrupt(const struct lapic *lapic)
{
    const struct irqchip *chip = lapic->chip;

    return (chip->present && chip->pic.output && extint_enabled(lapic)) ||
           deliverable_vector(lapic) >= 0;
}

static void kick(struct lapic *lapic)
{
    lapic->chip->ops->kick(lapic->chip->opaque, lapic->vcpu_id);
}

void lapic_update(struct lapic *lapic)
{
    update_ppr(lapic);
    if (has_interrupt(lapic))
        kick(lapic);
}

/* 1: a new request, 0: it waits already (or nobody accepts it). */
static int accept_fixed(struct lapic *lapic, uint8_t vector, bool level)
{
    bool waits;

    if (!lapic_enabled(lapic))
        return 0;
    if (vector < 16) {
        lapic_error(lapic, ESR_RECEIVE_VECTOR);
        return 0;
    }
    waits = vector_test(lapic, REG_IRR, vector);
    vector_put(lapic, REG_TMR, vector, level);
    vector_put(lapic, REG_IRR, vector, true);
    lapic_update(lapic);
    return !waits;
}

static void add_nmi(struct lapic *lapic)
{
    if (lapic->signals.nmis < LAPIC_MAX_NMIS)
        lapic->signals.nmis++;
}

static int accept_signal(struct lapic *lapic, const struct apic_message *message)
{
    struct lapic_pending *signals = &lapic->signals;

    switch (message->mode) {
    case DELIVER_NMI:
        add_nmi(lapic);
        break;
    case DELIVER_SMI:
        signals->smi = true;
        break;
    case DELIVER_INIT:
        if (message->level && !message->assert)
            return 1;           /* de-assert: only ever moved arbitration ids */
        signals->init = true;
        signals->sipi = false;
        break;
    case DELIVER_STARTUP:
        signals->sipi = true;
        signals->sipi_vector = message->vector;
        break;
    default:
        return 0;               /* ExtINT comes over LINT0 only; reserved */
    }
    kick(lapic);
    return 1;
}

int lapic_accept(struct lapic *lapic, const struct apic_message *message)
{
    if (message->mode == DELIVER_FIXED || message->mode == DELIVER_LOWEST)
        return accept_fixed(lapic, message->vector, message->level);
    return accept_signal(lapic, message);
}

void lapic_local(struct lapic *lapic, enum lapic_reg lvt)
{
    uint32_t entry = lapic->regs[lvt];
    struct apic_message message = {
        .vector = entry & 0xff,
        .mode = (entry >> 8) & 7,
        .level = lvt == REG_LVT_LINT0 && (entry & (1 << 15)),
        .assert = true,
    };

    if (!lapic_hw_enabled(lapic) || (entry & LVT_MASKED))
        return;
    lapic_accept(lapic, &message);
}

void lapic_error(struct lapic *lapic, uint32_t error)
{
    bool first = !(lapic->errors & error);

    lapic->errors |= error;
    /* The error interrupt's own bad vector must not come back here for ever. */
    if (first)
        lapic_local(lapic, REG_LVT_ERROR);
}

void lapic_pic_output(struct irqchip *chip, bool rising)
{
    for (unsigned n = 0; n < chip->lapic_count; n++) {
        struct lapic *lapic = chip->lapics[n];

        if (extint_enabled(lapic))
            kick(lapic);
        else if (rising)
            lapic_local(lapic, REG_LVT_LINT0);
    }
}

/* The I/O APIC is user space's: KVM_RUN ends soon, and tells. */
static void tell_user_eoi(struct lapic *lapic, uint8_t vector)
{
    if (!routing_reserved_vector(lapic, vector, vector_test(lapic, REG_TMR, vector)))
        return;
    lapic->ended[vector / 32] |= 1u << vector % 32;
    kick(lapic);
}

int lapic_take_eoi(struct lapic *lapic)
{
    int vector = -1;

    pthread_mutex_lock(&lapic->chip->lock);
    for (int n = 7; n >= 0 && vector < 0; n--) {
        if (lapic->ended[n])
            vector = 32 * n + 31 - __builtin_clz(lapic->ended[n]);
    }
    if (vector >= 0)
        lapic->ended[vector / 32] &= ~(1u << vector % 32);
    pthread_mutex_unlock(&lapic->chip->lock);
    return vector;
}

bool lapic_takes_extint(struct lapic *lapic)
{
    bool takes;

    pthread_mutex_lock(&lapic->chip->lock);
    takes = extint_enabled(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
    return takes;
}

void lapic_eoi(struct lapic *lapic)
{
    int vector = highest_vector(lapic, REG_ISR);

    if (vector < 0)
        return;
    vector_put(lapic, REG_ISR, vector, false);
    update_ppr(lapic);
    if (lapic->chip->split)
        tell_user_eoi(lapic, vector);
    else
        ioapic_eoi(lapic->chip, vector, vector_test(lapic, REG_TMR, vector));
    lapic_update(lapic);
}

struct lapic *lapic_new(struct irqchip *chip, uint32_t vcpu_id)
{
    struct lapic *lapic = calloc(1, sizeof(*lapic)), **lapics;
    unsigned at;

    if (!lapic)
        return NULL;
    lapic->chip = chip;
    lapic->vcpu_id = vcpu_id;
    lapic_timer_init(lapic);
    pthread_mutex_lock(&chip->lock);
    lapics = realloc(chip->lapics, (chip->lapic_count + 1) * sizeof(lapics[0]));
    if (lapics)
        chip->lapics = lapics;
    if (!lapics || timers_reserve(chip)) {
        pthread_mutex_unlock(&chip->lock);
        free(lapic);
        return NULL;
    }
    at = lapic_index(chip, vcpu_id);
    memmove(&chip->lapics[at + 1], &chip->lapics[at],
            (chip->lapic_count - at) * sizeof(chip->lapics[0]));
    chip->lapics[at] = lapic;
    chip->lapic_count++;
    lapic_reset_regs(lapic, false);
    pthread_mutex_unlock(&chip->lock);
    return lapic;
}

void lapic_free(struct lapic *lapic)
{
    struct irqchip *chip;
    unsigned n;

    if (!lapic)
        return;
    chip = lapic->chip;
    pthread_mutex_lock(&chip->lock);
    timer_cancel(chip, &lapic->timer);
    timers_unreserve(chip);
    n = lapic_index(chip, lapic->vcpu_id);
    chip->ids.known = false;
    chip->lapic_count--;
    memmove(&chip->lapics[n], &chip->lapics[n + 1],
            (chip->lapic_count - n) * sizeof(chip->lapics[0]));
    pthread_mutex_unlock(&chip->lock);
    free(lapic);
}

void lapic_get_pending(struct lapic *lapic, struct lapic_pending *pending)
{
    pthread_mutex_lock(&lapic->chip->lock);
    *pending = lapic->signals;
    pending->interrupt = has_interrupt(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
}

int lapic_take_interrupt(struct lapic *lapic)
{
    int vector = -1;

    pthread_mutex_lock(&lapic->chip->lock);
    if (lapic->chip->present && extint_enabled(lapic))
        vector = pic_take(lapic->chip);
    if (vector < 0) {
        vector = deliverable_vector(lapic);
        if (vector >= 0) {
            vector_put(lapic, REG_IRR, vector, false);
            vector_put(lapic, REG_ISR, vector, true);
            update_ppr(lapic);
        }
    }
    pthread_mutex_unlock(&lapic->chip->lock);
    return vector;
}

void lapic_clear_pending(struct lapic *lapic, const struct lapic_pending *taken)
{
    struct lapic_pending *signals = &lapic->signals;

    pthread_mutex_lock(&lapic->chip->lock);
    signals->nmis -= taken->nmis < signals->nmis ? taken->nmis : signals->nmis;
    signals->smi &= !taken->smi;
    signals->init &= !taken->init;
    signals->sipi &= !taken->sipi;
    pthread_mutex_unlock(&lapic->chip->lock);
}

void lapic_set_pending(struct lapic *lapic, const struct lapic_pending *pending)
{
    pthread_mutex_lock(&lapic->chip->lock);
    lapic->signals = *pending;
    lapic->signals.interrupt = false;
    if (pending->nmis > LAPIC_MAX_NMIS)
        lapic->signals.nmis = LAPIC_MAX_NMIS;
    kick(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
}

void lapic_nmi(struct lapic *lapic)
{
    pthread_mutex_lock(&lapic->chip->lock);
    add_nmi(lapic);
    kick(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
}

void lapic_smi(struct lapic *lapic)
{
    pthread_mutex_lock(&lapic->chip->lock);
    lapic->signals.smi = true;
    kick(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
}

uint8_t lapic_get_tpr(struct lapic *lapic)
{
    uint8_t cr8;

    pthread_mutex_lock(&lapic->chip->lock);
    cr8 = (lapic->regs[REG_TPR] >> 4) & 0xf;
    pthread_mutex_unlock(&lapic->chip->lock);
    return cr8;
}

void lapic_set_tpr(struct lapic *lapic, uint8_t cr8)
{
    lapic_set_task_priority(lapic, (cr8 & 0xf) << 4);
}

void lapic_set_task_priority(struct lapic *lapic, uint8_t tpr)
{
    pthread_mutex_lock(&lapic->chip->lock);
    lapic->regs[REG_TPR] = tpr;
    lapic_update(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
}

uint32_t lapic_vapic_word(struct lapic *lapic)
{
    int waiting, in_service;
    uint32_t word;

    pthread_mutex_lock(&lapic->chip->lock);
    waiting = highest_vector(lapic, REG_IRR);
    in_service = highest_vector(lapic, REG_ISR);
    word = lapic->regs[REG_TPR] & 0xff;
    if (in_service >= 0)
        word |= ((uint32_t)in_service & 0xf0) << 8;
    if (waiting >= 0)
        word |= (uint32_t)waiting << 24;
    pthread_mutex_unlock(&lapic->chip->lock);
    return word;
}
