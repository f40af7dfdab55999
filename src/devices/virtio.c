/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Virtio devices: their status and features (virtio 1.2, 2.1 and 2.2), their worker
 * thread, and the one way to the buffers of a request.
 */
#include "virtio.h"

#include "error.h"
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BIT(n_) (1ull << (n_))

const struct property virtio_properties[] = {
    { "iommu_platform", PROP_BOOL, offsetof(struct virtio, iommu_platform),
      .help = "VIRTIO_F_ACCESS_PLATFORM, which the driver then has to accept; "
              "on where guest memory is private" },
    { "disable-legacy", PROP_ON_OFF_AUTO, offsetof(struct virtio, disable_legacy),
      .help = "there is no legacy interface, so on and auto are the same" },
    { "event_idx", PROP_BOOL, offsetof(struct virtio, event_idx),
      .help = "VIRTIO_F_EVENT_IDX: fewer notifications" },
    { "indirect_desc", PROP_BOOL, offsetof(struct virtio, indirect_desc),
      .help = "VIRTIO_F_INDIRECT_DESC: tables of descriptors" },
    { "ioeventfd", PROP_BOOL, offsetof(struct virtio, ioeventfd),
      .help = "KVM wakes the device by itself where it can" },
    { "x-share-rings", PROP_BOOL, offsetof(struct virtio, share_rings),
      .help = "convert a queue's pages when the driver enables it, for kernels that know nothing "
              "of private memory" },
    { "vectors", PROP_UINT32, offsetof(struct virtio, vectors),
      .help = "MSI-X vectors; 0: none, the default: one a queue and one more" },
    { NULL },
};

enum { VECTORS_DEFAULT = UINT32_MAX };

void virtio_init(struct device *dev)
{
    struct virtio *v = to_virtio(dev);

    v->iommu_platform = devices_host(dev->all)->protected;
    v->event_idx = v->indirect_desc = v->ioeventfd = true;
    v->vectors = VECTORS_DEFAULT;
}

/* --- Status and features --- */

static void reset_queues(struct virtio *v)
{
    for (unsigned i = 0; i < v->nr_queues; i++) {
        if (v->queues[i].made_shared)
            virtqueue_convert(v, &v->queues[i], true);
        v->queues[i] = (struct virtqueue){
            .size = VIRTIO_QUEUE_SIZE, .vector = VIRTIO_MSI_NO_VECTOR,
        };
    }
}

void virtio_do_reset(struct virtio *v)
{
    __atomic_store_n(&v->reset_wanted, false, __ATOMIC_RELEASE);
    v->status = v->isr = 0;
    v->driver_features = 0;
    v->feature_select = v->driver_feature_select = 0;
    v->queue_select = 0;
    v->config_vector = VIRTIO_MSI_NO_VECTOR;
    reset_queues(v);
    virtio_pci_update_ioeventfd(v);
    pci_set_intx(&v->pci.function, false);
    if (v->class->reset)
        v->class->reset(v);
}

void virtio_break(struct virtio *v, const char *why)
{
    trace(TRACE_VIRTIO_BROKEN, "%s \"%s\": %s", v->class->name,
          v->pci.dev.id ? v->pci.dev.id : "", why);
    if (v->status & VIRTIO_CONFIG_S_NEEDS_RESET)
        return;
    v->broken++;
    v->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK)
        virtio_config_changed(v);
}

void virtio_config_changed(struct virtio *v)
{
    v->generation++;
    virtio_pci_interrupt(v, 2, v->config_vector);
}

/* What the driver must have taken, and may not have. */
static bool features_acceptable(const struct virtio *v)
{
    uint64_t needed = v->needed_features |
                      (v->features & (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM)));

    return !(v->driver_features & ~v->features) && (v->driver_features & needed) == needed;
}

void virtio_set_status(struct virtio *v, uint8_t status)
{
    uint8_t sticky = v->status & VIRTIO_CONFIG_S_NEEDS_RESET;
    bool was_running = v->status & VIRTIO_CONFIG_S_DRIVER_OK;

    if (status == 0) {
        /* The register reads as zero once the request that is being served has ended (2.4). */
        __atomic_store_n(&v->reset_wanted, v->serving, __ATOMIC_RELEASE);
        if (!v->serving)
            virtio_do_reset(v);
        return;
    }
    if (v->reset_wanted)
        return;
    if ((status & VIRTIO_CONFIG_S_FEATURES_OK) && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK) &&
        !features_acceptable(v))
        status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
    if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
        status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    v->status = status | sticky;
    if (!was_running && (v->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        virtio_pci_update_ioeventfd(v);
        virtio_kick(v);
    }
}

/* --- The worker --- */

void virtio_kick(struct virtio *v)
{
    uint64_t one = 1;

    /* A full counter wakes as well as one more. */
    if (write(v->kick_fd, &one, sizeof(one)) < 0)
        return;
}

bool virtio_giving_up(struct virtio *v)
{
    return __atomic_load_n(&v->stop, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(&v->reset_wanted, __ATOMIC_ACQUIRE);
}

static void set_serving(struct virtio *v, bool serving)
{
    pthread_mutex_lock(&v->idle_lock);
    v->serving = serving;
    if (!serving)
        pthread_cond_broadcast(&v->idle);
    pthread_mutex_unlock(&v->idle_lock);
}

static bool may_serve(const struct virtio *v)
{
    return !v->paused && !__atomic_load_n(&v->stop, __ATOMIC_ACQUIRE) &&
           (v->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
           !(v->status & VIRTIO_CONFIG_S_NEEDS_RESET) && !v->reset_wanted &&
           (pci_get16(v->pci.function.config, PCI_COMMAND) & PCI_COMMAND_MASTER);
}

/* Machine lock held. */
static void finish(struct virtio *v, unsigned queue, uint32_t written)
{
    bool interrupt = false;

    set_serving(v, false);
    v->requests++;
    if (v->reset_wanted) {
        virtio_do_reset(v);
        return;
    }
    if (virtio_push(v, queue, &v->request, written, &interrupt) && interrupt)
        virtio_pci_interrupt(v, 1, v->queues[queue].vector);
}

bool virtio_serve(struct virtio *v, unsigned queue,
                  uint32_t (*handle)(struct virtio *v, struct virtio_request *request))
{
    uint32_t written;
    bool taken;

    bus_lock(v->bus);
    taken = may_serve(v) && virtio_pop(v, queue, &v->request) == VIRTIO_POPPED;
    if (taken)
        set_serving(v, true);
    bus_unlock(v->bus);
    if (!taken)
        return false;
    written = handle(v, &v->request);
    bus_lock(v->bus);
    finish(v, queue, written);
    bus_unlock(v->bus);
    return true;
}

static void *work(void *opaque)
{
    struct virtio *v = opaque;
    uint64_t count;

    while (!__atomic_load_n(&v->stop, __ATOMIC_ACQUIRE)) {
        if (read(v->kick_fd, &count, sizeof(count)) > 0)
            v->class->work(v);
        __atomic_add_fetch(&v->rounds, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

void virtio_pause(struct device *dev)
{
    struct virtio *v = to_virtio(dev);

    bus_lock(v->bus);
    v->paused = true;
    bus_unlock(v->bus);
    pthread_mutex_lock(&v->idle_lock);
    while (v->serving)
        pthread_cond_wait(&v->idle, &v->idle_lock);
    pthread_mutex_unlock(&v->idle_lock);
    /* The end of that request, which is written into the ring, is done with the lock. */
    bus_lock(v->bus);
    bus_unlock(v->bus);
}

void virtio_resume(struct device *dev)
{
    struct virtio *v = to_virtio(dev);

    bus_lock(v->bus);
    v->paused = false;
    bus_unlock(v->bus);
    virtio_kick(v);
}

void virtio_system_reset(struct device *dev)
{
    virtio_do_reset(to_virtio(dev));
}

/* --- Buffers --- */

/*
 * [offset, offset + size) of the segments from first on, to or from buf.  Copies, so
 * that a page can't change hands in between.
 */
static bool copy(struct virtio *v, const struct virtio_segment *segments, unsigned count,
                 uint64_t offset, char *buf, uint64_t size, bool write)
{
    for (unsigned i = 0; i < count && size; i++) {
        uint64_t n, gpa;
        bool ok;

        if (offset >= segments[i].size) {
            offset -= segments[i].size;
            continue;
        }
        n = MIN(size, segments[i].size - offset);
        gpa = segments[i].gpa + offset;
        ok = write ? memory_write(v->mem, gpa, buf, n, &gpa) : memory_read(v->mem, gpa, buf, n, &gpa);
        if (!ok) {
            virtio_count_refused(v);
            trace(TRACE_VIRTIO_DMA_REFUSED, "%s \"%s\": %s gpa=0x%" PRIx64, v->class->name,
                  v->pci.dev.id ? v->pci.dev.id : "", write ? "write" : "read", gpa);
            return false;
        }
        offset = 0;
        buf += n;
        size -= n;
    }
    return size == 0;
}

bool virtio_read(struct virtio *v, const struct virtio_request *request, uint64_t offset, void *buf,
                 uint64_t size)
{
    return copy(v, request->segments, request->outs, offset, buf, size, false);
}

bool virtio_write(struct virtio *v, const struct virtio_request *request, uint64_t offset,
                  const void *buf, uint64_t size)
{
    return copy(v, request->segments + request->outs, request->ins, offset, (char *)buf, size,
                true);
}

/* --- Coming and going --- */

static void add_common_features(struct virtio *v)
{
    v->features |= BIT(VIRTIO_F_VERSION_1);
    if (v->iommu_platform)
        v->features |= BIT(VIRTIO_F_ACCESS_PLATFORM);
    if (v->event_idx)
        v->features |= BIT(VIRTIO_RING_F_EVENT_IDX);
    if (v->indirect_desc)
        v->features |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
}

static bool start_worker(struct virtio *v, GError **error)
{
    int ret;

    v->kick_fd = eventfd(0, EFD_CLOEXEC);
    if (v->kick_fd < 0) {
        error_set_errno(error, errno, "%s: cannot make an eventfd", v->pci.dev.type->name);
        return false;
    }
    ret = pthread_create(&v->worker, NULL, work, v);
    v->has_worker = ret == 0;
    if (ret)
        error_set_errno(error, ret, "%s: cannot start its thread", v->pci.dev.type->name);
    return ret == 0;
}

static bool check_options(struct virtio *v, GError **error)
{
    if (v->share_rings && devices_host(v->pci.dev.all)->encrypted) {
        error_set(error, "x-share-rings=on: a guest with SEV encrypts its rings itself, whoever "
                  "calls them shared: x-share-rings=off");
        return false;
    }
    if (v->vectors == VECTORS_DEFAULT)
        v->vectors = v->nr_queues + 1;
    if (v->vectors > PCI_MSIX_MAX)
        error_set(error, "Property '%s.vectors' doesn't take value '%u'", v->pci.dev.type->name,
                  v->vectors);
    else if (v->disable_legacy == OOA_OFF)
        error_set(error, "disable-legacy=off: there is no legacy interface: leave it out");
    else
        return true;
    return false;
}

bool virtio_realize(struct virtio *v, GError **error)
{
    const struct device_host *host = devices_host(v->pci.dev.all);

    if (!check_options(v, error))
        return false;
    v->bus = host->bus;
    v->mem = host->mem;
    v->kick_fd = -1;
    v->kick_gpa = PCI_UNMAPPED;
    pthread_mutex_init(&v->idle_lock, NULL);
    pthread_cond_init(&v->idle, NULL);
    add_common_features(v);
    reset_queues(v);
    v->config_vector = VIRTIO_MSI_NO_VECTOR;
    virtio_pci_setup(v);
    if (start_worker(v, error) && pci_device_plug(&v->pci, error))
        return true;
    virtio_unrealize(v);
    return false;
}

void virtio_unrealize(struct virtio *v)
{
    pci_device_unplug(&v->pci);
    __atomic_store_n(&v->stop, true, __ATOMIC_RELEASE);
    if (v->has_worker) {
        virtio_kick(v);
        pthread_join(v->worker, NULL);
    }
    bus_lock(v->bus);
    v->status = 0;
    virtio_pci_update_ioeventfd(v);
    bus_unlock(v->bus);
    if (v->kick_fd >= 0)
        close(v->kick_fd);
    pthread_cond_destroy(&v->idle);
    pthread_mutex_destroy(&v->idle_lock);
}

/* --- For people --- */

void virtio_dma(struct device *dev, struct device_dma *ret)
{
    struct virtio *v = to_virtio(dev);

    bus_lock(v->bus);
    *ret = (struct device_dma){
        .requests = v->requests, .broken = v->broken,
        .refused = __atomic_load_n(&v->refused_dma, __ATOMIC_RELAXED),
        .needs_reset = v->status & VIRTIO_CONFIG_S_NEEDS_RESET,
    };
    bus_unlock(v->bus);
}

void virtio_describe(struct device *dev, int indent, GString *out)
{
    struct virtio *v = to_virtio(dev);

    pci_device_describe(dev, indent, out);
    bus_lock(v->bus);
    g_string_append_printf(out, "%*sstatus 0x%02x, features 0x%" PRIx64 " of 0x%" PRIx64 "\n",
                           indent, "", v->status, v->driver_features, v->features);
    bus_unlock(v->bus);
}
