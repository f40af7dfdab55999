/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public calls: from a descriptor to the object that answers. */
#include "softkvm.h"

#include "descriptor.h"
#include "gmem_mapping.h"
#include "system.h"

#include <errno.h>

int softkvm_open(const struct softkvm_options *options)
{
    static const struct softkvm_options defaults;

    return system_open(options ? options : &defaults);
}

int softkvm_ioctl(int fd, unsigned long request, unsigned long arg)
{
    struct descriptor *descriptor = descriptor_get(fd);
    int saved = errno, ret;

    if (!descriptor)
        return -EBADF;
    ret = descriptor_class(descriptor)->ioctl(descriptor_object(descriptor), request, arg);
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
    if (class->mmap)
        error = class->mmap(descriptor_object(descriptor), addr, length, prot, flags, fd, offset,
                            ret);
    descriptor_put(descriptor);
    errno = saved;
    return error;
}

int softkvm_munmap(void *addr, size_t length)
{
    int saved = errno, ret = gmem_mapping_remove(addr, length);

    errno = saved;
    return ret;
}

int softkvm_close(int fd)
{
    int saved = errno, ret = descriptor_close(fd);

    errno = saved;
    return ret;
}
