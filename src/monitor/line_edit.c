/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line, a cursor and a history, kept on screen with ECMA-48 sequences.  Keys
 * are those of emacs and of readline.
 */
#include "line_edit.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    LINE_MAX_BYTES = 4096,
    HISTORY_MAX = 64,
    SEQUENCE_MAX = 8,
};

struct line_edit {
    char *prompt;
    const struct line_edit_ops *ops;
    void *opaque;
    GString *line;
    size_t cursor;              /* bytes */
    GPtrArray *history;         /* of char *, oldest first */
    guint recalled;             /* index into it; its length: the new line */
    char *saved;                /* the new line while an old one is shown */
    char sequence[SEQUENCE_MAX + 1];    /* after ESC */
    size_t sequence_len;
    bool escape, after_cr;
};

static void put(struct line_edit *ed, const char *text, size_t size)
{
    if (size)
        ed->ops->output(ed->opaque, text, size);
}

static void put_text(struct line_edit *ed, const char *text)
{
    put(ed, text, strlen(text));
}

/* --- Characters, which may be several bytes --- */

static bool continues(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

static size_t columns(const char *text, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += !continues(text[i]);
    return n;
}

static size_t before(const struct line_edit *ed, size_t at)
{
    while (at > 0 && continues(ed->line->str[--at]))
        ;
    return at;
}

static size_t after(const struct line_edit *ed, size_t at)
{
    if (at < ed->line->len)
        at++;
    while (at < ed->line->len && continues(ed->line->str[at]))
        at++;
    return at;
}

/* --- The screen --- */

static void move(struct line_edit *ed, size_t count, char direction)
{
    g_autofree char *text = g_strdup_printf("\033[%zu%c", count, direction);

    if (count)
        put_text(ed, text);
}

/* Print what follows the cursor, and go back. */
static void redraw_tail(struct line_edit *ed)
{
    size_t size = ed->line->len - ed->cursor;

    put_text(ed, "\033[K");
    put(ed, ed->line->str + ed->cursor, size);
    move(ed, columns(ed->line->str + ed->cursor, size), 'D');
}

static void set_cursor(struct line_edit *ed, size_t to)
{
    if (to < ed->cursor)
        move(ed, columns(ed->line->str + to, ed->cursor - to), 'D');
    else
        move(ed, columns(ed->line->str + ed->cursor, to - ed->cursor), 'C');
    ed->cursor = to;
}

void line_edit_show(struct line_edit *ed)
{
    put_text(ed, ed->prompt);
    put(ed, ed->line->str, ed->line->len);
    move(ed, columns(ed->line->str + ed->cursor, ed->line->len - ed->cursor), 'D');
}

void line_edit_reset(struct line_edit *ed)
{
    g_string_truncate(ed->line, 0);
    ed->cursor = 0;
    ed->escape = ed->after_cr = false;
    ed->recalled = ed->history->len;
    g_clear_pointer(&ed->saved, g_free);
}

/* --- Changes --- */

static void insert(struct line_edit *ed, const char *text, size_t size)
{
    if (ed->line->len + size > LINE_MAX_BYTES) {
        put_text(ed, "\a");
        return;
    }
    g_string_insert_len(ed->line, (gssize)ed->cursor, text, (gssize)size);
    put(ed, text, size);
    ed->cursor += size;
    if (ed->cursor < ed->line->len)
        redraw_tail(ed);
}

static void erase(struct line_edit *ed, size_t from, size_t to)
{
    set_cursor(ed, from);
    g_string_erase(ed->line, (gssize)from, (gssize)(to - from));
    redraw_tail(ed);
}

static void replace_line(struct line_edit *ed, const char *text)
{
    set_cursor(ed, 0);
    g_string_assign(ed->line, text);
    put_text(ed, "\033[K");
    put_text(ed, text);
    ed->cursor = ed->line->len;
}

static void recall(struct line_edit *ed, guint index)
{
    if (index > ed->history->len || index == ed->recalled)
        return;
    if (ed->recalled == ed->history->len) {
        g_free(ed->saved);
        ed->saved = g_strdup(ed->line->str);
    }
    ed->recalled = index;
    replace_line(ed, index == ed->history->len ? ed->saved
                                               : g_ptr_array_index(ed->history, index));
}

static void remember(struct line_edit *ed, const char *line)
{
    guint len = ed->history->len;

    if (!*line || (len && strcmp(g_ptr_array_index(ed->history, len - 1), line) == 0))
        return;
    g_ptr_array_add(ed->history, g_strdup(line));
    if (ed->history->len > HISTORY_MAX)
        g_ptr_array_remove_index(ed->history, 0);
}

/* --- Keys --- */

static void key_home(struct line_edit *ed)
{
    set_cursor(ed, 0);
}

static void key_end(struct line_edit *ed)
{
    set_cursor(ed, ed->line->len);
}

static void key_left(struct line_edit *ed)
{
    set_cursor(ed, before(ed, ed->cursor));
}

static void key_right(struct line_edit *ed)
{
    set_cursor(ed, after(ed, ed->cursor));
}

static void key_backspace(struct line_edit *ed)
{
    if (ed->cursor)
        erase(ed, before(ed, ed->cursor), ed->cursor);
}

static void key_delete(struct line_edit *ed)
{
    if (ed->cursor < ed->line->len)
        erase(ed, ed->cursor, after(ed, ed->cursor));
}

static void key_kill_end(struct line_edit *ed)
{
    erase(ed, ed->cursor, ed->line->len);
}

static void key_kill_start(struct line_edit *ed)
{
    erase(ed, 0, ed->cursor);
}

static void key_kill_word(struct line_edit *ed)
{
    size_t from = ed->cursor;

    while (from && ed->line->str[from - 1] == ' ')
        from--;
    while (from && ed->line->str[from - 1] != ' ')
        from--;
    erase(ed, from, ed->cursor);
}

static void key_up(struct line_edit *ed)
{
    if (ed->recalled)
        recall(ed, ed->recalled - 1);
}

static void key_down(struct line_edit *ed)
{
    recall(ed, ed->recalled + 1);
}

static void key_cancel(struct line_edit *ed)
{
    put_text(ed, "^C\r\n");
    line_edit_reset(ed);
    line_edit_show(ed);
}

static void key_redraw(struct line_edit *ed)
{
    put_text(ed, "\033[2J\033[H");
    line_edit_show(ed);
}

static void key_enter(struct line_edit *ed)
{
    g_autofree char *line = g_strdup(ed->line->str);

    put_text(ed, "\r\n");
    remember(ed, line);
    line_edit_reset(ed);
    ed->ops->execute(ed->opaque, line);
    line_edit_show(ed);
}

/* The longest beginning that all share. */
static size_t common_length(const GPtrArray *words)
{
    const char *first = g_ptr_array_index(words, 0);
    size_t len = strlen(first);

    for (guint i = 1; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        size_t n = 0;

        while (n < len && word[n] == first[n])
            n++;
        len = n;
    }
    return len;
}

static void list_words(struct line_edit *ed, const GPtrArray *words)
{
    put_text(ed, "\r\n");
    for (guint i = 0; i < words->len; i++) {
        put_text(ed, g_ptr_array_index(words, i));
        put_text(ed, "\r\n");
    }
    line_edit_show(ed);
}

static void key_complete(struct line_edit *ed)
{
    g_autofree char *head = g_strndup(ed->line->str, ed->cursor);
    char *blank = strrchr(head, ' ');
    g_autofree char *word = g_strdup(blank ? blank + 1 : head);
    g_autoptr(GPtrArray) words = NULL;
    size_t typed = strlen(word), common;

    head[ed->cursor - typed] = '\0';
    words = ed->ops->complete ? ed->ops->complete(ed->opaque, head, word) : NULL;
    if (!words || words->len == 0)
        return;
    common = common_length(words);
    if (common > typed)
        insert(ed, (char *)g_ptr_array_index(words, 0) + typed, common - typed);
    if (words->len == 1)
        insert(ed, " ", 1);
    else if (common == typed)
        list_words(ed, words);
}

static const struct {
    char key;
    void (*run)(struct line_edit *ed);
} control_keys[] = {
    { 'A', key_home }, { 'B', key_left }, { 'C', key_cancel }, { 'D', key_delete },
    { 'E', key_end }, { 'F', key_right }, { 'H', key_backspace }, { 'I', key_complete },
    { 'J', key_enter }, { 'K', key_kill_end }, { 'L', key_redraw }, { 'M', key_enter },
    { 'N', key_down }, { 'P', key_up }, { 'U', key_kill_start }, { 'W', key_kill_word },
};

/* What follows ESC (ECMA-48, and what xterm and the console send for Home and End). */
static const struct {
    const char *sequence;
    void (*run)(struct line_edit *ed);
} sequences[] = {
    { "[A", key_up }, { "[B", key_down }, { "[C", key_right }, { "[D", key_left },
    { "[H", key_home }, { "[F", key_end }, { "OH", key_home }, { "OF", key_end },
    { "OA", key_up }, { "OB", key_down }, { "OC", key_right }, { "OD", key_left },
    { "[1~", key_home }, { "[7~", key_home }, { "[4~", key_end }, { "[8~", key_end },
    { "[3~", key_delete },
};

/* A sequence ends with its first byte from '@' on, but for the '[' or 'O' that begins it. */
static void sequence_byte(struct line_edit *ed, char c)
{
    ed->sequence[ed->sequence_len++] = c;
    ed->sequence[ed->sequence_len] = '\0';
    if (ed->sequence_len == 1 && (c == '[' || c == 'O'))
        return;
    if (c < '@' && ed->sequence_len < SEQUENCE_MAX)
        return;
    ed->escape = false;
    for (size_t i = 0; i < G_N_ELEMENTS(sequences); i++) {
        if (strcmp(sequences[i].sequence, ed->sequence) == 0)
            sequences[i].run(ed);
    }
}

static void control_byte(struct line_edit *ed, uint8_t c)
{
    /* CR LF is one Enter. */
    bool second = c == '\n' && ed->after_cr;

    ed->after_cr = false;
    if (second)
        return;
    if (c == '\033') {
        ed->escape = true;
        ed->sequence_len = 0;
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(control_keys); i++) {
        if (c == 0x7f ? control_keys[i].key == 'H' : control_keys[i].key == c + '@') {
            control_keys[i].run(ed);
            break;
        }
    }
    ed->after_cr = c == '\r';
}

void line_edit_input(struct line_edit *ed, const void *data, size_t size)
{
    const char *p = data, *end = p + size;

    while (p < end) {
        const char *run = p;

        if (ed->escape) {
            sequence_byte(ed, *p++);
            continue;
        }
        /* What is pasted is inserted at once, not redrawn for each byte. */
        while (p < end && (uint8_t)*p >= 0x20 && *p != 0x7f)
            p++;
        if (p > run) {
            ed->after_cr = false;
            insert(ed, run, (size_t)(p - run));
        } else {
            control_byte(ed, (uint8_t)*p++);
        }
    }
}

struct line_edit *line_edit_new(const char *prompt, const struct line_edit_ops *ops, void *opaque)
{
    struct line_edit *ed = g_new0(struct line_edit, 1);

    ed->prompt = g_strdup(prompt);
    ed->ops = ops;
    ed->opaque = opaque;
    ed->line = g_string_new(NULL);
    ed->history = g_ptr_array_new_with_free_func(g_free);
    return ed;
}

void line_edit_free(struct line_edit *ed)
{
    if (!ed)
        return;
    g_free(ed->prompt);
    g_free(ed->saved);
    g_string_free(ed->line, TRUE);
    g_ptr_array_unref(ed->history);
    g_free(ed);
}
