/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's formats: scripts compare them, so that even d of less than 8 bytes isn't
 * sign-extended.
 */
#include "examine.h"

#include "debug.h"
#include "error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Of all monitors, as in QEMU. Main thread. */
static struct examine_format last = { .format = 'x', .size = 4 };

static bool take_letter(char letter, struct examine_format *fmt, bool *sized)
{
    static const struct {
        char letter;
        unsigned size;
    } sizes[] = { { 'b', 1 }, { 'h', 2 }, { 'w', 4 }, { 'g', 8 }, { 'L', 8 } };

    if (letter && strchr("xduoci", letter)) {
        fmt->format = letter;
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        if (sizes[i].letter == letter) {
            fmt->size = sizes[i].size;
            *sized = true;
            return true;
        }
    }
    return false;
}

bool examine_format_parse(const char *text, struct examine_format *ret, GError **error)
{
    const char *p = text ? text + 1 : "";
    bool sized = false;

    *ret = last;
    ret->count = 1;
    if (g_ascii_isdigit(*p)) {
        char *end;
        guint64 count = g_ascii_strtoull(p, &end, 10);

        ret->count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
        p = end;
    }
    while (take_letter(*p, ret, &sized))
        p++;
    if (*p) {
        error_set(error, "invalid char in format: '%c'", *p);
        return false;
    }
    last.format = ret->format;
    if (ret->format != 'i')
        last.size = ret->size;
    if (ret->format == 'c')
        ret->size = 1;
    return true;
}

/* --- One value --- */

static void append_character(uint8_t c, GString *out)
{
    g_string_append_c(out, '\'');
    if (c == '\n')
        g_string_append(out, "\\n");
    else if (c == '\r')
        g_string_append(out, "\\r");
    else if (c == '\'' || c == '\\')
        g_string_append_printf(out, "\\%c", c);
    else if (g_ascii_isprint(c))
        g_string_append_c(out, (char)c);
    else
        g_string_append_printf(out, "\\x%02x", c);
    g_string_append_c(out, '\'');
}

void examine_value(const struct examine_format *fmt, uint64_t value, bool pad, GString *out)
{
    static const int octal[] = { [1] = 3, [2] = 6, [4] = 11, [8] = 22 };
    static const int decimal[] = { [1] = 3, [2] = 5, [4] = 10, [8] = 20 };
    unsigned n = fmt->size;

    switch (fmt->format) {
    case 'o':
        g_string_append_printf(out, "%#*" PRIo64, pad ? octal[n] : 0, value);
        break;
    case 'u':
        g_string_append_printf(out, "%*" PRIu64, pad ? decimal[n] : 0, value);
        break;
    case 'd':
        g_string_append_printf(out, "%*" PRId64, pad ? decimal[n] : 0, (int64_t)value);
        break;
    case 'c':
        append_character((uint8_t)value, out);
        break;
    default:
        if (pad)
            g_string_append_printf(out, "0x%0*" PRIx64, (int)n * 2, value);
        else
            g_string_append_printf(out, "%#" PRIx64, value);
    }
}

/* --- Lines --- */

/* A whole number of lines; each access to private memory costs more than what it brings. */
enum { READ_AT_ONCE = 4096 };

/* size bytes at addr, of which there are so many as have; fewer: error says why, and it ends. */
static bool append_lines(const struct examine_format *fmt, uint64_t addr, const uint8_t *bytes,
                         unsigned size, unsigned have, const GError *error, GString *out)
{
    unsigned line = fmt->size == 1 ? 8 : 16;

    for (unsigned at = 0; at < size; at += line) {
        unsigned end = MIN(size, at + line), i = at;

        g_string_append_printf(out, "%016" PRIx64 ":", addr + at);
        for (; i + fmt->size <= MIN(have, end); i += fmt->size) {
            uint64_t value = 0;

            memcpy(&value, bytes + i, fmt->size);
            g_string_append_c(out, ' ');
            examine_value(fmt, value, true, out);
        }
        if (have < end) {
            g_string_append_printf(out, "%s Cannot access memory\n%s\n", i > at ? " :" : "",
                                   error->message);
            return false;
        }
        g_string_append_c(out, '\n');
    }
    return true;
}

void examine_memory(const struct monitor_ctx *ctx, struct page_walk *walk, uint64_t addr,
                    const struct examine_format *fmt, GString *out)
{
    uint64_t left = (uint64_t)fmt->count * fmt->size;
    uint8_t bytes[READ_AT_ONCE];
    bool ok = true;

    while (left && ok) {
        g_autoptr(GError) error = NULL;
        unsigned n = (unsigned)MIN(left, sizeof(bytes));
        unsigned have = (unsigned)debug_read(ctx->vm->debug, walk, addr, bytes, n, &error);

        ok = append_lines(fmt, addr, bytes, n, have, error, out);
        addr += n;
        left -= n;
    }
}
