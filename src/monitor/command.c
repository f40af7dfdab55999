/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding and running rows of the command tables, and their files' shorthands. */
#include "command.h"

#include "error.h"

#include <string.h>

const struct command *const command_tables[] = {
    commands_monitor, commands_machine, commands_cpu, commands_attributes, commands_conversions, commands_memory,
    commands_memory_device, commands_object, commands_device, commands_debug,
    commands_debug_memory, commands_dump, commands_fd, commands_sev, NULL,
};

/* --- Lookup --- */

static bool qmp_matches(const struct command *cmd, const char *name)
{
    return cmd->qmp && strcmp(cmd->qmp, name) == 0;
}

/* One of "stop|s". */
static bool hmp_matches(const struct command *cmd, const char *name)
{
    size_t len = strlen(name);

    for (const char *p = cmd->hmp; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, name, len) == 0 && (p[len] == '\0' || p[len] == '|'))
            return true;
    }
    return false;
}

static const struct command *find(bool (*matches)(const struct command *cmd, const char *name),
                                  const char *name)
{
    for (size_t t = 0; command_tables[t]; t++) {
        for (const struct command *cmd = command_tables[t]; cmd->run; cmd++) {
            if (matches(cmd, name))
                return cmd;
        }
    }
    return NULL;
}

const struct command *command_find_qmp(const char *name)
{
    return find(qmp_matches, name);
}

const struct command *command_find_hmp(const char *name)
{
    return find(hmp_matches, name);
}

char *command_hmp_name(const struct command *cmd)
{
    return g_strndup(cmd->hmp, strcspn(cmd->hmp, "|"));
}

/* --- Running --- */

bool command_run(const struct command *cmd, const struct monitor_ctx *ctx,
                 struct json_object *args, struct json_object **ret, GError **error)
{
    const struct schema_type *type = cmd->args ? cmd->args : &schema_empty;
    struct json_object *given = args ? json_object_get(args) : json_object_new_object();
    struct json_object *result = NULL;
    bool ok = schema_check(type, "", given, error) && cmd->run(ctx, given, &result, error);

    json_object_put(given);
    if (ok)
        *ret = result ? result : json_object_new_object();
    return ok;
}

/* --- Errors with a class of their own --- */

G_DEFINE_QUARK(cloister-command-error-quark, command_error)

void command_error_set(GError **error, enum command_error class, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(command_error_quark(), class, format, args);
    va_end(args);
}

const char *command_error_class(const GError *error)
{
    static const char *const classes[] = {
        [COMMAND_ERROR_GENERIC] = "GenericError", [COMMAND_ERROR_NOT_FOUND] = "CommandNotFound",
        [COMMAND_ERROR_DEVICE] = "DeviceNotFound",
    };

    return classes[error->domain == command_error_quark() ? error->code : 0];
}

/* --- Shorthands --- */

const struct schema_type type_text = SCHEMA_OBJECT_OF({ "human-readable-text", &schema_str });

struct json_object *text_result(GString *text)
{
    struct json_object *result = json_object_new_object();

    json_object_object_add(result, "human-readable-text",
                           json_object_new_string_len(text->str, (int)text->len));
    g_string_free(text, TRUE);
    return result;
}

const char *json_text(struct json_object *obj, const char *member)
{
    struct json_object *value;

    return json_object_object_get_ex(obj, member, &value) ? json_object_get_string(value) : NULL;
}

int64_t json_int(struct json_object *obj, const char *member, int64_t absent)
{
    struct json_object *value;

    return json_object_object_get_ex(obj, member, &value) ? json_object_get_int64(value) : absent;
}

bool json_flag(struct json_object *obj, const char *member)
{
    struct json_object *value;

    return json_object_object_get_ex(obj, member, &value) && json_object_get_boolean(value);
}

bool text_is_base64(const char *text)
{
    size_t len = strlen(text), body = len;

    while (body && text[body - 1] == '=' && len - body < 2)
        body--;
    return len && len % 4 == 0 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") == body;
}

void json_set_text(struct json_object *obj, const char *member, const char *text)
{
    json_object_object_add(obj, member, json_object_new_string(text));
}

void json_set_uint(struct json_object *obj, const char *member, uint64_t value)
{
    json_object_object_add(obj, member, json_object_new_uint64(value));
}

void json_set_bool(struct json_object *obj, const char *member, bool value)
{
    json_object_object_add(obj, member, json_object_new_boolean(value));
}
