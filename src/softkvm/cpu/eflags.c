// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Instructions on RFLAGS as a whole and its system bits: PUSHF, POPF, CLI, STI,
 * STAC, CLAC, with IOPL, virtual-8086 mode, VME and PVI (SDM vol. 2 for each;
 * vol. 3, section 20.3).
 */
#include "exception.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"
#include "stack.h"

/* Has VME (virtual-8086) or PVI (protected mode, CPL 3) VIF stand in for IF? */
static bool has_virtual_if(const struct cpu *cpu)
{
    if (mode_vm86(cpu))
        return cpu->cr4 & CR4_VME;
    return mode_protected(cpu) && cpu->cpl == 3 && (cpu->cr4 & CR4_PVI);
}

static bool may_change_if(const struct cpu *cpu)
{
    if (!mode_protected(cpu))
        return true;
    return cpu_iopl(cpu) >= cpu->cpl;
}

enum cpu_status exec_cli(struct cpu *cpu, const struct insn *insn)
{
    if (may_change_if(cpu))
        cpu->flags &= ~(uint64_t)FLAG_IF;
    else if (has_virtual_if(cpu))
        cpu->flags &= ~(uint64_t)FLAG_VIF;
    else
        return raise_gp(cpu);
    return CPU_OK;
}

enum cpu_status exec_sti(struct cpu *cpu, const struct insn *insn)
{
    if (may_change_if(cpu)) {
        if (!(cpu->flags & FLAG_IF))
            cpu->interrupt_shadow = CPU_SHADOW_STI;
        cpu->flags |= FLAG_IF;
    } else if (has_virtual_if(cpu) && !(cpu->flags & FLAG_VIP)) {
        cpu->flags |= FLAG_VIF;
    } else {
        return raise_gp(cpu);
    }
    return CPU_BREAK;
}

enum cpu_status exec_pushf(struct cpu *cpu, const struct insn *insn)
{
    uint64_t image = cpu_rflags(cpu) & ~(uint64_t)(FLAG_VM | FLAG_RF);
    struct stack stack;
    enum cpu_status status;

    if (mode_vm86(cpu) && cpu_iopl(cpu) < 3) {
        if (!(cpu->cr4 & CR4_VME) || insn->size != 2)
            return raise_gp(cpu);
        image = (image & ~(uint64_t)FLAG_IF) | FLAG_IOPL | (image & FLAG_VIF ? FLAG_IF : 0);
    }
    stack_current(cpu, &stack);
    status = stack_push(cpu, &stack, image, insn->size);
    if (status == CPU_OK)
        stack_commit(cpu, &stack);
    return status;
}

/* Virtual-8086 mode with IOPL < 3: a 16-bit POPF sets VIF in place of IF. */
static enum cpu_status popf_vme(struct cpu *cpu, const struct insn *insn, uint64_t *image,
                                uint64_t *mask)
{
    if (!(cpu->cr4 & CR4_VME) || insn->size != 2 || (*image & FLAG_TF) ||
        ((*image & FLAG_IF) && (cpu->flags & FLAG_VIP)))
        return raise_gp(cpu);
    *mask = FLAGS_ARITH | FLAG_DF | FLAG_NT | FLAG_TF | FLAG_VIF;
    *image |= *image & FLAG_IF ? FLAG_VIF : 0;
    return CPU_OK;
}

enum cpu_status exec_popf(struct cpu *cpu, const struct insn *insn)
{
    uint64_t image, mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;
    struct stack stack;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_pop(cpu, &stack, &image, insn->size);
    if (status != CPU_OK)
        return status;
    if (insn->size > 2)
        mask |= FLAG_AC | FLAG_ID | FLAG_RF;
    if (may_change_if(cpu))
        mask |= FLAG_IF;
    if (cpu->cpl == 0)
        mask |= FLAG_IOPL;
    if (mode_vm86(cpu) && cpu_iopl(cpu) < 3)
        status = popf_vme(cpu, insn, &image, &mask);
    if (status != CPU_OK)
        return status;
    image &= ~(uint64_t)FLAG_RF;
    stack_commit(cpu, &stack);
    cpu_set_rflags(cpu, (cpu_rflags(cpu) & ~mask) | (image & mask));
    cpu_update_mode(cpu);
    return CPU_BREAK;
}

enum cpu_status exec_stac(struct cpu *cpu, const struct insn *insn)
{
    if (cpu->cpl != 0)
        return raise_fault(cpu, VECTOR_UD);
    cpu->flags |= FLAG_AC;
    cpu->mmu_index = mmu_index_for(cpu, 0);
    return CPU_OK;
}

enum cpu_status exec_clac(struct cpu *cpu, const struct insn *insn)
{
    if (cpu->cpl != 0)
        return raise_fault(cpu, VECTOR_UD);
    cpu->flags &= ~(uint64_t)FLAG_AC;
    cpu->mmu_index = mmu_index_for(cpu, 0);
    return CPU_OK;
}
