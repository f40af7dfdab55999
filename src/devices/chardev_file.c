/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chardevs without an input: a file that is written, and nothing at all. */
#include "chardev_internal.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>

static bool file_open(struct chardev *chr, GError **error)
{
    const struct chardev_options *opt = &chr->options;
    int fd;

    if (!opt->path || !*opt->path) {
        error_set(error, "chardev: file: no filename given");
        return false;
    }
    /* O_NONBLOCK for the sake of a FIFO: one without a reader is refused. */
    fd = open(opt->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
              (opt->append ? O_APPEND : O_TRUNC), 0666);
    if (fd < 0) {
        error_set_errno(error, errno, "Could not open '%s'", opt->path);
        return false;
    }
    chr->filename = g_strdup_printf("file:%s", opt->path);
    chardev_stream_open(chr, -1, fd);
    return true;
}

static const struct property file_properties[] = {
    { "path", PROP_STRING, offsetof(struct chardev_options, path) },
    { "append", PROP_BOOL, offsetof(struct chardev_options, append) },
    { NULL },
};

const struct chardev_backend chardev_file = {
    .name = "file", .properties = file_properties, .open = file_open, .flush_ms = 5000,
};

static bool null_open(struct chardev *chr, GError **error)
{
    chardev_stream_open(chr, -1, -1);
    return true;
}

const struct chardev_backend chardev_null = { .name = "null", .open = null_open };
