/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands about which guest memory is private, shared, populated. */
#include "command.h"

#include "attributes.h"
#include "error.h"

#include <inttypes.h>

/* An answer of more ranges than this comes in several: some 8 MB of JSON. */
enum { DEFAULT_LIMIT = 100000, DEFAULT_LIMIT_HMP = 1000 };

static const struct schema_type type_range = SCHEMA_OBJECT_OF(
    { "start", &schema_int }, { "length", &schema_int }, { "shared", &schema_bool },
    { "populated", &schema_bool, true }, { "gpa", &schema_int, true });
static const struct schema_type type_ranges = SCHEMA_ARRAY_OF(&type_range);
static const struct schema_type type_block = SCHEMA_OBJECT_OF(
    { "name", &schema_str }, { "ranges", &type_ranges }, { "cursor", &schema_str, true });
static const struct schema_type type_blocks = SCHEMA_ARRAY_OF(&type_block);
static const struct schema_type args_attributes = SCHEMA_OBJECT_OF(
    { "block", &schema_str, true, .flag = 'b' }, { "gpa", &schema_int, true, .flag = 'g' },
    { "size", &schema_int, true, .flag = 's' }, { "min-size", &schema_int, true, .flag = 'm' },
    { "limit", &schema_int, true, .flag = 'n' }, { "cursor", &schema_str, true, .flag = 'c' });

static const struct schema_type type_largest = SCHEMA_OBJECT_OF(
    { "start", &schema_int }, { "length", &schema_int });
static const struct schema_type type_summary = SCHEMA_OBJECT_OF(
    { "name", &schema_str }, { "size", &schema_int }, { "private", &schema_int },
    { "shared", &schema_int }, { "populated", &schema_int }, { "ranges", &schema_int },
    { "largest-private", &type_largest, true }, { "largest-shared", &type_largest, true },
    { "map-bytes", &schema_int });
static const struct schema_type type_summaries = SCHEMA_ARRAY_OF(&type_summary);
static const struct schema_type args_summary = SCHEMA_OBJECT_OF({ "block", &schema_str, true });

/* --- Ranges --- */

static struct json_object *describe_range(const struct attr_range *range, bool with_gpa)
{
    struct json_object *entry = json_object_new_object();

    json_set_uint(entry, "start", range->start);
    json_set_uint(entry, "length", range->size);
    json_set_bool(entry, "shared", range->shared);
    json_set_bool(entry, "populated", range->populated);
    if (with_gpa)
        json_set_uint(entry, "gpa", range->gpa);
    return entry;
}

static struct json_object *describe_block(const struct attr_block *block, bool with_gpa)
{
    struct json_object *entry = json_object_new_object(), *ranges = json_object_new_array();

    for (guint i = 0; i < block->ranges->len; i++)
        json_object_array_add(ranges, describe_range(&g_array_index(block->ranges,
                                                                    struct attr_range, i),
                                                     with_gpa));
    json_set_text(entry, "name", block->name);
    json_object_object_add(entry, "ranges", ranges);
    if (block->cursor)
        json_set_text(entry, "cursor", block->cursor);
    return entry;
}

static bool check_filter(struct json_object *args, GError **error)
{
    static const char *const names[] = { "gpa", "size", "min-size", "limit" };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (json_int(args, names[i], 0) < 0) {
            error_set(error, "Parameter '%s' expects a number that isn't negative", names[i]);
            return false;
        }
    }
    if (json_int(args, "limit", 1) == 0) {
        error_set(error, "Parameter 'limit' expects at least 1");
        return false;
    }
    return true;
}

static bool run_attributes(const struct monitor_ctx *ctx, struct json_object *args,
                           struct json_object **ret, GError **error)
{
    const struct attr_filter filter = {
        .block = json_text(args, "block"),
        .window = json_object_object_get_ex(args, "gpa", NULL) ||
                  json_object_object_get_ex(args, "size", NULL),
        .gpa = (uint64_t)json_int(args, "gpa", 0),
        .size = (uint64_t)json_int(args, "size", INT64_MAX),
        .min_size = (uint64_t)json_int(args, "min-size", 0),
        .limit = (size_t)json_int(args, "limit", ctx->qmp ? DEFAULT_LIMIT : DEFAULT_LIMIT_HMP),
        .cursor = json_text(args, "cursor"),
    };
    g_autoptr(GPtrArray) blocks = NULL;

    if (!check_filter(args, error))
        return false;
    blocks = memory_attributes(ctx->vm->memory, &filter, error);
    if (!blocks)
        return false;
    *ret = json_object_new_array();
    for (guint i = 0; i < blocks->len; i++)
        json_object_array_add(*ret, describe_block(g_ptr_array_index(blocks, i), filter.window));
    return true;
}

static void print_range(struct json_object *range, GString *out)
{
    uint64_t start = (uint64_t)json_int(range, "start", 0);
    uint64_t last = start + (uint64_t)json_int(range, "length", 0) - 1;

    g_string_append_printf(out, "  0x%016" PRIx64 "-0x%016" PRIx64 " %s%spopulated", start, last,
                           json_flag(range, "shared") ? "shared" : "private",
                           json_flag(range, "populated") ? "+" : "-");
    if (json_object_object_get_ex(range, "gpa", NULL))
        g_string_append_printf(out, " gpa 0x%016" PRIx64, (uint64_t)json_int(range, "gpa", 0));
    g_string_append_c(out, '\n');
}

static void print_attributes(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *block = json_object_array_get_idx(ret, i), *ranges;

        g_string_append_printf(out, "%s:\n", json_text(block, "name"));
        json_object_object_get_ex(block, "ranges", &ranges);
        for (size_t n = 0; n < json_object_array_length(ranges); n++)
            print_range(json_object_array_get_idx(ranges, n), out);
        if (json_text(block, "cursor"))
            g_string_append_printf(out, "there are more: add -c %s\n", json_text(block, "cursor"));
    }
}

/* --- Summary --- */

static void describe_largest(struct json_object *entry, const char *name,
                             const struct attr_range *range)
{
    struct json_object *largest;

    if (!range->size)
        return;
    largest = json_object_new_object();
    json_set_uint(largest, "start", range->start);
    json_set_uint(largest, "length", range->size);
    json_object_object_add(entry, name, largest);
}

static struct json_object *describe_summary(const struct attr_summary *summary)
{
    struct json_object *entry = json_object_new_object();

    json_set_text(entry, "name", summary->name);
    json_set_uint(entry, "size", summary->size);
    json_set_uint(entry, "private", summary->private_);
    json_set_uint(entry, "shared", summary->shared);
    json_set_uint(entry, "populated", summary->populated);
    json_set_uint(entry, "ranges", summary->ranges);
    describe_largest(entry, "largest-private", &summary->largest_private);
    describe_largest(entry, "largest-shared", &summary->largest_shared);
    json_set_uint(entry, "map-bytes", summary->map_bytes);
    return entry;
}

static bool run_summary(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    g_autoptr(GPtrArray) list =
        memory_attributes_summary(ctx->vm->memory, json_text(args, "block"), error);

    if (!list)
        return false;
    *ret = json_object_new_array();
    for (guint i = 0; i < list->len; i++)
        json_object_array_add(*ret, describe_summary(g_ptr_array_index(list, i)));
    return true;
}

static void print_largest(struct json_object *entry, const char *name, GString *out)
{
    struct json_object *largest;

    if (json_object_object_get_ex(entry, name, &largest))
        g_string_append_printf(out, "  %s: 0x%" PRIx64 " at 0x%" PRIx64 "\n", name,
                               (uint64_t)json_int(largest, "length", 0),
                               (uint64_t)json_int(largest, "start", 0));
}

static void print_summary(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    static const char *const numbers[] = { "size", "private", "shared", "populated", "ranges",
                                           "map-bytes" };

    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i);

        g_string_append_printf(out, "%s:\n", json_text(entry, "name"));
        for (size_t n = 0; n < G_N_ELEMENTS(numbers); n++)
            g_string_append_printf(out, "  %s: %" PRId64 "\n", numbers[n],
                                   json_int(entry, numbers[n], 0));
        print_largest(entry, "largest-private", out);
        print_largest(entry, "largest-shared", out);
    }
}

const struct command commands_attributes[] = {
    { .qmp = "x-query-ramblock-attributes", .hmp = "info ramblock-attributes",
      .args = &args_attributes, .ret = &type_blocks,
      .params = "[-b block] [-g gpa] [-s size] [-m min-size] [-n limit] [-c cursor]",
      .help = "Display ramblock shared/private attributes",
      .run = run_attributes, .print = print_attributes },
    { .qmp = "x-query-ramblock-summary", .hmp = "info ramblock-summary", .args = &args_summary,
      .ret = &type_summaries, .params = "[block]",
      .help = "how much of each ramblock is private, shared, populated",
      .run = run_summary, .print = print_summary },
    { NULL },
};
