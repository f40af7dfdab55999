/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The statistics file: header, id, descriptors, then the values, which are read
 * at that moment.  What a vCPU counts is how often KVM_RUN returned and why.
 * Source: Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD.
 */
#include "stats_fd.h"

#include "descriptor.h"
#include "kvm_uapi.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "usercopy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { NAME_SIZE = 48, ALL_EXITS = -1, MAX_STATS = 16 };

struct stat_row {
    const char *name;
    int exit_reason;            /* KVM_EXIT_*, or ALL_EXITS; vCPUs only */
};

static const struct stat_row vm_stats[] = { { "attribute_changes" }, { "vcpus" } };

static const struct stat_row vcpu_stats[] = {
    { "exits", ALL_EXITS },
    { "io_exits", KVM_EXIT_IO },
    { "mmio_exits", KVM_EXIT_MMIO },
    { "halt_exits", KVM_EXIT_HLT },
    { "irq_window_exits", KVM_EXIT_IRQ_WINDOW_OPEN },
    { "hypercall_exits", KVM_EXIT_HYPERCALL },
    { "memory_fault_exits", KVM_EXIT_MEMORY_FAULT },
    { "debug_exits", KVM_EXIT_DEBUG },
    { "shutdown_exits", KVM_EXIT_SHUTDOWN },
    { "internal_error_exits", KVM_EXIT_INTERNAL_ERROR },
};

/* One descriptor of the file, with room for its name. */
struct described_stat {
    uint32_t flags;
    int16_t exponent;
    uint16_t size;
    uint32_t offset, bucket_size;
    char name[NAME_SIZE];
};
_Static_assert(sizeof(struct described_stat) == sizeof(struct kvm_stats_desc) + NAME_SIZE,
               "as in the uAPI");

struct stats_file {
    struct vm *vm;              /* referenced */
    struct vcpu *vcpu;          /* NULL: the VM's own; lives as long as the VM */
};

struct content {
    struct kvm_stats_header header;
    char id[NAME_SIZE];
    struct described_stat stats[MAX_STATS];     /* and after the last one the values */
    uint64_t values[MAX_STATS];
};

static uint64_t vcpu_value(const struct vcpu *vcpu, int exit_reason)
{
    uint64_t sum = 0;

    if (exit_reason != ALL_EXITS)
        return __atomic_load_n(&vcpu->exits[exit_reason], __ATOMIC_RELAXED);
    for (size_t i = 0; i < sizeof(vcpu->exits) / sizeof(vcpu->exits[0]); i++)
        sum += __atomic_load_n(&vcpu->exits[i], __ATOMIC_RELAXED);
    return sum;
}

static uint64_t value(const struct stats_file *file, const struct stat_row *rows, size_t i)
{
    if (file->vcpu)
        return vcpu_value(file->vcpu, rows[i].exit_reason);
    return i == 0 ? __atomic_load_n(&file->vm->conversions, __ATOMIC_RELAXED)
                  : __atomic_load_n(&file->vm->nr_vcpus, __ATOMIC_RELAXED);
}

/* Returns the size of the file. */
static size_t fill(const struct stats_file *file, struct content *content)
{
    const struct stat_row *rows = file->vcpu ? vcpu_stats : vm_stats;
    size_t n = file->vcpu ? sizeof(vcpu_stats) / sizeof(vcpu_stats[0])
                          : sizeof(vm_stats) / sizeof(vm_stats[0]);
    uint64_t *values = (uint64_t *)&content->stats[n];

    memset(content, 0, sizeof(*content));
    content->header.name_size = NAME_SIZE;
    content->header.num_desc = n;
    content->header.id_offset = offsetof(struct content, id);
    content->header.desc_offset = offsetof(struct content, stats);
    content->header.data_offset = offsetof(struct content, stats) + n * sizeof(content->stats[0]);
    if (file->vcpu)
        snprintf(content->id, NAME_SIZE, "kvm-%d/vcpu-%u", (int)getpid(), file->vcpu->id);
    else
        snprintf(content->id, NAME_SIZE, "kvm-%d", (int)getpid());
    for (size_t i = 0; i < n; i++) {
        bool level = !file->vcpu && i == 1;     /* a number that is, not a count */

        content->stats[i] = (struct described_stat){
            .flags = (level ? KVM_STATS_TYPE_INSTANT : KVM_STATS_TYPE_CUMULATIVE) |
                     KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10,
            .size = 1, .offset = i * sizeof(uint64_t),
        };
        snprintf(content->stats[i].name, NAME_SIZE, "%s", rows[i].name);
    }
    for (size_t i = 0; i < n; i++)
        values[i] = value(file, rows, i);
    return content->header.data_offset + n * sizeof(uint64_t);
}

static ssize_t class_pread(void *object, void *buffer, size_t size, uint64_t offset)
{
    struct content content;
    size_t all = fill(object, &content);

    if (offset >= all)
        return 0;
    if (size > all - offset)
        size = all - offset;
    if (copy_to_user((uintptr_t)buffer, (const uint8_t *)&content + offset, size))
        return -EFAULT;
    return size;
}

static void class_release(void *object)
{
    struct stats_file *file = object;

    vm_put(file->vm);
    free(file);
}

static const struct descriptor_class stats_class = {
    .pread = class_pread,
    .release = class_release,
    .name = "stats",
};

int stats_fd_create(struct vm *vm, struct vcpu *vcpu)
{
    struct stats_file *file = malloc(sizeof(*file));
    int fd;

    if (!file)
        return -ENOMEM;
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) {
        int ret = -errno;

        free(file);
        return ret;
    }
    *file = (struct stats_file){ .vm = vm, .vcpu = vcpu };
    vm_get(vm);
    return descriptor_add(fd, &stats_class, file);
}
