/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Children of fork(): they inherit mappings of guest_memfds, and a conversion
 * must take private pages out of these too.  Only the child itself can, so each
 * child has a thread that waits for its parent's word.
 *
 * The two share memory and no descriptor, as children close what they don't
 * know.  The caller's lock is around all of it: of forks, and of changes.
 */
#ifndef SOFTKVM_GMEM_CHILDREN_H
#define SOFTKVM_GMEM_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>

struct gmem_change {
    uint64_t id;                /* of the guest_memfd */
    uint64_t offset, size;
    bool to_private;
};

/* In a child: what its parent tells. NULL: all that it inherited vanishes for good. */
typedef void gmem_change_fn(const struct gmem_change *change);

/* Before fork(); wanted: there is something that the child inherits. */
void gmem_children_prepare(bool wanted);
/* After it, in the child, without the lock: wait for changes, or have it all vanish. */
void gmem_children_watch(gmem_change_fn *fn);
/* In the parent: all children have done it when this returns, save those that are stopped. */
void gmem_children_tell(const struct gmem_change *change);

#endif
