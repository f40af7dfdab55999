/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one seam: everything that the VMM asks of KVM goes through these calls,
 * with the KVM uAPI's numbers and structures.  What a KVM can't do,
 * KVM_CHECK_EXTENSION says; nothing above asks which driver it has.
 */
#ifndef KVM_DRIVER_H
#define KVM_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * All return KVM's result (0 or more) or -errno.  munmap is here because a KVM
 * in this process has to know which mappings of a guest_memfd still exist.
 */
struct kvm_driver {
    const char *name;           /* as -accel spells it: "kvm", "soft" */
    const char *description;    /* for the line at start, and `info kvm` */
    int (*open)(void);
    int (*ioctl)(int fd, unsigned long request, unsigned long arg);
    int (*mmap)(size_t length, int prot, int flags, int fd, off_t offset, void **ret);
    int (*munmap)(void *addr, size_t length);
    int (*close)(int fd);
    /*
     * The secret that SEV's platform derives its keys from, before it is used (-EBUSY: it
     * was).  NULL: it has keys of its own.
     */
    int (*sev_platform)(const void *secret, size_t size);
    /* SEV's platform device, for KVM_MEMORY_ENCRYPT_OP.  NULL: there is no such thing. */
    int (*open_sev)(const char *path);
    /*
     * For tests, NULL where there is no such thing: let calls of the KVM fail
     * ("fail") or pages of guest_memfds be busy ("pin") from now on.  -EINVAL.
     */
    int (*inject)(const char *what, const char *rule);
    /*
     * For tests, likewise: is a page private (of a VM by GPA, or of a guest_memfd by
     * offset), and where does that run of pages end?  No KVM's user API tells.
     */
    int (*private_run)(int fd, uint64_t at, bool *ret_private, uint64_t *ret_end);
};

/* The system's /dev/kvm. */
extern const struct kvm_driver kvm_driver_kernel;
/* libsoftkvm with attributes per VM, these by version 2, and with in-place conversion. */
extern const struct kvm_driver kvm_driver_soft;
extern const struct kvm_driver kvm_driver_soft_vm2;
extern const struct kvm_driver kvm_driver_soft_in_place;
/* With SEV, for guests of that kind alone: it makes the processor one of AMD's. */
extern const struct kvm_driver kvm_driver_soft_sev;

#endif
