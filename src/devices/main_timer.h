/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One-shot timers on the main loop.  Armed and cancelled from any thread; the
 * callback runs on the main thread without locks, so it takes the machine lock
 * and looks again whether there is something to do.
 */
#ifndef DEVICES_MAIN_TIMER_H
#define DEVICES_MAIN_TIMER_H

#include <stdint.h>

struct main_timer;

struct main_timer *main_timer_new(void (*expired)(void *opaque), void *opaque);
/* Main thread; the callback doesn't run any more. NULL is fine. */
void main_timer_free(struct main_timer *timer);
/* At this time of g_get_monotonic_time() (microseconds), once; replaces what was armed. */
void main_timer_arm(struct main_timer *timer, int64_t deadline_us);
void main_timer_cancel(struct main_timer *timer);

#endif
