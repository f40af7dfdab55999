/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory into a descriptor that somebody else may hold the other end of. */
#ifndef DEBUG_FD_WRITE_H
#define DEBUG_FD_WRITE_H

#include <stdint.h>

/*
 * All of it: 0, or -errno.  -ETIMEDOUT: a pipe or socket whose other end hasn't
 * taken anything for some seconds.
 */
int fd_write_all(int fd, const void *data, uint64_t size);

/* The same at an offset of what has offsets: a file. */
int fd_write_all_at(int fd, const void *data, uint64_t size, uint64_t offset);

#endif
