/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VM's interrupt controllers as one object: its making, its lock, and the
 * way of ioctls and guest accesses to the part that they are for.
 */
#include "irqchip_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { IOAPIC_WINDOW = 0x100 };

struct irqchip *irqchip_new(const struct irqchip_ops *ops, void *opaque)
{
    struct irqchip *chip = calloc(1, sizeof(*chip));

    if (!chip)
        return NULL;
    chip->ops = ops;
    chip->opaque = opaque;
    chip->apic_bus_ns = 1;
    if (timers_init(&chip->timers)) {
        free(chip);
        return NULL;
    }
    pthread_mutex_init(&chip->lock, NULL);
    return chip;
}

void irqchip_free(struct irqchip *chip)
{
    if (!chip)
        return;
    timers_destroy(chip);
    free(chip->pit);
    routing_free(&chip->routing);
    free(chip->lapics);
    pthread_mutex_destroy(&chip->lock);
    free(chip);
}

int irqchip_create(struct irqchip *chip)
{
    int ret = -EEXIST;

    pthread_mutex_lock(&chip->lock);
    if (!chip->present) {
        pic_reset(&chip->pic);
        ioapic_reset(&chip->ioapic);
        ret = routing_set_default(chip);
        chip->present = ret == 0;
    }
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

int irqchip_create_split(struct irqchip *chip, uint64_t reserved_gsis)
{
    int ret = -EEXIST;

    if (reserved_gsis > MAX_ROUTES)
        return -EINVAL;
    pthread_mutex_lock(&chip->lock);
    if (!chip->present) {
        ret = routing_set_empty(chip);
        chip->present = chip->split = ret == 0;
        chip->reserved_gsis = reserved_gsis;
    }
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

bool irqchip_is_split(struct irqchip *chip)
{
    bool split;

    pthread_mutex_lock(&chip->lock);
    split = chip->split;
    pthread_mutex_unlock(&chip->lock);
    return split;
}

/* PICs and I/O APIC are here. */
static bool has_pics(const struct irqchip *chip)
{
    return chip->present && !chip->split;
}

bool irqchip_present(struct irqchip *chip)
{
    bool present;

    pthread_mutex_lock(&chip->lock);
    present = chip->present;
    pthread_mutex_unlock(&chip->lock);
    return present;
}

static int create_pit(struct irqchip *chip, uint32_t config)
{
    int ret;

    if (chip->pit)
        return -EEXIST;
    if (!has_pics(chip))
        return -ENOENT;
    ret = timers_reserve(chip);
    if (ret)
        return ret;
    chip->pit = pit_new(chip, config);
    if (!chip->pit) {
        timers_unreserve(chip);
        return -ENOMEM;
    }
    return 0;
}

int irqchip_create_pit(struct irqchip *chip, const struct kvm_pit_config *config)
{
    int ret = -EINVAL;

    pthread_mutex_lock(&chip->lock);
    if (!(config->flags & ~KVM_PIT_SPEAKER_DUMMY))
        ret = create_pit(chip, config->flags);
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

int irqchip_set_pit_reinject(struct irqchip *chip, bool reinject)
{
    int ret = -ENXIO;

    pthread_mutex_lock(&chip->lock);
    if (chip->pit) {
        chip->pit->reinject = reinject;
        chip->pit->missed = 0;
        ret = 0;
    }
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

void irqchip_set_x2apic_api(struct irqchip *chip, bool ids_32bit, bool no_broadcast_quirk)
{
    pthread_mutex_lock(&chip->lock);
    chip->x2apic_format |= ids_32bit;
    chip->no_broadcast_quirk |= no_broadcast_quirk;
    pthread_mutex_unlock(&chip->lock);
}

int irqchip_set_apic_bus_ns(struct irqchip *chip, uint64_t ns)
{
    const uint64_t longest = (uint64_t)UINT32_MAX * 128;        /* count and divider */
    int ret = -ENXIO;

    if (!ns || ns > UINT64_MAX / longest)
        return -EINVAL;
    pthread_mutex_lock(&chip->lock);
    if (chip->present) {
        chip->apic_bus_ns = ns;
        ret = 0;
    }
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

static int set_line(struct irqchip *chip, uint32_t gsi, enum irq_source source, bool level)
{
    int ret = -1;

    pthread_mutex_lock(&chip->lock);
    if (chip->present) {
        chip->resampled |= source == SOURCE_RESAMPLE;
        ret = routing_set_line(chip, gsi, source, level);
    }
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

int irqchip_set_line(struct irqchip *chip, uint32_t gsi, bool level)
{
    return set_line(chip, gsi, SOURCE_USER, level);
}

int irqchip_set_resample_line(struct irqchip *chip, uint32_t gsi, bool level)
{
    return set_line(chip, gsi, SOURCE_RESAMPLE, level);
}

int irqchip_get_state(struct irqchip *chip, struct kvm_irqchip *state)
{
    int ret = 0;

    pthread_mutex_lock(&chip->lock);
    if (!has_pics(chip))
        ret = -ENXIO;
    else if (state->chip_id == KVM_IRQCHIP_IOAPIC)
        ioapic_get_state(chip, &state->chip.ioapic);
    else if (state->chip_id <= KVM_IRQCHIP_PIC_SLAVE)
        state->chip.pic = chip->pic.chip[state->chip_id];
    else
        ret = -EINVAL;
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

int irqchip_set_state(struct irqchip *chip, const struct kvm_irqchip *state)
{
    int ret = 0;

    pthread_mutex_lock(&chip->lock);
    if (!has_pics(chip))
        ret = -ENXIO;
    else if (state->chip_id == KVM_IRQCHIP_IOAPIC)
        ioapic_set_state(chip, &state->chip.ioapic);
    else if (state->chip_id <= KVM_IRQCHIP_PIC_SLAVE)
        pic_set_state(chip, state->chip_id, &state->chip.pic);
    else
        ret = -EINVAL;
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

int irqchip_get_pit(struct irqchip *chip, struct kvm_pit_state2 *state)
{
    int ret = -ENXIO;

    pthread_mutex_lock(&chip->lock);
    if (chip->pit) {
        pit_get_state(chip->pit, state);
        ret = 0;
    }
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

int irqchip_set_pit(struct irqchip *chip, const struct kvm_pit_state2 *state)
{
    int ret = -ENXIO;

    pthread_mutex_lock(&chip->lock);
    if (chip->pit)
        ret = pit_set_state(chip->pit, state);
    pthread_mutex_unlock(&chip->lock);
    return ret;
}

static bool is_pic_port(uint16_t port)
{
    return (port & ~0x81) == 0x20 || (port & ~1) == 0x4d0;
}

/* The devices are 8 bits wide; as in KVM, a wider access to a PIC is lost. */
static bool pio(struct irqchip *chip, uint16_t port, uint8_t *value, unsigned size, bool write)
{
    if (!has_pics(chip))
        return false;
    if (is_pic_port(port))
        return size == 1 ? pic_pio(chip, port, value, write) : true;
    return chip->pit && pit_pio(chip->pit, port, value, write);
}

bool irqchip_pio(struct irqchip *chip, uint16_t port, void *data, unsigned size, bool write)
{
    uint8_t value = 0;
    bool done;

    /* Whose port it is never changes once there is an irqchip: spare the rest the lock. */
    if (!is_pic_port(port) && (port < 0x40 || port > 0x43) && port != 0x61)
        return false;
    if (write)
        memcpy(&value, data, 1);
    pthread_mutex_lock(&chip->lock);
    done = pio(chip, port, &value, size, write);
    pthread_mutex_unlock(&chip->lock);
    if (done && !write) {
        memset(data, 0, size);
        memcpy(data, &value, 1);
    }
    return done;
}

/* Registers are 32 bits wide at multiples of 16; narrower accesses see the low bytes. */
bool irqchip_mmio(struct irqchip *chip, uint64_t gpa, void *data, unsigned size, bool write)
{
    uint32_t value = 0;
    unsigned bytes = size < sizeof(value) ? size : sizeof(value);
    bool inside;

    pthread_mutex_lock(&chip->lock);
    inside = has_pics(chip) && gpa - chip->ioapic.base < IOAPIC_WINDOW;
    if (inside && write) {
        memcpy(&value, data, bytes);
        ioapic_write(chip, gpa - chip->ioapic.base, value);
    } else if (inside) {
        value = ioapic_read(chip, gpa - chip->ioapic.base);
        memset(data, 0, size);
        memcpy(data, &value, bytes);
    }
    pthread_mutex_unlock(&chip->lock);
    return inside;
}
