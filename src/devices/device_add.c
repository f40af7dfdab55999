/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device from an option string or JSON: its type, its bus, its id, its properties.
 * Both ways collect the same members; only how a value is set differs.
 */
#include "device_internal.h"

#include "error.h"

#include <string.h>

struct member {
    const char *key, *text;
    struct json_object *json;   /* NULL: text */
};

struct request {
    const char *driver, *id, *bus;
    GArray *members;            /* struct member: all others */
    bool hotplugged, json;
};

static bool check_id(struct devices *all, const struct request *request, GError **error)
{
    if (!request->id)
        return true;
    if (!id_check(request->id, error))
        return false;
    if (device_find(all, request->id)) {
        error_set(error, request->hotplugged ? "Duplicate device ID '%s'"
                                             : "Duplicate ID '%s' for device", request->id);
        return false;
    }
    return true;
}

/* --- The bus --- */

static bool name_is_bus_of(const struct device *dev, const char *name)
{
    g_autofree char *bus = g_strdup_printf("%s.0", dev->id ? dev->id : dev->type->name);

    return strcmp(bus, name) == 0 || g_strcmp0(dev->id, name) == 0;
}

/* Board's or a device's bus of that name, or of the type that is needed. */
static bool find_bus(struct devices *all, const struct device_type *type, const char *name,
                     struct device **ret, GError **error)
{
    const char *found = NULL;

    *ret = NULL;
    if (!type->bus_type) {
        if (name)
            error_set(error, "Device '%s' can't go on a bus", type->name);
        return !name;
    }
    if (strcmp(type->bus_type, "PCI") == 0 && (!name || strcmp(name, "pcie.0") == 0))
        return true;
    if (strcmp(type->bus_type, "ISA") == 0 && (!name || strcmp(name, "isa.0") == 0))
        return true;
    if (name && strcmp(name, "pcie.0") == 0)
        found = "PCIE";
    else if (name && strcmp(name, "isa.0") == 0)
        found = "ISA";
    for (guint i = 0; i < all->list->len && !*ret; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);
        const char *offers = dev->type->child_bus_type;

        if (!offers || (name && !name_is_bus_of(dev, name)))
            continue;
        found = offers;
        if (strcmp(offers, type->bus_type) == 0)
            *ret = dev;
    }
    if (*ret)
        return true;
    if (!name)
        error_set(error, "No '%s' bus found for device '%s'", type->bus_type, type->name);
    else if (!found)
        error_set(error, "Bus '%s' not found", name);
    else
        error_set(error, "Device '%s' can't go on %s bus", type->name, found);
    return false;
}

/* --- Properties --- */

static bool set_member(struct device *dev, const struct member *member, GError **error)
{
    for (guint i = 0; dev->type->properties[i]; i++) {
        const struct property *table = dev->type->properties[i];
        const struct property *prop = property_find(table, member->key);
        bool found = false, ok;

        if (prop && prop->readonly) {
            error_set(error, "Property '%s.%s' is not writable", dev->type->name, member->key);
            return false;
        }
        ok = member->json
                 ? property_set_json(table, dev, member->key, member->json, &found, error)
                 : property_set_text(table, dev, member->key, member->text, &found, error);

        if (found)
            return ok;
    }
    error_set(error, "Property '%s.%s' not found", dev->type->name, member->key);
    return false;
}

static bool device_add(struct devices *all, const struct request *request, GError **error)
{
    const struct device_type *type;
    struct device *parent, *dev;
    bool ok = true;

    if (!request->driver) {
        error_set(error, "Parameter 'driver' is missing");
        return false;
    }
    type = device_type_find(request->driver);
    if (!type) {
        error_set(error, "'%s' is not a valid device model name", request->driver);
        return false;
    }
    if (!find_bus(all, type, request->bus, &parent, error) || !check_id(all, request, error))
        return false;
    dev = g_malloc0(type->size);
    dev->type = type;
    dev->all = all;
    dev->id = g_strdup(request->id);
    dev->parent = parent;
    dev->hotplugged = request->hotplugged;
    if (type->init)
        type->init(dev);
    for (guint i = 0; ok && i < request->members->len; i++)
        ok = set_member(dev, &g_array_index(request->members, struct member, i), error);
    if (!ok || !type->realize(dev, error)) {
        device_free(dev);
        return false;
    }
    g_ptr_array_add(all->list, dev);
    return true;
}

/* --- The two forms --- */

/* The field of the request that a key names; NULL: a property. */
static const char **request_field(struct request *request, const char *key)
{
    if (strcmp(key, "driver") == 0)
        return &request->driver;
    if (strcmp(key, "id") == 0)
        return &request->id;
    return strcmp(key, "bus") == 0 ? &request->bus : NULL;
}

static bool add_json(struct devices *all, struct json_object *args, bool hotplugged,
                     GError **error)
{
    g_autoptr(GArray) members = g_array_new(FALSE, TRUE, sizeof(struct member));
    struct request request = { .members = members, .hotplugged = hotplugged };

    if (!json_object_is_type(args, json_type_object)) {
        error_set(error, "Invalid parameter type for 'device', expected: object");
        return false;
    }
    json_object_object_foreach(args, key, value) {
        const char **field = request_field(&request, key);
        struct member member = { .key = key, .json = value };

        if (!field) {
            g_array_append_val(members, member);
            continue;
        }
        if (!json_object_is_type(value, json_type_string) ||
            strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value)) {
            error_set(error, "Invalid parameter type for '%s', expected: string", key);
            return false;
        }
        *field = json_object_get_string(value);
    }
    return device_add(all, &request, error);
}

bool device_add_json(struct devices *all, struct json_object *args, GError **error)
{
    return add_json(all, args, true, error);
}

bool device_add_option(struct devices *all, const char *option, bool hotplugged, GError **error)
{
    g_autoptr(GArray) members = g_array_new(FALSE, TRUE, sizeof(struct member));
    struct request request = { .members = members, .hotplugged = hotplugged };

    if (option[0] == '{') {
        struct json_object *args = json_parse_text(option, error);
        bool ok = args && add_json(all, args, hotplugged, error);

        json_object_put(args);
        return ok;
    }

    g_autoptr(GPtrArray) list = option_parse(option, "driver", error);

    if (!list)
        return false;
    for (guint i = 0; i < list->len; i++) {
        const struct option *opt = g_ptr_array_index(list, i);
        const char **field = request_field(&request, opt->key);
        struct member member = { .key = opt->key, .text = opt->value };

        if (field)
            *field = opt->value;
        else
            g_array_append_val(members, member);
    }
    return device_add(all, &request, error);
}
