/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public calls: from a descriptor to the object that answers. */
#include "softkvm.h"

#include "descriptor.h"
#include "gmem_mapping.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

int softkvm_open(const struct softkvm_options *options)
{
    static const struct softkvm_options defaults;

    if (!options)
        options = &defaults;
    /* Attributes are kept in one place only. */
    if (options->gmem_in_place_conversion && options->vm_attributes2)
        return -EINVAL;
    return system_open(options);
}

int softkvm_ioctl(int fd, unsigned long request, unsigned long arg)
{
    struct descriptor *descriptor = descriptor_get(fd);
    const struct descriptor_class *class;
    int saved = errno, ret;

    if (!descriptor)
        return -EBADF;
    class = descriptor_class(descriptor);
    if (descriptor_inherited(descriptor) && !class->survives_fork)
        ret = -EIO;
    else
        ret = class->ioctl ? class->ioctl(descriptor_object(descriptor), request, arg) : -ENOTTY;
    descriptor_put(descriptor);
    errno = saved;
    return ret;
}

int softkvm_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset, void **ret)
{
    struct descriptor *descriptor = descriptor_get(fd);
    const struct descriptor_class *class;
    int saved = errno, error = -ENODEV;

    if (!descriptor)
        return -EBADF;
    class = descriptor_class(descriptor);
    if (class->mmap && descriptor_inherited(descriptor))
        error = -EIO;
    else if (class->mmap)
        error = class->mmap(descriptor_object(descriptor), addr, length, prot, flags, fd, offset,
                            ret);
    descriptor_put(descriptor);
    errno = saved;
    return error;
}

bool softkvm_maps(void)
{
    return gmem_mapping_any();
}

int softkvm_munmap(void *addr, size_t length)
{
    int saved = errno, ret = gmem_mapping_remove(addr, length);

    errno = saved;
    return ret;
}

/* The checks come in the order of the kernel's vfs_fallocate(). */
int softkvm_fallocate(int fd, int mode, off_t offset, off_t length)
{
    struct descriptor *descriptor = descriptor_get(fd);
    const struct descriptor_class *class;
    int saved = errno, ret;

    if (!descriptor)
        return -EBADF;
    class = descriptor_class(descriptor);
    if (offset < 0 || length <= 0)
        ret = -EINVAL;
    else if (mode & FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
        ret = -EOPNOTSUPP;
    else if (!class->fallocate)
        ret = -ENODEV;
    else if (offset > INT64_MAX - length)
        ret = -EFBIG;
    else
        ret = class->fallocate(descriptor_object(descriptor), mode, offset, length,
                               descriptor_inherited(descriptor));
    descriptor_put(descriptor);
    errno = saved;
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
    struct descriptor *descriptor = descriptor_get(fd);
    int saved = errno;
    ssize_t ret;

    if (!descriptor)
        return -EBADF;
    ret = call_pread(descriptor, buffer, size, offset);
    descriptor_put(descriptor);
    errno = saved;
    return ret;
}

ssize_t softkvm_read(int fd, void *buffer, size_t size)
{
    struct descriptor *descriptor = descriptor_get(fd);
    int saved = errno;
    ssize_t ret;

    if (!descriptor)
        return -EBADF;
    ret = call_pread(descriptor, buffer, size, descriptor_position(descriptor));
    if (ret > 0)
        descriptor_advance(descriptor, ret);
    descriptor_put(descriptor);
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
    int saved = errno, ret = descriptor_dup(fd, -1, least, flags);

    errno = saved;
    return ret;
}

int softkvm_dup3(int fd, int newfd, int flags)
{
    int saved = errno, ret;

    if (newfd < 0)
        return -EBADF;
    ret = descriptor_dup(fd, newfd, 0, flags);
    errno = saved;
    return ret;
}

int softkvm_close(int fd)
{
    int saved = errno, ret = descriptor_close(fd);

    errno = saved;
    return ret;
}
