/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System and VM descriptors: what this KVM can do (capabilities, the attribute
 * regime), and the VM ioctls that those above need.  Source: Linux
 * Documentation/virt/kvm/api.rst; for in-place conversion util/kvm_uapi.h's.
 */
#include "sev_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

enum scope { SCOPE_SYSTEM, SCOPE_VM };

/*
 * What a need asks of a capability, or of another that serves as well.  Checked
 * in this order, each as soon as its scope exists.
 */
struct requirement {
    size_t need;                /* offset of the bool in struct kvm_needs; ALWAYS */
    enum scope scope;
    unsigned cap;
    uint32_t mask;              /* bits of the answer that must be there */
    const char *missing;
    unsigned or_cap;            /* 0: no other */
};

#define ALWAYS ((size_t)-1)
#define NEED(name) offsetof(struct kvm_needs, name)
#define PRIVATE_ATTRIBUTE ((uint32_t)KVM_MEMORY_ATTRIBUTE_PRIVATE)
#define MMAP_FLAGS ((uint32_t)(GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED))

/*
 * On the system descriptor a mask is "all that this build knows", on the VM it is
 * the truth for that type; asking the system first names the real cause where
 * the VM type is missing because of it.
 */
static const struct requirement requirements[] = {
    { ALWAYS, SCOPE_SYSTEM, KVM_CAP_USER_MEMORY, 1, "KVM_CAP_USER_MEMORY (3)" },
    { ALWAYS, SCOPE_SYSTEM, KVM_CAP_IMMEDIATE_EXIT, 1, "KVM_CAP_IMMEDIATE_EXIT (136)" },
    { NEED(two_backings), SCOPE_SYSTEM, KVM_CAP_MEMORY_ATTRIBUTES, PRIVATE_ATTRIBUTE,
      "KVM_CAP_MEMORY_ATTRIBUTES (233)", KVM_CAP_MEMORY_ATTRIBUTES2 },
    { NEED(in_place), SCOPE_SYSTEM, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, PRIVATE_ATTRIBUTE,
      "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES (250)" },
    { NEED(two_backings), SCOPE_VM, KVM_CAP_MEMORY_ATTRIBUTES, PRIVATE_ATTRIBUTE,
      "KVM_CAP_MEMORY_ATTRIBUTES (233)", KVM_CAP_MEMORY_ATTRIBUTES2 },
    { NEED(two_backings), SCOPE_VM, KVM_CAP_USER_MEMORY2, 1, "KVM_CAP_USER_MEMORY2 (231)" },
    { NEED(two_backings), SCOPE_VM, KVM_CAP_GUEST_MEMFD, 1, "KVM_CAP_GUEST_MEMFD (234)" },
    { NEED(in_place), SCOPE_VM, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, PRIVATE_ATTRIBUTE,
      "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES (250)" },
    { NEED(in_place), SCOPE_VM, KVM_CAP_USER_MEMORY2, 1, "KVM_CAP_USER_MEMORY2 (231)" },
    { NEED(in_place), SCOPE_VM, KVM_CAP_GUEST_MEMFD_FLAGS, MMAP_FLAGS,
      "KVM_CAP_GUEST_MEMFD_FLAGS (244)" },
    { NEED(guest_memfd_mmap), SCOPE_VM, KVM_CAP_USER_MEMORY2, 1, "KVM_CAP_USER_MEMORY2 (231)" },
    { NEED(guest_memfd_mmap), SCOPE_VM, KVM_CAP_GUEST_MEMFD, 1, "KVM_CAP_GUEST_MEMFD (234)" },
    { NEED(guest_memfd_mmap), SCOPE_VM, KVM_CAP_GUEST_MEMFD_FLAGS, MMAP_FLAGS,
      "KVM_CAP_GUEST_MEMFD_FLAGS (244)" },
    { NEED(encrypted), SCOPE_VM, KVM_CAP_EXIT_HYPERCALL, 1u << KVM_HC_MAP_GPA_RANGE,
      "KVM_CAP_EXIT_HYPERCALL (201)" },
};

static const char *const missing_type[] = {
    [KVM_X86_DEFAULT_VM] = "KVM_X86_DEFAULT_VM of KVM_CAP_VM_TYPES (235)",
    [KVM_X86_SW_PROTECTED_VM] = "KVM_X86_SW_PROTECTED_VM of KVM_CAP_VM_TYPES (235)",
    [KVM_X86_SEV_VM] = "KVM_X86_SEV_VM of KVM_CAP_VM_TYPES (235)",
    [KVM_X86_SEV_ES_VM] = "KVM_X86_SEV_ES_VM of KVM_CAP_VM_TYPES (235)",
    [KVM_X86_SNP_VM] = "KVM_X86_SNP_VM of KVM_CAP_VM_TYPES (235)",
    [KVM_X86_TDX_VM] = "KVM_X86_TDX_VM of KVM_CAP_VM_TYPES (235)",
};

/* KVM_CHECK_EXTENSION, errors as 0. */
static uint32_t check(const struct kvm_driver *driver, int fd, unsigned cap)
{
    int ret = driver->ioctl(fd, KVM_CHECK_EXTENSION, cap);

    return ret < 0 ? 0 : (uint32_t)ret;
}

/*
 * Answers that are a mask of attributes are believed only if they are exactly
 * PRIVATE where the number was claimed by other series (250) or given to another
 * architecture (248), whose answers mean other things.
 */
static bool meets(unsigned cap, uint32_t mask, uint32_t answer)
{
    if (cap == KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES || cap == KVM_CAP_MEMORY_ATTRIBUTES2)
        return answer == mask;
    if (mask == 1)
        return answer != 0;
    return (answer & mask) == mask;
}

static bool has_cap(const struct kvm_driver *driver, int fd, unsigned cap, uint32_t mask)
{
    return meets(cap, mask, check(driver, fd, cap));
}

static int check_requirements(const struct kvm_driver *driver, int fd, enum scope scope,
                              const struct kvm_needs *needs, const char **missing)
{
    for (size_t i = 0; i < sizeof(requirements) / sizeof(requirements[0]); i++) {
        const struct requirement *req = &requirements[i];

        if (req->scope != scope ||
            (req->need != ALWAYS && !*((const bool *)((const char *)needs + req->need))))
            continue;
        if (!has_cap(driver, fd, req->cap, req->mask) &&
            !(req->or_cap && has_cap(driver, fd, req->or_cap, req->mask))) {
            *missing = req->missing;
            return -ENOTSUP;
        }
    }
    return 0;
}

/* Before Linux 6.8 there is no capability, and only the default type. */
static int check_type(const struct kvm_driver *driver, int fd, uint32_t type, const char **missing)
{
    uint32_t types = check(driver, fd, KVM_CAP_VM_TYPES) | 1u << KVM_X86_DEFAULT_VM;

    if (type < sizeof(missing_type) / sizeof(missing_type[0])) {
        *missing = missing_type[type];
        return types >> type & 1 ? 0 : -ENOTSUP;
    }
    *missing = "KVM_CAP_VM_TYPES (235)";
    return -ENOTSUP;
}

/* SEV was there before it had types of its own, which came all at once. */
static int settle_type(struct kvm_vm *vm, const struct kvm_needs *needs, const char **missing)
{
    bool legacy = needs->sev_type == KVM_SEV_LEGACY_TYPE ||
                  (needs->sev_type == KVM_SEV_ANY_TYPE &&
                   check_type(vm->driver, vm->system_fd, KVM_X86_SEV_VM, missing) != 0);

    if (legacy)
        vm->type = KVM_X86_DEFAULT_VM;
    return check_type(vm->driver, vm->system_fd, vm->type, missing);
}

/* In the order in which they are preferred; each is one capability, and one ioctl. */
static const struct {
    enum kvm_attributes_regime regime;
    unsigned cap;
} regimes[] = {
    { KVM_ATTRIBUTES_GUEST_MEMFD, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES },
    { KVM_ATTRIBUTES_VM2, KVM_CAP_MEMORY_ATTRIBUTES2 },
    { KVM_ATTRIBUTES_VM, KVM_CAP_MEMORY_ATTRIBUTES },
};

static void settle_regime(struct kvm_vm *vm, bool encrypted)
{
    vm->guest_memfd = check(vm->driver, vm->vm_fd, KVM_CAP_GUEST_MEMFD) &&
                      check(vm->driver, vm->vm_fd, KVM_CAP_USER_MEMORY2);
    vm->guest_memfd_flags = check(vm->driver, vm->vm_fd, KVM_CAP_GUEST_MEMFD_FLAGS);
    vm->regime = encrypted ? KVM_ATTRIBUTES_ENCRYPTED : KVM_ATTRIBUTES_NONE;
    for (size_t i = 0; i < sizeof(regimes) / sizeof(regimes[0]) && !vm->regime; i++) {
        if (has_cap(vm->driver, vm->vm_fd, regimes[i].cap, PRIVATE_ATTRIBUTE))
            vm->regime = regimes[i].regime;
    }
}

/* Where memory can be private, the guest asks for a conversion by a hypercall that exits. */
static int enable_map_gpa_range(struct kvm_vm *vm)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_EXIT_HYPERCALL,
        .args = { 1u << KVM_HC_MAP_GPA_RANGE },
    };

    if (vm->regime == KVM_ATTRIBUTES_NONE)
        return 0;
    return kvm_vm_ioctl(vm, KVM_ENABLE_CAP, &cap);
}

/* A SEV guest is announced an MSR that KVM itself may not have (exits.c). */
static int enable_msr_exits(struct kvm_vm *vm)
{
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { KVM_MSR_EXIT_REASON_UNKNOWN },
    };

    if (!vm->sev || !check(vm->driver, vm->vm_fd, KVM_CAP_X86_USER_SPACE_MSR))
        return 0;
    return kvm_vm_ioctl(vm, KVM_ENABLE_CAP, &cap);
}

static int vm_open(struct kvm_vm *vm, const struct kvm_needs *needs, const char **missing)
{
    const struct kvm_driver *driver = vm->driver;
    int ret;

    vm->system_fd = driver->open();
    if (vm->system_fd < 0)
        return vm->system_fd;
    ret = driver->ioctl(vm->system_fd, KVM_GET_API_VERSION, 0);
    if (ret != KVM_API_VERSION) {
        *missing = "KVM_GET_API_VERSION of 12";
        return ret < 0 ? ret : -ENOTSUP;
    }
    ret = check_requirements(driver, vm->system_fd, SCOPE_SYSTEM, needs, missing);
    if (!ret)
        ret = settle_type(vm, needs, missing);
    if (ret)
        return ret;
    vm->vm_fd = driver->ioctl(vm->system_fd, KVM_CREATE_VM, vm->type);
    if (vm->vm_fd < 0)
        return vm->vm_fd;
    ret = needs->encrypted ? kvm_sev_open(vm, needs->sev_device, missing) : 0;
    if (!ret)
        ret = check_requirements(driver, vm->vm_fd, SCOPE_VM, needs, missing);
    if (ret)
        return ret;
    settle_regime(vm, needs->encrypted);
    vm->nr_memslots = (int)check(driver, vm->vm_fd, KVM_CAP_NR_MEMSLOTS);
    if (vm->nr_memslots == 0)
        vm->nr_memslots = 32;   /* KVM's number before there was the capability */
    ret = driver->ioctl(vm->system_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (ret < (int)sizeof(struct kvm_run))
        return ret < 0 ? ret : -EPROTO;
    vm->run_size = (size_t)ret;
    ret = enable_map_gpa_range(vm);
    return ret ? ret : enable_msr_exits(vm);
}

static int vm_make(const struct kvm_driver *driver, const struct kvm_needs *needs,
                   const char **missing, struct kvm_vm **ret_vm)
{
    struct kvm_vm *vm = calloc(1, sizeof(*vm));
    int ret;

    if (!vm)
        return -ENOMEM;
    vm->driver = driver;
    vm->type = needs->vm_type;
    vm->system_fd = vm->vm_fd = -1;
    ret = vm_open(vm, needs, missing);
    if (ret) {
        kvm_vm_free(vm);
        return ret;
    }
    *ret_vm = vm;
    return 0;
}

int kvm_vm_probe(const struct kvm_driver *driver, const struct kvm_needs *needs,
                 const char **missing)
{
    struct kvm_vm *vm;
    int ret = vm_make(driver, needs, missing, &vm);

    if (!ret)
        kvm_vm_free(vm);
    return ret;
}

int kvm_vm_new(const struct kvm_driver *driver, const struct kvm_needs *needs, struct kvm_vm **ret)
{
    const char *missing;

    return vm_make(driver, needs, &missing, ret);
}

void kvm_vm_free(struct kvm_vm *vm)
{
    if (!vm)
        return;
    kvm_sev_close(vm);
    if (vm->vm_fd >= 0)
        vm->driver->close(vm->vm_fd);
    if (vm->system_fd >= 0)
        vm->driver->close(vm->system_fd);
    free(vm);
}

int kvm_vm_check_extension(struct kvm_vm *vm, unsigned cap)
{
    return (int)check(vm->driver, vm->vm_fd, cap);
}

int kvm_vm_ioctl(struct kvm_vm *vm, unsigned long request, void *arg)
{
    return vm->driver->ioctl(vm->vm_fd, request, (unsigned long)arg);
}

int kvm_vm_create_irqchip(struct kvm_vm *vm, uint64_t reserved_gpa)
{
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    uint64_t identity_map = reserved_gpa;
    int ret;

    /* One page for the identity map, three behind it for the TSS: Intel's real mode needs them. */
    ret = kvm_vm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    if (!ret)
        ret = vm->driver->ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, reserved_gpa + 0x1000);
    if (!ret)
        ret = kvm_vm_ioctl(vm, KVM_CREATE_IRQCHIP, NULL);
    if (!ret)
        ret = kvm_vm_ioctl(vm, KVM_CREATE_PIT2, &pit);
    return ret;
}

int kvm_vm_create_guest_memfd(struct kvm_vm *vm, uint64_t size, uint64_t flags)
{
    struct kvm_create_guest_memfd args = { .size = size, .flags = flags };
    int fd = kvm_vm_ioctl(vm, KVM_CREATE_GUEST_MEMFD, &args);

    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);     /* Linux 6.8 doesn't */
    return fd;
}

static int set_private_once(struct kvm_vm *vm, uint64_t gpa, int fd, uint64_t offset,
                            uint64_t size, uint64_t attributes, uint64_t *error_offset)
{
    struct kvm_memory_attributes per_vm = {
        .address = gpa, .size = size, .attributes = attributes,
    };
    struct kvm_memory_attributes2 per_vm2 = {
        .address = gpa, .size = size, .attributes = attributes,
    };
    struct kvm_memory_attributes2 per_file = {
        .offset = offset, .size = size, .attributes = attributes,
        .error_offset = offset,
    };
    int ret;

    switch (vm->regime) {
    case KVM_ATTRIBUTES_VM:
        return kvm_vm_ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &per_vm);
    case KVM_ATTRIBUTES_VM2:
        return kvm_vm_ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES2, &per_vm2);
    case KVM_ATTRIBUTES_GUEST_MEMFD:
        ret = vm->driver->ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, (unsigned long)&per_file);
        if (ret == -EAGAIN && per_file.error_offset - offset < size)
            *error_offset = per_file.error_offset - offset;
        return ret;
    case KVM_ATTRIBUTES_ENCRYPTED:
        return 0;
    case KVM_ATTRIBUTES_NONE:
        break;
    }
    return -ENOTSUP;
}

/*
 * A busy page is one that somebody has a reference to: for a moment (then it
 * passes), or as a pin of I/O in flight (then it takes as long as that).
 * 1 + 2 + ... + 128 units of 64 us: 16 ms in all.
 */
enum { BUSY_TRIES = 8, BUSY_UNIT_NS = 64000 };

int kvm_set_private(struct kvm_vm *vm, uint64_t gpa, int fd, uint64_t offset, uint64_t size,
                    bool private_, uint64_t *error_offset)
{
    uint64_t attributes = private_ ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
    uint64_t busy = 0;
    int ret = -EAGAIN;

    for (unsigned i = 0; i <= BUSY_TRIES; i++) {
        struct timespec wait = { 0, (long)BUSY_UNIT_NS << i };

        ret = set_private_once(vm, gpa, fd, offset, size, attributes, &busy);
        if (ret != -EAGAIN || i == BUSY_TRIES)
            break;
        nanosleep(&wait, NULL);
    }
    if (ret == -EAGAIN && error_offset)
        *error_offset = busy;
    return ret;
}

int kvm_private_run(struct kvm_vm *vm, uint64_t gpa, int fd, uint64_t offset, bool *ret_private,
                    uint64_t *ret_size)
{
    bool per_vm = kvm_attributes_per_vm(vm->regime);
    uint64_t at = per_vm ? gpa : offset, end;
    int ret;

    if (!vm->driver->private_run || vm->regime == KVM_ATTRIBUTES_ENCRYPTED)
        return -ENOTSUP;
    ret = vm->driver->private_run(per_vm ? vm->vm_fd : fd, at, ret_private, &end);
    if (!ret)
        *ret_size = end - at;
    return ret;
}

int kvm_vm_set_slot(struct kvm_vm *vm, const struct kvm_slot *slot)
{
    struct kvm_userspace_memory_region2 region = {
        .slot = slot->id,
        .flags = slot->readonly ? KVM_MEM_READONLY : 0,
        .guest_phys_addr = slot->gpa,
        .memory_size = slot->size,
        .userspace_addr = slot->hva,
    };
    struct kvm_userspace_memory_region old;

    if (slot->guest_memfd >= 0 && slot->size) {
        region.flags |= KVM_MEM_GUEST_MEMFD;
        region.guest_memfd = (uint32_t)slot->guest_memfd;
        region.guest_memfd_offset = slot->guest_memfd_offset;
        return kvm_vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region);
    }
    /* Every KVM has the old call, and its structure is the beginning of the new one. */
    old = (struct kvm_userspace_memory_region) {
        .slot = region.slot, .flags = region.flags, .guest_phys_addr = region.guest_phys_addr,
        .memory_size = region.memory_size, .userspace_addr = region.userspace_addr,
    };
    return kvm_vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &old);
}
