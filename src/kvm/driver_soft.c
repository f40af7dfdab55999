/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver that passes everything to libsoftkvm.  Rows, because a kernel
 * has the choice between them as a module parameter, and a VM can't change it.
 */
#include "driver.h"

#include "softkvm.h"

#include <errno.h>
#include <string.h>

static int soft_open(void)
{
    return softkvm_open(NULL);
}

static int soft_open_vm2(void)
{
    static const struct softkvm_options options = { .vm_attributes2 = true };

    return softkvm_open(&options);
}

static int soft_open_in_place(void)
{
    static const struct softkvm_options options = { .gmem_in_place_conversion = true };

    return softkvm_open(&options);
}

static int soft_open_with_sev(void)
{
    static const struct softkvm_options options = { .sev = true };

    return softkvm_open(&options);
}

/* The path is the system's: here there is one device, wherever somebody looks for it. */
static int soft_open_sev(const char *path)
{
    return softkvm_open_sev();
}

static int soft_mmap(size_t length, int prot, int flags, int fd, off_t offset, void **ret)
{
    return softkvm_mmap(NULL, length, prot, flags, fd, offset, ret);
}

static int soft_inject(const char *what, const char *rule)
{
    if (!strcmp(what, "fail"))
        return softkvm_fail(rule);
    return strcmp(what, "pin") ? -EINVAL : softkvm_pin_new(rule);
}

#define SOFT_DRIVER(open_, description_)        \
    {                                           \
        .name = "soft",                         \
        .description = "softkvm, " description_, \
        .open = open_,                          \
        .ioctl = softkvm_ioctl,                 \
        .mmap = soft_mmap,                      \
        .munmap = softkvm_munmap,               \
        .close = softkvm_close,                 \
        .open_sev = soft_open_sev,              \
        .sev_platform = softkvm_sev_platform,   \
        .inject = soft_inject,                  \
        .private_run = softkvm_private_run,     \
    }

const struct kvm_driver kvm_driver_soft = SOFT_DRIVER(soft_open, "attributes per VM");
const struct kvm_driver kvm_driver_soft_vm2 =
    SOFT_DRIVER(soft_open_vm2, "attributes per VM by version 2");
const struct kvm_driver kvm_driver_soft_in_place =
    SOFT_DRIVER(soft_open_in_place, "in-place conversion");
const struct kvm_driver kvm_driver_soft_sev = SOFT_DRIVER(soft_open_with_sev, "SEV");
