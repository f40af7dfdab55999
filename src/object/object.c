/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of types and of objects by id, and their creation from option
 * strings and JSON.  Both ways collect the same three things: a type, an id and
 * members; only how a member is set differs.
 */
#include "error.h"
#include "object.h"
#include "property.h"

#include <string.h>

static GPtrArray *types;        /* const struct object_type *, in order of registration */
static GPtrArray *objects;      /* struct object *, oldest first */

void object_type_register(const struct object_type *type)
{
    if (!types)
        types = g_ptr_array_new();
    if (!object_type_find(type->name))
        g_ptr_array_add(types, (gpointer)type);
}

const struct object_type *object_type_find(const char *name)
{
    for (guint i = 0; types && i < types->len; i++) {
        const struct object_type *type = g_ptr_array_index(types, i);

        if (strcmp(type->name, name) == 0)
            return type;
    }
    return NULL;
}

GPtrArray *object_types(void)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; types && i < types->len; i++)
        g_ptr_array_add(list, g_ptr_array_index(types, i));
    return list;
}

struct object *object_find(const char *id)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        struct object *obj = g_ptr_array_index(objects, i);

        if (strcmp(obj->id, id) == 0)
            return obj;
    }
    return NULL;
}

struct object *object_find_type(const char *id, const char *type_prefix)
{
    struct object *obj = object_find(id);

    return obj && g_str_has_prefix(obj->type->name, type_prefix) ? obj : NULL;
}

GPtrArray *object_list(void)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = objects ? objects->len : 0; i > 0; i--)
        g_ptr_array_add(list, g_ptr_array_index(objects, i - 1));
    return list;
}

static void object_free(struct object *obj)
{
    if (obj->type->finalize)
        obj->type->finalize(obj);
    for (guint i = 0; obj->type->properties[i]; i++)
        property_free_all(obj->type->properties[i], obj);
    g_free(obj->id);
    g_free(obj);
}

bool id_check(const char *id, GError **error)
{
    bool ok = g_ascii_isalpha(id[0]);

    for (; *id && ok; id++)
        ok = g_ascii_isalnum(*id) || strchr("-._", *id);
    if (!ok)
        error_set(error, "Parameter 'id' expects an identifier");
    return ok;
}

/* A member as it came: text or JSON. */
struct member {
    const char *key;
    const char *text;
    struct json_object *json;
};

static bool set_member(struct object *obj, const struct member *member, GHashTable *seen,
                       GError **error)
{
    for (guint i = 0; obj->type->properties[i]; i++) {
        const struct property *table = obj->type->properties[i];
        bool found = false;
        bool ok = member->text
                      ? property_set_text(table, obj, member->key, member->text, &found, error)
                      : property_set_json(table, obj, member->key, member->json, &found, error);

        if (found) {
            g_hash_table_add(seen, (gpointer)property_find(table, member->key));
            return ok;
        }
    }
    error_set(error, member->text ? "Invalid parameter '%s'" : "Parameter '%s' is unexpected",
              member->key);
    return false;
}

static bool check_required(const struct object *obj, GHashTable *seen, GError **error)
{
    for (guint i = 0; obj->type->properties[i]; i++) {
        for (const struct property *prop = obj->type->properties[i]; prop->name; prop++) {
            if (prop->required && !g_hash_table_contains(seen, prop)) {
                error_set(error, "Parameter '%s' is missing", prop->name);
                return false;
            }
        }
    }
    return true;
}

static bool check_id(const char *id, GError **error)
{
    if (!id) {
        error_set(error, "Parameter 'id' is missing");
        return false;
    }
    if (!id_check(id, error))
        return false;
    if (object_find(id)) {
        error_set(error, "Duplicate ID '%s' for object", id);
        return false;
    }
    return true;
}

static bool object_add(const char *type_name, const char *id, const struct member *members,
                       size_t n, GError **error)
{
    const struct object_type *type;
    struct object *obj;

    if (!type_name) {
        error_set(error, "Parameter 'qom-type' is missing");
        return false;
    }
    type = object_type_find(type_name);
    if (!type) {
        error_set(error, "Parameter 'qom-type' does not accept value '%s'", type_name);
        return false;
    }
    if (!check_id(id, error))
        return false;

    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    bool ok = true;

    obj = g_malloc0(type->size);
    obj->type = type;
    obj->id = g_strdup(id);
    if (type->init)
        type->init(obj);
    for (size_t i = 0; ok && i < n; i++)
        ok = set_member(obj, &members[i], seen, error);
    ok = ok && check_required(obj, seen, error) && (!type->complete || type->complete(obj, error));
    if (!ok) {
        object_free(obj);
        return false;
    }
    if (!objects)
        objects = g_ptr_array_new();
    g_ptr_array_add(objects, obj);
    return true;
}

bool object_add_json(struct json_object *args, GError **error)
{
    g_autoptr(GArray) members = g_array_new(FALSE, TRUE, sizeof(struct member));
    const char *names[2] = { NULL, NULL };
    static const char *const keys[2] = { "qom-type", "id" };

    if (!json_object_is_type(args, json_type_object)) {
        error_set(error, "Invalid parameter type for 'object', expected: object");
        return false;
    }
    json_object_object_foreach(args, key, value) {
        int which = strcmp(key, keys[0]) == 0 ? 0 : strcmp(key, keys[1]) == 0 ? 1 : -1;

        if (which < 0) {
            struct member member = { .key = key, .json = value };

            g_array_append_val(members, member);
            continue;
        }
        /* Nor one with a NUL in it, which would be cut there. */
        if (!json_object_is_type(value, json_type_string) ||
            strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value)) {
            error_set(error, "Invalid parameter type for '%s', expected: string", key);
            return false;
        }
        names[which] = json_object_get_string(value);
    }
    return object_add(names[0], names[1], (struct member *)members->data, members->len, error);
}

struct json_object *json_parse_text(const char *text, GError **error)
{
    struct json_tokener *tok = json_tokener_new();
    struct json_object *value;

    json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    value = strlen(text) < INT32_MAX ? json_tokener_parse_ex(tok, text, (int)strlen(text) + 1)
                                     : NULL;
    if (!value || json_tokener_get_error(tok) != json_tokener_success) {
        error_set(error, "JSON parse error: %s",
                  json_tokener_error_desc(json_tokener_get_error(tok)));
        json_object_put(value);
        value = NULL;
    }
    json_tokener_free(tok);
    return value;
}

static bool object_add_json_text(const char *text, GError **error)
{
    struct json_object *args = json_parse_text(text, error);
    bool ok = args && object_add_json(args, error);

    json_object_put(args);
    return ok;
}

bool object_add_option(const char *option, GError **error)
{
    if (option[0] == '{')
        return object_add_json_text(option, error);

    g_autoptr(GPtrArray) list = option_parse(option, "qom-type", error);
    g_autoptr(GArray) members = g_array_new(FALSE, TRUE, sizeof(struct member));
    const char *type_name = NULL, *id = NULL;

    if (!list)
        return false;
    for (guint i = 0; i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);
        struct member member = { .key = opt->key, .text = opt->value };

        if (strcmp(opt->key, "qom-type") == 0)
            type_name = opt->value;
        else if (strcmp(opt->key, "id") == 0)
            id = opt->value;
        else
            g_array_append_val(members, member);
    }
    return object_add(type_name, id, (struct member *)members->data, members->len, error);
}

bool object_del(const char *id, GError **error)
{
    struct object *obj = object_find(id);

    if (!obj) {
        error_set(error, "object '%s' not found", id);
        return false;
    }
    if (obj->users) {
        error_set(error, "object '%s' is in use, can not be deleted", id);
        return false;
    }
    g_ptr_array_remove(objects, obj);
    object_free(obj);
    return true;
}

void object_delete_all(void)
{
    /* Newest first: what was made later may use what was made before. */
    while (objects && objects->len)
        object_free(g_ptr_array_steal_index(objects, objects->len - 1));
    g_clear_pointer(&objects, g_ptr_array_unref);
}

struct json_object *object_get_property(struct object *obj, const char *name)
{
    return property_tables_get_json(obj->type->properties, obj, name);
}

static void help_property(GString *text, const struct property *prop)
{
    g_autoptr(GString) left = g_string_new(prop->name);

    if (prop->kind == PROP_ENUM) {
        g_autofree char *names = g_strjoinv("|", (char **)prop->names);

        g_string_append_printf(left, "=<%s>", names);
    } else {
        g_string_append_printf(left, "=<%s>", property_kind_name(prop->kind));
    }
    g_string_append_printf(text, "  %-22s", left->str);
    if (prop->help)
        g_string_append_printf(text, " - %s", prop->help);
    g_string_append(text, prop->required ? " (required)\n" : "\n");
}

char *object_help(const char *type_name)
{
    const struct object_type *type = type_name ? object_type_find(type_name) : NULL;
    GString *text = g_string_new(NULL);

    if (!type) {
        g_string_append(text, "List of user creatable objects:\n");
        for (guint i = 0; types && i < types->len; i++) {
            type = g_ptr_array_index(types, i);
            g_string_append_printf(text, "  %-28s %s\n", type->name, type->help ? type->help : "");
        }
        return g_string_free(text, FALSE);
    }
    g_string_append_printf(text, "%s options:\n", type->name);
    if (type->help)
        g_string_append_printf(text, "  (%s)\n", type->help);
    for (guint i = 0; type->properties[i]; i++) {
        for (const struct property *prop = type->properties[i]; prop->name; prop++)
            help_property(text, prop);
    }
    return g_string_free(text, FALSE);
}
