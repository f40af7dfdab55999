/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM ioctls, one row each. */
#include "capability.h"
#include "coalesced.h"
#include "eventfds.h"
#include "guest_clock.h"
#include "guest_memfd.h"
#include "host_ticks.h"
#include "hypercall.h"
#include "ioctl_table.h"
#include "irqchip.h"
#include "msr_filter.h"
#include "sev.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "stats_fd.h"
#include "usercopy.h"

#include <errno.h>
#include <string.h>

enum {
    MIN_MMU_PAGES = 64,
    MAX_ROUTES = 4096,
};

/* The three pages below it have to fit under 4 GiB. */
#define MAX_TSS_ADDR (0x100000000UL - 3 * 4096)

static int check_extension(void *object, void *arg, unsigned long cap)
{
    const struct vm *vm = object;

    return capability_check(&vm->options, vm, cap);
}

static int create_vcpu(void *object, void *arg, unsigned long id)
{
    return vcpu_create(object, id);
}

static int set_user_memory_region(void *object, void *arg, unsigned long value)
{
    const struct kvm_userspace_memory_region *old = arg;
    struct kvm_userspace_memory_region2 region = {
        .slot = old->slot,
        .flags = old->flags,
        .guest_phys_addr = old->guest_phys_addr,
        .memory_size = old->memory_size,
        .userspace_addr = old->userspace_addr,
    };

    return vm_set_memory_region(object, &region, KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY);
}

static int set_user_memory_region2(void *object, void *arg, unsigned long value)
{
    return vm_set_memory_region(object, arg, KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY |
                                             KVM_MEM_GUEST_MEMFD);
}

static int get_dirty_log(void *object, void *arg, unsigned long value)
{
    return vm_get_dirty_log(object, arg);
}

static int clear_dirty_log(void *object, void *arg, unsigned long value)
{
    return vm_clear_dirty_log(object, arg);
}

static int set_memory_attributes(void *object, void *arg, unsigned long value)
{
    return vm_set_attributes(object, arg);
}

static int set_memory_attributes2(void *object, void *arg, unsigned long value)
{
    return vm_set_attributes2(object, arg);
}

static int create_guest_memfd(void *object, void *arg, unsigned long value)
{
    return guest_memfd_create(object, arg);
}

/* Real mode and identity paging are done in software: the pages aren't needed. */
static int set_tss_addr(void *object, void *arg, unsigned long addr)
{
    return addr > MAX_TSS_ADDR ? -EINVAL : 0;
}

static int set_identity_map_addr(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;
    int ret;

    pthread_mutex_lock(&vm->lock);
    ret = vm->nr_vcpus ? -EINVAL : 0;
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

static int set_boot_cpu_id(void *object, void *arg, unsigned long id)
{
    struct vm *vm = object;
    uint32_t limit;
    int ret = 0;

    pthread_mutex_lock(&vm->lock);
    limit = vm->max_vcpu_id ? vm->max_vcpu_id : VM_MAX_VCPU_IDS;
    if (vm->nr_vcpus)
        ret = -EBUSY;
    else if (id > limit)
        ret = -EINVAL;
    else
        vm->boot_cpu_id = id;
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

/* There are no shadow page tables to limit. */
static int set_nr_mmu_pages(void *object, void *arg, unsigned long pages)
{
    return pages < MIN_MMU_PAGES ? -EINVAL : 0;
}

static int create_irqchip(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;
    int ret;

    pthread_mutex_lock(&vm->lock);
    if (irqchip_present(vm->irqchip))
        ret = -EEXIST;
    else
        ret = vm->nr_vcpus ? -EINVAL : irqchip_create(vm->irqchip);
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

static int create_pit2(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return irqchip_create_pit(vm->irqchip, arg);
}

static int create_pit(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;
    const struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };

    return irqchip_create_pit(vm->irqchip, &config);
}

static int get_pit2(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return irqchip_get_pit(vm->irqchip, arg);
}

static int set_pit2(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return irqchip_set_pit(vm->irqchip, arg);
}

/* Without the flags, that is. */
static int get_pit(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;
    struct kvm_pit_state2 state;
    int ret = irqchip_get_pit(vm->irqchip, &state);

    if (!ret)
        memcpy(arg, state.channels, sizeof(struct kvm_pit_state));
    return ret;
}

static int set_pit(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;
    struct kvm_pit_state2 state;
    int ret = irqchip_get_pit(vm->irqchip, &state);

    if (ret)
        return ret;
    memcpy(state.channels, arg, sizeof(struct kvm_pit_state));
    return irqchip_set_pit(vm->irqchip, &state);
}

static int reinject_control(void *object, void *arg, unsigned long user)
{
    struct vm *vm = object;
    struct kvm_reinject_control control;

    if (copy_from_user(&control, user, sizeof(control)))
        return -EFAULT;
    return irqchip_set_pit_reinject(vm->irqchip, control.pit_reinject);
}

static int get_irqchip(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return irqchip_get_state(vm->irqchip, arg);
}

static int set_irqchip(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return irqchip_set_state(vm->irqchip, arg);
}

static int irq_line_status(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;
    struct kvm_irq_level *level = arg;

    if (!irqchip_present(vm->irqchip))
        return -ENXIO;
    level->status = irqchip_set_line(vm->irqchip, level->irq, level->level);
    return 0;
}

static int signal_msi(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return irqchip_send_msi(vm->irqchip, arg);
}

static int set_gsi_routing(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;
    const struct kvm_irq_routing *routing = arg;

    return routing->flags ? -EINVAL
                          : irqchip_set_routing(vm->irqchip, routing->entries, routing->nr);
}

static int irqfd(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return eventfds_irqfd(vm->eventfds, arg);
}

static int ioeventfd(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return eventfds_ioeventfd(vm->eventfds, arg);
}

static int register_coalesced(void *object, void *arg, unsigned long value)
{
    return coalesced_register(object, arg);
}

static int unregister_coalesced(void *object, void *arg, unsigned long value)
{
    return coalesced_unregister(object, arg);
}

static int get_clock(void *object, void *arg, unsigned long value)
{
    return kvmclock_get(object, arg);
}

static int set_clock(void *object, void *arg, unsigned long value)
{
    return kvmclock_set(object, arg);
}

static int set_tsc_khz(void *object, void *arg, unsigned long khz)
{
    struct vm *vm = object;
    int ret = -EINVAL;

    pthread_mutex_lock(&vm->lock);
    if (!vm->nr_vcpus && khz <= UINT32_MAX) {
        __atomic_store_n(&vm->default_tsc_khz, khz ? khz : host_ticks_khz(), __ATOMIC_RELAXED);
        ret = 0;
    }
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

static int get_tsc_khz(void *object, void *arg, unsigned long value)
{
    struct vm *vm = object;

    return __atomic_load_n(&vm->default_tsc_khz, __ATOMIC_RELAXED);
}

static int enable_exit_hypercall(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~hypercall_exit_mask())
        return -EINVAL;
    __atomic_store_n(&vm->hypercall_exits, cap->args[0], __ATOMIC_RELAXED);
    return 0;
}

static int enable_x2apic_api(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)(KVM_X2APIC_API_USE_32BIT_IDS |
                                   KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
        return -EINVAL;
    irqchip_set_x2apic_api(vm->irqchip, cap->args[0] & KVM_X2APIC_API_USE_32BIT_IDS,
                           cap->args[0] & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
    return 0;
}

static int enable_split_irqchip(struct vm *vm, const struct kvm_enable_cap *cap)
{
    int ret = -EEXIST;

    pthread_mutex_lock(&vm->lock);
    if (!vm->nr_vcpus)
        ret = irqchip_create_split(vm->irqchip, cap->args[0]);
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

static int enable_apic_bus_cycles(struct vm *vm, const struct kvm_enable_cap *cap)
{
    int ret = -EINVAL;

    pthread_mutex_lock(&vm->lock);
    if (!vm->nr_vcpus || !irqchip_present(vm->irqchip))
        ret = irqchip_set_apic_bus_ns(vm->irqchip, cap->args[0]);
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

/* Once, and not below the processor that boots. */
static int enable_max_vcpu_id(struct vm *vm, const struct kvm_enable_cap *cap)
{
    uint64_t limit = cap->args[0];
    int ret = -EINVAL;

    pthread_mutex_lock(&vm->lock);
    if (limit <= VM_MAX_VCPU_IDS && vm->boot_cpu_id <= limit &&
        (!vm->max_vcpu_id || vm->max_vcpu_id == limit)) {
        vm->max_vcpu_id = limit;
        ret = 0;
    }
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

static int enable_platform_info(struct vm *vm, const struct kvm_enable_cap *cap)
{
    __atomic_store_n(&vm->platform_info_denied, !cap->args[0], __ATOMIC_RELAXED);
    return 0;
}

static int enable_user_space_msr(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)MSR_EXIT_REASONS)
        return -EINVAL;
    __atomic_store_n(&vm->msr_exits, cap->args[0], __ATOMIC_RELAXED);
    return 0;
}

static int enable_flag(bool *flag, const struct kvm_enable_cap *cap)
{
    __atomic_store_n(flag, cap->args[0], __ATOMIC_RELAXED);
    return 0;
}

static int enable_exit_on_emulation_failure(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] > 1)
        return -EINVAL;
    return enable_flag(&vm->exit_on_emulation_failure, cap);
}

static int enable_exception_payload(struct vm *vm, const struct kvm_enable_cap *cap)
{
    return enable_flag(&vm->exception_payload, cap);
}

static int enable_triple_fault_event(struct vm *vm, const struct kvm_enable_cap *cap)
{
    return enable_flag(&vm->triple_fault_event, cap);
}

/*
 * For good; what this KVM doesn't offer is ignored, as Linux does.  PAUSE never
 * leaves the guest.
 */
static int disable_exits(struct vm *vm, const struct kvm_enable_cap *cap)
{
    if (cap->args[0] & ~(uint64_t)KVM_X86_DISABLE_VALID_EXITS)
        return -EINVAL;
    if (cap->args[0] & KVM_X86_DISABLE_EXITS_HLT)
        __atomic_store_n(&vm->hlt_in_guest, true, __ATOMIC_RELAXED);
    return 0;
}

/* For good.  The first form of it takes whatever it is told. */
static int disable_quirks(struct vm *vm, const struct kvm_enable_cap *cap)
{
    pthread_mutex_lock(&vm->lock);
    vm_pause(vm);
    vm->disabled_quirks |= cap->args[0] & vm_valid_quirks();
    vm_resume(vm);
    pthread_mutex_unlock(&vm->lock);
    return 0;
}

static int disable_quirks2(struct vm *vm, const struct kvm_enable_cap *cap)
{
    return cap->args[0] & ~vm_valid_quirks() ? -EINVAL : disable_quirks(vm, cap);
}

static int set_msr_filter(void *object, void *arg, unsigned long value)
{
    return msr_filter_set(object, arg);
}

/* INITIALLY_SET is nothing alone; slots that have a log keep what is in it. */
static int enable_manual_dirty_log(struct vm *vm, const struct kvm_enable_cap *cap)
{
    uint64_t flags = cap->args[0];

    if (flags && flags != KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE && flags != MANUAL_DIRTY_LOG_FLAGS)
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    vm->manual_dirty_log = flags;
    pthread_mutex_unlock(&vm->lock);
    return 0;
}

static int memory_encrypt_op(void *object, void *arg, unsigned long user)
{
    return sev_op(object, user);
}

static int memory_encrypt_reg_region(void *object, void *arg, unsigned long value)
{
    return sev_register(object, arg);
}

static int memory_encrypt_unreg_region(void *object, void *arg, unsigned long value)
{
    return sev_unregister(object, arg);
}

static int get_stats_fd(void *object, void *arg, unsigned long value)
{
    return stats_fd_create(object, NULL);
}

static int enable_cap(void *object, void *arg, unsigned long value)
{
    static const struct {
        uint32_t cap;
        int (*fn)(struct vm *vm, const struct kvm_enable_cap *cap);
    } caps[] = {
        { KVM_CAP_EXIT_HYPERCALL, enable_exit_hypercall },
        { KVM_CAP_X2APIC_API, enable_x2apic_api },
        { KVM_CAP_X86_APIC_BUS_CYCLES_NS, enable_apic_bus_cycles },
        { KVM_CAP_SPLIT_IRQCHIP, enable_split_irqchip },
        { KVM_CAP_MAX_VCPU_ID, enable_max_vcpu_id },
        { KVM_CAP_MSR_PLATFORM_INFO, enable_platform_info },
        { KVM_CAP_X86_USER_SPACE_MSR, enable_user_space_msr },
        { KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, enable_manual_dirty_log },
        { KVM_CAP_EXIT_ON_EMULATION_FAILURE, enable_exit_on_emulation_failure },
        { KVM_CAP_EXCEPTION_PAYLOAD, enable_exception_payload },
        { KVM_CAP_X86_TRIPLE_FAULT_EVENT, enable_triple_fault_event },
        { KVM_CAP_X86_DISABLE_EXITS, disable_exits },
        { KVM_CAP_DISABLE_QUIRKS, disable_quirks },
        { KVM_CAP_DISABLE_QUIRKS2, disable_quirks2 },
    };
    const struct kvm_enable_cap *cap = arg;

    if (cap->flags)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
        if (caps[i].cap == cap->cap)
            return caps[i].fn(object, cap);
    }
    return -EINVAL;
}

static const struct ioctl_row rows[] = {
    IOCTL_VALUE(KVM_CHECK_EXTENSION, KVM_CAP_CHECK_EXTENSION_VM, check_extension),
    IOCTL_VALUE(KVM_CREATE_VCPU, CAP_NONE, create_vcpu),
    IOCTL_STRUCT(KVM_SET_USER_MEMORY_REGION, struct kvm_userspace_memory_region,
                 KVM_CAP_USER_MEMORY, set_user_memory_region),
    IOCTL_STRUCT(KVM_SET_USER_MEMORY_REGION2, struct kvm_userspace_memory_region2,
                 KVM_CAP_USER_MEMORY2, set_user_memory_region2),
    IOCTL_STRUCT(KVM_GET_DIRTY_LOG, struct kvm_dirty_log, CAP_NONE, get_dirty_log),
    IOCTL_STRUCT(KVM_CLEAR_DIRTY_LOG, struct kvm_clear_dirty_log, CAP_NONE, clear_dirty_log),
    /* Its capability is a mask: capability.c. */
    IOCTL_STRUCT(KVM_SET_MEMORY_ATTRIBUTES, struct kvm_memory_attributes, CAP_NONE,
                 set_memory_attributes),
    IOCTL_STRUCT(KVM_SET_MEMORY_ATTRIBUTES2, struct kvm_memory_attributes2, CAP_NONE,
                 set_memory_attributes2),
    IOCTL_STRUCT(KVM_CREATE_GUEST_MEMFD, struct kvm_create_guest_memfd, KVM_CAP_GUEST_MEMFD,
                 create_guest_memfd),
    IOCTL_VALUE(KVM_SET_TSS_ADDR, KVM_CAP_SET_TSS_ADDR, set_tss_addr),
    IOCTL_STRUCT(KVM_SET_IDENTITY_MAP_ADDR, uint64_t, KVM_CAP_SET_IDENTITY_MAP_ADDR,
                 set_identity_map_addr),
    IOCTL_VALUE(KVM_SET_BOOT_CPU_ID, KVM_CAP_SET_BOOT_CPU_ID, set_boot_cpu_id),
    IOCTL_VALUE(KVM_SET_NR_MMU_PAGES, KVM_CAP_MMU_SHADOW_CACHE_CONTROL, set_nr_mmu_pages),
    IOCTL_VALUE(KVM_CREATE_IRQCHIP, KVM_CAP_IRQCHIP, create_irqchip),
    IOCTL_STRUCT(KVM_CREATE_PIT2, struct kvm_pit_config, KVM_CAP_PIT2, create_pit2),
    IOCTL_VALUE(KVM_CREATE_PIT, KVM_CAP_PIT, create_pit),
    IOCTL_STRUCT(KVM_GET_PIT2, struct kvm_pit_state2, KVM_CAP_PIT_STATE2, get_pit2),
    IOCTL_STRUCT(KVM_SET_PIT2, struct kvm_pit_state2, KVM_CAP_PIT_STATE2, set_pit2),
    IOCTL_STRUCT(KVM_GET_PIT, struct kvm_pit_state, KVM_CAP_PIT, get_pit),
    /* This, too, only reads. */
    { .name = "KVM_SET_PIT", .cmd = (unsigned)KVM_SET_PIT, .cap = KVM_CAP_PIT,
      .size = IOCTL_TYPE_SIZE(KVM_SET_PIT, struct kvm_pit_state), .fn = set_pit, .in = true },
    IOCTL_VALUE(KVM_REINJECT_CONTROL, KVM_CAP_REINJECT_CONTROL, reinject_control),
    IOCTL_STRUCT(KVM_GET_IRQCHIP, struct kvm_irqchip, KVM_CAP_IRQCHIP, get_irqchip),
    /* Its number says that it returns something; it only reads. */
    { .name = "KVM_SET_IRQCHIP", .cmd = (unsigned)KVM_SET_IRQCHIP, .cap = KVM_CAP_IRQCHIP,
      .size = IOCTL_TYPE_SIZE(KVM_SET_IRQCHIP, struct kvm_irqchip), .fn = set_irqchip,
      .in = true },
    IOCTL_STRUCT(KVM_IRQ_LINE, struct kvm_irq_level, KVM_CAP_IRQCHIP, irq_line_status),
    IOCTL_STRUCT(KVM_IRQ_LINE_STATUS, struct kvm_irq_level, KVM_CAP_IRQ_INJECT_STATUS,
                 irq_line_status),
    IOCTL_STRUCT(KVM_SIGNAL_MSI, struct kvm_msi, KVM_CAP_SIGNAL_MSI, signal_msi),
    IOCTL_ARRAY(KVM_SET_GSI_ROUTING, struct kvm_irq_routing, struct kvm_irq_routing_entry,
                MAX_ROUTES, EINVAL, CAP_NONE, set_gsi_routing),
    IOCTL_STRUCT(KVM_IRQFD, struct kvm_irqfd, KVM_CAP_IRQFD, irqfd),
    IOCTL_STRUCT(KVM_IOEVENTFD, struct kvm_ioeventfd, KVM_CAP_IOEVENTFD, ioeventfd),
    /* Their capability is the ring's place: capability.c. */
    IOCTL_STRUCT(KVM_REGISTER_COALESCED_MMIO, struct kvm_coalesced_mmio_zone, CAP_NONE,
                 register_coalesced),
    IOCTL_STRUCT(KVM_UNREGISTER_COALESCED_MMIO, struct kvm_coalesced_mmio_zone, CAP_NONE,
                 unregister_coalesced),
    IOCTL_STRUCT(KVM_GET_CLOCK, struct kvm_clock_data, CAP_NONE, get_clock),
    IOCTL_STRUCT(KVM_SET_CLOCK, struct kvm_clock_data, CAP_NONE, set_clock),
    IOCTL_VALUE(KVM_SET_TSC_KHZ, KVM_CAP_VM_TSC_CONTROL, set_tsc_khz),
    IOCTL_VALUE(KVM_GET_TSC_KHZ, KVM_CAP_VM_TSC_CONTROL, get_tsc_khz),
    IOCTL_STRUCT(KVM_X86_SET_MSR_FILTER, struct kvm_msr_filter, KVM_CAP_X86_MSR_FILTER,
                 set_msr_filter),
    /* It reads its structure itself: without one it says whether there is SEV. */
    IOCTL_VALUE(KVM_MEMORY_ENCRYPT_OP, CAP_NONE, memory_encrypt_op),
    /* By their numbers they return something. */
    { .name = "KVM_MEMORY_ENCRYPT_REG_REGION", .cmd = (unsigned)KVM_MEMORY_ENCRYPT_REG_REGION,
      .cap = CAP_NONE, .fn = memory_encrypt_reg_region, .in = true,
      .size = IOCTL_TYPE_SIZE(KVM_MEMORY_ENCRYPT_REG_REGION, struct kvm_enc_region) },
    { .name = "KVM_MEMORY_ENCRYPT_UNREG_REGION", .cmd = (unsigned)KVM_MEMORY_ENCRYPT_UNREG_REGION,
      .cap = CAP_NONE, .fn = memory_encrypt_unreg_region, .in = true,
      .size = IOCTL_TYPE_SIZE(KVM_MEMORY_ENCRYPT_UNREG_REGION, struct kvm_enc_region) },
    IOCTL_VALUE(KVM_GET_STATS_FD, KVM_CAP_BINARY_STATS_FD, get_stats_fd),
    IOCTL_STRUCT(KVM_ENABLE_CAP, struct kvm_enable_cap, KVM_CAP_ENABLE_CAP_VM, enable_cap),
};

const struct ioctl_table vm_ioctls = { "vm", rows, sizeof(rows) / sizeof(rows[0]) };
