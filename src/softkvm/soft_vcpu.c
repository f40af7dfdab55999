/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vCPU as an object: creation, descriptor, its shared page. */
#include "soft_vcpu.h"

#include "coalesced.h"
#include "descriptor.h"
#include "fd.h"
#include "guest_clock.h"
#include "ioctl_table.h"
#include "irqchip.h"
#include "soft_vm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    APIC_BASE_DEFAULT = 0xfee00000,
    APIC_BASE_ENABLE = 1 << 11,
    APIC_BASE_BSP = 1 << 8,
};

void vcpu_free(struct vcpu *vcpu)
{
    if (!vcpu)
        return;
    if (vcpu->lapic)
        lapic_free(vcpu->lapic);
    if (vcpu->run)
        munmap(vcpu->run, VCPU_RUN_SIZE);
    cpu_free(vcpu->cpu);
    fd_closep(&vcpu->wake_fd);
    pthread_mutex_destroy(&vcpu->mutex);
    pthread_mutex_destroy(&vcpu->run_lock);
    free(vcpu->cpuid);
    free(vcpu);
}

/* The page that is shared with user space: its file, mapped here. */
static int create_run(struct vcpu *vcpu, int *ret_fd)
{
    AUTO_FD fd = memfd_create("kvm-vcpu", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *run;

    if (fd < 0 || ftruncate(fd, VCPU_RUN_SIZE) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return -errno;
    run = mmap(NULL, VCPU_RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (run == MAP_FAILED)
        return -errno;
    vcpu->run = run;
    *ret_fd = fd_take(&fd);
    return 0;
}

/* As with KVM, the hypercall of the processor that the VMM runs on, which it tells its guests. */
static bool is_amd_host(void)
{
    unsigned eax, ebx = 0, ecx, edx;

    /* "Auth", "Hygo" */
    return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && (ebx == 0x68747541 || ebx == 0x6f677948);
}

/* vm->lock held. NULL: no memory. */
static struct vcpu *vcpu_new(struct vm *vm, uint32_t id)
{
    struct vcpu *vcpu = calloc(1, sizeof(*vcpu));
    bool is_bsp = id == vm->boot_cpu_id;

    if (!vcpu)
        return NULL;
    pthread_mutex_init(&vcpu->mutex, NULL);
    pthread_mutex_init(&vcpu->run_lock, NULL);
    vcpu->vm = vm;
    vcpu->id = id;
    vcpu->interrupt = -1;
    vcpu->wake_fd = -1;
    vcpu->cpu = cpu_new(&vcpu_cpu_ops, vcpu);
    vcpu->apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | (is_bsp ? APIC_BASE_BSP : 0);
    vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
    if (irqchip_present(vm->irqchip)) {
        vcpu->lapic = lapic_new(vm->irqchip, id);
        vcpu->split_irqchip = irqchip_is_split(vm->irqchip);
        if (vcpu->lapic)
            lapic_reset(vcpu->lapic, is_bsp);
        if (!is_bsp)
            vcpu->mp_state = KVM_MP_STATE_UNINITIALIZED;
    }
    if (vcpu->cpu) {
        /* KVM starts where FNINIT would lead, not at power-on. */
        vcpu->cpu->fpu = (struct cpu_fpu){ .control = 0x37f, .mxcsr = 0x1f80 };
        /* What a SEV guest executes can't be replaced, and it says VMMCALL. */
        vcpu->cpu->native_vmmcall = vm->sev || is_amd_host();
        vcpu->cpu->c_bit = vm->c_bit;
    }
    if (!vcpu->cpu || (irqchip_present(vm->irqchip) && !vcpu->lapic)) {
        vcpu_free(vcpu);
        return NULL;
    }
    return vcpu;
}

static void unlock(void *mutex)
{
    pthread_mutex_unlock(mutex);
}

static int class_ioctl(void *object, unsigned long request, unsigned long arg)
{
    struct vcpu *vcpu = object;
    const struct ioctl_row *row = ioctl_find(&vcpu_ioctls, request);
    int ret;

    if (!row)
        return -EINVAL;
    pthread_mutex_lock(&vcpu->mutex);
    pthread_cleanup_push(unlock, &vcpu->mutex);         /* KVM_RUN can be cancelled */
    if (row->runs) {
        ret = ioctl_call(row, vcpu, arg);
    } else {
        pthread_mutex_lock(&vcpu->run_lock);
        ret = ioctl_call(row, vcpu, arg);
        pthread_mutex_unlock(&vcpu->run_lock);
    }
    pthread_cleanup_pop(1);
    return ret;
}

static int class_mmap(void *object, void *addr, size_t length, int prot, int flags, int fd,
                      off_t offset, void **ret)
{
    const struct vcpu *vcpu = object;
    void *at = mmap(addr, length, prot, flags, fd, offset);
    int error = 0;

    if (at == MAP_FAILED)
        return -errno;
    /* The ring is the VM's: its page is the same in the mappings of all vCPUs. */
    if (offset <= VCPU_RING_OFFSET && (uint64_t)(VCPU_RING_OFFSET - offset) < length)
        error = coalesced_map(vcpu->vm->coalesced, (uint8_t *)at + (VCPU_RING_OFFSET - offset),
                              prot, flags);
    if (error)
        munmap(at, length);
    else
        *ret = at;
    return error;
}

/* The vCPU itself stays as long as the VM: its id can't be used again. */
static void class_release(void *object)
{
    struct vcpu *vcpu = object;

    vm_put(vcpu->vm);
}

static const struct descriptor_class vcpu_class = {
    .ioctl = class_ioctl,
    .mmap = class_mmap,
    .release = class_release,
    .name = "vcpu",
};

/* vm->lock held. */
static int add_vcpu(struct vm *vm, uint32_t id, struct vcpu **ret, int *ret_fd)
{
    struct vcpu *vcpu;
    int error;

    if (vm->nr_vcpus >= VM_MAX_VCPUS || (vm->max_vcpu_id && id >= vm->max_vcpu_id))
        return -EINVAL;
    if (vm_vcpu_by_id(vm, id))
        return -EEXIST;
    vcpu = vcpu_new(vm, id);
    if (!vcpu)
        return -ENOMEM;
    error = create_run(vcpu, ret_fd);
    if (error) {
        vcpu_free(vcpu);
        return error;
    }
    tsc_start(vcpu);
    vcpu->index = vm->nr_vcpus;
    __atomic_store_n(&vm->vcpus[vcpu->index], vcpu, __ATOMIC_RELEASE);
    __atomic_store_n(&vm->nr_vcpus, vcpu->index + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&vm->vcpu_by_id[id], vcpu, __ATOMIC_RELEASE);
    *ret = vcpu;
    return 0;
}

int vcpu_create(struct vm *vm, unsigned long id)
{
    struct vcpu *vcpu = NULL;
    int fd = -1, ret;

    if (id >= VM_MAX_VCPU_IDS)
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    ret = add_vcpu(vm, id, &vcpu, &fd);
    pthread_mutex_unlock(&vm->lock);
    if (ret)
        return ret;
    vm_get(vm);
    return descriptor_add(fd, &vcpu_class, vcpu);
}
