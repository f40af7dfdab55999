/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The devices of one machine: which there are, and how they come, go and pause. */
#include "device_internal.h"

#include "error.h"
#include "main_timer.h"

#include <string.h>

static GPtrArray *types;        /* const struct device_type *, in order of registration */

void device_type_register(const struct device_type *type)
{
    if (!types)
        types = g_ptr_array_new();
    if (!device_type_find(type->name))
        g_ptr_array_add(types, (gpointer)type);
}

const struct device_type *device_type_find(const char *name)
{
    for (guint i = 0; types && i < types->len; i++) {
        const struct device_type *type = g_ptr_array_index(types, i);

        if (strcmp(type->name, name) == 0)
            return type;
    }
    return NULL;
}

static void remove_gone(void *opaque);

struct devices *devices_new(const struct device_host *host)
{
    struct devices *all = g_new0(struct devices, 1);

    all->host = *host;
    all->list = g_ptr_array_new();
    all->gone_timer = main_timer_new(remove_gone, all);
    return all;
}

const struct device_host *devices_host(const struct devices *all)
{
    return &all->host;
}

GPtrArray *devices_list(struct devices *all)
{
    return g_ptr_array_copy(all->list, NULL, NULL);
}

void device_free(struct device *dev)
{
    for (guint i = 0; dev->type->properties[i]; i++)
        property_free_all(dev->type->properties[i], dev);
    g_free(dev->id);
    g_free(dev);
}

static void remove_device(struct device *dev)
{
    g_ptr_array_remove(dev->all->list, dev);
    dev->type->unrealize(dev);
    device_free(dev);
}

void devices_free(struct devices *all)
{
    if (!all)
        return;
    /* Newest first: what is on a bus was made after it. */
    while (all->list->len)
        remove_device(g_ptr_array_index(all->list, all->list->len - 1));
    main_timer_free(all->gone_timer);
    g_ptr_array_free(all->list, TRUE);
    g_free(all);
}

void devices_pause(struct devices *all)
{
    for (guint i = 0; i < all->list->len; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (dev->type->pause)
            dev->type->pause(dev);
    }
}

void devices_resume(struct devices *all)
{
    for (guint i = 0; i < all->list->len; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (dev->type->resume)
            dev->type->resume(dev);
    }
}

void devices_reset(struct devices *all)
{
    for (guint i = 0; i < all->list->len; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (dev->type->reset)
            dev->type->reset(dev);
    }
}

/* --- Names --- */

struct device *device_find(struct devices *all, const char *id)
{
    static const char prefix[] = "/machine/peripheral/";

    if (g_str_has_prefix(id, prefix))
        id += strlen(prefix);
    for (guint i = 0; i < all->list->len; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (g_strcmp0(dev->id, id) == 0)
            return dev;
    }
    return NULL;
}

char *device_path(const struct device *dev)
{
    return dev->id ? g_strdup_printf("/machine/peripheral/%s", dev->id)
                   : g_strdup_printf("/machine/peripheral-anon/%s", dev->type->name);
}

static const struct property *find_property(const struct device *dev, const char *name)
{
    const struct property *prop = NULL;

    for (guint i = 0; dev->type->properties[i] && !prop; i++)
        prop = property_find(dev->type->properties[i], name);
    return prop;
}

bool device_set_property(struct device *dev, const char *name, struct json_object *value,
                         GError **error)
{
    const struct property *prop = find_property(dev, name);
    bool ok = false, found = false;

    if (!prop) {
        error_set(error, "Property '%s.%s' not found", dev->type->name, name);
        return false;
    }
    if (prop->readonly) {
        error_set(error, "Property '%s.%s' is not writable", dev->type->name, name);
        return false;
    }
    if (dev->type->set_property)
        ok = dev->type->set_property(dev, name, value, &found, error);
    if (!found)
        error_set(error, "Attempt to set property '%s' on device '%s' (type '%s') after it was "
                  "realized", name, dev->id ? dev->id : "", dev->type->name);
    return ok;
}

/* --- Going --- */

/* A device with devices on its bus takes them along, and each is told about. */
static void delete_device(struct device *dev)
{
    struct devices *all = dev->all;
    g_autofree char *id = NULL, *path = NULL;

    for (guint i = all->list->len; i-- > 0;) {
        struct device *child = g_ptr_array_index(all->list, i);

        if (child->parent == dev)
            delete_device(child);
    }
    id = g_strdup(dev->id);
    path = device_path(dev);
    remove_device(dev);
    if (all->host.deleted)
        all->host.deleted(all->host.opaque, id, path);
}

static struct device *find_gone(struct devices *all)
{
    struct device *found = NULL;

    bus_lock(all->host.bus);
    for (guint i = 0; i < all->list->len && !found; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (dev->gone)
            found = dev;
    }
    bus_unlock(all->host.bus);
    return found;
}

static void remove_gone(void *opaque)
{
    struct devices *all = opaque;
    struct device *dev;

    while ((dev = find_gone(all)))
        delete_device(dev);
}

void device_gone(struct device *dev)
{
    dev->gone = true;
    main_timer_arm(dev->all->gone_timer, 0);
}

bool device_del(struct device *dev, GError **error)
{
    if (dev->type->request_unplug)
        return dev->type->request_unplug(dev, error);
    delete_device(dev);
    return true;
}

/* --- For people --- */

static void help_properties(const struct device_type *type, GString *text)
{
    for (guint i = 0; type->properties[i]; i++) {
        for (const struct property *prop = type->properties[i]; prop->name; prop++) {
            g_autofree char *left = g_strdup_printf("%s=<%s>", prop->name,
                                                    property_kind_name(prop->kind));

            g_string_append_printf(text, "  %-26s%s%s\n", left, prop->help ? " - " : "",
                                   prop->help ? prop->help : "");
        }
    }
}

char *device_help(const char *type_name)
{
    const struct device_type *type = type_name ? device_type_find(type_name) : NULL;
    GString *text = g_string_new(NULL);

    if (type) {
        g_string_append_printf(text, "%s options:\n", type->name);
        help_properties(type, text);
        return g_string_free(text, FALSE);
    }
    for (guint i = 0; types && i < types->len; i++) {
        type = g_ptr_array_index(types, i);
        g_string_append_printf(text, "name \"%s\"%s%s, desc \"%s\"\n", type->name,
                               type->bus_type ? ", bus " : "",
                               type->bus_type ? type->bus_type : "", type->help);
    }
    return g_string_free(text, FALSE);
}

static void describe(struct device *dev, int indent, GString *out)
{
    g_string_append_printf(out, "%*sdev: %s, id \"%s\"\n", indent, "", dev->type->name,
                           dev->id ? dev->id : "");
    for (guint i = 0; dev->type->properties[i]; i++) {
        for (const struct property *prop = dev->type->properties[i]; prop->name; prop++) {
            struct json_object *value = property_get_json(prop, dev);

            g_string_append_printf(out, "%*s%s = %s\n", indent + 2, "", prop->name,
                                   json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE));
            json_object_put(value);
        }
    }
    if (dev->type->describe)
        dev->type->describe(dev, indent + 2, out);
}

/* bus_type: of the board's, where several have no parent; NULL: any. */
static void describe_bus(struct devices *all, struct device *parent, const char *bus_type,
                         int indent, GString *out)
{
    for (guint i = 0; i < all->list->len; i++) {
        struct device *dev = g_ptr_array_index(all->list, i);

        if (dev->parent != parent || (bus_type && g_strcmp0(dev->type->bus_type, bus_type) != 0))
            continue;
        describe(dev, indent, out);
        if (!dev->type->child_bus_type)
            continue;
        g_string_append_printf(out, "%*sbus: %s.0\n%*stype %s\n", indent + 2, "",
                               dev->id ? dev->id : dev->type->name, indent + 4, "",
                               dev->type->child_bus_type);
        describe_bus(all, dev, NULL, indent + 4, out);
    }
}

void devices_describe(struct devices *all, GString *out)
{
    g_string_append(out, "bus: pcie.0\n  type PCIE\n");
    describe_bus(all, NULL, "PCI", 2, out);
    g_string_append(out, "bus: isa.0\n  type ISA\n");
    describe_bus(all, NULL, "ISA", 2, out);
}
