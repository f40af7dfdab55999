/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Line editing: keys in, the line that is run and the picture on the screen. */
#include "line_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static GString *executed;

/* A terminal of one row that understands what the editor sends. */
static struct {
    char row[512];
    size_t column;
} screen;

static void screen_sequence(const char *params, char final)
{
    size_t n = *params ? (size_t)atoi(params) : 1;

    if (final == 'D')
        screen.column -= MIN(n, screen.column);
    else if (final == 'C')
        screen.column += n;
    else if (final == 'K')
        memset(screen.row + screen.column, 0, sizeof(screen.row) - screen.column);
    else
        fail_msg("unknown sequence ESC [ %s %c", params, final);
}

static void screen_output(void *opaque, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\033') {
            size_t digits = strspn(text + i + 2, "0123456789");
            g_autofree char *params = g_strndup(text + i + 2, digits);

            screen_sequence(params, text[i + 2 + digits]);
            i += 2 + digits;
        } else if (text[i] == '\r') {
            screen.column = 0;
        } else if (text[i] == '\n') {
            memset(&screen, 0, sizeof(screen));
        } else if (text[i] != '\a') {
            screen.row[screen.column++] = text[i];
        }
    }
}

static void record(void *opaque, const char *line)
{
    g_string_append_printf(executed, "[%s]", line);
}

static GPtrArray *complete(void *opaque, const char *before, const char *word)
{
    static const char *const all[] = { "stop", "status", "cont" };
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        if (g_str_has_prefix(all[i], word))
            g_ptr_array_add(words, g_strdup(all[i]));
    }
    return words;
}

static const struct line_edit_ops ops = { screen_output, record, complete };

#define UP "\033[A"
#define DOWN "\033[B"
#define RIGHT "\033[C"
#define LEFT "\033[D"

static const struct {
    const char *keys;
    const char *lines;          /* what was run */
    const char *row;            /* what the screen shows, '|' where the cursor is */
} rows[] = {
    { "", "", "> |" },
    { "abc", "", "> abc|" },
    { "abc\r", "[abc]", "> |" },
    { "abc\n", "[abc]", "> |" },
    { "abc\r\nd\r\n", "[abc][d]", "> |" },
    { "\r\r", "[][]", "> |" },
    { "abc" LEFT LEFT "X", "", "> aX|bc" },
    { "abc\001X\005Y", "", "> XabcY|" },
    { "abc\002\006\006", "", "> abc|" },
    { "abc\177\bz", "", "> az|" },
    { "\177x", "", "> x|" },
    { "abc" LEFT "\177", "", "> a|c" },
    { "abc\001\004", "", "> |bc" },
    { "abc\033[H\033[3~", "", "> |bc" },
    { "abc\033[D\033OD\033[F!", "", "> abc!|" },
    { "one two\027", "", "> one |" },
    { "one two" LEFT LEFT "\013", "", "> one t|" },
    { "one two" LEFT LEFT "\025", "", "> |wo" },
    { "one\rtwo\r" UP UP, "[one][two]", "> one|" },
    { "one\rtwo\rx" UP UP DOWN DOWN, "[one][two]", "> x|" },
    { "one\r" UP UP UP "\r", "[one][one]", "> |" },
    { "one\rone\rtwo\r" UP UP "!\r", "[one][one][two][one!]", "> |" },
    { DOWN "a" DOWN, "", "> a|" },
    { "co\t", "", "> cont |" },
    { "s\t", "", "> st|" },
    { "x\t", "", "> x|" },
    { "help sto\t", "", "> help stop |" },
    { "abc\003d\r", "[d]", "> |" },
    { "\033[99;99Xa\033Zb\033[1;5Cc", "", "> abc|" },
    { "\033[0000000000000a", "", "> 000000a|" },
};

static void check_row(size_t i, size_t step)
{
    struct line_edit *ed = line_edit_new("> ", &ops, NULL);
    const char *keys = rows[i].keys;
    g_autofree char *shown = NULL;

    memset(&screen, 0, sizeof(screen));
    executed = g_string_new(NULL);
    line_edit_show(ed);
    for (size_t at = 0, len = strlen(keys); at < len; at += step)
        line_edit_input(ed, keys + at, MIN(step, len - at));
    shown = g_strdup_printf("%.*s|%s", (int)screen.column, screen.row,
                            screen.row + screen.column);
    if (strcmp(shown, rows[i].row) != 0 || strcmp(executed->str, rows[i].lines) != 0)
        fail_msg("row %zu: got %s %s, wanted %s %s", i, shown, executed->str, rows[i].row,
                 rows[i].lines);
    g_string_free(executed, TRUE);
    line_edit_free(ed);
}

static void test_keys(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        check_row(i, 1);
        check_row(i, 1000);
    }
}

static void discard(void *opaque, const char *text, size_t size)
{
}

static void test_line_has_an_end(void **state)
{
    static const struct line_edit_ops quiet = { .output = discard, .execute = record };
    struct line_edit *ed = line_edit_new("", &quiet, NULL);

    executed = g_string_new(NULL);
    for (unsigned i = 0; i < 100000; i++)
        line_edit_input(ed, "0123456789", 10);
    line_edit_input(ed, "\r", 1);
    assert_in_range(executed->len, 4000, 5000);
    g_string_free(executed, TRUE);
    line_edit_free(ed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys), cmocka_unit_test(test_line_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
