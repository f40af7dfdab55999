/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * syscall(3): programs that make KVM's calls by number instead of by libc's
 * functions.  The calls of the table go to the functions of this library, which
 * look at the descriptor; all others to the kernel, without a stack frame of
 * ours, as a process may come back twice from them (vfork, clone).
 */
#include "preload.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NR_HANDLERS = 512 };

typedef long args_t[6];

int __real_close(int fd);
int __real_dup3(int fd, int newfd, int flags);
int __real_madvise(void *addr, size_t length, int advice);
int __real_mprotect(void *addr, size_t length, int prot);
void *__real_mremap(void *old, size_t old_length, size_t new_length, int flags, ...);
int __real_munmap(void *addr, size_t length);

static long by_ioctl(const args_t a) { return ioctl(a[0], a[1], a[2]); }
static long by_close(const args_t a) { return __real_close(a[0]); }
static long by_close_range(const args_t a) { return close_range(a[0], a[1], a[2]); }
static long by_dup(const args_t a) { return dup(a[0]); }
static long by_dup2(const args_t a) { return dup2(a[0], a[1]); }
static long by_dup3(const args_t a) { return __real_dup3(a[0], a[1], a[2]); }
static long by_fcntl(const args_t a) { return fcntl(a[0], a[1], a[2]); }
static long by_open(const args_t a) { return open((const char *)a[0], a[1], (mode_t)a[2]); }
static long by_munmap(const args_t a) { return __real_munmap((void *)a[0], a[1]); }
static long by_read(const args_t a) { return read(a[0], (void *)a[1], a[2]); }
static long by_pread(const args_t a) { return pread(a[0], (void *)a[1], a[2], a[3]); }
static long by_write(const args_t a) { return write(a[0], (const void *)a[1], a[2]); }
static long by_pwrite(const args_t a) { return pwrite(a[0], (const void *)a[1], a[2], a[3]); }
static long by_ftruncate(const args_t a) { return ftruncate(a[0], a[1]); }
static long by_readv(const args_t a) { return readv(a[0], (const struct iovec *)a[1], a[2]); }
static long by_writev(const args_t a) { return writev(a[0], (const struct iovec *)a[1], a[2]); }
static long by_lseek(const args_t a) { return lseek(a[0], a[1], a[2]); }
static long by_madvise(const args_t a) { return __real_madvise((void *)a[0], a[1], a[2]); }
static long by_mprotect(const args_t a) { return __real_mprotect((void *)a[0], a[1], a[2]); }
static long by_fallocate(const args_t a) { return fallocate(a[0], a[1], a[2], a[3]); }

static long by_openat(const args_t a)
{
    return openat(a[0], (const char *)a[1], a[2], (mode_t)a[3]);
}

static long by_mmap(const args_t a)
{
    return (long)mmap((void *)a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long by_mremap(const args_t a)
{
    return (long)__real_mremap((void *)a[0], a[1], a[2], a[3], (void *)a[4]);
}

/* By number; the assembly below looks here too. */
__attribute__((visibility("hidden"))) long (*const syscall_handlers[NR_HANDLERS])(const args_t) = {
    [SYS_ioctl] = by_ioctl, [SYS_close] = by_close, [SYS_close_range] = by_close_range,
    [SYS_dup] = by_dup, [SYS_dup2] = by_dup2, [SYS_dup3] = by_dup3, [SYS_fcntl] = by_fcntl,
    [SYS_open] = by_open, [SYS_openat] = by_openat, [SYS_mmap] = by_mmap,
    [SYS_munmap] = by_munmap, [SYS_read] = by_read, [SYS_pread64] = by_pread,
    [SYS_write] = by_write, [SYS_pwrite64] = by_pwrite, [SYS_ftruncate] = by_ftruncate,
    [SYS_fallocate] = by_fallocate, [SYS_readv] = by_readv, [SYS_writev] = by_writev,
    [SYS_lseek] = by_lseek, [SYS_mremap] = by_mremap, [SYS_mprotect] = by_mprotect,
    [SYS_madvise] = by_madvise,
};

__attribute__((visibility("hidden"))) long syscall_by_function(long number, ...);
__attribute__((visibility("hidden"))) long syscall_failed(long ret);

long syscall_by_function(long number, ...)
{
    va_list args;
    args_t a;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    return syscall_handlers[number](a);
}

long syscall_failed(long ret)
{
    return libc_result(ret);
}

/* From the C calling convention (number first) to the kernel's. */
#define TO_THE_KERNEL                                                                    \
    "mov %rdi, %rax\n\t"                                                                 \
    "mov %rsi, %rdi\n\t"                                                                 \
    "mov %rdx, %rsi\n\t"                                                                 \
    "mov %rcx, %rdx\n\t"                                                                 \
    "mov %r8, %r10\n\t"                                                                  \
    "mov %r9, %r8\n\t"                                                                   \
    "mov 8(%rsp), %r9\n\t"                                                               \
    "syscall\n\t"                                                                        \
    "cmp $-4095, %rax\n\t"                                                               \
    "jae 2f\n\t"                                                                         \
    "ret\n"                                                                              \
    "2:\n\t"                                                                             \
    "mov %rax, %rdi\n\t"                                                                 \
    "jmp syscall_failed\n\t"

__attribute__((naked)) INTERPOSED long syscall(long number, ...)
{
    __asm__("cmp $512, %rdi\n\t"
            "jae 1f\n\t"
            "lea syscall_handlers(%rip), %rax\n\t"
            "cmpq $0, (%rax, %rdi, 8)\n\t"
            "je 1f\n\t"
            "xor %eax, %eax\n\t"        /* no vector registers among the arguments */
            "jmp syscall_by_function\n"
            "1:\n\t" TO_THE_KERNEL);
}

/* What this library itself asks the kernel: never what it answers itself. */
long __wrap_syscall(long number, ...);
__attribute__((naked)) long __wrap_syscall(long number, ...)
{
    __asm__(TO_THE_KERNEL);
}
