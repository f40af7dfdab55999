/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The I/O APIC: 24 pins, one redirection entry each.
 * Source: Intel 82093AA data sheet (290566); version 0x11 as in KVM, so there is
 * no EOI register: EOI comes from the local APICs.
 */
#include "irqchip_internal.h"

#include <string.h>

enum {
    OFFSET_SELECT = 0x00, OFFSET_WINDOW = 0x10,
    INDEX_ID = 0, INDEX_VERSION = 1, INDEX_ARBITRATION = 2, INDEX_REDIR = 0x10,
    IOAPIC_VERSION = 0x11 | (IOAPIC_PINS - 1) << 16,
};

/* A redirection entry: 82093AA 3.2.4. */
#define REDIR_VECTOR            0xffULL
#define REDIR_MODE_SHIFT        8
#define REDIR_LOGICAL           (1ULL << 11)
#define REDIR_DELIVERY_STATUS   (1ULL << 12)
#define REDIR_REMOTE_IRR        (1ULL << 14)
#define REDIR_LEVEL             (1ULL << 15)
#define REDIR_MASKED            (1ULL << 16)
#define REDIR_DEST_SHIFT        56
#define REDIR_WRITABLE          (0xff0000000001ffffULL & ~(REDIR_DELIVERY_STATUS | REDIR_REMOTE_IRR))

void ioapic_reset(struct ioapic *ioapic)
{
    memset(ioapic, 0, sizeof(*ioapic));
    ioapic->base = 0xfec00000;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->redir[pin] = REDIR_MASKED;
}

/* Send what a pin stands for. As apic_deliver(); -1 also when it may not be sent now. */
static int ioapic_send(struct irqchip *chip, unsigned pin)
{
    struct ioapic *ioapic = &chip->ioapic;
    uint64_t redir = ioapic->redir[pin];
    bool level = redir & REDIR_LEVEL;
    struct apic_message message = {
        .dest = (uint32_t)(redir >> REDIR_DEST_SHIFT),
        .vector = redir & REDIR_VECTOR,
        .mode = (redir >> REDIR_MODE_SHIFT) & 7,
        .logical = redir & REDIR_LOGICAL,
        .level = level,
        .assert = true,
    };
    int ret;

    if ((redir & REDIR_MASKED) || (level && (redir & REDIR_REMOTE_IRR)))
        return -1;
    ret = apic_deliver(chip, &message);
    if (level && ret > 0)
        ioapic->redir[pin] |= REDIR_REMOTE_IRR;
    if (!level && ret >= 0)
        ioapic->delivered |= 1u << pin;
    return ret;
}

int ioapic_set_line(struct irqchip *chip, unsigned pin, enum irq_source source, bool level)
{
    struct ioapic *ioapic = &chip->ioapic;
    uint32_t bit = 1u << pin, before = ioapic->irr;

    ioapic->sources[pin] &= ~(1 << source);
    ioapic->sources[pin] |= level << source;
    if (!ioapic->sources[pin]) {
        ioapic->irr &= ~bit;
        ioapic->delivered &= ~bit;
        return 1;
    }
    ioapic->irr |= bit;
    if (!(ioapic->redir[pin] & REDIR_LEVEL)) {
        if (before & bit)
            return 0;           /* no edge */
        ioapic->delivered &= ~bit;
    }
    return ioapic_send(chip, pin);
}

/*
 * A local APIC ended a vector.  Level: the pin may send again, and does so at
 * once if its line is still up after whoever resamples has let go.
 */
void ioapic_eoi(struct irqchip *chip, uint8_t vector, bool level)
{
    struct ioapic *ioapic = &chip->ioapic;

    if (!chip->present || chip->split)
        return;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        if ((ioapic->redir[pin] & REDIR_VECTOR) != vector)
            continue;
        /* Listeners first: a line that they lower here is not sent again. */
        routing_ack_ioapic(chip, pin);
        if (!level || !(ioapic->redir[pin] & REDIR_LEVEL))
            continue;
        ioapic->redir[pin] &= ~REDIR_REMOTE_IRR;
        if (ioapic->irr & (1u << pin))
            ioapic_send(chip, pin);
    }
}

static void ioapic_write_redir(struct irqchip *chip, unsigned index, uint32_t value)
{
    struct ioapic *ioapic = &chip->ioapic;
    unsigned pin = (index - INDEX_REDIR) / 2, shift = index & 1 ? 32 : 0;
    uint64_t writable = REDIR_WRITABLE & (0xffffffffULL << shift);
    uint64_t redir;

    if (pin >= IOAPIC_PINS)
        return;
    redir = (ioapic->redir[pin] & ~writable) | (((uint64_t)value << shift) & writable);
    /* Linux clears a stuck Remote IRR by making the pin edge triggered for a moment. */
    if (!(redir & REDIR_LEVEL))
        redir &= ~REDIR_REMOTE_IRR;
    ioapic->redir[pin] = redir;
    /* A level is still there when it is unmasked, an edge isn't. */
    if ((redir & REDIR_LEVEL) && (ioapic->irr & (1u << pin)))
        ioapic_send(chip, pin);
}

static uint32_t ioapic_read_window(const struct ioapic *ioapic)
{
    unsigned pin = (ioapic->select - INDEX_REDIR) / 2;

    if (ioapic->select == INDEX_VERSION)
        return IOAPIC_VERSION;
    if (ioapic->select == INDEX_ID || ioapic->select == INDEX_ARBITRATION)
        return (ioapic->id & 0xf) << 24;
    if (ioapic->select < INDEX_REDIR || pin >= IOAPIC_PINS)
        return 0;
    return (uint32_t)(ioapic->redir[pin] >> (ioapic->select & 1 ? 32 : 0));
}

uint32_t ioapic_read(struct irqchip *chip, unsigned offset)
{
    if (offset == OFFSET_SELECT)
        return chip->ioapic.select;
    return offset == OFFSET_WINDOW ? ioapic_read_window(&chip->ioapic) : 0;
}

void ioapic_write(struct irqchip *chip, unsigned offset, uint32_t value)
{
    struct ioapic *ioapic = &chip->ioapic;

    if (offset == OFFSET_SELECT) {
        ioapic->select = value & 0xff;
    } else if (offset == OFFSET_WINDOW) {
        if (ioapic->select == INDEX_ID)
            ioapic->id = (value >> 24) & 0xf;
        else if (ioapic->select >= INDEX_REDIR)
            ioapic_write_redir(chip, ioapic->select, value);
    }
}

void ioapic_get_state(struct irqchip *chip, struct kvm_ioapic_state *state)
{
    const struct ioapic *ioapic = &chip->ioapic;

    memset(state, 0, sizeof(*state));
    state->base_address = ioapic->base;
    state->ioregsel = ioapic->select;
    state->id = ioapic->id;
    /* What was delivered must not be delivered again by whoever sets this state. */
    state->irr = ioapic->irr & ~ioapic->delivered;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        state->redirtbl[pin].bits = ioapic->redir[pin];
}

void ioapic_set_state(struct irqchip *chip, const struct kvm_ioapic_state *state)
{
    struct ioapic *ioapic = &chip->ioapic;

    ioapic->base = state->base_address;
    ioapic->select = state->ioregsel & 0xff;
    ioapic->id = state->id & 0xf;
    ioapic->irr = state->irr & ((1u << IOAPIC_PINS) - 1);
    ioapic->delivered = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->redir[pin] = state->redirtbl[pin].bits;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        if (ioapic->irr & (1u << pin))
            ioapic_send(chip, pin);
    }
}
