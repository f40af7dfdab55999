/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Types of what goes in and out of commands: one description checks arguments
 * with QEMU's words, and answers query-qmp-schema.
 */
#ifndef MONITOR_SCHEMA_H
#define MONITOR_SCHEMA_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

enum schema_meta {
    SCHEMA_STR, SCHEMA_INT, SCHEMA_UINT, SCHEMA_NUMBER, SCHEMA_BOOL, SCHEMA_ANY, SCHEMA_OBJECT, SCHEMA_ENUM,
    SCHEMA_ARRAY,
};

struct schema_type;

struct schema_member {
    const char *name;           /* NULL ends a list */
    const struct schema_type *type;
    bool optional;
    /* How a person types it: "-a" as a flag, with a value unless it is a bool; all the rest of
     * the line. Flags come in any order, before the arguments without one. */
    char flag;
    bool rest;
    bool format;                /* "/4xg": there or not, optional */
    bool program;               /* not for people: optional */
};

struct schema_variant {
    const char *name;           /* NULL ends a list */
    const struct schema_type *type;
};

struct schema_type {
    enum schema_meta meta;
    const struct schema_member *members;        /* of an object; may be NULL: none */
    const char *const *values;                  /* of an enum, NULL-terminated */
    const struct schema_type *element;          /* of an array */
    /* An object that takes further members, which the command itself checks. */
    bool open;
    const char *tag;                            /* the member that selects one of the variants */
    const struct schema_variant *variants;
};

/* schema_uint: 64 bits without a sign; programs are told that it is an int. */
extern const struct schema_type schema_str, schema_int, schema_uint, schema_number, schema_bool,
    schema_any, schema_strings, schema_empty;

/* Types of tables written in place. */
#define SCHEMA_OBJECT_OF(...) \
    { .meta = SCHEMA_OBJECT, .members = (const struct schema_member[]){ __VA_ARGS__, { NULL } } }
#define SCHEMA_ARRAY_OF(element_) { .meta = SCHEMA_ARRAY, .element = (element_) }
#define SCHEMA_ENUM_OF(...) \
    { .meta = SCHEMA_ENUM, .values = (const char *const[]){ __VA_ARGS__, NULL } }

/* name: how messages call the value. */
bool schema_check(const struct schema_type *type, const char *name, struct json_object *value,
                  GError **error);

/*
 * query-qmp-schema's array, grown entry by entry; each type once, named by number.
 * schema_describe_new() begins it with the built-in types.
 */
struct schema_describe;
struct schema_describe *schema_describe_new(void);
void schema_describe_command(struct schema_describe *d, const char *name,
                             const struct schema_type *args, const struct schema_type *ret);
void schema_describe_event(struct schema_describe *d, const char *name,
                           const struct schema_type *data);
/* Frees d. */
struct json_object *schema_describe_done(struct schema_describe *d);

#endif
