/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Standard input and output, the terminal raw while they are used: keys go to
 * the guest or the monitor one by one.  The terminal is put back at exit, and made
 * raw again when a stopped job is continued (termios(3), tcsetattr(3)).
 */
#include "chardev_internal.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* One terminal in a process; a signal handler reads them. */
static struct termios saved_tty, raw_tty;
static volatile sig_atomic_t tty_is_raw;
static struct sigaction saved_sigcont;
static bool stdio_used;
static bool nonblock_set;       /* O_NONBLOCK on the shared descriptor of standard output */

static void tty_restore(void)
{
    if (!tty_is_raw)
        return;
    tty_is_raw = 0;
    sigaction(SIGCONT, &saved_sigcont, NULL);
    tcsetattr(STDIN_FILENO, TCSANOW, &saved_tty);
}

static void nonblock_restore(void)
{
    if (nonblock_set)
        fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) & ~O_NONBLOCK);
    nonblock_set = false;
}

/* The shell has set its own mode meanwhile. In the background, setting one would stop us again. */
static void continued(int signum)
{
    int saved = errno;

    if (tty_is_raw && tcgetpgrp(STDIN_FILENO) == getpgrp())
        tcsetattr(STDIN_FILENO, TCSANOW, &raw_tty);
    errno = saved;
}

static void tty_make_raw(bool signals)
{
    struct sigaction action = { .sa_handler = continued, .sa_flags = SA_RESTART };

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_tty) < 0)
        return;
    raw_tty = saved_tty;
    raw_tty.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL |
                                   IXON);
    raw_tty.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        raw_tty.c_lflag &= ~(tcflag_t)ISIG;
    raw_tty.c_cflag = (raw_tty.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    /* OPOST stays: our own messages end their lines with a bare newline. */
    raw_tty.c_cc[VMIN] = 1;
    raw_tty.c_cc[VTIME] = 0;
    tty_is_raw = 1;
    sigaction(SIGCONT, &action, &saved_sigcont);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw_tty);
}

/*
 * Once the main loop runs: until then, what goes wrong is said on an ordinary
 * terminal, and Ctrl-C ends a program that waits for the client of another chardev.
 */
static gboolean loop_runs(gpointer data)
{
    struct chardev *chr = data;

    chr->timer_tag = 0;
    tty_make_raw(chr->options.signal);
    return G_SOURCE_REMOVE;
}

/*
 * A descriptor of standard output that doesn't block.  O_NONBLOCK belongs to the
 * open file, which the shell and stderr share; where it can be opened anew
 * (terminals, pipes) ours is separate.
 */
static int open_stdout(void)
{
    struct stat st;
    int fd = -1;

    if (fstat(STDOUT_FILENO, &st) < 0)
        return -1;
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0) {
            nonblock_set = !(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK);
            fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
        }
    }
    return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

static bool stdio_open(struct chardev *chr, GError **error)
{
    static bool at_exit;
    int in, out;

    if (stdio_used) {
        error_set(error, "stdio is used by another character device already");
        return false;
    }
    /* Standard input may be closed: then there is only output. */
    in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    out = open_stdout();
    if (out < 0) {
        error_set_errno(error, errno, "stdio: standard output can't be used");
        if (in >= 0)
            close(in);
        return false;
    }
    stdio_used = true;
    if (!at_exit)
        at_exit = atexit(tty_restore) == 0;
    chr->timer_tag = g_idle_add_full(G_PRIORITY_HIGH, loop_runs, chr, NULL);
    chr->filename = g_strdup("stdio");
    chardev_stream_open(chr, in, out);
    return true;
}

static void stdio_close(struct chardev *chr)
{
    if (!chr->filename)
        return;                 /* open failed: stdio is somebody else's */
    if (chr->timer_tag)
        g_source_remove(chr->timer_tag);
    tty_restore();
    nonblock_restore();
    stdio_used = false;
}

static const struct property stdio_properties[] = {
    { "signal", PROP_BOOL, offsetof(struct chardev_options, signal) },
    { NULL },
};

const struct chardev_backend chardev_stdio = {
    .name = "stdio", .properties = stdio_properties, .open = stdio_open, .close = stdio_close,
    .flush_ms = 5000,
};
