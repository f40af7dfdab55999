/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pseudo-terminal whose name is said at start (pty(7)).  While nobody has it
 * open, output is dropped and a timer looks whether somebody came.
 */
#include "chardev_internal.h"

#include "error.h"
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { PTY_LOOK_MS = 250 };

static bool pty_has_user(int fd)
{
    struct pollfd pfd = { .fd = fd };

    return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
}

static gboolean pty_look(gpointer data)
{
    struct chardev *chr = data;
    int in, out;

    if (!pty_has_user(chr->listen_fd))
        return G_SOURCE_CONTINUE;
    in = fcntl(chr->listen_fd, F_DUPFD_CLOEXEC, 3);
    out = fcntl(chr->listen_fd, F_DUPFD_CLOEXEC, 3);
    if (in < 0 || out < 0) {
        fd_closep(&in);
        fd_closep(&out);
        return G_SOURCE_CONTINUE;
    }
    chr->timer_tag = 0;
    chardev_stream_open(chr, in, out);
    return G_SOURCE_REMOVE;
}

static void pty_ended(struct chardev *chr)
{
    if (!chr->timer_tag)
        chr->timer_tag = g_timeout_add(PTY_LOOK_MS, pty_look, chr);
}

/* Raw from the start, and opened and closed once: only then a hang-up shows that nobody is there. */
static bool pty_prepare(int slave)
{
    struct termios tty;

    if (tcgetattr(slave, &tty) < 0)
        return false;
    cfmakeraw(&tty);
    return tcsetattr(slave, TCSANOW, &tty) == 0;
}

static bool pty_open(struct chardev *chr, GError **error)
{
    AUTO_FD slave = -1;
    char name[64];

    chr->listen_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (chr->listen_fd < 0 || grantpt(chr->listen_fd) < 0 || unlockpt(chr->listen_fd) < 0 ||
        ptsname_r(chr->listen_fd, name, sizeof(name)) != 0 ||
        (slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 || !pty_prepare(slave) ||
        fcntl(chr->listen_fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
        error_set_errno(error, errno, "Failed to create PTY");
        return false;
    }
    chr->filename = g_strdup_printf("pty:%s", name);
    g_printerr("char device redirected to %s (label %s)\n", name, chr->label);
    pty_ended(chr);
    return true;
}

static void pty_close(struct chardev *chr)
{
    if (chr->timer_tag)
        g_source_remove(chr->timer_tag);
    fd_closep(&chr->listen_fd);
}

const struct chardev_backend chardev_pty = {
    .name = "pty", .open = pty_open, .ended = pty_ended, .close = pty_close, .eof_ends = true,
    .flush_ms = 200,
};
