/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Byte streams between the outside and a front end (serial port, monitor,
 * gdbstub), on the main thread's GLib loop.
 *
 * Output never blocks the caller: what the other side doesn't take is queued up
 * to a limit; beyond it chardev_write() takes less (a serial port's FIFO stays
 * full) or, for a front end that can't wait, the connection is closed.
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
};

/*
 * From a legacy form ("stdio", "unix:PATH,server=on,wait=off", "tcp:HOST:PORT,...",
 * "file:PATH", "null", "pty", "chardev:ID", "mon:stdio") or, with chardev_new_option(),
 * from "BACKEND,id=ID,...".  tcp without a host is loopback; unix sockets are
 * created with mode 0600, their file is removed at exit.  A server with wait=on
 * (the default) waits for its first client before this returns.
 */
struct chardev *chardev_new(const char *label, const char *text, GError **error);
struct chardev *chardev_new_option(const char *option, GError **error);
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

/* can_receive() may answer differently now. */
void chardev_accept_input(struct chardev *chr);
/* Drop the client (server sockets then accept the next). */
void chardev_disconnect(struct chardev *chr);
const char *chardev_label(const struct chardev *chr);

#endif
