// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Control and debug registers: MOV CR, MOV DR, CLTS, LMSW, SMSW (SDM vol. 3,
 * sections 2.5, 4.1, 17.2; vol. 2 for each instruction).
 */
#include "control.h"
#include "debug.h"
#include "exception.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"

#define CR0_KNOWN (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | \
                   CR0_NW | CR0_CD | CR0_PG)
#define CR4_KNOWN (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |    \
                   CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP |            \
                   CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_SMEP | CR4_SMAP)
#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)

bool cpu_cr4_known(const struct cpu *cpu, uint64_t value)
{
    return !(value & ~(uint64_t)(CR4_KNOWN | (cpu->la57 ? CR4_LA57 : 0)));
}

bool cpu_controls_valid(const struct cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4,
                        uint64_t efer)
{
    bool paging = cr0 & CR0_PG;

    if (cr0 >> 32 || (paging && !(cr0 & CR0_PE)) || (cr0 & CR0_NW && !(cr0 & CR0_CD)) ||
        !cpu_cr4_known(cpu, cr4) || efer & ~(uint64_t)EFER_KNOWN)
        return false;
    if (!(efer & EFER_LME) || !paging)
        return !(efer & EFER_LMA);
    return cr4 & CR4_PAE && efer & EFER_LMA && !((cr3 & ~cpu->c_bit) >> cpu->phys_bits);
}

/* May paging be turned on like this?  PAE paging reads its four entries now. */
static enum cpu_status enable_paging(struct cpu *cpu)
{
    if (cpu->efer & EFER_LME) {
        if (!(cpu->cr4 & CR4_PAE) || (cpu->seg[SEG_CS].ar & SEG_AR_L) ||
            !(cpu->seg[SEG_TR].ar & 8))
            return raise_gp(cpu);
        return CPU_OK;
    }
    return cpu->cr4 & CR4_PAE ? mmu_load_pdptrs(cpu, cpu->cr3) : CPU_OK;
}

enum cpu_status control_write_cr0(struct cpu *cpu, uint64_t value)
{
    uint64_t changed, old = cpu->cr0;
    enum cpu_status status;

    if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) ||
        ((value & CR0_NW) && !(value & CR0_CD)))
        return raise_gp(cpu);
    value = (value & CR0_KNOWN) | CR0_ET;
    changed = value ^ old;
    if (changed & CR0_PG) {
        status = value & CR0_PG ? enable_paging(cpu) : mode_64(cpu) ? raise_gp(cpu) : CPU_OK;
        if (status != CPU_OK)
            return status;
        if (!(value & CR0_PG))
            cpu->efer &= ~(uint64_t)EFER_LMA;
        else if (cpu->efer & EFER_LME)
            cpu->efer |= EFER_LMA;
    }
    cpu->cr0 = value;
    if (changed & (CR0_PG | CR0_WP | CR0_PE))
        tlb_flush_all(cpu);
    cpu_update_mode(cpu);
    return CPU_OK;
}

enum cpu_status control_write_cr3(struct cpu *cpu, uint64_t value)
{
    enum cpu_status status;

    if (cpu->long_mode && ((value & ~cpu->c_bit) >> cpu->phys_bits))
        return raise_gp(cpu);
    if (!cpu->long_mode && (cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE)) {
        status = mmu_load_pdptrs(cpu, value);
        if (status != CPU_OK)
            return status;
    }
    cpu->cr3 = value;
    tlb_flush_nonglobal(cpu);
    return CPU_OK;
}

enum cpu_status control_write_cr4(struct cpu *cpu, uint64_t value)
{
    uint64_t changed = value ^ cpu->cr4;
    enum cpu_status status;

    if (!cpu_cr4_known(cpu, value))
        return raise_gp(cpu);
    if (cpu->long_mode && (!(value & CR4_PAE) || changed & CR4_LA57))
        return raise_gp(cpu);
    if (!cpu->long_mode && (cpu->cr0 & CR0_PG) && (value & CR4_PAE) && (changed & CR4_PAGING)) {
        status = mmu_load_pdptrs(cpu, cpu->cr3);
        if (status != CPU_OK)
            return status;
    }
    cpu->cr4 = value;
    if (changed & CR4_PAGING)
        tlb_flush_all(cpu);
    if (changed & CR4_DE)
        debug_update(cpu);
    cpu_update_mode(cpu);
    return CPU_OK;
}

bool control_write_efer(struct cpu *cpu, uint64_t value)
{
    uint64_t changed = value ^ cpu->efer;

    if (value & ~(uint64_t)EFER_KNOWN)
        return false;
    if ((changed & EFER_LME) && (cpu->cr0 & CR0_PG))
        return false;
    cpu->efer = (value & ~(uint64_t)EFER_LMA) | (cpu->efer & EFER_LMA);
    if (changed & EFER_NXE)
        tlb_flush_all(cpu);
    return true;
}

enum cpu_status exec_mov_from_cr(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;

    switch (insn->reg) {
    case 0:
        value = cpu->cr0;
        break;
    case 2:
        value = cpu->cr2;
        break;
    case 3:
        value = cpu->cr3;
        break;
    case 4:
        value = cpu->cr4;
        break;
    case 8:
        value = cpu->ops->read_tpr(cpu->opaque);
        break;
    default:
        return raise_fault(cpu, VECTOR_UD);
    }
    cpu->regs[insn->rm] = mode_64(cpu) ? value : (uint32_t)value;
    return CPU_OK;
}

enum cpu_status exec_mov_to_cr(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value = mode_64(cpu) ? cpu->regs[insn->rm] : (uint32_t)cpu->regs[insn->rm];
    enum cpu_status status = CPU_OK;

    switch (insn->reg) {
    case 0:
        status = control_write_cr0(cpu, value);
        break;
    case 2:
        cpu->cr2 = value;
        break;
    case 3:
        status = control_write_cr3(cpu, value);
        break;
    case 4:
        status = control_write_cr4(cpu, value);
        break;
    case 8:
        if (value > 15)
            return raise_gp(cpu);
        cpu->ops->write_tpr(cpu->opaque, value);
        break;
    default:
        return raise_fault(cpu, VECTOR_UD);
    }
    return status == CPU_OK ? CPU_BREAK : status;
}

/* DR4 and DR5 stand for DR6 and DR7 while CR4.DE is clear; DR7.GD guards them all. */
static enum cpu_status debug_register(struct cpu *cpu, const struct insn *insn, unsigned *n)
{
    *n = insn->reg;
    if (*n > 7 || ((*n == 4 || *n == 5) && (cpu->cr4 & CR4_DE)))
        return raise_fault(cpu, VECTOR_UD);
    if (*n == 4 || *n == 5)
        *n += 2;
    /* The debugger's registers stand for the guest's, this bit included. */
    if (cpu->guest_debug.enabled && cpu->guest_debug.hw_breakpoints &&
        cpu->guest_debug.dr[7] & DR7_GD) {
        cpu->debug.vector = VECTOR_DB;
        cpu->debug.dr6 = DR6_FIXED | DR6_BD;
        cpu->debug.dr7 = cpu->guest_debug.dr[7];
        cpu->debug.pc = cpu->seg[SEG_CS].base + insn_rip(cpu, insn);
        return CPU_EXIT_DEBUG;
    }
    if (cpu->dr[7] & DR7_GD) {
        cpu->fault = (struct cpu_fault){ .vector = VECTOR_DB, .address = DR6_BD };
        return CPU_FAULT;
    }
    return CPU_OK;
}

enum cpu_status exec_mov_from_dr(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status;
    unsigned n;

    status = debug_register(cpu, insn, &n);
    if (status == CPU_OK)
        cpu->regs[insn->rm] = mode_64(cpu) ? cpu->dr[n] : (uint32_t)cpu->dr[n];
    return status;
}

enum cpu_status exec_mov_to_dr(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value = mode_64(cpu) ? cpu->regs[insn->rm] : (uint32_t)cpu->regs[insn->rm];
    enum cpu_status status;
    unsigned n;

    status = debug_register(cpu, insn, &n);
    if (status != CPU_OK)
        return status;
    if (n >= 6 && value >> 32)
        return raise_gp(cpu);
    if (n == 6)
        value = (value & 0xe00f) | DR6_FIXED;
    if (n == 7)
        value = (value & 0xffff2bff) | DR7_FIXED;
    cpu->dr[n] = value;
    debug_update(cpu);
    return CPU_BREAK;
}

enum cpu_status exec_clts(struct cpu *cpu, const struct insn *insn)
{
    cpu->cr0 &= ~(uint64_t)CR0_TS;
    return CPU_OK;
}

enum cpu_status exec_lmsw(struct cpu *cpu, const struct insn *insn)
{
    uint16_t value = cpu->regs[insn->rm];
    enum cpu_status status = CPU_OK;
    uint64_t linear;

    if (insn->flags & INSN_MEM) {
        status = insn_linear(cpu, insn, 2, ACCESS_READ, &linear);
        if (status == CPU_OK)
            status = mmu_read16(cpu, linear, &value);
    }
    /* PE can be set, not cleared. */
    if (status == CPU_OK)
        status = control_write_cr0(cpu, (cpu->cr0 & ~(uint64_t)(CR0_MP | CR0_EM | CR0_TS)) |
                                        (value & 15));
    return status == CPU_OK ? CPU_BREAK : status;
}
