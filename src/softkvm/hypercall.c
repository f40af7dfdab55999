/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's hypercalls, checks in the order of Linux 6.12 arch/x86/kvm/x86.c,
 * kvm_emulate_hypercall(); Documentation/virt/kvm/x86/hypercalls.rst.
 * Which of the two instructions it was is the processor's business
 * (cpu/system_insns.c).
 */
#include "hypercall.h"

#include "range.h"
#include "soft_vcpu.h"
#include "soft_vm.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <linux/kvm_para.h>
#include <sched.h>
#include <string.h>

enum { HYPERCALL_LENGTH = 3, HYPERCALL_ARGS = 4, LONG_MODE_FLAG = 1 };

uint64_t hypercall_exit_mask(void)
{
    return 1 << KVM_HC_MAP_GPA_RANGE;
}

static bool in_64bit_mode(const struct vcpu *vcpu)
{
    return vcpu->cpu->code_size == 8;
}

/* The result, and on to the next instruction. */
static void answer(struct vcpu *vcpu, uint64_t result)
{
    struct cpu *cpu = vcpu->cpu;

    cpu->regs[REG_RAX] = in_64bit_mode(vcpu) ? result : (uint32_t)result;
    cpu->regs[REG_RIP] += HYPERCALL_LENGTH;
}

/* 0: forward it; else the negative result. */
static int64_t check_map_gpa_range(const struct vcpu *vcpu, const uint64_t args[HYPERCALL_ARGS])
{
    uint64_t enabled = __atomic_load_n(&vcpu->vm->hypercall_exits, __ATOMIC_RELAXED);
    uint64_t gpa = args[0], pages = args[1];

    if (!(enabled & 1 << KVM_HC_MAP_GPA_RANGE))
        return -KVM_ENOSYS;
    if (!is_aligned(gpa, GUEST_PAGE_SIZE) || !pages ||
        gpa / GUEST_PAGE_SIZE + pages <= gpa / GUEST_PAGE_SIZE)
        return -EINVAL;
    return 0;
}

static void exit_hypercall(struct vcpu *vcpu, uint64_t nr, const uint64_t args[HYPERCALL_ARGS])
{
    struct kvm_run *run = vcpu->run;

    run->exit_reason = KVM_EXIT_HYPERCALL;
    memset(&run->hypercall, 0, sizeof(run->hypercall));
    run->hypercall.nr = nr;
    memcpy(run->hypercall.args, args, 3 * sizeof(args[0]));
    run->hypercall.longmode = in_64bit_mode(vcpu) ? LONG_MODE_FLAG : 0;
    vcpu->hypercall_waiting = true;
}

bool hypercall(struct vcpu *vcpu)
{
    const struct cpu *cpu = vcpu->cpu;
    uint64_t nr = cpu->regs[REG_RAX];
    uint64_t args[HYPERCALL_ARGS] = { cpu->regs[REG_RBX], cpu->regs[REG_RCX],
                                      cpu->regs[REG_RDX], cpu->regs[REG_RSI] };
    int64_t result = -KVM_ENOSYS;

    if (!in_64bit_mode(vcpu)) {
        nr = (uint32_t)nr;
        for (int i = 0; i < HYPERCALL_ARGS; i++)
            args[i] = (uint32_t)args[i];
    }
    if (cpu->cpl != 0) {
        result = -EPERM;
    } else if (nr == KVM_HC_MAP_GPA_RANGE) {
        result = check_map_gpa_range(vcpu, args);
        if (!result) {
            exit_hypercall(vcpu, nr, args);
            return true;
        }
    } else if (nr == KVM_HC_SEND_IPI && vcpu->lapic &&
               cpuid_pv_allows(vcpu, KVM_FEATURE_PV_SEND_IPI)) {
        result = lapic_send_ipis(vcpu->lapic, args[0], args[1], (uint32_t)args[2],
                                 in_64bit_mode(vcpu) ? 64 : 32, (uint32_t)args[3]);
    } else if (nr == KVM_HC_VAPIC_POLL_IRQ) {
        result = 0;
    } else if (nr == KVM_HC_SCHED_YIELD && cpuid_pv_allows(vcpu, KVM_FEATURE_PV_SCHED_YIELD)) {
        sched_yield();          /* to whom is a hint */
        result = 0;
    }
    answer(vcpu, result);
    return false;
}

void hypercall_complete(struct vcpu *vcpu)
{
    vcpu->hypercall_waiting = false;
    answer(vcpu, vcpu->run->hypercall.ret);
}
