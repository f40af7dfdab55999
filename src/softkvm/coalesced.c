/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Coalesced writes.  Zones change with all vCPUs paused, and are read by vCPUs in the
 * guest; the ring, which those fill together, has a lock.  User space moves ring->first
 * and may write anything into the page: indices are checked at every use.
 */
#include "coalesced.h"

#include "fd.h"
#include "soft_vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    RING_PAGE = 4096,
    RING_ENTRIES = (RING_PAGE - sizeof(struct kvm_coalesced_mmio_ring)) /
                   sizeof(struct kvm_coalesced_mmio),
    ZONES_MAX = 1000,           /* devices on a bus of Linux's */
};

struct coalesced {
    pthread_mutex_t lock;
    int fd;                     /* the ring's page; -1 until somebody wants it */
    struct kvm_coalesced_mmio_ring *ring;
    struct kvm_coalesced_mmio_zone *zones;
    unsigned count;
};

struct coalesced *coalesced_new(void)
{
    struct coalesced *io = calloc(1, sizeof(*io));

    if (!io)
        return NULL;
    io->fd = -1;
    pthread_mutex_init(&io->lock, NULL);
    return io;
}

void coalesced_free(struct coalesced *io)
{
    if (!io)
        return;
    if (io->ring)
        munmap(io->ring, RING_PAGE);
    fd_closep(&io->fd);
    free(io->zones);
    pthread_mutex_destroy(&io->lock);
    free(io);
}

/* io->lock held. */
static int need_ring(struct coalesced *io)
{
    AUTO_FD fd = -1;
    void *ring;

    if (io->ring)
        return 0;
    fd = memfd_create("kvm-coalesced", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, RING_PAGE))
        return -errno;
    ring = mmap(NULL, RING_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED)
        return -errno;
    io->ring = ring;
    io->fd = fd_take(&fd);
    return 0;
}

int coalesced_map(struct coalesced *io, void *at, int prot, int flags)
{
    int ret;

    pthread_mutex_lock(&io->lock);
    ret = need_ring(io);
    if (!ret && mmap(at, RING_PAGE, prot, (flags & MAP_TYPE) | MAP_FIXED, io->fd, 0) ==
                    MAP_FAILED)
        ret = -errno;
    pthread_mutex_unlock(&io->lock);
    return ret;
}

/* vm->lock held. */
static int add_zone(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
    struct coalesced *io = vm->coalesced;
    struct kvm_coalesced_mmio_zone *zones;
    int ret;

    if (io->count >= ZONES_MAX)
        return -ENOSPC;
    pthread_mutex_lock(&io->lock);
    ret = need_ring(io);
    pthread_mutex_unlock(&io->lock);
    if (ret)
        return ret;
    vm_pause(vm);
    zones = realloc(io->zones, (io->count + 1) * sizeof(zones[0]));
    if (zones) {
        io->zones = zones;
        zones[io->count++] = *zone;
    }
    vm_resume(vm);
    return zones ? 0 : -ENOMEM;
}

int coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
    int ret;

    if (zone->pio > 1)
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    ret = add_zone(vm, zone);
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

static bool zone_contains(const struct kvm_coalesced_mmio_zone *zone, bool port,
                          uint64_t address, uint64_t size)
{
    uint64_t offset = address - zone->addr;

    return zone->pio == port && offset <= zone->size && size <= zone->size - offset;
}

int coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone)
{
    struct coalesced *io = vm->coalesced;
    unsigned kept = 0;

    if (zone->pio > 1)
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    vm_pause(vm);
    for (unsigned i = 0; i < io->count; i++) {
        if (!zone_contains(&io->zones[i], zone->pio, zone->addr, zone->size))
            io->zones[kept++] = io->zones[i];
    }
    io->count = kept;
    vm_resume(vm);
    pthread_mutex_unlock(&vm->lock);
    return 0;
}

/* io->lock held. One entry stays free: a full ring isn't an empty one. */
static bool ring_put(struct kvm_coalesced_mmio_ring *ring,
                     const struct kvm_coalesced_mmio *entry)
{
    uint32_t last = __atomic_load_n(&ring->last, __ATOMIC_RELAXED), next;

    if (last >= RING_ENTRIES)
        return false;
    next = (last + 1) % RING_ENTRIES;
    if (next == __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE))
        return false;
    ring->coalesced_mmio[last] = *entry;
    __atomic_store_n(&ring->last, next, __ATOMIC_RELEASE);
    return true;
}

bool coalesced_write(struct coalesced *io, bool port, uint64_t address, const void *data,
                     unsigned size)
{
    struct kvm_coalesced_mmio entry = { .phys_addr = address, .len = size, .pio = port };
    bool done = false;

    for (unsigned i = 0; i < io->count; i++) {
        if (!zone_contains(&io->zones[i], port, address, size))
            continue;
        memcpy(entry.data, data, size);
        pthread_mutex_lock(&io->lock);
        done = ring_put(io->ring, &entry);
        pthread_mutex_unlock(&io->lock);
        break;
    }
    return done;
}
