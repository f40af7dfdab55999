/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * -object vfio-container: what holds DMA mappings of guest memory for assigned
 * devices, with the rules of Linux's VFIO type 1 IOMMU: a limit on mappings, pages
 * that are locked and counted, no mapping undone in part.  With group= it programs
 * that IOMMU, else it keeps the books only: for seeing how a guest's conversions
 * would fare with a device, on any machine.
 *
 * Locks: a container's own lock is taken inside memory->lock.
 */
#ifndef MEMORY_VFIO_CONTAINER_H
#define MEMORY_VFIO_CONTAINER_H

#include "memory.h"

void memory_register_vfio_container(void);

/*
 * All containers that there are, and those that come later, listen to this memory.
 * False: one can't have what there is. Detach before memory_free().
 */
bool vfio_containers_attach(struct memory *mem, GError **error);
void vfio_containers_detach(void);

struct vfio_container_info {
    const char *id;             /* the object's own */
    const char *group;          /* NULL: keeps the books only */
    uint64_t mappings, max_mappings;
    uint64_t locked, max_locked;        /* bytes; max_locked 0: no limit */
    uint64_t missing;           /* bytes that are populated but couldn't be mapped again after a split */
    uint64_t refused;           /* populates */
    uint64_t splits, merges;    /* mappings undone and made anew in two, or with a neighbour */
};
/* NULL: the object is none. */
bool vfio_container_get_info(struct object *obj, struct vfio_container_info *ret);

#endif
