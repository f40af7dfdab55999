/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Option strings, "word,key=value,key=value", with QEMU's rules: ",," is a comma
 * in a value, a key without a value is on, the first word may have an implied key.
 */
#include "error.h"
#include "object.h"

#include <errno.h>
#include <string.h>

static void option_free(gpointer data)
{
    struct option *opt = data;

    g_free(opt->key);
    g_free(opt->value);
    g_free(opt);
}

/* One value from *text on to a single comma; *text is left behind that comma. */
static char *take_value(const char **text)
{
    GString *value = g_string_new(NULL);
    const char *p = *text;

    for (; *p; p++) {
        if (*p == ',' && *++p != ',')
            break;
        g_string_append_c(value, *p);
    }
    *text = p;
    return g_string_free(value, FALSE);
}

GPtrArray *option_parse(const char *text, const char *first_key, GError **error)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(option_free);
    const char *p = text;

    while (*p) {
        struct option *opt = g_new0(struct option, 1);
        size_t word = strcspn(p, "=,");

        g_ptr_array_add(list, opt);
        if (p[word] == '=') {
            opt->key = g_strndup(p, word);
            p += word + 1;
            opt->value = take_value(&p);
        } else if (first_key && list->len == 1) {
            opt->key = g_strdup(first_key);
            opt->value = take_value(&p);
        } else {
            opt->key = g_strndup(p, word);
            opt->value = g_strdup("on");
            p += word + (p[word] == ',');
        }
        if (!*opt->key) {
            error_set(error, "'%s': a key is missing before '=' or ','", text);
            return NULL;
        }
    }
    return g_steal_pointer(&list);
}

/* Shift of a suffix, -1: none such. */
static int suffix_shift(char c)
{
    static const char suffixes[] = "BKMGTPE";
    const char *found = c ? strchr(suffixes, g_ascii_toupper(c)) : NULL;

    return found ? (int)(found - suffixes) * 10 : -1;
}

/*
 * ".digits" as that part of 2^shift, at most 18 digits of it (more can't matter
 * below 2^60); SIZE_FRACTION_BAD: no digits, or there is nothing to be a part of.
 */
#define SIZE_FRACTION_BAD UINT64_MAX

static uint64_t parse_fraction(const char *digits, size_t n, int shift)
{
    uint64_t value = 0, scale = 1;

    if (n == 0 || shift == 0)
        return SIZE_FRACTION_BAD;
    for (size_t i = 0; i < n && i < 18; i++) {
        value = value * 10 + (uint64_t)(digits[i] - '0');
        scale *= 10;
    }
    return (uint64_t)(((unsigned __int128)value << shift) / scale);
}

bool size_parse(const char *text, uint64_t *ret)
{
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    uint64_t whole, fraction = 0;
    const char *digits = NULL;
    size_t n_digits = 0;
    char *end;
    int shift = 0;

    /* strtoull() would take blanks and signs. */
    if (!g_ascii_isdigit(text[0]) || (hex && !g_ascii_isxdigit(text[2])))
        return false;
    errno = 0;
    whole = g_ascii_strtoull(text, &end, hex ? 16 : 10);
    if (errno)
        return false;
    if (*end == '.' && !hex) {
        digits = end + 1;
        n_digits = strspn(digits, "0123456789");
        end += 1 + n_digits;
    }
    if (*end) {
        shift = suffix_shift(*end++);
        if (shift < 0 || *end)
            return false;
    }
    if (digits) {
        fraction = parse_fraction(digits, n_digits, shift);
        if (fraction == SIZE_FRACTION_BAD)
            return false;
    }
    if (whole > UINT64_MAX >> shift)
        return false;
    *ret = (whole << shift) + fraction;
    return true;
}
