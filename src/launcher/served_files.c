/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files that a machine with KVM has: /dev/kvm, /dev/sev, and the module parameters
 * that programs read.  The latter as of a kernel without hardware help for
 * paging; a parameter that is not here is not there, whatever the host has.
 */
#include "launcher_options.h"
#include "machine_cpuid.h"
#include "preload.h"
#include "softkvm.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DEVICE "/dev/kvm"
#define SEV_DEVICE "/dev/sev"
#define MODULE "/sys/module/kvm"
enum { MISC_MAJOR = 10, KVM_MINOR = 232, SEV_MINOR = 124 };

static struct preload_options given;

/* Before the program, which may change its environment and start threads. */
static void __attribute__((constructor)) read_options(void)
{
    const char *words = getenv(LAUNCHER_ENVIRONMENT), *file = getenv(LAUNCHER_TRACE_FILE);
    const char *cpu = getenv(LAUNCHER_CPU);

    if (!words)
        return;
    snprintf(given.cpu, sizeof(given.cpu), "%s", cpu ? cpu : "max");
    given.in_place = strstr(words, LAUNCHER_IN_PLACE);
    given.vm2 = strstr(words, LAUNCHER_VM2);
    given.no_gmem_flags = strstr(words, LAUNCHER_NO_FLAGS);
    given.sev = strstr(words, LAUNCHER_SEV);
    given.cpuid_virtualization = strstr(words, LAUNCHER_VIRTUALIZATION);
    given.trace = strstr(words, LAUNCHER_TRACE);
    given.stats = strstr(words, LAUNCHER_STATS);
    if (file && strlen(file) < sizeof(given.trace_file))
        strcpy(given.trace_file, file);
    if (given.sev || given.cpuid_virtualization)
        machine_cpuid_set(given.sev, given.cpuid_virtualization);
}

const struct preload_options *preload_options(void)
{
    return &given;
}

static const struct {
    const char *path, *text;
} parameters[] = {
    { "/sys/module/kvm/parameters/eager_page_split", "Y\n" },
    { "/sys/module/kvm/parameters/enable_pmu", "N\n" },
    { "/sys/module/kvm/parameters/enable_vmware_backdoor", "N\n" },
    { "/sys/module/kvm/parameters/force_emulation_prefix", "0\n" },
    { "/sys/module/kvm/parameters/gmem_in_place_conversion", NULL },
    { "/sys/module/kvm/parameters/halt_poll_ns", "0\n" },
    { "/sys/module/kvm/parameters/ignore_msrs", "N\n" },
    { "/sys/module/kvm/parameters/kvmclock_periodic_sync", "N\n" },
    { "/sys/module/kvm/parameters/nx_huge_pages", "N\n" },
    { "/sys/module/kvm/parameters/report_ignored_msrs", "Y\n" },
    { "/sys/module/kvm/parameters/tdp_mmu", "N\n" },
    { "/sys/module/kvm_intel/parameters/ept", "N\n" },
    { "/sys/module/kvm_intel/parameters/nested", "N\n" },
    { "/sys/module/kvm_intel/parameters/unrestricted_guest", "Y\n" },
    { "/sys/module/kvm_amd/parameters/avic", "N\n" },
    { "/sys/module/kvm_amd/parameters/nested", "0\n" },
    { "/sys/module/kvm_amd/parameters/npt", "N\n" },
    { "/sys/module/kvm_amd/parameters/sev", NULL },
    { "/sys/module/kvm_amd/parameters/sev_es", "N\n" },
    { "/sys/module/kvm_amd/parameters/sev_snp", "N\n" },
};

const char *module_parameter(const char *path)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        if (strcmp(parameters[i].path, path))
            continue;
        if (parameters[i].text)
            return parameters[i].text;
        return strstr(path, "/sev") ? preload_options()->sev ? "Y\n" : "N\n"
               : preload_options()->in_place ? "Y\n" : "N\n";
    }
    return NULL;
}

enum served served_path(const char *path)
{
    if (!path || path[0] != '/')
        return SERVED_NOT;
    if (!strcmp(path, DEVICE))
        return SERVED_DEVICE;
    if (!strcmp(path, SEV_DEVICE))
        return preload_options()->sev ? SERVED_SEV : SERVED_MISSING;
    if (strncmp(path, MODULE, sizeof(MODULE) - 1) || !strstr(path, "/parameters/"))
        return SERVED_NOT;
    return module_parameter(path) ? SERVED_PARAMETER : SERVED_MISSING;
}

static bool sev_platform_set;

/* The same keys each time, out of a file: once, before any is used. */
static void set_sev_platform(void)
{
    const char *path = getenv(LAUNCHER_SEV_PLATFORM);
    static uint8_t secret[SEV_PLATFORM_MAX];
    ssize_t size;
    int fd;

    if (path && *path) {
        fd = NEXT(open)(path, O_RDONLY | O_CLOEXEC);
        size = fd < 0 ? -1 : pread(fd, secret, sizeof(secret), 0);
        if (fd >= 0)
            close(fd);
        if (size < 0 || softkvm_sev_platform(secret, size))
            return;
        explicit_bzero(secret, sizeof(secret));
    }
    sev_platform_set = true;
}

/* The file may be gone since the launcher looked: other keys than asked for would be worse. */
static int check_sev_platform(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (preload_options()->sev)
        pthread_once(&once, set_sev_platform);
    return preload_options()->sev && !sev_platform_set ? -EIO : 0;
}

/* Once, before the program can have called anything. */
static void set_hooks(void)
{
    const char *line = getenv(LAUNCHER_HOOKS), *end;
    char rule[256];

    for (; line && (end = strchr(line, '\n')); line = end + 1) {
        size_t length = end - line;

        if (length >= sizeof(rule))
            continue;
        memcpy(rule, line, length);
        rule[length] = 0;
        if (!strncmp(rule, "fail=", 5))
            softkvm_fail(rule + 5);
        else if (!strncmp(rule, "pin=", 4))
            softkvm_pin_new(rule + 4);
    }
}

/* What open(2) with these flags says of a device before it looks at which it is. */
static int check_flags(int flags)
{
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    return (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ? -EEXIST : 0;
}

static int open_sev(int flags)
{
    int fd = check_flags(flags);

    if (!fd)
        fd = check_sev_platform();
    if (!fd)
        fd = softkvm_open_sev();
    if (fd >= 0 && !(flags & O_CLOEXEC))
        fcntl(fd, F_SETFD, 0);
    return fd;
}

static int open_device(int flags)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct softkvm_options options = {
        .gmem_in_place_conversion = preload_options()->in_place,
        .vm_attributes2 = preload_options()->vm2,
        .gmem_without_flags = preload_options()->no_gmem_flags,
        .cpu = preload_options()->cpu,
        .sev = preload_options()->sev,
    };
    int fd = check_flags(flags);

    if (!fd)
        fd = check_sev_platform();
    if (fd)
        return fd;
    pthread_once(&once, set_hooks);
    fd = softkvm_open(&options);
    if (fd >= 0 && !(flags & O_CLOEXEC))
        fcntl(fd, F_SETFD, 0);
    return fd;
}

/* Read-only for everybody, as far as that can be had: there is nothing to be changed. */
static int open_parameter(const char *path, int flags)
{
    const char *text = module_parameter(path);
    size_t size = strlen(text);
    int fd;

    if ((flags & O_ACCMODE) != O_RDONLY)
        return -EACCES;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    fd = memfd_create("kvm-parameter", MFD_ALLOW_SEALING | (flags & O_CLOEXEC ? MFD_CLOEXEC : 0));
    if (fd < 0)
        return -errno;
    if (pwrite(fd, text, size, 0) != (ssize_t)size ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

int served_open(const char *path, int flags)
{
    int ret, saved = errno;

    switch (served_path(path)) {
    case SERVED_DEVICE:
        ret = open_device(flags);
        trace_call("open", ret, ret);
        break;
    case SERVED_SEV:
        ret = open_sev(flags);
        trace_call("open", ret, ret);
        break;
    case SERVED_PARAMETER:
        ret = open_parameter(path, flags);
        break;
    default:
        ret = -ENOENT;
    }
    errno = saved;
    return ret;
}

int served_access(const char *path, int mode)
{
    switch (served_path(path)) {
    case SERVED_DEVICE:
    case SERVED_SEV:
        return mode & X_OK ? -EACCES : 0;
    case SERVED_PARAMETER:
        return mode & (W_OK | X_OK) ? -EACCES : 0;
    default:
        return -ENOENT;
    }
}

static void misc_stat(struct stat *st, unsigned minor)
{
    st->st_mode = S_IFCHR | 0666;
    st->st_rdev = makedev(MISC_MAJOR, minor);
    st->st_size = 0;
    st->st_blocks = 0;
    st->st_nlink = 1;
    st->st_blksize = 4096;
}

void device_stat(struct stat *st)
{
    misc_stat(st, KVM_MINOR);
}

void sev_stat(struct stat *st)
{
    misc_stat(st, SEV_MINOR);
}

int served_stat(const char *path, struct stat *st)
{
    memset(st, 0, sizeof(*st));
    switch (served_path(path)) {
    case SERVED_DEVICE:
        device_stat(st);
        return 0;
    case SERVED_SEV:
        sev_stat(st);
        return 0;
    case SERVED_PARAMETER:
        st->st_mode = S_IFREG | 0444;
        st->st_nlink = 1;
        st->st_size = st->st_blksize = 4096;
        return 0;
    default:
        return -ENOENT;
    }
}
