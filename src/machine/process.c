/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small things between the program and who started it. */
#include "process.h"

#include "error.h"
#include "fd.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- Pid file --- */

static char *pidfile_path;
static int pidfile_fd = -1;

bool pidfile_create(const char *path, GError **error)
{
    AUTO_FD fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    struct stat st;
    char text[32];
    int length;

    if (fd < 0) {
        error_set_errno(error, errno, "-pidfile: %s", path);
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_set(error, "-pidfile: %s: is not a regular file: another file", path);
        return false;
    }
    if (lockf(fd, F_TLOCK, 0) < 0) {
        error_set(error, "-pidfile: %s: belongs to a running process: another file", path);
        return false;
    }
    length = g_snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || write(fd, text, length) != length) {
        error_set_errno(error, errno, "-pidfile: %s", path);
        return false;
    }
    pidfile_path = g_canonicalize_filename(path, NULL);
    pidfile_fd = fd_take(&fd);
    return true;
}

void pidfile_remove(void)
{
    if (!pidfile_path)
        return;
    unlink(pidfile_path);
    g_clear_pointer(&pidfile_path, g_free);
    fd_closep(&pidfile_fd);
}

/* --- Background --- */

static int ready_fd = -1;

static int wait_for_child(int fd, pid_t child)
{
    ssize_t n;
    char byte;
    int status;

    do {
        n = read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1)
        return 0;
    /* It has said why on the stderr that we share. */
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return 1;
}

bool daemonize_start(bool *parent, int *status, GError **error)
{
    int fds[2];
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        error_set_errno(error, errno, "-daemonize: pipe");
        return false;
    }
    child = fork();
    *parent = child != 0;
    if (child == 0) {
        close(fds[0]);
        ready_fd = fds[1];
        setsid();
        return true;
    }
    close(fds[1]);
    if (child < 0)
        error_set_errno(error, errno, "-daemonize: fork");
    else
        *status = wait_for_child(fds[0], child);
    close(fds[0]);
    return child > 0;
}

bool daemonize_ready(GError **error)
{
    AUTO_FD null = -1;

    if (ready_fd < 0)
        return true;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || chdir("/") < 0) {
        error_set_errno(error, errno, "-daemonize");
        return false;
    }
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (dup2(null, fd) < 0) {
            error_set_errno(error, errno, "-daemonize");
            return false;
        }
    }
    /* A parent that is gone meanwhile misses nothing. */
    if (write(ready_fd, "", 1) < 0)
        errno = 0;
    fd_closep(&ready_fd);
    return true;
}

/* --- Signals --- */

static struct {
    void (*ended)(void *opaque);
    void *opaque;
    int pipe[2];
} signals;

/* What the handler passes on; smaller than PIPE_BUF, so written as a whole. */
struct signal_note {
    int signal;
    pid_t pid;
};

static void signal_handler(int signal, siginfo_t *info, void *context)
{
    struct signal_note note = { signal, info->si_code == SI_USER ? info->si_pid : 0 };
    int saved = errno;

    /* A full pipe: enough of them wait already. */
    if (write(signals.pipe[1], &note, sizeof(note)) < 0)
        errno = saved;
    errno = saved;
}

static void say_who(const struct signal_note *note)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int)note->pid);
    g_autofree char *name = NULL;

    if (!note->pid) {           /* from the terminal: whoever typed it knows */
        fprintf(stderr, "cloister: terminating on signal %d\n", note->signal);
        return;
    }
    if (g_file_get_contents(path, &name, NULL, NULL))
        g_strchomp(name);
    fprintf(stderr, "cloister: terminating on signal %d from pid %d (%s)\n", note->signal,
            (int)note->pid, name ? name : "<unknown process>");
}

static const int watched_signals[] = { SIGTERM, SIGINT, SIGHUP };

static void set_handlers(int flags)
{
    struct sigaction action = { .sa_sigaction = signal_handler, .sa_flags = SA_SIGINFO | flags };

    for (size_t i = 0; i < G_N_ELEMENTS(watched_signals); i++)
        sigaction(watched_signals[i], &action, NULL);
}

bool signals_catch(GError **error)
{
    if (pipe2(signals.pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        error_set_errno(error, errno, "cannot watch signals");
        return false;
    }
    set_handlers(0);
    return true;
}

int signals_fd(void)
{
    return signals.pipe[0];
}

bool signals_came(void)
{
    struct signal_note note;

    if (read(signals.pipe[0], &note, sizeof(note)) != sizeof(note))
        return false;
    say_who(&note);
    return true;
}

static gboolean signal_arrived(gint fd, GIOCondition condition, gpointer data)
{
    if (signals_came())
        signals.ended(signals.opaque);
    return G_SOURCE_CONTINUE;
}

void signals_watch(void (*ended)(void *opaque), void *opaque)
{
    signals.ended = ended;
    signals.opaque = opaque;
    g_unix_fd_add(signals.pipe[0], G_IO_IN, signal_arrived, NULL);
    set_handlers(SA_RESTART);
}
