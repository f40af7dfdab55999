/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading and writing raw images. */
#include "disk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

enum { ZEROES = 64 * 1024 };

int disk_read(struct disk *node, uint64_t offset, void *buf, uint64_t size)
{
    char *at = buf;

    while (size) {
        ssize_t n = pread(node->fd, at, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;   /* the file has become shorter */
        at += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

int disk_write(struct disk *node, uint64_t offset, const void *buf, uint64_t size)
{
    const char *at = buf;

    while (size) {
        ssize_t n = pwrite(node->fd, at, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? -errno : -EIO;
        at += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

int disk_flush(struct disk *node)
{
    return fdatasync(node->fd) < 0 ? -errno : 0;
}

int disk_discard(struct disk *node, uint64_t offset, uint64_t size)
{
    if (fallocate(node->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)size) == 0 || errno == EOPNOTSUPP || errno == ENODEV)
        return 0;
    return -errno;
}

/* The file system may know how; else by hand. */
int disk_write_zeroes(struct disk *node, uint64_t offset, uint64_t size, bool may_unmap)
{
    static const char zeroes[ZEROES];
    int mode = may_unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                         : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    int ret = 0;

    if (fallocate(node->fd, mode, (off_t)offset, (off_t)size) == 0)
        return 0;
    while (size && ret == 0) {
        uint64_t n = MIN(size, ZEROES);

        ret = disk_write(node, offset, zeroes, n);
        offset += n;
        size -= n;
    }
    return ret;
}
