/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* x87: what its instructions share. */
#include "fpu_state.h"

/*
 * With CR0.NE clear a PC reports the exception through an interrupt controller
 * pin (FERR#), which isn't modelled: the guest goes on.
 */
enum cpu_status fpu_check_pending(struct cpu *cpu)
{
    if ((cpu->fpu.status & FSW_ES) && (cpu->cr0 & CR0_NE))
        return raise_fault(cpu, VECTOR_MF);
    return CPU_OK;
}

enum cpu_status fpu_begin_control(struct cpu *cpu)
{
    if (unlikely(cpu->cr0 & (CR0_EM | CR0_TS)))
        return raise_fault(cpu, VECTOR_NM);
    return CPU_OK;
}

enum cpu_status fpu_begin(struct cpu *cpu)
{
    enum cpu_status status = fpu_begin_control(cpu);

    return status == CPU_OK ? fpu_check_pending(cpu) : status;
}

/* The last opcode is kept for register forms only; processors differ here (SDM vol. 1, 8.1.9). */
enum cpu_status fpu_end(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;

    fpu->ip = insn_rip(cpu, insn);
    fpu->cs = cpu->seg[SEG_CS].selector;
    fpu->opcode = 0;
    if (insn->flags & INSN_MEM) {
        fpu->dp = insn_offset(cpu, insn);
        fpu->ds = cpu->seg[insn->seg].selector;
    } else {
        fpu->opcode = (insn->opcode & 7) << 8 | 0xc0 | (insn->reg & 7) << 3 | (insn->rm & 7);
    }
    return CPU_OK;
}

bool fpu_raise(struct cpu_fpu *fpu, uint16_t flags, uint16_t late)
{
    uint16_t unmasked = flags & ~fpu->control & FSW_EXCEPTIONS;

    if (unmasked & FSW_EARLY)                   /* nothing was computed, so nothing was rounded */
        flags &= FSW_EARLY | FSW_SF | (flags & FSW_SF ? FSW_C1 : 0);
    fpu->status = (fpu->status & ~FSW_C1) | flags;
    fpu_update_pending(fpu);
    return !(unmasked & late);
}

void fpu_push_result(struct cpu_fpu *fpu, struct f80 value, uint16_t flags)
{
    if (!fpu_empty(fpu, 7)) {
        flags = FSW_IE | FSW_SF | FSW_C1;
        value = f80_indefinite;
    }
    /* A denormal is loaded even where #D is unmasked. */
    if (fpu_raise(fpu, flags, FSW_IE))
        fpu_push(fpu, value);
}

enum cpu_status fpu_load(struct cpu *cpu, const struct insn *insn, void *data, unsigned size)
{
    uint64_t addr;
    enum cpu_status status = insn_linear(cpu, insn, size, ACCESS_READ, &addr);

    if (status != CPU_OK)
        return status;
    cpu->x87_operand = true;
    status = mmu_read(cpu, addr, data, size);
    cpu->x87_operand = false;
    return status;
}

enum cpu_status fpu_store_word(struct cpu *cpu, const struct insn *insn, uint16_t value)
{
    uint64_t addr;
    enum cpu_status status = insn_linear(cpu, insn, 2, ACCESS_WRITE, &addr);

    return status == CPU_OK ? mmu_write16(cpu, addr, value) : status;
}

enum cpu_status fpu_store(struct cpu *cpu, const struct insn *insn, const void *data,
                          unsigned size)
{
    uint64_t addr;
    enum cpu_status status = insn_linear(cpu, insn, size, ACCESS_WRITE, &addr);

    if (status != CPU_OK)
        return status;
    cpu->x87_operand = true;
    status = mmu_write(cpu, addr, data, size);
    cpu->x87_operand = false;
    return status;
}
