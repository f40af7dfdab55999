/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monitor for people: lines to commands of the one table, results to text.
 * Its prompt is QEMU's, because programs that drive this monitor look for it.
 */
#include "command.h"

#include "chardev.h"
#include "error.h"
#include "expression.h"
#include "line_edit.h"

#include <string.h>

#define HMP_PROMPT "(qemu) "
#define HMP_BANNER "cloister " CLOISTER_VERSION " monitor - type 'help' for more information\n"

enum { HMP_OUTPUT_MAX = 16 * 1024 * 1024 };

/* --- Arguments --- */

struct words {
    const char *p;              /* what is left of the line */
    const char *command;        /* for messages */
    const struct monitor_ctx *ctx;
};

static void skip_blanks(struct words *words)
{
    while (g_ascii_isspace(*words->p))
        words->p++;
}

/* A word, or "a string" with \" and \\ and \n; NULL: there is none, or its quote is missing. */
static char *take_word(struct words *words)
{
    GString *out;
    bool quoted;

    skip_blanks(words);
    if (!*words->p)
        return NULL;
    out = g_string_new(NULL);
    quoted = *words->p == '"';
    words->p += quoted;
    while (*words->p && (quoted ? *words->p != '"' : !g_ascii_isspace(*words->p))) {
        bool escaped = quoted && words->p[0] == '\\' && words->p[1];

        words->p += escaped;
        g_string_append_c(out, escaped && *words->p == 'n' ? '\n' : *words->p);
        words->p++;
    }
    if (quoted && *words->p++ != '"') {
        words->p--;
        g_string_free(out, TRUE);
        return NULL;
    }
    return g_string_free(out, FALSE);
}

static struct json_object *take_string(struct words *words, const struct schema_member *arg,
                                       GError **error)
{
    g_autofree char *word = NULL;

    skip_blanks(words);
    if (arg->rest && *words->p) {
        word = g_strchomp(g_strdup(words->p));
        words->p += strlen(words->p);
    } else {
        word = take_word(words);
    }
    if (!word) {
        error_set(error, "%s: string expected", words->command);
        return NULL;
    }
    return json_object_new_string(word);
}

static struct json_object *take_int(struct words *words, const struct schema_member *arg,
                                    GError **error)
{
    uint64_t value;

    skip_blanks(words);
    if (!expression_eval(words->ctx, &words->p, &value, error))
        return NULL;
    return arg->type->meta == SCHEMA_UINT ? json_object_new_uint64(value)
                                          : json_object_new_int64((int64_t)value);
}

static struct json_object *take_bool(struct words *words, const struct schema_member *arg,
                                     GError **error)
{
    g_autofree char *word = take_word(words);

    if (word && (strcmp(word, "on") == 0 || strcmp(word, "off") == 0))
        return json_object_new_boolean(word[1] == 'n');
    error_set(error, "%s: 'on' or 'off' expected", words->command);
    return NULL;
}

/* How people type each kind; NULL: they can't. */
static struct json_object *(*const takers[])(struct words *words, const struct schema_member *arg,
                                             GError **error) = {
    [SCHEMA_STR] = take_string, [SCHEMA_ENUM] = take_string, [SCHEMA_INT] = take_int,
    [SCHEMA_UINT] = take_int, [SCHEMA_BOOL] = take_bool, [SCHEMA_ARRAY] = NULL,
};

static bool take_flag(struct words *words, char flag)
{
    const char *p;

    skip_blanks(words);
    p = words->p;
    if (p[0] != '-' || p[1] != flag || (p[2] && !g_ascii_isspace(p[2])))
        return false;
    words->p += 2;
    return true;
}

static bool take_argument(const struct schema_member *m, struct words *words,
                          struct json_object *args, GError **error)
{
    struct json_object *value;

    g_assert(takers[m->type->meta]);
    value = takers[m->type->meta](words, m, error);
    if (value)
        json_object_object_add(args, m->name, value);
    return value != NULL;
}

/* All flags that follow, in whatever order. */
static bool take_flags(const struct schema_member *members, struct words *words,
                       struct json_object *args, GError **error)
{
    const struct schema_member *m = members;

    while (m && m->name) {
        if (!m->flag || !take_flag(words, m->flag)) {
            m++;
            continue;
        }
        if (m->type->meta == SCHEMA_BOOL)
            json_set_bool(args, m->name, true);
        else if (!take_argument(m, words, args, error))
            return false;
        m = members;
    }
    return true;
}

/* False: error is set. */
static bool parse_args(const struct command *cmd, struct words *words, struct json_object *args,
                       GError **error)
{
    const struct schema_member *m = cmd->args ? cmd->args->members : NULL;

    if (!take_flags(m, words, args, error))
        return false;
    for (; m && m->name; m++) {
        skip_blanks(words);
        if (m->flag || m->program || (!*words->p && m->optional) ||
            (m->format && *words->p != '/'))
            continue;
        if (!take_argument(m, words, args, error))
            return false;
    }
    skip_blanks(words);
    if (*words->p) {
        error_set(error, "%s: extraneous characters at the end of line", words->command);
        return false;
    }
    return true;
}

/* --- Lines --- */

/* Split off "name" or "info name"; *p is left behind it. Caller frees. */
static char *take_name(const char **p)
{
    size_t len = strcspn(*p, " \t/");
    const char *sub = *p + len;

    if (len == 4 && strncmp(*p, "info", 4) == 0) {
        sub += strspn(sub, " \t");
        if (*sub && *sub != '/') {
            size_t sub_len = strcspn(sub, " \t/");
            char *name = g_strdup_printf("info %.*s", (int)sub_len, sub);

            *p = sub + sub_len;
            return name;
        }
    }
    *p += len;
    return g_strndup(*p - len, len);
}

static void print_result(const struct command *cmd, const struct monitor_ctx *ctx,
                         struct json_object *ret, GString *out)
{
    const char *text = json_text(ret, "human-readable-text");

    if (cmd->print)
        cmd->print(ctx, ret, out);
    else if (cmd->ret == &type_text && text)
        g_string_append(out, text);
}

static void run_command(const struct command *cmd, const struct monitor_ctx *ctx,
                        const char *args_text, GString *out)
{
    g_autofree char *name = command_hmp_name(cmd);
    /* As QEMU: "print|p", and of info only the second word. */
    const char *shown = g_str_has_prefix(cmd->hmp, "info ") ? cmd->hmp + strlen("info ")
                                                            : cmd->hmp;
    struct words words = { .p = args_text, .command = shown, .ctx = ctx };
    struct json_object *args = json_object_new_object(), *ret = NULL;
    g_autoptr(GError) error = NULL;

    if (!parse_args(cmd, &words, args, &error)) {
        g_string_append_printf(out, "%s\nTry \"help %s\" for more information\n", error->message,
                               name);
    } else if (!command_run(cmd, ctx, args, &ret, &error)) {
        g_string_append_printf(out, "Error: %s\n", error->message);
    } else {
        print_result(cmd, ctx, ret, out);
        json_object_put(ret);
    }
    json_object_put(args);
}

void hmp_run_line(const struct monitor_ctx *ctx, const char *line, GString *out)
{
    const char *p = line + strspn(line, " \t\r\n");
    const struct command *cmd;
    g_autofree char *name = NULL;

    if (!*p || *p == '#')
        return;
    name = take_name(&p);
    cmd = command_find_hmp(name);
    if (cmd)
        run_command(cmd, ctx, p, out);
    else
        g_string_append_printf(out, "unknown command: '%s'\n", name);
}

char *monitor_hmp_run(const struct monitor_vm *vm, const char *line)
{
    unsigned cpu = 0;
    struct monitor_ctx ctx = { .vm = vm, .cpu = &cpu };
    GString *out = g_string_new(NULL);

    hmp_run_line(&ctx, line, out);
    return g_string_free(out, FALSE);
}

/* --- Help --- */

static bool is_info(const struct command *cmd)
{
    return g_str_has_prefix(cmd->hmp, "info ");
}

static void help_row(const struct command *cmd, GString *out)
{
    g_string_append_printf(out, "%s %s -- %s\n", cmd->hmp, cmd->params ? cmd->params : "",
                           cmd->help);
}

/* The rows of `help`, or those of `info`. */
static void help_list(bool info, GString *out)
{
    for (size_t t = 0; command_tables[t]; t++) {
        for (const struct command *cmd = command_tables[t]; cmd->run; cmd++) {
            if (cmd->hmp && is_info(cmd) == info)
                help_row(cmd, out);
        }
    }
}

void hmp_help(const char *name, GString *out)
{
    const struct command *cmd = name ? command_find_hmp(name) : NULL;

    if (!name)
        help_list(false, out);
    else if (strcmp(name, "info") == 0)
        help_list(true, out);
    else if (cmd)
        help_row(cmd, out);
    else
        g_string_append_printf(out, "unknown command: '%s'\n", name);
}

/* --- A session --- */

struct hmp_session {
    struct chardev *chr;
    const struct monitor_vm *vm;
    struct line_edit *edit;
    unsigned cpu;
    bool connected, focused;
    bool banner_due;
};

static void session_output(void *opaque, const char *text, size_t size)
{
    struct hmp_session *hmp = opaque;

    if (hmp->connected)
        chardev_write_all(hmp->chr, hmp, text, size, HMP_OUTPUT_MAX);
}

/* Lines end with CR LF on any stream. */
static void output_lines(struct hmp_session *hmp, const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *joined = g_strjoinv("\r\n", lines);

    session_output(hmp, joined, strlen(joined));
}

static void session_execute(void *opaque, const char *line)
{
    struct hmp_session *hmp = opaque;
    struct monitor_ctx ctx = { .vm = hmp->vm, .cpu = &hmp->cpu };
    GString *out = g_string_new(NULL);

    hmp_run_line(&ctx, line, out);
    output_lines(hmp, out->str);
    g_string_free(out, TRUE);
}

/* Command names; behind "info " and "help " too. */
static GPtrArray *session_complete(void *opaque, const char *before, const char *word)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    bool info = strcmp(before, "info ") == 0;

    if (*before && !info && strcmp(before, "help ") != 0)
        return words;
    for (size_t t = 0; command_tables[t]; t++) {
        for (const struct command *cmd = command_tables[t]; cmd->run; cmd++) {
            g_autofree char *name = cmd->hmp ? command_hmp_name(cmd) : NULL;
            const char *shown = name && info ? name + strlen("info ") : name;

            if (name && is_info(cmd) == info && g_str_has_prefix(shown, word))
                g_ptr_array_add(words, g_strdup(shown));
        }
    }
    return words;
}

static const struct line_edit_ops edit_ops = {
    .output = session_output, .execute = session_execute, .complete = session_complete,
};

static void session_prompt(struct hmp_session *hmp)
{
    if (!hmp->connected || !hmp->focused)
        return;
    if (hmp->banner_due)
        output_lines(hmp, HMP_BANNER);
    hmp->banner_due = false;
    line_edit_show(hmp->edit);
}

static size_t session_can_receive(void *opaque)
{
    struct hmp_session *hmp = opaque;

    return chardev_congested(hmp->chr) ? 0 : 1024;
}

static void session_receive(void *opaque, const void *data, size_t size)
{
    struct hmp_session *hmp = opaque;

    line_edit_input(hmp->edit, data, size);
}

static void session_closed(void *opaque)
{
    struct hmp_session *hmp = opaque;

    hmp->connected = false;
}

static void session_opened(void *opaque)
{
    struct hmp_session *hmp = opaque;

    line_edit_reset(hmp->edit);
    hmp->connected = true;
    hmp->banner_due = true;
    hmp->cpu = 0;
    session_prompt(hmp);
}

static void session_focus(void *opaque, bool in)
{
    struct hmp_session *hmp = opaque;

    hmp->focused = in;
    if (in && hmp->connected)
        output_lines(hmp, "\n");
    session_prompt(hmp);
}

static const struct chardev_front hmp_front = {
    .can_receive = session_can_receive, .receive = session_receive, .opened = session_opened,
    .closed = session_closed, .focus = session_focus, .background = true,
};

struct hmp_session *hmp_session_new(struct chardev *chr, const struct monitor_vm *vm,
                                    GError **error)
{
    struct hmp_session *hmp = g_new0(struct hmp_session, 1);

    hmp->chr = chr;
    hmp->vm = vm;
    hmp->focused = true;
    hmp->edit = line_edit_new(HMP_PROMPT, &edit_ops, hmp);
    if (!chardev_attach(chr, &hmp_front, hmp, error)) {
        line_edit_free(hmp->edit);
        g_free(hmp);
        return NULL;
    }
    return hmp;
}

void hmp_session_free(struct hmp_session *hmp)
{
    if (!hmp)
        return;
    chardev_detach(hmp->chr, hmp);
    line_edit_free(hmp->edit);
    g_free(hmp);
}
