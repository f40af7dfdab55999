/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands about addresses and who may look at what is there: the debug policy,
 * the guest's page tables, translations.
 */
#include "command.h"

#include "debug_memory.h"
#include "debug_object.h"
#include "error.h"
#include "fd.h"
#include "page_walk.h"
#include "range.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* --- Who may --- */

static const struct schema_type type_debug = SCHEMA_OBJECT_OF(
    { "private-memory", &schema_bool }, { "object", &schema_str, true },
    { "type", &schema_str, true }, { "policy", &schema_str, true }, { "read", &schema_bool },
    { "write", &schema_bool }, { "while-running", &schema_bool });

static bool run_debug(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    struct debug_object *obj = debug_get_object(ctx->vm->debug);
    struct debug_policy policy = { 0 };

    *ret = json_object_new_object();
    json_set_bool(*ret, "private-memory", debug_has_private_memory(ctx->vm->debug));
    if (obj) {
        obj->kind->policy(obj, &policy);
        json_set_text(*ret, "object", obj->obj.id);
        json_set_text(*ret, "type", obj->obj.type->name);
        json_set_text(*ret, "policy", policy.text);
    }
    json_set_bool(*ret, "read", policy.read);
    json_set_bool(*ret, "write", policy.write);
    json_set_bool(*ret, "while-running", policy.while_running);
    return true;
}

static void print_debug(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    if (json_text(ret, "object"))
        g_string_append_printf(out, "debug object: %s (%s, %s)\n", json_text(ret, "object"),
                               json_text(ret, "type"), json_text(ret, "policy"));
    else
        g_string_append(out, "debug object: none\n");
    g_string_append(out, "shared memory and devices: read, write\nprivate memory: ");
    if (!json_flag(ret, "private-memory"))
        g_string_append(out, "there is none\n");
    else if (!json_flag(ret, "read"))
        g_string_append(out, "forbidden\n");
    else
        g_string_append_printf(out, "read%s%s\n",
                               json_flag(ret, "while-running") ? ", also while the guest runs"
                               : json_flag(ret, "write") ? "" : ", while the guest is stopped",
                               json_flag(ret, "write") ? ", write, while the guest is stopped" : "");
}

/* --- Page tables --- */

static const struct schema_type args_range = SCHEMA_OBJECT_OF(
    { "address", &schema_uint, true }, { "size", &schema_uint, true });

static uint64_t address_arg(struct json_object *args, const char *name, uint64_t absent)
{
    struct json_object *value;

    return json_object_object_get_ex(args, name, &value) ? json_object_get_uint64(value) : absent;
}

/* [*first, *last] of address and size; all there is without them. */
static bool range_args(struct json_object *args, uint64_t *first, uint64_t *last, GError **error)
{
    uint64_t size = address_arg(args, "size", 1);

    *first = address_arg(args, "address", 0);
    *last = UINT64_MAX;
    if (!json_object_object_get_ex(args, "address", NULL))
        return true;
    if (!size || size - 1 > UINT64_MAX - *first) {
        error_set(error, "Parameter 'size' expects a size that ends within the address space");
        return false;
    }
    *last = *first + (size - 1);
    return true;
}

/* Runs the walk that a command is about; text: what it made. */
static bool walk_command(const struct monitor_ctx *ctx, struct json_object *args, page_leaf_fn fn,
                         void *opaque, GString *out, GError **error)
{
    AUTO_PAGE_WALK walk = page_walk_new(ctx->vm->debug, *ctx->cpu, error);
    uint64_t first, last, next;

    if (!walk || !range_args(args, &first, &last, error))
        return false;
    if (page_walk_mode(walk) == PAGING_OFF)
        g_string_append(out, "PG disabled\n");
    else if (!page_walk_each(walk, first, last, fn, opaque, &next))
        g_string_append_printf(out, "... that was too much: go on with an address and a size, "
                               "from 0x%" PRIx64 " on\n", next);
    return true;
}

enum { OUTPUT_MAX = 8 << 20 };      /* of one command */

static bool tlb_line(void *opaque, const struct page_leaf *leaf, const char *reason)
{
    /* Without a letter of its own: present. P is "large page" here. */
    static const struct {
        uint64_t bit;
        char letter;
    } flags[] = {
        { PTE_NO_EXECUTE, 'X' }, { PTE_GLOBAL, 'G' }, { 0, 'P' }, { PTE_DIRTY, 'D' },
        { PTE_ACCESSED, 'A' }, { PTE_NO_CACHE, 'C' }, { PTE_WRITE_THROUGH, 'T' },
        { PTE_USER, 'U' }, { PTE_WRITABLE, 'W' },
    };
    GString *out = opaque;

    g_string_append_printf(out, "%016" PRIx64 ": ", leaf->gva);
    if (reason) {
        g_string_append_printf(out, "0x%" PRIx64 " bytes unknown: %s\n", leaf->size, reason);
        return out->len < OUTPUT_MAX;
    }
    g_string_append_printf(out, "%016" PRIx64 " ", leaf->gpa);
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        bool set = flags[i].bit ? leaf->entry & flags[i].bit : leaf->large;

        g_string_append_c(out, set ? flags[i].letter : '-');
    }
    g_string_append_c(out, '\n');
    return out->len < OUTPUT_MAX;
}

static bool run_tlb(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    GString *out = g_string_new(NULL);

    if (!walk_command(ctx, args, tlb_line, out, out, error)) {
        g_string_free(out, TRUE);
        return false;
    }
    *ret = text_result(out);
    return true;
}

/* Neighbours of equal rights. */
struct mem_run {
    GString *out;
    uint64_t start, size;       /* size 0: none */
    bool user, writable;
};

static void end_run(struct mem_run *run)
{
    if (run->size)
        g_string_append_printf(run->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n",
                               run->start, run->start + run->size, run->size,
                               run->user ? 'u' : '-', run->writable ? 'w' : '-');
    run->size = 0;
}

static bool mem_leaf(void *opaque, const struct page_leaf *leaf, const char *reason)
{
    struct mem_run *run = opaque;

    if (reason) {
        end_run(run);
        g_string_append_printf(run->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64
                               " unknown: %s\n", leaf->gva, leaf->gva + leaf->size, leaf->size,
                               reason);
        return run->out->len < OUTPUT_MAX;
    }
    if (run->size && run->start + run->size == leaf->gva && run->user == leaf->user &&
        run->writable == leaf->writable) {
        run->size += leaf->size;
        return true;
    }
    end_run(run);
    *run = (struct mem_run){ run->out, leaf->gva, leaf->size, leaf->user, leaf->writable };
    return run->out->len < OUTPUT_MAX;
}

static bool run_mem(const struct monitor_ctx *ctx, struct json_object *args,
                    struct json_object **ret, GError **error)
{
    struct mem_run run = { .out = g_string_new(NULL) };
    g_autoptr(GString) end = g_string_new(NULL);

    if (!walk_command(ctx, args, mem_leaf, &run, end, error)) {
        g_string_free(run.out, TRUE);
        return false;
    }
    end_run(&run);
    g_string_append(run.out, end->str);
    *ret = text_result(run.out);
    return true;
}

/* --- Translations --- */

static const struct schema_type args_address = SCHEMA_OBJECT_OF({ "address", &schema_uint });

static bool run_gva2gpa(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    AUTO_PAGE_WALK walk = page_walk_new(ctx->vm->debug, *ctx->cpu, error);
    uint64_t gva = address_arg(args, "address", 0);
    g_autoptr(GError) reason = NULL;
    struct page_leaf leaf;
    GString *out;

    if (!walk)
        return false;
    out = g_string_new(NULL);
    if (debug_translate(walk, gva, &leaf, &reason))
        g_string_append_printf(out, "gpa: %#" PRIx64 "\n", leaf.gpa + (gva - leaf.gva));
    else if (reason->code == DEBUG_UNMAPPED)
        g_string_append(out, "Unmapped\n");
    else
        g_string_append_printf(out, "%s\n", reason->message);
    *ret = text_result(out);
    return true;
}

/* The host's address of shared memory; NULL: there is none, the error is set. */
static void *host_address(const struct monitor_ctx *ctx, uint64_t gpa, struct memory_piece *piece,
                          GError **error)
{
    *piece = memory_look(ctx->vm->memory, gpa, 1);
    if (piece->state == MEMORY_SHARED)
        return (char *)ram_block_host(piece->block) + piece->offset;
    if (piece->state == MEMORY_PRIVATE)
        error_set(error, "Memory at address 0x%" PRIx64 " is private: the host has no address "
                  "for it", gpa);
    else if (piece->state == MEMORY_ABSENT)
        error_set(error, "Memory at address 0x%" PRIx64 " isn't plugged in", gpa);
    else
        error_set(error, "No memory is mapped at address 0x%" PRIx64, gpa);
    return NULL;
}

static bool run_gpa2hva(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    uint64_t gpa = address_arg(args, "address", 0);
    struct memory_piece piece;
    void *host = host_address(ctx, gpa, &piece, error);
    GString *out;

    if (!host)
        return false;
    out = g_string_new(NULL);
    g_string_append_printf(out, "Host virtual address for 0x%" PRIx64 " (%s) is %p\n", gpa,
                           ram_block_name(piece.block), host);
    *ret = text_result(out);
    return true;
}

/* An entry of Linux's pagemap (Documentation/admin-guide/mm/pagemap.rst) for an address. */
static bool read_pagemap(const void *host, uint64_t *ret, GError **error)
{
    AUTO_FD fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : pread(fd, ret, sizeof(*ret), (off_t)((uintptr_t)host /
                                       GUEST_PAGE_SIZE * sizeof(*ret)));

    if (size == sizeof(*ret))
        return true;
    error_set_errno(error, size < 0 ? errno : ENODATA, "/proc/self/pagemap");
    return false;
}

static bool run_gpa2hpa(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    const uint64_t present = 1ULL << 63, frame = (1ULL << 55) - 1;
    uint64_t gpa = address_arg(args, "address", 0), entry;
    struct memory_piece piece;
    void *host = host_address(ctx, gpa, &piece, error);
    GString *out;

    if (!host || !read_pagemap(host, &entry, error))
        return false;
    if (!(entry & present)) {
        error_set(error, "Memory at address 0x%" PRIx64 " isn't in the host's RAM now: it was never "
                  "touched, or is swapped out", gpa);
        return false;
    }
    if (!(entry & frame)) {
        error_set(error, "the host's kernel tells physical addresses only to who has "
                  "CAP_SYS_ADMIN");
        return false;
    }
    out = g_string_new(NULL);
    g_string_append_printf(out, "Host physical address for 0x%" PRIx64 " (%s) is 0x%" PRIx64 "\n",
                           gpa, ram_block_name(piece.block),
                           (entry & frame) * GUEST_PAGE_SIZE + gpa % GUEST_PAGE_SIZE);
    *ret = text_result(out);
    return true;
}

/* --- What is where --- */

enum { MAX_PIECES = 4096 };

static const struct schema_type args_attributes = SCHEMA_OBJECT_OF(
    { "address", &schema_uint }, { "size", &schema_uint, true });
static const struct schema_type type_piece_state = SCHEMA_ENUM_OF(
    "nothing", "shared", "private", "absent");
static const struct schema_type type_piece = SCHEMA_OBJECT_OF(
    { "address", &schema_uint }, { "size", &schema_uint }, { "state", &type_piece_state },
    { "block", &schema_str, true }, { "offset", &schema_uint, true },
    { "readable", &schema_bool });
static const struct schema_type type_pieces = SCHEMA_ARRAY_OF(&type_piece);

static bool run_attributes(const struct monitor_ctx *ctx, struct json_object *args,
                           struct json_object **ret, GError **error)
{
    uint64_t first, last;

    if (!range_args(args, &first, &last, error))
        return false;
    *ret = json_object_new_array();
    for (uint64_t gpa = first, left = last - first + 1, n; left; gpa += n, left -= n) {
        struct memory_piece piece = memory_look(ctx->vm->memory, gpa, left);
        struct json_object *entry = json_object_new_object();
        bool readable;

        n = MIN(piece.size, debug_probe(ctx->vm->debug, gpa, piece.size, &readable));
        json_set_uint(entry, "address", gpa);
        json_set_uint(entry, "size", n);
        json_set_text(entry, "state", type_piece_state.values[piece.state]);
        if (piece.block) {
            json_set_text(entry, "block", ram_block_name(piece.block));
            json_set_uint(entry, "offset", piece.offset);
        }
        json_set_bool(entry, "readable", readable);
        json_object_array_add(*ret, entry);
        if (json_object_array_length(*ret) == MAX_PIECES)
            break;
    }
    return true;
}

static void print_attributes(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    for (size_t i = 0; i < json_object_array_length(ret); i++) {
        struct json_object *entry = json_object_array_get_idx(ret, i);
        uint64_t gpa = address_arg(entry, "address", 0);
        const char *state = json_text(entry, "state"), *block = json_text(entry, "block");
        bool readable = json_flag(entry, "readable");

        if (!block && readable)
            state = "device";
        g_string_append_printf(out, "%016" PRIx64 "-%016" PRIx64 " %s", gpa,
                               gpa + address_arg(entry, "size", 0) - 1, state);
        if (block)
            g_string_append_printf(out, " %s+0x%" PRIx64 "%s", block,
                                   address_arg(entry, "offset", 0),
                                   readable ? "" : " (can't be read)");
        g_string_append_c(out, '\n');
    }
}

const struct command commands_debug[] = {
    { .qmp = "query-debug", .hmp = "info debug", .ret = &type_debug,
      .help = "show what debuggers may do with guest memory", .run = run_debug,
      .print = print_debug },
    { .hmp = "info tlb", .args = &args_range, .params = "[address [size]]", .ret = &type_text,
      .help = "show virtual to physical memory mappings", .run = run_tlb },
    { .hmp = "info mem", .args = &args_range, .params = "[address [size]]", .ret = &type_text,
      .help = "show the active virtual memory mappings", .run = run_mem },
    { .hmp = "gva2gpa", .args = &args_address, .params = "addr", .ret = &type_text,
      .help = "print the guest physical address corresponding to a guest virtual address",
      .run = run_gva2gpa },
    { .hmp = "gpa2hva", .args = &args_address, .params = "addr", .ret = &type_text,
      .help = "print the host virtual address corresponding to a guest physical address",
      .run = run_gpa2hva },
    { .hmp = "gpa2hpa", .args = &args_address, .params = "addr", .ret = &type_text,
      .help = "print the host physical address corresponding to a guest physical address",
      .run = run_gpa2hpa },
    { .qmp = "x-gpa-attributes", .hmp = "x-gpa-attributes", .args = &args_attributes,
      .params = "addr [size]", .ret = &type_pieces,
      .help = "show which guest physical memory is shared, private, readable",
      .run = run_attributes, .print = print_attributes },
    { NULL },
};
