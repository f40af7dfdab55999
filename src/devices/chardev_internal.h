/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the chardevs share: the struct, back ends, stream, multiplexer. */
#ifndef DEVICES_CHARDEV_INTERNAL_H
#define DEVICES_CHARDEV_INTERNAL_H

#include "chardev.h"
#include "object.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    CHARDEV_FRONTS_MAX = 4,     /* as in QEMU */
    CHARDEV_TYPED_MAX = 1024,   /* typed ahead for each front end of a multiplexer */
    CHARDEV_READ_MAX = 4096,    /* one read */
    PASSED_FDS_MAX = 16,        /* with one read; more are closed */
};

/* Every property of every back end; each back end's table names those that it has. */
struct chardev_options {
    char *id;
    char *path, *host, *port, *fd;
    bool server, wait, nowait, nodelay, append, signal, mux;
};

struct chardev_backend {
    const char *name;           /* as -chardev spells it */
    const struct property *properties;
    /* Connect, or listen. On an error nothing is held that close() wouldn't free. */
    bool (*open)(struct chardev *chr, GError **error);
    /* The stream has ended and is closed: get the next one. May be NULL. */
    void (*ended)(struct chardev *chr);
    /* Free all that open() got, but for the stream. May be NULL. */
    void (*close)(struct chardev *chr);
    bool eof_ends;              /* end of input is the end of the connection */
    int flush_ms;               /* how long what is queued may take at exit */
};

extern const struct chardev_backend chardev_socket, chardev_stdio, chardev_file, chardev_null,
    chardev_pty;

struct chardev_slot {
    const struct chardev_front *front;
    void *opaque;
    uint8_t typed[CHARDEV_TYPED_MAX];   /* of a multiplexer: not yet taken */
    size_t typed_size;
};

struct chardev {
    /* --- main thread only --- */
    char *label;
    char *filename;
    const struct chardev_backend *backend;
    struct chardev_options options;
    struct chardev_slot slots[CHARDEV_FRONTS_MAX];
    unsigned n_slots, focus;
    bool escape;                /* Ctrl-A was typed */
    bool wants_monitor;
    bool refuse_others;
    bool announced;             /* the front ends were told that somebody is there */
    int in_fd;                  /* -1: no input (any more) */
    bool in_tty;
    bool in_socket;
    int passed_fd;              /* -1: none */
    guint in_tag, out_tag;      /* sources of the main loop, 0: none */
    int listen_fd;
    guint listen_tag, timer_tag;
    char *bound_path;           /* the socket file that we made; absolute, -daemonize moves */
    dev_t bound_dev;
    ino_t bound_ino;

    /* --- under lock, a leaf: nothing else is taken and nobody called inside it --- */
    pthread_mutex_t lock;
    int out_fd;                 /* -1: nobody there */
    bool out_is_socket;
    bool connected;             /* new output is taken; false while the rest drains */
    uint8_t *queue;             /* [queue_head, queue_head + queue_size) of queue_room */
    size_t queue_head, queue_size, queue_room;
    bool congested;             /* drained() is owed */
    bool input_stopped;         /* a front end couldn't receive */
    bool kick_input, kick_failed, kick_close;
    int failed_errno;
};

/* --- chardev_stream.c: descriptors and the queue --- */

/* A connection: takes both descriptors (they may be the same; -1: none). Tells the front ends. */
void chardev_stream_open(struct chardev *chr, int in_fd, int out_fd);
/* Write what is queued for up to ms, then close; the front ends aren't told. */
void chardev_stream_finish(struct chardev *chr, int ms);
void chardev_stream_update_input(struct chardev *chr);
bool chardev_stream_connected(struct chardev *chr);
/* The main thread's part of what other threads asked for. */
void chardev_stream_run_kicks(struct chardev *chr);

/* Wake the main loop to run the kicks of all (chardev.c). */
void chardev_kick(void);

/* --- chardev_mux.c: who gets the input --- */

/* How many bytes may be read now. */
size_t chardev_input_room(struct chardev *chr);
void chardev_input(struct chardev *chr, const uint8_t *data, size_t size);
/* Hand over what was typed ahead. */
void chardev_input_flush(struct chardev *chr);
/* Something is typed ahead that the front end with the focus hasn't taken. */
bool chardev_input_pending(const struct chardev *chr);
void chardev_set_focus(struct chardev *chr, unsigned slot);

/* --- chardev_options.c --- */

/* Back end and options of a legacy form, or of -chardev; false: error is set. */
bool chardev_parse_legacy(const char *text, const struct chardev_backend **backend,
                          struct chardev_options *options, GError **error);
bool chardev_parse_option(const char *text, const struct chardev_backend **backend,
                          struct chardev_options *options, GError **error);
void chardev_options_clear(struct chardev_options *options);

#endif
