/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON as QMP needs it: messages out of a stream of bytes, however it is cut,
 * with exact integers, limits, and recovery after what is no JSON; and JSON as
 * ASCII text.
 *
 * json-c keeps the values.  Its own tokener can't be used: it takes a duplicate
 * key, a comment and NaN, and has neither QEMU's messages nor a way back from an
 * error within a stream.
 */
#ifndef MONITOR_JSON_STREAM_H
#define MONITOR_JSON_STREAM_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

struct json_stream;

enum {
    JSON_DEPTH_MAX = 1024,
    JSON_TOKENS_MAX = 2 * 1024 * 1024,
    JSON_BYTES_MAX = 64 * 1024 * 1024,  /* token text of one message */
};

/*
 * Gets every message (new reference is the receiver's; JSON's null is NULL), or
 * with error not NULL what was wrong with one.  Must not free the stream.
 */
typedef void json_message_fn(void *opaque, struct json_object *value, const char *error);

struct json_stream *json_stream_new(json_message_fn *message, void *opaque);
void json_stream_free(struct json_stream *stream);
/* Any bytes: each message is delivered when its last byte is seen. */
void json_stream_feed(struct json_stream *stream, const void *data, size_t size);

/*
 * Append text: one blank after ':' and ',', others than ASCII as \uXXXX.  pretty:
 * four blanks a level, lines ended by CR LF.
 */
void json_append(GString *out, struct json_object *value, bool pretty);

#endif
