/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * userfaultfd(2) on the memory of a SEV guest: mode MISSING, anonymous and
 * shared memory with pages of 4 KiB.
 */
#include "sev_touch.h"

#include "fd.h"
#include "kvm_uapi.h"
#include "range.h"
#include "sev_memory.h"
#include "signals.h"
#include "soft_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW     /* Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_USER_MODE_ONLY     /* Linux 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif

struct sev_touch {
    struct sev_memory *memory;
    struct vm *vm;
    int uffd, stop;             /* eventfd: the first thread ends */
    int pages[2];               /* a pipe: addresses for the second thread */
    pthread_t giver, fetcher;
};

/* One that sees the kernel's accesses too, where that is allowed. -ENODEV: none. */
static int open_uffd(void)
{
    struct uffdio_api api = { .api = UFFD_API };
    int flags = O_CLOEXEC | O_NONBLOCK, fd = syscall(SYS_userfaultfd, flags);

    if (fd < 0) {
        AUTO_FD device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

        fd = device < 0 ? -1 : ioctl(device, USERFAULTFD_IOC_NEW, flags);
    }
    if (fd < 0)
        fd = syscall(SYS_userfaultfd, flags | UFFD_USER_MODE_ONLY);
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
        close(fd);
        fd = -1;
    }
    return fd < 0 ? -ENODEV : fd;
}

/* EAGAIN: the address space is being changed. */
static int uffd_ioctl(const struct sev_touch *touch, unsigned long request, void *arg)
{
    int saved = errno, ret;

    do {
        ret = ioctl(touch->uffd, request, arg) ? -errno : 0;
    } while (ret == -EAGAIN);
    errno = saved;
    return ret;
}

static void wake(const struct sev_touch *touch, uint64_t hva)
{
    struct uffdio_range range = { hva, GUEST_PAGE_SIZE };

    uffd_ioctl(touch, UFFDIO_WAKE, &range);
}

int sev_touch_zero(struct sev_touch *touch, uint64_t hva)
{
    struct uffdio_zeropage zero = { .range = { hva, GUEST_PAGE_SIZE } };
    int ret = uffd_ioctl(touch, UFFDIO_ZEROPAGE, &zero);

    return !ret || ret == -EEXIST ? ret : -EFAULT;
}

int sev_touch_fill(struct sev_touch *touch, uint64_t hva, const void *page)
{
    struct uffdio_copy copy = { .dst = hva, .src = (uintptr_t)page, .len = GUEST_PAGE_SIZE };

    return uffd_ioctl(touch, UFFDIO_COPY, &copy);
}

/* What /proc/self/maps says of [start, end): all shared, all anonymous, or not usable. */
static int memory_kind(uint64_t start, uint64_t end, bool *shmem)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    uint64_t from, to, inode, at = start;
    char line[512], shared;
    int ret = maps ? 0 : -EOPNOTSUPP;

    while (!ret && at < end && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*3c%c %*s %*s %" SCNu64, &from, &to, &shared,
                   &inode) != 4 || to <= at)
            continue;
        if (from > at)
            break;
        if (at > start && *shmem != (shared == 's'))
            ret = -EOPNOTSUPP;
        *shmem = shared == 's';
        if (!*shmem && inode)
            ret = -EOPNOTSUPP;
        at = to;
    }
    if (maps)
        fclose(maps);
    return !ret && at < end ? -EFAULT : ret;
}

int sev_touch_register(struct sev_touch *touch, uint64_t hva, uint64_t size, bool *shmem)
{
    struct uffdio_register reg = { .range = { hva, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };
    int ret = memory_kind(hva, hva + size, shmem);

    if (ret)
        return ret;
    ret = uffd_ioctl(touch, UFFDIO_REGISTER, &reg);
    if (ret)
        return ret == -ENOMEM ? ret : -EOPNOTSUPP;
    /* Huge pages can't be given in pieces, which shows here. */
    if (reg.ioctls & 1ull << _UFFDIO_ZEROPAGE && reg.ioctls & 1ull << _UFFDIO_COPY)
        return 0;
    sev_touch_unregister(touch, hva, size);
    return -EOPNOTSUPP;
}

void sev_touch_unregister(struct sev_touch *touch, uint64_t hva, uint64_t size)
{
    struct uffdio_range range = { hva, size };

    uffd_ioctl(touch, UFFDIO_UNREGISTER, &range);
}

/* A page that is just missing gets zeros; one that is the guest's is the other thread's work. */
static void on_touch(struct sev_touch *touch, uint64_t hva)
{
    bool zeroed;

    if (sev_memory_is_guests(touch->memory, hva, &zeroed)) {
        if (write(touch->pages[1], &hva, sizeof(hva)) == sizeof(hva))
            return;
        zeroed = false;
    }
    if (!zeroed)
        wake(touch, hva);
}

static void *give_pages(void *opaque)
{
    struct sev_touch *touch = opaque;
    struct pollfd polls[2] = { { touch->uffd, POLLIN, 0 }, { touch->stop, POLLIN, 0 } };

    while (!polls[1].revents) {
        struct uffd_msg msg;

        if (poll(polls, 2, -1) < 0 || !polls[0].revents)
            continue;
        if (read(touch->uffd, &msg, sizeof(msg)) == sizeof(msg) &&
            msg.event == UFFD_EVENT_PAGEFAULT)
            on_touch(touch, msg.arg.pagefault.address & ~(uint64_t)(GUEST_PAGE_SIZE - 1));
    }
    return NULL;
}

static void *fetch_pages(void *opaque)
{
    struct sev_touch *touch = opaque;
    struct vm *vm = touch->vm;
    uint64_t hva;

    while (read(touch->pages[0], &hva, sizeof(hva)) == sizeof(hva)) {
        pthread_mutex_lock(&vm->lock);
        vm_pause(vm);
        sev_memory_switch(touch->memory, hva, SEV_VIEW_HOST);
        vm_resume(vm);
        pthread_mutex_unlock(&vm->lock);
        wake(touch, hva);
    }
    return NULL;
}

static int start_threads(struct sev_touch *touch)
{
    uint64_t one = 1;
    int ret = signals_thread_create(&touch->giver, give_pages, touch);

    if (ret)
        return ret;
    ret = signals_thread_create(&touch->fetcher, fetch_pages, touch);
    if (!ret)
        return 0;
    if (write(touch->stop, &one, sizeof(one)) == sizeof(one))
        pthread_join(touch->giver, NULL);
    return ret;
}

static void close_all(struct sev_touch *touch)
{
    fd_closep(&touch->uffd);
    fd_closep(&touch->stop);
    fd_closep(&touch->pages[0]);
    fd_closep(&touch->pages[1]);
    free(touch);
}

int sev_touch_new(struct sev_memory *memory, struct vm *vm, struct sev_touch **ret)
{
    struct sev_touch *touch = malloc(sizeof(*touch));
    int error = 0;

    if (!touch)
        return -ENOMEM;
    *touch = (struct sev_touch){ .memory = memory, .vm = vm, .stop = -1, .pages = { -1, -1 } };
    touch->uffd = open_uffd();
    if (touch->uffd < 0)
        error = -ENODEV;
    if (!error) {
        touch->stop = eventfd(0, EFD_CLOEXEC);
        if (touch->stop < 0 || pipe2(touch->pages, O_CLOEXEC))
            error = -errno;
    }
    if (!error)
        error = start_threads(touch);
    if (error)
        close_all(touch);
    else
        *ret = touch;
    return error;
}

void sev_touch_free(struct sev_touch *touch)
{
    uint64_t one = 1;

    if (write(touch->stop, &one, sizeof(one)) == sizeof(one))
        pthread_join(touch->giver, NULL);
    fd_closep(&touch->pages[1]);
    pthread_join(touch->fetcher, NULL);
    close_all(touch);
}
