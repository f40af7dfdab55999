/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver that passes everything to libsoftkvm.  Two rows, because a kernel
 * has the choice between them as a module parameter, and a VM can't change it.
 */
#include "driver.h"

#include "softkvm.h"

static int soft_open(void)
{
    return softkvm_open(NULL);
}

static int soft_open_in_place(void)
{
    static const struct softkvm_options options = { .gmem_in_place_conversion = true };

    return softkvm_open(&options);
}

static int soft_mmap(size_t length, int prot, int flags, int fd, off_t offset, void **ret)
{
    return softkvm_mmap(NULL, length, prot, flags, fd, offset, ret);
}

const struct kvm_driver kvm_driver_soft = {
    .name = "soft",
    .description = "softkvm, attributes per VM",
    .open = soft_open,
    .ioctl = softkvm_ioctl,
    .mmap = soft_mmap,
    .munmap = softkvm_munmap,
    .close = softkvm_close,
};

const struct kvm_driver kvm_driver_soft_in_place = {
    .name = "soft",
    .description = "softkvm, in-place conversion",
    .open = soft_open_in_place,
    .ioctl = softkvm_ioctl,
    .mmap = soft_mmap,
    .munmap = softkvm_munmap,
    .close = softkvm_close,
};
