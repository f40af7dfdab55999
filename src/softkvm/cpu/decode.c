/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The instruction decoder: prefixes, REX, opcode maps, ModRM, SIB, displacement,
 * immediates (Intel SDM vol. 2, chapter 2).  What an opcode is, the table knows.
 * VEX, EVEX and XOP encodings aren't decoded: no row announces them.
 */
#include "decode.h"

#include "exec.h"

struct decoder {
    const uint8_t *bytes;
    unsigned pos, avail;
    bool overrun;               /* wanted a byte beyond avail */
    struct decode_mode mode;
    bool lock, opsize, addrsize;
    uint8_t rep;                /* 0, 0xf2, 0xf3: the last one counts */
    uint8_t rex;
    uint8_t seg;                /* override, or CPU_NR_SEGS */
    enum opcode_map map;
    uint8_t opcode, modrm;
};

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

static uint64_t take(struct decoder *d, unsigned size)
{
    uint64_t value = 0;

    if (size > d->avail - d->pos) {
        d->overrun = true;
        d->pos = d->avail;
        return 0;
    }
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)d->bytes[d->pos + i] << (8 * i);
    d->pos += size;
    return value;
}

static int64_t take_signed(struct decoder *d, unsigned size)
{
    unsigned unused = 64 - 8 * size;

    return (int64_t)(take(d, size) << unused) >> unused;
}

/* In 64-bit mode overrides of ES, CS, SS, DS do nothing, and don't cancel FS or GS. */
static void take_segment(struct decoder *d, enum cpu_seg seg)
{
    if (d->mode.code_size != 8 || seg >= SEG_FS)
        d->seg = seg;
}

static bool is_prefix(struct decoder *d, uint8_t byte)
{
    switch (byte) {
    case 0x26: take_segment(d, SEG_ES); return true;
    case 0x2e: take_segment(d, SEG_CS); return true;
    case 0x36: take_segment(d, SEG_SS); return true;
    case 0x3e: take_segment(d, SEG_DS); return true;
    case 0x64: take_segment(d, SEG_FS); return true;
    case 0x65: take_segment(d, SEG_GS); return true;
    case 0x66: d->opsize = true; return true;
    case 0x67: d->addrsize = true; return true;
    case 0xf0: d->lock = true; return true;
    case 0xf2:
    case 0xf3: d->rep = byte; return true;
    default: return false;
    }
}

/* Everything up to the opcode.  A REX that isn't next to the opcode counts for nothing. */
static void take_prefixes(struct decoder *d)
{
    uint8_t byte;

    d->rex = 0;
    for (;;) {
        byte = take(d, 1);
        if (d->mode.code_size == 8 && (byte & 0xf0) == 0x40)
            d->rex = byte;
        else if (is_prefix(d, byte))
            d->rex = 0;
        else
            break;
        if (d->overrun)
            return;
    }
    d->opcode = byte;
    d->map = MAP_1B;
    if (byte != 0x0f)
        return;
    d->opcode = take(d, 1);
    d->map = MAP_0F;
    if (d->opcode == 0x38 || d->opcode == 0x3a) {
        d->map = d->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
        d->opcode = take(d, 1);
    }
}

static unsigned mandatory_prefix(const struct decoder *d)
{
    if (d->rep)
        return d->rep == 0xf3 ? PFX_F3 : PFX_F2;
    return d->opsize ? PFX_66 : PFX_NP;
}

static unsigned operand_size(const struct decoder *d, uint32_t attrs)
{
    bool rex_w = d->rex & REX_W, mode_64 = d->mode.code_size == 8;
    unsigned z = (d->mode.code_size == 2) != d->opsize ? 2 : 4;

    switch (attrs & SIZE_MASK) {
    case SIZE_B:
        return 1;
    case SIZE_W:
        return 2;
    case SIZE_D:
        return 4;
    case SIZE_Q:
        return 8;
    case SIZE_Y:
        return rex_w ? 8 : 4;
    case SIZE_Z:
        return z;
    case SIZE_D64:
        return !mode_64 ? z : d->opsize && !rex_w ? 2 : 8;
    case SIZE_F64:
        return mode_64 ? 8 : z;
    default:
        return rex_w ? 8 : z;
    }
}

static void default_segment(struct decoder *d, struct insn *insn, enum cpu_seg seg)
{
    insn->seg = d->seg != CPU_NR_SEGS ? d->seg : seg;
}

static void take_address16(struct decoder *d, struct insn *insn)
{
    static const uint8_t base[8] = { REG_RBX, REG_RBX, REG_RBP, REG_RBP,
                                     REG_RSI, REG_RDI, REG_RBP, REG_RBX };
    static const uint8_t index[8] = { REG_RSI, REG_RDI, REG_RSI, REG_RDI,
                                      REG_NONE, REG_NONE, REG_NONE, REG_NONE };
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

    if (mod == 0 && rm == 6) {
        insn->disp = take_signed(d, 2);
        default_segment(d, insn, SEG_DS);
        return;
    }
    insn->base = base[rm];
    insn->index = index[rm];
    insn->disp = mod == 0 ? 0 : take_signed(d, mod);
    default_segment(d, insn, base[rm] == REG_RBP ? SEG_SS : SEG_DS);
}

static void take_sib(struct decoder *d, struct insn *insn)
{
    uint8_t sib = take(d, 1);
    unsigned index = (sib >> 3 & 7) | (d->rex & REX_X) << 2;

    if (index != REG_RSP) {
        insn->index = index;
        insn->scale = sib >> 6;
    }
    if ((sib & 7) == REG_RBP && d->modrm >> 6 == 0)
        insn->disp = take_signed(d, 4);
    else
        insn->base = (sib & 7) | (d->rex & REX_B) << 3;
}

static void take_address32(struct decoder *d, struct insn *insn)
{
    unsigned mod = d->modrm >> 6, rm = d->modrm & 7;

    if (rm == REG_RSP) {
        take_sib(d, insn);
    } else if (mod == 0 && rm == REG_RBP) {
        if (d->mode.code_size == 8)
            insn->base = REG_RIP;
        insn->disp = take_signed(d, 4);
    } else {
        insn->base = rm | (d->rex & REX_B) << 3;
    }
    if (mod)
        insn->disp = take_signed(d, mod == 1 ? 1 : 4);
    default_segment(d, insn, insn->base == REG_RSP || insn->base == REG_RBP ? SEG_SS : SEG_DS);
}

/* An instruction may be the target of RIP-relative addressing only once its end is known. */
static void fix_rip_relative(struct insn *insn)
{
    if (insn->base == REG_RIP && __builtin_add_overflow(insn->disp, insn->next, &insn->disp))
        insn->index = REG_4GIB;
}

static void take_modrm(struct decoder *d, struct insn *insn, uint32_t attrs)
{
    insn->reg = (d->modrm >> 3 & 7) | (d->rex & REX_R) << 1;
    if (d->modrm >= 0xc0 || (attrs & RM_REG_ONLY)) {
        insn->rm = (d->modrm & 7) | (d->rex & REX_B) << 3;
        return;
    }
    insn->flags |= INSN_MEM;
    if (insn->address_size == 2)
        take_address16(d, insn);
    else
        take_address32(d, insn);
}

static void take_immediate(struct decoder *d, struct insn *insn, uint32_t attrs)
{
    unsigned z = insn->size == 2 ? 2 : 4;

    switch (attrs & IMM_MASK) {
    case IMM_B:
        insn->imm = take_signed(d, 1);
        break;
    case IMM_UB:
        insn->imm = take(d, 1);
        break;
    case IMM_W:
        insn->imm = take(d, 2);
        break;
    case IMM_Z:
        insn->imm = take_signed(d, z);
        break;
    case IMM_V:
        insn->imm = take_signed(d, insn->size);
        break;
    case IMM_MOFFS:
        insn->imm = take(d, insn->address_size);
        break;
    case IMM_FAR:
        insn->imm = take(d, z);
        insn->selector = take(d, 2);
        break;
    case IMM_ENTER:
        insn->imm = take(d, 2);
        insn->selector = take(d, 1);
        break;
    }
}

static void set_prefix_flags(const struct decoder *d, struct insn *insn)
{
    insn->flags = (d->lock ? INSN_LOCK : 0) | (d->rep == 0xf3 ? INSN_REP : 0) |
                  (d->rep == 0xf2 ? INSN_REPNE : 0) | (d->rex ? INSN_REX : 0) |
                  (d->rex & REX_W ? INSN_REX_W : 0) | (d->opsize ? INSN_66 : 0);
}

static void choose_executor(const struct decoder *d, const struct opcode *op, struct insn *insn)
{
    insn->body = op->body;
    insn->row = op - opcodes;
    if (d->lock && !((op->attrs & LOCK_OK) && (insn->flags & INSN_MEM))) {
        insn->body = body_ud;
        insn->row = nr_opcodes;
    }
    if (op->pick && !d->lock)
        insn->exec = op->pick(insn, d->mode);
    if (!insn->exec)
        insn->exec = op->attrs & CPL0 ? exec_body_cpl0 : exec_body;
}

static const struct opcode *find_row(struct decoder *d)
{
    bool mode_64 = d->mode.code_size == 8;

    if (opcode_has_modrm(d->map, d->opcode, mode_64)) {
        d->modrm = take(d, 1);
        if (d->overrun)
            return NULL;
    }
    return opcode_find(d->map, d->opcode, mandatory_prefix(d), d->modrm, mode_64);
}

static unsigned decode_invalid(struct insn *insn, unsigned length, insn_body *body)
{
    insn->exec = exec_body;
    insn->body = body;
    insn->row = nr_opcodes;
    insn->next = insn->off + length;
    return length;
}

unsigned decode_insn(const uint8_t *bytes, unsigned avail, struct decode_mode mode, unsigned off,
                     struct insn *insn)
{
    struct decoder d = { .bytes = bytes, .mode = mode, .seg = CPU_NR_SEGS };
    const struct opcode *op = NULL;

    d.avail = avail < INSN_MAX_BYTES ? avail : INSN_MAX_BYTES;
    *insn = (struct insn){ .off = off, .base = REG_NONE, .index = REG_NONE };
    take_prefixes(&d);
    if (!d.overrun)
        op = find_row(&d);
    if (!d.overrun && !op)
        return decode_invalid(insn, d.pos, body_ud);
    if (!d.overrun) {
        insn->opcode = d.opcode;
        insn->size = operand_size(&d, op->attrs);
        insn->address_size = mode.code_size == 8 ? d.addrsize ? 4 : 8
                                                 : (mode.code_size == 2) != d.addrsize ? 2 : 4;
        set_prefix_flags(&d, insn);
        default_segment(&d, insn, SEG_DS);
        if (op->attrs & MODRM)
            take_modrm(&d, insn, op->attrs);
        if (op->attrs & LOW3)
            insn->reg = (d.opcode & 7) | (d.rex & REX_B) << 3;
        take_immediate(&d, insn, op->attrs);
    }
    if (d.overrun)
        return d.avail < INSN_MAX_BYTES ? 0 : decode_invalid(insn, INSN_MAX_BYTES, body_too_long);
    insn->next = off + d.pos;
    fix_rip_relative(insn);
    choose_executor(&d, op, insn);
    return d.pos;
}

bool decode_ends_block(const struct insn *insn)
{
    return insn->row == nr_opcodes || (opcodes[insn->row].attrs & ENDS);
}
