/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * query-qmp-schema from the types themselves (qapi/introspect.json says what it
 * looks like).  Names of objects and enums are numbers: clients must not depend
 * on them.
 */
#include "schema.h"

#include <string.h>

struct schema_describe {
    struct json_object *entries;
    GHashTable *names;          /* const struct schema_type * -> name */
    unsigned next;
};

static const struct builtin {
    const struct schema_type *type;
    const char *name, *json_type;
} builtins[] = {
    { &schema_str, "str", "string" }, { &schema_int, "int", "int" },
    { &schema_number, "number", "number" }, { &schema_bool, "bool", "boolean" },
    { &schema_any, "any", "value" },
};

static struct json_object *entry_new(struct schema_describe *d, const char *name, const char *meta)
{
    struct json_object *entry = json_object_new_object();

    json_object_object_add(entry, "name", json_object_new_string(name));
    json_object_object_add(entry, "meta-type", json_object_new_string(meta));
    json_object_array_add(d->entries, entry);
    return entry;
}

static const char *describe_type(struct schema_describe *d, const struct schema_type *type);

static void describe_object(struct schema_describe *d, const struct schema_type *type,
                            struct json_object *entry)
{
    struct json_object *members = json_object_new_array();

    json_object_object_add(entry, "members", members);
    for (const struct schema_member *m = type->members; m && m->name; m++) {
        struct json_object *member = json_object_new_object();

        json_object_object_add(member, "name", json_object_new_string(m->name));
        if (m->optional)
            json_object_object_add(member, "default", NULL);
        json_object_object_add(member, "type",
                               json_object_new_string(describe_type(d, m->type)));
        json_object_array_add(members, member);
    }
    if (!type->tag)
        return;

    struct json_object *variants = json_object_new_array();

    json_object_object_add(entry, "tag", json_object_new_string(type->tag));
    json_object_object_add(entry, "variants", variants);
    for (const struct schema_variant *v = type->variants; v->name; v++) {
        struct json_object *variant = json_object_new_object();

        json_object_object_add(variant, "case", json_object_new_string(v->name));
        json_object_object_add(variant, "type", json_object_new_string(describe_type(d, v->type)));
        json_object_array_add(variants, variant);
    }
}

static void describe_enum(const struct schema_type *type, struct json_object *entry)
{
    struct json_object *members = json_object_new_array(), *values = json_object_new_array();

    for (const char *const *v = type->values; *v; v++) {
        struct json_object *member = json_object_new_object();

        json_object_object_add(member, "name", json_object_new_string(*v));
        json_object_array_add(members, member);
        json_object_array_add(values, json_object_new_string(*v));
    }
    json_object_object_add(entry, "members", members);
    json_object_object_add(entry, "values", values);
}

static const char *describe_array(struct schema_describe *d, const struct schema_type *type)
{
    const char *element = describe_type(d, type->element);
    char *name = g_strdup_printf("[%s]", element);
    struct json_object *entry = entry_new(d, name, "array");

    json_object_object_add(entry, "element-type", json_object_new_string(element));
    g_hash_table_insert(d->names, (gpointer)type, name);
    return name;
}

/* The type's name; its entry is made the first time. */
static const char *describe_type(struct schema_describe *d, const struct schema_type *type)
{
    char *name = g_hash_table_lookup(d->names, type == &schema_uint ? &schema_int : type);

    if (name)
        return name;
    if (type->meta == SCHEMA_ARRAY)
        return describe_array(d, type);
    name = g_strdup_printf("%u", d->next++);
    g_hash_table_insert(d->names, (gpointer)type, name);
    if (type->meta == SCHEMA_ENUM)
        describe_enum(type, entry_new(d, name, "enum"));
    else
        describe_object(d, type, entry_new(d, name, "object"));
    return name;
}

struct schema_describe *schema_describe_new(void)
{
    struct schema_describe *d = g_new0(struct schema_describe, 1);

    d->entries = json_object_new_array();
    d->names = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    for (size_t i = 0; i < G_N_ELEMENTS(builtins); i++) {
        struct json_object *entry = entry_new(d, builtins[i].name, "builtin");

        json_object_object_add(entry, "json-type", json_object_new_string(builtins[i].json_type));
        g_hash_table_insert(d->names, (gpointer)builtins[i].type, g_strdup(builtins[i].name));
    }
    return d;
}

static void add_type(struct schema_describe *d, struct json_object *entry, const char *member,
                     const struct schema_type *type)
{
    const char *name = describe_type(d, type ? type : &schema_empty);

    json_object_object_add(entry, member, json_object_new_string(name));
}

void schema_describe_command(struct schema_describe *d, const char *name,
                             const struct schema_type *args, const struct schema_type *ret)
{
    struct json_object *entry = entry_new(d, name, "command");

    add_type(d, entry, "arg-type", args);
    add_type(d, entry, "ret-type", ret);
}

void schema_describe_event(struct schema_describe *d, const char *name,
                           const struct schema_type *data)
{
    add_type(d, entry_new(d, name, "event"), "arg-type", data);
}

struct json_object *schema_describe_done(struct schema_describe *d)
{
    struct json_object *entries = d->entries;

    g_hash_table_unref(d->names);
    g_free(d);
    return entries;
}
