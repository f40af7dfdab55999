/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The writing half of json_stream.h. */
#include "json_stream.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void append_unicode(GString *out, gunichar c)
{
    if (c >= 0x10000) {
        c -= 0x10000;
        g_string_append_printf(out, "\\u%04X\\u%04X", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
        g_string_append_printf(out, "\\u%04X", c);
    }
}

/* The character at p, its bytes in *len; what is no UTF-8 is U+FFFD. */
static gunichar take_char(const char *p, size_t left, size_t *len)
{
    gunichar c = g_utf8_get_char_validated(p, (gssize)left);

    if (left >= 2 && memcmp(p, "\xc0\x80", 2) == 0) {   /* NUL, see json_stream.c */
        *len = 2;
        return 0;
    }
    if (c == (gunichar)-1 || c == (gunichar)-2) {
        *len = 1;
        return 0xfffd;
    }
    *len = (size_t)(g_utf8_next_char(p) - p);
    return c;
}

static void append_string(GString *out, const char *text, size_t size)
{
    static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";

    g_string_append_c(out, '"');
    for (size_t i = 0, len; i < size; i += len) {
        uint8_t c = (uint8_t)text[i];
        const char *found = c ? strchr(special, c) : NULL;

        len = 1;
        if (found)
            g_string_append_printf(out, "\\%c", letters[found - special]);
        else if (c >= 0x20 && c < 0x7f)
            g_string_append_c(out, (char)c);
        else
            append_unicode(out, c ? take_char(text + i, size - i, &len) : 0);
    }
    g_string_append_c(out, '"');
}

static void append_double(GString *out, double value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];

    /* Adding 0 makes -0 the 0 that it is read as. */
    g_string_append(out, isfinite(value) ? g_ascii_formatd(text, sizeof(text), "%.17g", value + 0.0)
                                         : "null");
}

static void newline(GString *out, bool pretty, unsigned level)
{
    if (pretty)
        g_string_append_printf(out, "\r\n%*s", (int)level * 4, "");
}

static void append_value(GString *out, struct json_object *value, bool pretty, unsigned level);

static void append_separator(GString *out, bool pretty, bool first)
{
    if (!first)
        g_string_append(out, pretty ? "," : ", ");
}

static void append_object(GString *out, struct json_object *value, bool pretty, unsigned level)
{
    bool first = true;

    g_string_append_c(out, '{');
    json_object_object_foreach(value, key, member) {
        append_separator(out, pretty, first);
        newline(out, pretty, level + 1);
        append_string(out, key, strlen(key));
        g_string_append(out, ": ");
        append_value(out, member, pretty, level + 1);
        first = false;
    }
    newline(out, pretty, level);
    g_string_append_c(out, '}');
}

static void append_array(GString *out, struct json_object *value, bool pretty, unsigned level)
{
    g_string_append_c(out, '[');
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        append_separator(out, pretty, i == 0);
        newline(out, pretty, level + 1);
        append_value(out, json_object_array_get_idx(value, i), pretty, level + 1);
    }
    newline(out, pretty, level);
    g_string_append_c(out, ']');
}

static void append_value(GString *out, struct json_object *value, bool pretty, unsigned level)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        g_string_append(out, "null");
        break;
    case json_type_boolean:
        g_string_append(out, json_object_get_boolean(value) ? "true" : "false");
        break;
    case json_type_int:
        /* json-c keeps one sign or the other; what is negative is no uint64. */
        if (json_object_get_int64(value) < 0)
            g_string_append_printf(out, "%" PRId64, json_object_get_int64(value));
        else
            g_string_append_printf(out, "%" PRIu64, json_object_get_uint64(value));
        break;
    case json_type_double:
        append_double(out, json_object_get_double(value));
        break;
    case json_type_string:
        append_string(out, json_object_get_string(value),
                      (size_t)json_object_get_string_len(value));
        break;
    case json_type_array:
        append_array(out, value, pretty, level);
        break;
    case json_type_object:
        append_object(out, value, pretty, level);
        break;
    }
}

void json_append(GString *out, struct json_object *value, bool pretty)
{
    append_value(out, value, pretty, 0);
}
