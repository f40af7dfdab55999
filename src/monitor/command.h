/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of commands: one row for programs (QMP) and people (HMP). */
#ifndef MONITOR_COMMAND_H
#define MONITOR_COMMAND_H

#include "monitor.h"
#include "schema.h"

struct qmp_session;

/* What a command runs with. */
struct monitor_ctx {
    const struct monitor_vm *vm;
    unsigned *cpu;              /* this monitor's default CPU; a command may set it */
    struct qmp_session *qmp;    /* NULL: not from a QMP client */
};

struct command {
    const char *qmp;            /* NULL: for people only */
    const char *hmp;            /* "info status", "stop|s"; NULL: for programs only */
    const struct schema_type *args;     /* NULL: none */
    const struct schema_type *ret;      /* NULL: an empty object */
    const char *params;         /* the arguments as `help` shows them; NULL: none */
    const char *help;
    /* False with the error set; true with *ret set, or left NULL for an empty object. */
    bool (*run)(const struct monitor_ctx *ctx, struct json_object *args, struct json_object **ret,
                GError **error);
    /* The result for people; NULL: human-readable-text, or nothing. Lines end with '\n'. */
    void (*print)(const struct monitor_ctx *ctx, struct json_object *ret, GString *out);
};

/* The tables of the files, in the order of help; each ends with an empty row. */
extern const struct command *const command_tables[];
extern const struct command commands_monitor[], commands_machine[], commands_cpu[],
    commands_attributes[], commands_conversions[], commands_memory[],
    commands_memory_device[], commands_object[], commands_device[],
    commands_debug[], commands_debug_memory[], commands_dump[],
    commands_fd[], commands_sev[];

const struct command *command_find_qmp(const char *name);
/* name: one word, or "info" and one. */
const struct command *command_find_hmp(const char *name);
/* The first of "stop|s". Caller frees. */
char *command_hmp_name(const struct command *cmd);

/*
 * command_run - check the arguments (an object, or NULL for none) and run.
 * *ret is a new reference, never NULL on success.
 */
bool command_run(const struct command *cmd, const struct monitor_ctx *ctx,
                 struct json_object *args, struct json_object **ret, GError **error);

/* The class of QMP's error: an error of one of these codes, else GenericError. */
enum command_error { COMMAND_ERROR_GENERIC, COMMAND_ERROR_NOT_FOUND, COMMAND_ERROR_DEVICE };
GQuark command_error_quark(void);
const char *command_error_class(const GError *error);
void command_error_set(GError **error, enum command_error class, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Shorthands of the commands' files. */
extern const struct schema_type type_text;      /* {"human-readable-text": ...} */
struct json_object *text_result(GString *text);         /* frees it */
const char *json_text(struct json_object *obj, const char *member);     /* NULL: absent */
int64_t json_int(struct json_object *obj, const char *member, int64_t absent);
bool json_flag(struct json_object *obj, const char *member);
bool text_is_base64(const char *text);         /* not of nothing */
void json_set_text(struct json_object *obj, const char *member, const char *text);
void json_set_uint(struct json_object *obj, const char *member, uint64_t value);
void json_set_bool(struct json_object *obj, const char *member, bool value);

/* --- Between the monitors --- */

/* qmp.c */
void qmp_event(struct qmp_session *qmp, struct json_object *event);
/* qmp_capabilities: negotiation is done. */
bool qmp_negotiate(struct qmp_session *qmp, struct json_object *enable, GError **error);
/* The descriptor that came last, under this name (instead of an older one). False: none came. */
bool qmp_name_passed_fd(struct qmp_session *qmp, const char *name);
/* The caller's from then on; -1: none of that name. */
int qmp_take_fd(struct qmp_session *qmp, const char *name);
struct qmp_session *qmp_session_new(struct chardev *chr, bool pretty, const struct monitor_vm *vm,
                                    GError **error);
void qmp_session_free(struct qmp_session *qmp);

/* hmp.c */
struct hmp_session;
struct hmp_session *hmp_session_new(struct chardev *chr, const struct monitor_vm *vm,
                                    GError **error);
void hmp_session_free(struct hmp_session *hmp);
/* Run a line: its output, lines ended by '\n', is appended. */
void hmp_run_line(const struct monitor_ctx *ctx, const char *line, GString *out);
/* Text of `help [name]`. */
void hmp_help(const char *name, GString *out);

/* commands_conversions.c */
extern const struct schema_type type_conversion;        /* one record of the history */
void conversion_events_stop(void);

/* commands_fd.c: of getfd; the caller's from then on. -1: error is set. */
int monitor_take_fd(const struct monitor_ctx *ctx, const char *name, GError **error);

/* commands_dump.c */
extern const struct schema_type type_dump_result;
void dump_cancel(void);

/* event.c */
extern const struct event_type {
    const char *name;           /* NULL ends the table */
    const struct schema_type *data;     /* NULL: none */
    /* The member by which it is throttled: one a second of each value. NULL: it isn't. */
    const char *throttled_by;
} event_types[];
/* Deliver what other threads have queued. */
void event_flush(void);
bool event_setup(void (*deliver)(struct json_object *event), GError **error);
void event_shutdown(void);

/* Versions as programs see them: QEMU's, whose protocol this is, and ours. */
struct json_object *version_describe(void);

#endif
