/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands about the monitor itself, its protocol, and the process. */
#include "command.h"

#include "chardev.h"
#include "error.h"

#include <string.h>

/* The QEMU whose protocol and commands these are; clients decide by it. */
enum { QEMU_MAJOR = 10, QEMU_MINOR = 2, QEMU_MICRO = 0 };

static const struct schema_type type_version_triple = SCHEMA_OBJECT_OF(
    { "major", &schema_int }, { "minor", &schema_int }, { "micro", &schema_int });
static const struct schema_type type_version = SCHEMA_OBJECT_OF(
    { "qemu", &type_version_triple }, { "package", &schema_str });
static const struct schema_type type_capability = SCHEMA_ENUM_OF("oob");
static const struct schema_type type_capabilities = SCHEMA_ARRAY_OF(&type_capability);
static const struct schema_type type_name = SCHEMA_OBJECT_OF({ "name", &schema_str });
static const struct schema_type type_names = SCHEMA_ARRAY_OF(&type_name);
static const struct schema_type type_vm_name = SCHEMA_OBJECT_OF({ "name", &schema_str, true });
static const struct schema_type type_uuid = SCHEMA_OBJECT_OF({ "UUID", &schema_str });
static const struct schema_type type_target = SCHEMA_OBJECT_OF({ "arch", &schema_str });
static const struct schema_type type_chardev = SCHEMA_OBJECT_OF(
    { "label", &schema_str }, { "filename", &schema_str }, { "frontend-open", &schema_bool });
static const struct schema_type type_chardevs = SCHEMA_ARRAY_OF(&type_chardev);
static const struct schema_type type_any_object = { .meta = SCHEMA_OBJECT, .open = true };
static const struct schema_type type_any_objects = SCHEMA_ARRAY_OF(&type_any_object);

static const struct schema_type args_capabilities = SCHEMA_OBJECT_OF(
    { "enable", &type_capabilities, true });
static const struct schema_type args_hmp = SCHEMA_OBJECT_OF(
    { "command-line", &schema_str }, { "cpu-index", &schema_int, true });
static const struct schema_type args_help = SCHEMA_OBJECT_OF(
    { "name", &schema_str, true, .rest = true });

static bool run_capabilities(const struct monitor_ctx *ctx, struct json_object *args,
                             struct json_object **ret, GError **error)
{
    struct json_object *enable = NULL;

    json_object_object_get_ex(args, "enable", &enable);
    return qmp_negotiate(ctx->qmp, enable, error);
}

struct json_object *version_describe(void)
{
    struct json_object *version = json_object_new_object(), *qemu = json_object_new_object();

    json_set_uint(qemu, "micro", QEMU_MICRO);
    json_set_uint(qemu, "minor", QEMU_MINOR);
    json_set_uint(qemu, "major", QEMU_MAJOR);
    json_object_object_add(version, "qemu", qemu);
    json_set_text(version, "package", "cloister " CLOISTER_VERSION);
    return version;
}

static bool run_version(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    *ret = version_describe();
    return true;
}

static void print_version(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    g_string_append_printf(out, "%d.%d.%d (%s)\n", QEMU_MAJOR, QEMU_MINOR, QEMU_MICRO,
                           json_text(ret, "package"));
}

static struct json_object *name_object(const char *name)
{
    struct json_object *entry = json_object_new_object();

    json_set_text(entry, "name", name);
    return entry;
}

static bool run_commands(const struct monitor_ctx *ctx, struct json_object *args,
                         struct json_object **ret, GError **error)
{
    *ret = json_object_new_array();
    for (size_t t = 0; command_tables[t]; t++) {
        for (const struct command *cmd = command_tables[t]; cmd->run; cmd++) {
            if (cmd->qmp)
                json_object_array_add(*ret, name_object(cmd->qmp));
        }
    }
    return true;
}

static bool run_events(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    *ret = json_object_new_array();
    for (const struct event_type *type = event_types; type->name; type++)
        json_object_array_add(*ret, name_object(type->name));
    return true;
}

static bool run_schema(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    struct schema_describe *d = schema_describe_new();

    for (size_t t = 0; command_tables[t]; t++) {
        for (const struct command *cmd = command_tables[t]; cmd->run; cmd++) {
            if (cmd->qmp)
                schema_describe_command(d, cmd->qmp, cmd->args, cmd->ret);
        }
    }
    for (const struct event_type *type = event_types; type->name; type++)
        schema_describe_event(d, type->name, type->data);
    *ret = schema_describe_done(d);
    return true;
}

/* A monitor of its own each time: `cpu 1` has no effect on the next one. */
static bool run_hmp(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    int64_t index = json_int(args, "cpu-index", 0);
    unsigned cpu = (unsigned)index;
    struct monitor_ctx inner = { .vm = ctx->vm, .cpu = &cpu };
    GString *out;

    if (index < 0 || (index && index >= (int64_t)ctx->vm->cpu_count(ctx->vm->opaque))) {
        error_set(error, "Parameter 'cpu-index' expects a CPU number");
        return false;
    }
    out = g_string_new(NULL);
    hmp_run_line(&inner, json_text(args, "command-line"), out);
    g_string_replace(out, "\n", "\r\n", 0);
    *ret = json_object_new_string_len(out->str, (int)out->len);
    g_string_free(out, TRUE);
    return true;
}

static bool run_help(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    GString *out = g_string_new(NULL);

    hmp_help(json_text(args, "name"), out);
    *ret = text_result(out);
    return true;
}

static bool run_info(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    GString *out = g_string_new(NULL);

    hmp_help("info", out);
    *ret = text_result(out);
    return true;
}

static bool run_name(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    *ret = json_object_new_object();
    if (ctx->vm->name)
        json_set_text(*ret, "name", ctx->vm->name);
    return true;
}

static void print_name(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    if (json_text(ret, "name"))
        g_string_append_printf(out, "%s\n", json_text(ret, "name"));
}

static bool run_uuid(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    *ret = json_object_new_object();
    json_set_text(*ret, "UUID", ctx->vm->uuid ? ctx->vm->uuid
                                              : "00000000-0000-0000-0000-000000000000");
    return true;
}

static void print_uuid(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    g_string_append_printf(out, "%s\n", json_text(ret, "UUID"));
}

static bool run_target(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    *ret = json_object_new_object();
    json_set_text(*ret, "arch", "x86_64");
    return true;
}

static bool run_chardev(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) list = chardev_list();

    *ret = json_object_new_array();
    for (guint i = 0; i < list->len; i++) {
        struct chardev *chr = g_ptr_array_index(list, i);
        struct json_object *entry = json_object_new_object();
        g_autofree char *filename = chardev_filename(chr);

        json_set_text(entry, "label", chardev_label(chr));
        json_set_text(entry, "filename", filename);
        json_set_bool(entry, "frontend-open", chardev_front_open(chr));
        json_object_array_add(*ret, entry);
    }
    return true;
}

static void print_chardev(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i);

        g_string_append_printf(out, "%s: filename=%s\n", json_text(entry, "label"),
                               json_text(entry, "filename"));
    }
}

const struct command commands_monitor[] = {
    { .qmp = "qmp_capabilities", .args = &args_capabilities,
      .help = "end capabilities negotiation", .run = run_capabilities },
    { .hmp = "help|?", .args = &args_help, .params = "[cmd]",
      .help = "show the help", .ret = &type_text, .run = run_help },
    { .hmp = "info", .params = "[subcommand]",
      .help = "show various information about the system state", .ret = &type_text,
      .run = run_info },
    { .qmp = "human-monitor-command", .args = &args_hmp, .ret = &schema_str,
      .help = "run a command line of the human monitor", .run = run_hmp },
    { .qmp = "query-version", .hmp = "info version", .ret = &type_version,
      .help = "show the version", .run = run_version, .print = print_version },
    { .qmp = "query-commands", .ret = &type_names,
      .help = "list the commands of this protocol", .run = run_commands },
    { .qmp = "query-events", .ret = &type_names,
      .help = "list the events of this protocol", .run = run_events },
    { .qmp = "query-qmp-schema", .ret = &type_any_objects,
      .help = "describe commands, events and types", .run = run_schema },
    { .qmp = "query-name", .hmp = "info name", .ret = &type_vm_name,
      .help = "show the current VM name", .run = run_name, .print = print_name },
    { .qmp = "query-uuid", .hmp = "info uuid", .ret = &type_uuid,
      .help = "show the current VM UUID", .run = run_uuid, .print = print_uuid },
    { .qmp = "query-target", .ret = &type_target,
      .help = "show the guest's architecture", .run = run_target },
    { .qmp = "query-chardev", .hmp = "info chardev", .ret = &type_chardevs,
      .help = "show the character devices", .run = run_chardev, .print = print_chardev },
    { NULL },
};
