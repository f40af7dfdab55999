/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a GSI (global system interrupt: the number that user space knows) to pins
 * and messages, and back from an acknowledged pin to its GSI.
 * Source: Linux 6.12 Documentation/virt/kvm/api.rst 4.52; limits and the default
 * table as in its arch/x86/kvm/irq_comm.c.  MSI layout: SDM vol. 3, 11.11.
 */
#include "irqchip_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHIP_PIC = 2,               /* chips 0 and 1 are the PICs, of 8 pins each */
    MSI_LOGICAL = 1 << 2,       /* address bits */
    MSI_LEVEL = 1 << 15,        /* data bit */
};

static int add_pin(const struct irqchip *chip, struct route *route, const struct kvm_irq_routing_irqchip *to)
{
    uint32_t pins = to->irqchip < CHIP_PIC ? 8 : IOAPIC_PINS;

    if (chip->split)
        return -EINVAL;
    if (to->irqchip >= KVM_NR_IRQCHIPS || to->pin >= pins)
        return -EINVAL;
    /* One pin a chip, and a GSI is a message or a line. */
    if (route->is_msi || route->pin[to->irqchip] >= 0)
        return -EINVAL;
    route->pin[to->irqchip] = (int8_t)to->pin;
    return 0;
}

static bool route_is_empty(const struct route *route)
{
    return !route->is_msi && route->pin[0] < 0 && route->pin[1] < 0 && route->pin[2] < 0;
}

static int add_msi(struct irqchip *chip, struct route *route,
                   const struct kvm_irq_routing_entry *entry)
{
    if (!route_is_empty(route))
        return -EINVAL;
    if (chip->x2apic_format && (entry->u.msi.address_hi & 0xff))
        return -EINVAL;
    *route = (struct route) {
        .pin = { -1, -1, -1 },
        .is_msi = true,
        .address_lo = entry->u.msi.address_lo,
        .address_hi = entry->u.msi.address_hi,
        .data = entry->u.msi.data,
    };
    return 0;
}

static int add_entry(struct irqchip *chip, struct route *routes,
                     const struct kvm_irq_routing_entry *entry)
{
    if (entry->flags)
        return -EINVAL;
    switch (entry->type) {
    case KVM_IRQ_ROUTING_IRQCHIP:
        return add_pin(chip, &routes[entry->gsi], &entry->u.irqchip);
    case KVM_IRQ_ROUTING_MSI:
        return add_msi(chip, &routes[entry->gsi], entry);
    default:
        return -EINVAL;
    }
}

/* The way back; with several GSIs on a pin the lowest is told. */
static void index_pins(struct routing *routing)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        routing->ioapic_gsi[pin] = -1;
    for (unsigned pin = 0; pin < PIC_PINS; pin++)
        routing->pic_gsi[pin] = -1;
    for (unsigned gsi = routing->count; gsi-- > 0;) {
        const struct route *route = &routing->routes[gsi];

        for (unsigned which = 0; which < CHIP_PIC; which++) {
            if (route->pin[which] >= 0)
                routing->pic_gsi[which * 8 + route->pin[which]] = (int16_t)gsi;
        }
        if (route->pin[KVM_IRQCHIP_IOAPIC] >= 0)
            routing->ioapic_gsi[route->pin[KVM_IRQCHIP_IOAPIC]] = (int16_t)gsi;
    }
}

static int routing_set(struct irqchip *chip, const struct kvm_irq_routing_entry *entries,
                       unsigned count)
{
    unsigned gsis = 0;
    struct route *routes;

    if (count > MAX_ROUTES)
        return -EINVAL;
    for (unsigned n = 0; n < count; n++) {
        if (entries[n].gsi >= MAX_ROUTES)
            return -EINVAL;
        if (entries[n].gsi >= gsis)
            gsis = entries[n].gsi + 1;
    }
    routes = malloc((gsis + 1) * sizeof(routes[0]));
    if (!routes)
        return -ENOMEM;
    for (unsigned gsi = 0; gsi < gsis; gsi++)
        routes[gsi] = (struct route) { .pin = { -1, -1, -1 } };
    for (unsigned n = 0; n < count; n++) {
        int ret = add_entry(chip, routes, &entries[n]);

        if (ret) {
            free(routes);
            return ret;
        }
    }
    free(chip->routing.routes);
    chip->routing.routes = routes;
    chip->routing.count = gsis;
    index_pins(&chip->routing);
    return 0;
}

int routing_set_empty(struct irqchip *chip)
{
    return routing_set(chip, NULL, 0);
}

/* GSI n is pin n of the I/O APIC, and below 16 also that of the PICs. */
int routing_set_default(struct irqchip *chip)
{
    struct kvm_irq_routing_entry entries[IOAPIC_PINS + PIC_PINS];
    unsigned count = 0;

    memset(entries, 0, sizeof(entries));
    for (unsigned gsi = 0; gsi < IOAPIC_PINS; gsi++) {
        entries[count].gsi = gsi;
        entries[count].type = KVM_IRQ_ROUTING_IRQCHIP;
        entries[count].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
        entries[count++].u.irqchip.pin = gsi;
        if (gsi >= PIC_PINS)
            continue;
        entries[count].gsi = gsi;
        entries[count].type = KVM_IRQ_ROUTING_IRQCHIP;
        entries[count].u.irqchip.irqchip = gsi / 8;
        entries[count++].u.irqchip.pin = gsi % 8;
    }
    return routing_set(chip, entries, count);
}

void routing_free(struct routing *routing)
{
    free(routing->routes);
    routing->routes = NULL;
    routing->count = 0;
}

static struct apic_message msi_message(const struct irqchip *chip, uint32_t address_lo,
                                       uint32_t address_hi, uint32_t data)
{
    return (struct apic_message){
        .dest = ((address_lo >> 12) & 0xff) | (chip->x2apic_format ? address_hi & ~0xffu : 0),
        .vector = data & 0xff,
        .mode = (data >> 8) & 7,
        .logical = address_lo & MSI_LOGICAL,
        .level = data & MSI_LEVEL,
        .assert = true,
    };
}

int msi_send(struct irqchip *chip, uint32_t address_lo, uint32_t address_hi, uint32_t data)
{
    struct apic_message message = msi_message(chip, address_lo, address_hi, data);

    return apic_deliver(chip, &message);
}

bool routing_reserved_vector(const struct lapic *lapic, uint8_t vector, bool came_as_level)
{
    const struct irqchip *chip = lapic->chip;

    for (unsigned gsi = 0; gsi < chip->reserved_gsis && gsi < chip->routing.count; gsi++) {
        const struct route *route = &chip->routing.routes[gsi];
        struct apic_message message;

        if (!route->is_msi || (route->data & 0xff) != vector || !(route->data & MSI_LEVEL))
            continue;
        message = msi_message(chip, route->address_lo, route->address_hi, route->data);
        if (came_as_level || apic_matches(lapic, &message))
            return true;
    }
    return false;
}

/* Results add up over the pins; pins that ignore it (-1) don't count while one takes it. */
static int add_result(int sum, int ret)
{
    if (ret < 0)
        return sum;
    return sum < 0 ? ret : sum + ret;
}

int routing_set_line(struct irqchip *chip, unsigned gsi, enum irq_source source, bool level)
{
    const struct route *route;
    int ret = -1;

    if (gsi >= chip->routing.count)
        return -1;
    route = &chip->routing.routes[gsi];
    if (route->is_msi)
        return level ? msi_send(chip, route->address_lo, route->address_hi, route->data) : -1;
    for (unsigned which = 0; which < CHIP_PIC; which++) {
        if (route->pin[which] >= 0)
            ret = add_result(ret, pic_set_line(chip, which * 8 + route->pin[which], source,
                                               level));
    }
    if (route->pin[KVM_IRQCHIP_IOAPIC] >= 0)
        ret = add_result(ret, ioapic_set_line(chip, route->pin[KVM_IRQCHIP_IOAPIC], source,
                                              level));
    return ret;
}

static void ack_gsi(struct irqchip *chip, int gsi)
{
    if (gsi < 0)
        return;
    /* A resampled line is let go before its owner looks at the device again. */
    if (chip->resampled)
        routing_set_line(chip, gsi, SOURCE_RESAMPLE, false);
    if (gsi == PIT_GSI && chip->pit)
        pit_acked(chip->pit);
    if (chip->ops->eoi)
        chip->ops->eoi(chip->opaque, gsi);
}

void routing_ack_ioapic(struct irqchip *chip, unsigned pin)
{
    ack_gsi(chip, chip->routing.ioapic_gsi[pin]);
}

void routing_ack_pic(struct irqchip *chip, unsigned pin)
{
    ack_gsi(chip, chip->routing.pic_gsi[pin]);
}

int irqchip_set_routing(struct irqchip *chip, const struct kvm_irq_routing_entry *entries,
                        unsigned count)
{
    int ret = -EINVAL;

    pthread_mutex_lock(&chip->lock);
    if (chip->present)
        ret = routing_set(chip, entries, count);
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

int irqchip_send_msi(struct irqchip *chip, const struct kvm_msi *msi)
{
    int ret = -EINVAL;

    pthread_mutex_lock(&chip->lock);
    if (chip->present && !msi->flags && !(chip->x2apic_format && (msi->address_hi & 0xff)))
        ret = msi_send(chip, msi->address_lo, msi->address_hi, msi->data);
    pthread_mutex_unlock(&chip->lock);
    return ret;
}
