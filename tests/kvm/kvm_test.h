/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frame of the KVM-API tests.  A program is a table of cases that speak KVM's
 * ioctls through four calls; which KVM answers is an option:
 *
 *   --softkvm (default)   libsoftkvm, attributes per VM
 *   --vm2                 libsoftkvm, attributes per VM by version 2 of the ioctl
 *   --in-place            libsoftkvm, attributes per guest_memfd
 *   --kernel              /dev/kvm
 *
 * A case that lacks something skips; a program of which all cases skipped, or
 * without its KVM, exits 77.
 */
#ifndef KVM_TEST_H
#define KVM_TEST_H

#include "kvm_uapi.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct test_case {
    const char *name;
    void (*run)(void);
};

int test_main(int argc, char **argv, const struct test_case *cases, size_t count);
#define TEST_MAIN(cases_)                                                               \
    int main(int argc, char **argv)                                                     \
    {                                                                                   \
        return test_main(argc, argv, cases_, sizeof(cases_) / sizeof((cases_)[0]));     \
    }

/* End the case: it fails (or is skipped) with a line that says why. */
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition_)                                                               \
    ((condition_) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #condition_))
#define CHECK_EQ(value_, expected_)                                                     \
    do {                                                                                \
        long long v_ = (long long)(value_), e_ = (long long)(expected_);                \
        if (v_ != e_)                                                                   \
            test_fail(__FILE__, __LINE__, "%s is %lld (0x%llx), expected %s = %lld (0x%llx)", \
                      #value_, v_, (unsigned long long)v_, #expected_, e_,              \
                      (unsigned long long)e_);                                          \
    } while (0)

/* Which KVM this is. */
bool test_is_softkvm(void);
/* The kernel's, with shadow page tables and the guest's kernel in user mode: not all works. */
bool test_is_pvm(void);

/* KVMs that are opened from now on have SEV, if they are softkvm's. */
void test_with_sev(bool sev);
/* /dev/sev; skips the case where there is none. */
int sev_open(void);

/* The four calls: KVM's result or -errno. Descriptors are closed at the case's end if need be. */
int kvm_open(void);
int kvm_ioctl(int fd, unsigned long request, unsigned long arg);
#define IOCTL(fd_, request_, arg_) kvm_ioctl(fd_, request_, (unsigned long)(arg_))
int kvm_map(size_t length, int flags, int fd, off_t offset, void **ret);
int kvm_unmap(void *addr, size_t length);
int kvm_close(int fd);

/* A system descriptor for the case. */
int kvm_fd(void);
int check_extension(int fd, unsigned cap);
/* Skips the case without it. */
void need_extension(int fd, unsigned cap, const char *name);
#define NEED(fd_, cap_) need_extension(fd_, cap_, #cap_)
/* A VM of the type; skips the case where there is none. */
int create_vm(unsigned long type);
/* Zeroed anonymous memory for the case. */
void *host_memory(size_t size);

int set_region(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
               const void *hva);
int set_region2(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
                const void *hva, int gmem, uint64_t gmem_offset);
int create_gmem(int vm, uint64_t size, uint64_t flags);
int set_attributes(int vm, uint64_t gpa, uint64_t size, uint64_t attributes);
/* Of the guest_memfd, or in the draft regime of the VM. */
int set_attributes2(int fd, uint64_t offset, uint64_t size, uint64_t attributes,
                    uint64_t *error_offset);

/* With room for one entry more than KVM takes. */
union cpuid_table {
    struct kvm_cpuid2 head;
    uint8_t space[sizeof(struct kvm_cpuid2) + 257 * sizeof(struct kvm_cpuid_entry2)];
};

/* Gives a vCPU all of KVM_GET_SUPPORTED_CPUID. */
void set_supported_cpuid(int vcpu);

/* A VM with one vCPU and size bytes of RAM at 0, which code is in. */
struct machine {
    int vm, vcpu;
    uint8_t *ram;
    size_t ram_size;
    struct kvm_run *run;
};

enum { CODE_AT = 0x1000 };

/* Bytes of code and how many, as the functions below take them. */
#define CODE(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

void machine_init(struct machine *m, unsigned long vm_type, size_t ram_size);
/* Adds a vCPU with its CPUID to a VM. */
void machine_add_vcpu(struct machine *m);
/* code at CODE_AT in RAM, and the vCPU at it: real mode, or 64-bit with 1 GiB mapped 1:1. */
void machine_real_mode(struct machine *m, const void *code, size_t size);
void machine_long_mode(struct machine *m, const void *code, size_t size);
/*
 * The last byte of 0f 01 xx, the hypercall of the machine's processor (VMMCALL on AMD's,
 * else VMCALL), or the other one.  On the kernel's KVM a guest had better use its own.
 */
uint8_t hypercall_modrm(bool native);
struct kvm_regs machine_regs(const struct machine *m);
void machine_set_regs(const struct machine *m, const struct kvm_regs *regs);
int machine_run(const struct machine *m);
/* Run, and check the exit. */
void machine_run_to(const struct machine *m, uint32_t exit_reason);

/* For a case that waits for a guest that another thread runs: past its time it fails. */
void machine_give_up_if_late(const struct machine *m, pthread_t runner);

#endif
