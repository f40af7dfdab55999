/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The block device (virtio 1.2, 5.2) on a raw image.  Its worker serves one request
 * after the other through a buffer of its own; the guest's pages are copied, never
 * handed to the kernel, so that no I/O is in flight on a page that is converted.
 */
#include "virtio_devices.h"

#include "disk.h"
#include "error.h"

#include <linux/virtio_blk.h>
#include <string.h>

enum {
    BOUNCE = 256 * 1024,
    REQUEST_MAX = 64 * 1024 * 1024,     /* of one request; more fails */
    RANGE_MAX = REQUEST_MAX / DISK_SECTOR,     /* sectors that one discard or zeroing covers */
    SEGMENTS_MAX = VIRTIO_QUEUE_SIZE - 2,       /* of data: the queue less header and status */
    HEADER = sizeof(struct virtio_blk_outhdr),
    ID_SIZE = VIRTIO_BLK_ID_BYTES,
};

struct virtio_blk {
    struct virtio v;            /* first */
    char *drive, *serial;       /* properties */
    struct disk *node;
    char *bounce;
};

static struct virtio_blk *to_blk(struct virtio *v)
{
    return (struct virtio_blk *)v;
}

static bool in_bounds(const struct virtio_blk *blk, uint64_t sector, uint64_t size)
{
    uint64_t sectors = disk_size(blk->node) / DISK_SECTOR;

    return size % DISK_SECTOR == 0 && size <= REQUEST_MAX && sector <= sectors &&
           size / DISK_SECTOR <= sectors - sector;
}

/* --- Requests: the status, and in *written how much data came before it --- */

typedef uint8_t serve_fn(struct virtio_blk *blk, const struct virtio_request *request,
                         uint64_t sector, uint64_t *written);

static uint8_t serve_in(struct virtio_blk *blk, const struct virtio_request *request,
                        uint64_t sector, uint64_t *written)
{
    uint64_t size = request->in_size - 1;

    if (!in_bounds(blk, sector, size))
        return VIRTIO_BLK_S_IOERR;
    while (*written < size && !virtio_giving_up(&blk->v)) {
        uint64_t n = MIN(size - *written, BOUNCE);

        if (disk_read(blk->node, sector * DISK_SECTOR + *written, blk->bounce, n) < 0 ||
            !virtio_write(&blk->v, request, *written, blk->bounce, n))
            return VIRTIO_BLK_S_IOERR;
        *written += n;
    }
    return *written == size ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static uint8_t serve_out(struct virtio_blk *blk, const struct virtio_request *request,
                         uint64_t sector, uint64_t *written)
{
    uint64_t size = request->out_size - HEADER, done = 0;

    if (!in_bounds(blk, sector, size) || disk_readonly(blk->node))
        return VIRTIO_BLK_S_IOERR;
    while (done < size && !virtio_giving_up(&blk->v)) {
        uint64_t n = MIN(size - done, BOUNCE);

        if (!virtio_read(&blk->v, request, HEADER + done, blk->bounce, n) ||
            disk_write(blk->node, sector * DISK_SECTOR + done, blk->bounce, n) < 0)
            return VIRTIO_BLK_S_IOERR;
        done += n;
    }
    return done == size ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static uint8_t serve_flush(struct virtio_blk *blk, const struct virtio_request *request,
                           uint64_t sector, uint64_t *written)
{
    return disk_flush(blk->node) < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t serve_id(struct virtio_blk *blk, const struct virtio_request *request,
                        uint64_t sector, uint64_t *written)
{
    char id[ID_SIZE] = { 0 };

    if (blk->serial)
        memcpy(id, blk->serial, strnlen(blk->serial, ID_SIZE));
    if (request->in_size - 1 < ID_SIZE || !virtio_write(&blk->v, request, 0, id, ID_SIZE))
        return VIRTIO_BLK_S_IOERR;
    *written = ID_SIZE;
    return VIRTIO_BLK_S_OK;
}

/* One range, as the configuration says; flags other than unmap aren't known (5.2.6.2). */
static bool read_range(struct virtio_blk *blk, const struct virtio_request *request,
                       struct virtio_blk_discard_write_zeroes *range)
{
    if (request->out_size != HEADER + sizeof(*range) ||
        !virtio_read(&blk->v, request, HEADER, range, sizeof(*range)))
        return false;
    range->sector = GUINT64_FROM_LE(range->sector);
    range->num_sectors = GUINT32_FROM_LE(range->num_sectors);
    range->flags = GUINT32_FROM_LE(range->flags);
    return range->num_sectors && in_bounds(blk, range->sector, (uint64_t)range->num_sectors *
                                                               DISK_SECTOR) &&
           !disk_readonly(blk->node);
}

static uint8_t serve_discard(struct virtio_blk *blk, const struct virtio_request *request,
                             uint64_t sector, uint64_t *written)
{
    struct virtio_blk_discard_write_zeroes range;

    if (!read_range(blk, request, &range))
        return VIRTIO_BLK_S_IOERR;
    if (range.flags)
        return VIRTIO_BLK_S_UNSUPP;
    return disk_discard(blk->node, range.sector * DISK_SECTOR,
                        (uint64_t)range.num_sectors * DISK_SECTOR) < 0
               ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t serve_write_zeroes(struct virtio_blk *blk, const struct virtio_request *request,
                                  uint64_t sector, uint64_t *written)
{
    struct virtio_blk_discard_write_zeroes range;

    if (!read_range(blk, request, &range))
        return VIRTIO_BLK_S_IOERR;
    if (range.flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
        return VIRTIO_BLK_S_UNSUPP;
    return disk_write_zeroes(blk->node, range.sector * DISK_SECTOR,
                              (uint64_t)range.num_sectors * DISK_SECTOR, range.flags) < 0
               ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static serve_fn *const serve[] = {
    [VIRTIO_BLK_T_IN] = serve_in, [VIRTIO_BLK_T_OUT] = serve_out,
    [VIRTIO_BLK_T_FLUSH] = serve_flush, [VIRTIO_BLK_T_GET_ID] = serve_id,
    [VIRTIO_BLK_T_DISCARD] = serve_discard, [VIRTIO_BLK_T_WRITE_ZEROES] = serve_write_zeroes,
};

/* Header first, status last, whatever segments they are in (5.2.6). */
static uint32_t handle(struct virtio *v, struct virtio_request *request)
{
    struct virtio_blk *blk = to_blk(v);
    struct virtio_blk_outhdr header;
    uint64_t written = 0;
    uint8_t status;

    /* Without a byte for the status there is no way to answer. */
    if (!request->in_size)
        return 0;
    if (!virtio_read(v, request, 0, &header, sizeof(header))) {
        status = VIRTIO_BLK_S_IOERR;
    } else {
        uint32_t type = GUINT32_FROM_LE(header.type);

        status = type < G_N_ELEMENTS(serve) && serve[type]
                     ? serve[type](blk, request, GUINT64_FROM_LE(header.sector), &written)
                     : VIRTIO_BLK_S_UNSUPP;
    }
    if (!virtio_write(v, request, request->in_size - 1, &status, 1))
        return 0;
    return written + 1 == request->in_size ? written + 1 : written;
}

static void work(struct virtio *v)
{
    while (virtio_serve(v, 0, handle))
        ;
}

static const struct virtio_class blk_class = {
    .name = "virtio-blk", .id = VIRTIO_ID_BLOCK, .pci_class = 0x0100,
    .config_size = offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4, .work = work,
};
_Static_assert(offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4 <=
               VIRTIO_CONFIG_SIZE, "the configuration fits");

/* --- Coming and going --- */

static void set_config(struct virtio_blk *blk)
{
    struct virtio_blk_config config = {
        .capacity = GUINT64_TO_LE(disk_size(blk->node) / DISK_SECTOR),
        .seg_max = GUINT32_TO_LE(SEGMENTS_MAX), .blk_size = GUINT32_TO_LE(DISK_SECTOR),
        .max_discard_sectors = GUINT32_TO_LE(RANGE_MAX), .max_discard_seg = GUINT32_TO_LE(1),
        .discard_sector_alignment = GUINT32_TO_LE(1),
        .max_write_zeroes_sectors = GUINT32_TO_LE(RANGE_MAX),
        .max_write_zeroes_seg = GUINT32_TO_LE(1), .write_zeroes_may_unmap = 1,
    };

    memcpy(blk->v.config, &config, blk_class.config_size);
    blk->v.features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
                      1ull << VIRTIO_BLK_F_FLUSH;
    blk->v.features |= disk_readonly(blk->node)
                           ? 1ull << VIRTIO_BLK_F_RO
                           : 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

static void unrealize(struct device *dev)
{
    struct virtio_blk *blk = to_blk(to_virtio(dev));

    virtio_unrealize(&blk->v);
    disk_release(blk->node);
    g_free(blk->bounce);
}

static bool realize(struct device *dev, GError **error)
{
    struct virtio_blk *blk = to_blk(to_virtio(dev));
    g_autofree char *path = device_path(dev);

    if (!blk->drive || !*blk->drive) {
        error_set(error, "drive property not set");
        return false;
    }
    blk->node = disk_find(blk->drive);
    if (!blk->node) {
        error_set(error, "Property 'virtio-blk-device.drive' can't find value '%s'", blk->drive);
        return false;
    }
    if (!disk_claim(blk->node, path, error))
        return false;
    blk->bounce = g_malloc(BOUNCE);
    blk->v.class = &blk_class;
    blk->v.nr_queues = 1;
    set_config(blk);
    if (virtio_realize(&blk->v, error))
        return true;
    disk_release(blk->node);
    g_free(blk->bounce);
    return false;
}

static const struct property properties[] = {
    { "drive", PROP_STRING, offsetof(struct virtio_blk, drive),
      .help = "id of a -drive or node name of a -blockdev" },
    { "serial", PROP_STRING, offsetof(struct virtio_blk, serial),
      .help = "serial number, up to 20 characters" },
    { NULL },
};

const struct device_type virtio_blk_type = {
    .name = "virtio-blk-pci", .help = "a disk", .bus_type = "PCI",
    .size = sizeof(struct virtio_blk),
    .properties = (const struct property *const[]){
        properties, pci_device_properties, virtio_properties, NULL },
    .init = virtio_init, .realize = realize, .unrealize = unrealize, VIRTIO_DEVICE_OPS,
};
