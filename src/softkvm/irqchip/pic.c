/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two 8259A in cascade, with the edge/level registers (ELCR) of the PC chipsets.
 * Source: Intel 8259A data sheet (231468); ELCR: 82371AB data sheet, 4.4.
 *
 * The state is struct kvm_pic_state itself.  As in KVM: MCS-80 mode, single mode
 * and ICW1's level bit are not there, an edge stays latched when its line falls
 * before it is acknowledged.
 */
#include "irqchip_internal.h"

#include <string.h>

enum { CASCADE = 2, NO_IRQ = 8 };

static const uint8_t elcr_writable[2] = { 0xf8, 0xde };

/* Rank of the most urgent bit of mask under the current rotation; NO_IRQ when empty. */
static unsigned rank(const struct kvm_pic_state *s, uint8_t mask)
{
    unsigned n = 0;

    if (!mask)
        return NO_IRQ;
    while (!(mask & (1 << ((n + s->priority_add) & 7))))
        n++;
    return n;
}

/* The input that would be delivered now, or -1. */
static int pic_pending(const struct pic *pic, unsigned which)
{
    const struct kvm_pic_state *s = &pic->chip[which];
    unsigned requested = rank(s, s->irr & ~s->imr);
    uint8_t in_service = s->isr;

    if (requested == NO_IRQ)
        return -1;
    if (s->special_mask)
        in_service &= ~s->imr;
    /* Fully nested: the slave may interrupt its own service routine. */
    if (s->special_fully_nested_mode && which == 0)
        in_service &= ~(1 << CASCADE);
    if (requested >= rank(s, in_service))
        return -1;
    return (requested + s->priority_add) & 7;
}

/* Drive one input. 1: a new request, 0: it was requested already, -1: masked. */
static int pic_input(struct kvm_pic_state *s, unsigned irq, bool level)
{
    uint8_t bit = 1 << irq;
    int ret = 1;

    if (!level) {
        s->last_irr &= ~bit;
        if (s->elcr & bit)
            s->irr &= ~bit;
    } else {
        if ((s->elcr & bit) || !(s->last_irr & bit)) {
            ret = !(s->irr & bit);
            s->irr |= bit;
        }
        s->last_irr |= bit;
    }
    return s->imr & bit ? -1 : ret;
}

/* Carry the slave's output to the master, the master's to LINT0. */
static void pic_update(struct irqchip *chip)
{
    struct pic *pic = &chip->pic;
    bool before = pic->output;

    if (pic_pending(pic, 1) >= 0) {
        /* A pulse: the slave drops its output at each INTA, so each request is an edge. */
        pic_input(&pic->chip[0], CASCADE, true);
        pic_input(&pic->chip[0], CASCADE, false);
    }
    pic->output = pic_pending(pic, 0) >= 0;
    if (pic->output)
        lapic_pic_output(chip, !before);
}

static void pic_end(struct irqchip *chip, unsigned which, unsigned irq)
{
    chip->pic.chip[which].isr &= ~(1 << irq);
    routing_ack_pic(chip, which * 8 + irq);
}

static void pic_acknowledge(struct irqchip *chip, unsigned which, unsigned irq)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];

    s->isr |= 1 << irq;
    if (!(s->elcr & (1 << irq)))
        s->irr &= ~(1 << irq);
    if (s->auto_eoi) {
        if (s->rotate_on_auto_eoi)
            s->priority_add = (irq + 1) & 7;
        pic_end(chip, which, irq);
    }
}

int pic_take(struct irqchip *chip)
{
    struct pic *pic = &chip->pic;
    int irq = pic_pending(pic, 0), vector;

    if (!pic->output || irq < 0)
        return -1;
    if (irq == CASCADE) {
        int slave = pic_pending(pic, 1);

        /* The slave's request went away: it answers with its spurious vector, 7. */
        vector = pic->chip[1].irq_base + (slave < 0 ? 7 : slave);
        if (slave >= 0)
            pic_acknowledge(chip, 1, slave);
    } else {
        vector = pic->chip[0].irq_base + irq;
    }
    pic_acknowledge(chip, 0, irq);
    pic_update(chip);
    return vector;
}

int pic_set_line(struct irqchip *chip, unsigned pin, enum irq_source source, bool level)
{
    struct pic *pic = &chip->pic;
    int ret;

    pic->sources[pin] &= ~(1 << source);
    pic->sources[pin] |= level << source;
    ret = pic_input(&pic->chip[pin / 8], pin % 8, pic->sources[pin] != 0);
    pic_update(chip);
    return ret;
}

/* ICW1: start of the initialisation sequence. */
static void pic_init(struct irqchip *chip, unsigned which, uint8_t value)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];
    uint8_t in_service = s->isr;

    s->init4 = value & 1;
    s->last_irr = 0;
    s->irr &= s->elcr;
    s->imr = 0;
    s->isr = 0;
    s->priority_add = 0;
    s->special_mask = 0;
    s->read_reg_select = 0;
    s->poll = 0;
    s->rotate_on_auto_eoi = 0;
    if (!s->init4) {
        s->special_fully_nested_mode = 0;
        s->auto_eoi = 0;
    }
    s->init_state = 1;
    for (unsigned irq = 0; irq < 8; irq++) {
        if (in_service & (1 << irq))
            routing_ack_pic(chip, which * 8 + irq);
    }
}

/* OCW2: end of interrupt and rotation; command in bits 7:5. */
static void pic_ocw2(struct irqchip *chip, unsigned which, uint8_t value)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];
    unsigned command = value >> 5, irq = value & 7;
    bool rotate = command & 4, specific = command & 2, eoi = command & 1;

    if (!eoi) {
        if (!specific)
            s->rotate_on_auto_eoi = rotate;
        else if (rotate)
            s->priority_add = (irq + 1) & 7;
        return;
    }
    if (!specific) {
        unsigned highest = rank(s, s->isr);

        if (highest == NO_IRQ)
            return;
        irq = (highest + s->priority_add) & 7;
    }
    if (rotate)
        s->priority_add = (irq + 1) & 7;
    pic_end(chip, which, irq);
}

/* OCW3: poll, which register reads show, special mask. */
static void pic_ocw3(struct kvm_pic_state *s, uint8_t value)
{
    if (value & 0x04)
        s->poll = 1;
    if (value & 0x02)
        s->read_reg_select = value & 1;
    if (value & 0x40)
        s->special_mask = (value >> 5) & 1;
}

static void pic_write_data(struct kvm_pic_state *s, uint8_t value)
{
    switch (s->init_state) {
    case 0:
        s->imr = value;
        break;
    case 1:
        s->irq_base = value & 0xf8;
        s->init_state = 2;
        break;
    case 2:                     /* ICW3, the cascade's wiring, is fixed here */
        s->init_state = s->init4 ? 3 : 0;
        break;
    default:
        s->special_fully_nested_mode = (value >> 4) & 1;
        s->auto_eoi = (value >> 1) & 1;
        s->init_state = 0;
        break;
    }
}

static void pic_write(struct irqchip *chip, unsigned which, bool data, uint8_t value)
{
    if (data)
        pic_write_data(&chip->pic.chip[which], value);
    else if (value & 0x10)
        pic_init(chip, which, value);
    else if (value & 0x08)
        pic_ocw3(&chip->pic.chip[which], value);
    else
        pic_ocw2(chip, which, value);
    pic_update(chip);
}

/* Poll: the read is the INTA cycle; bit 7 says that there was one. */
static uint8_t pic_poll(struct irqchip *chip, unsigned which)
{
    int irq = pic_pending(&chip->pic, which);

    chip->pic.chip[which].poll = 0;
    if (irq < 0)
        return 0;
    if (which == 1) {
        /* The cascade's request is this one: take it from the master too. */
        chip->pic.chip[0].irr &= ~(1 << CASCADE);
    }
    pic_acknowledge(chip, which, irq);
    pic_update(chip);
    return 0x80 | irq;
}

static uint8_t pic_read(struct irqchip *chip, unsigned which, bool data)
{
    const struct kvm_pic_state *s = &chip->pic.chip[which];

    if (s->poll)
        return pic_poll(chip, which);
    if (data)
        return s->imr;
    return s->read_reg_select ? s->isr : s->irr;
}

static void pic_write_elcr(struct irqchip *chip, unsigned which, uint8_t value)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];

    s->elcr = value & s->elcr_mask;
    /* A line that is up is a request once it is level triggered. */
    for (unsigned irq = 0; irq < 8; irq++) {
        if ((s->elcr & (1 << irq)) && chip->pic.sources[which * 8 + irq])
            s->irr |= 1 << irq;
    }
    pic_update(chip);
}

bool pic_pio(struct irqchip *chip, uint16_t port, uint8_t *value, bool write)
{
    switch (port) {
    case 0x20: case 0x21: case 0xa0: case 0xa1:
        if (write)
            pic_write(chip, port >= 0xa0, port & 1, *value);
        else
            *value = pic_read(chip, port >= 0xa0, port & 1);
        return true;
    case 0x4d0: case 0x4d1:
        if (write)
            pic_write_elcr(chip, port & 1, *value);
        else
            *value = chip->pic.chip[port & 1].elcr;
        return true;
    default:
        return false;
    }
}

void pic_reset(struct pic *pic)
{
    memset(pic, 0, sizeof(*pic));
    pic->chip[0].elcr_mask = elcr_writable[0];
    pic->chip[1].elcr_mask = elcr_writable[1];
}

void pic_set_state(struct irqchip *chip, unsigned which, const struct kvm_pic_state *state)
{
    struct kvm_pic_state *s = &chip->pic.chip[which];

    *s = *state;
    s->elcr_mask = elcr_writable[which];
    s->elcr &= s->elcr_mask;
    s->priority_add &= 7;
    s->irq_base &= 0xf8;
    s->init_state &= 3;
    pic_update(chip);
}
