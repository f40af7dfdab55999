/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The local APIC's timer: one-shot, periodic, TSC deadline.
 * Source: SDM vol. 3, 11.5.4.  Its bus clock is KVM's: 1 GHz, one tick a
 * nanosecond before the divider, unless user space says otherwise.
 */
#include "irqchip_internal.h"

#include <stddef.h>

static uint32_t mode(const struct lapic *lapic)
{
    return lapic->regs[REG_LVT_TIMER] & LVT_TIMER_MODE;
}

/* Divide configuration, bits 3,1,0: 2, 4 ... 128, then 1. */
static unsigned divide_shift(const struct lapic *lapic)
{
    uint32_t value = lapic->regs[REG_TIMER_DIVIDE];

    return (((value & 3) | ((value & 8) >> 1)) + 1) & 7;
}

static uint64_t ticks_to_ns(const struct lapic *lapic, uint32_t ticks)
{
    return ((uint64_t)ticks << divide_shift(lapic)) * lapic->chip->apic_bus_ns;
}

/* Ticks of the guest's TSC until the deadline. Wraps like the register. */
static int64_t deadline_distance(const struct lapic *lapic)
{
    return (int64_t)(lapic->tsc_deadline - lapic->tsc_offset -
                     timers_ticks(lapic->chip, lapic->tsc_khz));
}

/* One that has passed fires at once: before the guest's next instruction. */
static void arm_deadline(struct lapic *lapic)
{
    int64_t cycles = deadline_distance(lapic);
    unsigned __int128 ns;

    timer_cancel(lapic->chip, &lapic->timer);
    if (!lapic->tsc_deadline || !lapic->tsc_khz)
        return;
    if (cycles <= 0) {
        lapic->tsc_deadline = 0;
        lapic_local(lapic, REG_LVT_TIMER);
        return;
    }
    /* Rounded up: the guest must not find its TSC before the deadline. */
    ns = (unsigned __int128)cycles * 1000000 / lapic->tsc_khz + 1;
    timer_arm(lapic->chip, &lapic->timer,
              timers_now(lapic->chip) + (ns > INT64_MAX ? INT64_MAX : (uint64_t)ns));
}

static void timer_fire(struct irq_timer *timer, uint64_t now)
{
    struct lapic *lapic = (struct lapic *)((char *)timer - offsetof(struct lapic, timer));

    if (mode(lapic) == LVT_TIMER_DEADLINE) {
        /* The clocks may differ by some ppm, which a long wait adds up: it may be too early. */
        arm_deadline(lapic);
        return;
    }
    if (mode(lapic) == LVT_TIMER_PERIODIC && lapic->period) {
        /* Late by whole periods: those are lost, as the request bit would have been set. */
        uint64_t missed = (now - timer->deadline) / lapic->period;

        timer_arm(lapic->chip, timer, timer->deadline + (missed + 1) * lapic->period);
    }
    lapic_local(lapic, REG_LVT_TIMER);
}

void lapic_timer_init(struct lapic *lapic)
{
    lapic->timer.slot = -1;
    lapic->timer.fire = timer_fire;
}

void lapic_timer_stop(struct lapic *lapic)
{
    timer_cancel(lapic->chip, &lapic->timer);
    lapic->period = 0;
    lapic->tsc_deadline = 0;
}

static void set_period(struct lapic *lapic)
{
    lapic->period = ticks_to_ns(lapic, lapic->regs[REG_TIMER_INITIAL]);
    if (mode(lapic) == LVT_TIMER_PERIODIC && lapic->period && lapic->period < MIN_PERIOD_NS)
        lapic->period = MIN_PERIOD_NS;
}

void lapic_timer_start(struct lapic *lapic, uint32_t count)
{
    uint64_t first;

    lapic_timer_stop(lapic);
    if (mode(lapic) == LVT_TIMER_DEADLINE || !count)
        return;
    set_period(lapic);
    first = ticks_to_ns(lapic, count);
    if (mode(lapic) == LVT_TIMER_PERIODIC && count == lapic->regs[REG_TIMER_INITIAL])
        first = lapic->period;
    /* With a slow bus clock it may be centuries. */
    if (first > INT64_MAX)
        first = INT64_MAX;
    timer_arm(lapic->chip, &lapic->timer, timers_now(lapic->chip) + first);
}

uint32_t lapic_timer_current(const struct lapic *lapic)
{
    uint64_t now = timers_now(lapic->chip), left;

    if (lapic->timer.slot < 0 || mode(lapic) == LVT_TIMER_DEADLINE)
        return 0;
    if (lapic->timer.deadline > now)
        left = lapic->timer.deadline - now;
    else if (mode(lapic) == LVT_TIMER_PERIODIC && lapic->period)
        left = lapic->period - (now - lapic->timer.deadline) % lapic->period;
    else
        left = 0;
    return (uint32_t)(left / lapic->chip->apic_bus_ns >> divide_shift(lapic));
}

void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value)
{
    uint32_t old_mode = mode(lapic);

    lapic->regs[REG_LVT_TIMER] = value;
    if (old_mode == mode(lapic))
        return;
    /* Into or out of TSC deadline mode: the timer is disarmed (11.5.4.1). */
    if (old_mode == LVT_TIMER_DEADLINE || mode(lapic) == LVT_TIMER_DEADLINE) {
        lapic_timer_stop(lapic);
        lapic->regs[REG_TIMER_INITIAL] = 0;
    } else {
        set_period(lapic);
    }
}

/* The count goes on from where it is, at the new speed. */
void lapic_timer_set_divide(struct lapic *lapic, uint32_t value)
{
    uint32_t left = lapic_timer_current(lapic);

    lapic->regs[REG_TIMER_DIVIDE] = value;
    if (lapic->timer.slot >= 0 && mode(lapic) != LVT_TIMER_DEADLINE)
        lapic_timer_start(lapic, left ? left : 1);
}

void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc)
{
    if (mode(lapic) != LVT_TIMER_DEADLINE)
        return;
    lapic->tsc_deadline = tsc;
    arm_deadline(lapic);
}

void lapic_set_tsc_scale(struct lapic *lapic, uint64_t tsc_offset, uint32_t tsc_khz)
{
    pthread_mutex_lock(&lapic->chip->lock);
    lapic->tsc_offset = tsc_offset;
    lapic->tsc_khz = tsc_khz;
    if (mode(lapic) == LVT_TIMER_DEADLINE && lapic->tsc_deadline)
        arm_deadline(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
}
