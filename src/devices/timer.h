/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One-shot timers on the main loop.  Armed and cancelled from any thread; the
 * callback runs on the main thread without locks, so it takes the machine lock
 * and looks again whether there is something to do.
 */
#ifndef DEVICES_TIMER_H
#define DEVICES_TIMER_H

#include <stdint.h>

struct timer;

struct timer *timer_new(void (*expired)(void *opaque), void *opaque);
/* Main thread; the callback doesn't run any more. NULL is fine. */
void timer_free(struct timer *timer);
/* At this time of g_get_monotonic_time() (microseconds), once; replaces what was armed. */
void timer_arm(struct timer *timer, int64_t deadline_us);
void timer_cancel(struct timer *timer);

#endif
