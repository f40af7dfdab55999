/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gdb_packet.h"

#include <string.h>

/* --- Coming in --- */

void gdb_reader_init(struct gdb_reader *reader)
{
    *reader = (struct gdb_reader){ .packet = g_byte_array_new() };
}

void gdb_reader_clear(struct gdb_reader *reader)
{
    g_byte_array_unref(reader->packet);
}

void gdb_reader_reset(struct gdb_reader *reader)
{
    g_byte_array_set_size(reader->packet, 0);
    reader->state = READER_IDLE;
}

static void add(struct gdb_reader *reader, uint8_t byte)
{
    if (reader->packet->len < GDB_PACKET_MAX)
        g_byte_array_append(reader->packet, &byte, 1);
    else
        reader->bad = true;
}

/* The count of a run is a printable character, 29 more than what is to be added (E.1). */
static void add_run(struct gdb_reader *reader, uint8_t count)
{
    GByteArray *packet = reader->packet;

    if (count < ' ' || count > '~' || packet->len == 0) {
        reader->bad = true;
        return;
    }
    for (unsigned n = count - 29; n > 0; n--)
        add(reader, packet->data[packet->len - 1]);
}

static enum gdb_event idle(struct gdb_reader *reader, uint8_t byte)
{
    switch (byte) {
    case '$':
        g_byte_array_set_size(reader->packet, 0);
        reader->state = READER_DATA;
        reader->sum = 0;
        reader->bad = false;
        return GDB_NOTHING;
    case '+': return GDB_ACK;
    case '-': return GDB_NAK;
    case 0x03: return GDB_INTERRUPT;
    }
    return GDB_NOTHING;
}

static void data(struct gdb_reader *reader, uint8_t byte)
{
    if (byte == '#') {
        reader->state = READER_SUM1;
        return;
    }
    reader->sum += byte;
    if (byte == '}')
        reader->state = READER_ESCAPE;
    else if (byte == '*')
        reader->state = READER_RUN;
    else
        add(reader, byte);
}

static enum gdb_event finish(struct gdb_reader *reader, int low)
{
    int high = g_ascii_xdigit_value((char)reader->given);

    reader->state = READER_IDLE;
    if (high < 0 || low < 0 || (high << 4 | low) != reader->sum)
        return GDB_BAD_SUM;
    if (reader->bad)
        return GDB_TOO_LONG;
    g_byte_array_append(reader->packet, (const guint8 *)"", 1);
    g_byte_array_set_size(reader->packet, reader->packet->len - 1);
    return GDB_PACKET;
}

static enum gdb_event take_byte(struct gdb_reader *reader, uint8_t byte)
{
    switch (reader->state) {
    case READER_IDLE:
        return idle(reader, byte);
    case READER_DATA:
        data(reader, byte);
        break;
    case READER_ESCAPE:
        reader->sum += byte;
        add(reader, byte ^ 0x20);
        reader->state = READER_DATA;
        break;
    case READER_RUN:
        reader->sum += byte;
        add_run(reader, byte);
        reader->state = READER_DATA;
        break;
    case READER_SUM1:
        reader->given = byte;
        reader->state = READER_SUM2;
        break;
    case READER_SUM2:
        return finish(reader, g_ascii_xdigit_value((char)byte));
    }
    return GDB_NOTHING;
}

size_t gdb_reader_feed(struct gdb_reader *reader, const uint8_t *bytes, size_t size,
                       enum gdb_event *event)
{
    size_t n = 0;

    *event = GDB_NOTHING;
    while (n < size && *event == GDB_NOTHING)
        *event = take_byte(reader, bytes[n++]);
    return n;
}

/* --- Going out --- */

void gdb_frame(GByteArray *out, const char *text, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum = 0, end[3] = { '#' };

    for (size_t i = 0; i < size; i++)
        sum += (uint8_t)text[i];
    end[1] = (uint8_t)digits[sum >> 4];
    end[2] = (uint8_t)digits[sum & 15];
    g_byte_array_append(out, (const guint8 *)"$", 1);
    g_byte_array_append(out, (const guint8 *)text, (guint)size);
    g_byte_array_append(out, end, sizeof(end));
}

void gdb_append_hex(GString *out, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;

    for (size_t i = 0; i < size; i++) {
        g_string_append_c(out, digits[p[i] >> 4]);
        g_string_append_c(out, digits[p[i] & 15]);
    }
}

void gdb_append_binary(GString *out, const void *bytes, size_t size)
{
    const char *p = bytes;

    for (size_t i = 0; i < size; i++) {
        bool special = p[i] == '#' || p[i] == '$' || p[i] == '}' || p[i] == '*';

        if (special)
            g_string_append_c(out, '}');
        g_string_append_c(out, special ? p[i] ^ 0x20 : p[i]);
    }
}

/* --- Inside a packet --- */

bool gdb_take(struct gdb_text *text, char c)
{
    if (text->p == text->end || *text->p != c)
        return false;
    text->p++;
    return true;
}

bool gdb_take_word(struct gdb_text *text, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(text->end - text->p) < size || memcmp(text->p, word, size) != 0)
        return false;
    text->p += size;
    return true;
}

bool gdb_take_number(struct gdb_text *text, uint64_t *ret)
{
    unsigned n = 0;
    int digit;

    *ret = 0;
    for (; text->p < text->end && (digit = g_ascii_xdigit_value(*text->p)) >= 0; text->p++) {
        if (++n > 16)
            return false;
        *ret = *ret << 4 | (unsigned)digit;
    }
    return n > 0;
}

bool gdb_take_range(struct gdb_text *text, uint64_t *addr, uint64_t *size)
{
    return gdb_take_number(text, addr) && gdb_take(text, ',') && gdb_take_number(text, size);
}

GByteArray *gdb_take_hex(struct gdb_text *text)
{
    size_t digits = (size_t)(text->end - text->p);
    GByteArray *bytes = g_byte_array_sized_new((guint)(digits / 2));

    for (; text->end - text->p >= 2; text->p += 2) {
        int high = g_ascii_xdigit_value(text->p[0]), low = g_ascii_xdigit_value(text->p[1]);
        uint8_t byte;

        if (high < 0 || low < 0)
            break;
        byte = (uint8_t)(high << 4 | low);
        g_byte_array_append(bytes, &byte, 1);
    }
    if (text->p == text->end)
        return bytes;
    g_byte_array_unref(bytes);
    return NULL;
}

/* One of an id's numbers: -1 is all, 0 is any. */
static bool take_id(struct gdb_text *text, int *ret)
{
    uint64_t value;

    if (gdb_take_word(text, "-1")) {
        *ret = GDB_THREAD_ALL;
        return true;
    }
    if (!gdb_take_number(text, &value) || value > G_MAXINT)
        return false;
    *ret = (int)value;
    return true;
}

bool gdb_take_thread(struct gdb_text *text, int *ret)
{
    int process;

    if (!gdb_take(text, 'p'))
        return take_id(text, ret);
    if (!take_id(text, &process) || process > 1)
        return false;
    *ret = GDB_THREAD_ALL;
    return !gdb_take(text, '.') || take_id(text, ret);
}
