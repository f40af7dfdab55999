/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libsoftkvm: the KVM ioctl API of Linux in user space.
 *
 * Numbers, structures and errnos are those of <linux/kvm.h>; docs/kvm-api.md
 * says what is there.  It keeps KVM's rules, not secrets: whoever can read the
 * process can read the guest.
 *
 * Every function may be called from any thread.  Results are KVM's return value
 * (0 or more), or a negative errno; errno itself is not touched.
 *
 * Descriptors are real ones of the process: they may be polled, passed over
 * fork() and closed by close() at exit, but while the VM lives they must be
 * closed with softkvm_close(), as only that releases what is behind them.
 */
#ifndef SOFTKVM_H
#define SOFTKVM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SOFTKVM_PUBLIC __attribute__((visibility("default")))

/* What a kernel has as module parameters.  Zero everywhere is the default. */
struct softkvm_options {
    /*
     * False: KVM_SET_MEMORY_ATTRIBUTES on the VM, and a guest_memfd is a second
     * backing.  True: KVM_SET_MEMORY_ATTRIBUTES2 on the guest_memfd, which is
     * then the only backing and is converted in place.
     */
    bool gmem_in_place_conversion;
};

/* What open("/dev/kvm", O_RDWR | O_CLOEXEC) is. options may be NULL.  A descriptor or -errno. */
SOFTKVM_PUBLIC int softkvm_open(const struct softkvm_options *options);

/* ioctl(2) on a descriptor of this library.  -EBADF: it isn't one. */
SOFTKVM_PUBLIC int softkvm_ioctl(int fd, unsigned long request, unsigned long arg);

/* mmap(2), 0 or -errno, the address in *ret: vCPU descriptors and guest_memfds. */
SOFTKVM_PUBLIC int softkvm_mmap(void *addr, size_t length, int prot, int flags, int fd,
                                off_t offset, void **ret);

/* munmap(2) of what softkvm_mmap() returned (or a part of it). */
SOFTKVM_PUBLIC int softkvm_munmap(void *addr, size_t length);

/* close(2). */
SOFTKVM_PUBLIC int softkvm_close(int fd);

#ifdef __cplusplus
}
#endif

#endif
