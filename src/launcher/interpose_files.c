/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls with a path: opening, access and stat.  The names with 64 are what
 * programs with large files call; the structures are the same on x86-64.
 */
#include "preload.h"

#include "softkvm.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The mode is there only with flags that make files. */
static mode_t optional_mode(int flags, va_list *args)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(*args, mode_t) : 0;
}

#define UNWRAP(...) __VA_ARGS__

/* declared_, given_: the parameters before the mode, and what is handed on, each in parentheses. */
#define OPENING(name_, declared_, given_)                                                \
    INTERPOSED int name_(UNWRAP declared_, ...)                                          \
    {                                                                                    \
        va_list args;                                                                    \
        mode_t mode;                                                                     \
                                                                                         \
        va_start(args, flags);                                                           \
        mode = optional_mode(flags, &args);                                              \
        va_end(args);                                                                    \
        if (served_path(path) != SERVED_NOT)                                             \
            return libc_result(served_open(path, flags));                                \
        return NEXT(name_)(UNWRAP given_, mode);                                         \
    }

OPENING(open, (const char *path, int flags), (path, flags))
OPENING(open64, (const char *path, int flags), (path, flags))
OPENING(openat, (int dir, const char *path, int flags), (dir, path, flags))
OPENING(openat64, (int dir, const char *path, int flags), (dir, path, flags))

/* What _FORTIFY_SOURCE makes of the same: without a mode. */
#define OPENING_2(name_, declared_, given_)                                              \
    int name_ declared_;                                                                 \
    INTERPOSED int name_ declared_                                                       \
    {                                                                                    \
        if (served_path(path) != SERVED_NOT)                                             \
            return libc_result(served_open(path, flags));                                \
        return NEXT(name_) given_;                                                       \
    }

OPENING_2(__open_2, (const char *path, int flags), (path, flags))
OPENING_2(__open64_2, (const char *path, int flags), (path, flags))
OPENING_2(__openat_2, (int dir, const char *path, int flags), (dir, path, flags))
OPENING_2(__openat64_2, (int dir, const char *path, int flags), (dir, path, flags))

static FILE *served_fopen(const char *path, const char *mode)
{
    int flags = strchr(mode, 'r') && !strchr(mode, '+') ? O_RDONLY : O_RDWR;
    int fd = libc_result(served_open(path, flags | (strchr(mode, 'e') ? O_CLOEXEC : 0)));
    FILE *file = fd < 0 ? NULL : fdopen(fd, mode);

    if (fd >= 0 && !file)
        close(fd);
    return file;
}

#define FOPEN(name_)                                                                     \
    INTERPOSED FILE *name_(const char *path, const char *mode)                           \
    {                                                                                    \
        if (served_path(path) != SERVED_NOT)                                             \
            return served_fopen(path, mode);                                             \
        return NEXT(name_)(path, mode);                                                  \
    }

FOPEN(fopen)
FOPEN(fopen64)

#define ACCESS(name_)                                                                    \
    INTERPOSED int name_(const char *path, int mode)                                     \
    {                                                                                    \
        if (served_path(path) != SERVED_NOT)                                             \
            return libc_result(served_access(path, mode));                               \
        return NEXT(name_)(path, mode);                                                  \
    }

ACCESS(access)
ACCESS(eaccess)
ACCESS(euidaccess)

INTERPOSED int faccessat(int dir, const char *path, int mode, int flags)
{
    if (served_path(path) != SERVED_NOT)
        return libc_result(served_access(path, mode));
    return NEXT(faccessat)(dir, path, mode, flags);
}

#define STAT(name_, type_)                                                               \
    INTERPOSED int name_(const char *path, struct type_ *st)                             \
    {                                                                                    \
        if (served_path(path) != SERVED_NOT)                                             \
            return libc_result(served_stat(path, (struct stat *)st));                    \
        return NEXT(name_)(path, st);                                                    \
    }

STAT(stat, stat)
STAT(stat64, stat64)
STAT(lstat, stat)
STAT(lstat64, stat64)

/* The descriptors have files behind them; only those of /dev/kvm and /dev/sev are something else. */
static int served_fstat(int fd, int ret, struct stat *st)
{
    const char *kind = ret || !softkvm_owns(fd) ? NULL : softkvm_kind(fd);

    if (kind && !strcmp(kind, "system"))
        device_stat(st);
    else if (kind && !strcmp(kind, "sev"))
        sev_stat(st);
    return ret;
}

#define FSTAT(name_, type_)                                                              \
    INTERPOSED int name_(int fd, struct type_ *st)                                       \
    {                                                                                    \
        return served_fstat(fd, NEXT(name_)(fd, st), (struct stat *)st);                 \
    }

FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

INTERPOSED int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    int ret;

    if (served_path(path) != SERVED_NOT)
        return libc_result(served_stat(path, st));
    ret = NEXT(fstatat)(dir, path, st, flags);
    return flags & AT_EMPTY_PATH ? served_fstat(dir, ret, st) : ret;
}

INTERPOSED int fstatat64(int dir, const char *path, struct stat64 *st, int flags)
{
    int ret;

    if (served_path(path) != SERVED_NOT)
        return libc_result(served_stat(path, (struct stat *)st));
    ret = NEXT(fstatat64)(dir, path, st, flags);
    return flags & AT_EMPTY_PATH ? served_fstat(dir, ret, (struct stat *)st) : ret;
}

INTERPOSED int statx(int dir, const char *path, int flags, unsigned mask, struct statx *stx)
{
    struct stat st;
    int ret;

    if (served_path(path) == SERVED_NOT)
        return NEXT(statx)(dir, path, flags, mask, stx);
    ret = served_stat(path, &st);
    if (ret)
        return libc_result(ret);
    memset(stx, 0, sizeof(*stx));
    stx->stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_SIZE;
    stx->stx_mode = st.st_mode;
    stx->stx_nlink = st.st_nlink;
    stx->stx_size = st.st_size;
    stx->stx_blksize = st.st_blksize;
    stx->stx_rdev_major = major(st.st_rdev);
    stx->stx_rdev_minor = minor(st.st_rdev);
    return 0;
}
