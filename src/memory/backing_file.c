/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backing_file.h"

#include "error.h"
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_in_directory(const char *path)
{
    g_autofree char *name = g_strdup_printf("%s/cloister-memory-XXXXXX", path);
    int fd = mkostemp(name, O_CLOEXEC);

    if (fd >= 0)
        unlink(name);
    return fd;
}

/* -1 with errno; *created: this call made the file. */
static int open_path(const char *path, bool readonly, bool *created)
{
    /* Whoever names a FIFO isn't left waiting for its other end. */
    int flags = O_CLOEXEC | O_NONBLOCK | (readonly ? O_RDONLY : O_RDWR);
    int fd = open(path, flags);

    if (fd < 0 && errno == EISDIR && !readonly)
        return open_in_directory(path);
    if (fd < 0 && errno == ENOENT && !readonly) {
        fd = open(path, flags | O_CREAT | O_EXCL, 0644);
        *created = fd >= 0;
    }
    return fd;
}

static bool make_large_enough(int fd, const char *path, uint64_t bytes, bool readonly,
                              GError **error)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
        error_set(error, "can't open backing store %s for guest RAM: not a file or a directory",
                  path);
        return false;
    }
    if (st.st_size > 0 || readonly) {
        if ((uint64_t)st.st_size >= bytes)
            return true;
        error_set(error, "backing store %s is too small: it has 0x%" PRIx64 " bytes, offset and "
                  "size need 0x%" PRIx64, path, (uint64_t)st.st_size, bytes);
        return false;
    }
    if (bytes <= INT64_MAX && ftruncate(fd, (off_t)bytes) == 0)
        return true;
    error_set_errno(error, bytes <= INT64_MAX ? errno : EFBIG,
                    "can't make backing store %s large enough", path);
    return false;
}

int backing_file_open(const char *path, uint64_t bytes, bool readonly, GError **error)
{
    bool created = false;
    AUTO_FD fd = open_path(path, readonly, &created);

    if (fd < 0) {
        error_set(error, "can't open backing store %s for guest RAM: %s", path,
                  g_strerror(errno));
        return -1;
    }
    if (!make_large_enough(fd, path, bytes, readonly, error)) {
        if (created)
            unlink(path);
        return -1;
    }
    return fd_take(&fd);
}

int backing_shm_open(uint64_t bytes, GError **error)
{
    static unsigned count;
    g_autofree char *name = g_strdup_printf("/cloister-%d-%u", getpid(), count++);
    AUTO_FD fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

    if (fd < 0) {
        error_set_errno(error, errno, "can't make shared memory %s", name);
        return -1;
    }
    shm_unlink(name);
    if (bytes > INT64_MAX || ftruncate(fd, (off_t)bytes) < 0) {
        error_set_errno(error, bytes > INT64_MAX ? EFBIG : errno,
                        "can't make shared memory of %" PRIu64 " bytes", bytes);
        return -1;
    }
    return fd_take(&fd);
}
