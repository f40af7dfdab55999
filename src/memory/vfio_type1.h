/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linux's VFIO container with a type 1 IOMMU: Documentation/driver-api/vfio.rst. */
#ifndef MEMORY_VFIO_TYPE1_H
#define MEMORY_VFIO_TYPE1_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct vfio_type1 {
    int container, group;       /* -1: not open */
};

/* Open /dev/vfio/vfio and the group (/dev/vfio/N), and give the group this IOMMU. */
bool vfio_type1_open(struct vfio_type1 *iommu, const char *group, GError **error);
void vfio_type1_close(struct vfio_type1 *iommu);
/* 0 or -errno. Unmap: exactly what was mapped in one call. */
int vfio_type1_map(const struct vfio_type1 *iommu, uint64_t iova, void *host, uint64_t size,
                   bool readonly);
int vfio_type1_unmap(const struct vfio_type1 *iommu, uint64_t iova, uint64_t size);

#endif
