/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A timer is a GSource of its own: g_source_set_ready_time() may be called from any thread. */
#include "main_timer.h"

#include <glib.h>

struct main_timer {
    GSource source;             /* first: GLib allocates and counts it */
    void (*expired)(void *opaque);
    void *opaque;
};

static gboolean main_timer_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    struct main_timer *timer = (struct main_timer *)source;

    g_source_set_ready_time(source, -1);
    timer->expired(timer->opaque);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs main_timer_funcs = { .dispatch = main_timer_dispatch };

struct main_timer *main_timer_new(void (*expired)(void *opaque), void *opaque)
{
    struct main_timer *timer = (struct main_timer *)g_source_new(&main_timer_funcs, sizeof(*timer));

    timer->expired = expired;
    timer->opaque = opaque;
    g_source_set_ready_time(&timer->source, -1);
    g_source_attach(&timer->source, NULL);
    return timer;
}

void main_timer_free(struct main_timer *timer)
{
    if (!timer)
        return;
    g_source_destroy(&timer->source);
    g_source_unref(&timer->source);
}

void main_timer_arm(struct main_timer *timer, int64_t deadline_us)
{
    g_source_set_ready_time(&timer->source, deadline_us);
}

void main_timer_cancel(struct main_timer *timer)
{
    g_source_set_ready_time(&timer->source, -1);
}
