/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A program that knows nothing of softkvm: each case uses /dev/kvm by the calls
 * of libc and says on standard error what is not as in Linux.
 */
#include "kvm_uapi.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition_)                                                              \
    do {                                                                               \
        if (!(condition_)) {                                                           \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition_, errno); \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

#define FAILS(error_, call_) (errno = 0, (call_) == -1 && errno == (error_))

static int open_kvm(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    CHECK(fd >= 0);
    return fd;
}

static int create_vm(int kvm, unsigned long type)
{
    int vm = ioctl(kvm, KVM_CREATE_VM, type);

    CHECK(vm >= 0);
    return vm;
}

static void device(void)
{
    struct stat st;
    int fd = open_kvm(), second;

    CHECK(ioctl(fd, KVM_GET_API_VERSION, 0) == 12);
    CHECK(ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1);
    CHECK(ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES) & 1 << KVM_X86_SW_PROTECTED_VM);
    CHECK(access("/dev/kvm", R_OK | W_OK) == 0 && access("/dev/kvm", F_OK) == 0);
    CHECK(faccessat(AT_FDCWD, "/dev/kvm", R_OK, 0) == 0);
    CHECK(stat("/dev/kvm", &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 232));
    CHECK(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 232));
    CHECK(fstatat(fd, "", &st, AT_EMPTY_PATH) == 0 && S_ISCHR(st.st_mode));
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    second = openat(AT_FDCWD, "/dev/kvm", O_RDONLY);
    CHECK(second >= 0 && second != fd && fcntl(second, F_GETFD) == 0);
    CHECK(close(create_vm(second, 0)) == 0);
    CHECK(close(second) == 0 && FAILS(EBADF, ioctl(second, KVM_GET_API_VERSION, 0)));
    CHECK(FAILS(ENOTDIR, open("/dev/kvm", O_RDONLY | O_DIRECTORY)));
    CHECK(close(fd) == 0);
}

static void descriptors(void)
{
    int fd = open_kvm(), copy = dup(fd), vm, other;
    char byte;

    CHECK(copy >= 0 && copy != fd && fcntl(copy, F_GETFD) == 0);
    CHECK(close(fd) == 0);
    CHECK(ioctl(copy, KVM_GET_API_VERSION, 0) == 12);
    CHECK(fcntl(copy, F_DUPFD_CLOEXEC, 100) == 100 && fcntl(100, F_GETFD) == FD_CLOEXEC);
    vm = create_vm(copy, 0);
    CHECK(dup2(vm, 100) == 100 && ioctl(100, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1);
    CHECK(FAILS(ENOTTY, ioctl(100, KVM_GET_API_VERSION, 0)));
    CHECK(dup3(copy, 101, O_CLOEXEC) == 101 && ioctl(101, KVM_GET_API_VERSION, 0) == 12);
    CHECK(dup2(vm, vm) == vm);
    /* A file of the system takes over the number, and the other way round. */
    other = open("/dev/null", O_RDWR);
    CHECK(dup2(other, 101) == 101 && write(101, "x", 1) == 1);
    CHECK(dup2(copy, 101) == 101 && ioctl(101, KVM_GET_API_VERSION, 0) == 12);
    CHECK(FAILS(EINVAL, read(vm, &byte, 1)) && FAILS(EINVAL, write(vm, "x", 1)));
    CHECK(FAILS(EINVAL, pread(copy, &byte, 1, 0)) && FAILS(EINVAL, ftruncate(vm, 0)));
    CHECK(FAILS(EBADF, dup2(1000, 101)) && ioctl(101, KVM_GET_API_VERSION, 0) == 12);
    CHECK(close_range(101, 101, 0) == 0 && FAILS(EBADF, ioctl(101, KVM_GET_API_VERSION, 0)));
    CHECK(open("/dev/null", O_RDWR) < 100 && close(100) == 0 && close(vm) == 0);
    CHECK(FAILS(EBADF, close(vm)));
}

static int create_guest_memfd(int vm, uint64_t size, uint64_t flags)
{
    struct kvm_create_guest_memfd create = { .size = size, .flags = flags };
    int fd = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &create);

    CHECK(fd >= 0);
    return fd;
}

/* Nothing gets in or out of a file of KVM's by another door. */
static void transfers(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, KVM_X86_DEFAULT_VM), pipes[2];
    int gmem = create_guest_memfd(vm, 0x4000, 0), file = memfd_create("file", 0);
    int fds[] = { kvm, vm, gmem };
    struct iovec iov = { "x", 1 };

    CHECK(pipe(pipes) == 0 && write(file, "text", 4) == 4 && write(pipes[1], "text", 4) == 4);
    CHECK(lseek(kvm, 5, SEEK_SET) == 0 && lseek(vm, 0, SEEK_END) == 0);
    CHECK(FAILS(ESPIPE, lseek(gmem, 0, SEEK_DATA)) && FAILS(ESPIPE, lseek(gmem, 0, SEEK_SET)));
    for (int i = 0; i < 3; i++) {
        off_t at = 0;
        int error = fds[i] == kvm ? EINVAL : ESPIPE;

        CHECK(FAILS(EINVAL, splice(fds[i], NULL, pipes[1], NULL, 1, 0)));
        CHECK(FAILS(EINVAL, splice(pipes[0], NULL, fds[i], NULL, 1, 0)));
        CHECK(FAILS(EINVAL, tee(pipes[0], fds[i], 1, 0)));
        CHECK(FAILS(EBADF, vmsplice(fds[i], &iov, 1, 0)));
        CHECK(FAILS(EINVAL, sendfile(fds[i], file, &at, 1)));
        CHECK(FAILS(EINVAL, sendfile(pipes[1], fds[i], NULL, 1)));
        CHECK(FAILS(error, sendfile(pipes[1], fds[i], &at, 1)));
        CHECK(FAILS(fds[i] == gmem ? EXDEV : EINVAL,
                    copy_file_range(file, NULL, fds[i], NULL, 1, 0)));
        CHECK(FAILS(fds[i] == gmem ? EXDEV : EINVAL,
                    copy_file_range(fds[i], NULL, file, NULL, 1, 0)));
        CHECK(FAILS(EINVAL, fsync(fds[i])) && FAILS(EINVAL, fcntl(fds[i], F_GET_SEALS)));
    }
    /* Others as ever. */
    CHECK(lseek(file, 1, SEEK_SET) == 1 && sendfile(pipes[1], file, NULL, 2) == 2);
    CHECK(splice(pipes[0], NULL, file, NULL, 6, 0) == 6 && fsync(file) == 0);
}

static void convert(int fd, uint64_t offset, uint64_t size, uint64_t attributes)
{
    struct kvm_memory_attributes2 attrs = { .offset = offset, .size = size,
                                            .attributes = attributes };

    CHECK(ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs) == 0);
}

/* The byte at the address; -1: the kernel can't read it. */
static int byte_at(const char *at)
{
    unsigned char byte;
    int pipes[2], ret;

    CHECK(pipe(pipes) == 0);
    ret = write(pipes[1], at, 1) == 1 && read(pipes[0], &byte, 1) == 1 ? byte : -1;
    close(pipes[0]);
    close(pipes[1]);
    return ret;
}

enum { PRIVATE = KVM_MEMORY_ATTRIBUTE_PRIVATE, PAGES = 8, MOVE_TO = MREMAP_MAYMOVE | MREMAP_FIXED };

static void *anonymous(void *at, size_t size)
{
    void *map = mmap(at, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);

    CHECK(map != MAP_FAILED);
    return map;
}

/* Private pages stay private wherever the mapping goes, and conversions follow it. */
static void remap(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, KVM_X86_SW_PROTECTED_VM);
    int fd = create_guest_memfd(vm, PAGES << 12,
                                GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    char *map = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *copy;
    char *room = anonymous(NULL, 0x40000), *old;

    CHECK(map != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        map[i << 12] = i + 1;
    convert(fd, 0x1000, 0x1000, PRIVATE);
    CHECK(FAILS(EINVAL, (long)mremap(map, 0x4000, 0x4000, MOVE_TO, map + 0x2000)));
    CHECK(FAILS(EINVAL, (long)mremap(map + 1, 0x1000, 0x1000, MREMAP_MAYMOVE)));
    CHECK(FAILS(EINVAL, (long)mremap(map, 0x4000, 0x4000, MREMAP_FIXED, room)));
    CHECK(FAILS(EINVAL, (long)mremap(map, 0x4000, 0, MREMAP_MAYMOVE)));
    CHECK(FAILS(EFAULT, (long)mremap(map, 0x5000, 0x6000, MREMAP_MAYMOVE)));
    CHECK(mremap(map, 0x4000, 0x4000, MOVE_TO, room) == room);
    CHECK(byte_at(room) == 1 && byte_at(room + 0x1000) == -1 && byte_at(room + 0x3000) == 4);
    CHECK(mremap(room, 0x4000, 0x6000, MOVE_TO, room + 0x10000) == room + 0x10000);
    old = room;
    map = room + 0x10000;
    CHECK(byte_at(old) == -1 && byte_at(map + 0x1000) == -1 && byte_at(map + 0x5000) == 0);
    /* What comes to the old place is nobody else's business. */
    anonymous(old, 0x4000);
    memset(old, 0x55, 0x4000);
    convert(fd, 0, 0x5000, PRIVATE);
    CHECK(old[0] == 0x55 && byte_at(map) == -1 && byte_at(map + 0x4000) == -1);
    convert(fd, 0, 0x5000, 0);
    CHECK(old[0x1000] == 0x55 && byte_at(map) >= 0 && byte_at(map + 0x4000) >= 0);
    map[0] = 7;
    map[0x1000] = 8;
    CHECK(mremap(map, 0x6000, 0x2000, 0) == map && byte_at(map + 0x2000) == -1);
    anonymous(map + 0x2000, 0x1000);
    CHECK(FAILS(ENOMEM, (long)mremap(map, 0x2000, 0x3000, 0)));
    CHECK(munmap(map + 0x2000, 0x1000) == 0 && mremap(map, 0x2000, 0x3000, 0) == map);
    CHECK(byte_at(map + 0x2000) >= 0);
    copy = mremap(map, 0, 0x2000, MREMAP_MAYMOVE);
    CHECK(copy != MAP_FAILED && copy != map && copy[0x1000] == 8 && map[0x1000] == 8);
    convert(fd, 0x1000, 0x1000, PRIVATE);
    CHECK(byte_at(copy) == 7 && byte_at(copy + 0x1000) == -1 && byte_at(map + 0x1000) == -1);
    CHECK(mremap(copy, 0x1000, 0x1000, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) != MAP_FAILED);
    CHECK(byte_at(copy) == 7 && FAILS(EINVAL, madvise(map, 0x1000, 25 /* MADV_COLLAPSE */)));
    /* Over one of the library's: that is gone. */
    CHECK(mremap(old, 0x1000, 0x1000, MOVE_TO, map) == map && map[0] == 0x55);
    convert(fd, 0, 0x1000, PRIVATE);
    CHECK(map[0] == 0x55 && byte_at(copy) == -1);
}

/* A protection survives conversions. */
static void protect(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, KVM_X86_SW_PROTECTED_VM), pipes[2];
    int fd = create_guest_memfd(vm, PAGES << 12,
                                GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    char *map = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(map != MAP_FAILED && pipe(pipes) == 0 && write(pipes[1], "xyz", 3) == 3);
    CHECK(FAILS(EACCES, mprotect(map, 0x1000, PROT_READ | PROT_EXEC)));
    CHECK(FAILS(EPERM, (long)mmap(NULL, 0x1000, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0)));
    CHECK(mprotect(map + 0x1000, 0x1000, PROT_READ) == 0);
    convert(fd, 0, 0x4000, PRIVATE);
    convert(fd, 0, 0x4000, 0);
    CHECK(FAILS(EFAULT, read(pipes[0], map + 0x1000, 1)));
    CHECK(read(pipes[0], map, 1) == 1 && read(pipes[0], map + 0x2000, 1) == 1);
    CHECK(mprotect(map, 0x4000, PROT_READ | PROT_WRITE) == 0);
    CHECK(read(pipes[0], map + 0x1000, 1) == 1);
    /* One again. */
    CHECK(mremap(map, 0x4000, 0x5000, MREMAP_MAYMOVE) != MAP_FAILED);
}

enum { KEEP = FALLOC_FL_KEEP_SIZE, PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE };

static void guest_memfd(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, KVM_X86_DEFAULT_VM);
    int fd = create_guest_memfd(vm, 0x4000, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    struct stat st;
    char *map, byte = 0;
    struct iovec iov = { &byte, 1 };

    CHECK(fstat(fd, &st) == 0 && st.st_size == 0x4000 && st.st_blksize == 4096);
    CHECK(FAILS(EINVAL, read(fd, &byte, 1)) && FAILS(EINVAL, write(fd, "x", 1)));
    CHECK(FAILS(EINVAL, readv(fd, &iov, 1)) && FAILS(EINVAL, writev(fd, &iov, 1)));
    CHECK(FAILS(ESPIPE, preadv(fd, &iov, 1, 0)) && FAILS(ESPIPE, pwritev(fd, &iov, 1, 0)));
    CHECK(FAILS(ESPIPE, pread(fd, &byte, 1, 0)) && FAILS(ESPIPE, pwrite(fd, "x", 1, 0)));
    CHECK(FAILS(EINVAL, preadv2(fd, &iov, 1, -1, 0)) && FAILS(EINVAL, ftruncate(fd, 0x1000)));
    CHECK(FAILS(EINVAL, (long)mmap(NULL, 0x4000, PROT_READ, MAP_PRIVATE, fd, 0)));
    map = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    memset(map, 0xaa, 0x4000);
    CHECK(FAILS(EOPNOTSUPP, fallocate(fd, 0, 0, 0x1000)));
    CHECK(FAILS(EOPNOTSUPP, fallocate(fd, KEEP | FALLOC_FL_ZERO_RANGE, 0, 0x1000)));
    CHECK(FAILS(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 0x1000)));
    CHECK(FAILS(EINVAL, fallocate(fd, KEEP, 1, 0x1000)) && FAILS(EINVAL, fallocate(fd, KEEP, 0, 1)));
    CHECK(FAILS(EINVAL, fallocate(fd, PUNCH, 0, 1)) && FAILS(EINVAL, fallocate(fd, KEEP, -4096, 1)));
    CHECK(FAILS(EINVAL, fallocate(fd, KEEP, 0, 0)));
    CHECK(FAILS(EINVAL, fallocate(fd, KEEP, 0x3000, 0x2000)));
    CHECK(FAILS(EINVAL, fallocate(fd, KEEP, 0x4000, 0x1000)));
    CHECK(fallocate(fd, KEEP, 0, 0x4000) == 0 && (unsigned char)map[0x1000] == 0xaa);
    CHECK(fallocate(fd, PUNCH, 0x1000, 0x1000) == 0);
    CHECK(map[0x1000] == 0 && map[0x1fff] == 0 && (unsigned char)map[0x2000] == 0xaa);
    CHECK(fallocate(fd, PUNCH, 0x3000, 0x5000) == 0 && fallocate(fd, PUNCH, 0x8000, 0x1000) == 0);
    CHECK(map[0x3000] == 0 && (unsigned char)map[0x2fff] == 0xaa);
    /* The file outlives its VM. */
    CHECK(close(vm) == 0 && close(kvm) == 0);
    CHECK(fallocate(fd, PUNCH, 0, 0x4000) == 0 && map[0] == 0);
    CHECK(fallocate(fd, KEEP, 0, 0x4000) == 0);
    CHECK(munmap(map, 0x4000) == 0 && close(fd) == 0);
}

static void regime(bool want_in_place, bool want_vm2)
{
    int kvm = open_kvm(), vm = create_vm(kvm, KVM_X86_SW_PROTECTED_VM);

    CHECK((ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES) != 0) == !want_in_place);
    CHECK((ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) != 0) ==
          want_in_place);
    CHECK((ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES2) != 0) == want_vm2);
}

static void in_place(void)
{
    regime(true, false);
}

static void attributes_per_vm(void)
{
    regime(false, false);
}

static void attributes_by_version_2(void)
{
    regime(false, true);
}

/* A client's loop: the whole call again, so many times. */
static void pinned(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, KVM_X86_SW_PROTECTED_VM);
    int fd = create_guest_memfd(vm, 0x4000, GUEST_MEMFD_FLAG_INIT_SHARED);
    struct kvm_memory_attributes2 attrs = {
        .size = 0x4000, .attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE, .error_offset = ~0ULL,
    };
    int tries = 0;

    while (ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs) < 0 && tries < 10) {
        CHECK(errno == EAGAIN && attrs.error_offset == 0x1000);
        tries++;
    }
    CHECK(tries == 2);
}

/* In real mode at the reset vector: one HLT. */
static int halting_vcpu(int kvm, int vm, struct kvm_run **run)
{
    static unsigned char rom[0x10000] __attribute__((aligned(4096)));
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = 0xffff0000, .memory_size = sizeof(rom),
        .userspace_addr = (uintptr_t)rom,
    };
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), vcpu;

    rom[0xfff0] = 0xf4;
    CHECK(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0);
    vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    CHECK(vcpu >= 0 && size >= (int)sizeof(**run));
    *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    CHECK(*run != MAP_FAILED);
    return vcpu;
}

static void run_it(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, 0);
    struct kvm_run *run;
    int vcpu = halting_vcpu(kvm, vm, &run);

    CHECK(ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_HLT);
    CHECK(FAILS(ENOTTY, ioctl(vm, _IO(KVMIO, 0xff), 0)));
}

/* What belongs to another process's memory is refused; the device is anybody's. */
static void child_of_fork(int kvm, int vm, int vcpu, int gmem)
{
    struct kvm_run *run;
    struct kvm_regs regs;

    CHECK(FAILS(EIO, ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY)));
    CHECK(FAILS(EIO, ioctl(vcpu, KVM_GET_REGS, &regs)));
    CHECK(FAILS(EIO, ioctl(vcpu, KVM_RUN, 0)));
    CHECK(fallocate(gmem, PUNCH, 0, 0x1000) == 0);
    CHECK(ioctl(kvm, KVM_GET_API_VERSION, 0) == 12);
    CHECK(close(vcpu) == 0 && close(vm) == 0 && close(gmem) == 0);
    vm = create_vm(kvm, 0);
    vcpu = halting_vcpu(kvm, vm, &run);
    CHECK(ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_HLT);
    CHECK(close(vcpu) == 0 && close(vm) == 0 && close(kvm) == 0);
    exit(0);
}

static void *fork_and_wait(void *fds)
{
    const int *fd = fds;
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (!child)
        child_of_fork(fd[0], fd[1], fd[2], fd[3]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
    return NULL;
}

static void fork_it(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, 0);
    struct kvm_run *run;
    int vcpu = halting_vcpu(kvm, vm, &run);
    int gmem = create_guest_memfd(vm, 0x2000,
                                  GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    char *map = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0);
    int fds[] = { kvm, vm, vcpu, gmem };

    CHECK(map != MAP_FAILED);
    map[0] = 1;
    for (int i = 0; i < 3; i++)
        fork_and_wait(fds);
    CHECK(map[0] == 0);
    CHECK(ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_HLT);
}

static void *open_and_close(void *unused)
{
    for (int i = 0; i < 200; i++) {
        int kvm = open_kvm(), copy = dup(kvm), null = open("/dev/null", O_RDONLY);
        char byte;

        CHECK(copy >= 0 && null >= 0 && read(null, &byte, 1) == 0);
        CHECK(ioctl(copy, KVM_GET_API_VERSION, 0) == 12);
        CHECK(close(kvm) == 0 && close(null) == 0 && close(copy) == 0);
    }
    return NULL;
}

static void threads(void)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];

    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, open_and_close, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
}

/* The same by syscall(2), to the sixth argument. */
static void by_number(void)
{
    int fd = syscall(SYS_openat, AT_FDCWD, "/dev/kvm", O_RDWR | O_CLOEXEC), vm, gmem, copy;
    char byte, *map;

    CHECK(fd >= 0 && syscall(SYS_ioctl, fd, KVM_GET_API_VERSION, 0) == 12);
    vm = syscall(SYS_ioctl, fd, KVM_CREATE_VM, 0);
    CHECK(vm >= 0 && FAILS(ENOTTY, syscall(SYS_ioctl, vm, KVM_GET_API_VERSION, 0)));
    gmem = create_guest_memfd(vm, 0x4000, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    map = (char *)syscall(SYS_mmap, NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0x2000);
    CHECK(map != MAP_FAILED);
    *map = 1;
    CHECK(FAILS(EINVAL, syscall(SYS_read, gmem, &byte, 1)));
    CHECK(syscall(SYS_fallocate, gmem, PUNCH, 0x2000, 0x1000) == 0 && *map == 0);
    CHECK(syscall(SYS_munmap, map, 0x1000) == 0);
    copy = syscall(SYS_dup3, vm, 50, O_CLOEXEC);
    CHECK(copy == 50 && ioctl(copy, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1);
    CHECK(syscall(SYS_close, copy) == 0);
    CHECK(FAILS(EBADF, ioctl(copy, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY)));
    /* Others as ever, with their errors. */
    CHECK(syscall(SYS_getpid) == getpid() && FAILS(EBADF, syscall(SYS_close, 1000)));
    CHECK(FAILS(ENOSYS, syscall(5000)) && FAILS(EFAULT, syscall(SYS_uname, 1)));
    map = (char *)syscall(SYS_mmap, NULL, 0x1000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED && *map == 0 && munmap(map, 0x1000) == 0);
}

/* The child closes its own descriptors; the parent's are what they were. */
static void vfork_it(void)
{
    int kvm = open_kvm(), vm = create_vm(kvm, 0), status, copy = dup(vm);
    pid_t child = vfork();

    CHECK(child >= 0);
    if (child == 0) {
        dup2(0, copy);
        close_range(3, ~0u, 0);
        close(vm);
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(ioctl(kvm, KVM_GET_API_VERSION, 0) == 12);
    CHECK(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1);
    CHECK(ioctl(copy, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1);
}

static void check_link(int fd, const char *expected)
{
    char path[64], name[64] = "";

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHECK(readlink(path, name, sizeof(name)) == (ssize_t)strlen(expected));
    CHECK(!strcmp(name, expected));
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
    CHECK(readlinkat(AT_FDCWD, path, name, 4) == 4 && !strncmp(name, expected, 4));
}

/* What is not the file's own business, whatever it is. */
static void files(void)
{
    struct epoll_event event = { .events = EPOLLIN };
    int kvm = open_kvm(), vm = create_vm(kvm, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 3);
    int null = open("/dev/null", O_RDWR), epoll = epoll_create1(0);

    check_link(kvm, "/dev/kvm");
    check_link(vm, "anon_inode:kvm-vm");
    check_link(vcpu, "anon_inode:kvm-vcpu:3");
    check_link(create_guest_memfd(vm, 0x1000, 0), "anon_inode:[kvm-gmem]");
    check_link(null, "/dev/null");
    CHECK(FAILS(ENOENT, readlink("/proc/self/fd/1000", (char[8]){ 0 }, 8)));
    CHECK((fcntl(vm, F_GETFL) & O_ACCMODE) == O_RDWR && fcntl(vm, F_GETFD) == FD_CLOEXEC);
    CHECK(ioctl(vm, FIONCLEX) == 0 && fcntl(vm, F_GETFD) == 0);
    CHECK(ioctl(vm, FIOCLEX) == 0 && fcntl(vm, F_GETFD) == FD_CLOEXEC);
    CHECK(FAILS(EPERM, epoll_ctl(epoll, EPOLL_CTL_ADD, vcpu, &event)));
    CHECK(FAILS(EPERM, epoll_ctl(epoll, EPOLL_CTL_ADD, null, &event)));
}

/* What KVM_GET_SUPPORTED_CPUID says: a line for each leaf. */
static void cpuid(void)
{
    static struct {
        uint32_t nent, padding;
        struct kvm_cpuid_entry2 entries[256];
    } list = { .nent = 256 };

    CHECK(ioctl(open_kvm(), KVM_GET_SUPPORTED_CPUID, &list) == 0);
    for (uint32_t i = 0; i < list.nent; i++) {
        const struct kvm_cpuid_entry2 *e = &list.entries[i];

        printf("%x.%x: %08x %08x %08x %08x\n", e->function, e->index, e->eax, e->ebx, e->ecx,
               e->edx);
    }
}

/*
 * What the machine's own instruction says of SEV, and of VMX or SVM.  Then an invalid one, which nobody
 * catches: the program ends as without softkvm.
 */
static void machine_cpuid(void)
{
    uint32_t eax, ebx, ecx, edx;

    __cpuid(0x80000000, eax, ebx, ecx, edx);
    printf("%x", eax >= 0x8000001f);
    __cpuid_count(0x8000001f, 0, eax, ebx, ecx, edx);
    printf(" %x %x %x", eax & 2, ebx & 0x3f, ecx);
    __cpuid(0, eax, ebx, ecx, edx);
    if (ebx == 0x68747541) {                            /* "Auth" */
        __cpuid(0x80000001, eax, ebx, ecx, edx);
        printf(" %x\n", ecx >> 2 & 1);
    } else {
        __cpuid(1, eax, ebx, ecx, edx);
        printf(" %x\n", ecx >> 5 & 1);
    }
    fflush(stdout);
    __builtin_trap();
}

static void parameters(void)
{
    static const char path[] = "/sys/module/kvm/parameters/force_emulation_prefix";
    FILE *file = fopen(path, "r");
    struct stat st;
    int value = -1;

    CHECK(file && fscanf(file, "%d", &value) == 1 && value == 0);
    CHECK(fclose(file) == 0);
    CHECK(access(path, R_OK) == 0 && FAILS(EACCES, access(path, W_OK)));
    CHECK(FAILS(EACCES, open(path, O_RDWR)) && stat(path, &st) == 0 && S_ISREG(st.st_mode));
    CHECK(FAILS(ENOENT, open("/sys/module/kvm/parameters/nothing", O_RDONLY)));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } cases[] = {
        { "device", device }, { "descriptors", descriptors }, { "guest_memfd", guest_memfd },
        { "in-place", in_place }, { "attributes-per-vm", attributes_per_vm },
        { "vm2", attributes_by_version_2 }, { "pinned", pinned }, { "run", run_it },
        { "fork", fork_it }, { "threads", threads }, { "parameters", parameters },
        { "cpuid", cpuid }, { "machine-cpuid", machine_cpuid },
        { "by-number", by_number }, { "vfork", vfork_it }, { "files", files },
        { "transfers", transfers }, { "remap", remap }, { "protect", protect },
    };

    for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!strcmp(cases[i].name, argv[1])) {
            cases[i].fn();
            return 0;
        }
    }
    fprintf(stderr, "usage: launcher_probe CASE\n");
    return 2;
}
