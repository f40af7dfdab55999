/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands about devices: PCI, what was added and what is to go; and the disk images. */
#include "command.h"

#include "device.h"
#include "disk.h"
#include "error.h"
#include "pci_device.h"

#include <inttypes.h>

/* --- Adding and deleting --- */

static const struct schema_type args_device_add = {
    .meta = SCHEMA_OBJECT, .open = true,
    .members = (const struct schema_member[]){
        { "driver", &schema_str }, { "bus", &schema_str, true }, { "id", &schema_str, true },
        { NULL } },
};
static const struct schema_type args_device_text = SCHEMA_OBJECT_OF(
    { "device", &schema_str, .rest = true });
static const struct schema_type args_id = SCHEMA_OBJECT_OF({ "id", &schema_str });

static bool run_device_add(const struct monitor_ctx *ctx, struct json_object *args,
                           struct json_object **ret, GError **error)
{
    return device_add_json(ctx->vm->devices, args, error);
}

static bool run_device_add_text(const struct monitor_ctx *ctx, struct json_object *args,
                                struct json_object **ret, GError **error)
{
    return device_add_option(ctx->vm->devices, json_text(args, "device"), true, error);
}

static bool run_device_del(const struct monitor_ctx *ctx, struct json_object *args,
                           struct json_object **ret, GError **error)
{
    const char *id = json_text(args, "id");
    struct device *dev = device_find(ctx->vm->devices, id);

    if (!dev)
        command_error_set(error, COMMAND_ERROR_DEVICE, "Device '%s' not found", id);
    return dev && device_del(dev, error);
}

static bool run_qtree(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    GString *out = g_string_new(NULL);

    devices_describe(ctx->vm->devices, out);
    *ret = text_result(out);
    return true;
}

/* --- What devices did with guest memory --- */

static const struct schema_type type_dma = SCHEMA_OBJECT_OF(
    { "path", &schema_str }, { "name", &schema_str }, { "requests", &schema_int },
    { "refused-dma", &schema_int }, { "broken", &schema_int }, { "needs-reset", &schema_bool });
static const struct schema_type type_dmas = SCHEMA_ARRAY_OF(&type_dma);

static bool run_dma(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) list = devices_list(ctx->vm->devices);

    *ret = json_object_new_array();
    for (guint i = 0; i < list->len; i++) {
        struct device *dev = g_ptr_array_index(list, i);
        g_autofree char *path = NULL;
        struct json_object *entry;
        struct device_dma dma;

        if (!dev->type->dma)
            continue;
        dev->type->dma(dev, &dma);
        entry = json_object_new_object();
        path = device_path(dev);
        json_set_text(entry, "path", path);
        json_set_text(entry, "name", dev->type->name);
        json_set_uint(entry, "requests", dma.requests);
        json_set_uint(entry, "refused-dma", dma.refused);
        json_set_uint(entry, "broken", dma.broken);
        json_set_bool(entry, "needs-reset", dma.needs_reset);
        json_object_array_add(*ret, entry);
    }
    return true;
}

static void print_dma(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i);

        g_string_append_printf(out, "%s [%s]: requests %" PRId64 ", refused dma %" PRId64
                               ", broken %" PRId64 "%s\n", json_text(entry, "path"),
                               json_text(entry, "name"), json_int(entry, "requests", 0),
                               json_int(entry, "refused-dma", 0), json_int(entry, "broken", 0),
                               json_flag(entry, "needs-reset") ? ", needs a reset" : "");
    }
}

/* --- PCI --- */

static const struct schema_type type_pci_region = SCHEMA_OBJECT_OF(
    { "bar", &schema_int }, { "type", &schema_str }, { "address", &schema_int },
    { "size", &schema_int }, { "prefetch", &schema_bool, true },
    { "mem_type_64", &schema_bool, true });
static const struct schema_type type_pci_regions = SCHEMA_ARRAY_OF(&type_pci_region);
static const struct schema_type type_pci_class = SCHEMA_OBJECT_OF(
    { "desc", &schema_str, true }, { "class", &schema_int });
static const struct schema_type type_pci_id = SCHEMA_OBJECT_OF(
    { "device", &schema_int }, { "vendor", &schema_int }, { "subsystem", &schema_int, true },
    { "subsystem-vendor", &schema_int, true });
static const struct schema_type type_pci_device = SCHEMA_OBJECT_OF(
    { "bus", &schema_int }, { "slot", &schema_int }, { "function", &schema_int },
    { "class_info", &type_pci_class }, { "id", &type_pci_id }, { "irq", &schema_int, true },
    { "irq_pin", &schema_int }, { "qdev_id", &schema_str }, { "regions", &type_pci_regions });
static const struct schema_type type_pci_devices = SCHEMA_ARRAY_OF(&type_pci_device);
static const struct schema_type type_pci_bus = SCHEMA_OBJECT_OF(
    { "bus", &schema_int }, { "devices", &type_pci_devices });
static const struct schema_type type_pci_buses = SCHEMA_ARRAY_OF(&type_pci_bus);

static struct json_object *describe_regions(const struct pci_function *f)
{
    struct json_object *list = json_object_new_array();

    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &f->bars[i];
        struct json_object *entry;

        if (!bar->size)
            continue;
        entry = json_object_new_object();
        json_set_bool(entry, "prefetch", bar->is64);
        json_set_bool(entry, "mem_type_64", bar->is64);
        json_set_uint(entry, "bar", i);
        json_set_uint(entry, "size", bar->size);
        /* QEMU's -1: not mapped. */
        json_object_object_add(entry, "address", json_object_new_int64((int64_t)bar->address));
        json_set_text(entry, "type", "memory");
        json_object_array_add(list, entry);
    }
    return list;
}

static struct json_object *describe_function(const struct pci_function *f)
{
    struct json_object *entry = json_object_new_object(), *class = json_object_new_object();
    struct json_object *id = json_object_new_object();
    uint16_t code = pci_get16(f->config, PCI_CLASS);
    unsigned pin = f->config[PCI_INTERRUPT_PIN];

    json_set_uint(entry, "bus", 0);
    json_set_uint(entry, "slot", f->devfn >> 3);
    json_set_uint(entry, "function", f->devfn & 7u);
    if (pci_class_name(code))
        json_set_text(class, "desc", pci_class_name(code));
    json_set_uint(class, "class", code);
    json_object_object_add(entry, "class_info", class);
    json_set_uint(id, "device", pci_get16(f->config, PCI_DEVICE));
    json_set_uint(id, "vendor", pci_get16(f->config, PCI_VENDOR));
    json_set_uint(id, "subsystem", pci_get16(f->config, PCI_SUBSYSTEM));
    json_set_uint(id, "subsystem-vendor", pci_get16(f->config, PCI_SUBSYSTEM_VENDOR));
    json_object_object_add(entry, "id", id);
    if (pin)
        json_set_uint(entry, "irq", f->config[PCI_INTERRUPT_LINE]);
    json_set_uint(entry, "irq_pin", pin);
    json_set_text(entry, "qdev_id", f->owner && f->owner->id ? f->owner->id : "");
    json_object_object_add(entry, "regions", describe_regions(f));
    return entry;
}

static bool run_pci(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    const struct device_host *host = devices_host(ctx->vm->devices);
    struct json_object *bus = json_object_new_object(), *list = json_object_new_array();

    bus_lock(host->bus);
    for (unsigned devfn = 0; devfn < PCI_SLOTS * 8; devfn++) {
        const struct pci_function *f = pci_find(host->pci, devfn);

        if (f)
            json_object_array_add(list, describe_function(f));
    }
    bus_unlock(host->bus);
    json_set_uint(bus, "bus", 0);
    json_object_object_add(bus, "devices", list);
    *ret = json_object_new_array();
    json_object_array_add(*ret, bus);
    return true;
}

static struct json_object *member(struct json_object *obj, const char *name)
{
    struct json_object *value = NULL;

    json_object_object_get_ex(obj, name, &value);
    return value;
}

static void print_region(struct json_object *region, GString *out)
{
    uint64_t address = (uint64_t)json_int(region, "address", 0);
    uint64_t last = address + (uint64_t)json_int(region, "size", 0) - 1;
    bool wide = json_flag(region, "mem_type_64");

    g_string_append_printf(out, "      BAR%" PRId64 ": %d bit%s memory at 0x%0*" PRIx64 " [0x%0*"
                           PRIx64 "].\n", json_int(region, "bar", 0), wide ? 64 : 32,
                           json_flag(region, "prefetch") ? " prefetchable" : "", 8, address, 8,
                           last);
}

static void print_function(struct json_object *dev, GString *out)
{
    struct json_object *class = member(dev, "class_info"), *id = member(dev, "id");
    struct json_object *regions = member(dev, "regions");
    int64_t pin = json_int(dev, "irq_pin", 0);

    g_string_append_printf(out, "  Bus  0, device %3" PRId64 ", function %" PRId64 ":\n    ",
                           json_int(dev, "slot", 0), json_int(dev, "function", 0));
    if (json_text(class, "desc"))
        g_string_append(out, json_text(class, "desc"));
    else
        g_string_append_printf(out, "Class %04" PRId64, json_int(class, "class", 0));
    g_string_append_printf(out, ": PCI device %04" PRIx64 ":%04" PRIx64 "\n",
                           (uint64_t)json_int(id, "vendor", 0),
                           (uint64_t)json_int(id, "device", 0));
    g_string_append_printf(out, "      PCI subsystem %04" PRIx64 ":%04" PRIx64 "\n",
                           (uint64_t)json_int(id, "subsystem-vendor", 0),
                           (uint64_t)json_int(id, "subsystem", 0));
    if (pin)
        g_string_append_printf(out, "      IRQ %" PRId64 ", pin %c\n", json_int(dev, "irq", 0),
                               (char)('A' + pin - 1));
    for (size_t i = 0; i < json_object_array_length(regions); i++)
        print_region(json_object_array_get_idx(regions, i), out);
    g_string_append_printf(out, "      id \"%s\"\n", json_text(dev, "qdev_id"));
}

static void print_pci(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    struct json_object *list = member(json_object_array_get_idx(ret, 0), "devices");

    for (size_t i = 0; i < json_object_array_length(list); i++)
        print_function(json_object_array_get_idx(list, i), out);
}

/* --- Disk images --- */

static const struct schema_type args_blockdev_add = {
    .meta = SCHEMA_OBJECT, .open = true,
    .members = (const struct schema_member[]){
        { "driver", &schema_str }, { "node-name", &schema_str, true }, { NULL } },
};
static const struct schema_type args_node = SCHEMA_OBJECT_OF({ "node-name", &schema_str });
static const struct schema_type args_drive_add = SCHEMA_OBJECT_OF(
    { "pci_addr", &schema_str }, { "opts", &schema_str, .rest = true });
static const struct schema_type type_image = SCHEMA_OBJECT_OF(
    { "filename", &schema_str }, { "format", &schema_str }, { "virtual-size", &schema_int });
static const struct schema_type type_node = SCHEMA_OBJECT_OF(
    { "node-name", &schema_str }, { "file", &schema_str }, { "drv", &schema_str },
    { "ro", &schema_bool }, { "image", &type_image });
static const struct schema_type type_nodes = SCHEMA_ARRAY_OF(&type_node);

static bool run_blockdev_add(const struct monitor_ctx *ctx, struct json_object *args,
                             struct json_object **ret, GError **error)
{
    return disk_add_json(args, error);
}

static bool run_blockdev_del(const struct monitor_ctx *ctx, struct json_object *args,
                             struct json_object **ret, GError **error)
{
    return disk_del(json_text(args, "node-name"), error);
}

/* The drive alone: device_add makes the disk of it. */
static bool run_drive_add(const struct monitor_ctx *ctx, struct json_object *args,
                          struct json_object **ret, GError **error)
{
    if (!disk_add_drive(json_text(args, "opts"), NULL, error))
        return false;
    *ret = text_result(g_string_new("OK\n"));
    return true;
}

static bool run_nodes(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) list = disk_list();

    *ret = json_object_new_array();
    for (guint i = 0; i < list->len; i++) {
        const struct disk *disk = g_ptr_array_index(list, i);
        struct json_object *entry = json_object_new_object(), *image = json_object_new_object();

        json_set_text(entry, "node-name", disk_name(disk));
        json_set_text(entry, "file", disk_filename(disk));
        json_set_text(entry, "drv", disk_driver(disk));
        json_set_bool(entry, "ro", disk_readonly(disk));
        json_set_text(image, "filename", disk_filename(disk));
        json_set_text(image, "format", disk_driver(disk));
        json_set_uint(image, "virtual-size", disk_size(disk));
        json_object_object_add(entry, "image", image);
        json_object_array_add(*ret, entry);
    }
    return true;
}

static bool run_info_block(const struct monitor_ctx *ctx, struct json_object *args,
                           struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) list = disk_list();
    GString *out = g_string_new(NULL);

    for (guint i = 0; i < list->len; i++) {
        const struct disk *disk = g_ptr_array_index(list, i);

        g_string_append_printf(out, "%s: %s (%s%s)\n", disk_name(disk), disk_filename(disk),
                               disk_driver(disk), disk_readonly(disk) ? ", read-only" : "");
        if (disk_user(disk))
            g_string_append_printf(out, "    Attached to:      %s\n", disk_user(disk));
    }
    *ret = text_result(out);
    return true;
}

const struct command commands_device[] = {
    { .qmp = "device_add", .args = &args_device_add, .help = "add a device",
      .run = run_device_add },
    { .hmp = "device_add", .args = &args_device_text, .params = "driver[,prop=value][,...]",
      .help = "add device, like -device on the command line", .run = run_device_add_text },
    { .qmp = "device_del", .hmp = "device_del", .args = &args_id, .params = "device",
      .help = "remove device", .run = run_device_del },
    { .qmp = "query-pci", .hmp = "info pci", .ret = &type_pci_buses, .help = "show PCI info",
      .run = run_pci, .print = print_pci },
    { .hmp = "info qtree", .ret = &type_text, .help = "show device tree", .run = run_qtree },
    { .qmp = "x-query-dma", .hmp = "info dma", .ret = &type_dmas,
      .help = "show how devices fared with guest memory: requests, refused accesses",
      .run = run_dma, .print = print_dma },
    { .qmp = "blockdev-add", .args = &args_blockdev_add, .help = "add a disk image",
      .run = run_blockdev_add },
    { .qmp = "blockdev-del", .args = &args_node, .help = "remove a disk image",
      .run = run_blockdev_del },
    { .qmp = "query-named-block-nodes", .ret = &type_nodes, .help = "list disk images",
      .run = run_nodes },
    { .hmp = "drive_add", .args = &args_drive_add, .params = "pci_addr file=...,if=none,id=...",
      .help = "add a disk image, like -drive; the first argument doesn't matter",
      .run = run_drive_add },
    { .hmp = "info block", .ret = &type_text, .help = "show the disk images",
      .run = run_info_block },
    { NULL },
};
