/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of the caller's mappings of guest_memfds.
 *
 * One lock for the process (inside of vm->lock).  A mapping's private pages
 * show an empty file, so that touching them is SIGBUS.
 */
#ifndef SOFTKVM_GMEM_MAPPING_H
#define SOFTKVM_GMEM_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct guest_memfd;

/*
 * mmap(2) of the file, its private pages hidden, the address in *ret.  The
 * mapping holds a reference.  Takes vm->lock.  0 or -errno.
 */
int gmem_mapping_add(struct guest_memfd *gmem, void *addr, size_t length, int prot, int flags,
                     off_t offset, void **ret);

/*
 * munmap(2) with what the registry knows of the range.  References that go with
 * it are put: no lock may be held. 0 or -errno.
 */
int gmem_mapping_remove(void *addr, size_t length);

/*
 * mremap(2), the address in *ret, and mprotect(2), on memory of any kind: what
 * the registry has of it moves, grows, is cut and replaced with it.  To the
 * caller one mapping is one, whatever of it is private: EFAULT for a range that
 * isn't all of one.  No lock may be held.  0 or -errno.
 */
int gmem_mapping_move(void *old, size_t old_length, size_t new_length, int flags, void *new,
                      void **ret);
int gmem_mapping_protect(void *addr, size_t length, int prot);

/* Is a part of the range mapped of a file? */
bool gmem_mapping_has(const void *addr, size_t length);

/* Lock-free: is there any mapping? */
bool gmem_mapping_any(void);

/* 0: there is no such file any more. */
uint64_t gmem_file_inode(int fd);

/*
 * Make [offset, offset + size) of the file appear or vanish in all mappings of
 * it, those of children included, and record it in gmem->private_pages, which
 * was reserved for.  -ENOMEM (vm.max_map_count): all is as it was. vm->lock held.
 */
int gmem_mapping_convert(struct guest_memfd *gmem, uint64_t offset, uint64_t size,
                         bool to_private);

#endif
