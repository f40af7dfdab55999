/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 8254 timer, its three channels, and port 0x61 around channel 2.
 * Source: Intel 8254 data sheet (231164); port 0x61: IBM PC/AT technical
 * reference.  The state is KVM's struct kvm_pit_channel_state.
 *
 * As in KVM: channel 0 raises its interrupt by the timer thread and not by its
 * output, in modes 0, 1 and 4 once and in modes 2 and 3 periodically; the gates of
 * channels 0 and 1 are always up.
 */
#include "irqchip_internal.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIT_HZ = 1193182,
    /* Ticks kept for a guest that can't take them in time; about a second's worth. */
    MAX_MISSED = 1000,
};

/* Access by bytes: the control word's bits 5:4, and the state after the first of two. */
enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_WORD, ACCESS_WORD_HIGH };

/* PIT clocks since the count was loaded. */
static uint64_t elapsed(const struct pit *pit, unsigned n)
{
    uint64_t ns = timers_now(pit->chip) - (uint64_t)pit->channel[n].count_load_time;

    return (uint64_t)((unsigned __int128)ns * PIT_HZ / NSEC_PER_SEC);
}

static uint64_t clocks_to_ns(uint64_t clocks)
{
    return clocks * NSEC_PER_SEC / PIT_HZ;
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
                      value / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint16_t value)
{
    return (value & 0xf) + (value >> 4 & 0xf) * 10 + (value >> 8 & 0xf) * 100 +
           (uint32_t)(value >> 12) * 1000;
}

static uint16_t current_count(const struct pit *pit, unsigned n)
{
    const struct kvm_pit_channel_state *c = &pit->channel[n];
    uint64_t clocks = elapsed(pit, n), left;

    switch (c->mode) {
    case 2:
        left = c->count - clocks % c->count;
        break;
    case 3:                     /* counts down by two, twice a period */
        left = c->count - 2 * clocks % c->count;
        break;
    default:                    /* goes on counting after the end */
        left = c->count - clocks;
        break;
    }
    return c->bcd ? to_bcd((uint32_t)(left % 10000)) : (uint16_t)left;
}

static bool output(const struct pit *pit, unsigned n)
{
    const struct kvm_pit_channel_state *c = &pit->channel[n];
    uint64_t clocks = elapsed(pit, n);

    switch (c->mode) {
    case 2:                     /* low for the last clock of each period */
        return clocks % c->count != c->count - 1;
    case 3:
        return clocks % c->count < (c->count + 1) / 2;
    case 4: case 5:             /* low for one clock at the end */
        return clocks != c->count;
    default:
        return clocks >= c->count;
    }
}

static void raise_irq0(struct pit *pit)
{
    struct irqchip *chip = pit->chip;
    int ret = routing_set_line(chip, PIT_GSI, SOURCE_PIT, true);

    routing_set_line(chip, PIT_GSI, SOURCE_PIT, false);
    /* 0: the last tick still waits, so this one is given again when that is taken. */
    if (ret == 0 && pit->reinject && pit->missed < MAX_MISSED)
        pit->missed++;
}

void pit_acked(struct pit *pit)
{
    if (!pit->missed)
        return;
    pit->missed--;
    raise_irq0(pit);
}

static void pit_fire(struct irq_timer *timer, uint64_t now)
{
    struct pit *pit = (struct pit *)((char *)timer - offsetof(struct pit, timer));

    if (pit->period) {
        uint64_t late = (now - timer->deadline) / pit->period;

        if (pit->reinject && late > 0)
            pit->missed = late < MAX_MISSED - pit->missed ? pit->missed + (unsigned)late
                                                          : MAX_MISSED;
        timer_arm(pit->chip, timer, timer->deadline + (late + 1) * pit->period);
    }
    raise_irq0(pit);
}

static void start_irq0(struct pit *pit)
{
    const struct kvm_pit_channel_state *c = &pit->channel[0];
    uint64_t ns = clocks_to_ns(c->count);

    timer_cancel(pit->chip, &pit->timer);
    pit->missed = 0;
    pit->period = 0;
    if ((pit->flags & KVM_PIT_FLAGS_HPET_LEGACY) || c->mode == 5)
        return;
    if (c->mode == 2 || c->mode == 3)
        pit->period = ns < MIN_PERIOD_NS ? MIN_PERIOD_NS : ns;
    timer_arm(pit->chip, &pit->timer, timers_now(pit->chip) + (pit->period ? pit->period : ns));
}

/* A count is complete: 0 stands for the largest. */
static void load(struct pit *pit, unsigned n, uint32_t value)
{
    struct kvm_pit_channel_state *c = &pit->channel[n];

    if (c->bcd)
        value = from_bcd((uint16_t)value);
    c->count = value ? value : (c->bcd ? 10000 : 0x10000);
    c->count_load_time = (int64_t)timers_now(pit->chip);
    if (n == 0)
        start_irq0(pit);
}

static void latch_count(struct pit *pit, unsigned n)
{
    struct kvm_pit_channel_state *c = &pit->channel[n];

    if (c->count_latched)
        return;
    c->latched_count = current_count(pit, n);
    c->count_latched = c->rw_mode;
}

static void latch_status(struct pit *pit, unsigned n)
{
    struct kvm_pit_channel_state *c = &pit->channel[n];

    if (c->status_latched)
        return;
    /* Bit 6, null count: a count is always in effect at once. */
    c->status = (uint8_t)(output(pit, n) << 7 | c->rw_mode << 4 | c->mode << 1 | c->bcd);
    c->status_latched = 1;
}

/* Read-back command: status and count of several channels, bits inverted. */
static void read_back(struct pit *pit, uint8_t value)
{
    for (unsigned n = 0; n < 3; n++) {
        if (!(value & (2 << n)))
            continue;
        if (!(value & 0x20))
            latch_count(pit, n);
        if (!(value & 0x10))
            latch_status(pit, n);
    }
}

static void write_control(struct pit *pit, uint8_t value)
{
    unsigned n = value >> 6, access = (value >> 4) & 3;
    struct kvm_pit_channel_state *c;

    if (n == 3) {
        read_back(pit, value);
        return;
    }
    c = &pit->channel[n];
    if (access == ACCESS_LATCH) {
        latch_count(pit, n);
        return;
    }
    c->rw_mode = c->read_state = c->write_state = access;
    c->mode = (value >> 1) & 7;
    if (c->mode > 5)
        c->mode -= 4;           /* bit 2 doesn't count in modes 2 and 3 */
    c->bcd = value & 1;
    c->count_latched = c->status_latched = 0;
    if (n == 0) {
        /* Nothing is counted until a count comes. */
        timer_cancel(pit->chip, &pit->timer);
        pit->missed = 0;
    }
}

static void write_count(struct pit *pit, unsigned n, uint8_t value)
{
    struct kvm_pit_channel_state *c = &pit->channel[n];

    switch (c->write_state) {
    case ACCESS_HIGH:
        load(pit, n, (uint32_t)value << 8);
        break;
    case ACCESS_WORD:
        c->write_latch = value;
        c->write_state = ACCESS_WORD_HIGH;
        break;
    case ACCESS_WORD_HIGH:
        c->write_state = ACCESS_WORD;
        load(pit, n, (uint32_t)value << 8 | c->write_latch);
        break;
    default:
        load(pit, n, value);
        break;
    }
}

static uint8_t read_latched(struct kvm_pit_channel_state *c)
{
    switch (c->count_latched) {
    case ACCESS_WORD:
        c->count_latched = ACCESS_HIGH;
        return c->latched_count & 0xff;
    case ACCESS_HIGH:
        c->count_latched = 0;
        return c->latched_count >> 8;
    default:
        c->count_latched = 0;
        return c->latched_count & 0xff;
    }
}

static uint8_t read_count(struct pit *pit, unsigned n)
{
    struct kvm_pit_channel_state *c = &pit->channel[n];
    uint16_t count;

    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    if (c->count_latched)
        return read_latched(c);
    count = current_count(pit, n);
    switch (c->read_state) {
    case ACCESS_HIGH:
        return count >> 8;
    case ACCESS_WORD:
        c->read_state = ACCESS_WORD_HIGH;
        return count & 0xff;
    case ACCESS_WORD_HIGH:
        c->read_state = ACCESS_WORD;
        return count >> 8;
    default:
        return count & 0xff;
    }
}

/* Port 0x61: bit 0 gate of channel 2, 1 speaker, 4 memory refresh, 5 channel 2's output. */
static void write_port61(struct pit *pit, uint8_t value)
{
    struct kvm_pit_channel_state *c = &pit->channel[2];
    bool gate = value & 1;

    pit->speaker_data = (value >> 1) & 1;
    /* A rising gate restarts the modes that look at it. */
    if (gate && !c->gate && c->mode != 0 && c->mode != 4)
        c->count_load_time = (int64_t)timers_now(pit->chip);
    c->gate = gate;
}

static uint8_t read_port61(struct pit *pit)
{
    /* The refresh request toggles about every 15 us. */
    uint8_t refresh = (timers_now(pit->chip) >> 14) & 1;

    return (uint8_t)(output(pit, 2) << 5 | refresh << 4 | pit->speaker_data << 1 |
                     pit->channel[2].gate);
}

bool pit_pio(struct pit *pit, uint16_t port, uint8_t *value, bool write)
{
    if (port == 0x61 && (pit->config & KVM_PIT_SPEAKER_DUMMY)) {
        if (write)
            write_port61(pit, *value);
        else
            *value = read_port61(pit);
        return true;
    }
    if (port < 0x40 || port > 0x43)
        return false;
    if (port == 0x43 && write)
        write_control(pit, *value);
    else if (port == 0x43)
        *value = 0;             /* the control word can't be read */
    else if (write)
        write_count(pit, port - 0x40, *value);
    else
        *value = read_count(pit, port - 0x40);
    return true;
}

struct pit *pit_new(struct irqchip *chip, uint32_t config)
{
    struct pit *pit = calloc(1, sizeof(*pit));

    if (!pit)
        return NULL;
    pit->chip = chip;
    pit->config = config;
    pit->reinject = true;
    pit->timer.slot = -1;
    pit->timer.fire = pit_fire;
    for (unsigned n = 0; n < 3; n++) {
        struct kvm_pit_channel_state *c = &pit->channel[n];

        c->mode = 3;
        c->gate = n != 2;
        c->rw_mode = c->read_state = c->write_state = ACCESS_WORD;
        c->count = 0x10000;
        c->count_load_time = (int64_t)timers_now(chip);
    }
    return pit;
}

void pit_get_state(struct pit *pit, struct kvm_pit_state2 *state)
{
    memset(state, 0, sizeof(*state));
    memcpy(state->channels, pit->channel, sizeof(state->channels));
    state->flags = pit->flags | (pit->speaker_data ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0);
}

/* Everything that is an index or a divisor later has to be in its range. */
static bool channel_is_valid(const struct kvm_pit_channel_state *c)
{
    return c->count <= 0x10000 && c->mode <= 5 && c->bcd <= 1 && c->gate <= 1 &&
           c->rw_mode <= ACCESS_WORD && c->count_latched <= ACCESS_WORD &&
           c->read_state <= ACCESS_WORD_HIGH && c->write_state <= ACCESS_WORD_HIGH;
}

int pit_set_state(struct pit *pit, const struct kvm_pit_state2 *state)
{
    for (unsigned n = 0; n < 3; n++) {
        if (!channel_is_valid(&state->channels[n]))
            return -EINVAL;
    }
    memcpy(pit->channel, state->channels, sizeof(pit->channel));
    pit->flags = state->flags & KVM_PIT_FLAGS_HPET_LEGACY;
    pit->speaker_data = state->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
    for (unsigned n = 0; n < 3; n++) {
        struct kvm_pit_channel_state *c = &pit->channel[n];

        /* Counting starts anew, as in KVM; its clock means nothing on another host. */
        if (!c->count)
            c->count = c->bcd ? 10000 : 0x10000;
        c->count_load_time = (int64_t)timers_now(pit->chip);
    }
    start_irq0(pit);
    return 0;
}
