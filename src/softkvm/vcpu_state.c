/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between struct cpu and KVM's register structures, with the checks that Linux
 * 6.12 makes (arch/x86/kvm/x86.c, kvm_is_valid_sregs and others).
 */
#include "vcpu_state.h"

#include "irqchip.h"
#include "soft_vcpu.h"
#include "soft_vm.h"

#include <errno.h>
#include <string.h>

#define CR0_PE (1ULL << 0)
#define CR0_ET (1ULL << 4)
#define CR0_NW (1ULL << 29)
#define CR0_CD (1ULL << 30)
#define CR0_PG (1ULL << 31)
#define CR4_PAE (1ULL << 5)
#define EFER_LME (1ULL << 8)
#define EFER_LMA (1ULL << 10)

enum { BITMAP_WORDS = sizeof(((struct kvm_sregs *)0)->interrupt_bitmap) / 8 };

/* struct kvm_regs begins with the registers in this order. */
static const enum cpu_reg regs_order[] = {
    REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RSP, REG_RBP,
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP,
};

_Static_assert(offsetof(struct kvm_regs, rip) == 16 * 8, "regs_order");

void vcpu_get_regs(struct vcpu *vcpu, struct kvm_regs *regs)
{
    uint64_t *out = (uint64_t *)regs;

    for (size_t i = 0; i < sizeof(regs_order) / sizeof(regs_order[0]); i++)
        out[i] = vcpu->cpu->regs[regs_order[i]];
    regs->rflags = cpu_rflags(vcpu->cpu);
}

void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs)
{
    const uint64_t *in = (const uint64_t *)regs;
    struct cpu *cpu = vcpu->cpu;
    uint64_t changed;

    /* Elsewhere now: the instruction that waited for user space is given up. */
    if (regs->rip != cpu->regs[REG_RIP]) {
        memset(&vcpu->log, 0, sizeof(vcpu->log));
        vcpu->hypercall_waiting = false;
    }
    for (size_t i = 0; i < sizeof(regs_order) / sizeof(regs_order[0]); i++)
        cpu->regs[regs_order[i]] = in[i];
    changed = cpu_rflags(cpu) ^ regs->rflags;
    cpu_set_rflags(cpu, regs->rflags | FLAG_ONE);
    if (changed & (FLAG_VM | FLAG_AC))          /* the mode depends on them */
        cpu_state_replaced(cpu);
}

static struct kvm_segment get_segment(const struct cpu_segment *seg)
{
    return (struct kvm_segment){
        .base = seg->base,
        .limit = seg->limit,
        .selector = seg->selector,
        .type = seg->ar & SEG_AR_TYPE,
        .present = !!(seg->ar & SEG_AR_P),
        .dpl = (seg->ar & SEG_AR_DPL) >> SEG_AR_DPL_SHIFT,
        .db = !!(seg->ar & SEG_AR_DB),
        .s = !!(seg->ar & SEG_AR_S),
        .l = !!(seg->ar & SEG_AR_L),
        .g = !!(seg->ar & SEG_AR_G),
        .avl = !!(seg->ar & SEG_AR_AVL),
        .unusable = !!(seg->ar & SEG_AR_UNUSABLE),
    };
}

static struct cpu_segment set_segment(const struct kvm_segment *in)
{
    struct cpu_segment seg = {
        .base = in->base,
        .limit = in->limit,
        .selector = in->selector,
        .ar = in->type & SEG_AR_TYPE,
    };

    seg.ar |= (in->dpl << SEG_AR_DPL_SHIFT) & SEG_AR_DPL;
    seg.ar |= in->present ? SEG_AR_P : 0;
    seg.ar |= in->db ? SEG_AR_DB : 0;
    seg.ar |= in->s ? SEG_AR_S : 0;
    seg.ar |= in->l ? SEG_AR_L : 0;
    seg.ar |= in->g ? SEG_AR_G : 0;
    seg.ar |= in->avl ? SEG_AR_AVL : 0;
    seg.ar |= in->unusable || !in->present ? SEG_AR_UNUSABLE : 0;
    return seg;
}

/* struct kvm_sregs begins with the segments in this order. */
static const enum cpu_seg segs_order[] = {
    SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS, SEG_TR, SEG_LDTR,
};

_Static_assert(offsetof(struct kvm_sregs, gdt) == 8 * sizeof(struct kvm_segment), "segs_order");

void vcpu_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs)
{
    const struct cpu *cpu = vcpu->cpu;
    struct kvm_segment *out = (struct kvm_segment *)sregs;

    memset(sregs, 0, sizeof(*sregs));
    for (size_t i = 0; i < sizeof(segs_order) / sizeof(segs_order[0]); i++)
        out[i] = get_segment(&cpu->seg[segs_order[i]]);
    sregs->gdt.base = cpu->gdt.base;
    sregs->gdt.limit = cpu->gdt.limit;
    sregs->idt.base = cpu->idt.base;
    sregs->idt.limit = cpu->idt.limit;
    sregs->cr0 = cpu->cr0;
    sregs->cr2 = cpu->cr2;
    sregs->cr3 = cpu->cr3;
    sregs->cr4 = cpu->cr4;
    sregs->cr8 = vcpu->lapic ? lapic_get_tpr(vcpu->lapic) : vcpu->tpr;
    sregs->efer = cpu->efer;
    sregs->apic_base = vcpu->lapic ? lapic_get_base(vcpu->lapic) : vcpu->apic_base;
    if (cpu->event.pending && cpu->event.external)
        sregs->interrupt_bitmap[cpu->event.vector / 64] |= 1ULL << cpu->event.vector % 64;
}

static bool sregs_valid(const struct cpu *cpu, const struct kvm_sregs *sregs)
{
    return cpu_controls_valid(cpu, sregs->cr0, sregs->cr3, sregs->cr4, sregs->efer) &&
           (sregs->efer & EFER_LMA || !sregs->cs.l);
}

/* The interrupt that was on its way when the state was saved: the highest bit. */
static void set_interrupt_bitmap(struct vcpu *vcpu, const struct kvm_sregs *sregs)
{
    for (int i = BITMAP_WORDS - 1; i >= 0; i--) {
        uint64_t word = sregs->interrupt_bitmap[i];

        if (!word)
            continue;
        memset(&vcpu->cpu->event, 0, sizeof(vcpu->cpu->event));
        vcpu->cpu->event.pending = true;
        vcpu->cpu->event.external = true;
        vcpu->cpu->event.vector = i * 64 + 63 - __builtin_clzll(word);
        return;
    }
}

int vcpu_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs)
{
    const struct kvm_segment *in = (const struct kvm_segment *)sregs;
    struct cpu *cpu = vcpu->cpu;

    if (!sregs_valid(cpu, sregs))
        return -EINVAL;
    if (!cpuid_allows_apic_base(vcpu, sregs->apic_base))
        return -EINVAL;
    if (vcpu->lapic) {
        int ret = lapic_set_base(vcpu->lapic, sregs->apic_base);

        if (ret)
            return ret;
        lapic_set_tpr(vcpu->lapic, sregs->cr8);
    }
    vcpu->apic_base = sregs->apic_base;
    vcpu->tpr = sregs->cr8 & 0xf;
    for (size_t i = 0; i < sizeof(segs_order) / sizeof(segs_order[0]); i++)
        cpu->seg[segs_order[i]] = set_segment(&in[i]);
    cpu->gdt = (struct cpu_table){ sregs->gdt.base, sregs->gdt.limit };
    cpu->idt = (struct cpu_table){ sregs->idt.base, sregs->idt.limit };
    cpu->cr0 = sregs->cr0 | CR0_ET;
    cpu->cr2 = sregs->cr2;
    cpu->cr3 = sregs->cr3;
    cpu->cr4 = sregs->cr4;
    cpu->efer = sregs->efer;
    cpu_state_replaced(cpu);
    set_interrupt_bitmap(vcpu, sregs);
    return 0;
}

/* Both structures begin alike: all but the interrupt, the flags and PAE's entries. */
enum { SREGS_COMMON = offsetof(struct kvm_sregs, interrupt_bitmap) };

_Static_assert(offsetof(struct kvm_sregs2, flags) == SREGS_COMMON, "kvm_sregs2");

void vcpu_get_sregs2(struct vcpu *vcpu, struct kvm_sregs2 *out)
{
    struct kvm_sregs sregs;

    vcpu_get_sregs(vcpu, &sregs);
    memset(out, 0, sizeof(*out));
    memcpy(out, &sregs, SREGS_COMMON);
    if (!cpu_load_pdptrs(vcpu->cpu))
        return;
    memcpy(out->pdptrs, vcpu->cpu->pdptr, sizeof(out->pdptrs));
    out->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
}

/* PAE's entries are taken as they are, whatever CR3's table says by now. */
int vcpu_set_sregs2(struct vcpu *vcpu, const struct kvm_sregs2 *in)
{
    bool pae = in->cr0 & CR0_PG && in->cr4 & CR4_PAE && !(in->efer & EFER_LMA);
    struct kvm_sregs sregs = { 0 };
    int ret;

    if (in->flags & ~(uint64_t)KVM_SREGS2_FLAGS_PDPTRS_VALID || (in->flags && !pae))
        return -EINVAL;
    memcpy(&sregs, in, SREGS_COMMON);
    ret = vcpu_set_sregs(vcpu, &sregs);
    if (!ret && in->flags) {
        memcpy(vcpu->cpu->pdptr, in->pdptrs, sizeof(in->pdptrs));
        vcpu->cpu->pdptr_stale = false;
    }
    return ret;
}

static unsigned fpu_top(const struct cpu_fpu *fpu)
{
    return fpu->status >> 11 & 7;
}

/*
 * KVM's order is FXSAVE's: registers by stack position, tags by physical number.
 * Setting leaves MXCSR alone, as KVM does; KVM_SET_XSAVE has it.
 */
void vcpu_get_fpu(struct vcpu *vcpu, struct kvm_fpu *out)
{
    const struct cpu_fpu *fpu = &vcpu->cpu->fpu;

    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < 8; i++)
        memcpy(out->fpr[i], fpu->st[(fpu_top(fpu) + i) & 7].bytes, 10);
    memcpy(out->xmm, fpu->xmm, sizeof(out->xmm));
    out->fcw = fpu->control;
    out->fsw = fpu->status;
    out->ftwx = fpu->valid;
    out->last_opcode = fpu->opcode;
    out->last_ip = fpu->ip;
    out->last_dp = fpu->dp;
    out->mxcsr = fpu->mxcsr;
}

void vcpu_set_fpu(struct vcpu *vcpu, const struct kvm_fpu *in)
{
    struct cpu_fpu *fpu = &vcpu->cpu->fpu;

    fpu->control = in->fcw;
    fpu->status = in->fsw;
    fpu->valid = in->ftwx;
    fpu->opcode = in->last_opcode;
    fpu->ip = in->last_ip;
    fpu->dp = in->last_dp;
    for (unsigned i = 0; i < 8; i++)
        memcpy(fpu->st[(fpu_top(fpu) + i) & 7].bytes, in->fpr[i], 10);
    memcpy(fpu->xmm, in->xmm, sizeof(fpu->xmm));
}

void vcpu_get_debugregs(struct vcpu *vcpu, struct kvm_debugregs *regs)
{
    memset(regs, 0, sizeof(*regs));
    memcpy(regs->db, vcpu->cpu->dr, sizeof(regs->db));
    regs->dr6 = vcpu->cpu->dr[6];
    regs->dr7 = vcpu->cpu->dr[7];
}

int vcpu_set_debugregs(struct vcpu *vcpu, const struct kvm_debugregs *regs)
{
    if (regs->flags || regs->dr6 >> 32 || regs->dr7 >> 32)
        return -EINVAL;
    memcpy(vcpu->cpu->dr, regs->db, sizeof(regs->db));
    vcpu->cpu->dr[6] = regs->dr6;
    vcpu->cpu->dr[7] = regs->dr7;
    cpu_state_replaced(vcpu->cpu);
    return 0;
}

static bool is_enabled(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

/* The exception on its way is what user space gave as pending, and not recorded yet. */
static bool is_given(const struct vcpu *vcpu)
{
    const struct cpu *cpu = vcpu->cpu;

    return vcpu->given.pending && cpu->event.pending && !cpu->event.external &&
           !cpu->event.soft && cpu->event.vector == vcpu->given.vector;
}

/* DR6: bits 11 and 16 are active low there, and bit 12 only says that one was enabled. */
static void record_debug(struct cpu *cpu, uint64_t payload)
{
    const uint64_t trap_bits = 0xf, active_low = 1 << 11 | 1 << 16, enabled = 1 << 12;

    cpu->dr[6] = (cpu->dr[6] & ~trap_bits) | 1 << 16;
    cpu->dr[6] &= ~(payload & active_low);
    cpu->dr[6] |= payload & ~(active_low | enabled);
}

void vcpu_record_exception(struct vcpu *vcpu)
{
    if (is_given(vcpu) && vcpu->given.has_payload) {
        vcpu->cpu->event.address = vcpu->given.payload;
        if (vcpu->given.vector == VECTOR_PF)
            vcpu->cpu->cr2 = vcpu->given.payload;
        else if (vcpu->given.vector == VECTOR_DB)
            record_debug(vcpu->cpu, vcpu->given.payload);
    }
    vcpu->given.pending = false;
}

void vcpu_get_events(struct vcpu *vcpu, struct kvm_vcpu_events *events)
{
    const struct cpu *cpu = vcpu->cpu;

    memset(events, 0, sizeof(*events));
    if (cpu->event.pending && cpu->event.external) {
        events->interrupt.injected = 1;
        events->interrupt.nr = cpu->event.vector;
    } else if (cpu->event.pending && cpu->event.soft && !cpu->event.has_error) {
        events->interrupt.injected = 1;
        events->interrupt.soft = 1;
        events->interrupt.nr = cpu->event.vector;
    } else if (cpu->event.pending && cpu->event.vector == VECTOR_NMI) {
        events->nmi.injected = 1;
    } else if (cpu->event.pending) {
        events->exception.injected = !is_given(vcpu);
        events->exception.pending = is_given(vcpu);
        events->exception_has_payload = is_given(vcpu) && vcpu->given.has_payload;
        events->exception_payload = events->exception_has_payload ? vcpu->given.payload : 0;
        events->exception.nr = cpu->event.vector;
        events->exception.has_error_code = cpu->event.has_error;
        events->exception.error_code = cpu->event.error;
    }
    events->interrupt.shadow = cpu->interrupt_shadow;
    events->nmi.masked = cpu->nmi_masked;
    if (vcpu->lapic) {
        struct lapic_pending pending;

        lapic_get_pending(vcpu->lapic, &pending);
        events->nmi.pending = pending.nmis;
        events->sipi_vector = pending.sipi_vector;
        events->smi.pending = pending.smi;
        events->smi.latched_init = pending.init;
    } else {
        events->nmi.pending = vcpu->nmis;
        events->smi.pending = vcpu->smi;
    }
    events->smi.smm = cpu->in_smm;
    events->smi.smm_inside_nmi = cpu->smm_inside_nmi;
    events->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
                    KVM_VCPUEVENT_VALID_SMM;
    if (is_enabled(&vcpu->vm->exception_payload))
        events->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    if (is_enabled(&vcpu->vm->triple_fault_event)) {
        events->triple_fault.pending = vcpu->triple_fault;
        events->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    }
}

static void set_pending(struct vcpu *vcpu, const struct kvm_vcpu_events *events)
{
    struct lapic_pending pending;

    if (!vcpu->lapic) {
        if (events->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
            vcpu->nmis = events->nmi.pending < LAPIC_MAX_NMIS ? events->nmi.pending : LAPIC_MAX_NMIS;
        if (events->flags & KVM_VCPUEVENT_VALID_SMM)
            vcpu->smi = events->smi.pending;
        return;
    }
    lapic_get_pending(vcpu->lapic, &pending);
    if (events->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
        pending.nmis = events->nmi.pending;
    if (events->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)
        pending.sipi_vector = events->sipi_vector;
    if (events->flags & KVM_VCPUEVENT_VALID_SMM) {
        pending.smi = events->smi.pending;
        pending.init = events->smi.latched_init;
    }
    lapic_set_pending(vcpu->lapic, &pending);
}

int vcpu_set_events(struct vcpu *vcpu, const struct kvm_vcpu_events *events)
{
    const uint32_t known = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
                           KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM |
                           (is_enabled(&vcpu->vm->exception_payload) ?
                            KVM_VCPUEVENT_VALID_PAYLOAD : 0) |
                           (is_enabled(&vcpu->vm->triple_fault_event) ?
                            KVM_VCPUEVENT_VALID_TRIPLE_FAULT : 0);
    /* Without the flag those bytes aren't looked at. */
    bool pending = events->flags & KVM_VCPUEVENT_VALID_PAYLOAD && events->exception.pending;
    struct cpu *cpu = vcpu->cpu;

    if (events->flags & ~known)
        return -EINVAL;
    if ((events->exception.injected || pending) &&
        (events->exception.nr > 31 || events->exception.nr == VECTOR_NMI))
        return -EINVAL;
    if (events->flags & KVM_VCPUEVENT_VALID_SMM && (events->smi.smm || events->smi.pending) &&
        vcpu->mp_state == KVM_MP_STATE_INIT_RECEIVED)
        return -EINVAL;
    memset(&cpu->event, 0, sizeof(cpu->event));
    vcpu->given.pending = pending;
    vcpu->given.vector = events->exception.nr;
    vcpu->given.has_payload = events->exception_has_payload;
    vcpu->given.payload = events->exception_payload;
    if (events->exception.injected || pending) {
        cpu->event.pending = true;
        cpu->event.vector = events->exception.nr;
        cpu->event.has_error = events->exception.has_error_code;
        cpu->event.error = events->exception.error_code;
        cpu->event.address = cpu->cr2;
    } else if (events->interrupt.injected) {
        cpu->event.pending = true;
        cpu->event.vector = events->interrupt.nr;
        cpu->event.soft = events->interrupt.soft;
        cpu->event.external = !events->interrupt.soft;
    } else if (events->nmi.injected) {
        cpu->event.pending = true;
        cpu->event.vector = VECTOR_NMI;
    }
    if (events->flags & KVM_VCPUEVENT_VALID_SHADOW)
        cpu->interrupt_shadow = events->interrupt.shadow & (CPU_SHADOW_MOV_SS | CPU_SHADOW_STI);
    cpu->nmi_masked = events->nmi.masked;
    if (events->flags & KVM_VCPUEVENT_VALID_SMM) {
        cpu_set_smm(cpu, events->smi.smm);
        cpu->smm_inside_nmi = events->smi.smm && events->smi.smm_inside_nmi;
    }
    set_pending(vcpu, events);
    if (events->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
        vcpu->triple_fault = events->triple_fault.pending;
    return 0;
}
