/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --trace: a line a call, names for numbers; --stats: what was called, at exit. */
#include "descriptor.h"
#include "kvm_names.h"
#include "preload.h"
#include "preload_decode.h"
#include "soft_vcpu.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_IOCTLS = 256, MAX_EXITS = 64 };

/* By the number's row in kvm_ioctl_names, and by exit reason; atomic. */
static struct {
    uint64_t calls, errors, ns;
} ioctls[MAX_IOCTLS];
static uint64_t exits[MAX_EXITS];

const char *kvm_name(const struct kvm_name *names, unsigned long number)
{
    for (; names->name; names++) {
        if (names->number == number)
            return names->name;
    }
    return NULL;
}

/* 0: nobody wants to know. */
uint64_t trace_clock(void)
{
    struct timespec now;

    if (!preload_options()->trace && !preload_options()->stats)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void count(unsigned long request, int ret, uint64_t ns, int exit_reason)
{
    for (size_t i = 0; i < nr_kvm_ioctl_names && i < MAX_IOCTLS; i++) {
        if (kvm_ioctl_names[i].number != (unsigned)request)
            continue;
        __atomic_add_fetch(&ioctls[i].calls, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&ioctls[i].errors, ret < 0, __ATOMIC_RELAXED);
        __atomic_add_fetch(&ioctls[i].ns, ns, __ATOMIC_RELAXED);
        break;
    }
    if (exit_reason >= 0 && exit_reason < MAX_EXITS)
        __atomic_add_fetch(&exits[exit_reason], 1, __ATOMIC_RELAXED);
}

/*
 * Opened for each line: the program may close any descriptor, and give its
 * number to a file of its own.
 */
static int trace_file(void)
{
    const char *path = preload_options()->trace_file;
    int fd = -1;

    if (*path)
        fd = syscall(SYS_open, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    return fd >= 0 ? fd : STDERR_FILENO;
}

/* In one piece, whatever other threads and processes write. */
static void put_line(const char *line, int length, size_t room)
{
    int fd = trace_file();

    if (length > (int)room - 1)
        length = room - 1;
    if (syscall(SYS_write, fd, line, length) < 0)
        errno = 0;              /* nobody reads: so be it */
    if (fd != STDERR_FILENO)
        syscall(SYS_close, fd);
}

static const char *result_name(int ret, char *buffer, size_t size)
{
    const char *name = ret < 0 ? strerrorname_np(-ret) : NULL;

    if (name)
        snprintf(buffer, size, "-%s", name);
    else
        snprintf(buffer, size, "%d", ret);
    return buffer;
}

static void print_ioctl(const char *kind, int fd, unsigned long request, unsigned long arg, int ret,
                        const struct kvm_run *run)
{
    const char *name = kvm_name(kvm_ioctl_names, (unsigned)request), *exit_name = NULL;
    char line[512], number[32], result[32], argument[160], details[120] = "";
    int length;

    if (!name) {
        snprintf(number, sizeof(number), "ioctl 0x%x", (unsigned)request);
        name = number;
    }
    decode_argument(request, arg, argument, sizeof(argument));
    if (run) {
        exit_name = kvm_name(kvm_exit_names, run->exit_reason);
        decode_exit(run, details, sizeof(details));
    }
    length = snprintf(line, sizeof(line), "softkvm: %d %s %d %s%s = %s%s%s%s\n",
                      (int)syscall(SYS_gettid), kind, fd, name, argument,
                      result_name(ret, result, sizeof(result)), exit_name ? " " : "",
                      exit_name ? exit_name : "", details);
    put_line(line, length, sizeof(line));
}

void trace_ioctl(int fd, unsigned long request, unsigned long arg, int ret, uint64_t ns)
{
    struct descriptor *descriptor = descriptor_get(fd);
    const struct kvm_run *run = NULL;
    const char *kind = "closed";
    int saved = errno;

    if (descriptor) {
        kind = descriptor_class(descriptor)->name;
        if (request == KVM_RUN && !descriptor_inherited(descriptor) && !strcmp(kind, "vcpu"))
            run = ((const struct vcpu *)descriptor_object(descriptor))->run;
    }
    if (preload_options()->stats)
        count(request, ret, ns, run ? (int)run->exit_reason : -1);
    if (preload_options()->trace)
        print_ioctl(kind, fd, request, arg, ret, run);
    if (descriptor)
        descriptor_put(descriptor);
    errno = saved;
}

void trace_call(const char *call, int fd, long ret)
{
    char line[128], result[32];
    int saved = errno;

    if (preload_options()->trace)
        put_line(line, snprintf(line, sizeof(line), "softkvm: %d %s %d = %s\n",
                                (int)syscall(SYS_gettid), call, fd,
                                result_name(ret, result, sizeof(result))), sizeof(line));
    errno = saved;
}

static void __attribute__((destructor)) print_stats(void)
{
    char line[160];

    if (!preload_options()->stats)
        return;
    for (size_t i = 0; i < nr_kvm_ioctl_names && i < MAX_IOCTLS; i++) {
        uint64_t calls = __atomic_load_n(&ioctls[i].calls, __ATOMIC_RELAXED);

        if (calls)
            put_line(line, snprintf(line, sizeof(line),
                                    "softkvm: %-32s %9llu calls %7llu errors %12.6f s\n",
                                    kvm_ioctl_names[i].name, (unsigned long long)calls,
                                    (unsigned long long)__atomic_load_n(&ioctls[i].errors,
                                                                        __ATOMIC_RELAXED),
                                    __atomic_load_n(&ioctls[i].ns, __ATOMIC_RELAXED) / 1e9),
                     sizeof(line));
    }
    for (size_t i = 0; i < MAX_EXITS; i++) {
        uint64_t n = __atomic_load_n(&exits[i], __ATOMIC_RELAXED);
        const char *name = kvm_name(kvm_exit_names, i);

        if (n)
            put_line(line, snprintf(line, sizeof(line), "softkvm: %-32s %9llu exits\n",
                                    name ? name : "?", (unsigned long long)n), sizeof(line));
    }
}
