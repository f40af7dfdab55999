/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program as a process among others: pid file, background, signals. */
#ifndef MACHINE_PROCESS_H
#define MACHINE_PROCESS_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* Write our pid to a file and keep it locked, so that a second user of it is refused. */
bool pidfile_create(const char *path, GError **error);
/* Remove what pidfile_create() made, if anything. */
void pidfile_remove(void);

/*
 * daemonize_start - fork; before any thread, file lock or socket exists.
 * Returns in the child.  In the parent, *status is set and true is returned with
 * *parent true once the child is ready (status 0) or has ended (status 1).
 */
bool daemonize_start(bool *parent, int *status, GError **error);
/* In the child: ready.  The parent ends, the terminal is let go. Does nothing without a start. */
bool daemonize_ready(GError **error);

/*
 * SIGTERM, SIGINT and SIGHUP don't kill from here on, so that what was made is removed.
 * A call that blocks returns EINTR and the start fails; signals_fd() is readable then.
 */
bool signals_catch(GError **error);
int signals_fd(void);
/* One of them came, and nobody was told of it: says so in one line on stderr. */
bool signals_came(void);
/* From now on: one line on stderr, then ended() on the main loop. Blocking calls go on. */
void signals_watch(void (*ended)(void *opaque), void *opaque);

#endif
