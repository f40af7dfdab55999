/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ranges of MSRs with a bit for each; see msr_filter.h. */
#include "msr_filter.h"

#include "soft_vm.h"
#include "usercopy.h"

#include <errno.h>
#include <stdlib.h>

enum { X2APIC_FIRST = 0x800, X2APIC_LAST = 0x8ff };

/* What a vCPU reads without a lock: replaced as a whole, while the VM is paused. */
struct msr_filter {
    bool default_allow;
    unsigned count;
    struct {
        uint32_t flags, base, nmsrs;
        uint8_t *bitmap;
    } range[KVM_MSR_FILTER_MAX_RANGES];
};

void msr_filter_free(struct msr_filter *filter)
{
    for (unsigned i = 0; filter && i < filter->count; i++)
        free(filter->range[i].bitmap);
    free(filter);
}

/* The bitmap is read in whole words of 64 bits. */
static int add_range(struct msr_filter *filter, const struct kvm_msr_filter_range *from)
{
    size_t size = ((size_t)from->nmsrs + 63) / 64 * 8;
    uint8_t *bitmap;

    if (!from->nmsrs)
        return 0;
    if (from->flags & ~(uint32_t)(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE) ||
        size > KVM_MSR_FILTER_MAX_BITMAP_SIZE)
        return -EINVAL;
    bitmap = malloc(size);
    if (!bitmap)
        return -ENOMEM;
    filter->range[filter->count].flags = from->flags;
    filter->range[filter->count].base = from->base;
    filter->range[filter->count].nmsrs = from->nmsrs;
    filter->range[filter->count++].bitmap = bitmap;
    return copy_from_user(bitmap, (uintptr_t)from->bitmap, size) ? -EFAULT : 0;
}

static int msr_filter_new(const struct kvm_msr_filter *from, struct msr_filter **ret)
{
    struct msr_filter *filter;
    int error = 0;

    if (from->flags & ~(uint32_t)KVM_MSR_FILTER_DEFAULT_DENY)
        return -EINVAL;
    filter = calloc(1, sizeof(*filter));
    if (!filter)
        return -ENOMEM;
    filter->default_allow = !(from->flags & KVM_MSR_FILTER_DEFAULT_DENY);
    for (unsigned i = 0; !error && i < KVM_MSR_FILTER_MAX_RANGES; i++)
        error = add_range(filter, &from->ranges[i]);
    /* No guest gets by without any MSR at all. */
    if (!error && !filter->count && !filter->default_allow)
        error = -EINVAL;
    if (error) {
        msr_filter_free(filter);
        return error;
    }
    *ret = filter;
    return 0;
}

int msr_filter_set(struct vm *vm, const struct kvm_msr_filter *from)
{
    struct msr_filter *filter, *old;
    int ret = msr_filter_new(from, &filter);

    if (ret)
        return ret;
    pthread_mutex_lock(&vm->lock);
    vm_pause(vm);
    old = vm->msr_filter;
    vm->msr_filter = filter;
    vm_resume(vm);
    pthread_mutex_unlock(&vm->lock);
    msr_filter_free(old);
    return 0;
}

bool msr_filter_allows(const struct vm *vm, uint32_t index, uint32_t type)
{
    const struct msr_filter *filter = vm->msr_filter;

    /* The registers of the x2APIC can't be filtered. */
    if (!filter || (index >= X2APIC_FIRST && index <= X2APIC_LAST))
        return true;
    for (unsigned i = 0; i < filter->count; i++) {
        uint32_t n = index - filter->range[i].base;

        if (filter->range[i].flags & type && index >= filter->range[i].base &&
            n < filter->range[i].nmsrs)
            return filter->range[i].bitmap[n / 8] >> n % 8 & 1;
    }
    return filter->default_allow;
}
