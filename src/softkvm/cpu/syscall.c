// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM vol. 2; AMD APM vol. 2, 6.1).
 *
 * Processors differ: AMD's have SYSCALL in compatibility mode, Intel's have
 * SYSENTER there.  Here both work, so that a guest told that it runs on either
 * gets what it looks for.  Neither vendor's legacy-mode SYSCALL is modelled.
 */
#include "exception.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"

enum {
    AR_FLAT = SEG_AR_P | SEG_AR_S | SEG_AR_G,
    AR_CODE = AR_FLAT | SEG_TYPE_CODE | SEG_TYPE_READ | SEG_TYPE_ACCESSED,
    AR_DATA = AR_FLAT | SEG_AR_DB | SEG_TYPE_WRITE | SEG_TYPE_ACCESSED,
};

/* CS and SS are set, not loaded: no descriptor is looked at. */
static void set_flat(struct cpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool wide)
{
    uint32_t dpl = cpl << SEG_AR_DPL_SHIFT;

    cpu->seg[SEG_CS] = (struct cpu_segment){
        .selector = cs, .limit = UINT32_MAX, .ar = AR_CODE | dpl | (wide ? SEG_AR_L : SEG_AR_DB),
    };
    cpu->seg[SEG_SS] = (struct cpu_segment){
        .selector = ss, .limit = UINT32_MAX, .ar = AR_DATA | dpl,
    };
    cpu_update_mode(cpu);
}

enum cpu_status exec_syscall(struct cpu *cpu, const struct insn *insn)
{
    uint16_t selector = (cpu->star >> 32) & 0xfffc;
    uint64_t flags, next = insn_next_rip(cpu, insn);

    if (!(cpu->efer & EFER_SCE) || !cpu->long_mode)
        return raise_fault(cpu, VECTOR_UD);
    flags = cpu_rflags(cpu);
    cpu->regs[REG_RCX] = next;
    cpu->regs[REG_R11] = flags & ~(uint64_t)FLAG_RF;
    cpu->regs[REG_RIP] = mode_64(cpu) ? cpu->lstar : cpu->cstar;
    cpu_set_rflags(cpu, (flags & ~cpu->sfmask & ~(uint64_t)FLAG_RF) | FLAG_ONE);
    set_flat(cpu, selector, selector + 8, 0, true);
    return CPU_BREAK;
}

enum cpu_status exec_sysret(struct cpu *cpu, const struct insn *insn)
{
    uint16_t base = cpu->star >> 48;
    bool wide = insn->size == 8;

    if (!(cpu->efer & EFER_SCE) || !cpu->long_mode)
        return raise_fault(cpu, VECTOR_UD);
    if (cpu->cpl != 0 || (wide && !is_canonical(cpu, cpu->regs[REG_RCX])))
        return raise_gp(cpu);
    cpu->regs[REG_RIP] = wide ? cpu->regs[REG_RCX] : (uint32_t)cpu->regs[REG_RCX];
    cpu_set_rflags(cpu, (cpu->regs[REG_R11] & 0x3c7fd7) | FLAG_ONE);
    set_flat(cpu, (base + (wide ? 16 : 0)) | 3, (base + 8) | 3, 3, wide);
    if (cpu->flags & FLAG_TF)
        cpu->attention |= ATTENTION_TRAP;
    return CPU_BREAK;
}

enum cpu_status exec_sysenter(struct cpu *cpu, const struct insn *insn)
{
    uint16_t selector = cpu->sysenter_cs & 0xfffc;
    bool wide = cpu->long_mode;

    if (!mode_protected(cpu) || !selector)
        return raise_gp(cpu);
    cpu_set_rflags(cpu, cpu_rflags(cpu) & ~(uint64_t)(FLAG_VM | FLAG_IF | FLAG_RF));
    cpu->regs[REG_RSP] = wide ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu->regs[REG_RIP] = wide ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    set_flat(cpu, selector, selector + 8, 0, wide);
    return CPU_BREAK;
}

enum cpu_status exec_sysexit(struct cpu *cpu, const struct insn *insn)
{
    bool wide = insn->size == 8;
    uint16_t base = cpu->sysenter_cs & 0xfffc;
    uint16_t cs = base + (wide ? 32 : 16);
    uint64_t rip = cpu->regs[REG_RDX], rsp = cpu->regs[REG_RCX];

    if (!mode_protected(cpu) || cpu->cpl != 0 || !base)
        return raise_gp(cpu);
    if (wide && (!is_canonical(cpu, rip) || !is_canonical(cpu, rsp)))
        return raise_gp(cpu);
    cpu->regs[REG_RIP] = wide ? rip : (uint32_t)rip;
    cpu->regs[REG_RSP] = wide ? rsp : (uint32_t)rsp;
    set_flat(cpu, cs | 3, (cs + 8) | 3, 3, wide);
    return CPU_BREAK;
}
