/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands that read and write guest memory for people and programs.  All of it
 * goes through the debug access layer; what can't be read is an error or a mark,
 * never zeroes.
 */
#include "command.h"

#include "debug.h"
#include "error.h"
#include "examine.h"
#include "fd.h"
#include "fd_write.h"
#include "page_walk.h"
#include "range.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 1 << 20,
    EXAMINE_MAX = 1 << 16,      /* values, or instructions, of one command */
    QMP_READ_MAX = 16 << 20,    /* bytes; base64 makes a third more of them */
};

static uint64_t uint_arg(struct json_object *args, const char *name)
{
    struct json_object *value;

    return json_object_object_get_ex(args, name, &value) ? json_object_get_uint64(value) : 0;
}

/* --- For people --- */

static const struct schema_type args_examine = SCHEMA_OBJECT_OF(
    { "format", &schema_str, true, .format = true }, { "address", &schema_uint });

static bool examine(const struct monitor_ctx *ctx, struct json_object *args, bool virtual,
                    struct json_object **ret, GError **error)
{
    AUTO_PAGE_WALK walk = NULL;
    struct examine_format fmt;
    GString *out;
    bool ok = true;

    if (!examine_format_parse(json_text(args, "format"), &fmt, error))
        return false;
    if (fmt.count > EXAMINE_MAX) {
        error_set(error, "%d values are the most at a time: %s", EXAMINE_MAX,
                  virtual ? "memsave" : "pmemsave");
        return false;
    }
    if (virtual) {
        walk = page_walk_new(ctx->vm->debug, *ctx->cpu, error);
        if (!walk)
            return false;
    }
    out = g_string_new(NULL);
    if (fmt.format == 'i')
        ok = examine_code(ctx, walk, uint_arg(args, "address"), fmt.count, out, error);
    else
        examine_memory(ctx, walk, uint_arg(args, "address"), &fmt, out);
    if (ok)
        *ret = text_result(out);
    else
        g_string_free(out, TRUE);
    return ok;
}

static bool run_x(const struct monitor_ctx *ctx, struct json_object *args,
                  struct json_object **ret, GError **error)
{
    return examine(ctx, args, true, ret, error);
}

static bool run_xp(const struct monitor_ctx *ctx, struct json_object *args,
                   struct json_object **ret, GError **error)
{
    return examine(ctx, args, false, ret, error);
}

static const struct schema_type args_print = SCHEMA_OBJECT_OF(
    { "format", &schema_str, true, .format = true }, { "value", &schema_uint });

static bool run_print(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    struct examine_format fmt;
    GString *out;

    if (!examine_format_parse(json_text(args, "format"), &fmt, error))
        return false;
    if (fmt.format == 'i')
        fmt.format = 'x';
    out = g_string_new(NULL);
    examine_value(&fmt, uint_arg(args, "value"), false, out);
    g_string_append_c(out, '\n');
    *ret = text_result(out);
    return true;
}

/* --- Into a file --- */

/* Whole pages: what a guest copies into without a detour (debug_memory.h). */
static uint8_t *chunk_new(void)
{
    return g_aligned_alloc0(1, CHUNK, GUEST_PAGE_SIZE);
}

static void chunk_clear(uint8_t **buf)
{
    g_aligned_free(*buf);
}

#define AUTO_CHUNK __attribute__((cleanup(chunk_clear))) uint8_t *

static const struct schema_type args_memsave = SCHEMA_OBJECT_OF(
    { "val", &schema_uint }, { "size", &schema_uint }, { "filename", &schema_str },
    { "cpu-index", &schema_int, true, .program = true });
static const struct schema_type args_pmemsave = SCHEMA_OBJECT_OF(
    { "val", &schema_uint }, { "size", &schema_uint }, { "filename", &schema_str });

static bool copy_to_fd(struct debug *dbg, struct page_walk *walk, uint64_t addr, uint64_t size,
                       int fd, const char *file, GError **error)
{
    AUTO_CHUNK buf = chunk_new();

    while (size) {
        uint64_t n = MIN(size, CHUNK);
        uint64_t done = debug_read(dbg, walk, addr, buf, n, error);
        int ret;

        if (done < n) {
            g_prefix_error(error, "Invalid addr 0x%016" PRIx64 "/size %" PRIu64 " specified: ",
                           addr + done, size - done);
            return false;
        }
        ret = fd_write_all(fd, buf, n);
        if (ret) {
            error_set_errno(error, ret, "writing memory to '%s' failed", file);
            return false;
        }
        addr += n;
        size -= n;
    }
    return true;
}

/* Written to the end or not there: memory may be more than a disk, or not be readable. */
static bool save(const struct monitor_ctx *ctx, struct page_walk *walk, struct json_object *args,
                 GError **error)
{
    const char *file = json_text(args, "filename");
    AUTO_FD fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0) {
        error_set_errno(error, errno, "Could not open '%s'", file);
        return false;
    }
    if (copy_to_fd(ctx->vm->debug, walk, uint_arg(args, "val"), uint_arg(args, "size"), fd, file,
                   error))
        return true;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        unlink(file);
    return false;
}

/* -1: invalid, the error is set. */
static int cpu_arg(const struct monitor_ctx *ctx, struct json_object *args, GError **error)
{
    int64_t cpu = json_int(args, "cpu-index", *ctx->cpu);

    if (cpu >= 0 && cpu < ctx->vm->cpu_count(ctx->vm->opaque))
        return (int)cpu;
    error_set(error, "Parameter 'cpu-index' expects a CPU number");
    return -1;
}

static bool run_memsave(const struct monitor_ctx *ctx, struct json_object *args,
                        struct json_object **ret, GError **error)
{
    int cpu = cpu_arg(ctx, args, error);
    AUTO_PAGE_WALK walk = cpu < 0 ? NULL : page_walk_new(ctx->vm->debug, (unsigned)cpu, error);

    return walk && save(ctx, walk, args, error);
}

static bool run_pmemsave(const struct monitor_ctx *ctx, struct json_object *args,
                         struct json_object **ret, GError **error)
{
    return save(ctx, NULL, args, error);
}

/* --- For programs --- */

static const struct schema_type type_space = SCHEMA_ENUM_OF("physical", "virtual");
static const struct schema_type args_read = SCHEMA_OBJECT_OF(
    { "address", &schema_uint }, { "size", &schema_uint }, { "space", &type_space, true },
    { "cpu-index", &schema_int, true }, { "fdname", &schema_str, true });
static const struct schema_type type_read = SCHEMA_OBJECT_OF(
    { "data", &schema_str, true }, { "size", &schema_uint }, { "error", &schema_str, true },
    { "failed-address", &schema_uint, true });
static const struct schema_type args_write = SCHEMA_OBJECT_OF(
    { "address", &schema_uint }, { "data", &schema_str, true }, { "space", &type_space, true },
    { "cpu-index", &schema_int, true }, { "fdname", &schema_str, true },
    { "size", &schema_uint, true });
static const struct schema_type type_written = SCHEMA_OBJECT_OF({ "size", &schema_uint });

/* *ret NULL: physical. */
static bool walk_arg(const struct monitor_ctx *ctx, struct json_object *args,
                     struct page_walk **ret, GError **error)
{
    const char *space = json_text(args, "space");
    int cpu;

    *ret = NULL;
    if (!space || strcmp(space, "virtual") != 0)
        return true;
    cpu = cpu_arg(ctx, args, error);
    if (cpu >= 0)
        *ret = page_walk_new(ctx->vm->debug, (unsigned)cpu, error);
    return *ret != NULL;
}

/* Any size, into a descriptor: as far as it can be read. */
static bool read_to_fd(const struct monitor_ctx *ctx, struct page_walk *walk, int fd, uint64_t addr,
                       uint64_t size, struct json_object **ret, GError **error)
{
    AUTO_CHUNK buf = chunk_new();
    g_autoptr(GError) reason = NULL;
    uint64_t done = 0;

    while (done < size && !reason) {
        uint64_t n = debug_read(ctx->vm->debug, walk, addr + done, buf, MIN(size - done, CHUNK),
                                &reason);
        int err = fd_write_all(fd, buf, n);

        if (err) {
            error_set_errno(error, err, "writing memory to the descriptor failed");
            return false;
        }
        done += n;
    }
    *ret = json_object_new_object();
    json_set_uint(*ret, "size", done);
    if (reason) {
        json_set_text(*ret, "error", reason->message);
        json_set_uint(*ret, "failed-address", addr + done);
    }
    return true;
}

/* What could be read before something couldn't is an answer; nothing at all is an error. */
static bool run_read(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    uint64_t addr = uint_arg(args, "address"), size = uint_arg(args, "size"), done;
    g_autofree uint8_t *buf = NULL;
    g_autofree char *data = NULL;
    g_autoptr(GError) reason = NULL;
    const char *fdname = json_text(args, "fdname");
    AUTO_PAGE_WALK walk = NULL;
    AUTO_FD fd = -1;

    if (!size || (!fdname && size > QMP_READ_MAX)) {
        error_set(error, "Parameter 'size' expects 1 to %d, or an fdname", QMP_READ_MAX);
        return false;
    }
    if (!walk_arg(ctx, args, &walk, error))
        return false;
    if (fdname) {
        fd = monitor_take_fd(ctx, fdname, error);
        return fd >= 0 && read_to_fd(ctx, walk, fd, addr, size, ret, error);
    }
    buf = g_malloc(size);
    done = debug_read(ctx->vm->debug, walk, addr, buf, size, &reason);
    if (!done) {
        g_propagate_error(error, g_steal_pointer(&reason));
        return false;
    }
    data = g_base64_encode(buf, done);
    *ret = json_object_new_object();
    json_set_text(*ret, "data", data);
    json_set_uint(*ret, "size", done);
    if (done < size) {
        json_set_text(*ret, "error", reason->message);
        json_set_uint(*ret, "failed-address", addr + done);
    }
    return true;
}

/* Reading a pipe might never end; a file's size is known. */
static uint8_t *data_of_fd(const struct monitor_ctx *ctx, struct json_object *args, gsize *ret_size,
                           GError **error)
{
    AUTO_FD fd = monitor_take_fd(ctx, json_text(args, "fdname"), error);
    uint64_t size = uint_arg(args, "size"), done = 0;
    g_autofree uint8_t *data = NULL;
    struct stat st;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_set(error, "Parameter 'fdname' expects a file (or memfd)");
        return NULL;
    }
    if (!size || size > QMP_READ_MAX) {
        error_set(error, "Parameter 'size' expects 1 to %d", QMP_READ_MAX);
        return NULL;
    }
    data = g_malloc(size);
    while (done < size) {
        ssize_t n = read(fd, data + done, size - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            error_set_errno(error, n < 0 ? errno : ENODATA, "reading %" PRIu64 " bytes from the "
                            "descriptor", size);
            return NULL;
        }
        done += (uint64_t)n;
    }
    *ret_size = size;
    return g_steal_pointer(&data);
}

static uint8_t *data_arg(const struct monitor_ctx *ctx, struct json_object *args, gsize *ret_size,
                         GError **error)
{
    const char *text = json_text(args, "data");

    if (!text == !json_text(args, "fdname")) {
        error_set(error, "either 'data' or 'fdname' is needed");
        return NULL;
    }
    if (!text)
        return data_of_fd(ctx, args, ret_size, error);
    if (text_is_base64(text))
        return g_base64_decode(text, ret_size);
    error_set(error, "Parameter 'data' expects base64");
    return NULL;
}

static bool run_write(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    uint64_t addr = uint_arg(args, "address"), done;
    gsize size = 0;
    g_autofree uint8_t *data = data_arg(ctx, args, &size, error);
    AUTO_PAGE_WALK walk = NULL;

    if (!data || !walk_arg(ctx, args, &walk, error))
        return false;
    done = debug_write(ctx->vm->debug, walk, addr, data, size, error);
    if (done < size) {
        g_prefix_error(error, "%" PRIu64 " of %zu bytes are written: ", done, size);
        return false;
    }
    *ret = json_object_new_object();
    json_set_uint(*ret, "size", done);
    return true;
}

const struct command commands_debug_memory[] = {
    { .hmp = "x", .args = &args_examine, .params = "/fmt addr", .ret = &type_text,
      .help = "virtual memory dump starting at 'addr'", .run = run_x },
    { .hmp = "xp", .args = &args_examine, .params = "/fmt addr", .ret = &type_text,
      .help = "physical memory dump starting at 'addr'", .run = run_xp },
    { .hmp = "print|p", .args = &args_print, .params = "/fmt expr", .ret = &type_text,
      .help = "print expression value (use $reg for CPU register access)", .run = run_print },
    { .qmp = "memsave", .hmp = "memsave", .args = &args_memsave, .params = "addr size file",
      .help = "save to disk virtual memory dump starting at 'addr' of size 'size'",
      .run = run_memsave },
    { .qmp = "pmemsave", .hmp = "pmemsave", .args = &args_pmemsave, .params = "addr size file",
      .help = "save to disk physical memory dump starting at 'addr' of size 'size'",
      .run = run_pmemsave },
    { .qmp = "x-debug-read", .args = &args_read, .ret = &type_read,
      .help = "read guest memory, in base64 or into a descriptor", .run = run_read },
    { .qmp = "x-debug-write", .args = &args_write, .ret = &type_written,
      .help = "write guest memory, from base64 or a descriptor", .run = run_write },
    { NULL },
};
