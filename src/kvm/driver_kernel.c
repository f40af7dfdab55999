/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The driver that passes everything to the system's /dev/kvm. */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int kernel_open(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int kernel_ioctl(int fd, unsigned long request, unsigned long arg)
{
    int ret = ioctl(fd, request, arg);

    return ret < 0 ? -errno : ret;
}

static int kernel_mmap(size_t length, int prot, int flags, int fd, off_t offset, void **ret)
{
    void *addr = mmap(NULL, length, prot, flags, fd, offset);

    if (addr == MAP_FAILED)
        return -errno;
    *ret = addr;
    return 0;
}

static int kernel_munmap(void *addr, size_t length)
{
    return munmap(addr, length) < 0 ? -errno : 0;
}

static int kernel_close(int fd)
{
    return close(fd) < 0 ? -errno : 0;
}

static int kernel_open_sev(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

const struct kvm_driver kvm_driver_kernel = {
    .name = "kvm",
    .description = "the kernel's KVM",
    .open = kernel_open,
    .ioctl = kernel_ioctl,
    .mmap = kernel_mmap,
    .munmap = kernel_munmap,
    .close = kernel_close,
    .open_sev = kernel_open_sev,
};
