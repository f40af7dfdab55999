/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host memory for guest RAM: anonymous or memfd, mapped and given back. */
#include "fd.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static int memfd_open(uint64_t size, const struct host_memory_options *opt,
                      struct host_memory *memory)
{
    unsigned flags = MFD_CLOEXEC | (opt->seal ? MFD_ALLOW_SEALING : 0);
    struct stat st;

    if (opt->hugetlb)
        flags |= MFD_HUGETLB;
    if (opt->hugetlb && opt->hugetlbsize)
        flags |= (unsigned)__builtin_ctzll(opt->hugetlbsize) << MFD_HUGE_SHIFT;

    AUTO_FD fd = memfd_create(opt->name, flags);

    if (fd < 0)
        return -errno;
    if (opt->hugetlb) {
        if (fstat(fd, &st) < 0)
            return -errno;
        memory->page_size = (uint64_t)st.st_blksize;
        if (!is_aligned(size, memory->page_size))
            return -EINVAL;
    }
    if (size > INT64_MAX)
        return -EFBIG;
    if (ftruncate(fd, (off_t)size) < 0)
        return -errno;
    if (opt->seal && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
        return -errno;
    memory->fd = fd_take(&fd);
    return 0;
}

void host_memory_advise(void *addr, uint64_t size, bool merge, bool dump)
{
    if (merge)
        madvise(addr, size, MADV_MERGEABLE);
    if (!dump)
        madvise(addr, size, MADV_DONTDUMP);
}

int host_memory_new(struct host_memory *ret, uint64_t size, const struct host_memory_options *opt)
{
    struct host_memory memory = {
        .size = size, .fd = -1, .page_size = GUEST_PAGE_SIZE, .shared = opt->share,
    };
    int flags = (opt->share ? MAP_SHARED : MAP_PRIVATE) | (opt->reserve ? 0 : MAP_NORESERVE);
    int err = opt->memfd ? memfd_open(size, opt, &memory) : 0;

    if (err)
        return err;
    if (!opt->memfd)
        flags |= MAP_ANONYMOUS;
    memory.addr = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, memory.fd, 0);
    if (memory.addr == MAP_FAILED) {
        memory.addr = NULL;
        err = -errno;
    }
    if (!err) {
        host_memory_advise(memory.addr, size, opt->merge, opt->dump);
        if (opt->prealloc && madvise(memory.addr, size, MADV_POPULATE_WRITE) < 0)
            err = -errno;
    }
    if (err) {
        host_memory_clear(&memory);
        return err;
    }
    *ret = memory;
    return 0;
}

void host_memory_clear(struct host_memory *memory)
{
    if (!memory->addr && memory->size == 0)
        return;                 /* never made: fd 0 isn't ours */
    if (memory->addr)
        munmap(memory->addr, memory->size);
    fd_closep(&memory->fd);
    memory->addr = NULL;
    memory->size = 0;
}

/*
 * Shared memory has to be punched in its file (or what is behind it), as other
 * mappings may exist; of a private mapping only this copy is there to be dropped,
 * which for a private mapping of a memfd uncovers the file, that nobody wrote.
 */
int host_memory_discard(const struct host_memory *memory, uint64_t offset, uint64_t size)
{
    char *addr = (char *)memory->addr + offset;
    int ret;

    if (!is_aligned(offset, memory->page_size) || !is_aligned(size, memory->page_size))
        return -EINVAL;
    if (memory->shared && memory->fd >= 0)
        ret = fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                        (off_t)size);
    else
        ret = madvise(addr, size, memory->shared ? MADV_REMOVE : MADV_DONTNEED);
    return ret < 0 ? -errno : 0;
}
