/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands about conversions: the history, and an event for who wants to follow it.
 * The event is made by a timer that looks whether there are new ones, so that
 * nobody who converts waits for it, however many they are.
 */
#include "command.h"

#include "error.h"
#include "history.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { DEFAULT_LIMIT = 64, DEFAULT_INTERVAL_MS = 1000, MIN_INTERVAL_MS = 100 };

static const struct schema_type type_cause = SCHEMA_ENUM_OF(
    "host", "memory-fault", "hypercall", "launch", "reset", "unplug",
    "debug");
static const struct schema_type type_state = SCHEMA_ENUM_OF("private", "shared");
const struct schema_type type_conversion = SCHEMA_OBJECT_OF(
    { "serial", &schema_int }, { "time-us", &schema_int }, { "duration-ns", &schema_int },
    { "vcpu", &schema_int, true }, { "rip", &schema_uint, true }, { "gpa", &schema_uint },
    { "size", &schema_uint }, { "to", &type_state }, { "pages", &schema_int },
    { "cause", &type_cause }, { "ok", &schema_bool }, { "error", &schema_str, true },
    { "failed-gpa", &schema_uint, true });
static const struct schema_type type_conversions = SCHEMA_ARRAY_OF(&type_conversion);
static const struct schema_type args_conversions = SCHEMA_OBJECT_OF(
    { "limit", &schema_int, true, .flag = 'n' }, { "since", &schema_int, true, .flag = 's' });
static const struct schema_type args_convert = SCHEMA_OBJECT_OF(
    { "gpa", &schema_int }, { "size", &schema_int }, { "to", &type_state });
static const struct schema_type args_events = SCHEMA_OBJECT_OF(
    { "enable", &schema_bool }, { "interval", &schema_int, true });

/* --- Converting from outside --- */

/* The VMM's own conversion, for guests that don't know how to ask, and for tests. */
static bool run_convert(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    uint64_t failed = (uint64_t)json_int(args, "gpa", 0);
    int result;

    if (ctx->vm->kvm->regime == KVM_ATTRIBUTES_ENCRYPTED) {
        error_set(error, "a guest with SEV encrypts or shares a page by its own page tables: only "
                  "it can convert memory");
        return false;
    }
    result = memory_convert(ctx->vm->memory, failed, (uint64_t)json_int(args, "size", 0),
                            strcmp(json_text(args, "to"), "private") == 0, &failed);
    if (result)
        error_set_errno(error, result, "cannot convert memory at 0x%" PRIx64, failed);
    return result == 0;
}

/* --- History --- */

static struct json_object *describe(const struct conversion_record *r)
{
    struct json_object *entry = json_object_new_object();

    json_set_uint(entry, "serial", r->serial);
    json_set_uint(entry, "time-us", (uint64_t)r->time_us);
    json_set_uint(entry, "duration-ns", r->duration_ns);
    if (r->origin.vcpu >= 0)
        json_set_uint(entry, "vcpu", (uint64_t)r->origin.vcpu);
    if (r->origin.rip_known)
        json_set_uint(entry, "rip", r->origin.rip);
    json_set_uint(entry, "gpa", r->gpa);
    json_set_uint(entry, "size", r->size);
    json_set_text(entry, "to", r->to_private ? "private" : "shared");
    json_set_uint(entry, "pages", r->pages);
    json_set_text(entry, "cause", conversion_cause_name(r->origin.cause));
    json_set_bool(entry, "ok", r->result == 0);
    if (r->result) {
        json_set_text(entry, "error", g_strerror(-r->result));
        json_set_uint(entry, "failed-gpa", r->failed_gpa);
    }
    return entry;
}

static bool run_conversions(const struct monitor_ctx *ctx, struct json_object *args,
                            struct json_object **ret, GError **error)
{
    int64_t limit = json_int(args, "limit", DEFAULT_LIMIT), since = json_int(args, "since", 0);
    g_autoptr(GArray) records = NULL;

    if (limit < 1 || since < 0) {
        error_set(error, "Parameter '%s' expects a number of at least %d",
                  limit < 1 ? "limit" : "since", limit < 1);
        return false;
    }
    records = memory_conversions(ctx->vm->memory, (uint64_t)since, (size_t)limit, NULL);
    *ret = json_object_new_array();
    for (guint i = 0; i < records->len; i++)
        json_object_array_add(*ret, describe(&g_array_index(records, struct conversion_record, i)));
    return true;
}

static void print_time(int64_t time_us, GString *out)
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm tm;
    char text[32];

    localtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%H:%M:%S", &tm);
    g_string_append_printf(out, "%s.%06d", text, (int)(time_us % 1000000));
}

/* All 64 bits. */
static uint64_t address(struct json_object *r, const char *member)
{
    struct json_object *value;

    return json_object_object_get_ex(r, member, &value) ? json_object_get_uint64(value) : 0;
}

static void print_conversion(struct json_object *r, GString *out)
{
    g_string_append_printf(out, "%6" PRId64 " ", json_int(r, "serial", 0));
    print_time(json_int(r, "time-us", 0), out);
    g_string_append_printf(out, " 0x%016" PRIx64 "+0x%" PRIx64 " to %s, %" PRId64 " pages, %s",
                           address(r, "gpa"), address(r, "size"),
                           json_text(r, "to"), json_int(r, "pages", 0), json_text(r, "cause"));
    if (json_object_object_get_ex(r, "vcpu", NULL))
        g_string_append_printf(out, ", CPU %" PRId64, json_int(r, "vcpu", 0));
    if (json_object_object_get_ex(r, "rip", NULL))
        g_string_append_printf(out, " at 0x%" PRIx64, address(r, "rip"));
    if (json_flag(r, "ok"))
        g_string_append_printf(out, ": %" PRId64 " us\n", json_int(r, "duration-ns", 0) / 1000);
    else
        g_string_append_printf(out, ": failed at 0x%" PRIx64 ": %s\n",
                               address(r, "failed-gpa"), json_text(r, "error"));
}

static void print_conversions(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++)
        print_conversion(json_object_array_get_idx(ret, i), out);
}

/* --- Events --- */

static struct {
    guint timer;                /* 0: nobody wants them */
    struct memory *memory;
    uint64_t seen;              /* serial of the last one that was reported or is old */
} follow;

static gboolean look_for_new_ones(gpointer data)
{
    g_autoptr(GArray) newest = NULL;
    struct json_object *event;
    uint64_t last;

    newest = memory_conversions(follow.memory, follow.seen, 1, &last);
    if (!newest->len)
        return G_SOURCE_CONTINUE;
    event = json_object_new_object();
    json_set_uint(event, "count", last - follow.seen);
    json_object_object_add(event, "last",
                           describe(&g_array_index(newest, struct conversion_record, 0)));
    follow.seen = last;
    monitor_event("MEMORY_CONVERSIONS", event);
    return G_SOURCE_CONTINUE;
}

void conversion_events_stop(void)
{
    if (follow.timer)
        g_source_remove(follow.timer);
    follow.timer = 0;
}

static bool run_events(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    int64_t interval = json_int(args, "interval", DEFAULT_INTERVAL_MS);

    if (interval < MIN_INTERVAL_MS || interval > INT32_MAX) {
        error_set(error, "Parameter 'interval' expects milliseconds, at least %d",
                  MIN_INTERVAL_MS);
        return false;
    }
    conversion_events_stop();
    if (!json_flag(args, "enable"))
        return true;
    follow.memory = ctx->vm->memory;
    g_array_unref(memory_conversions(follow.memory, 0, 0, &follow.seen));
    follow.timer = g_timeout_add((guint)interval, look_for_new_ones, NULL);
    return true;
}

const struct command commands_conversions[] = {
    { .qmp = "x-query-conversions", .hmp = "info conversions", .args = &args_conversions,
      .ret = &type_conversions, .params = "[-n limit] [-s since]",
      .help = "the last changes of memory between private and shared",
      .run = run_conversions, .print = print_conversions },
    { .qmp = "x-convert-memory", .hmp = "convert_memory", .args = &args_convert,
      .params = "gpa size private|shared",
      .help = "make a range of guest memory private or shared, whatever the guest makes of it",
      .run = run_convert },
    { .qmp = "x-set-conversion-events", .hmp = "conversion_events", .args = &args_events,
      .params = "on|off [interval]",
      .help = "report conversions by events, at most one every interval milliseconds",
      .run = run_events },
    { NULL },
};
