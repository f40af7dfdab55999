/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The system ioctls. */
#include "system.h"

#include "capability.h"
#include "cpu_model.h"
#include "descriptor.h"
#include "ioctl_table.h"
#include "mce.h"
#include "msr.h"
#include "sev.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "usercopy.h"
#include "vcpu_cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

struct system {
    struct softkvm_options options;
    struct cpu_model model;     /* options.cpu */
};

static int get_api_version(void *object, void *arg, unsigned long value)
{
    return value ? -EINVAL : KVM_API_VERSION;
}

static int create_vm(void *object, void *arg, unsigned long type)
{
    struct system *system = object;

    return vm_create(&system->options, type);
}

static int check_extension(void *object, void *arg, unsigned long cap)
{
    struct system *system = object;

    return capability_check(&system->options, NULL, cap);
}

static int get_vcpu_mmap_size(void *object, void *arg, unsigned long value)
{
    return value ? -EINVAL : VCPU_RUN_SIZE;
}

static int get_supported_cpuid(void *object, void *arg, unsigned long value)
{
    struct system *system = object;

    return cpuid_get_supported(&system->model, arg);
}

/* Nothing is emulated that isn't supported as well. */
static int get_emulated_cpuid(void *object, void *arg, unsigned long value)
{
    struct kvm_cpuid2 *cpuid = arg;

    if (!cpuid->nent)
        return -E2BIG;
    cpuid->nent = 0;
    return 0;
}

/* The count is written back also when the caller's array is too small. */
static int put_index_list(struct kvm_msr_list *list, unsigned long user, const uint32_t *indices,
                          size_t count)
{
    uint32_t room = list->nmsrs, n = count;

    if (copy_to_user(user, &n, sizeof(n)))
        return -EFAULT;
    if (room < n)
        return -E2BIG;
    list->nmsrs = n;
    for (size_t i = 0; i < count; i++)
        list->indices[i] = indices[i];
    return 0;
}

static int get_msr_index_list(void *object, void *arg, unsigned long user)
{
    size_t count;
    const uint32_t *indices = msr_saved_list(&count);

    return put_index_list(arg, user, indices, count);
}

static int get_msr_feature_index_list(void *object, void *arg, unsigned long user)
{
    size_t count;
    const uint32_t *indices = msr_feature_list(&count);

    return put_index_list(arg, user, indices, count);
}

static int get_feature_msrs(void *object, void *arg, unsigned long value)
{
    struct kvm_msrs *msrs = arg;
    uint32_t i;

    for (i = 0; i < msrs->nmsrs; i++) {
        uint64_t data;

        if (!msr_feature_get(msrs->entries[i].index, &data))
            break;
        msrs->entries[i].data = data;
    }
    return i;
}

static int get_mce_cap(void *object, void *arg, unsigned long value)
{
    *(uint64_t *)arg = mce_supported_cap();
    return 0;
}

/* What XCR0 may be set to; what SEV can. */
static int find_attr(const struct system *system, const struct kvm_device_attr *attr,
                     uint64_t *value)
{
    if (attr->group == KVM_X86_GRP_SEV)
        return sev_device_attr(&system->options, attr->attr, value);
    *value = CPU_XCR0_KNOWN;
    return attr->group || attr->attr != KVM_X86_XCOMP_GUEST_SUPP ? -ENXIO : 0;
}

static int has_device_attr(void *object, void *arg, unsigned long value)
{
    uint64_t found;

    return find_attr(object, arg, &found);
}

static int get_device_attr(void *object, void *arg, unsigned long value)
{
    const struct kvm_device_attr *attr = arg;
    uint64_t found;
    int ret = find_attr(object, attr, &found);

    if (ret)
        return ret;
    return copy_to_user(attr->addr, &found, sizeof(found)) ? -EFAULT : 0;
}

static const struct ioctl_row rows[] = {
    IOCTL_VALUE(KVM_GET_API_VERSION, CAP_NONE, get_api_version),
    IOCTL_VALUE(KVM_CREATE_VM, CAP_NONE, create_vm),
    IOCTL_VALUE(KVM_CHECK_EXTENSION, CAP_NONE, check_extension),
    IOCTL_VALUE(KVM_GET_VCPU_MMAP_SIZE, CAP_NONE, get_vcpu_mmap_size),
    IOCTL_ARRAY(KVM_GET_SUPPORTED_CPUID, struct kvm_cpuid2, struct kvm_cpuid_entry2,
                KVM_CPUID_MAX, 0, KVM_CAP_EXT_CPUID, get_supported_cpuid),
    IOCTL_ARRAY(KVM_GET_EMULATED_CPUID, struct kvm_cpuid2, struct kvm_cpuid_entry2,
                KVM_CPUID_MAX, 0, KVM_CAP_EXT_EMUL_CPUID, get_emulated_cpuid),
    IOCTL_ARRAY(KVM_GET_MSR_INDEX_LIST, struct kvm_msr_list, uint32_t, MSR_LIST_MAX, 0, CAP_NONE,
                get_msr_index_list),
    IOCTL_ARRAY(KVM_GET_MSR_FEATURE_INDEX_LIST, struct kvm_msr_list, uint32_t, MSR_LIST_MAX, 0,
                KVM_CAP_GET_MSR_FEATURES, get_msr_feature_index_list),
    IOCTL_ARRAY(KVM_GET_MSRS, struct kvm_msrs, struct kvm_msr_entry, MSR_IO_MAX, E2BIG,
                KVM_CAP_GET_MSR_FEATURES, get_feature_msrs),
    /* Its capability is a number of banks: capability.c. */
    IOCTL_STRUCT(KVM_X86_GET_MCE_CAP_SUPPORTED, uint64_t, CAP_NONE, get_mce_cap),
    IOCTL_STRUCT(KVM_GET_DEVICE_ATTR, struct kvm_device_attr, KVM_CAP_SYS_ATTRIBUTES,
                 get_device_attr),
    IOCTL_STRUCT(KVM_HAS_DEVICE_ATTR, struct kvm_device_attr, KVM_CAP_SYS_ATTRIBUTES,
                 has_device_attr),
};

const struct ioctl_table system_ioctls = { "system", rows, sizeof(rows) / sizeof(rows[0]) };

static int class_ioctl(void *object, unsigned long request, unsigned long arg)
{
    const struct ioctl_row *row = ioctl_find(&system_ioctls, request);

    return row ? ioctl_call(row, object, arg) : -EINVAL;
}

static const struct descriptor_class system_class = {
    .ioctl = class_ioctl,
    .release = free,
    .name = "system",
    .by_path = true,
    .survives_fork = true,
};

int system_open(const struct softkvm_options *options)
{
    struct system *system = malloc(sizeof(*system));
    int fd;

    if (!system)
        return -ENOMEM;
    if (cpu_model_parse(options->cpu, &system->model)) {
        free(system);
        return -EINVAL;
    }
    if (options->sev)
        system->model.amd = system->model.sev = true;
    system->options = *options;
    system->options.cpu = NULL;         /* the caller's */
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) {
        int ret = -errno;

        free(system);
        return ret;
    }
    return descriptor_add(fd, &system_class, system);
}
