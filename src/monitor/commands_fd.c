/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors that a QMP client passes over its socket (SCM_RIGHTS) beside a
 * getfd, and names.  They are this connection's and go with it.
 */
#include "command.h"

#include "error.h"
#include "fd.h"

static const struct schema_type args_fdname = SCHEMA_OBJECT_OF({ "fdname", &schema_str });

static bool check_name(const char *name, GError **error)
{
    if (*name && !g_ascii_isdigit(*name))
        return true;
    error_set(error, "Parameter 'fdname' expects a name not starting with a digit");
    return false;
}

static bool run_getfd(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    const char *name = json_text(args, "fdname");

    if (!check_name(name, error))
        return false;
    if (ctx->qmp && qmp_name_passed_fd(ctx->qmp, name))
        return true;
    error_set(error, "No file descriptor supplied via SCM_RIGHTS");
    return false;
}

int monitor_take_fd(const struct monitor_ctx *ctx, const char *name, GError **error)
{
    int fd = ctx->qmp ? qmp_take_fd(ctx->qmp, name) : -1;

    if (fd < 0)
        error_set(error, "File descriptor named '%s' not found", name);
    return fd;
}

static bool run_closefd(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    AUTO_FD fd = monitor_take_fd(ctx, json_text(args, "fdname"), error);

    return fd >= 0;
}

const struct command commands_fd[] = {
    { .qmp = "getfd", .args = &args_fdname, .help = "name a descriptor that came with this",
      .run = run_getfd },
    { .qmp = "closefd", .args = &args_fdname, .help = "close a descriptor", .run = run_closefd },
    { NULL },
};
