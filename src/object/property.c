/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Properties: one row for each kind says how it is set from text and from JSON,
 * shown, named and freed.  The messages are QEMU's, as scripts and people know
 * them.
 */
#include "error.h"
#include "object.h"
#include "property.h"

#include <errno.h>
#include <string.h>

static int name_index(const char *const *names, const char *value)
{
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], value) == 0)
            return i;
    }
    return -1;
}

static const char *const ooa_names[] = {
    [OOA_AUTO] = "auto", [OOA_ON] = "on", [OOA_OFF] = "off", NULL
};

static bool bool_from_text(const struct property *prop, void *field, const char *value,
                           GError **error)
{
    static const char *const yes[] = { "on", "yes", "true", "y", NULL };
    static const char *const no[] = { "off", "no", "false", "n", NULL };
    bool on = name_index(yes, value) >= 0;

    if (!on && name_index(no, value) < 0) {
        error_set(error, "Parameter '%s' expects 'on' or 'off'", prop->name);
        return false;
    }
    *(bool *)field = on;
    return true;
}

static bool bool_from_json(const struct property *prop, void *field, struct json_object *value,
                           GError **error)
{
    if (!json_object_is_type(value, json_type_boolean)) {
        error_set(error, "Invalid parameter type for '%s', expected: boolean", prop->name);
        return false;
    }
    *(bool *)field = json_object_get_boolean(value);
    return true;
}

static struct json_object *bool_to_json(const struct property *prop, const void *field)
{
    return json_object_new_boolean(*(const bool *)field);
}

static bool size_from_text(const struct property *prop, void *field, const char *value,
                           GError **error)
{
    if (!size_parse(value, field)) {
        error_set(error, "Parameter '%s' expects a size value", prop->name);
        return false;
    }
    return true;
}

/* An integer from 0 to max; QEMU takes -1 for a size as 2^64 - 1, which helps nobody. */
static bool uint_from_json(const struct property *prop, struct json_object *value, uint64_t max,
                           const char *type, uint64_t *ret, GError **error)
{
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
        json_object_get_uint64(value) > max) {
        error_set(error, "Parameter '%s' expects %s", prop->name, type);
        return false;
    }
    *ret = json_object_get_uint64(value);
    return true;
}

static bool size_from_json(const struct property *prop, void *field, struct json_object *value,
                           GError **error)
{
    return uint_from_json(prop, value, UINT64_MAX, "uint64", field, error);
}

static struct json_object *size_to_json(const struct property *prop, const void *field)
{
    return json_object_new_uint64(*(const uint64_t *)field);
}

static bool uint32_from_text(const struct property *prop, void *field, const char *value,
                             GError **error)
{
    char *end;
    uint64_t number;

    errno = 0;
    number = g_ascii_strtoull(value, &end, 0);
    if (!g_ascii_isdigit(value[0]) || *end || errno || number > UINT32_MAX) {
        error_set(error, "Parameter '%s' expects a number", prop->name);
        return false;
    }
    *(uint32_t *)field = (uint32_t)number;
    return true;
}

static bool uint32_from_json(const struct property *prop, void *field, struct json_object *value,
                             GError **error)
{
    uint64_t number;

    if (!uint_from_json(prop, value, UINT32_MAX, "uint32", &number, error))
        return false;
    *(uint32_t *)field = (uint32_t)number;
    return true;
}

static struct json_object *uint32_to_json(const struct property *prop, const void *field)
{
    return json_object_new_uint64(*(const uint32_t *)field);
}

static bool string_from_text(const struct property *prop, void *field, const char *value,
                             GError **error)
{
    char **string = field;

    g_free(*string);
    *string = g_strdup(value);
    return true;
}

/* The text of a JSON string; NULL with the error set: it is no string, or holds a NUL. */
static const char *json_text(const struct property *prop, struct json_object *value,
                             GError **error)
{
    const char *text = json_object_is_type(value, json_type_string)
                           ? json_object_get_string(value) : NULL;

    if (!text || strlen(text) != (size_t)json_object_get_string_len(value)) {
        error_set(error, "Invalid parameter type for '%s', expected: string", prop->name);
        return NULL;
    }
    return text;
}

static bool string_from_json(const struct property *prop, void *field, struct json_object *value,
                             GError **error)
{
    const char *text = json_text(prop, value, error);

    return text && string_from_text(prop, field, text, error);
}

static struct json_object *string_to_json(const struct property *prop, const void *field)
{
    const char *const *string = field;

    return json_object_new_string(*string ? *string : "");
}

static void string_free(void *field)
{
    g_clear_pointer((char **)field, g_free);
}

static bool named_from_text(const struct property *prop, const char *const *names, int *field,
                            const char *value, GError **error)
{
    int index = name_index(names, value);

    if (index < 0) {
        error_set(error, "Parameter '%s' does not accept value '%s'", prop->name, value);
        return false;
    }
    *field = index;
    return true;
}

static bool enum_from_text(const struct property *prop, void *field, const char *value,
                           GError **error)
{
    return named_from_text(prop, prop->names, field, value, error);
}

static bool enum_from_json(const struct property *prop, void *field, struct json_object *value,
                           GError **error)
{
    const char *text = json_text(prop, value, error);

    return text && enum_from_text(prop, field, text, error);
}

static struct json_object *enum_to_json(const struct property *prop, const void *field)
{
    return json_object_new_string(prop->names[*(const int *)field]);
}

static bool ooa_from_text(const struct property *prop, void *field, const char *value,
                          GError **error)
{
    int index = 0;

    if (!named_from_text(prop, ooa_names, &index, value, error))
        return false;
    *(enum on_off_auto *)field = (enum on_off_auto)index;
    return true;
}

static bool ooa_from_json(const struct property *prop, void *field, struct json_object *value,
                          GError **error)
{
    const char *text = json_text(prop, value, error);

    return text && ooa_from_text(prop, field, text, error);
}

static struct json_object *ooa_to_json(const struct property *prop, const void *field)
{
    return json_object_new_string(ooa_names[*(const enum on_off_auto *)field]);
}

static bool nodes_add(const struct property *prop, struct node_set *nodes, uint64_t first,
                      uint64_t last, GError **error)
{
    if (last >= MAX_HOST_NODES || first > last) {
        error_set(error, "invalid %s value '%llu': nodes are 0 to %d", prop->name,
                  (unsigned long long)(first > last ? first : last), MAX_HOST_NODES - 1);
        return false;
    }
    for (; first <= last; first++)
        nodes->bits[first / 64] |= 1ULL << first % 64;
    return true;
}

static bool nodes_from_text(const struct property *prop, void *field, const char *value,
                            GError **error)
{
    char *end = NULL;
    uint64_t first = g_ascii_strtoull(value, &end, 10), last = first;

    if (g_ascii_isdigit(value[0]) && end[0] == '-' && g_ascii_isdigit(end[1]))
        last = g_ascii_strtoull(end + 1, &end, 10);
    if (!g_ascii_isdigit(value[0]) || *end) {
        error_set(error, "Parameter '%s' expects a node or a range of nodes: 0-3", prop->name);
        return false;
    }
    return nodes_add(prop, field, first, last, error);
}

static bool nodes_from_json(const struct property *prop, void *field, struct json_object *value,
                            GError **error)
{
    if (!json_object_is_type(value, json_type_array)) {
        error_set(error, "Invalid parameter type for '%s', expected: array", prop->name);
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        uint64_t node;

        if (!uint_from_json(prop, json_object_array_get_idx(value, i), UINT16_MAX, "uint16",
                            &node, error) ||
            !nodes_add(prop, field, node, node, error))
            return false;
    }
    return true;
}

static struct json_object *nodes_to_json(const struct property *prop, const void *field)
{
    const struct node_set *nodes = field;
    struct json_object *list = json_object_new_array();

    for (int i = 0; i < MAX_HOST_NODES; i++) {
        if (nodes->bits[i / 64] >> i % 64 & 1)
            json_object_array_add(list, json_object_new_int(i));
    }
    return list;
}

static const struct kind {
    const char *name;           /* as `-object TYPE,help` shows it */
    bool (*from_text)(const struct property *prop, void *field, const char *value, GError **error);
    bool (*from_json)(const struct property *prop, void *field, struct json_object *value,
                      GError **error);
    struct json_object *(*to_json)(const struct property *prop, const void *field);
    void (*free)(void *field);
} kinds[] = {
    [PROP_BOOL]        = { "bool", bool_from_text, bool_from_json, bool_to_json },
    [PROP_SIZE]        = { "size", size_from_text, size_from_json, size_to_json },
    [PROP_UINT32]      = { "uint32", uint32_from_text, uint32_from_json, uint32_to_json },
    [PROP_STRING]      = { "string", string_from_text, string_from_json, string_to_json,
                           string_free },
    [PROP_ON_OFF_AUTO] = { "OnOffAuto", ooa_from_text, ooa_from_json, ooa_to_json },
    [PROP_ENUM]        = { "enum", enum_from_text, enum_from_json, enum_to_json },
    [PROP_NODES]       = { "nodes", nodes_from_text, nodes_from_json, nodes_to_json },
};

static void *field_of(const struct property *prop, void *base)
{
    return (char *)base + prop->offset;
}

const struct property *property_find(const struct property *table, const char *name)
{
    for (const struct property *prop = table; prop->name; prop++) {
        if (strcmp(prop->name, name) == 0)
            return prop;
    }
    return NULL;
}

static void note_given(const struct property *prop, void *base)
{
    if (prop->given)
        *(bool *)((char *)base + prop->given) = true;
}

bool property_set_text(const struct property *table, void *base, const char *name,
                       const char *value, bool *found, GError **error)
{
    const struct property *prop = property_find(table, name);

    *found = prop != NULL;
    if (prop)
        note_given(prop, base);
    return prop && kinds[prop->kind].from_text(prop, field_of(prop, base), value, error);
}

bool property_set_json(const struct property *table, void *base, const char *name,
                       struct json_object *value, bool *found, GError **error)
{
    const struct property *prop = property_find(table, name);

    *found = prop != NULL;
    if (prop)
        note_given(prop, base);
    return prop && kinds[prop->kind].from_json(prop, field_of(prop, base), value, error);
}

struct json_object *property_get_json(const struct property *prop, const void *base)
{
    return kinds[prop->kind].to_json(prop, field_of(prop, (void *)base));
}

struct json_object *property_tables_get_json(const struct property *const *tables,
                                             const void *base, const char *name)
{
    for (; *tables; tables++) {
        const struct property *prop = property_find(*tables, name);

        if (prop)
            return property_get_json(prop, base);
    }
    return NULL;
}

const char *property_kind_name(enum property_kind kind)
{
    return kinds[kind].name;
}

void property_free_all(const struct property *table, void *base)
{
    for (const struct property *prop = table; prop->name; prop++) {
        if (kinds[prop->kind].free)
            kinds[prop->kind].free(field_of(prop, base));
    }
}
