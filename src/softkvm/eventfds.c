/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * irqfds and ioeventfds.
 *
 * Locks: irqfd_lock is held while an interrupt is raised, so that none comes
 * after KVM_IRQFD took the descriptor away; the irqchip calls eventfds_eoi()
 * with its own lock held, so that one has resample_lock, inside both.
 * ioeventfds change with all vCPUs paused, and are read by vCPUs in the guest.
 */
#include "eventfds.h"

#include "descriptor.h"
#include "fd.h"
#include "irqchip.h"
#include "range.h"
#include "signals.h"
#include "soft_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

struct irqfd {
    struct irqfd *next;
    int fd, resample_fd;        /* our own; -1: edge-triggered */
    int id;                     /* of the event behind fd */
    uint32_t gsi;
};

struct ioeventfd {
    struct ioeventfd *next;
    int fd, id;
    bool port, match;
    uint64_t address, data;
    uint32_t size;              /* 0: any */
};

struct eventfds {
    struct vm *vm;
    pthread_mutex_t irqfd_lock, resample_lock;
    struct irqfd *irqfds;
    struct ioeventfd *ioeventfds;
    int epoll_fd, stop_fd;
    pthread_t thread;
    bool started;
};

/* The kernel's number of the event behind a descriptor; -EBADF; -EINVAL: no eventfd. */
static int event_id(int fd)
{
    struct descriptor *ours = descriptor_get(fd);
    char path[64], line[128];
    int id = -EINVAL;
    FILE *info;

    if (ours) {                 /* an eventfd in disguise */
        descriptor_put(ours);
        return -EINVAL;
    }
    if (fcntl(fd, F_GETFD) < 0)
        return -EBADF;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    info = fopen(path, "re");
    if (!info)
        return -EINVAL;
    while (fgets(line, sizeof(line), info)) {
        if (sscanf(line, "eventfd-id: %d", &id) == 1)
            break;
    }
    fclose(info);
    return id;
}

static void signal_event(int fd)
{
    uint64_t one = 1;

    /* EAGAIN: already at its maximum. */
    if (write(fd, &one, sizeof(one)) < 0)
        return;
}

/* Take the event's count; false: there was none. Never blocks, whatever the descriptor's flags. */
static bool take_event(int fd)
{
    uint64_t count;
    struct iovec iov = { &count, sizeof(count) };

    return preadv2(fd, &iov, 1, -1, RWF_NOWAIT) == sizeof(count);
}

/* irqfd_lock held. */
static void raise_interrupt(struct eventfds *fds, const struct irqfd *irqfd)
{
    if (irqfd->resample_fd >= 0) {
        irqchip_set_resample_line(fds->vm->irqchip, irqfd->gsi, true);
    } else {
        irqchip_set_line(fds->vm->irqchip, irqfd->gsi, true);
        irqchip_set_line(fds->vm->irqchip, irqfd->gsi, false);
    }
}

static void serve(struct eventfds *fds, const struct irqfd *wanted)
{
    pthread_mutex_lock(&fds->irqfd_lock);
    /* It may have gone since epoll named it. */
    for (struct irqfd *irqfd = fds->irqfds; irqfd; irqfd = irqfd->next) {
        if (irqfd == wanted && take_event(irqfd->fd))
            raise_interrupt(fds, irqfd);
    }
    pthread_mutex_unlock(&fds->irqfd_lock);
}

static void *irqfd_thread(void *opaque)
{
    struct eventfds *fds = opaque;

    for (;;) {
        struct epoll_event events[16];
        int n = epoll_wait(fds->epoll_fd, events, 16, -1);

        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr)
                return NULL;
            serve(fds, events[i].data.ptr);
        }
    }
}

/* irqfd_lock held. */
static int start_thread(struct eventfds *fds)
{
    struct epoll_event stop = { .events = EPOLLIN, .data.ptr = NULL };
    int ret;

    if (fds->started)
        return 0;
    fds->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    fds->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (fds->epoll_fd < 0 || fds->stop_fd < 0 ||
        epoll_ctl(fds->epoll_fd, EPOLL_CTL_ADD, fds->stop_fd, &stop)) {
        ret = -errno;
    } else {
        ret = signals_thread_create(&fds->thread, irqfd_thread, fds);
    }
    fds->started = !ret;
    if (ret) {
        fd_closep(&fds->epoll_fd);
        fd_closep(&fds->stop_fd);
    }
    return ret;
}

static void irqfd_free(struct irqfd *irqfd)
{
    fd_closep(&irqfd->fd);
    fd_closep(&irqfd->resample_fd);
    free(irqfd);
}

static struct irqfd *irqfd_new(const struct kvm_irqfd *args, int id)
{
    struct irqfd *irqfd = malloc(sizeof(*irqfd));

    if (!irqfd)
        return NULL;
    *irqfd = (struct irqfd){ .id = id, .gsi = args->gsi, .resample_fd = -1 };
    irqfd->fd = fcntl(args->fd, F_DUPFD_CLOEXEC, 0);
    if (args->flags & KVM_IRQFD_FLAG_RESAMPLE)
        irqfd->resample_fd = fcntl(args->resamplefd, F_DUPFD_CLOEXEC, 0);
    if (irqfd->fd < 0 || (args->flags & KVM_IRQFD_FLAG_RESAMPLE && irqfd->resample_fd < 0)) {
        irqfd_free(irqfd);
        return NULL;
    }
    return irqfd;
}

/* irqfd_lock held. */
static int irqfd_assign(struct eventfds *fds, const struct kvm_irqfd *args)
{
    struct epoll_event event = { .events = EPOLLIN };
    int id = event_id(args->fd), ret;
    struct irqfd *irqfd;

    if (id < 0)
        return id;
    if (args->flags & KVM_IRQFD_FLAG_RESAMPLE && event_id(args->resamplefd) < 0)
        return event_id(args->resamplefd);
    for (irqfd = fds->irqfds; irqfd; irqfd = irqfd->next) {
        if (irqfd->id == id)
            return -EBUSY;
    }
    ret = start_thread(fds);
    if (ret)
        return ret;
    irqfd = irqfd_new(args, id);
    if (!irqfd)
        return -ENOMEM;
    event.data.ptr = irqfd;
    if (epoll_ctl(fds->epoll_fd, EPOLL_CTL_ADD, irqfd->fd, &event)) {
        ret = -errno;
        irqfd_free(irqfd);
        return ret;
    }
    pthread_mutex_lock(&fds->resample_lock);
    irqfd->next = fds->irqfds;
    fds->irqfds = irqfd;
    pthread_mutex_unlock(&fds->resample_lock);
    return 0;
}

/* irqfd_lock held. */
static void irqfd_remove(struct eventfds *fds, struct irqfd **link)
{
    struct irqfd *irqfd = *link;

    epoll_ctl(fds->epoll_fd, EPOLL_CTL_DEL, irqfd->fd, NULL);
    pthread_mutex_lock(&fds->resample_lock);
    *link = irqfd->next;
    pthread_mutex_unlock(&fds->resample_lock);
    if (irqfd->resample_fd >= 0)
        irqchip_set_resample_line(fds->vm->irqchip, irqfd->gsi, false);
    irqfd_free(irqfd);
}

static int irqfd_deassign(struct eventfds *fds, const struct kvm_irqfd *args)
{
    int id = event_id(args->fd);

    if (id < 0)
        return id;
    for (struct irqfd **link = &fds->irqfds; *link;) {
        if ((*link)->id == id && (*link)->gsi == args->gsi)
            irqfd_remove(fds, link);
        else
            link = &(*link)->next;
    }
    return 0;
}

int eventfds_irqfd(struct eventfds *fds, const struct kvm_irqfd *args)
{
    int ret;

    if (args->flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
        return -EINVAL;
    pthread_mutex_lock(&fds->irqfd_lock);
    if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
        ret = irqfd_deassign(fds, args);
    else if (!irqchip_present(fds->vm->irqchip))
        ret = -EINVAL;
    else if (args->flags & KVM_IRQFD_FLAG_RESAMPLE && irqchip_is_split(fds->vm->irqchip))
        ret = -EINVAL;          /* it is user space that learns of the end */
    else
        ret = irqfd_assign(fds, args);
    pthread_mutex_unlock(&fds->irqfd_lock);
    return ret;
}

void eventfds_eoi(struct eventfds *fds, uint32_t gsi)
{
    pthread_mutex_lock(&fds->resample_lock);
    for (struct irqfd *irqfd = fds->irqfds; irqfd; irqfd = irqfd->next) {
        if (irqfd->gsi == gsi && irqfd->resample_fd >= 0)
            signal_event(irqfd->resample_fd);
    }
    pthread_mutex_unlock(&fds->resample_lock);
}

static bool same_place(const struct ioeventfd *a, const struct ioeventfd *b)
{
    return a->port == b->port && a->address == b->address &&
           (!a->size || !b->size ||
            (a->size == b->size && (!a->match || !b->match || a->data == b->data)));
}

/* vm->lock held. */
static int ioeventfd_assign(struct eventfds *fds, struct ioeventfd *wish, int fd)
{
    struct ioeventfd *new;

    for (const struct ioeventfd *old = fds->ioeventfds; old; old = old->next) {
        if (same_place(old, wish))
            return -EEXIST;
    }
    new = malloc(sizeof(*new));
    if (!new)
        return -ENOMEM;
    *new = *wish;
    new->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (new->fd < 0) {
        free(new);
        return -errno;
    }
    vm_pause(fds->vm);
    new->next = fds->ioeventfds;
    fds->ioeventfds = new;
    vm_resume(fds->vm);
    return 0;
}

/* vm->lock held. */
static int ioeventfd_deassign(struct eventfds *fds, const struct ioeventfd *wish)
{
    struct ioeventfd **link = &fds->ioeventfds, *gone;

    while ((gone = *link) &&
           !(gone->id == wish->id && gone->port == wish->port && gone->address == wish->address &&
             gone->size == wish->size && gone->match == wish->match &&
             (!gone->match || gone->data == wish->data)))
        link = &gone->next;
    if (!gone)
        return -ENOENT;
    vm_pause(fds->vm);
    *link = gone->next;
    vm_resume(fds->vm);
    close(gone->fd);
    free(gone);
    return 0;
}

int eventfds_ioeventfd(struct eventfds *fds, const struct kvm_ioeventfd *args)
{
    struct ioeventfd wish = {
        .port = args->flags & KVM_IOEVENTFD_FLAG_PIO,
        .match = args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH,
        .address = args->addr,
        .data = args->datamatch,
        .size = args->len,
    };
    int ret;

    if (args->flags & ~(KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH |
                        KVM_IOEVENTFD_FLAG_DEASSIGN))
        return -EINVAL;
    if (args->len > 8 || (args->len & (args->len - 1)) || range_wraps(args->addr, args->len) ||
        (!args->len && wish.match))
        return -EINVAL;
    wish.id = event_id(args->fd);
    if (wish.id < 0)
        return wish.id;
    pthread_mutex_lock(&fds->vm->lock);
    if (args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
        ret = ioeventfd_deassign(fds, &wish);
    else
        ret = ioeventfd_assign(fds, &wish, args->fd);
    pthread_mutex_unlock(&fds->vm->lock);
    return ret;
}

bool eventfds_write(struct eventfds *fds, bool port, uint64_t address, const void *data,
                    unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, data, size);
    for (const struct ioeventfd *io = fds->ioeventfds; io; io = io->next) {
        if (io->port == port && io->address == address && (!io->size || io->size == size) &&
            (!io->match || io->data == value)) {
            signal_event(io->fd);
            return true;
        }
    }
    return false;
}

struct eventfds *eventfds_new(struct vm *vm)
{
    struct eventfds *fds = calloc(1, sizeof(*fds));

    if (!fds)
        return NULL;
    fds->vm = vm;
    fds->epoll_fd = fds->stop_fd = -1;
    pthread_mutex_init(&fds->irqfd_lock, NULL);
    pthread_mutex_init(&fds->resample_lock, NULL);
    return fds;
}

void eventfds_stop(struct eventfds *fds)
{
    if (!fds->started)
        return;
    signal_event(fds->stop_fd);
    pthread_join(fds->thread, NULL);
    fds->started = false;
}

void eventfds_free(struct eventfds *fds)
{
    if (!fds)
        return;
    eventfds_stop(fds);
    while (fds->irqfds) {
        struct irqfd *irqfd = fds->irqfds;

        fds->irqfds = irqfd->next;
        irqfd_free(irqfd);
    }
    while (fds->ioeventfds) {
        struct ioeventfd *io = fds->ioeventfds;

        fds->ioeventfds = io->next;
        close(io->fd);
        free(io);
    }
    fd_closep(&fds->epoll_fd);
    fd_closep(&fds->stop_fd);
    pthread_mutex_destroy(&fds->irqfd_lock);
    pthread_mutex_destroy(&fds->resample_lock);
    free(fds);
}
