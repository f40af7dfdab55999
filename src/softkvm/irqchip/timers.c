/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The timers of a VM: one min-heap ordered by deadline on CLOCK_MONOTONIC and
 * one thread that sleeps until the first of them.
 *
 * The thread holds chip->lock except while it sleeps, so firing needs no other
 * rule than the rest of the folder has.  It starts with the first timer that is
 * reserved and ends in timers_destroy().
 */
#include "host_ticks.h"
#include "irqchip_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

static void heap_place(struct irq_timers *timers, int slot, struct irq_timer *timer)
{
    timers->heap[slot] = timer;
    timer->slot = slot;
}

static void heap_up(struct irq_timers *timers, int slot)
{
    struct irq_timer *timer = timers->heap[slot];

    while (slot > 0 && timers->heap[(slot - 1) / 2]->deadline > timer->deadline) {
        heap_place(timers, slot, timers->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    heap_place(timers, slot, timer);
}

static void heap_down(struct irq_timers *timers, int slot)
{
    struct irq_timer *timer = timers->heap[slot];

    for (;;) {
        int child = 2 * slot + 1;

        if (child + 1 < timers->count &&
            timers->heap[child + 1]->deadline < timers->heap[child]->deadline)
            child++;
        if (child >= timers->count || timers->heap[child]->deadline >= timer->deadline)
            break;
        heap_place(timers, slot, timers->heap[child]);
        slot = child;
    }
    heap_place(timers, slot, timer);
}

static void heap_remove(struct irq_timers *timers, struct irq_timer *timer)
{
    int slot = timer->slot;
    struct irq_timer *last = timers->heap[--timers->count];

    timer->slot = -1;
    if (last == timer)
        return;
    heap_place(timers, slot, last);
    heap_up(timers, slot);
    heap_down(timers, last->slot);
}

uint64_t timers_now(const struct irqchip *chip)
{
    struct timespec now;

    if (chip->timers.manual)
        return chip->timers.manual_now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t timers_ticks(const struct irqchip *chip, uint32_t khz)
{
    if (chip->timers.manual)
        return (unsigned __int128)chip->timers.manual_now * khz / 1000000;
    return host_ticks_scale(host_ticks(), khz);
}

void timer_cancel(struct irqchip *chip, struct irq_timer *timer)
{
    if (timer->slot >= 0)
        heap_remove(&chip->timers, timer);
    /* The thread may wake for nothing; that is cheaper than waking it now. */
}

void timer_arm(struct irqchip *chip, struct irq_timer *timer, uint64_t deadline)
{
    struct irq_timers *timers = &chip->timers;

    timer_cancel(chip, timer);
    timer->deadline = deadline;
    heap_place(timers, timers->count++, timer);
    heap_up(timers, timer->slot);
    if (timers->running && deadline < timers->sleeping_until)
        pthread_cond_signal(&timers->changed);
}

static void run_expired(struct irqchip *chip)
{
    struct irq_timers *timers = &chip->timers;

    while (timers->count && timers->heap[0]->deadline <= timers_now(chip)) {
        struct irq_timer *timer = timers->heap[0];

        heap_remove(timers, timer);
        timer->fire(timer, timers_now(chip));
    }
}

static void sleep_until_next(struct irqchip *chip)
{
    struct irq_timers *timers = &chip->timers;
    uint64_t deadline = timers->count ? timers->heap[0]->deadline : TIMER_NEVER;
    struct timespec until = {
        .tv_sec = (time_t)(deadline / NSEC_PER_SEC),
        .tv_nsec = (long)(deadline % NSEC_PER_SEC),
    };

    timers->sleeping_until = deadline;
    if (deadline == TIMER_NEVER)
        pthread_cond_wait(&timers->changed, &chip->lock);
    else
        pthread_cond_timedwait(&timers->changed, &chip->lock, &until);
    timers->sleeping_until = 0;
}

static void *timer_thread(void *opaque)
{
    struct irqchip *chip = opaque;

    prctl(PR_SET_NAME, "softkvm-timer");
    prctl(PR_SET_TIMERSLACK, 1);        /* the default adds 50 us to every tick */
    pthread_mutex_lock(&chip->lock);
    while (!chip->timers.stop) {
        run_expired(chip);
        sleep_until_next(chip);
    }
    pthread_mutex_unlock(&chip->lock);
    return NULL;
}

/* Signals are for the threads that the program knows of. */
static int start_thread(struct irqchip *chip)
{
    struct irq_timers *timers = &chip->timers;
    sigset_t all, old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    ret = pthread_create(&timers->thread, NULL, timer_thread, chip);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    timers->running = ret == 0;
    return -ret;
}

int timers_reserve(struct irqchip *chip)
{
    struct irq_timers *timers = &chip->timers;

    if (!timers->running && !timers->manual) {
        int ret = start_thread(chip);

        if (ret)
            return ret;
    }
    if (timers->reserved == timers->capacity) {
        int capacity = timers->capacity ? 2 * timers->capacity : 8;
        void *heap = realloc(timers->heap, (size_t)capacity * sizeof(timers->heap[0]));

        if (!heap)
            return -ENOMEM;
        timers->heap = heap;
        timers->capacity = capacity;
    }
    timers->reserved++;
    return 0;
}

void timers_unreserve(struct irqchip *chip)
{
    chip->timers.reserved--;
}

int timers_init(struct irq_timers *timers)
{
    pthread_condattr_t attr;
    int ret = pthread_condattr_init(&attr);

    if (ret)
        return -ret;
    ret = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!ret)
        ret = pthread_cond_init(&timers->changed, &attr);
    pthread_condattr_destroy(&attr);
    return -ret;
}

void timers_destroy(struct irqchip *chip)
{
    struct irq_timers *timers = &chip->timers;

    if (timers->running) {
        pthread_mutex_lock(&chip->lock);
        timers->stop = true;
        pthread_cond_signal(&timers->changed);
        pthread_mutex_unlock(&chip->lock);
        pthread_join(timers->thread, NULL);
    }
    pthread_cond_destroy(&timers->changed);
    free(timers->heap);
}

void irqchip_set_manual_clock(struct irqchip *chip)
{
    chip->timers.manual = true;
}

void irqchip_advance_clock(struct irqchip *chip, uint64_t ns)
{
    struct irq_timers *timers = &chip->timers;
    uint64_t target;

    pthread_mutex_lock(&chip->lock);
    target = timers->manual_now + ns;
    /* Every timer sees the time at which it was due. */
    while (timers->count && timers->heap[0]->deadline <= target) {
        if (timers->heap[0]->deadline > timers->manual_now)
            timers->manual_now = timers->heap[0]->deadline;
        run_expired(chip);
    }
    timers->manual_now = target;
    pthread_mutex_unlock(&chip->lock);
}
