/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QMP events: made on any thread, in one order, delivered on the main thread.
 * Shape: docs/interop/qmp-spec.rst of QEMU, "Asynchronous events".
 */
#include "command.h"

#include "error.h"

#include <errno.h>
#include <glib-unix.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Reasons of SHUTDOWN and RESET, QEMU's ShutdownCause. */
static const struct schema_type type_cause = SCHEMA_ENUM_OF(
    "none", "host-error", "host-qmp-quit", "host-qmp-system-reset", "host-signal", "host-ui",
    "guest-shutdown", "guest-reset", "guest-panic", "subsystem-reset", "snapshot-load");
static const struct schema_type type_cause_data = SCHEMA_OBJECT_OF(
    { "guest", &schema_bool }, { "reason", &type_cause });
static const struct schema_type type_panic_action = SCHEMA_ENUM_OF("pause", "poweroff", "run");
static const struct schema_type type_panic_data = SCHEMA_OBJECT_OF(
    { "action", &type_panic_action });

static const struct schema_type type_deleted_data = SCHEMA_OBJECT_OF(
    { "device", &schema_str, true }, { "path", &schema_str });

static const struct schema_type type_conversions_data = SCHEMA_OBJECT_OF(
    { "count", &schema_int }, { "last", &type_conversion });

static const struct schema_type type_size_change_data = SCHEMA_OBJECT_OF(
    { "id", &schema_str, true }, { "size", &schema_int }, { "qom-path", &schema_str });

static const struct schema_type type_dump_data = SCHEMA_OBJECT_OF(
    { "result", &type_dump_result }, { "error", &schema_str, true });

const struct event_type event_types[] = {
    { "SHUTDOWN", &type_cause_data },
    { "RESET", &type_cause_data },
    { "STOP" },
    { "RESUME" },
    { "POWERDOWN" },
    { "GUEST_PANICKED", &type_panic_data },
    { "MEMORY_CONVERSIONS", &type_conversions_data },
    { "DEVICE_DELETED", &type_deleted_data },
    { "MEMORY_DEVICE_SIZE_CHANGE", &type_size_change_data, "qom-path" },
    { "DUMP_COMPLETED", &type_dump_data },
    { NULL },
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static GQueue queue = G_QUEUE_INIT;     /* struct json_object *, under lock */
static bool in_use;                     /* under lock: somebody may want events */
static pthread_t main_thread;
static int wake_fd = -1;
static guint wake_tag;
static void (*deliver_fn)(struct json_object *event);

static const struct event_type *find_type(const char *name)
{
    const struct event_type *type = event_types;

    while (type->name && strcmp(type->name, name) != 0)
        type++;
    return type->name ? type : NULL;
}

static struct json_object *event_new(const char *name, struct json_object *data)
{
    struct json_object *event = json_object_new_object(), *stamp = json_object_new_object();
    struct timespec now = { -1, -1000 };

    clock_gettime(CLOCK_REALTIME, &now);
    json_object_object_add(stamp, "seconds", json_object_new_int64(now.tv_sec));
    json_object_object_add(stamp, "microseconds", json_object_new_int64(now.tv_nsec / 1000));
    json_object_object_add(event, "timestamp", stamp);
    json_object_object_add(event, "event", json_object_new_string(name));
    if (data)
        json_object_object_add(event, "data", data);
    return event;
}

/* --- Throttled events. Main thread. --- */

enum { THROTTLE_MS = 1000 };

/* One was sent less than a second ago: the last that came since waits. */
struct throttle {
    char *key;                  /* event and value */
    guint tag;
    struct json_object *waiting;        /* NULL: none */
};

static GHashTable *throttles;   /* key to struct throttle; NULL: none yet */

static void throttle_free(void *opaque)
{
    struct throttle *throttle = opaque;

    if (throttle->tag)
        g_source_remove(throttle->tag);
    json_object_put(throttle->waiting);
    g_free(throttle->key);
    g_free(throttle);
}

static gboolean throttle_expired(gpointer opaque)
{
    struct throttle *throttle = opaque;
    struct json_object *event = throttle->waiting;

    if (event) {
        throttle->waiting = NULL;
        deliver_fn(event);
        json_object_put(event);
        return G_SOURCE_CONTINUE;
    }
    throttle->tag = 0;
    g_hash_table_remove(throttles, throttle->key);
    return G_SOURCE_REMOVE;
}

/* Whether the event has to wait; it is then kept. */
static bool throttled(struct json_object *event)
{
    const struct event_type *type = find_type(json_text(event, "event"));
    struct json_object *data = NULL;
    struct throttle *throttle;
    g_autofree char *key = NULL;

    if (!type || !type->throttled_by)
        return false;
    json_object_object_get_ex(event, "data", &data);
    key = g_strdup_printf("%s %s", type->name, json_text(data, type->throttled_by));
    if (!throttles)
        throttles = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, throttle_free);
    throttle = g_hash_table_lookup(throttles, key);
    if (throttle) {
        json_object_put(throttle->waiting);
        throttle->waiting = json_object_get(event);
        return true;
    }
    throttle = g_new0(struct throttle, 1);
    throttle->key = g_steal_pointer(&key);
    throttle->tag = g_timeout_add(THROTTLE_MS, throttle_expired, throttle);
    g_hash_table_insert(throttles, throttle->key, throttle);
    return false;
}

/* --- The queue --- */

static struct json_object *queue_take(void)
{
    struct json_object *event;

    pthread_mutex_lock(&lock);
    event = g_queue_pop_head(&queue);
    pthread_mutex_unlock(&lock);
    return event;
}

void event_flush(void)
{
    struct json_object *event;

    while ((event = queue_take())) {
        if (!throttled(event))
            deliver_fn(event);
        json_object_put(event);
    }
}

void monitor_event(const char *name, struct json_object *data)
{
    const struct event_type *type = find_type(name);
    uint64_t one = 1;
    bool wanted, here;

    if (!type) {
        g_printerr("cloister: monitor: no event '%s'\n", name);
        json_object_put(data);
        return;
    }
    /* The time stamp is taken inside the lock: the order is that of the stamps. */
    pthread_mutex_lock(&lock);
    wanted = in_use;
    /* One that may wait anyway is never delivered under its maker's locks. */
    here = wanted && !type->throttled_by && pthread_equal(main_thread, pthread_self());
    if (wanted)
        g_queue_push_tail(&queue, event_new(name, data));
    if (wanted && !here && write(wake_fd, &one, sizeof(one)) < 0)
        here = false;           /* the counter is full: the loop wakes anyway */
    pthread_mutex_unlock(&lock);
    if (!wanted)
        json_object_put(data);
    if (here)
        event_flush();
}

static gboolean woken(gint fd, GIOCondition condition, gpointer data)
{
    uint64_t count;

    if (read(fd, &count, sizeof(count)) > 0)
        event_flush();
    return G_SOURCE_CONTINUE;
}

bool event_setup(void (*deliver)(struct json_object *event), GError **error)
{
    if (wake_fd >= 0)
        return true;
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0) {
        error_set_errno(error, errno, "monitor: cannot create an eventfd");
        return false;
    }
    wake_tag = g_unix_fd_add(wake_fd, G_IO_IN, woken, NULL);
    pthread_mutex_lock(&lock);
    main_thread = pthread_self();
    deliver_fn = deliver;
    in_use = true;
    pthread_mutex_unlock(&lock);
    return true;
}

void event_shutdown(void)
{
    if (wake_fd < 0)
        return;
    event_flush();
    pthread_mutex_lock(&lock);
    in_use = false;
    pthread_mutex_unlock(&lock);
    event_flush();
    g_clear_pointer(&throttles, g_hash_table_unref);
    g_source_remove(wake_tag);
    close(wake_fd);
    wake_fd = -1;
}
