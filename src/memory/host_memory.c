/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host memory for guest RAM: anonymous, memfd or a file, mapped and given back. */
#include "fd.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

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

/* Huge pages of a file come from where it lies. */
static int file_adopt(uint64_t size, const struct host_memory_options *opt,
                      struct host_memory *memory)
{
    struct statfs fs;

    memory->fd = opt->fd;
    memory->offset = opt->offset;
    if (fstatfs(opt->fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
        memory->page_size = (uint64_t)fs.f_bsize;
    return is_aligned(size | opt->offset, memory->page_size) ? 0 : -EINVAL;
}

/* Address space of that size whose start is aligned; NULL: none. */
static void *reserve_aligned(uint64_t size, uint64_t align)
{
    char *all = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1, 0);
    uint64_t skip;

    if (all == MAP_FAILED)
        return NULL;
    skip = -(uint64_t)(uintptr_t)all % align;
    if (skip)
        munmap(all, skip);
    munmap(all + skip + size, align - skip);
    return all + skip;
}

static int map(struct host_memory *memory, int flags, const struct host_memory_options *opt)
{
    int prot = PROT_READ | (opt->readonly && opt->share ? 0 : PROT_WRITE);
    void *at = NULL;

    if (opt->pmem)
        flags = (flags & ~MAP_SHARED) | MAP_SHARED_VALIDATE | MAP_SYNC;
    if (opt->align > memory->page_size) {
        at = range_wraps(memory->size, opt->align) ? NULL
                                                   : reserve_aligned(memory->size, opt->align);
        if (!at)
            return -ENOMEM;
        flags |= MAP_FIXED;
    }
    memory->addr = mmap(at, memory->size, prot, flags, memory->fd, (off_t)memory->offset);
    if (memory->addr == MAP_FAILED) {
        int err = -errno;

        memory->addr = NULL;
        if (at)
            munmap(at, memory->size);
        return err;
    }
    return 0;
}

int host_memory_new(struct host_memory *ret, uint64_t size, const struct host_memory_options *opt)
{
    struct host_memory memory = {
        .size = size, .fd = -1, .page_size = GUEST_PAGE_SIZE, .shared = opt->share,
    };
    int flags = (opt->share ? MAP_SHARED : MAP_PRIVATE) | (opt->reserve ? 0 : MAP_NORESERVE);
    int err = opt->memfd ? memfd_open(size, opt, &memory)
                         : opt->file ? file_adopt(size, opt, &memory) : 0;

    if (memory.fd < 0)
        flags |= MAP_ANONYMOUS;
    if (!err)
        err = map(&memory, flags, opt);
    if (err) {
        host_memory_clear(&memory);
        return err;
    }
    host_memory_advise(memory.addr, size, opt->merge, opt->dump);
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
        ret = fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)(memory->offset + offset), (off_t)size);
    else
        ret = madvise(addr, size, memory->shared ? MADV_REMOVE : MADV_DONTNEED);
    return ret < 0 ? -errno : 0;
}
