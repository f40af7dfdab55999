/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DAA, DAS, AAA, AAS, AAM, AAD, and SALC: not in 64-bit mode. */
#include "exception.h"
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

static uint64_t result_flags(uint8_t al)
{
    return (al == 0 ? FLAG_ZF : 0) | (al & 0x80 ? FLAG_SF : 0) |
           (flags_parity(al) ? FLAG_PF : 0);
}

/* 27 DAA, 2F DAS: a digit above 9 or its carry is put right by 6. */
enum cpu_status body_daa_das(struct cpu *cpu, const struct insn *insn)
{
    int sign = insn->opcode == 0x2f ? -1 : 1;
    uint8_t old = cpu->regs[REG_RAX], al = old;
    bool low = (old & 15) > 9 || flag_af(cpu), high = old > 0x99 || flag_cf(cpu);
    bool cf = high;

    if (low) {
        /* DAS also borrows where taking 6 away goes below 0. */
        cf = cf || (sign < 0 && old < 6);
        al += sign * 6;
    }
    if (high)
        al += sign * 0x60;
    hot_set(cpu, REG_RAX, 1, al);
    flags_set_arith(cpu, result_flags(al) | (low ? FLAG_AF : 0) | (cf ? FLAG_CF : 0));
    return CPU_OK;
}

/* 37 AAA, 3F AAS. */
enum cpu_status body_aaa_aas(struct cpu *cpu, const struct insn *insn)
{
    int sign = insn->opcode == 0x3f ? -1 : 1;
    uint16_t ax = cpu->regs[REG_RAX];
    bool adjust = (ax & 15) > 9 || flag_af(cpu);

    if (adjust)
        ax += sign * 0x106;
    ax &= 0xff0f;
    hot_set(cpu, REG_RAX, 2, ax);
    flags_set_arith(cpu, result_flags(ax) | (adjust ? FLAG_AF | FLAG_CF : 0));
    return CPU_OK;
}

/* D6, in no manual of Intel's but in all its processors: AL is CF, as 0 or 0xff. */
enum cpu_status body_salc(struct cpu *cpu, const struct insn *insn)
{
    hot_set(cpu, REG_RAX, 1, flag_cf(cpu) ? 0xff : 0);
    return CPU_OK;
}

enum cpu_status body_aam(struct cpu *cpu, const struct insn *insn)
{
    uint8_t al = cpu->regs[REG_RAX], base = insn->imm;

    if (!base)
        return raise_fault(cpu, VECTOR_DE);
    hot_set(cpu, REG_RAX, 2, (al / base) << 8 | al % base);
    flags_set_arith(cpu, result_flags(al % base));
    return CPU_OK;
}

enum cpu_status body_aad(struct cpu *cpu, const struct insn *insn)
{
    uint8_t al = cpu->regs[REG_RAX] + (cpu->regs[REG_RAX] >> 8) * insn->imm;

    hot_set(cpu, REG_RAX, 2, al);
    flags_set_arith(cpu, result_flags(al));
    return CPU_OK;
}
