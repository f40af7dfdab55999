/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dump-guest-memory: the guest stands still while its memory is written, at once
 * or, detached, between whatever else the main loop has to do.  One at a time.
 */
#include "command.h"

#include "core_dump.h"
#include "error.h"
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The first four are QEMU's, in its order. */
static const struct schema_type type_dump_status = SCHEMA_ENUM_OF(
    "none", "active", "completed", "failed");
enum dump_status { DUMP_NONE, DUMP_ACTIVE, DUMP_COMPLETED, DUMP_FAILED };

const struct schema_type type_dump_result = SCHEMA_OBJECT_OF(
    { "status", &type_dump_status }, { "completed", &schema_int }, { "total", &schema_int },
    { "missing", &schema_int });

/* The last one that was asked for. Main thread. */
static struct {
    enum dump_status status;
    struct core_dump *dump;     /* while active */
    const struct monitor_vm *vm;
    int fd;
    char *file;
    bool resume;                /* the guest ran before */
    guint idle;
    uint64_t done, total, missing;
} job = { .fd = -1 };

static struct json_object *describe_job(void)
{
    struct json_object *result = json_object_new_object();

    if (job.dump)
        core_dump_progress(job.dump, &job.done, &job.total);
    json_set_text(result, "status", type_dump_status.values[job.status]);
    json_set_uint(result, "completed", job.done);
    json_set_uint(result, "total", job.total);
    json_set_uint(result, "missing", job.missing);
    return result;
}

/* --- The end of one --- */

/* A file that isn't all there looks as if it were. */
static void close_file(bool keep)
{
    struct stat st;

    if (!keep && job.file && fstat(job.fd, &st) == 0 && S_ISREG(st.st_mode))
        unlink(job.file);
    close(job.fd);
    job.fd = -1;
    g_clear_pointer(&job.file, g_free);
}

static void end_job(const GError *error)
{
    struct json_object *data = json_object_new_object();
    g_autoptr(GError) ignored = NULL;

    core_dump_progress(job.dump, &job.done, &job.total);
    core_dump_free(g_steal_pointer(&job.dump));
    close_file(!error);
    job.status = error ? DUMP_FAILED : DUMP_COMPLETED;
    json_object_object_add(data, "result", describe_job());
    if (error)
        json_set_text(data, "error", error->message);
    monitor_event("DUMP_COMPLETED", data);
    if (job.resume)
        job.vm->cont(job.vm->opaque, &ignored);
}

/* One step. True: there is more to do; else it has ended, with the error set if it failed. */
static bool step(GError **error)
{
    GError *failure = NULL;
    bool more;

    if (core_dump_step(job.dump, &more, &failure) && more)
        return true;
    end_job(failure);
    if (failure)
        g_propagate_error(error, failure);
    return false;
}

static gboolean idle_step(gpointer data)
{
    g_autoptr(GError) error = NULL;

    if (step(&error))
        return G_SOURCE_CONTINUE;
    job.idle = 0;
    return G_SOURCE_REMOVE;
}

void dump_cancel(void)
{
    if (!job.dump)
        return;
    if (job.idle)
        g_source_remove(job.idle);
    job.idle = 0;
    core_dump_free(g_steal_pointer(&job.dump));
    close_file(false);
    job.status = DUMP_FAILED;
}

/* --- The beginning --- */

/* All that QEMU knows; core_dump_formats() are those that are there. */
static const struct schema_type type_dump_format = SCHEMA_ENUM_OF(
    "elf", "kdump-zlib", "kdump-lzo", "kdump-snappy", "kdump-raw-zlib", "kdump-raw-lzo",
    "kdump-raw-snappy", "win-dmp");
static const struct schema_type type_unreadable = SCHEMA_ENUM_OF("mark", "omit");
static const struct schema_type type_vmcoreinfo = SCHEMA_ENUM_OF("device", "search");
static const struct schema_type args_dump = SCHEMA_OBJECT_OF(
    { "paging", &schema_bool }, { "protocol", &schema_str }, { "detach", &schema_bool, true },
    { "begin", &schema_uint, true }, { "length", &schema_uint, true },
    { "format", &type_dump_format, true }, { "x-unreadable", &type_unreadable, true },
    { "x-vmcoreinfo", &type_vmcoreinfo, true });
static const struct schema_type args_dump_hmp = SCHEMA_OBJECT_OF(
    { "paging", &schema_bool, true, .flag = 'p' }, { "detach", &schema_bool, true, .flag = 'd' },
    { "omit", &schema_bool, true, .flag = 'o' }, { "zlib", &schema_bool, true, .flag = 'z' },
    { "lzo", &schema_bool, true, .flag = 'l' }, { "snappy", &schema_bool, true, .flag = 's' },
    { "windmp", &schema_bool, true, .flag = 'w' }, { "raw", &schema_bool, true, .flag = 'R' },
    { "search", &schema_bool, true, .flag = 'v' },
    { "filename", &schema_str },
    { "begin", &schema_uint, true }, { "length", &schema_uint, true });

static uint64_t uint_arg(struct json_object *args, const char *name, bool *ret_given)
{
    struct json_object *value;

    *ret_given = json_object_object_get_ex(args, name, &value);
    return *ret_given ? json_object_get_uint64(value) : 0;
}

static bool filter_args(struct json_object *args, struct core_dump_options *opt, GError **error)
{
    bool has_length;

    opt->begin = uint_arg(args, "begin", &opt->filter);
    opt->length = uint_arg(args, "length", &has_length);
    if (opt->filter != has_length) {
        error_set(error, "Parameter '%s' is missing", has_length ? "begin" : "length");
        return false;
    }
    if (opt->filter && (!opt->length || opt->length - 1 > UINT64_MAX - opt->begin)) {
        error_set(error, "Parameter 'length' expects a length that ends within the address space");
        return false;
    }
    if (opt->filter && opt->paging) {
        error_set(error, "a dump with paging can't be of a part of memory: leave begin and length "
                  "out, or paging");
        return false;
    }
    return true;
}

/* file:PATH, fd:NAME */
static bool open_target(const struct monitor_ctx *ctx, const char *protocol, GError **error)
{
    const char *file = protocol + strlen("file:");

    if (g_str_has_prefix(protocol, "fd:")) {
        job.fd = monitor_take_fd(ctx, protocol + strlen("fd:"), error);
        return job.fd >= 0;
    }
    if (!g_str_has_prefix(protocol, "file:")) {
        error_set(error, "Invalid parameter 'protocol'");
        error_hint(error, "file:PATH or fd:NAME");
        return false;
    }
    job.fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0400);
    if (job.fd < 0) {
        error_set_errno(error, errno, "can't open the dump file '%s'", file);
        return false;
    }
    job.file = g_strdup(file);
    return true;
}

static bool start(const struct monitor_ctx *ctx, const struct core_dump_options *opt,
                  const char *protocol, bool detach, GError **error)
{
    if (job.dump) {
        error_set(error, "There is a dump in process, please wait.");
        return false;
    }
    if (!open_target(ctx, protocol, error))
        return false;
    job.vm = ctx->vm;
    job.resume = strcmp(ctx->vm->status(ctx->vm->opaque), "running") == 0;
    if (job.resume)
        ctx->vm->stop(ctx->vm->opaque);
    job.done = job.total = job.missing = 0;
    job.dump = core_dump_new(ctx->vm->debug, job.fd, opt, error);
    if (!job.dump) {
        job.status = DUMP_FAILED;
        close_file(false);
        if (job.resume)
            ctx->vm->cont(ctx->vm->opaque, NULL);
        return false;
    }
    job.status = DUMP_ACTIVE;
    job.missing = core_dump_missing(job.dump);
    if (core_dump_warning(job.dump))
        fprintf(stderr, "cloister: dump-guest-memory: %s\n", core_dump_warning(job.dump));
    if (detach)
        job.idle = g_idle_add(idle_step, NULL);
    return true;
}

static bool dump(const struct monitor_ctx *ctx, const struct core_dump_options *opt,
                 const char *protocol, bool detach, GError **error)
{
    GError *failure = NULL;

    if (!core_dump_check(opt, error) || !start(ctx, opt, protocol, detach, error))
        return false;
    while (!detach && step(&failure))
        ;
    if (failure)
        g_propagate_error(error, failure);
    return !failure;
}

static bool run_dump(const struct monitor_ctx *ctx, struct json_object *args,
                     struct json_object **ret, GError **error)
{
    const char *unreadable = json_text(args, "x-unreadable");
    const char *vmcoreinfo = json_text(args, "x-vmcoreinfo");
    struct core_dump_options opt = {
        .format = json_text(args, "format"), .paging = json_flag(args, "paging"),
        .omit = unreadable && strcmp(unreadable, "omit") == 0,
        .search = vmcoreinfo && strcmp(vmcoreinfo, "search") == 0,
    };

    return filter_args(args, &opt, error) &&
           dump(ctx, &opt, json_text(args, "protocol"), json_flag(args, "detach"), error);
}

/* The name of -z, -l, -s or -w, with or without -R; NULL: none of them. */
static bool format_flags(struct json_object *args, const char **ret, GError **error)
{
    static const struct {
        const char *flag, *plain, *raw;
    } flags[] = {
        { "zlib", "kdump-zlib", "kdump-raw-zlib" }, { "lzo", "kdump-lzo", "kdump-raw-lzo" },
        { "snappy", "kdump-snappy", "kdump-raw-snappy" }, { "windmp", "win-dmp", NULL },
    };
    bool raw = json_flag(args, "raw");
    unsigned given = 0;

    *ret = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (!json_flag(args, flags[i].flag))
            continue;
        *ret = raw ? flags[i].raw : flags[i].plain;
        given++;
    }
    if (given > 1)
        error_set(error, "only one of '-z|-l|-s|-w' can be set");
    else if (raw && !*ret)
        error_set(error, "'-R' is for '-z', '-l' and '-s'");
    return given < 2 && (!raw || *ret);
}

static bool run_dump_hmp(const struct monitor_ctx *ctx, struct json_object *args,
                         struct json_object **ret, GError **error)
{
    g_autofree char *protocol = g_strdup_printf("file:%s", json_text(args, "filename"));
    struct core_dump_options opt = {
        .paging = json_flag(args, "paging"), .omit = json_flag(args, "omit"),
        .search = json_flag(args, "search"),
    };

    return format_flags(args, &opt.format, error) && filter_args(args, &opt, error) &&
           dump(ctx, &opt, protocol, json_flag(args, "detach"), error);
}

/* --- Questions --- */

static bool run_query(const struct monitor_ctx *ctx, struct json_object *args,
                      struct json_object **ret, GError **error)
{
    *ret = describe_job();
    return true;
}

static void print_query(const struct monitor_ctx *ctx, struct json_object *ret, GString *out)
{
    int64_t done = json_int(ret, "completed", 0), total = json_int(ret, "total", 0);

    g_string_append_printf(out, "Status: %s\n", json_text(ret, "status"));
    if (job.status == DUMP_ACTIVE)
        g_string_append_printf(out, "Finished: %.2f %%\n",
                               total ? 100.0 * (double)done / (double)total : 0);
    if (job.missing)
        g_string_append_printf(out, "Not readable: %" PRIu64 " bytes\n", job.missing);
}

static const struct schema_type type_dump_formats = SCHEMA_ARRAY_OF(&type_dump_format);
static const struct schema_type type_capability = SCHEMA_OBJECT_OF(
    { "formats", &type_dump_formats });

static bool run_capability(const struct monitor_ctx *ctx, struct json_object *args,
                           struct json_object **ret, GError **error)
{
    struct json_object *formats = json_object_new_array();

    for (const char *const *name = core_dump_formats(); *name; name++)
        json_object_array_add(formats, json_object_new_string(*name));
    *ret = json_object_new_object();
    json_object_object_add(*ret, "formats", formats);
    return true;
}

const struct command commands_dump[] = {
    { .qmp = "dump-guest-memory", .args = &args_dump, .help = "dump guest memory into a file",
      .run = run_dump },
    { .hmp = "dump-guest-memory", .args = &args_dump_hmp,
      .params = "[-p] [-d] [-o] [-v] [-z|-l|-s|-w] [-R] filename [begin length]",
      .help = "dump guest memory into file 'filename' (-p: by virtual address, -d: return at once, "
              "-o: leave out what can't be read, -v: search for VMCOREINFO, -z: kdump format by zlib, -l: lzo, -s: snappy, "
              "-w: Windows', -R: not flattened)", .run = run_dump_hmp },
    { .qmp = "query-dump", .hmp = "info dump", .ret = &type_dump_result,
      .help = "display the latest dump status", .run = run_query, .print = print_query },
    { .qmp = "query-dump-guest-memory-capability", .ret = &type_capability,
      .help = "formats of dump-guest-memory", .run = run_capability },
    { NULL },
};
