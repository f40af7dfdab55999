/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading, writing and moving data by other means than read(2) and write(2):
 * KVM's files have no such operations, and what is really behind the descriptor,
 * an eventfd or a memfd, must not answer.
 *
 * Linux's files differ in two points.  A position can be given to those that
 * were opened by a path; without one of their own (lseek: ESPIPE) are
 * guest_memfds.  Which error comes first was seen on Linux 6.18.
 */
#include "preload.h"

#include "softkvm.h"

#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
#include <fcntl.h>

static bool is_kind(int fd, const char *kind)
{
    const char *own = softkvm_kind(fd);

    return own && !strcmp(own, kind);
}

/* At a position: only /dev/kvm comes as far as to lack the operation. */
static int no_position(int fd)
{
    return is_kind(fd, "system") ? -EINVAL : -ESPIPE;
}

#define LSEEK(name_, type_)                                                              \
    INTERPOSED type_ name_(int fd, type_ offset, int whence)                             \
    {                                                                                    \
        if (!softkvm_owns(fd))                                                           \
            return NEXT(name_)(fd, offset, whence);                                      \
        return libc_result(is_kind(fd, "guest_memfd") ? -ESPIPE : 0);                    \
    }

LSEEK(lseek, off_t)
LSEEK(lseek64, off64_t)

#define VECTOR(name_)                                                                    \
    INTERPOSED ssize_t name_(int fd, const struct iovec *iov, int count)                 \
    {                                                                                    \
        return softkvm_owns(fd) ? libc_result(-EINVAL) : NEXT(name_)(fd, iov, count);    \
    }

VECTOR(readv)
VECTOR(writev)

#define VECTOR_AT(name_, type_)                                                          \
    INTERPOSED ssize_t name_(int fd, const struct iovec *iov, int count, type_ offset)   \
    {                                                                                    \
        return softkvm_owns(fd) ? libc_result(offset < 0 ? -EINVAL : no_position(fd))    \
                                : NEXT(name_)(fd, iov, count, offset);                   \
    }

VECTOR_AT(preadv, off_t)
VECTOR_AT(preadv64, off64_t)
VECTOR_AT(pwritev, off_t)
VECTOR_AT(pwritev64, off64_t)

/* Offset -1 is the file's own position. */
#define VECTOR_FLAGS(name_, type_)                                                       \
    INTERPOSED ssize_t name_(int fd, const struct iovec *iov, int count, type_ offset,   \
                             int flags)                                                  \
    {                                                                                    \
        return softkvm_owns(fd) ? libc_result(offset < 0 ? -EINVAL : no_position(fd))    \
                                : NEXT(name_)(fd, iov, count, offset, flags);            \
    }

VECTOR_FLAGS(preadv2, off_t)
VECTOR_FLAGS(preadv64v2, off64_t)
VECTOR_FLAGS(pwritev2, off_t)
VECTOR_FLAGS(pwritev64v2, off64_t)

#define PWRITE(name_, type_)                                                             \
    INTERPOSED ssize_t name_(int fd, const void *buffer, size_t size, type_ offset)      \
    {                                                                                    \
        return softkvm_owns(fd) ? libc_result(offset < 0 ? -EINVAL : no_position(fd))    \
                                : NEXT(name_)(fd, buffer, size, offset);                 \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define SENDFILE(name_, type_)                                                           \
    INTERPOSED ssize_t name_(int out, int in, type_ *offset, size_t size)                \
    {                                                                                    \
        if (softkvm_owns(in))                                                            \
            return libc_result(offset && !is_kind(in, "stats") ? no_position(in)         \
                                                               : -EINVAL);               \
        return softkvm_owns(out) ? libc_result(-EINVAL)                                  \
                                 : NEXT(name_)(out, in, offset, size);                   \
    }

SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

INTERPOSED ssize_t splice(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t size,
                          unsigned flags)
{
    if (softkvm_owns(in) || softkvm_owns(out))
        return libc_result(-EINVAL);
    return NEXT(splice)(in, in_offset, out, out_offset, size, flags);
}

INTERPOSED ssize_t tee(int in, int out, size_t size, unsigned flags)
{
    if (softkvm_owns(in) || softkvm_owns(out))
        return libc_result(-EINVAL);
    return NEXT(tee)(in, out, size, flags);
}

INTERPOSED ssize_t vmsplice(int fd, const struct iovec *iov, size_t count, unsigned flags)
{
    return softkvm_owns(fd) ? libc_result(-EBADF) : NEXT(vmsplice)(fd, iov, count, flags);
}

/* Of the same kind, or of a file of another kind? */
static bool is_regular(int fd)
{
    struct stat st;

    return softkvm_owns(fd) ? is_kind(fd, "guest_memfd") : !fstat(fd, &st) && S_ISREG(st.st_mode);
}

/* A guest_memfd is a regular file, but of a file system of its own. */
INTERPOSED ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset,
                                   size_t size, unsigned flags)
{
    bool both = softkvm_owns(in) && softkvm_owns(out);

    if (!softkvm_owns(in) && !softkvm_owns(out))
        return NEXT(copy_file_range)(in, in_offset, out, out_offset, size, flags);
    return libc_result(!both && is_regular(in) && is_regular(out) ? -EXDEV : -EINVAL);
}

#define SYNC(name_)                                                                      \
    INTERPOSED int name_(int fd)                                                         \
    {                                                                                    \
        return softkvm_owns(fd) ? libc_result(-EINVAL) : NEXT(name_)(fd);                \
    }

SYNC(fsync)
SYNC(fdatasync)
