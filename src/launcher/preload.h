/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shared object that `softkvm` loads into a program: shared by its files.
 *
 * It stands before libc in the program's search order and answers for
 * /dev/kvm, what comes from it, and /sys/module/kvm*; everything else goes on to
 * libc.  It must work before its own constructors and in signal handlers, as
 * far as the descriptors concerned allow.
 */
#ifndef LAUNCHER_PRELOAD_H
#define LAUNCHER_PRELOAD_H

#include "launcher_options.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stat;

#define INTERPOSED __attribute__((visibility("default")))

/* The function of this name that would be called without us; never NULL. */
void *next_symbol(const char *name);

/* Looked up at the first call; threads may do that at once. */
#define NEXT(fn_)                                                                        \
    ({                                                                                   \
        static __typeof__(&fn_) next_##fn_;                                              \
        __typeof__(&fn_) found_ = __atomic_load_n(&next_##fn_, __ATOMIC_RELAXED);        \
                                                                                         \
        if (!found_) {                                                                   \
            found_ = (__typeof__(&fn_))next_symbol(#fn_);                                \
            __atomic_store_n(&next_##fn_, found_, __ATOMIC_RELAXED);                     \
        }                                                                                \
        found_;                                                                          \
    })

/* 0 or more as it is, -errno as libc's calls do it. */
static inline long libc_result(long ret)
{
    if (ret >= 0)
        return ret;
    errno = -ret;
    return -1;
}

/* What the launcher passes in the environment (launcher_options.h). */
struct preload_options {
    bool in_place, vm2, no_gmem_flags, sev, cpuid_virtualization, trace, stats;
    char cpu[LAUNCHER_CPU_SIZE];
    char trace_file[4096];      /* "": standard error */
};
const struct preload_options *preload_options(void);

/*
 * Files that are served instead of the system's: /dev/kvm, what is below
 * /sys/module/kvm*, and /dev/sev, which is not there without --sev.
 */
enum served { SERVED_NOT, SERVED_DEVICE, SERVED_SEV, SERVED_PARAMETER, SERVED_MISSING };
enum served served_path(const char *path);
/* open(2): a descriptor or -errno. */
int served_open(const char *path, int flags);
/* access(2) and stat(2): 0 or -errno. */
int served_access(const char *path, int mode);
int served_stat(const char *path, struct stat *st);
/* What stat tells of /dev/kvm, and of /dev/sev. */
void device_stat(struct stat *st);
void sev_stat(struct stat *st);

/* Its text; NULL: there is no such parameter. */
const char *module_parameter(const char *path);

/* One call on a KVM descriptor is done; ret as the library gives it. */
void trace_ioctl(int fd, unsigned long request, unsigned long arg, int ret, uint64_t ns);
void trace_call(const char *call, int fd, long ret);
uint64_t trace_clock(void);

#endif
