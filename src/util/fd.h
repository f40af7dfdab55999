/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File descriptors that close themselves. */
#ifndef UTIL_FD_H
#define UTIL_FD_H

#include <errno.h>
#include <unistd.h>

/* Close *fd if open, leave -1 behind, keep errno: safe on every error path. */
static inline void fd_closep(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

#define AUTO_FD __attribute__((cleanup(fd_closep))) int

/* Hand the descriptor on: the caller's variable no longer owns it. */
static inline int fd_take(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#endif
