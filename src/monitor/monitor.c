/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitors that there are, and what goes to all of them. */
#include "command.h"

struct monitor {
    struct qmp_session *qmp;    /* one of the two */
    struct hmp_session *hmp;
};

static GPtrArray *monitors;

static void deliver_event(struct json_object *event)
{
    for (guint i = 0; monitors && i < monitors->len; i++) {
        struct monitor *mon = g_ptr_array_index(monitors, i);

        if (mon->qmp)
            qmp_event(mon->qmp, event);
    }
}

struct monitor *monitor_new(struct chardev *chr, enum monitor_mode mode,
                            const struct monitor_vm *vm, GError **error)
{
    struct monitor *mon = g_new0(struct monitor, 1);

    if (!event_setup(deliver_event, error)) {
        g_free(mon);
        return NULL;
    }
    if (mode == MONITOR_HMP)
        mon->hmp = hmp_session_new(chr, vm, error);
    else
        mon->qmp = qmp_session_new(chr, mode == MONITOR_QMP_PRETTY, vm, error);
    if (!mon->hmp && !mon->qmp) {
        g_free(mon);
        return NULL;
    }
    if (!monitors)
        monitors = g_ptr_array_new();
    g_ptr_array_add(monitors, mon);
    return mon;
}

void monitor_free(struct monitor *mon)
{
    if (!mon)
        return;
    g_ptr_array_remove(monitors, mon);
    qmp_session_free(mon->qmp);
    hmp_session_free(mon->hmp);
    g_free(mon);
}

void monitor_free_all(void)
{
    conversion_events_stop();
    dump_cancel();
    event_shutdown();
    while (monitors && monitors->len)
        monitor_free(g_ptr_array_index(monitors, monitors->len - 1));
    g_clear_pointer(&monitors, g_ptr_array_unref);
}
