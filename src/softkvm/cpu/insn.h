/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One decoded instruction, and the two forms an executor may have.
 *
 * A decoded block is an array of struct insn.  Threaded executors (insn_exec)
 * do their work and call the next one with NEXT(), which compilers turn into a
 * jump; they are for the instructions that make up a running program.  Plain
 * executors (insn_body) return a status; the engine's exec_body() calls them
 * and goes on.  Both follow one rule: on anything but CPU_OK and CPU_BREAK the
 * guest's registers are as they were.
 *
 * While a block runs, cpu->regs[REG_RIP] is the start of the *block*.  An
 * executor that wants an address uses insn_rip() and insn_next_rip(); one that
 * sets rip itself stores to regs[REG_RIP] and returns CPU_BREAK; CPU_BREAK of
 * an executor that didn't (INSN_SETS_RIP not in its row) has rip advanced by
 * the engine.
 */
#ifndef SOFTKVM_CPU_INSN_H
#define SOFTKVM_CPU_INSN_H

#include "cpu.h"

struct insn;

typedef enum cpu_status insn_exec(struct cpu *cpu, const struct insn *insn);
typedef enum cpu_status insn_body(struct cpu *cpu, const struct insn *insn);

enum {
    INSN_MEM = 1 << 0,          /* ModRM names memory, not a register */
    INSN_LOCK = 1 << 1,
    INSN_REP = 1 << 2,          /* F3 */
    INSN_REPNE = 1 << 3,        /* F2 */
    INSN_REX = 1 << 4,          /* byte registers 4-7 are SPL BPL SIL DIL */
    INSN_REX_W = 1 << 5,
    INSN_66 = 1 << 6,           /* operand-size prefix was there */
};

struct insn {
    insn_exec *exec;
    union {
        struct {
            insn_body *body;    /* complete; what a threaded executor falls back on */
            uint64_t imm;       /* immediate, sign-extended where the opcode does that; moffs;
                                   far offset */
            int32_t disp;       /* RIP-relative: relative to the start of the block */
            uint16_t row;       /* in the opcode table: name and attributes */
            uint16_t selector;  /* of a far pointer; second immediate of ENTER */
        };
        struct {                /* the record after a block's last instruction: block.h */
            struct block *link[2];
            uint64_t link_key;
        };
    };
    uint16_t off, next;         /* of this and the next instruction, from the start of the block */
    uint8_t flags;              /* INSN_* */
    uint8_t reg;                /* ModRM.reg with REX.R, or the register in the opcode's low bits */
    uint8_t rm;                 /* ModRM.rm with REX.B where it is a register */
    uint8_t base, index;        /* enum cpu_reg; REG_NONE, REG_RIP */
    uint8_t scale;              /* shift */
    uint8_t seg;                /* enum cpu_seg of the memory operand, override applied */
    uint8_t size;               /* operand size in bytes: 1, 2, 4, 8 */
    uint8_t address_size;       /* 2, 4, 8 */
    uint8_t opcode;             /* last opcode byte; low bits hold conditions and registers */
    uint8_t ordinal;            /* number of instructions before this one in the block */
};

static inline uint64_t insn_rip(const struct cpu *cpu, const struct insn *insn)
{
    return cpu->regs[REG_RIP] + insn->off;
}

static inline uint64_t insn_next_rip(const struct cpu *cpu, const struct insn *insn)
{
    return cpu->regs[REG_RIP] + insn->next;
}

/* The offset part of the memory operand, cut to the address size. */
static inline uint64_t insn_offset(const struct cpu *cpu, const struct insn *insn)
{
    uint64_t offset = cpu->regs[insn->base] + (cpu->regs[insn->index] << insn->scale) +
                      (int64_t)insn->disp;

    if (insn->address_size == 8)
        return offset;
    return insn->address_size == 4 ? (uint32_t)offset : (uint16_t)offset;
}

#define NEXT(cpu_, insn_) return (insn_)[1].exec((cpu_), (insn_) + 1)

#endif
