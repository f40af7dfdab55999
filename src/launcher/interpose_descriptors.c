/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls with a descriptor: those of the library go to it, all others on.
 * Reading and writing fail on them as they do in Linux (no such file operation,
 * EINVAL), and don't reach the eventfd or memfd that the number really is.
 */
#include "preload.h"

#include "softkvm.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * In a child of vfork(2), until it executes a program, the library's memory is
 * the parent's but the descriptors are its own: closing and duplicating them is
 * then between it and the kernel.  A child of fork(2) has a library of its own.
 */
static pid_t process;           /* whose descriptors the library's table is about */

static void note_process(void)
{
    __atomic_store_n(&process, getpid(), __ATOMIC_RELAXED);
}

static void __attribute__((constructor)) note_processes(void)
{
    note_process();
    pthread_atfork(NULL, NULL, note_process);
}

/* Is fd in the library's table, and the table this process's? */
static bool in_table(int fd)
{
    pid_t known;

    if (!softkvm_owns(fd))
        return false;
    known = __atomic_load_n(&process, __ATOMIC_RELAXED);
    return !known || known == getpid();
}

/* What the kernel does for every file, whatever is behind it. */
static bool is_general(unsigned long request)
{
    return request == FIOCLEX || request == FIONCLEX || request == FIONBIO || request == FIOASYNC;
}

INTERPOSED int ioctl(int fd, unsigned long request, ...)
{
    unsigned long arg;
    va_list args;
    uint64_t before;
    int ret;

    va_start(args, request);
    arg = va_arg(args, unsigned long);
    va_end(args);
    if (!softkvm_owns(fd) || is_general(request))
        return NEXT(ioctl)(fd, request, arg);
    before = trace_clock();
    ret = softkvm_ioctl(fd, request, arg);
    if (before)
        trace_ioctl(fd, request, arg, ret, trace_clock() - before);
    return libc_result(ret);
}

static void *library_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    void *at = MAP_FAILED;
    int ret = softkvm_mmap(addr, length, prot, flags, fd, offset, &at);

    trace_call("mmap", fd, ret);
    if (ret < 0) {
        errno = -ret;
        return MAP_FAILED;
    }
    return at;
}

/* What a fixed mapping replaces, the library must not take for its own any more. */
static void make_way(void *addr, size_t length, int flags)
{
    if (flags & MAP_FIXED && (flags & MAP_FIXED_NOREPLACE) != MAP_FIXED_NOREPLACE &&
        softkvm_maps())
        softkvm_munmap(addr, length);
}

#define MMAP(name_)                                                                      \
    INTERPOSED void *name_(void *addr, size_t length, int prot, int flags, int fd,       \
                           off_t offset)                                                 \
    {                                                                                    \
        if (!(flags & MAP_ANONYMOUS) && softkvm_owns(fd))                                \
            return library_mmap(addr, length, prot, flags, fd, offset);                  \
        make_way(addr, length, flags);                                                   \
        return NEXT(name_)(addr, length, prot, flags, fd, offset);                       \
    }

MMAP(mmap)
MMAP(mmap64)

/* What isn't the library's it unmaps all the same. */
INTERPOSED int munmap(void *addr, size_t length)
{
    if (!softkvm_maps())
        return NEXT(munmap)(addr, length);
    return libc_result(softkvm_munmap(addr, length));
}

INTERPOSED int close(int fd)
{
    int ret;

    if (!in_table(fd))
        return NEXT(close)(fd);
    ret = softkvm_close(fd);
    trace_call("close", fd, ret);
    return libc_result(ret);
}

enum { HIGHEST_OWNED = (1 << 20) - 1 };

/* The library's own go first; then there is nothing of it in the range. */
static void close_owned(unsigned first, unsigned last)
{
    if (last > HIGHEST_OWNED)
        last = HIGHEST_OWNED;
    for (unsigned fd = first; fd <= last; fd++) {
        if (in_table(fd))
            softkvm_close(fd);
    }
}

INTERPOSED int close_range(unsigned first, unsigned last, int flags)
{
    if (first <= last && !(flags & CLOSE_RANGE_CLOEXEC))
        close_owned(first, last);
    return NEXT(close_range)(first, last, flags);
}

INTERPOSED void closefrom(int first)
{
    close_owned(first < 0 ? 0 : first, HIGHEST_OWNED);
    NEXT(closefrom)(first);
}

static int library_dup(int fd, int least, int flags)
{
    int ret = softkvm_dup(fd, least, flags);

    trace_call("dup", fd, ret);
    return libc_result(ret);
}

static int library_dup3(int fd, int newfd, int flags)
{
    int ret = softkvm_dup3(fd, newfd, flags);

    trace_call("dup3", fd, ret);
    return libc_result(ret);
}

INTERPOSED int dup(int fd)
{
    return in_table(fd) ? library_dup(fd, 0, 0) : NEXT(dup)(fd);
}

/* A number that is taken over and was the library's is closed there first. */
static void make_room(int fd)
{
    if (in_table(fd))
        softkvm_close(fd);
}

INTERPOSED int dup2(int fd, int newfd)
{
    if (in_table(fd))
        return fd == newfd ? fd : library_dup3(fd, newfd, 0);
    if (in_table(newfd)) {
        if (NEXT(fcntl)(fd, F_GETFD) < 0)
            return -1;
        make_room(newfd);
    }
    return NEXT(dup2)(fd, newfd);
}

INTERPOSED int dup3(int fd, int newfd, int flags)
{
    if (in_table(fd))
        return library_dup3(fd, newfd, flags);
    if (in_table(newfd)) {
        if (NEXT(fcntl)(fd, F_GETFD) < 0)
            return -1;
        make_room(newfd);
    }
    return NEXT(dup3)(fd, newfd, flags);
}

#define FCNTL(name_)                                                                     \
    INTERPOSED int name_(int fd, int cmd, ...)                                           \
    {                                                                                    \
        unsigned long arg;                                                               \
        va_list args;                                                                    \
                                                                                         \
        va_start(args, cmd);                                                             \
        arg = va_arg(args, unsigned long);                                               \
        va_end(args);                                                                    \
        if ((cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC) && in_table(fd))              \
            return library_dup(fd, arg, cmd == F_DUPFD ? 0 : O_CLOEXEC);                 \
        if ((cmd == F_GET_SEALS || cmd == F_ADD_SEALS) && softkvm_owns(fd))              \
            return libc_result(-EINVAL);                                                 \
        return NEXT(name_)(fd, cmd, arg);                                                \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

INTERPOSED ssize_t read(int fd, void *buffer, size_t size)
{
    if (!softkvm_owns(fd))
        return NEXT(read)(fd, buffer, size);
    return libc_result(softkvm_read(fd, buffer, size));
}

#define PREAD(name_)                                                                     \
    INTERPOSED ssize_t name_(int fd, void *buffer, size_t size, off_t offset)            \
    {                                                                                    \
        if (!softkvm_owns(fd))                                                           \
            return NEXT(name_)(fd, buffer, size, offset);                                \
        return libc_result(softkvm_pread(fd, buffer, size, offset));                     \
    }

PREAD(pread)
PREAD(pread64)

/* What _FORTIFY_SOURCE makes of the same. */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
ssize_t __pread_chk(int fd, void *buffer, size_t size, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *buffer, size_t size, off_t offset, size_t room);

/* Too small a buffer: libc ends the program. */
INTERPOSED ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
    if (!softkvm_owns(fd) || size > room)
        return NEXT(__read_chk)(fd, buffer, size, room);
    return libc_result(softkvm_read(fd, buffer, size));
}

#define PREAD_CHK(name_)                                                                 \
    INTERPOSED ssize_t name_(int fd, void *buffer, size_t size, off_t offset, size_t room) \
    {                                                                                    \
        if (!softkvm_owns(fd) || size > room)                                            \
            return NEXT(name_)(fd, buffer, size, offset, room);                          \
        return libc_result(softkvm_pread(fd, buffer, size, offset));                     \
    }

PREAD_CHK(__pread_chk)
PREAD_CHK(__pread64_chk)

INTERPOSED ssize_t write(int fd, const void *buffer, size_t size)
{
    return softkvm_owns(fd) ? libc_result(-EINVAL) : NEXT(write)(fd, buffer, size);
}

#define FTRUNCATE(name_)                                                                 \
    INTERPOSED int name_(int fd, off_t length)                                           \
    {                                                                                    \
        return softkvm_owns(fd) ? libc_result(-EINVAL) : NEXT(name_)(fd, length);        \
    }

FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

static int library_fallocate(int fd, int mode, off_t offset, off_t length)
{
    int ret = softkvm_fallocate(fd, mode, offset, length);

    trace_call("fallocate", fd, ret);
    return libc_result(ret);
}

#define FALLOCATE(name_)                                                                 \
    INTERPOSED int name_(int fd, int mode, off_t offset, off_t length)                   \
    {                                                                                    \
        return softkvm_owns(fd) ? library_fallocate(fd, mode, offset, length)            \
                                : NEXT(name_)(fd, mode, offset, length);                 \
    }

FALLOCATE(fallocate)
FALLOCATE(fallocate64)

/* Returns the error, and on a guest_memfd there always is one: no mode, no KEEP_SIZE. */
#define POSIX_FALLOCATE(name_)                                                           \
    INTERPOSED int name_(int fd, off_t offset, off_t length)                             \
    {                                                                                    \
        return softkvm_owns(fd) ? -softkvm_fallocate(fd, 0, offset, length)              \
                                : NEXT(name_)(fd, offset, length);                       \
    }

POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

/* KVM's files can't be waited for. */
INTERPOSED int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    return softkvm_owns(fd) ? libc_result(-EPERM) : NEXT(epoll_ctl)(epoll, op, fd, event);
}
