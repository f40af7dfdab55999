/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fd_write.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

/* What can be written without waiting for ever; -errno. */
static int64_t writable(int fd, uint64_t size)
{
    struct pollfd ready = { .fd = fd, .events = POLLOUT };
    struct stat st;
    int n;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
        return size < INT_MAX ? (int64_t)size : INT_MAX;
    /* Of a pipe's other end poll() would say nothing. */
    n = fcntl(fd, F_GETFL);
    if (n >= 0 && (n & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    n = poll(&ready, 1, PATIENCE_MS);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ETIMEDOUT;
    /* So much a pipe takes then. */
    return size < PIPE_BUF ? (int64_t)size : PIPE_BUF;
}

int fd_write_all(int fd, const void *data, uint64_t size)
{
    const char *at = data;

    while (size) {
        int64_t room = writable(fd, size);
        ssize_t n;

        if (room < 0)
            return (int)room;
        n = room ? write(fd, at, (size_t)room) : 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (n > 0) {
            at += n;
            size -= (uint64_t)n;
        }
    }
    return 0;
}

int fd_write_all_at(int fd, const void *data, uint64_t size, uint64_t offset)
{
    const char *at = data;

    while (size) {
        size_t part = size < INT_MAX ? (size_t)size : INT_MAX;
        ssize_t n = pwrite(fd, at, part, (off_t)offset);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            at += n;
            size -= (uint64_t)n;
            offset += (uint64_t)n;
        }
    }
    return 0;
}
