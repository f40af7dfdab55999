/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio_type1.h"

#include "error.h"
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>

static const char container_path[] = "/dev/vfio/vfio";

/* A container that can be one for type 1, or the reason why not. */
static bool open_container(struct vfio_type1 *iommu, GError **error)
{
    iommu->container = open(container_path, O_RDWR | O_CLOEXEC);
    if (iommu->container < 0) {
        error_set_errno(error, errno, "this host has no VFIO: %s", container_path);
        return false;
    }
    if (ioctl(iommu->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION) {
        error_set(error, "%s has another API than version %d", container_path, VFIO_API_VERSION);
        return false;
    }
    if (ioctl(iommu->container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0) {
        error_set(error, "%s has no type 1 IOMMU", container_path);
        return false;
    }
    return true;
}

static bool open_group(struct vfio_type1 *iommu, const char *path, GError **error)
{
    struct vfio_group_status status = { .argsz = sizeof(status) };

    iommu->group = open(path, O_RDWR | O_CLOEXEC);
    if (iommu->group < 0 || ioctl(iommu->group, VFIO_GROUP_GET_STATUS, &status) < 0) {
        error_set_errno(error, errno, "group '%s'", path);
        return false;
    }
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
        error_set(error, "group '%s' is not viable: bind all of its devices to vfio-pci", path);
        return false;
    }
    if (ioctl(iommu->group, VFIO_GROUP_SET_CONTAINER, &iommu->container) < 0 ||
        ioctl(iommu->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0) {
        error_set_errno(error, errno, "group '%s' can't have a type 1 IOMMU", path);
        return false;
    }
    return true;
}

bool vfio_type1_open(struct vfio_type1 *iommu, const char *group, GError **error)
{
    iommu->container = iommu->group = -1;
    if (open_container(iommu, error) && open_group(iommu, group, error))
        return true;
    vfio_type1_close(iommu);
    return false;
}

void vfio_type1_close(struct vfio_type1 *iommu)
{
    fd_closep(&iommu->group);
    fd_closep(&iommu->container);
}

int vfio_type1_map(const struct vfio_type1 *iommu, uint64_t iova, void *host, uint64_t size,
                   bool readonly)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | (readonly ? 0 : VFIO_DMA_MAP_FLAG_WRITE),
        .vaddr = (uint64_t)(uintptr_t)host, .iova = iova, .size = size,
    };

    return ioctl(iommu->container, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

int vfio_type1_unmap(const struct vfio_type1 *iommu, uint64_t iova, uint64_t size)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap), .iova = iova, .size = size,
    };

    return ioctl(iommu->container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : 0;
}
