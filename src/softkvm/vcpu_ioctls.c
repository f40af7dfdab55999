/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vCPU ioctls, one row each. */
#include "guest_clock.h"
#include "guest_page.h"
#include "ioctl_table.h"
#include "irqchip.h"
#include "mce.h"
#include "msr.h"
#include "range.h"
#include "signals.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "stats_fd.h"
#include "usercopy.h"
#include "vapic.h"
#include "vcpu_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    KERNEL_SIGSET_SIZE = 8,     /* what the kernel calls sigset_t */
    XCR0_X87 = 1 << 0, XCR0_SSE = 1 << 1,
    NR_VECTORS = 256,
};

static int run(void *object, void *arg, unsigned long value)
{
    return value ? -EINVAL : vcpu_run(object);
}

static int get_regs(void *object, void *arg, unsigned long value)
{
    vcpu_get_regs(object, arg);
    return 0;
}

static int set_regs(void *object, void *arg, unsigned long value)
{
    vcpu_set_regs(object, arg);
    return 0;
}

static int get_sregs(void *object, void *arg, unsigned long value)
{
    vcpu_get_sregs(object, arg);
    return 0;
}

static int set_sregs(void *object, void *arg, unsigned long value)
{
    return vcpu_set_sregs(object, arg);
}

static int get_sregs2(void *object, void *arg, unsigned long value)
{
    vcpu_get_sregs2(object, arg);
    return 0;
}

static int set_sregs2(void *object, void *arg, unsigned long value)
{
    return vcpu_set_sregs2(object, arg);
}

static int get_fpu(void *object, void *arg, unsigned long value)
{
    vcpu_get_fpu(object, arg);
    return 0;
}

static int set_fpu(void *object, void *arg, unsigned long value)
{
    vcpu_set_fpu(object, arg);
    return 0;
}

static int get_xsave(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    memset(arg, 0, sizeof(struct kvm_xsave));
    cpu_xsave(vcpu->cpu, arg);
    return 0;
}

static int set_xsave(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    return cpu_xrstor(vcpu->cpu, arg) ? 0 : -EINVAL;
}

static int get_xcrs(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    struct kvm_xcrs *xcrs = arg;

    memset(xcrs, 0, sizeof(*xcrs));
    xcrs->nr_xcrs = 1;
    xcrs->xcrs[0].value = vcpu->cpu->xcr0;
    return 0;
}

static int set_xcrs(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    const struct kvm_xcrs *xcrs = arg;

    if (xcrs->nr_xcrs > KVM_MAX_XCRS || xcrs->flags)
        return -EINVAL;
    for (uint32_t i = 0; i < xcrs->nr_xcrs; i++) {
        if (xcrs->xcrs[i].xcr != 0)
            continue;
        if (!(xcrs->xcrs[i].value & XCR0_X87) ||
            xcrs->xcrs[i].value & ~(uint64_t)(XCR0_X87 | XCR0_SSE))
            return -EINVAL;
        vcpu->cpu->xcr0 = xcrs->xcrs[i].value;
        cpu_state_replaced(vcpu->cpu);
        break;
    }
    return 0;
}

static int get_debugregs(void *object, void *arg, unsigned long value)
{
    vcpu_get_debugregs(object, arg);
    return 0;
}

static int set_debugregs(void *object, void *arg, unsigned long value)
{
    return vcpu_set_debugregs(object, arg);
}

static int get_vcpu_events(void *object, void *arg, unsigned long value)
{
    vcpu_get_events(object, arg);
    return 0;
}

static int set_vcpu_events(void *object, void *arg, unsigned long value)
{
    return vcpu_set_events(object, arg);
}

static int get_msrs(void *object, void *arg, unsigned long value)
{
    struct kvm_msrs *msrs = arg;
    uint32_t i;

    for (i = 0; i < msrs->nmsrs; i++) {
        uint64_t data;

        if (!msr_read(object, msrs->entries[i].index, &data, true))
            break;
        msrs->entries[i].data = data;
    }
    return i;
}

static int set_msrs(void *object, void *arg, unsigned long value)
{
    const struct kvm_msrs *msrs = arg;
    uint32_t i;

    for (i = 0; i < msrs->nmsrs; i++) {
        if (!msr_write(object, msrs->entries[i].index, msrs->entries[i].data, true))
            break;
    }
    return i;
}

static int set_cpuid2(void *object, void *arg, unsigned long value)
{
    return cpuid_set(object, arg);
}

/* The oldest form: leaves without subleaves. */
static int set_cpuid(void *object, void *arg, unsigned long value)
{
    const struct kvm_cpuid *old = arg;
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + old->nent * sizeof(cpuid->entries[0]));
    int ret;

    if (!cpuid)
        return -ENOMEM;
    cpuid->nent = old->nent;
    for (uint32_t i = 0; i < old->nent; i++) {
        const struct kvm_cpuid_entry *e = &old->entries[i];

        cpuid->entries[i] = (struct kvm_cpuid_entry2){
            .function = e->function, .eax = e->eax, .ebx = e->ebx, .ecx = e->ecx, .edx = e->edx,
        };
    }
    ret = cpuid_set(object, cpuid);
    free(cpuid);
    return ret;
}

static int get_cpuid2(void *object, void *arg, unsigned long value)
{
    return cpuid_get(object, arg);
}

static int get_lapic(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    if (!vcpu->lapic)
        return -EINVAL;
    lapic_get_state(vcpu->lapic, arg);
    return 0;
}

static int set_lapic(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    return vcpu->lapic ? lapic_set_state(vcpu->lapic, arg) : -EINVAL;
}

static int get_mp_state(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    ((struct kvm_mp_state *)arg)->mp_state = vcpu->mp_state;
    return 0;
}

static int set_mp_state(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    uint32_t state = ((const struct kvm_mp_state *)arg)->mp_state;

    if (state > KVM_MP_STATE_SIPI_RECEIVED)
        return -EINVAL;
    /* Without a local APIC nothing would ever end the other states. */
    if (!vcpu->lapic && state != KVM_MP_STATE_RUNNABLE)
        return -EINVAL;
    /* Linux: received, and nothing more to come before it runs. */
    if (state == KVM_MP_STATE_SIPI_RECEIVED)
        state = KVM_MP_STATE_INIT_RECEIVED;
    vcpu->mp_state = state;
    return 0;
}

static int nmi(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    if (vcpu->lapic)
        lapic_nmi(vcpu->lapic);
    else if (vcpu->nmis < LAPIC_MAX_NMIS)
        vcpu->nmis++;
    return 0;
}

static int smi(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    if (vcpu->lapic)
        lapic_smi(vcpu->lapic);
    else
        vcpu->smi = true;
    return 0;
}

static int interrupt(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    const struct kvm_interrupt *args = arg;

    if (args->irq >= NR_VECTORS)
        return -EINVAL;
    if (vcpu->lapic && !vcpu->split_irqchip)
        return -ENXIO;
    /* Of a split irqchip's PIC one waits; without local APIC the last one counts. */
    if (vcpu->lapic && vcpu->interrupt >= 0)
        return -EEXIST;
    vcpu->interrupt = args->irq;
    return 0;
}

static int set_tsc_khz(void *object, void *arg, unsigned long khz)
{
    return tsc_set_khz(object, khz);
}

static int get_tsc_khz(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    return vcpu->tsc_khz;
}

/* The one attribute of a vCPU: its TSC minus the (scaled) one of the host. */
static bool is_tsc_offset(const struct kvm_device_attr *attr)
{
    return attr->group == KVM_VCPU_TSC_CTRL && attr->attr == KVM_VCPU_TSC_OFFSET;
}

static int has_device_attr(void *object, void *arg, unsigned long value)
{
    return is_tsc_offset(arg) ? 0 : -ENXIO;
}

static int get_device_attr(void *object, void *arg, unsigned long value)
{
    const struct kvm_device_attr *attr = arg;
    const struct vcpu *vcpu = object;

    if (!is_tsc_offset(attr))
        return -ENXIO;
    return copy_to_user(attr->addr, &vcpu->tsc_offset, sizeof(vcpu->tsc_offset));
}

static int set_device_attr(void *object, void *arg, unsigned long value)
{
    const struct kvm_device_attr *attr = arg;
    uint64_t offset;

    if (!is_tsc_offset(attr))
        return -ENXIO;
    if (copy_from_user(&offset, attr->addr, sizeof(offset)))
        return -EFAULT;
    tsc_set_offset(object, offset);
    return 0;
}

static int kvmclock_ctrl(void *object, void *arg, unsigned long value)
{
    return kvmclock_tell_stopped(object);
}

/* NULL: the thread's own mask again. */
static int set_signal_mask(void *object, void *arg, unsigned long user)
{
    struct vcpu *vcpu = object;
    struct kvm_signal_mask mask;
    uint64_t bits;

    vcpu->has_sigmask = false;
    if (!user)
        return 0;
    if (copy_from_user(&mask, user, sizeof(mask)))
        return -EFAULT;
    if (mask.len != KERNEL_SIGSET_SIZE)
        return -EINVAL;
    if (copy_from_user(&bits, user + sizeof(mask), sizeof(bits)))
        return -EFAULT;
    signals_from_bits(bits, &vcpu->sigmask);
    vcpu->has_sigmask = true;
    return 0;
}

static int translate(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    struct kvm_translation *tr = arg;
    bool writeable = false, user = false;
    uint64_t gpa = UINT64_MAX;

    tr->valid = cpu_translate(vcpu->cpu, tr->linear_address, &gpa, &writeable, &user);
    tr->physical_address = tr->valid ? gpa : UINT64_MAX;
    /* KVM has never filled in the rest otherwise than so. */
    tr->writeable = 1;
    tr->usermode = 0;
    return 0;
}

static int set_guest_debug(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    const struct kvm_guest_debug *debug = arg;
    struct cpu *cpu = vcpu->cpu;

    cpu->guest_debug.enabled = debug->control & KVM_GUESTDBG_ENABLE;
    cpu->guest_debug.single_step = cpu->guest_debug.enabled &&
                                   debug->control & KVM_GUESTDBG_SINGLESTEP;
    cpu->guest_debug.sw_breakpoints = cpu->guest_debug.enabled &&
                                      debug->control & KVM_GUESTDBG_USE_SW_BP;
    cpu->guest_debug.hw_breakpoints = cpu->guest_debug.enabled &&
                                      debug->control & KVM_GUESTDBG_USE_HW_BP;
    vcpu->block_irq = cpu->guest_debug.enabled && debug->control & KVM_GUESTDBG_BLOCKIRQ;
    for (int i = 0; i < 8; i++)
        cpu->guest_debug.dr[i] = debug->arch.debugreg[i];
    if (cpu->guest_debug.enabled &&
        debug->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
        if (cpu->event.pending)
            return -EBUSY;
        memset(&cpu->event, 0, sizeof(cpu->event));
        cpu->event.pending = true;
        cpu->event.vector = debug->control & KVM_GUESTDBG_INJECT_DB ? VECTOR_DB : VECTOR_BP;
        /* INT3 as the guest would have executed it: its handler returns behind it. */
        if (cpu->event.vector == VECTOR_BP) {
            cpu->event.soft = true;
            cpu->event.length = 1;
            cpu->regs[REG_RIP]++;
        }
    }
    cpu_state_replaced(cpu);
    return 0;
}

static int setup_mce(void *object, void *arg, unsigned long value)
{
    const uint64_t *mcg_cap = arg;

    return mce_setup(object, *mcg_cap);
}

static int set_mce(void *object, void *arg, unsigned long value)
{
    return mce_inject(object, arg);
}

static int get_stats_fd(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;

    return stats_fd_create(vcpu->vm, vcpu);
}

static int enable_cap(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    const struct kvm_enable_cap *cap = arg;

    if (cap->flags || cap->cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
        return -EINVAL;
    vcpu->pv_enforced = cap->args[0];
    return 0;
}

static int set_vapic_addr(void *object, void *arg, unsigned long value)
{
    return vapic_set_address(object, ((const struct kvm_vapic_addr *)arg)->vapic_addr);
}

static int tpr_access_reporting(void *object, void *arg, unsigned long value)
{
    struct vcpu *vcpu = object;
    const struct kvm_tpr_access_ctl *control = arg;

    if (control->flags)
        return -EINVAL;
    vcpu->report_tpr = control->enabled;
    return 0;
}

/* One page a call at least; what is left is told to the caller, who goes on. */
static int pre_fault_memory(void *object, void *arg, unsigned long user)
{
    struct vcpu *vcpu = object;
    struct kvm_pre_fault_memory *range = arg;
    uint64_t before = range->size;

    for (size_t i = 0; i < sizeof(range->padding) / sizeof(range->padding[0]); i++) {
        if (range->padding[i])
            return -EINVAL;
    }
    if (range->flags || !range->size || range_wraps(range->gpa, range->size) ||
        !is_aligned(range->gpa | range->size, GUEST_PAGE_SIZE))
        return -EINVAL;
    while (range->size) {
        struct cpu_page page;
        bool is_private;
        enum guest_page_kind kind = guest_page_find(vcpu->vm, false, range->gpa, ACCESS_READ, &page,
                                                    &is_private);

        if (kind != GUEST_PAGE_RAM && range->size == before)
            return kind == GUEST_PAGE_NONE ? -ENOENT
                   : kind == GUEST_PAGE_NO_MEMORY ? -ENOMEM : -EFAULT;
        if (kind != GUEST_PAGE_RAM)
            return 0;
        if (!user_page_usable((uintptr_t)page.host, false))
            return range->size == before ? -EFAULT : 0;
        range->gpa += GUEST_PAGE_SIZE;
        range->size -= GUEST_PAGE_SIZE;
    }
    return 0;
}

static const struct ioctl_row rows[] = {
    { .name = "KVM_RUN", .cmd = KVM_RUN, .cap = CAP_NONE, .fn = run, .runs = true },
    IOCTL_STRUCT(KVM_GET_REGS, struct kvm_regs, CAP_NONE, get_regs),
    IOCTL_STRUCT(KVM_SET_REGS, struct kvm_regs, CAP_NONE, set_regs),
    IOCTL_STRUCT(KVM_GET_SREGS, struct kvm_sregs, CAP_NONE, get_sregs),
    IOCTL_STRUCT(KVM_SET_SREGS, struct kvm_sregs, CAP_NONE, set_sregs),
    IOCTL_STRUCT(KVM_GET_SREGS2, struct kvm_sregs2, KVM_CAP_SREGS2, get_sregs2),
    IOCTL_STRUCT(KVM_SET_SREGS2, struct kvm_sregs2, KVM_CAP_SREGS2, set_sregs2),
    IOCTL_STRUCT(KVM_GET_FPU, struct kvm_fpu, CAP_NONE, get_fpu),
    IOCTL_STRUCT(KVM_SET_FPU, struct kvm_fpu, CAP_NONE, set_fpu),
    IOCTL_STRUCT(KVM_GET_XSAVE, struct kvm_xsave, KVM_CAP_XSAVE, get_xsave),
    IOCTL_STRUCT(KVM_SET_XSAVE, struct kvm_xsave, KVM_CAP_XSAVE, set_xsave),
    /* Its capability is a size: capability.c. */
    IOCTL_STRUCT(KVM_GET_XSAVE2, struct kvm_xsave, CAP_NONE, get_xsave),
    IOCTL_STRUCT(KVM_GET_XCRS, struct kvm_xcrs, KVM_CAP_XCRS, get_xcrs),
    IOCTL_STRUCT(KVM_SET_XCRS, struct kvm_xcrs, KVM_CAP_XCRS, set_xcrs),
    IOCTL_STRUCT(KVM_GET_DEBUGREGS, struct kvm_debugregs, KVM_CAP_DEBUGREGS, get_debugregs),
    IOCTL_STRUCT(KVM_SET_DEBUGREGS, struct kvm_debugregs, KVM_CAP_DEBUGREGS, set_debugregs),
    IOCTL_STRUCT(KVM_GET_VCPU_EVENTS, struct kvm_vcpu_events, KVM_CAP_VCPU_EVENTS,
                 get_vcpu_events),
    IOCTL_STRUCT(KVM_SET_VCPU_EVENTS, struct kvm_vcpu_events, KVM_CAP_VCPU_EVENTS,
                 set_vcpu_events),
    IOCTL_ARRAY(KVM_GET_MSRS, struct kvm_msrs, struct kvm_msr_entry, MSR_IO_MAX, E2BIG, CAP_NONE,
                get_msrs),
    IOCTL_ARRAY(KVM_SET_MSRS, struct kvm_msrs, struct kvm_msr_entry, MSR_IO_MAX, E2BIG, CAP_NONE,
                set_msrs),
    IOCTL_ARRAY(KVM_SET_CPUID, struct kvm_cpuid, struct kvm_cpuid_entry, KVM_CPUID_MAX, E2BIG,
                CAP_NONE, set_cpuid),
    IOCTL_ARRAY(KVM_SET_CPUID2, struct kvm_cpuid2, struct kvm_cpuid_entry2, KVM_CPUID_MAX, E2BIG,
                KVM_CAP_EXT_CPUID, set_cpuid2),
    IOCTL_ARRAY(KVM_GET_CPUID2, struct kvm_cpuid2, struct kvm_cpuid_entry2, KVM_CPUID_MAX, 0,
                KVM_CAP_EXT_CPUID, get_cpuid2),
    IOCTL_STRUCT(KVM_X86_SETUP_MCE, uint64_t, CAP_NONE, setup_mce),
    IOCTL_STRUCT(KVM_X86_SET_MCE, struct kvm_x86_mce, CAP_NONE, set_mce),
    IOCTL_STRUCT(KVM_GET_LAPIC, struct kvm_lapic_state, KVM_CAP_IRQCHIP, get_lapic),
    IOCTL_STRUCT(KVM_SET_LAPIC, struct kvm_lapic_state, KVM_CAP_IRQCHIP, set_lapic),
    IOCTL_STRUCT(KVM_SET_VAPIC_ADDR, struct kvm_vapic_addr, KVM_CAP_VAPIC, set_vapic_addr),
    IOCTL_STRUCT(KVM_TPR_ACCESS_REPORTING, struct kvm_tpr_access_ctl, KVM_CAP_VAPIC,
                 tpr_access_reporting),
    IOCTL_STRUCT(KVM_GET_MP_STATE, struct kvm_mp_state, KVM_CAP_MP_STATE, get_mp_state),
    IOCTL_STRUCT(KVM_SET_MP_STATE, struct kvm_mp_state, KVM_CAP_MP_STATE, set_mp_state),
    IOCTL_VALUE(KVM_NMI, KVM_CAP_USER_NMI, nmi),
    IOCTL_VALUE(KVM_SMI, KVM_CAP_X86_SMM, smi),
    IOCTL_STRUCT(KVM_INTERRUPT, struct kvm_interrupt, CAP_NONE, interrupt),
    IOCTL_VALUE(KVM_SET_TSC_KHZ, KVM_CAP_TSC_CONTROL, set_tsc_khz),
    IOCTL_VALUE(KVM_GET_TSC_KHZ, KVM_CAP_GET_TSC_KHZ, get_tsc_khz),
    IOCTL_STRUCT(KVM_HAS_DEVICE_ATTR, struct kvm_device_attr, KVM_CAP_VCPU_ATTRIBUTES,
                 has_device_attr),
    IOCTL_STRUCT(KVM_GET_DEVICE_ATTR, struct kvm_device_attr, KVM_CAP_VCPU_ATTRIBUTES,
                 get_device_attr),
    IOCTL_STRUCT(KVM_SET_DEVICE_ATTR, struct kvm_device_attr, KVM_CAP_VCPU_ATTRIBUTES,
                 set_device_attr),
    IOCTL_VALUE(KVM_KVMCLOCK_CTRL, KVM_CAP_KVMCLOCK_CTRL, kvmclock_ctrl),
    IOCTL_VALUE(KVM_SET_SIGNAL_MASK, CAP_NONE, set_signal_mask),
    IOCTL_STRUCT(KVM_TRANSLATE, struct kvm_translation, CAP_NONE, translate),
    IOCTL_STRUCT(KVM_SET_GUEST_DEBUG, struct kvm_guest_debug, KVM_CAP_SET_GUEST_DEBUG,
                 set_guest_debug),
    IOCTL_STRUCT(KVM_ENABLE_CAP, struct kvm_enable_cap, KVM_CAP_ENABLE_CAP, enable_cap),
    IOCTL_VALUE(KVM_GET_STATS_FD, KVM_CAP_BINARY_STATS_FD, get_stats_fd),
    IOCTL_STRUCT(KVM_PRE_FAULT_MEMORY, struct kvm_pre_fault_memory, KVM_CAP_PRE_FAULT_MEMORY,
                 pre_fault_memory),
};

const struct ioctl_table vcpu_ioctls = { "vcpu", rows, sizeof(rows) / sizeof(rows[0]) };
