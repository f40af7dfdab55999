/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A QMP session: greeting, negotiation, commands one after another, events
 * (docs/interop/qmp-spec.rst of QEMU).  Each connection negotiates anew.
 *
 * Commands run as they are read.  While the client doesn't take the replies,
 * nothing more is read from it, so that neither side of it grows; only events
 * can still pile up, and a client that lets them is dropped.
 */
#include "command.h"

#include "chardev.h"
#include "error.h"
#include "json_stream.h"

#include <string.h>
#include <unistd.h>

enum {
    QMP_READ_MAX = 4096,
    QMP_OUTPUT_MAX = 32 * 1024 * 1024,  /* outstanding, before the client is dropped */
};

struct qmp_session {
    struct chardev *chr;
    const struct monitor_vm *vm;
    bool pretty;
    bool connected, negotiated;
    struct json_stream *stream;
    unsigned cpu;
    GHashTable *fds;            /* getfd: name to descriptor + 1 */
};

/* Takes the message. */
static void send_message(struct qmp_session *qmp, struct json_object *message)
{
    GString *text = g_string_new(NULL);

    json_append(text, message, qmp->pretty);
    g_string_append(text, "\r\n");
    chardev_write_all(qmp->chr, qmp, text->str, text->len, QMP_OUTPUT_MAX);
    g_string_free(text, TRUE);
    json_object_put(message);
}

static void send_greeting(struct qmp_session *qmp)
{
    struct json_object *greeting = json_object_new_object(), *qmp_object = json_object_new_object();

    json_object_object_add(qmp_object, "version", version_describe());
    /* No "oob": commands are short and run in order. */
    json_object_object_add(qmp_object, "capabilities", json_object_new_array());
    json_object_object_add(greeting, "QMP", qmp_object);
    send_message(qmp, greeting);
}

void qmp_event(struct qmp_session *qmp, struct json_object *event)
{
    if (qmp->connected && qmp->negotiated)
        send_message(qmp, json_object_get(event));
}

/* --- A request --- */

struct request {
    const char *command;
    struct json_object *arguments;      /* NULL: none */
};

static bool member_execute(struct request *req, const char *key, struct json_object *value,
                           GError **error)
{
    if (req->command) {
        error_set(error, "QMP input member '%s' clashes with '%s'", "execute", "exec-oob");
        return false;
    }
    if (!json_object_is_type(value, json_type_string)) {
        error_set(error, "QMP input member '%s' must be a string", key);
        return false;
    }
    req->command = json_object_get_string(value);
    return true;
}

static bool member_arguments(struct request *req, const char *key, struct json_object *value,
                             GError **error)
{
    if (!json_object_is_type(value, json_type_object)) {
        error_set(error, "QMP input member 'arguments' must be an object");
        return false;
    }
    req->arguments = value;
    return true;
}

static bool member_id(struct request *req, const char *key, struct json_object *value,
                      GError **error)
{
    return true;
}

static const struct {
    const char *name;
    bool (*set)(struct request *req, const char *key, struct json_object *value, GError **error);
} request_members[] = {
    { "execute", member_execute }, { "exec-oob", member_execute },
    { "arguments", member_arguments }, { "id", member_id },
};

static bool set_member(struct request *req, const char *key, struct json_object *value,
                       GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(request_members); i++) {
        if (strcmp(request_members[i].name, key) == 0)
            return request_members[i].set(req, key, value, error);
    }
    error_set(error, "QMP input member '%s' is unexpected", key);
    return false;
}

static bool parse_request(struct json_object *object, struct request *req, GError **error)
{
    if (!json_object_is_type(object, json_type_object)) {
        error_set(error, "QMP input must be a JSON object");
        return false;
    }
    json_object_object_foreach(object, key, value) {
        if (!set_member(req, key, value, error))
            return false;
    }
    if (!req->command) {
        error_set(error, "QMP input lacks member 'execute'");
        return false;
    }
    return true;
}

/* NULL: error is set. */
static const struct command *find_command(struct qmp_session *qmp, const char *name,
                                          GError **error)
{
    bool negotiates = strcmp(name, "qmp_capabilities") == 0;
    const struct command *cmd = command_find_qmp(name);

    if (negotiates != !qmp->negotiated) {
        command_error_set(error, COMMAND_ERROR_NOT_FOUND, "%s", negotiates
                          ? "Capabilities negotiation is already complete, command ignored"
                          : "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (!cmd)
        command_error_set(error, COMMAND_ERROR_NOT_FOUND, "The command %s has not been found",
                          name);
    return cmd;
}

static bool run_request(struct qmp_session *qmp, struct json_object *object,
                        struct json_object **ret, GError **error)
{
    struct monitor_ctx ctx = { .vm = qmp->vm, .cpu = &qmp->cpu, .qmp = qmp };
    struct request req = { NULL, NULL };
    const struct command *cmd;

    if (!parse_request(object, &req, error))
        return false;
    cmd = find_command(qmp, req.command, error);
    if (!cmd)
        return false;
    if (json_object_object_get_ex(object, "exec-oob", NULL)) {
        error_set(error, "The command %s does not support OOB", req.command);
        return false;
    }
    return command_run(cmd, &ctx, req.arguments, ret, error);
}

static struct json_object *error_reply(const char *class, const char *desc)
{
    struct json_object *reply = json_object_new_object(), *error = json_object_new_object();

    json_set_text(error, "class", class);
    json_set_text(error, "desc", desc);
    json_object_object_add(reply, "error", error);
    return reply;
}

static void message(void *opaque, struct json_object *object, const char *parse_error)
{
    struct qmp_session *qmp = opaque;
    g_autoptr(GError) error = NULL;
    struct json_object *ret = NULL, *reply, *id;

    if (parse_error) {
        send_message(qmp, error_reply("GenericError", parse_error));
        return;
    }
    if (run_request(qmp, object, &ret, &error)) {
        reply = json_object_new_object();
        json_object_object_add(reply, "return", ret);
    } else {
        reply = error_reply(command_error_class(error), error->message);
    }
    if (json_object_is_type(object, json_type_object) &&
        json_object_object_get_ex(object, "id", &id))
        json_object_object_add(reply, "id", json_object_get(id));
    send_message(qmp, reply);
    json_object_put(object);
}

bool qmp_negotiate(struct qmp_session *qmp, struct json_object *enable, GError **error)
{
    /* The schema has let nothing but known names through, and we offer none of them. */
    if (enable && json_object_array_length(enable)) {
        error_set(error, "Capability '%s' is not available",
                  json_object_get_string(json_object_array_get_idx(enable, 0)));
        return false;
    }
    qmp->negotiated = true;
    return true;
}

/* --- Descriptors --- */

static void close_fd(gpointer fd)
{
    close(GPOINTER_TO_INT(fd) - 1);
}

bool qmp_name_passed_fd(struct qmp_session *qmp, const char *name)
{
    int fd = chardev_take_fd(qmp->chr);

    if (fd >= 0)
        g_hash_table_replace(qmp->fds, g_strdup(name), GINT_TO_POINTER(fd + 1));
    return fd >= 0;
}

int qmp_take_fd(struct qmp_session *qmp, const char *name)
{
    gpointer key, fd;

    if (!g_hash_table_steal_extended(qmp->fds, name, &key, &fd))
        return -1;
    g_free(key);
    return GPOINTER_TO_INT(fd) - 1;
}

/* --- Front end --- */

static size_t qmp_can_receive(void *opaque)
{
    struct qmp_session *qmp = opaque;

    return chardev_congested(qmp->chr) ? 0 : QMP_READ_MAX;
}

static void qmp_receive(void *opaque, const void *data, size_t size)
{
    struct qmp_session *qmp = opaque;

    json_stream_feed(qmp->stream, data, size);
}

static void qmp_closed(void *opaque)
{
    struct qmp_session *qmp = opaque;

    qmp->connected = qmp->negotiated = false;
    g_clear_pointer(&qmp->stream, json_stream_free);
    g_hash_table_remove_all(qmp->fds);
}

static void qmp_opened(void *opaque)
{
    struct qmp_session *qmp = opaque;

    qmp_closed(qmp);
    qmp->stream = json_stream_new(message, qmp);
    qmp->connected = true;
    qmp->cpu = 0;
    send_greeting(qmp);
}

static const struct chardev_front qmp_front = {
    .can_receive = qmp_can_receive, .receive = qmp_receive, .opened = qmp_opened,
    .closed = qmp_closed, .background = true,
};

struct qmp_session *qmp_session_new(struct chardev *chr, bool pretty, const struct monitor_vm *vm,
                                    GError **error)
{
    struct qmp_session *qmp = g_new0(struct qmp_session, 1);

    qmp->chr = chr;
    qmp->vm = vm;
    qmp->pretty = pretty;
    qmp->fds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_fd);
    if (!chardev_attach(chr, &qmp_front, qmp, error)) {
        g_hash_table_unref(qmp->fds);
        g_free(qmp);
        return NULL;
    }
    return qmp;
}

void qmp_session_free(struct qmp_session *qmp)
{
    if (!qmp)
        return;
    chardev_detach(qmp->chr, qmp);
    json_stream_free(qmp->stream);
    g_hash_table_unref(qmp->fds);
    g_free(qmp);
}
