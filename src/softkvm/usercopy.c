/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel is asked to do each access to the caller's memory, as only it can
 * answer a bad address with an errno: process_vm_readv(2) and
 * process_vm_writev(2) on ourselves, and a pipe where a sandbox forbids them.
 */
#include "usercopy.h"

#include "fd.h"
#include "range.h"
#include "sev_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Linux 5.14. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Through a pipe, in pieces that always fit into it. */
static int copy_through_pipe(uint64_t to, uint64_t from, size_t size)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    AUTO_FD in = ends[1];
    AUTO_FD out = ends[0];

    while (size) {
        size_t piece = size < 4096 ? size : 4096;

        if (write(in, (const void *)from, piece) != (ssize_t)piece ||
            read(out, (void *)to, piece) != (ssize_t)piece)
            return -EFAULT;
        to += piece;
        from += piece;
        size -= piece;
    }
    return 0;
}

typedef ssize_t vm_transfer_fn(pid_t, const struct iovec *, unsigned long, const struct iovec *,
                               unsigned long, unsigned long);

static int copy_user(vm_transfer_fn *transfer, uint64_t to, uint64_t from, uint64_t remote,
                     size_t size)
{
    struct iovec local = { (void *)(remote == to ? from : to), size };
    struct iovec far = { (void *)remote, size };
    int saved = errno, ret = 0;
    ssize_t done;

    if (!size)
        return 0;
    if (!range_within(remote, size, USER_ADDRESS_END))
        return -EFAULT;
    done = transfer(getpid(), &local, 1, &far, 1, 0);
    if (done < 0 && (errno == ENOSYS || errno == EPERM))
        ret = copy_through_pipe(to, from, size);
    else if (done != (ssize_t)size)
        ret = -EFAULT;
    errno = saved;
    return ret;
}

int copy_from_own(void *to, uint64_t from, size_t size)
{
    return copy_user(process_vm_readv, (uintptr_t)to, from, from, size);
}

/* Locks may be held, which bringing back a page of a SEV guest would need. */
static int copy_guarded(vm_transfer_fn *transfer, uint64_t to, uint64_t from, uint64_t remote,
                        size_t size)
{
    int ret;

    if (!sev_copy_begin(remote, size))
        return -EFAULT;
    ret = copy_user(transfer, to, from, remote, size);
    sev_copy_end();
    return ret;
}

int copy_from_user(void *to, uint64_t from, size_t size)
{
    return copy_guarded(process_vm_readv, (uintptr_t)to, from, from, size);
}

int copy_to_user(uint64_t to, const void *from, size_t size)
{
    return copy_guarded(process_vm_writev, to, (uintptr_t)from, to, size);
}

/* An atomic OR with 0, done by the kernel: asks for write access and changes nothing. */
static bool probe_write(uint64_t hva)
{
    uint32_t here = 0;

    return syscall(SYS_futex, &here, FUTEX_WAKE_OP_PRIVATE, 0, 0UL, hva,
                   FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0)) >= 0;
}

bool user_page_usable(uint64_t hva, bool write)
{
    int saved = errno;
    bool usable;
    char byte;

    if (!range_within(hva, GUEST_PAGE_SIZE, USER_ADDRESS_END))
        return false;
    usable = !madvise((void *)hva, GUEST_PAGE_SIZE,
                      write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
    /* EINVAL: an older kernel, or memory of a device. */
    if (!usable && errno == EINVAL)
        usable = write ? probe_write(hva) : !copy_from_user(&byte, hva, 1);
    errno = saved;
    return usable;
}
