/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands about memory devices, and how much memory there is with them. */
#include "command.h"

#include "memory_device.h"

#include <inttypes.h>

static const struct schema_type type_memory_size = SCHEMA_OBJECT_OF(
    { "base-memory", &schema_int }, { "plugged-memory", &schema_int, true });
static const struct schema_type type_kind = SCHEMA_ENUM_OF("virtio-mem");
static const struct schema_type type_data = SCHEMA_OBJECT_OF(
    { "id", &schema_str, true }, { "memaddr", &schema_int }, { "requested-size", &schema_int },
    { "size", &schema_int }, { "max-size", &schema_int }, { "block-size", &schema_int },
    { "node", &schema_int }, { "memdev", &schema_str });
static const struct schema_type type_device = SCHEMA_OBJECT_OF(
    { "type", &type_kind }, { "data", &type_data });
static const struct schema_type type_devices = SCHEMA_ARRAY_OF(&type_device);

static bool run_memory_size(const struct monitor_ctx *ctx, struct json_object *args,
                            struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) blocks = memory_blocks(ctx->vm->memory);
    struct memory_device_sums sums = memory_device_sums(ctx->vm->devices);
    uint64_t base = 0;

    for (guint i = 0; i < blocks->len; i++) {
        struct ram_block *block = g_ptr_array_index(blocks, i);

        if (!ram_block_readonly(block))
            base += ram_block_size(block);
    }
    *ret = json_object_new_object();
    json_set_uint(*ret, "base-memory", base - sums.max);
    json_set_uint(*ret, "plugged-memory", sums.plugged);
    return true;
}

static void print_memory_size(const struct monitor_ctx *ctx, struct json_object *ret,
                              GString *out)
{
    g_string_append_printf(out, "base memory: %" PRId64 "\nplugged memory: %" PRId64 "\n",
                           json_int(ret, "base-memory", 0), json_int(ret, "plugged-memory", 0));
}

static struct json_object *describe(const struct device *dev,
                                    const struct memory_device_info *info)
{
    struct json_object *entry = json_object_new_object(), *data = json_object_new_object();
    g_autofree char *memdev = g_strdup_printf("/objects/%s", info->memdev);

    if (dev->id)
        json_set_text(data, "id", dev->id);
    json_set_uint(data, "memaddr", info->memaddr);
    json_set_uint(data, "requested-size", info->requested_size);
    json_set_uint(data, "size", info->size);
    json_set_uint(data, "max-size", info->max_size);
    json_set_uint(data, "block-size", info->block_size);
    json_set_uint(data, "node", info->node);
    json_set_text(data, "memdev", memdev);
    json_set_text(entry, "type", "virtio-mem");
    json_object_object_add(entry, "data", data);
    return entry;
}

static bool run_memory_devices(const struct monitor_ctx *ctx, struct json_object *args,
                               struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) devices = devices_list(ctx->vm->devices);

    *ret = json_object_new_array();
    for (guint i = 0; i < devices->len; i++) {
        struct device *dev = g_ptr_array_index(devices, i);
        struct memory_device_info info;

        if (!dev->type->memory)
            continue;
        dev->type->memory(dev, &info);
        json_object_array_add(*ret, describe(dev, &info));
    }
    return true;
}

static void print_memory_devices(const struct monitor_ctx *ctx, struct json_object *ret,
                                 GString *out)
{
    static const char *const numbers[] = { "node", "requested-size", "size", "max-size",
                                           "block-size" };

    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i), *data;
        const char *id;

        json_object_object_get_ex(entry, "data", &data);
        id = json_text(data, "id");
        g_string_append_printf(out, "Memory device [%s]: \"%s\"\n  memaddr: 0x%" PRIx64 "\n",
                               json_text(entry, "type"), id ? id : "",
                               (uint64_t)json_int(data, "memaddr", 0));
        for (size_t n = 0; n < G_N_ELEMENTS(numbers); n++)
            g_string_append_printf(out, "  %s: %" PRId64 "\n", numbers[n],
                                   json_int(data, numbers[n], 0));
        g_string_append_printf(out, "  memdev: %s\n", json_text(data, "memdev"));
    }
}

const struct command commands_memory_device[] = {
    { .qmp = "query-memory-devices", .hmp = "info memory-devices", .ret = &type_devices,
      .help = "show memory devices", .run = run_memory_devices, .print = print_memory_devices },
    { .qmp = "query-memory-size-summary", .hmp = "info memory_size_summary",
      .ret = &type_memory_size,
      .help = "show the amount of initially allocated and present hotpluggable (if enabled) "
              "memory in bytes.", .run = run_memory_size, .print = print_memory_size },
    { NULL },
};
