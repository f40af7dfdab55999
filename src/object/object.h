/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * User-creatable objects (-object, object-add): types with tables of properties,
 * and the registry of what exists by id.
 *
 * Main thread only.  A type is one static table; properties are set by name from
 * text (command line) or JSON (QMP), checked by kind, so that every type refuses
 * the same mistakes with the same words (those of QEMU, where it has one).
 */
#ifndef OBJECT_OBJECT_H
#define OBJECT_OBJECT_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum property_kind {
    PROP_BOOL,                  /* bool */
    PROP_SIZE,                  /* uint64_t; text takes suffixes K M G T P E */
    PROP_UINT32,                /* uint32_t */
    PROP_STRING,                /* char *, owned */
    PROP_ON_OFF_AUTO,           /* enum on_off_auto */
    PROP_ENUM,                  /* int, index into .names */
    PROP_NODES,                 /* struct node_set; text: "0-3", and again for more */
};

enum { MAX_HOST_NODES = 128 };
struct node_set {
    uint64_t bits[MAX_HOST_NODES / 64];
};

enum on_off_auto { OOA_AUTO, OOA_ON, OOA_OFF };

struct property {
    const char *name;
    enum property_kind kind;
    size_t offset;              /* into the object's own struct */
    const char *const *names;   /* of PROP_ENUM, NULL-terminated */
    const char *help;
    bool required;
    bool readonly;              /* of a device: looked at, never set */
    size_t given;               /* of a bool that is true once it was set by name; 0: none */
};

struct object;

struct object_type {
    const char *name;           /* "memory-backend-ram" */
    const char *help;           /* one line: what it is for and when to use it */
    size_t size;                /* of the struct that begins with struct object */
    const struct property *const *properties;   /* tables, NULL-terminated list; each ends with name NULL */
    void (*init)(struct object *obj);           /* defaults that aren't zero; may be NULL */
    /* All properties are set: check them together, acquire. False: nothing is held. */
    bool (*complete)(struct object *obj, GError **error);
    void (*finalize)(struct object *obj);       /* may be NULL; also after a failed complete */
};

struct object {
    const struct object_type *type;
    char *id;
    unsigned users;             /* object-del is refused while not 0 */
};

/* Make a type known; types are registered by their folder's one init function. */
void object_type_register(const struct object_type *type);
const struct object_type *object_type_find(const char *name);
/* All, in order of registration: a GPtrArray of const struct object_type *. */
GPtrArray *object_types(void);

/*
 * Create from an option string "TYPE,id=ID,prop=value,..." (",," is a comma, a
 * bare word is prop=on) or a JSON object text (first character '{').
 */
bool object_add_option(const char *option, GError **error);
/* From QMP arguments: members qom-type, id, and the properties flat. */
bool object_add_json(struct json_object *args, GError **error);
bool object_del(const char *id, GError **error);

struct object *object_find(const char *id);
/* The object with that id if it is of a type whose name starts with prefix; NULL otherwise. */
struct object *object_find_type(const char *id, const char *type_prefix);
/* Newest first, as query-memdev lists. Elements: struct object *. Caller frees the array. */
GPtrArray *object_list(void);
void object_delete_all(void);

/* The value as JSON, new reference; NULL if there is no such property. */
struct json_object *object_get_property(struct object *obj, const char *name);

/* Text for `-object help` and `-object TYPE,help`; caller frees. */
char *object_help(const char *type_name);

/*
 * Option strings for the other options too: "key=value,key=value" to an ordered
 * list; first_key (may be NULL) names a leading word without '='.
 */
struct option {
    char *key, *value;
};
GPtrArray *option_parse(const char *text, const char *first_key, GError **error);
/* Set one property of a struct described by a table, from text. *found false: no such property. */
bool property_set_text(const struct property *table, void *base, const char *name,
                       const char *value, bool *found, GError **error);
/* A JSON text, whole; a new reference, NULL with the error set. */
struct json_object *json_parse_text(const char *text, GError **error);
/* What a user may name a thing: a letter, then letters, digits and "-._". */
bool id_check(const char *id, GError **error);
bool size_parse(const char *text, uint64_t *ret);       /* "512M", "1.5G", "0x1000" */

#endif
