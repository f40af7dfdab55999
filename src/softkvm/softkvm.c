/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public calls: from a descriptor to the object that answers. */
#include "softkvm.h"

#include "cancel.h"
#include "cpu_model.h"
#include "descriptor.h"
#include "gmem_mapping.h"
#include "guest_memfd.h"
#include "sev.h"
#include "sev_platform.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

/*
 * What holds for all public calls: errno stays what it was, and the thread isn't
 * cancelled in the middle.
 */
struct call {
    int errno_before;
    struct cancel_held cancel;
};

static struct call call_begin(void)
{
    return (struct call){ .errno_before = errno, .cancel = cancel_hold() };
}

static void call_end(const struct call *call)
{
    errno = call->errno_before;
    cancel_release(call->cancel);
}

const char *softkvm_cpu_error(const char *cpu)
{
    struct cpu_model model;

    return cpu_model_parse(cpu, &model);
}

int softkvm_open(const struct softkvm_options *options)
{
    static const struct softkvm_options defaults;
    const struct call call = call_begin();
    int ret = system_open(options ? options : &defaults);

    call_end(&call);
    return ret;
}

int softkvm_open_sev(void)
{
    const struct call call = call_begin();
    int ret = sev_device_open();

    call_end(&call);
    return ret;
}

int softkvm_sev_platform(const void *secret, size_t size)
{
    const struct call call = call_begin();
    int ret = sev_platform_derive(secret, size);

    call_end(&call);
    return ret;
}

static void put(void *descriptor)
{
    descriptor_put(descriptor);
}

static int call_ioctl(struct descriptor *descriptor, unsigned long request, unsigned long arg)
{
    const struct descriptor_class *class = descriptor_class(descriptor);
    int ret;

    pthread_cleanup_push(put, descriptor);              /* KVM_RUN can be cancelled */
    if (descriptor_inherited(descriptor) && !class->survives_fork)
        ret = -EIO;
    else
        ret = class->ioctl ? class->ioctl(descriptor_object(descriptor), request, arg) : -ENOTTY;
    pthread_cleanup_pop(1);
    return ret;
}

int softkvm_ioctl(int fd, unsigned long request, unsigned long arg)
{
    const struct call call = call_begin();
    struct descriptor *descriptor = descriptor_get(fd);
    int ret = descriptor ? call_ioctl(descriptor, request, arg) : -EBADF;

    call_end(&call);
    return ret;
}

static int call_mmap(struct descriptor *descriptor, void *addr, size_t length, int prot, int flags,
                     int fd, off_t offset, void **ret)
{
    const struct descriptor_class *class = descriptor_class(descriptor);

    if (!class->mmap)
        return -ENODEV;
    if (descriptor_inherited(descriptor))
        return -EIO;
    return class->mmap(descriptor_object(descriptor), addr, length, prot, flags, fd, offset, ret);
}

int softkvm_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset, void **ret)
{
    const struct call call = call_begin();
    struct descriptor *descriptor = descriptor_get(fd);
    int error = -EBADF;

    if (descriptor) {
        error = call_mmap(descriptor, addr, length, prot, flags, fd, offset, ret);
        descriptor_put(descriptor);
    }
    call_end(&call);
    return error;
}

bool softkvm_maps(void)
{
    return gmem_mapping_any();
}

int softkvm_munmap(void *addr, size_t length)
{
    const struct call call = call_begin();
    int ret = gmem_mapping_remove(addr, length);

    call_end(&call);
    return ret;
}

int softkvm_mremap(void *old, size_t old_length, size_t new_length, int flags, void *new_addr,
                   void **ret)
{
    const struct call call = call_begin();
    int error = gmem_mapping_move(old, old_length, new_length, flags, new_addr, ret);

    call_end(&call);
    return error;
}

int softkvm_mprotect(void *addr, size_t length, int prot)
{
    const struct call call = call_begin();
    int ret = gmem_mapping_protect(addr, length, prot);

    call_end(&call);
    return ret;
}

/* Huge pages can't be had of a guest_memfd: a memfd might make some. */
int softkvm_madvise(void *addr, size_t length, int advice)
{
    enum { COLLAPSE = 25 };     /* MADV_COLLAPSE, of Linux 6.1 */
    const struct call call = call_begin();
    int ret = advice == COLLAPSE && length && gmem_mapping_has(addr, length) ? -EINVAL : 0;

    call_end(&call);
    return ret;
}

/* The checks come in the order of the kernel's vfs_fallocate(). */
static int call_fallocate(struct descriptor *descriptor, int mode, off_t offset, off_t length)
{
    const struct descriptor_class *class = descriptor_class(descriptor);

    if (offset < 0 || length <= 0)
        return -EINVAL;
    if (mode & FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (!class->fallocate)
        return -ENODEV;
    if (offset > INT64_MAX - length)
        return -EFBIG;
    return class->fallocate(descriptor_object(descriptor), mode, offset, length,
                            descriptor_inherited(descriptor));
}

int softkvm_fallocate(int fd, int mode, off_t offset, off_t length)
{
    const struct call call = call_begin();
    struct descriptor *descriptor = descriptor_get(fd);
    int ret = -EBADF;

    if (descriptor) {
        ret = call_fallocate(descriptor, mode, offset, length);
        descriptor_put(descriptor);
    }
    call_end(&call);
    return ret;
}

static ssize_t call_pread(struct descriptor *descriptor, void *buffer, size_t size, off_t offset)
{
    const struct descriptor_class *class = descriptor_class(descriptor);

    if (!class->pread || offset < 0)
        return -EINVAL;
    if (descriptor_inherited(descriptor))
        return -EIO;
    return class->pread(descriptor_object(descriptor), buffer, size, offset);
}

ssize_t softkvm_pread(int fd, void *buffer, size_t size, off_t offset)
{
    const struct call call = call_begin();
    struct descriptor *descriptor = descriptor_get(fd);
    ssize_t ret = -EBADF;

    if (descriptor) {
        const struct descriptor_class *class = descriptor_class(descriptor);

        ret = offset < 0 || class->pread || class->by_path
                  ? call_pread(descriptor, buffer, size, offset)
                  : -ESPIPE;
        descriptor_put(descriptor);
    }
    call_end(&call);
    return ret;
}

ssize_t softkvm_read(int fd, void *buffer, size_t size)
{
    const struct call call = call_begin();
    struct descriptor *descriptor = descriptor_get(fd);
    ssize_t ret = -EBADF;

    if (descriptor) {
        ret = call_pread(descriptor, buffer, size, descriptor_position(descriptor));
        if (ret > 0)
            descriptor_advance(descriptor, ret);
        descriptor_put(descriptor);
    }
    call_end(&call);
    return ret;
}

static int call_private_run(struct descriptor *descriptor, uint64_t at, bool *ret_private,
                            uint64_t *ret_end)
{
    const struct descriptor_class *class = descriptor_class(descriptor);

    if (!class->private_run)
        return -EINVAL;
    if (descriptor_inherited(descriptor))
        return -EIO;
    return class->private_run(descriptor_object(descriptor), at, ret_private, ret_end);
}

int softkvm_private_run(int fd, uint64_t at, bool *ret_private, uint64_t *ret_end)
{
    const struct call call = call_begin();
    struct descriptor *descriptor = descriptor_get(fd);
    int ret = -EBADF;

    if (descriptor) {
        ret = call_private_run(descriptor, at, ret_private, ret_end);
        descriptor_put(descriptor);
    }
    call_end(&call);
    return ret;
}

/* The file behind it, of this process; *holder to be put. */
static int find_gmem(int fd, struct descriptor **holder, struct guest_memfd **ret)
{
    int error = guest_memfd_find(fd, holder, ret);

    if (!error && descriptor_inherited(*holder)) {
        descriptor_put(*holder);
        error = -EIO;
    }
    return error;
}

int softkvm_pin(int fd, off_t offset, off_t size, unsigned tries)
{
    struct descriptor *holder;
    struct guest_memfd *gmem;
    int saved = errno, ret = find_gmem(fd, &holder, &gmem);

    if (!ret) {
        ret = guest_memfd_pin(gmem, offset, size, tries);
        descriptor_put(holder);
    }
    errno = saved;
    return ret;
}

int softkvm_unpin(int fd, off_t offset, off_t size)
{
    struct descriptor *holder;
    struct guest_memfd *gmem;
    int saved = errno, ret = find_gmem(fd, &holder, &gmem);

    if (!ret) {
        ret = guest_memfd_unpin(gmem, offset, size);
        descriptor_put(holder);
    }
    errno = saved;
    return ret;
}

bool softkvm_owns(int fd)
{
    return descriptor_owned(fd);
}

const char *softkvm_kind(int fd)
{
    struct descriptor *descriptor = descriptor_get(fd);
    const char *name = NULL;

    if (descriptor) {
        name = descriptor_class(descriptor)->name;
        descriptor_put(descriptor);
    }
    return name;
}

int softkvm_dup(int fd, int least, int flags)
{
    const struct call call = call_begin();
    int ret = descriptor_dup(fd, -1, least, flags);

    call_end(&call);
    return ret;
}

int softkvm_dup3(int fd, int newfd, int flags)
{
    const struct call call = call_begin();
    int ret = newfd < 0 ? -EBADF : descriptor_dup(fd, newfd, 0, flags);

    call_end(&call);
    return ret;
}

int softkvm_close(int fd)
{
    const struct call call = call_begin();
    int ret = descriptor_close(fd);

    call_end(&call);
    return ret;
}
