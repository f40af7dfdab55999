/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unix and TCP stream sockets, server or client (unix(7), tcp(7)).  A server has
 * one client at a time; the next ones wait in the kernel's backlog.
 */
#include "chardev_internal.h"

#include "error.h"
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16 };

/* Without a host: only this machine. (QEMU listens to the world then.) */
#define DEFAULT_HOST "127.0.0.1"

/* --- One client after the other --- */

static void take_client(struct chardev *chr, int fd)
{
    int on = 1;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (chr->options.nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    chardev_stream_open(chr, fd, fd);
}

/* The client that we have is gone, which the loop hasn't seen yet. */
static bool client_left(const struct chardev *chr)
{
    struct pollfd fds = { .fd = chr->in_fd, .events = POLLRDHUP };

    return poll(&fds, 1, 0) == 1 && (fds.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static gboolean client_waits(gint fd, GIOCondition condition, gpointer data)
{
    struct chardev *chr = data;
    bool taken = chr->in_fd >= 0;
    int client;

    if (taken && client_left(chr))
        return G_SOURCE_CONTINUE;
    client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0)
        return G_SOURCE_CONTINUE;       /* it went away again, or we are short of descriptors */
    if (taken) {
        close(client);
        return G_SOURCE_CONTINUE;
    }
    if (!chr->refuse_others)
        chr->listen_tag = 0;
    take_client(chr, client);
    return chr->refuse_others;
}

static void socket_ended(struct chardev *chr)
{
    if (chr->listen_fd >= 0 && !chr->listen_tag)
        chr->listen_tag = g_unix_fd_add(chr->listen_fd, G_IO_IN, client_waits, chr);
}

static int give_up_fd = -1;

void chardev_set_give_up(int fd)
{
    give_up_fd = fd;
}

static bool serve(struct chardev *chr, GError **error)
{
    struct pollfd fds[] = {
        { .fd = chr->listen_fd, .events = POLLIN }, { .fd = give_up_fd, .events = POLLIN },
    };
    int client = -1;

    fcntl(chr->listen_fd, F_SETFL, fcntl(chr->listen_fd, F_GETFL) | O_NONBLOCK);
    if (!chr->options.wait) {
        socket_ended(chr);
        return true;
    }
    g_printerr("cloister: waiting for connection on: %s\n", chr->filename);
    while (client < 0) {
        int ready = poll(fds, G_N_ELEMENTS(fds), -1);

        if ((ready < 0 && errno != EINTR) || (ready > 0 && fds[1].revents)) {
            error_set_errno(error, ready < 0 ? errno : ECANCELED,
                            "Failed to wait for a connection on %s", chr->filename);
            return false;
        }
        client = accept4(chr->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    take_client(chr, client);
    return true;
}

/* --- Unix --- */

static bool unix_address(const char *path, struct sockaddr_un *addr, GError **error)
{
    *addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (!*path || strlen(path) >= sizeof(addr->sun_path)) {
        error_set(error, "UNIX socket path '%s' is %s", path, *path ? "too long" : "empty");
        g_prefix_error(error, "chardev: ");
        return false;
    }
    strcpy(addr->sun_path, path);
    return true;
}

/* A socket file that nobody listens on is left over from a run that died. */
static void remove_stale(const struct sockaddr_un *addr)
{
    struct stat st;
    AUTO_FD probe = -1;

    if (lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return;
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe >= 0 && connect(probe, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
        errno == ECONNREFUSED)
        unlink(addr->sun_path);
}

static bool unix_open(struct chardev *chr, GError **error)
{
    const char *path = chr->options.path;
    struct sockaddr_un addr;
    struct stat st;
    AUTO_FD fd = -1;

    if (!unix_address(path, &addr, error))
        return false;
    chr->filename = g_strdup_printf("unix:%s%s", path, chr->options.server ? ",server=on" : "");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set_errno(error, errno, "Failed to create a UNIX socket");
        return false;
    }
    if (!chr->options.server) {
        if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
            error_set_errno(error, errno, "Failed to connect to '%s'", path);
            return false;
        }
        take_client(chr, fd_take(&fd));
        return true;
    }
    remove_stale(&addr);
    /* The file's mode is the socket's own: nobody else gets in, not even for a moment. */
    if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        error_set_errno(error, errno, "Failed to bind socket to %s", path);
        return false;
    }
    if (lstat(path, &st) == 0) {
        chr->bound_path = g_canonicalize_filename(path, NULL);
        chr->bound_dev = st.st_dev;
        chr->bound_ino = st.st_ino;
    }
    if (listen(fd, BACKLOG) < 0) {
        error_set_errno(error, errno, "Failed to listen on %s", path);
        return false;
    }
    chr->listen_fd = fd_take(&fd);
    return serve(chr, error);
}

/* --- TCP --- */

static int tcp_try(const struct addrinfo *ai, bool server)
{
    AUTO_FD fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
    int on = 1;

    if (fd < 0)
        return -1;
    if (!server)
        return connect(fd, ai->ai_addr, ai->ai_addrlen) < 0 ? -1 : fd_take(&fd);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -1;
    return fd_take(&fd);
}

/* With the port that port 0 became. */
static void tcp_name(struct chardev *chr, int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    bool v6;

    if (chr->options.server ? getsockname(fd, (struct sockaddr *)&addr, &len)
                            : getpeername(fd, (struct sockaddr *)&addr, &len))
        return;
    v6 = addr.ss_family == AF_INET6;
    getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    chr->filename = g_strdup_printf("tcp:%s%s%s:%s%s", v6 ? "[" : "", host, v6 ? "]" : "", port,
                                    chr->options.server ? ",server=on" : "");
}

/* getaddrinfo() takes larger numbers modulo 65536. */
static bool port_fits(const char *port, GError **error)
{
    char *end;
    guint64 number = g_ascii_strtoull(port, &end, 10);

    if (*end || end == port || number <= G_MAXUINT16)
        return true;
    error_set(error, "TCP port %s is larger than 65535", port);
    return false;
}

static bool tcp_open(struct chardev *chr, GError **error)
{
    const struct chardev_options *opt = &chr->options;
    const char *host = opt->host && *opt->host ? opt->host : DEFAULT_HOST;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = opt->server ? AI_PASSIVE : 0 };
    struct addrinfo *list;
    int fd = -1, err;

    if (!port_fits(opt->port, error))
        return false;
    err = getaddrinfo(host, opt->port, &hints, &list);
    if (err) {
        error_set(error, "address resolution failed for %s:%s: %s", host, opt->port,
                  gai_strerror(err));
        return false;
    }
    for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
        fd = tcp_try(ai, opt->server);
    err = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        error_set_errno(error, err, "Failed to %s '%s:%s'",
                        opt->server ? "listen on" : "connect to", host, opt->port);
        return false;
    }
    tcp_name(chr, fd);
    if (!opt->server) {
        take_client(chr, fd);
        return true;
    }
    chr->listen_fd = fd;
    return serve(chr, error);
}

/* --- A descriptor that our parent made --- */

static bool fd_open(struct chardev *chr, GError **error)
{
    char *end;
    guint64 number = g_ascii_strtoull(chr->options.fd, &end, 10);
    int fd = (int)number, type = 0;
    socklen_t len = sizeof(type);

    if (!g_ascii_isdigit(chr->options.fd[0]) || *end || number > G_MAXINT ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
        error_set(error, "File descriptor '%s' is not a stream socket", chr->options.fd);
        return false;
    }
    chr->filename = g_strdup_printf("fd:%d%s", fd, chr->options.server ? ",server=on" : "");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (!chr->options.server) {
        take_client(chr, fd);
        return true;
    }
    chr->listen_fd = fd;
    return serve(chr, error);
}

/* --- The back end --- */

static bool socket_open(struct chardev *chr, GError **error)
{
    const struct chardev_options *opt = &chr->options;
    unsigned ways = (opt->path != NULL) + (opt->port != NULL) + (opt->fd != NULL);

    if (ways != 1) {
        error_set(error, "chardev: socket: exactly one of 'path', 'port' and 'fd' is needed");
        return false;
    }
    return opt->path ? unix_open(chr, error)
         : opt->port ? tcp_open(chr, error)
                     : fd_open(chr, error);
}

static void socket_close(struct chardev *chr)
{
    struct stat st;

    if (chr->listen_tag)
        g_source_remove(chr->listen_tag);
    fd_closep(&chr->listen_fd);
    /* Only our own: another program may have put its socket there meanwhile. */
    if (chr->bound_path && lstat(chr->bound_path, &st) == 0 && st.st_dev == chr->bound_dev &&
        st.st_ino == chr->bound_ino)
        unlink(chr->bound_path);
    g_free(chr->bound_path);
}

static const struct property socket_properties[] = {
    { "path", PROP_STRING, offsetof(struct chardev_options, path) },
    { "host", PROP_STRING, offsetof(struct chardev_options, host) },
    { "port", PROP_STRING, offsetof(struct chardev_options, port) },
    { "fd", PROP_STRING, offsetof(struct chardev_options, fd) },
    { "server", PROP_BOOL, offsetof(struct chardev_options, server) },
    { "wait", PROP_BOOL, offsetof(struct chardev_options, wait) },
    { "nowait", PROP_BOOL, offsetof(struct chardev_options, nowait) },
    { "nodelay", PROP_BOOL, offsetof(struct chardev_options, nodelay) },
    { NULL },
};

const struct chardev_backend chardev_socket = {
    .name = "socket", .properties = socket_properties, .open = socket_open,
    .ended = socket_ended, .close = socket_close, .eof_ends = true, .flush_ms = 1000,
};
