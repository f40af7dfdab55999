/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Packets of gdb's remote protocol ("Debugging with GDB", E.1): framing, checksums,
 * escapes, run lengths, and the numbers inside them.  Touches nothing else.
 */
#ifndef DEBUG_GDB_PACKET_H
#define DEBUG_GDB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one packet may hold, either way; qSupported's PacketSize. */
#define GDB_PACKET_MAX 0x20000u

enum gdb_event {
    GDB_NOTHING,                /* more bytes are needed */
    GDB_PACKET,                 /* reader->packet */
    GDB_TOO_LONG,               /* one that is longer than GDB_PACKET_MAX, or decodes badly */
    GDB_BAD_SUM,
    GDB_ACK, GDB_NAK,
    GDB_INTERRUPT,              /* 0x03 between packets */
};

struct gdb_reader {
    GByteArray *packet;         /* decoded; a 0 follows its last byte */
    enum { READER_IDLE, READER_DATA, READER_ESCAPE, READER_RUN, READER_SUM1, READER_SUM2 } state;
    uint8_t sum, given;
    bool bad;
};

void gdb_reader_init(struct gdb_reader *reader);
void gdb_reader_clear(struct gdb_reader *reader);
/* Forget what has come so far. */
void gdb_reader_reset(struct gdb_reader *reader);
/* Bytes taken, at least one of a size that isn't 0, up to the first event. */
size_t gdb_reader_feed(struct gdb_reader *reader, const uint8_t *data, size_t size,
                       enum gdb_event *event);

/* $text#sum; text is escaped already where it needs to be. */
void gdb_frame(GByteArray *out, const char *text, size_t size);
/* Bytes as two hexadecimal digits each; as they are, with escapes. */
void gdb_append_hex(GString *out, const void *data, size_t size);
void gdb_append_binary(GString *out, const void *data, size_t size);

/* --- Reading a packet: what is left of it --- */

struct gdb_text {
    const char *p, *end;
};

/* Take this character, this word; false: something else is there. */
bool gdb_take(struct gdb_text *text, char c);
bool gdb_take_word(struct gdb_text *text, const char *word);
/* A hexadecimal number of 1 to 16 digits. */
bool gdb_take_number(struct gdb_text *text, uint64_t *ret);
/* ADDR,LENGTH */
bool gdb_take_range(struct gdb_text *text, uint64_t *addr, uint64_t *size);
/* All that is left, in pairs of digits. NULL: it isn't. */
GByteArray *gdb_take_hex(struct gdb_text *text);

enum { GDB_THREAD_ANY = 0, GDB_THREAD_ALL = -1 };
/* TID, pPID.TID, pPID: the thread (or one of the above). False: none, or another process. */
bool gdb_take_thread(struct gdb_text *text, int *ret);

#endif
