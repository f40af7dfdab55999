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
 * Descriptors are real ones of the process: they may be polled and closed by
 * close() at exit, but while the VM lives they must be duplicated and closed by
 * the functions below, as only those know what is behind them.  In a child of
 * fork() they fail with EIO, as KVM's do, except for the one of softkvm_open();
 * KVM's guest_memfd can be mapped in a child, this one can't; mappings that it
 * inherited are treated as its parent's, by a thread that the child then has.
 */
#ifndef SOFTKVM_H
#define SOFTKVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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
    /*
     * True: as the default, and KVM_SET_MEMORY_ATTRIBUTES2 is an ioctl of the VM
     * that does the same, as in the drafts of spring 2026 (v3 and v4 of the
     * series).  Not together with gmem_in_place_conversion: EINVAL.
     */
    bool vm_attributes2;
    /* True: a guest_memfd can't be mapped and KVM knows no flags of it, as Linux 6.8 to 6.17. */
    bool gmem_without_flags;
    /*
     * What KVM_GET_SUPPORTED_CPUID announces: "MODEL[,vendor=intel|amd][,+FEATURE]
     * [,-FEATURE]", as softkvm(1) says; NULL: "max".  -EINVAL: see softkvm_cpu_error().
     */
    const char *cpu;
    /*
     * True: AMD's SEV, by a firmware in software.  There is VM type 2, CPUID
     * announces AMD's processor with it, and softkvm_open_sev() is /dev/sev.
     */
    bool sev;
};

/* What is wrong with softkvm_options.cpu, for a person; NULL: nothing. */
SOFTKVM_PUBLIC const char *softkvm_cpu_error(const char *cpu);

/* What open("/dev/kvm", O_RDWR | O_CLOEXEC) is. options may be NULL.  A descriptor or -errno. */
SOFTKVM_PUBLIC int softkvm_open(const struct softkvm_options *options);

/* What open("/dev/sev", O_RDWR | O_CLOEXEC) is, for SEV_ISSUE_CMD and KVM_SEV_LAUNCH_START. */
SOFTKVM_PUBLIC int softkvm_open_sev(void);

/*
 * softkvm_sev_platform - SEV's platform is one machine, whose keys stay: they are derived from
 * these bytes, 32 or more, which whoever has them can do too.  Without, each process makes
 * its own.  So an owner can make a session for a guest that starts later.  -EINVAL; -EBUSY:
 * there are keys already, as somebody has used them.
 */
SOFTKVM_PUBLIC int softkvm_sev_platform(const void *secret, size_t size);

/* ioctl(2) on a descriptor of this library.  -EBADF: it isn't one. */
SOFTKVM_PUBLIC int softkvm_ioctl(int fd, unsigned long request, unsigned long arg);

/* mmap(2), 0 or -errno, the address in *ret: vCPU descriptors and guest_memfds. */
SOFTKVM_PUBLIC int softkvm_mmap(void *addr, size_t length, int prot, int flags, int fd,
                                off_t offset, void **ret);

/* May there be mappings of softkvm_mmap() in the process that softkvm_munmap() must know of? */
SOFTKVM_PUBLIC bool softkvm_maps(void);

/* munmap(2) of what softkvm_mmap() returned (or a part of it). */
SOFTKVM_PUBLIC int softkvm_munmap(void *addr, size_t length);

/* mremap(2), the address in *ret, and mprotect(2), of any memory, where softkvm_maps(). */
SOFTKVM_PUBLIC int softkvm_mremap(void *old, size_t old_length, size_t new_length, int flags,
                                  void *new_addr, void **ret);
SOFTKVM_PUBLIC int softkvm_mprotect(void *addr, size_t length, int prot);
/* What of madvise(2) a guest_memfd refuses: -EINVAL; 0: it is for the kernel to do. */
SOFTKVM_PUBLIC int softkvm_madvise(void *addr, size_t length, int advice);

/* fallocate(2) of a guest_memfd, punching holes included. */
SOFTKVM_PUBLIC int softkvm_fallocate(int fd, int mode, off_t offset, off_t length);

/* read(2) and pread(2): statistics; all other descriptors give -EINVAL. */
SOFTKVM_PUBLIC ssize_t softkvm_read(int fd, void *buffer, size_t size);
SOFTKVM_PUBLIC ssize_t softkvm_pread(int fd, void *buffer, size_t size, off_t offset);

/*
 * fcntl(F_DUPFD) from `least` on, and dup3(2); flags is O_CLOEXEC or 0.  A
 * descriptor of this library that newfd was is closed.
 */
SOFTKVM_PUBLIC int softkvm_dup(int fd, int least, int flags);
SOFTKVM_PUBLIC int softkvm_dup3(int fd, int newfd, int flags);

/* Is fd one of this library? Without locks: for signal handlers and at every turn. */
SOFTKVM_PUBLIC bool softkvm_owns(int fd);

/* "system", "vm", "vcpu", "guest_memfd", "stats", "sev"; NULL: not one of this library. */
SOFTKVM_PUBLIC const char *softkvm_kind(int fd);

/*
 * For tests of what a client does when KVM fails.  All of them are the process's,
 * and may be used at any time.
 *
 * softkvm_pin - as if somebody had references to these pages of a guest_memfd.
 * KVM_SET_MEMORY_ATTRIBUTES2 on it that would make one of them private fails with
 * EAGAIN, error_offset being the first such page, and nothing is converted.
 * tries: so many times, then the pin is gone; 0: until softkvm_unpin() of the same
 * range.  -EBADF, -EINVAL, -ENOMEM; -ENOENT: it isn't pinned.
 */
SOFTKVM_PUBLIC int softkvm_pin(int guest_memfd, off_t offset, off_t size, unsigned tries);
SOFTKVM_PUBLIC int softkvm_unpin(int guest_memfd, off_t offset, off_t size);

/*
 * softkvm_pin_new - so that every guest_memfd made from now on has pages pinned.
 * "OFFSET[+SIZE][:TRIES]", in bytes, one page if there is no SIZE; NULL: no longer.
 * Files that are too small have none.  -EINVAL.
 */
SOFTKVM_PUBLIC int softkvm_pin_new(const char *text);

/*
 * softkvm_fail - let calls fail: "WHAT:FIRST[-[LAST]][:ERRNO]", counted from 1 and
 * from now on.  WHAT is an ioctl ("KVM_RUN"), which does nothing then, or
 *   attributes   memory for the record of a change of memory attributes
 *   page         a guest_memfd's page that the guest touches first, or fallocate()
 *   slot         memory for a new memory slot
 *   mapping      each piece of a caller's mapping that a conversion has to change
 * ERRNO is a name or number, ENOMEM if not given.  Several rules may be there;
 * NULL: none.  -EINVAL: not understood; -ENOSPC: too many.
 */
SOFTKVM_PUBLIC int softkvm_fail(const char *text);

/*
 * softkvm_private_run - what no KVM tells: is the page at `at` private, and where
 * does the run of such pages end?  For tests that hold a client's record against it.
 * On a VM's descriptor addresses are the guest's; with in-place conversion ask
 * the guest_memfd, by offset.  -EBADF; -EINVAL: this descriptor doesn't have that.
 */
SOFTKVM_PUBLIC int softkvm_private_run(int fd, uint64_t at, bool *ret_private, uint64_t *ret_end);

/* close(2). */
SOFTKVM_PUBLIC int softkvm_close(int fd);

#ifdef __cplusplus
}
#endif

#endif
