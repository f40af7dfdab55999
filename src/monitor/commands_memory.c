/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands about guest memory: blocks, backends. */
#include "command.h"

#include "check.h"
#include "cost.h"
#include "vfio_container.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const struct schema_type type_kind = SCHEMA_ENUM_OF("plain", "two-backings", "in-place");
static const struct schema_type type_cost = SCHEMA_OBJECT_OF(
    { "name", &schema_str }, { "kind", &type_kind }, { "size", &schema_int },
    { "shared", &schema_int }, { "private", &schema_int, true },
    { "doubly-held", &schema_int, true }, { "stale", &schema_int, true });
static const struct schema_type type_costs = SCHEMA_ARRAY_OF(&type_cost);
static const struct schema_type type_check = SCHEMA_OBJECT_OF(
    { "kvm-asked", &schema_bool }, { "listeners", &schema_int }, { "runs", &schema_int },
    { "mismatches", &schema_int }, { "gpa", &schema_int, true }, { "size", &schema_int, true },
    { "who", &schema_str, true });
static const struct schema_type type_container = SCHEMA_OBJECT_OF(
    { "id", &schema_str }, { "group", &schema_str, true }, { "mappings", &schema_int },
    { "max-mappings", &schema_int }, { "locked", &schema_int }, { "max-locked", &schema_int },
    { "missing", &schema_int }, { "refused", &schema_int }, { "splits", &schema_int },
    { "merges", &schema_int });
static const struct schema_type type_containers = SCHEMA_ARRAY_OF(&type_container);
static const struct schema_type type_policy = SCHEMA_ENUM_OF(
    "default", "preferred", "bind", "interleave");
static const struct schema_type type_nodes = SCHEMA_ARRAY_OF(&schema_int);
static const struct schema_type type_memdev = SCHEMA_OBJECT_OF(
    { "id", &schema_str, true }, { "size", &schema_int }, { "merge", &schema_bool },
    { "dump", &schema_bool }, { "prealloc", &schema_bool }, { "share", &schema_bool },
    { "reserve", &schema_bool, true }, { "host-nodes", &type_nodes },
    { "policy", &type_policy });
static const struct schema_type type_memdevs = SCHEMA_ARRAY_OF(&type_memdev);

/* --- Blocks --- */

static bool run_ramblock(const struct monitor_ctx *ctx, struct json_object *args,
                         struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) blocks = memory_blocks(ctx->vm->memory);
    g_autofree char *page = g_strdup_printf("%ld KiB", sysconf(_SC_PAGESIZE) / 1024);
    GString *out = g_string_new(NULL);
    uint64_t offset = 0;        /* of blocks laid one after another, as QEMU numbers them */

    g_string_append_printf(out, "%24s %8s  %18s %18s %18s %18s %3s\n", "Block Name", "PSize",
                           "Offset", "Used", "Total", "HVA", "RO");
    for (guint i = 0; i < blocks->len; i++) {
        struct ram_block *block = g_ptr_array_index(blocks, i);
        uint64_t size = ram_block_size(block);

        g_string_append_printf(out, "%24s %8s  0x%016" PRIx64 " 0x%016" PRIx64 " 0x%016" PRIx64
                               " 0x%016" PRIxPTR " %3s\n", ram_block_name(block), page, offset,
                               size, size, (uintptr_t)ram_block_host(block),
                               ram_block_readonly(block) ? "ro" : "rw");
        offset += size;
    }
    *ret = text_result(out);
    return true;
}

/* --- Cost --- */

static struct json_object *describe_cost(const struct memory_cost *cost)
{
    static const char *const kinds[] = {
        [BACKEND_PLAIN] = "plain", [BACKEND_TWO_BACKINGS] = "two-backings",
        [BACKEND_IN_PLACE] = "in-place",
    };
    struct json_object *entry = json_object_new_object();

    json_set_text(entry, "name", cost->name);
    json_set_text(entry, "kind", kinds[cost->kind]);
    json_set_uint(entry, "size", cost->size);
    json_set_uint(entry, "shared", cost->shared);
    if (cost->encrypted)
        json_set_uint(entry, "private", cost->private_);
    if (cost->kind == BACKEND_PLAIN)
        return entry;
    if (cost->private_known) {
        json_set_uint(entry, "private", cost->private_);
        json_set_uint(entry, "doubly-held", cost->doubly);
    }
    json_set_uint(entry, "stale", cost->stale);
    return entry;
}

static bool run_cost(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) costs = memory_costs(ctx->vm->memory, error);

    if (!costs)
        return false;
    *ret = json_object_new_array();
    for (guint i = 0; i < costs->len; i++)
        json_object_array_add(*ret, describe_cost(g_ptr_array_index(costs, i)));
    return true;
}

static void print_cost(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i);

        g_string_append_printf(out, "%s: %s\n", json_text(entry, "name"),
                               json_text(entry, "kind"));
        for (const struct schema_member *m = type_cost.members; m->name; m++) {
            if (m->type == &schema_int && json_object_object_get_ex(entry, m->name, NULL))
                g_string_append_printf(out, "  %s: %" PRId64 "\n", m->name,
                                       json_int(entry, m->name, 0));
            else if (strcmp(m->name, "private") == 0 && strcmp(json_text(entry, "kind"), "plain"))
                g_string_append(out, "  private: unknown: this KVM's guest_memfd doesn't tell\n");
        }
    }
}

/* --- Does everybody agree? --- */

static bool run_check(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    const struct memory_check check = memory_check(ctx->vm->memory);

    *ret = json_object_new_object();
    json_set_bool(*ret, "kvm-asked", check.kvm_asked);
    json_set_uint(*ret, "listeners", check.listeners);
    json_set_uint(*ret, "runs", check.runs);
    json_set_uint(*ret, "mismatches", check.mismatches);
    if (!check.mismatches)
        return true;
    json_set_uint(*ret, "gpa", check.gpa);
    json_set_uint(*ret, "size", check.size);
    json_set_text(*ret, "who", check.who);
    return true;
}

static void print_check(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    g_string_append_printf(out, "%" PRId64 " runs of pages, %" PRId64 " listeners%s\n",
                           json_int(ret, "runs", 0), json_int(ret, "listeners", 0),
                           json_flag(ret, "kvm-asked") ? "" : ", this KVM doesn't tell");
    if (json_int(ret, "mismatches", 0))
        g_string_append_printf(out, "%" PRId64 " differ, first 0x%" PRIx64 "+0x%" PRIx64 ": %s\n",
                               json_int(ret, "mismatches", 0),
                               (uint64_t)json_int(ret, "gpa", 0),
                               (uint64_t)json_int(ret, "size", 0), json_text(ret, "who"));
}

/* --- Listeners --- */

static struct json_object *describe_container(const struct vfio_container_info *info)
{
    struct json_object *entry = json_object_new_object();

    json_set_text(entry, "id", info->id);
    if (info->group)
        json_set_text(entry, "group", info->group);
    json_set_uint(entry, "mappings", info->mappings);
    json_set_uint(entry, "max-mappings", info->max_mappings);
    json_set_uint(entry, "locked", info->locked);
    json_set_uint(entry, "max-locked", info->max_locked);
    json_set_uint(entry, "missing", info->missing);
    json_set_uint(entry, "refused", info->refused);
    json_set_uint(entry, "splits", info->splits);
    json_set_uint(entry, "merges", info->merges);
    return entry;
}

static bool run_containers(const struct monitor_ctx *ctx, struct json_object *args,
                           struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) objects = object_list();
    struct vfio_container_info info;

    *ret = json_object_new_array();
    for (guint i = 0; i < objects->len; i++) {
        if (vfio_container_get_info(g_ptr_array_index(objects, i), &info))
            json_object_array_add(*ret, describe_container(&info));
    }
    return true;
}

static void print_containers(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i);
        const char *group = json_text(entry, "group");

        g_string_append_printf(out, "%s: %s\n", json_text(entry, "id"),
                               group ? group : "no device, books only");
        for (const struct schema_member *m = type_container.members; m->name; m++) {
            if (m->type == &schema_int)
                g_string_append_printf(out, "  %s: %" PRId64 "\n", m->name,
                                       json_int(entry, m->name, 0));
        }
    }
}

/* --- Backends --- */

static bool run_memdev(const struct monitor_ctx *ctx, struct json_object *args,
                       struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) objects = object_list();

    *ret = json_object_new_array();
    for (guint i = 0; i < objects->len; i++) {
        struct memory_backend *backend =
            memory_backend_from_object(g_ptr_array_index(objects, i));

        if (backend)
            json_object_array_add(*ret, memory_backend_describe(backend));
    }
    return true;
}

static void print_memdev_entry(struct json_object *memdev, GString *out)
{
    static const char *const flags[] = { "merge", "dump", "prealloc", "share", "reserve" };
    struct json_object *nodes;

    g_string_append_printf(out, "memory backend: %s\n  size:  %" PRId64 "\n",
                           json_text(memdev, "id") ? json_text(memdev, "id") : "(null)",
                           json_int(memdev, "size", 0));
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (json_object_object_get_ex(memdev, flags[i], NULL))
            g_string_append_printf(out, "  %s: %s\n", flags[i],
                                   json_flag(memdev, flags[i]) ? "true" : "false");
    }
    g_string_append_printf(out, "  policy: %s\n  host nodes: ", json_text(memdev, "policy"));
    json_object_object_get_ex(memdev, "host-nodes", &nodes);
    for (size_t i = 0; i < json_object_array_length(nodes); i++)
        g_string_append_printf(out, "%s%" PRId64, i ? "," : "",
                               json_object_get_int64(json_object_array_get_idx(nodes, i)));
    g_string_append_c(out, '\n');
}

static void print_memdev(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++)
        print_memdev_entry(json_object_array_get_idx(ret, i), out);
    g_string_append_c(out, '\n');
}

const struct command commands_memory[] = {
    { .qmp = "x-query-ramblock", .hmp = "info ramblock", .ret = &type_text,
      .help = "Display system ramblock information", .run = run_ramblock },
    { .qmp = "x-query-memory-cost", .hmp = "info memory-cost", .ret = &type_costs,
      .help = "host memory that each backing of each ramblock holds", .run = run_cost,
      .print = print_cost },
    { .qmp = "x-query-memory-check", .hmp = "info memory-check", .ret = &type_check,
      .help = "hold the record of private memory against KVM and its listeners",
      .run = run_check, .print = print_check },
    { .qmp = "x-query-vfio-containers", .hmp = "info vfio-containers", .ret = &type_containers,
      .help = "show mappings for assigned devices", .run = run_containers,
      .print = print_containers },
    { .qmp = "query-memdev", .hmp = "info memdev", .ret = &type_memdevs,
      .help = "show memory backends", .run = run_memdev, .print = print_memdev },
    { NULL },
};
