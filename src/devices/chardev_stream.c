/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stream below a chardev: descriptors that don't block, watched by the main
 * loop, and the queue of what the other side hasn't taken.
 *
 * A writer tries the descriptor itself while nothing is queued; what is left over
 * goes to the queue, which only the main loop drains.  A writer never calls
 * anybody back: it leaves a note in the struct and wakes the main loop.
 */
#include "chardev_internal.h"

#include "fd.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- The queue, under the lock --- */

static void queue_append(struct chardev *chr, const void *data, size_t size)
{
    size_t end = chr->queue_head + chr->queue_size;

    if (chr->queue_room - end < size) {
        if (chr->queue_size)
            memmove(chr->queue, chr->queue + chr->queue_head, chr->queue_size);
        chr->queue_head = 0;
        end = chr->queue_size;
    }
    if (chr->queue_room - end < size) {
        chr->queue_room = MAX(chr->queue_room * 2, end + size);
        chr->queue = g_realloc(chr->queue, chr->queue_room);
    }
    memcpy(chr->queue + end, data, size);
    chr->queue_size += size;
}

static void queue_clear(struct chardev *chr)
{
    g_clear_pointer(&chr->queue, g_free);
    chr->queue_head = chr->queue_size = chr->queue_room = 0;
}

static void queue_consume(struct chardev *chr, size_t size)
{
    chr->queue_head += size;
    chr->queue_size -= size;
    if (chr->queue_size == 0)
        queue_clear(chr);
}

/* What the descriptor takes now: 0 if nothing, -errno if it is broken. */
static ssize_t put_some(struct chardev *chr, const void *data, size_t size)
{
    ssize_t n;

    do {
        n = chr->out_is_socket ? send(chr->out_fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT)
                               : write(chr->out_fd, data, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -errno;
    return n;
}

static void note_failure(struct chardev *chr, int error)
{
    chr->connected = false;
    chr->kick_failed = true;
    chr->failed_errno = error;
    queue_clear(chr);
}

/* Take what may be taken within the limit; what is not taken is the caller's still. */
static size_t write_locked(struct chardev *chr, const uint8_t *data, size_t size, size_t limit)
{
    size_t taken = 0;

    if (!chr->connected || chr->out_fd < 0)
        return size;
    if (chr->queue_size == 0) {
        ssize_t n = put_some(chr, data, size);

        if (n < 0) {
            note_failure(chr, (int)-n);
            return size;
        }
        taken = (size_t)n;
    }
    if (taken < size && chr->queue_size < limit) {
        size_t room = MIN(size - taken, limit - chr->queue_size);

        queue_append(chr, data + taken, room);
        taken += room;
    }
    if (taken < size || chr->queue_size >= CHARDEV_QUEUE_MAX)
        chr->congested = true;
    return taken;
}

size_t chardev_write(struct chardev *chr, void *front, const void *data, size_t size)
{
    bool kick;
    size_t taken;

    pthread_mutex_lock(&chr->lock);
    taken = write_locked(chr, data, size, CHARDEV_QUEUE_MAX);
    kick = chr->queue_size || chr->kick_failed;
    pthread_mutex_unlock(&chr->lock);
    if (kick)
        chardev_kick();
    return taken;
}

bool chardev_write_all(struct chardev *chr, void *front, const void *data, size_t size, size_t max)
{
    bool kick, ok;

    pthread_mutex_lock(&chr->lock);
    ok = write_locked(chr, data, size, max) == size;
    if (!ok)
        note_failure(chr, ENOBUFS);
    kick = chr->queue_size || chr->kick_failed;
    pthread_mutex_unlock(&chr->lock);
    if (kick)
        chardev_kick();
    return ok;
}

bool chardev_congested(struct chardev *chr)
{
    bool congested;

    pthread_mutex_lock(&chr->lock);
    congested = chr->congested;
    pthread_mutex_unlock(&chr->lock);
    return congested;
}

/* --- Requests from any thread --- */

void chardev_accept_input(struct chardev *chr)
{
    bool kick;

    /* A guest reads its serial port far more often than we stop reading for it. */
    pthread_mutex_lock(&chr->lock);
    kick = chr->input_stopped && !chr->kick_input;
    if (kick)
        chr->kick_input = true;
    pthread_mutex_unlock(&chr->lock);
    if (kick)
        chardev_kick();
}

void chardev_disconnect(struct chardev *chr)
{
    pthread_mutex_lock(&chr->lock);
    chr->kick_close = true;
    pthread_mutex_unlock(&chr->lock);
    chardev_kick();
}

/* --- The main loop's side --- */

bool chardev_stream_connected(struct chardev *chr)
{
    bool connected;

    pthread_mutex_lock(&chr->lock);
    connected = chr->connected;
    pthread_mutex_unlock(&chr->lock);
    return connected;
}

static void drop_source(guint *tag)
{
    if (*tag)
        g_source_remove(*tag);
    *tag = 0;
}

static void close_fds(struct chardev *chr)
{
    drop_source(&chr->in_tag);
    drop_source(&chr->out_tag);
    pthread_mutex_lock(&chr->lock);
    if (chr->in_fd == chr->out_fd)
        chr->in_fd = -1;
    fd_closep(&chr->passed_fd);
    fd_closep(&chr->in_fd);
    fd_closep(&chr->out_fd);
    chr->connected = false;
    chr->congested = chr->input_stopped = false;
    chr->kick_input = chr->kick_failed = chr->kick_close = false;
    queue_clear(chr);
    pthread_mutex_unlock(&chr->lock);
}

static void tell_closed(struct chardev *chr)
{
    if (!chr->announced)
        return;
    chr->announced = false;
    for (unsigned i = 0; i < chr->n_slots; i++) {
        chr->slots[i].typed_size = 0;
        if (chr->slots[i].front->closed)
            chr->slots[i].front->closed(chr->slots[i].opaque);
    }
}

static void stream_end(struct chardev *chr)
{
    close_fds(chr);
    if (chr->backend->ended)
        chr->backend->ended(chr);
}

static bool drain_some(struct chardev *chr, bool *drained)
{
    bool more;
    ssize_t n = 0;

    pthread_mutex_lock(&chr->lock);
    if (chr->queue_size)
        n = put_some(chr, chr->queue + chr->queue_head, chr->queue_size);
    if (n > 0)
        queue_consume(chr, (size_t)n);
    else if (n < 0)
        note_failure(chr, (int)-n);
    *drained = chr->connected && chr->congested && chr->queue_size <= CHARDEV_QUEUE_MAX / 4;
    if (*drained)
        chr->congested = false;
    more = chr->queue_size != 0;
    pthread_mutex_unlock(&chr->lock);
    return more;
}

static gboolean out_ready(gint fd, GIOCondition condition, gpointer data)
{
    struct chardev *chr = data;
    bool drained;
    bool more = drain_some(chr, &drained);

    if (!more)
        chr->out_tag = 0;
    if (drained) {
        for (unsigned i = 0; i < chr->n_slots; i++) {
            if (chr->slots[i].front->drained)
                chr->slots[i].front->drained(chr->slots[i].opaque);
        }
        chardev_stream_update_input(chr);
    }
    if (!more)
        chardev_stream_run_kicks(chr);      /* a failure, or a close that waited for this */
    return more;
}

/*
 * The connection is over for the front ends; the other side still gets what is
 * queued.  (A client that shuts down its sending half reads on until we close.)
 */
static void stream_close(struct chardev *chr)
{
    bool pending;

    drop_source(&chr->in_tag);
    pthread_mutex_lock(&chr->lock);
    chr->connected = false;
    chr->kick_close = true;
    pending = chr->queue_size && chr->out_fd >= 0;
    pthread_mutex_unlock(&chr->lock);
    tell_closed(chr);
    if (!pending)
        stream_end(chr);
}

/* A file or terminal that broke: say so, once, and drop what else is written. */
static void report_failure(struct chardev *chr, int error)
{
    if (error == ENOBUFS)
        g_printerr("cloister: chardev %s: closed: it doesn't take what is written to it\n",
                   chr->label);
    else if (!chr->backend->eof_ends)
        g_printerr("cloister: chardev %s: %s\n", chr->label, g_strerror(error));
}

void chardev_stream_run_kicks(struct chardev *chr)
{
    bool input, failed, close, out;

    pthread_mutex_lock(&chr->lock);
    input = chr->kick_input;
    chr->kick_input = false;
    failed = chr->kick_failed;
    if (chr->out_fd < 0)
        chr->kick_close = false;
    close = chr->kick_close;
    out = chr->queue_size != 0;
    pthread_mutex_unlock(&chr->lock);

    if (failed) {
        report_failure(chr, chr->failed_errno);
        tell_closed(chr);
        stream_end(chr);
    } else if (close) {
        stream_close(chr);
    }
    if (out && !chr->out_tag && chr->out_fd >= 0)
        chr->out_tag = g_unix_fd_add(chr->out_fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, out_ready, chr);
    if (input)
        chardev_stream_update_input(chr);
}

/* Standard input at its end: output goes on. */
static void end_input(struct chardev *chr)
{
    drop_source(&chr->in_tag);
    fd_closep(&chr->in_fd);
}

/* Of descriptors that come along the last is kept: a client that piles them up gets nowhere. */
static void keep_passed_fds(struct chardev *chr, struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            fd_closep(&chr->passed_fd);
            memcpy(&chr->passed_fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        }
    }
}

static ssize_t read_input(struct chardev *chr, int fd, void *buf, size_t size)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(PASSED_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = { buf, size };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n;

    if (!chr->in_socket)
        return read(fd, buf, size);
    n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n >= 0)
        keep_passed_fds(chr, &msg);
    return n;
}

int chardev_take_fd(struct chardev *chr)
{
    return fd_take(&chr->passed_fd);
}

static gboolean in_ready(gint fd, GIOCondition condition, gpointer data)
{
    struct chardev *chr = data;
    uint8_t buf[CHARDEV_READ_MAX];
    size_t room = chardev_input_room(chr);
    guint tag = chr->in_tag;
    ssize_t n;

    if (room == 0) {
        chardev_stream_update_input(chr);
        return chr->in_tag == tag;
    }
    n = read_input(chr, fd, buf, MIN(room, sizeof(buf)));
    if (n > 0) {
        chardev_input(chr, buf, (size_t)n);
        if (chr->in_tag == tag)
            chardev_stream_update_input(chr);
        return chr->in_tag == tag;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (chr->backend->eof_ends)
        stream_close(chr);
    else
        end_input(chr);
    return G_SOURCE_REMOVE;
}

/* Read exactly while somebody can receive. */
void chardev_stream_update_input(struct chardev *chr)
{
    bool want;

    if (chr->in_fd < 0 || !chardev_stream_connected(chr))
        return;
    /*
     * First the note that input has stopped, then the question: a front end that
     * makes room in between finds the note, and kicks.
     */
    pthread_mutex_lock(&chr->lock);
    chr->input_stopped = true;
    pthread_mutex_unlock(&chr->lock);
    chardev_input_flush(chr);
    want = chardev_input_room(chr) > 0;
    if (want && !chardev_input_pending(chr)) {
        pthread_mutex_lock(&chr->lock);
        chr->input_stopped = false;
        pthread_mutex_unlock(&chr->lock);
    }
    if (want && !chr->in_tag && chr->in_fd >= 0)
        chr->in_tag = g_unix_fd_add(chr->in_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, in_ready, chr);
    else if (!want)
        drop_source(&chr->in_tag);
}

void chardev_stream_open(struct chardev *chr, int in_fd, int out_fd)
{
    struct stat st;

    g_assert(chr->in_fd < 0 && chr->out_fd < 0);
    chr->in_fd = in_fd;
    chr->in_tty = in_fd >= 0 && isatty(in_fd);
    chr->in_socket = in_fd >= 0 && fstat(in_fd, &st) == 0 && S_ISSOCK(st.st_mode);
    pthread_mutex_lock(&chr->lock);
    chr->out_fd = out_fd;
    chr->out_is_socket = out_fd >= 0 && fstat(out_fd, &st) == 0 && S_ISSOCK(st.st_mode);
    chr->connected = true;
    chr->kick_close = false;
    pthread_mutex_unlock(&chr->lock);
    chr->announced = true;
    for (unsigned i = 0; i < chr->n_slots; i++) {
        if (chr->slots[i].front->opened)
            chr->slots[i].front->opened(chr->slots[i].opaque);
    }
    chardev_stream_update_input(chr);
}

void chardev_stream_finish(struct chardev *chr, int ms)
{
    gint64 end = g_get_monotonic_time() + ms * G_GINT64_CONSTANT(1000);
    bool drained;

    while (chr->out_fd >= 0 && drain_some(chr, &drained)) {
        gint64 left = (end - g_get_monotonic_time()) / 1000;
        struct pollfd pfd = { .fd = chr->out_fd, .events = POLLOUT };

        if (left <= 0 || (poll(&pfd, 1, (int)left) < 0 && errno != EINTR))
            break;
    }
    close_fds(chr);
}
