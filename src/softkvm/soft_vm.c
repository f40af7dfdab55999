/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM as an object: its life, and stopping the guest for a change of what vCPUs read. */
#include "soft_vm.h"

#include "attr_map.h"
#include "coalesced.h"
#include "cpu.h"
#include "descriptor.h"
#include "eventfds.h"
#include "guest_memfd.h"
#include "host_ticks.h"
#include "ioctl_table.h"
#include "msr_filter.h"
#include "range.h"
#include "sev.h"
#include "soft_vcpu.h"
#include "test_hooks.h"
#include "ticker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>

/* Guest frame numbers are 52 bits: attributes may be set for all of them. */
#define ALL_FRAMES (1ULL << 52)

uint32_t vm_types(const struct softkvm_options *options)
{
    return 1 << KVM_X86_DEFAULT_VM | 1 << KVM_X86_SW_PROTECTED_VM |
           (options->sev ? 1 << KVM_X86_SEV_VM : 0);
}

/*
 * Caches that are not modelled can't be turned off or on (CD_NW_CLEARED), and it
 * can't be seen how much is unmapped with a slot (SLOT_ZAP_ALL).
 */
uint64_t vm_valid_quirks(void)
{
    return KVM_X86_QUIRK_CD_NW_CLEARED | KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT |
           KVM_X86_QUIRK_FIX_HYPERCALL_INSN | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS |
           KVM_X86_QUIRK_SLOT_ZAP_ALL;
}

bool vm_has_private_memory(const struct vm *vm)
{
    return vm->type == KVM_X86_SW_PROTECTED_VM;
}

unsigned vm_address_spaces(const struct vm *vm)
{
    return vm && vm_has_private_memory(vm) ? 1 : 2;
}

uint64_t vm_valid_attributes(const struct softkvm_options *options, const struct vm *vm)
{
    if (options->gmem_in_place_conversion || (vm && !vm_has_private_memory(vm)))
        return 0;
    return KVM_MEMORY_ATTRIBUTE_PRIVATE;
}

uint64_t vm_valid_attributes2(const struct softkvm_options *options, const struct vm *vm)
{
    return options->vm_attributes2 ? vm_valid_attributes(options, vm) : 0;
}

int vm_set_attributes(struct vm *vm, const struct kvm_memory_attributes *attrs)
{
    uint64_t first = attrs->address / GUEST_PAGE_SIZE, count = attrs->size / GUEST_PAGE_SIZE;
    bool to_private = attrs->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;
    int ret = 0;

    if (attrs->flags || attrs->attributes & ~vm_valid_attributes(&vm->options, vm) ||
        !attrs->size || range_wraps(attrs->address, attrs->size) ||
        !is_aligned(attrs->address | attrs->size, GUEST_PAGE_SIZE))
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    if (!attr_map_all(vm->private_gfns, first, count, to_private)) {
        ret = hook_fails(HOOK_ATTRIBUTES);
        if (!ret)
            ret = attr_map_reserve(vm->private_gfns, 1, 1);
        if (!ret) {
            vm_pause(vm);
            ret = attr_map_set(vm->private_gfns, first, count, to_private);
            vm_flush_gpa(vm, attrs->address, attrs->size);
            vm_resume(vm);
            __atomic_add_fetch(&vm->conversions, 1, __ATOMIC_RELAXED);
        }
    }
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

/*
 * The same store as version 1.  Pages are not counted on here: there is no
 * EAGAIN, and what would be error_offset is reserved.
 */
int vm_set_attributes2(struct vm *vm, const struct kvm_memory_attributes2 *attrs)
{
    const struct kvm_memory_attributes first = {
        .address = attrs->address, .size = attrs->size, .attributes = attrs->attributes,
        .flags = attrs->flags,
    };

    if (attrs->error_offset)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(attrs->reserved) / sizeof(attrs->reserved[0]); i++) {
        if (attrs->reserved[i])
            return -EINVAL;
    }
    return vm_set_attributes(vm, &first);
}

static unsigned vm_nr_vcpus(const struct vm *vm)
{
    return __atomic_load_n(&vm->nr_vcpus, __ATOMIC_ACQUIRE);
}

struct vcpu *vm_vcpu_by_id(struct vm *vm, uint32_t id)
{
    return id < VM_MAX_VCPU_IDS ? __atomic_load_n(&vm->vcpu_by_id[id], __ATOMIC_ACQUIRE) : NULL;
}

/*
 * A vCPU looks at vm->paused after it took its run_lock, and at cpu->request in
 * the guest; so once all are asked, all run_locks come free soon.  Who finds
 * vm->paused set waits for vm->lock.
 */
void vm_pause(struct vm *vm)
{
    unsigned n = vm_nr_vcpus(vm);

    __atomic_store_n(&vm->paused, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < n; i++)
        __atomic_or_fetch(&vm->vcpus[i]->cpu->request, CPU_REQ_EXIT, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < n; i++)
        pthread_mutex_lock(&vm->vcpus[i]->run_lock);
}

void vm_resume(struct vm *vm)
{
    unsigned n = vm_nr_vcpus(vm);

    __atomic_store_n(&vm->paused, false, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < n; i++)
        pthread_mutex_unlock(&vm->vcpus[i]->run_lock);
}

void vm_flush_gpa(struct vm *vm, uint64_t gpa, uint64_t size)
{
    unsigned n = vm_nr_vcpus(vm);

    for (unsigned i = 0; i < n; i++)
        cpu_flush_gpa(vm->vcpus[i]->cpu, gpa, size);
    for (unsigned i = 0; vm->c_bit && i < n; i++)
        cpu_flush_gpa(vm->vcpus[i]->cpu, gpa | vm->c_bit, size);
}

static void irqchip_kick(void *opaque, uint32_t vcpu_id)
{
    struct vcpu *vcpu = vm_vcpu_by_id(opaque, vcpu_id);

    if (vcpu)
        vcpu_kick(vcpu);
}

static void irqchip_eoi(void *opaque, uint32_t gsi)
{
    struct vm *vm = opaque;

    eventfds_eoi(vm->eventfds, gsi);
}

static const struct irqchip_ops irqchip_ops = {
    .kick = irqchip_kick,
    .eoi = irqchip_eoi,
};

static void vm_free(struct vm *vm)
{
    sev_free(vm);               /* its threads use the rest */
    ticker_free(vm->ticker);
    eventfds_free(vm->eventfds);
    coalesced_free(vm->coalesced);
    for (unsigned i = 0; i < vm->nr_vcpus; i++)
        vcpu_free(vm->vcpus[i]);
    irqchip_free(vm->irqchip);
    memslots_free(vm);
    code_words_pool_free(&vm->code_words);
    attr_map_free(vm->private_gfns);
    msr_filter_free(vm->msr_filter);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
}

void vm_get(struct vm *vm)
{
    __atomic_add_fetch(&vm->refs, 1, __ATOMIC_RELAXED);
}

void vm_put(struct vm *vm)
{
    if (!__atomic_sub_fetch(&vm->refs, 1, __ATOMIC_ACQ_REL))
        vm_free(vm);
}

static struct vm *vm_new(const struct softkvm_options *options, uint32_t type)
{
    struct vm *vm = calloc(1, sizeof(*vm));

    if (!vm)
        return NULL;
    pthread_mutex_init(&vm->lock, NULL);
    vm->refs = 1;
    vm->options = *options;
    vm->type = type;
    vm->default_tsc_khz = host_ticks_khz();
    vm->created_ticks = vm->clock.ticks = host_ticks();
    vm->private_gfns = attr_map_new(ALL_FRAMES, false);
    vm->irqchip = irqchip_new(&irqchip_ops, vm);
    vm->ticker = ticker_new(vm);
    vm->eventfds = eventfds_new(vm);
    vm->coalesced = coalesced_new();
    if (!vm->private_gfns || !vm->irqchip || !vm->eventfds || !vm->ticker ||
        !vm->coalesced) {
        vm_free(vm);
        return NULL;
    }
    return vm;
}

static int class_ioctl(void *object, unsigned long request, unsigned long arg)
{
    const struct ioctl_row *row = ioctl_find(&vm_ioctls, request);
    const struct vm *vm = object;

    if (!row || (row->cmd == KVM_SET_MEMORY_ATTRIBUTES2 && !vm->options.vm_attributes2))
        return -ENOTTY;
    return ioctl_call(row, object, arg);
}

static void class_release(void *object)
{
    struct vm *vm = object;

    /* Nobody can take an irqfd away any more, and its thread uses the VM. */
    eventfds_stop(vm->eventfds);
    vm_put(vm);
}

static int class_private_run(void *object, uint64_t at, bool *ret_private, uint64_t *ret_end)
{
    struct vm *vm = object;
    uint64_t end;

    if (vm->options.gmem_in_place_conversion || at / GUEST_PAGE_SIZE >= ALL_FRAMES)
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    *ret_private = attr_map_run(vm->private_gfns, at / GUEST_PAGE_SIZE, &end);
    pthread_mutex_unlock(&vm->lock);
    /* Behind the last frame there is no address. */
    *ret_end = end == ALL_FRAMES ? UINT64_MAX : end * GUEST_PAGE_SIZE;
    return 0;
}

static const struct descriptor_class vm_class = {
    .ioctl = class_ioctl,
    .private_run = class_private_run,
    .release = class_release,
    .name = "vm",
};

int vm_create(const struct softkvm_options *options, unsigned long type)
{
    struct vm *vm;
    int fd;

    if (type >= 32 || !(vm_types(options) & 1u << type))
        return -EINVAL;
    vm = vm_new(options, type);
    if (!vm)
        return -ENOMEM;
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) {
        int ret = -errno;

        class_release(vm);
        return ret;
    }
    return descriptor_add(fd, &vm_class, vm);
}
