/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The JSON reader of QMP on any bytes: what it takes, it writes; what it wrote, it
 * takes again and writes the same; and after 0xFF it is as new.
 */
#include "fuzz.h"
#include "json_stream.h"

#include <stdlib.h>
#include <string.h>

struct record {
    GString *text;              /* what was understood, one a line */
    unsigned errors;
};

static void collect(void *opaque, struct json_object *value, const char *error)
{
    struct record *record = opaque;

    if (error) {
        record->errors++;
    } else {
        json_append(record->text, value, false);
        g_string_append_c(record->text, '\n');
    }
    json_object_put(value);
}

static struct record read_all(const void *data, size_t size, size_t step)
{
    struct record record = { g_string_new(NULL), 0 };
    struct json_stream *stream = json_stream_new(collect, &record);

    for (size_t at = 0; at < size; at += step)
        json_stream_feed(stream, (const uint8_t *)data + at, MIN(step, size - at));
    /* Whatever state it is in: one reset, and a message is understood. */
    unsigned errors = record.errors;

    json_stream_feed(stream, "\xff{}", 3);
    if (record.errors == errors || strcmp(record.text->str + record.text->len - 3, "{}\n") != 0)
        abort();
    json_stream_free(stream);
    return record;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record whole = read_all(data, size, size ? size : 1);
    struct record bytes = read_all(data, size, 1);
    struct record again = read_all(whole.text->str, whole.text->len, 4096);

    if (strcmp(whole.text->str, bytes.text->str) != 0 || whole.errors != bytes.errors)
        abort();
    /* The first pass's own "{}" is read again, and the second adds another. */
    g_string_append(whole.text, "{}\n");
    if (strcmp(whole.text->str, again.text->str) != 0 || again.errors != 1)
        abort();
    g_string_free(whole.text, TRUE);
    g_string_free(bytes.text, TRUE);
    g_string_free(again.text, TRUE);
    return 0;
}

static const char *const seeds[] = {
    "{\"execute\": \"qmp_capabilities\", \"id\": [1, -2, 3.5e-7, \"x\"]}\n",
    "{'execute': 'object-add', 'arguments': {'id': \"m\", 'size': 18446744073709551615}}{}",
    "[\"\\u00e4\\ud83d\\ude00\\u0000\\n\\\"\", true, false, null, {}, [], -0, 1e300]",
    "{\"a\": {\"b\": [1, {\"c\": \"}\"} , ]}} # \xff \xc3\xa4 \"\xc3\xa4\" {\"d\": tru}",
};

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    if (n >= G_N_ELEMENTS(seeds))
        return NULL;
    *size = strlen(seeds[n]);
    return (const uint8_t *)seeds[n];
}
