/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands about objects: creating and deleting them, and the part of QEMU's
 * object tree that clients look at.
 */
#include "command.h"

#include "device.h"
#include "error.h"
#include "property.h"

#include <string.h>

/* Further members are the type's own; the object library checks them. */
static const struct schema_type args_object_add = {
    .meta = SCHEMA_OBJECT, .open = true,
    .members = (const struct schema_member[]){
        { "qom-type", &schema_str }, { "id", &schema_str }, { NULL } },
};
static const struct schema_type args_object_id = SCHEMA_OBJECT_OF({ "id", &schema_str });
static const struct schema_type args_object_text = SCHEMA_OBJECT_OF(
    { "object", &schema_str, .rest = true });
static const struct schema_type args_path = SCHEMA_OBJECT_OF({ "path", &schema_str });
static const struct schema_type args_property = SCHEMA_OBJECT_OF(
    { "path", &schema_str }, { "property", &schema_str });
static const struct schema_type args_set = SCHEMA_OBJECT_OF(
    { "path", &schema_str }, { "property", &schema_str }, { "value", &schema_any });
static const struct schema_type args_set_text = SCHEMA_OBJECT_OF(
    { "path", &schema_str }, { "property", &schema_str }, { "value", &schema_str, .rest = true });
static const struct schema_type type_property = SCHEMA_OBJECT_OF(
    { "name", &schema_str }, { "type", &schema_str });
static const struct schema_type type_properties = SCHEMA_ARRAY_OF(&type_property);

static bool run_add(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    return object_add_json(args, error);
}

static bool run_add_text(const struct monitor_ctx *ctx, struct json_object *args,
                         struct json_object **ret, GError **error)
{
    return object_add_option(json_text(args, "object"), error);
}

static bool run_del(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    return object_del(json_text(args, "id"), error);
}

/* --- The tree: /, /objects and its objects, /machine with its vCPUs and devices --- */

static void add_property(struct json_object *list, const char *name, const char *type)
{
    struct json_object *entry = json_object_new_object();

    json_set_text(entry, "name", name);
    json_set_text(entry, "type", type);
    json_object_array_add(list, entry);
}

static void list_root(const struct monitor_ctx *ctx, struct json_object *list)
{
    add_property(list, "machine", "child<machine>");
    add_property(list, "objects", "child<container>");
}

static void list_objects(const struct monitor_ctx *ctx, struct json_object *list)
{
    g_autoptr(GPtrArray) objects = object_list();

    for (guint i = 0; i < objects->len; i++) {
        const struct object *obj = g_ptr_array_index(objects, i);
        g_autofree char *type = g_strdup_printf("child<%s>", obj->type->name);

        add_property(list, obj->id, type);
    }
}

static void list_machine(const struct monitor_ctx *ctx, struct json_object *list)
{
    add_property(list, "unattached", "child<container>");
    add_property(list, "peripheral", "child<container>");
}

/* Devices that were given an id; the others can't be named. */
static void list_peripheral(const struct monitor_ctx *ctx, struct json_object *list)
{
    g_autoptr(GPtrArray) devices = devices_list(ctx->vm->devices);

    for (guint i = 0; i < devices->len; i++) {
        const struct device *dev = g_ptr_array_index(devices, i);
        g_autofree char *type = g_strdup_printf("child<%s>", dev->type->name);

        if (dev->id)
            add_property(list, dev->id, type);
    }
}

static void list_unattached(const struct monitor_ctx *ctx, struct json_object *list)
{
    for (unsigned i = 0; i < ctx->vm->cpu_count(ctx->vm->opaque); i++) {
        g_autofree char *name = g_strdup_printf("device[%u]", i);

        add_property(list, name, "child<x86_64-cpu>");
    }
}

static const struct node {
    const char *path, *type;
    void (*list)(const struct monitor_ctx *ctx, struct json_object *list);
} nodes[] = {
    { "/", "container", list_root },
    { "/objects", "container", list_objects },
    { "/machine", "machine", list_machine },
    { "/machine/peripheral", "container", list_peripheral },
    { "/machine/unattached", "container", list_unattached },
};

/* What a path leads to. */
struct target {
    const char *type;
    const struct node *node;    /* NULL: an object or a device, with these properties */
    const struct property *const *properties;
    void *base;                 /* the struct that they are in */
};

static const char *strip(const char *path, const char *folder)
{
    return g_str_has_prefix(path, folder) ? path + strlen(folder) : path;
}

/* A node of its own, or an object or device by its path or bare id; false: the error is set. */
static bool resolve(const struct monitor_ctx *ctx, const char *path, struct target *ret,
                    GError **error)
{
    const char *object_id = strip(path, "/objects/");
    const char *device_id = strip(path, "/machine/peripheral/");
    struct device *dev = strchr(device_id, '/') ? NULL
                                                : device_find(ctx->vm->devices, device_id);
    struct object *obj = strchr(object_id, '/') ? NULL : object_find(object_id);

    for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++) {
        if (strcmp(nodes[i].path, path) == 0) {
            *ret = (struct target){ .type = nodes[i].type, .node = &nodes[i] };
            return true;
        }
    }
    if (obj)
        *ret = (struct target){ obj->type->name, NULL, obj->type->properties, obj };
    else if (dev)
        *ret = (struct target){ dev->type->name, NULL, dev->type->properties, dev };
    else
        command_error_set(error, COMMAND_ERROR_DEVICE, "Device '%s' not found", path);
    return obj || dev;
}

static bool run_list(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    struct target target;

    if (!resolve(ctx, json_text(args, "path"), &target, error))
        return false;
    *ret = json_object_new_array();
    add_property(*ret, "type", "string");
    if (target.node)
        target.node->list(ctx, *ret);
    for (guint i = 0; !target.node && target.properties[i]; i++) {
        for (const struct property *prop = target.properties[i]; prop->name; prop++)
            add_property(*ret, prop->name, property_kind_name(prop->kind));
    }
    return true;
}

static void print_list(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i);

        g_string_append_printf(out, "%s (%s)\n", json_text(entry, "name"),
                               json_text(entry, "type"));
    }
}

static bool run_get(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    const char *property = json_text(args, "property");
    struct target target;

    if (!resolve(ctx, json_text(args, "path"), &target, error))
        return false;
    if (strcmp(property, "type") == 0)
        *ret = json_object_new_string(target.type);
    else if (!target.node)
        *ret = property_tables_get_json(target.properties, target.base, property);
    if (!*ret)
        error_set(error, "Property '%s.%s' not found", target.type, property);
    return *ret != NULL;
}

static void print_get(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    g_string_append_printf(out, "%s\n", json_object_to_json_string_ext(ret, JSON_C_TO_STRING_PLAIN));
}

/* What an object is was settled when it was made. */
static bool refuse_set(const struct monitor_ctx *ctx, const char *path, const char *property,
                       GError **error)
{
    struct json_object *value;
    struct target target;

    if (!resolve(ctx, path, &target, error))
        return false;
    value = target.node ? NULL
                        : property_tables_get_json(target.properties, target.base, property);
    if (value)
        error_set(error, "cannot change property '%s' of %s: object_del and object_add make it anew",
                  property, target.type);
    else
        error_set(error, "Property '%s.%s' not found", target.type, property);
    json_object_put(value);
    return false;
}

/* Of a device that is there. */
static bool run_set(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    const char *path = json_text(args, "path");
    struct device *dev = device_find(ctx->vm->devices, path);
    struct json_object *value;

    if (!dev)
        return refuse_set(ctx, path, json_text(args, "property"), error);
    json_object_object_get_ex(args, "value", &value);
    return device_set_property(dev, json_text(args, "property"), value, error);
}

/* "2G", as on the command line, or JSON as for programs. */
static bool run_set_text(const struct monitor_ctx *ctx, struct json_object *args,
                         struct json_object **ret, GError **error)
{
    const char *text = json_text(args, "value");
    struct json_object *value = NULL;
    uint64_t size;

    if (size_parse(text, &size))
        value = json_object_new_uint64(size);
    else if (!(value = json_parse_text(text, NULL)))
        value = json_object_new_string(text);
    json_object_object_add(args, "value", value);
    return run_set(ctx, args, ret, error);
}

const struct command commands_object[] = {
    { .qmp = "object-add", .args = &args_object_add, .help = "create an object",
      .run = run_add },
    { .hmp = "object_add", .args = &args_object_text, .params = "[qom-type=]type,id=str[,prop=value...]",
      .help = "create QOM object", .run = run_add_text },
    { .qmp = "object-del", .hmp = "object_del", .args = &args_object_id, .params = "id",
      .help = "destroy QOM object", .run = run_del },
    { .qmp = "qom-list", .hmp = "qom-list", .args = &args_path, .ret = &type_properties,
      .params = "path", .help = "list QOM properties", .run = run_list, .print = print_list },
    { .qmp = "qom-get", .hmp = "qom-get", .args = &args_property, .ret = &schema_any,
      .params = "path property", .help = "print QOM property", .run = run_get,
      .print = print_get },
    { .qmp = "qom-set", .args = &args_set, .help = "set QOM property", .run = run_set },
    { .hmp = "qom-set", .args = &args_set_text, .params = "path property value",
      .help = "set QOM property", .run = run_set_text },
    { NULL },
};
