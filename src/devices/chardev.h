/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Byte streams between the outside and a front end (serial port, monitor,
 * gdbstub), on the main thread's GLib loop.
 *
 * Output never blocks the caller: what the other side doesn't take is queued up
 * to a limit; beyond it chardev_write() takes less (a serial port's FIFO stays
 * full) or, for a front end that can't wait, the connection is closed.  While
 * nobody is connected, output is dropped.
 *
 * Any thread may call chardev_write(), chardev_write_all(), chardev_congested(),
 * chardev_accept_input() and chardev_disconnect(); all else, and every call of a
 * front end's functions, is the main thread's.  A front end is called without
 * any lock of ours held, so it may take the machine lock.
 */
#ifndef DEVICES_CHARDEV_H
#define DEVICES_CHARDEV_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct chardev;

struct chardev_front {
    /* How many bytes may receive() be given now; 0 stops reading (back-pressure). NULL: any. */
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const void *data, size_t size);
    void (*opened)(void *opaque);       /* a client connected (stdio, file: at once) */
    void (*closed)(void *opaque);
    /* Room again after chardev_write() took less than asked. May be NULL. */
    void (*drained)(void *opaque);
    /* Ctrl-A b: a break on the line. May be NULL. */
    void (*line_break)(void *opaque);
    /* Of a multiplexed chardev: this front end gets or loses the input. May be NULL. */
    void (*focus)(void *opaque, bool in);
    /* Has the input of a multiplexed chardev only when Ctrl-A c asks for it (monitors). */
    bool background;
};

/* What chardev_write() queues at most; drained() comes when it has fallen below a quarter. */
#define CHARDEV_QUEUE_MAX (64 * 1024)

/*
 * From a legacy form ("stdio", "unix:PATH,server=on,wait=off", "tcp:HOST:PORT,...",
 * "file:PATH", "null", "pty", "chardev:ID", "mon:stdio") or, with chardev_new_option(),
 * from "BACKEND,id=ID,...".  tcp without a host is loopback; unix sockets are
 * created with mode 0600, their file is removed at exit.  A server with wait=on
 * (the default) waits for its first client before this returns.
 *
 * "chardev:ID" returns the one that exists.  "mon:" before a form (mux=on in an
 * option) lets up to four front ends share it; Ctrl-A h shows the keys.  A file,
 * pipe or terminal that breaks is reported once on stderr and from then on dropped.
 * Ignores SIGPIPE in the whole process.
 */
struct chardev *chardev_new(const char *label, const char *text, GError **error);
struct chardev *chardev_new_option(const char *option, GError **error);
/* The back ends of chardev_new_option() and their properties, for a person. Caller frees. */
char *chardev_help(void);
struct chardev *chardev_find(const char *id);
void chardev_free(struct chardev *chr);
void chardev_free_all(void);            /* restores the terminal, removes sockets */

/* False: it has a front end already (and can't multiplex). */
bool chardev_attach(struct chardev *chr, const struct chardev_front *front, void *opaque,
                    GError **error);
void chardev_detach(struct chardev *chr, void *opaque);

/*
 * Write from any thread; bytes taken, in order. front: the opaque of chardev_attach().
 * chardev_write_all() queues without limit up to max bytes outstanding, else closes
 * the connection and returns false.
 */
size_t chardev_write(struct chardev *chr, void *front, const void *data, size_t size);
bool chardev_write_all(struct chardev *chr, void *front, const void *data, size_t size, size_t max);

/*
 * The descriptor that the client passed last over its unix socket, the caller's from
 * then on; -1: none since it connected or since the last call.  Only what comes while
 * it can still be asked for is kept: one.
 */
int chardev_take_fd(struct chardev *chr);
/* can_receive() may answer differently now. */
void chardev_accept_input(struct chardev *chr);
/* A server's clients beside the one that it has are turned away instead of waiting their turn. */
void chardev_refuse_others(struct chardev *chr);
/* Drop the client (server sockets then accept the next). */
void chardev_disconnect(struct chardev *chr);
const char *chardev_label(const struct chardev *chr);

/* "mon:" asks for a monitor beside the front end: who made it attaches one. Once true, then false. */
bool chardev_wants_monitor(struct chardev *chr);
/* More than CHARDEV_QUEUE_MAX is waiting: drained() will follow. */
bool chardev_congested(struct chardev *chr);
/* What Ctrl-A x does. */
void chardev_set_quit(void (*quit)(void *opaque), void *opaque);

/* A server that waits for its first client gives up (an error) when this can be read. -1: never. */
void chardev_set_give_up(int fd);

/* In order of creation, for query-chardev: elements struct chardev *. Caller frees the array. */
GPtrArray *chardev_list(void);
/* "unix:PATH,server=on", "pty:/dev/pts/3", with "disconnected:" before it. Caller frees. */
char *chardev_filename(struct chardev *chr);
/* A front end is attached. */
bool chardev_front_open(const struct chardev *chr);

#endif
