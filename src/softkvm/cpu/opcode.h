/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The opcode table: one row an instruction form, many readers (decoder, tests,
 * tracer).  The rows are in opcodes_*.def, gathered by opcodes.def.
 *
 * OP(map, opcode, prefix, reg, rm, name, operands, attributes, undefined, executor)
 *
 *   map         1B, 0F, 0F38, 0F3A
 *   opcode      last opcode byte.  With LOW3 the row stands for 8 opcodes whose low
 *               bits are a register, with LOW4 for 16 whose low bits are a condition.
 *   prefix      which mandatory prefix selects the row: ANY, NP (none of 66 F3 F2),
 *               66, F3, F2, NP66 (none or 66), NOREP (neither F3 nor F2),
 *               NF3 (anything but F3).  F3 and F2 win over 66; the last of the two counts.
 *   reg         ModRM.reg (without REX.R): ANY or 0..7
 *   rm          ModRM.mod and rm: ANY, MEM, REG, or 0..7 for mod = 3 with that rm
 *   name        mnemonic, an identifier
 *   operands    SDM appendix A notation in a string: "Ev,Gv", "Ib", "" ...
 *   attributes  enum opcode_attrs, or-ed; operand-size rule, immediate, and so on
 *   undefined   arithmetic flags that the manual leaves undefined: tests ignore them
 *   executor    BODY(body): a plain insn_body run by the engine's trampoline;
 *               HOT(pick, body): pick (an insn_pick) chooses a threaded executor for
 *               this operand form at decode time, or says NULL: then body it is.
 *               body must be complete: threaded executors fall back on it.
 *
 * Naming an executor in a row declares it (opcodes.h), so a row and a function
 * with external linkage of that name is all that a new instruction takes.  What
 * no row matches is #UD.  Two rows that match the same bytes are a bug that
 * opcode_conflict() finds (tests/unit/test_opcodes).
 */
#ifndef SOFTKVM_CPU_OPCODE_H
#define SOFTKVM_CPU_OPCODE_H

#include "insn.h"

enum opcode_map { MAP_1B, MAP_0F, MAP_0F38, MAP_0F3A, NR_MAPS };

/* Sets, so that two rows conflict when all their sets overlap. */
enum {
    PFX_NP = 1 << 0, PFX_66 = 1 << 1, PFX_F3 = 1 << 2, PFX_F2 = 1 << 3,
    PFX_NP66 = PFX_NP | PFX_66, PFX_NOREP = PFX_NP66, PFX_NF3 = PFX_NP66 | PFX_F2,
    PFX_ANY = 15,
};

enum {
    DIGIT_0 = 1 << 0, DIGIT_1 = 1 << 1, DIGIT_2 = 1 << 2, DIGIT_3 = 1 << 3, DIGIT_4 = 1 << 4,
    DIGIT_5 = 1 << 5, DIGIT_6 = 1 << 6, DIGIT_7 = 1 << 7, DIGIT_ANY = 0xff,
};

enum {
    RM_0 = 1 << 0, RM_1 = 1 << 1, RM_2 = 1 << 2, RM_3 = 1 << 3, RM_4 = 1 << 4, RM_5 = 1 << 5,
    RM_6 = 1 << 6, RM_7 = 1 << 7, RM_REG = 0xff, RM_MEM = 0x100, RM_ANY = 0x1ff,
};

enum opcode_attrs {
    /* Operand-size rule, giving insn->size. */
    SIZE_V = 0,         /* 2, 4, or 8 with REX.W */
    SIZE_B = 1,         /* 1 */
    SIZE_W = 2,         /* 2, whatever the prefixes */
    SIZE_D = 3,         /* 4 */
    SIZE_Q = 4,         /* 8 */
    SIZE_Y = 5,         /* 4, or 8 with REX.W: 66 means something else */
    SIZE_Z = 6,         /* 2 or 4: REX.W is ignored */
    SIZE_D64 = 7,       /* SIZE_V, but in 64-bit mode 8 (2 with 66): stack instructions */
    SIZE_F64 = 8,       /* SIZE_V, but in 64-bit mode always 8: near branches, CR and DR moves */
    SIZE_MASK = 15,

    /* What follows ModRM, giving insn->imm (sign-extended unless said). */
    IMM_B = 1 << 4,     /* 1 byte */
    IMM_UB = 2 << 4,    /* 1 byte, zero-extended */
    IMM_W = 3 << 4,     /* 2 bytes, zero-extended */
    IMM_Z = 4 << 4,     /* 2 or 4 bytes */
    IMM_V = 5 << 4,     /* 2, 4 or 8 bytes */
    IMM_MOFFS = 6 << 4, /* an address of address_size bytes, zero-extended */
    IMM_FAR = 7 << 4,   /* 2 or 4 bytes to imm, zero-extended, then 2 to selector */
    IMM_ENTER = 8 << 4, /* 2 bytes to imm, 1 to selector, both zero-extended */
    IMM_MASK = 15 << 4,

    MODRM = 1 << 8,
    LOW3 = 1 << 9,      /* register in the opcode's low 3 bits, with REX.B: insn->reg */
    LOW4 = 1 << 10,     /* condition in the opcode's low 4 bits: insn->opcode */
    LOCK_OK = 1 << 11,  /* LOCK allowed when ModRM names memory */
    NO64 = 1 << 12,     /* #UD in 64-bit mode */
    ONLY64 = 1 << 13,   /* #UD elsewhere */
    CPL0 = 1 << 14,     /* #GP(0) unless CPL is 0 */
    ENDS = 1 << 15,     /* last instruction of its block: control goes elsewhere, or what
                           decoding and fetching depend on may change (MOV CR, MSRs, IF...) */
    SETS_RIP = 1 << 16, /* stores regs[REG_RIP] itself when it returns CPU_BREAK; also ENDS */
    STRING = 1 << 17,   /* REP prefixes mean repetition; no ModRM, DS:rSI can be overridden */
    TRAPS_BY_NEW_TF = 1 << 19,  /* single-stepped if TF is set when it is over (INT n clears it) */
    RM_REG_ONLY = 1 << 18,  /* mod is ignored and taken as 3 (MOV CR, MOV DR) */
};

/* Which processors modes the row is for, from NO64 and ONLY64: 1 legacy, 2 64-bit. */
static inline unsigned opcode_modes(uint32_t attrs)
{
    return attrs & NO64 ? 1 : attrs & ONLY64 ? 2 : 3;
}

/* What a pick function may depend on besides the instruction. */
struct decode_mode {
    uint8_t code_size;          /* 2, 4, 8 */
    uint8_t stack_size;
    uint16_t page_offset;       /* of the block's start in its page */
};

/* The threaded executor for this form of the instruction, or NULL.  May bring operands into order. */
typedef insn_exec *insn_pick(struct insn *insn, struct decode_mode mode);

struct opcode {
    const char *name, *operands;
    insn_pick *pick;
    insn_body *body;
    uint32_t attrs;
    uint16_t undefined;         /* FLAG_* */
    uint16_t rm;                /* RM_* */
    uint8_t map, opcode, prefix, digit;
};

/* All rows; insn->row is an index into them. */
extern const struct opcode opcodes[];
extern const size_t nr_opcodes;

/*
 * opcode_find - the row for these bytes.
 * @prefix: one of PFX_NP, PFX_66, PFX_F3, PFX_F2; @modrm: the ModRM byte, or 0
 * where there is none yet: opcode_has_modrm() says whether one is needed.
 * NULL: #UD.
 */
const struct opcode *opcode_find(enum opcode_map map, uint8_t opcode, unsigned prefix,
                                 uint8_t modrm, bool long_mode);
bool opcode_has_modrm(enum opcode_map map, uint8_t opcode, bool long_mode);

/* Do two rows match the same bytes in the same mode?  Also when one row is there twice. */
bool opcode_conflict(const struct opcode *a, const struct opcode *b);

#endif
