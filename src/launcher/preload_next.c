/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way on to libc, and what libsoftkvm itself calls: linked with --wrap, its
 * calls of these functions come here and not to the interposed ones, which
 * would find its own descriptors and locks again.
 */
#include "preload.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *next_symbol(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (!found) {
        static const char message[] = "softkvm: libc has no function ";

        if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0 ||
            write(STDERR_FILENO, name, strlen(name)) < 0)
            abort();
        abort();
    }
    return found;
}

int __wrap_close(int fd);
int __wrap_dup3(int fd, int newfd, int flags);
int __wrap_fcntl64(int fd, int cmd, unsigned long arg);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_ftruncate64(int fd, off_t length);
off_t __wrap_lseek64(int fd, off_t offset, int whence);
int __wrap_madvise(void *addr, size_t length, int advice);
void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int __wrap_mprotect(void *addr, size_t length, int prot);
void *__wrap_mremap(void *old, size_t old_length, size_t new_length, int flags, void *new_addr);
int __wrap_munmap(void *addr, size_t length);

int __wrap_close(int fd)
{
    return syscall(SYS_close, fd);
}

int __wrap_dup3(int fd, int newfd, int flags)
{
    return syscall(SYS_dup3, fd, newfd, flags);
}

int __wrap_fcntl64(int fd, int cmd, unsigned long arg)
{
    return syscall(SYS_fcntl, fd, cmd, arg);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
    return syscall(SYS_fallocate, fd, mode, offset, length);
}

int __wrap_ftruncate64(int fd, off_t length)
{
    return syscall(SYS_ftruncate, fd, length);
}

void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
}

off_t __wrap_lseek64(int fd, off_t offset, int whence)
{
    return syscall(SYS_lseek, fd, offset, whence);
}

int __wrap_madvise(void *addr, size_t length, int advice)
{
    return syscall(SYS_madvise, addr, length, advice);
}

int __wrap_mprotect(void *addr, size_t length, int prot)
{
    return syscall(SYS_mprotect, addr, length, prot);
}

void *__wrap_mremap(void *old, size_t old_length, size_t new_length, int flags, void *new_addr)
{
    return (void *)syscall(SYS_mremap, old, old_length, new_length, flags, new_addr);
}

int __wrap_munmap(void *addr, size_t length)
{
    return syscall(SYS_munmap, addr, length);
}
