/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake_kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake_kvm fake;

enum { FAKE_RUN_SIZE = 3 * 4096 };

void fake_set_cap(unsigned cap, int answer)
{
    for (unsigned i = 0; i < FAKE_MAX_CAPS; i++) {
        if (fake.caps[i].cap == cap || fake.caps[i].cap == 0) {
            fake.caps[i].cap = cap;
            fake.caps[i].answer = answer;
            return;
        }
    }
}

void fake_reset(enum kvm_attributes_regime regime)
{
    memset(&fake, 0, sizeof(fake));
    fake_set_cap(KVM_CAP_USER_MEMORY, 1);
    fake_set_cap(KVM_CAP_IMMEDIATE_EXIT, 1);
    fake_set_cap(KVM_CAP_NR_MEMSLOTS, 64);
    fake_set_cap(KVM_CAP_VM_TYPES, 1 << KVM_X86_DEFAULT_VM | 1 << KVM_X86_SW_PROTECTED_VM);
    fake_set_cap(KVM_CAP_USER_MEMORY2, 1);
    fake_set_cap(KVM_CAP_GUEST_MEMFD, 1);
    fake_set_cap(KVM_CAP_EXIT_HYPERCALL, 1 << KVM_HC_MAP_GPA_RANGE);
    if (kvm_attributes_per_vm(regime))
        fake_set_cap(KVM_CAP_MEMORY_ATTRIBUTES, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    if (regime == KVM_ATTRIBUTES_VM2)
        fake_set_cap(KVM_CAP_MEMORY_ATTRIBUTES2, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    if (regime == KVM_ATTRIBUTES_GUEST_MEMFD)
        fake_set_cap(KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    if (!kvm_attributes_per_vm(regime))
        fake_set_cap(KVM_CAP_GUEST_MEMFD_FLAGS,
                     GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
}

void fake_fail(unsigned long request, unsigned nth, unsigned more, int err)
{
    fake.fail_request = request;
    fake.fail_nth = nth;
    fake.fail_more = more;
    fake.fail_errno = err;
}

const struct fake_call *fake_find(unsigned long request, unsigned nth, unsigned since)
{
    for (unsigned i = since; i < fake.nr_calls; i++) {
        if (fake.calls[i].request == request && nth-- == 0)
            return &fake.calls[i];
    }
    return NULL;
}

unsigned fake_count(unsigned long request, unsigned since)
{
    unsigned n = 0;

    while (fake_find(request, n, since))
        n++;
    return n;
}

static int new_fd(void)
{
    fake.open_fds++;
    return memfd_create("fake-kvm", MFD_CLOEXEC);
}

static int fake_open(void)
{
    return new_fd();
}

static int check_extension(unsigned long cap)
{
    for (unsigned i = 0; i < FAKE_MAX_CAPS; i++) {
        if (fake.caps[i].cap == cap)
            return fake.caps[i].answer;
    }
    return 0;
}

/* The beginning of four structures, two by two alike. */
static void record(unsigned long request, unsigned long arg)
{
    struct fake_call call = { .request = request, .arg = arg };

    if (request == KVM_SET_MEMORY_ATTRIBUTES || request == KVM_SET_MEMORY_ATTRIBUTES2) {
        const struct kvm_memory_attributes *attrs = (const void *)arg;

        call.address = attrs->address;
        call.size = attrs->size;
        call.attributes = attrs->attributes;
    } else if (request == KVM_SET_USER_MEMORY_REGION || request == KVM_SET_USER_MEMORY_REGION2) {
        const struct kvm_userspace_memory_region *region = (const void *)arg;

        call.slot = region->slot;
        call.flags = region->flags;
        call.address = region->guest_phys_addr;
        call.size = region->memory_size;
    }
    if (fake.nr_calls < FAKE_MAX_CALLS)
        fake.calls[fake.nr_calls++] = call;
}

/* A busy page hinders only who wants it private. */
static int fails(unsigned long request, unsigned long arg)
{
    if (request != fake.fail_request || !fake.fail_nth)
        return 0;
    if (fake.fail_errno == -EAGAIN && !fake.calls[fake.nr_calls - 1].attributes)
        return 0;
    if (--fake.fail_nth)
        return 0;
    if (fake.fail_more) {
        fake.fail_more--;
        fake.fail_nth = 1;
    }
    if (request == KVM_SET_MEMORY_ATTRIBUTES2)
        ((struct kvm_memory_attributes2 *)arg)->error_offset = fake.fail_error_offset;
    return fake.fail_errno;
}

static int create_guest_memfd(const struct kvm_create_guest_memfd *args)
{
    int fd = new_fd();

    return ftruncate(fd, (off_t)args->size) ? -errno : fd;
}

static int get_supported_cpuid(struct kvm_cpuid2 *cpuid)
{
    if (cpuid->nent < fake.nr_supported)
        return -E2BIG;
    cpuid->nent = fake.nr_supported;
    memcpy(cpuid->entries, fake.supported, fake.nr_supported * sizeof(cpuid->entries[0]));
    return 0;
}

static int set_cpuid(const struct kvm_cpuid2 *cpuid)
{
    if (cpuid->nent > FAKE_MAX_CPUID)
        return -E2BIG;
    fake.nr_cpuid = cpuid->nent;
    memcpy(fake.cpuid, cpuid->entries, cpuid->nent * sizeof(cpuid->entries[0]));
    return 0;
}

static int fake_ioctl(int fd, unsigned long request, unsigned long arg)
{
    int err;

    if (request == KVM_RUN)
        return fake.run ? fake.run(fake.run_page) : -EINTR;
    if (request == KVM_CHECK_EXTENSION)
        return check_extension(arg);
    record(request, arg);
    err = fails(request, arg);
    if (err)
        return err;
    switch (request) {
    case KVM_GET_API_VERSION:
        return 12;
    case KVM_CREATE_VM:
    case KVM_CREATE_VCPU:
        return new_fd();
    case KVM_GET_VCPU_MMAP_SIZE:
        return FAKE_RUN_SIZE;
    case KVM_CREATE_GUEST_MEMFD:
        return create_guest_memfd((const void *)arg);
    case KVM_GET_SUPPORTED_CPUID:
        return get_supported_cpuid((void *)arg);
    case KVM_SET_CPUID2:
        return set_cpuid((const void *)arg);
    default:
        return 0;
    }
}

static int fake_mmap(size_t length, int prot, int flags, int fd, off_t offset, void **ret)
{
    if (length == FAKE_RUN_SIZE && ftruncate(fd, FAKE_RUN_SIZE))
        return -errno;
    *ret = mmap(NULL, length, prot, flags, fd, offset);
    if (*ret == MAP_FAILED)
        return -errno;
    if (length == FAKE_RUN_SIZE)
        fake.run_page = *ret;
    fake.open_maps++;
    return 0;
}

static int fake_munmap(void *addr, size_t length)
{
    fake.open_maps--;
    return munmap(addr, length) ? -errno : 0;
}

static int fake_close(int fd)
{
    fake.open_fds--;
    return close(fd) ? -errno : 0;
}

const struct kvm_driver fake_driver = {
    .name = "fake", .description = "for tests",
    .open = fake_open, .ioctl = fake_ioctl, .mmap = fake_mmap, .munmap = fake_munmap,
    .close = fake_close,
};
