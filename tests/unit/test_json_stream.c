/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The JSON reader and writer: rows of input and what comes out of it, each fed
 * whole and byte by byte, which must make no difference.
 */
#include "json_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void collect(void *opaque, struct json_object *value, const char *error)
{
    GString *out = opaque;

    if (error)
        g_string_append_printf(out, "!%s", error);
    else
        json_append(out, value, false);
    g_string_append_c(out, '\n');
    json_object_put(value);
}

static char *read_in_steps(const char *input, size_t size, size_t step)
{
    GString *out = g_string_new(NULL);
    struct json_stream *stream = json_stream_new(collect, out);

    for (size_t at = 0; at < size; at += step)
        json_stream_feed(stream, input + at, MIN(step, size - at));
    json_stream_free(stream);
    return g_string_free(out, FALSE);
}

#define P "!JSON parse error, "

static const struct {
    const char *input, *output;
} rows[] = {
    /* Values and the form in which they come back. */
    { "{}", "{}\n" },
    { "{\"a\":1,\"b\":[true,false,null]}", "{\"a\": 1, \"b\": [true, false, null]}\n" },
    { " [ ] [1]\r\n{}{} ", "[]\n[1]\n{}\n{}\n" },
    { "'single' \"dou'ble\" 'quo\"te' 'it\\'s'", "\"single\"\n\"dou'ble\"\n\"quo\\\"te\"\n\"it's\"\n" },
    { "1 ", "1\n" },
    { "tru", "" },
    { "true\n", "true\n" },
    { "[9223372036854775807,9223372036854775808,18446744073709551615]",
      "[9223372036854775807, 9223372036854775808, 18446744073709551615]\n" },
    { "[-9223372036854775808,-9223372036854775809,18446744073709551616]",
      "[-9223372036854775808, -9.2233720368547758e+18, 1.8446744073709552e+19]\n" },
    { "[1.5e3,-0,-0.0,0.5,1E2,-1.5e-3]", "[1500, 0, 0, 0.5, 100, -0.0015]\n" },
    { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"\n" },
    { "\"\\u00e4 \\u20AC \\ud83d\\ude00 \\u0000 \\u007f\"",
      "\"\\u00E4 \\u20AC \\uD83D\\uDE00 \\u0000 \\u007F\"\n" },
    { "\"\xc3\xa4 \xf0\x9f\x98\x80\"", "\"\\u00E4 \\uD83D\\uDE00\"\n" },
    { "{\"k\\u0000\": 1}", "{\"k\\u0000\": 1}\n" },

    /* Grammar: one error, the rest of the message is skipped. */
    { "{\"a\":1,\"a\":2}[1]", P "duplicate key\n[1]\n" },
    { "{\"a\":1,}[1]", P "expecting value\n[1]\n" },
    { "[1,][1]", P "expecting value\n[1]\n" },
    { "[,][1]", P "expecting value\n[1]\n" },
    { "{\"a\" 1}[1]", P "missing : in object pair\n[1]\n" },
    { "{\"a\",1}[1]", P "missing : in object pair\n[1]\n" },
    { "{1:2}[1]", P "key is not a string in object\n[1]\n" },
    { "{[1]:{}}[1]", P "key is not a string in object\n[1]\n" },
    { "{null:2}[1]", P "key is not a string in object\n[1]\n" },
    { "{\"a\":1 \"b\":2}[1]", P "expected separator in dict\n[1]\n" },
    { "[1 2][1]", P "expected separator in list\n[1]\n" },
    { "[1 {\"x\": [1]}][1]", P "expected separator in list\n[1]\n" },
    { "{\"a\":[1}\n[1]", P "expecting value\n[1]\n" },
    { "[1}[1]", P "expecting value\n[1]\n" },
    { "}[1]", P "expecting value\n[1]\n" },
    { ",[1]", P "expecting value\n[1]\n" },
    { "{\"a\": tru, \"b\": {\"c\": \"}\"}}[1]", P "invalid keyword 'tru'\n[1]\n" },
    { "nulll [1]", P "invalid keyword 'nulll'\n[1]\n" },
    { "[\"\\x\"][1]", P "invalid escape sequence in string\n[1]\n" },
    { "[\"\\u12g4\"][1]", P "invalid escape sequence in string\n[1]\n" },
    { "[\"\\ud800\"][1]", P "invalid escape sequence in string\n[1]\n" },
    { "[\"\\ud800\\u0041\"][1]", P "invalid escape sequence in string\n[1]\n" },
    { "[\"\\udc00\"][1]", P "invalid escape sequence in string\n[1]\n" },
    { "[\"\xc3\"][1]", P "invalid UTF-8 sequence in string\n[1]\n" },
    { "[\"\xc0\x80\"][1]", P "invalid UTF-8 sequence in string\n[1]\n" },
    { "[\"\xed\xa0\x80\"][1]", P "invalid UTF-8 sequence in string\n[1]\n" },
    { "[1e999][1]", P "number out of range\n[1]\n" },
    /* Never balanced: the line's end helps. */
    { "{\"a\": {\"b\" {\n{\"c\": 1}", P "missing : in object pair\n{\"c\": 1}\n" },

    /* Bytes that can't be there: the next object or line starts anew. */
    { "{\"a\": # }, [2] {\"b\": 1}", P "stray '#'\n{\"b\": 1}\n" },
    { "/* no */ {\"b\": 1}", P "stray '/'\n{\"b\": 1}\n" },
    { "%d {\"b\": 1}", P "stray '%'\n{\"b\": 1}\n" },
    { "TRUE\n[1]", P "stray 'T'\n[1]\n" },
    { "[01]\n[1]", P "stray '01'\n[1]\n" },
    { "[1.]\n[1]", P "stray '1.'\n[1]\n" },
    { "[-]\n[1]", P "stray '-'\n[1]\n" },
    { "[1e]\n[1]", P "stray '1e'\n[1]\n" },
    { "[\"tab\there\"]\n[1]", P "stray '\t'\n[1]\n" },
    { "{\"open\n{\"b\": 1}", P "stray '\n'\n{\"b\": 1}\n" },
    { "\x80 {\"b\": 1}", P "stray '\xef\xbf\xbd'\n{\"b\": 1}\n" },

    /* 0xFF: one error and a clean state, wherever it comes. */
    { "\xff[1]", P "stray '\xef\xbf\xbd'\n[1]\n" },
    { "{\"a\": {\"b\xff[1]", P "stray '\xef\xbf\xbd'\n[1]\n" },
    { "{\"a\": {\"b\": [\xff[1]", P "stray '\xef\xbf\xbd'\n[1]\n" },
    { "#\xff[1]", P "stray '#'\n" P "stray '\xef\xbf\xbd'\n[1]\n" },
    { "{1 {\xff[1]", P "key is not a string in object\n" P "stray '\xef\xbf\xbd'\n[1]\n" },
};

static void test_rows(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        static const size_t steps[] = { 1, 2, 3, 7, 4096 };

        for (size_t s = 0; s < G_N_ELEMENTS(steps); s++) {
            g_autofree char *out = read_in_steps(rows[i].input, strlen(rows[i].input), steps[s]);

            if (strcmp(out, rows[i].output) != 0)
                fail_msg("%s\nin steps of %zu: got\n%swanted\n%s", rows[i].input, steps[s], out,
                         rows[i].output);
        }
    }
}

static void test_nul_byte(void **state)
{
    g_autofree char *out = read_in_steps("\0{}", 3, 8);

    assert_non_null(strstr(out, P "stray '"));
    assert_non_null(strstr(out, "\n{}\n"));
}

static char *nested(size_t depth)
{
    GString *s = g_string_new(NULL);

    for (size_t i = 0; i < depth; i++)
        g_string_append_c(s, '[');
    for (size_t i = 0; i < depth; i++)
        g_string_append_c(s, ']');
    g_string_append(s, "\n{}");
    return g_string_free(s, FALSE);
}

static void test_depth_is_limited(void **state)
{
    g_autofree char *good = nested(JSON_DEPTH_MAX), *bad = nested(JSON_DEPTH_MAX + 1);
    g_autofree char *out = read_in_steps(bad, strlen(bad), 4096);
    g_autofree char *in = read_in_steps(good, strlen(good), 4096);

    assert_string_equal(out, "!JSON nesting depth limit exceeded\n{}\n");
    assert_true(g_str_has_suffix(in, "]\n{}\n"));
    assert_null(strchr(in, '!'));
}

/* start, then unit again and again until total bytes, then end. */
static char *read_long(const char *start, const char *unit, size_t total, const char *end)
{
    GString *out = g_string_new(NULL), *chunk = g_string_new(NULL);
    struct json_stream *stream = json_stream_new(collect, out);

    while (chunk->len < 65536)
        g_string_append(chunk, unit);
    json_stream_feed(stream, start, strlen(start));
    for (size_t fed = 0; fed < total; fed += chunk->len)
        json_stream_feed(stream, chunk->str, chunk->len);
    json_stream_feed(stream, end, strlen(end));
    json_stream_free(stream);
    g_string_free(chunk, TRUE);
    return g_string_free(out, FALSE);
}

static void test_long_input_is_one_error(void **state)
{
    static const struct {
        const char *start, *unit, *end;
        size_t total;
        const char *output;
    } cases[] = {
        { "{\"execute\": \"", "A", "\"}\n[1]", 100000000,
          "!JSON token size limit exceeded\n[1]\n" },
        { "{\"execute\": \"", "A{", "\"}\n[1]", 100000000,
          "!JSON token size limit exceeded\n[1]\n" },
        { "{\"execute\": ", "1", "}\n[1]", 70000000,
          "!JSON token size limit exceeded\n[1]\n" },
        { "[", "1,", "1]\n[1]", 5000000, "!JSON token count limit exceeded\n[1]\n" },
        { "", " \n", "[1]", 10000000, "[1]\n" },
        { "", "#", "\n[1]", 10000000, P "stray '#'\n[1]\n" },
        { "{1", "{", "\n[1]", 10000000, P "key is not a string in object\n[1]\n" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *out = read_long(cases[i].start, cases[i].unit, cases[i].total,
                                         cases[i].end);

        assert_string_equal(out, cases[i].output);
    }
}

static void test_pretty(void **state)
{
    struct json_object *value = json_tokener_parse("{\"a\": {}, \"b\": [1, []]}");
    GString *out = g_string_new(NULL);

    json_append(out, value, true);
    assert_string_equal(out->str, "{\r\n    \"a\": {\r\n    },\r\n    \"b\": [\r\n        1,\r\n"
                                  "        [\r\n        ]\r\n    ]\r\n}");
    g_string_free(out, TRUE);
    json_object_put(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows), cmocka_unit_test(test_nul_byte),
        cmocka_unit_test(test_depth_is_limited), cmocka_unit_test(test_long_input_is_one_error),
        cmocka_unit_test(test_pretty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
