/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checking values against types: the words are those of QEMU's input visitor. */
#include "schema.h"

#include "error.h"

#include <string.h>

const struct schema_type schema_str = { .meta = SCHEMA_STR };
const struct schema_type schema_int = { .meta = SCHEMA_INT };
const struct schema_type schema_uint = { .meta = SCHEMA_UINT };
const struct schema_type schema_number = { .meta = SCHEMA_NUMBER };
const struct schema_type schema_bool = { .meta = SCHEMA_BOOL };
const struct schema_type schema_any = { .meta = SCHEMA_ANY };
const struct schema_type schema_strings = SCHEMA_ARRAY_OF(&schema_str);
const struct schema_type schema_empty = { .meta = SCHEMA_OBJECT };

static bool is_number(struct json_object *value)
{
    return json_object_is_type(value, json_type_int) ||
           json_object_is_type(value, json_type_double);
}

/* An int64, exactly: json-c would clamp what is larger. */
static bool is_int(struct json_object *value)
{
    return json_object_is_type(value, json_type_int) &&
           (json_object_get_int64(value) < 0 || json_object_get_uint64(value) <= INT64_MAX);
}

/* What is above an int64, json-c gives as the largest one. */
static bool is_uint(struct json_object *value)
{
    return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0;
}

static bool is_bool(struct json_object *value)
{
    return json_object_is_type(value, json_type_boolean);
}

static bool is_string(struct json_object *value)
{
    return json_object_is_type(value, json_type_string);
}

static bool is_array(struct json_object *value)
{
    return json_object_is_type(value, json_type_array);
}

static bool is_object(struct json_object *value)
{
    return json_object_is_type(value, json_type_object);
}

static bool is_any(struct json_object *value)
{
    return true;
}

static const struct meta {
    bool (*is)(struct json_object *value);
    const char *expected;
} metas[] = {
    [SCHEMA_STR] = { is_string, "string" },     [SCHEMA_INT] = { is_int, "integer" },
    [SCHEMA_UINT] = { is_uint, "uint64" },
    [SCHEMA_NUMBER] = { is_number, "number" },  [SCHEMA_BOOL] = { is_bool, "boolean" },
    [SCHEMA_ANY] = { is_any, "any" },           [SCHEMA_OBJECT] = { is_object, "object" },
    [SCHEMA_ENUM] = { is_string, "string" },    [SCHEMA_ARRAY] = { is_array, "array" },
};

static bool check_enum(const struct schema_type *type, const char *name,
                       struct json_object *value, GError **error)
{
    const char *text = json_object_get_string(value);

    if (g_strv_contains(type->values, text))
        return true;
    error_set(error, "Parameter '%s' does not accept value '%s'", name, text);
    return false;
}

static bool check_array(const struct schema_type *type, const char *name,
                        struct json_object *value, GError **error)
{
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        g_autofree char *element = g_strdup_printf("%s[%zu]", name, i);

        if (!schema_check(type->element, element, json_object_array_get_idx(value, i), error))
            return false;
    }
    return true;
}

static const struct schema_member *member_find(const struct schema_type *type, const char *name)
{
    for (const struct schema_member *m = type->members; m && m->name; m++) {
        if (strcmp(m->name, name) == 0)
            return m;
    }
    return NULL;
}

/* Arguments have no name themselves: their members are called by their own. */
static char *member_name(const char *object, const char *member)
{
    return *object ? g_strconcat(object, ".", member, NULL) : g_strdup(member);
}

static bool check_object(const struct schema_type *type, const char *name,
                         struct json_object *value, GError **error)
{
    for (const struct schema_member *m = type->members; m && m->name; m++) {
        g_autofree char *full = member_name(name, m->name);
        struct json_object *member;

        if (!json_object_object_get_ex(value, m->name, &member)) {
            if (m->optional)
                continue;
            error_set(error, "Parameter '%s' is missing", full);
            return false;
        }
        if (!schema_check(m->type, full, member, error))
            return false;
    }
    if (type->open)
        return true;
    json_object_object_foreach(value, key, unused) {
        (void)unused;
        if (!member_find(type, key)) {
            g_autofree char *full = member_name(name, key);

            error_set(error, "Parameter '%s' is unexpected", full);
            return false;
        }
    }
    return true;
}

bool schema_check(const struct schema_type *type, const char *name, struct json_object *value,
                  GError **error)
{
    if (!metas[type->meta].is(value)) {
        error_set(error, "Invalid parameter type for '%s', expected: %s", name,
                  metas[type->meta].expected);
        return false;
    }
    switch (type->meta) {
    case SCHEMA_ENUM:
        return check_enum(type, name, value, error);
    case SCHEMA_ARRAY:
        return check_array(type, name, value, error);
    case SCHEMA_OBJECT:
        return check_object(type, name, value, error);
    default:
        return true;
    }
}
