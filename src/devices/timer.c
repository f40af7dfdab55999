/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A timer is a GSource of its own: g_source_set_ready_time() may be called from any thread. */
#include "timer.h"

#include <glib.h>

struct timer {
    GSource source;             /* first: GLib allocates and counts it */
    void (*expired)(void *opaque);
    void *opaque;
};

static gboolean timer_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    struct timer *timer = (struct timer *)source;

    g_source_set_ready_time(source, -1);
    timer->expired(timer->opaque);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs timer_funcs = { .dispatch = timer_dispatch };

struct timer *timer_new(void (*expired)(void *opaque), void *opaque)
{
    struct timer *timer = (struct timer *)g_source_new(&timer_funcs, sizeof(*timer));

    timer->expired = expired;
    timer->opaque = opaque;
    g_source_set_ready_time(&timer->source, -1);
    g_source_attach(&timer->source, NULL);
    return timer;
}

void timer_free(struct timer *timer)
{
    if (!timer)
        return;
    g_source_destroy(&timer->source);
    g_source_unref(&timer->source);
}

void timer_arm(struct timer *timer, int64_t deadline_us)
{
    g_source_set_ready_time(&timer->source, deadline_us);
}

void timer_cancel(struct timer *timer)
{
    g_source_set_ready_time(&timer->source, -1);
}
