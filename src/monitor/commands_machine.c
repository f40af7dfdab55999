/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands about the run state, and about the KVM that runs it. */
#include "command.h"

#include "error.h"

#include <string.h>

/* QEMU's RunState (qapi/run-state.json). */
static const struct schema_type type_run_state = SCHEMA_ENUM_OF(
    "debug", "inmigrate", "internal-error", "io-error", "paused", "postmigrate", "prelaunch",
    "finish-migrate", "restore-vm", "running", "save-vm", "shutdown", "suspended", "watchdog",
    "guest-panicked", "colo");
static const struct schema_type type_status = SCHEMA_OBJECT_OF(
    { "running", &schema_bool }, { "status", &type_run_state });
static const struct schema_type type_kvm = SCHEMA_OBJECT_OF(
    { "enabled", &schema_bool }, { "present", &schema_bool });
static const struct schema_type type_accel = SCHEMA_ENUM_OF("kvm", "soft");
static const struct schema_type type_accels = SCHEMA_ARRAY_OF(&type_accel);
static const struct schema_type type_accelerators = SCHEMA_OBJECT_OF(
    { "enabled", &type_accel }, { "present", &type_accels });

static bool run_status(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    const char *status = ctx->vm->status(ctx->vm->opaque);

    *ret = json_object_new_object();
    json_set_bool(*ret, "running", strcmp(status, "running") == 0);
    json_set_text(*ret, "status", status);
    return true;
}

static void print_status(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    const char *status = json_text(ret, "status");

    if (json_flag(ret, "running") || strcmp(status, "paused") == 0)
        g_string_append_printf(out, "VM status: %s\n", status);
    else
        g_string_append_printf(out, "VM status: paused (%s)\n", status);
}

static bool run_stop(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    ctx->vm->stop(ctx->vm->opaque);
    return true;
}

static bool run_cont(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    return ctx->vm->cont(ctx->vm->opaque, error);
}

static bool run_reset(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    ctx->vm->reset(ctx->vm->opaque);
    return true;
}

static bool run_powerdown(const struct monitor_ctx *ctx, struct json_object *args,
                          struct json_object **ret, GError **error)
{
    ctx->vm->powerdown(ctx->vm->opaque);
    return true;
}

static bool run_quit(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    ctx->vm->quit(ctx->vm->opaque);
    return true;
}

static const char gdb_default[] = "tcp::1234";

static const struct schema_type args_gdbserver = SCHEMA_OBJECT_OF(
    { "device", &schema_str, true });

static bool run_gdbserver(const struct monitor_ctx *ctx, struct json_object *args,
                          struct json_object **ret, GError **error)
{
    const char *device = json_text(args, "device");
    GString *text;

    device = device ? device : gdb_default;
    if (!ctx->vm->gdbserver(ctx->vm->opaque, device, error)) {
        g_prefix_error(error, "gdbserver: ");
        return false;
    }
    text = g_string_new(NULL);
    if (strcmp(device, "none") == 0)
        g_string_append(text, "Disabled gdbserver\n");
    else
        g_string_append_printf(text, "Waiting for gdb connection on device '%s'\n", device);
    *ret = text_result(text);
    return true;
}

/* "kvm" and "soft" of the drivers, without their variants. */
static const char *accel_name(const struct monitor_ctx *ctx)
{
    return g_str_has_prefix(ctx->vm->kvm->driver->name, "kvm") ? "kvm" : "soft";
}

static bool run_kvm(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    /* The KVM API is in use with either driver; libvirt and people ask for no more. */
    *ret = json_object_new_object();
    json_set_bool(*ret, "enabled", true);
    json_set_bool(*ret, "present", true);
    return true;
}

static void print_kvm(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    const struct kvm_vm *kvm = ctx->vm->kvm;

    g_string_append_printf(out, "kvm support: enabled\ndriver: %s (%s)\nprivate memory: %s\n",
                           kvm->driver->name, kvm->driver->description, kvm_attributes_text(kvm->regime));
}

static bool run_accelerators(const struct monitor_ctx *ctx, struct json_object *args,
                             struct json_object **ret, GError **error)
{
    struct json_object *present = json_object_new_array();

    json_object_array_add(present, json_object_new_string("kvm"));
    json_object_array_add(present, json_object_new_string("soft"));
    *ret = json_object_new_object();
    json_set_text(*ret, "enabled", accel_name(ctx));
    json_object_object_add(*ret, "present", present);
    return true;
}

static void print_accelerators(const struct monitor_ctx *ctx, struct json_object *ret,
                               GString *out)
{
    g_string_append_printf(out, "%s\n", json_text(ret, "enabled"));
}

const struct command commands_machine[] = {
    { .qmp = "query-status", .hmp = "info status", .ret = &type_status,
      .help = "show the current VM status", .run = run_status, .print = print_status },
    { .qmp = "stop", .hmp = "stop|s", .help = "stop emulation", .run = run_stop },
    { .qmp = "cont", .hmp = "cont|c", .help = "resume emulation", .run = run_cont },
    { .qmp = "system_reset", .hmp = "system_reset", .help = "reset the system",
      .run = run_reset },
    { .qmp = "system_powerdown", .hmp = "system_powerdown",
      .help = "send system power down event", .run = run_powerdown },
    { .hmp = "gdbserver", .args = &args_gdbserver, .ret = &type_text, .params = "[device]",
      .help = "start gdbserver on given device (default 'tcp::1234'), stop with 'none'",
      .run = run_gdbserver },
    { .qmp = "quit", .hmp = "quit|q", .help = "quit the emulator", .run = run_quit },
    { .qmp = "query-kvm", .hmp = "info kvm", .ret = &type_kvm,
      .help = "show the KVM in use and how it keeps memory private", .run = run_kvm,
      .print = print_kvm },
    { .qmp = "query-accelerators", .hmp = "info accelerators", .ret = &type_accelerators,
      .help = "show the accelerator in use", .run = run_accelerators,
      .print = print_accelerators },
    { NULL },
};
