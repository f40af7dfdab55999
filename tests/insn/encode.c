/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a row's notation to machine code: picks registers, addressing forms and
 * immediates at random and sets the registers so that the memory operand lies
 * where it was decided to lie.
 */
#include "insn_test.h"

#include <stdlib.h>
#include <string.h>

enum { RSP = 4, RBP = 5, NO_REG = 16, MAX_PREFIXES = 14 };

struct encoder {
    struct test *t;
    uint8_t prefix[MAX_PREFIXES + 2], opcode[4], modrm[8], imm[16];
    unsigned nr_prefix, nr_opcode, nr_modrm, nr_imm;
    bool rex_w;
    uint8_t rex;                /* R X B */
    bool rip_relative;
    bool address_32;
};

/* Where the memory operand goes: the places where accesses differ. */
static uint64_t pick_address(const struct row *row, unsigned size)
{
    unsigned what = random_below(100);
    uint64_t addr;

    if (size == 0)
        size = 1;
    if (row->flags & R_NOFAULT)
        what %= 70;
    if (what < 50)
        addr = DATA + random_below(DATA_SIZE - size + 1);
    else if (what < 65)                             /* across a page */
        addr = DATA + PAGE * (1 + random_below(3)) - random_below(size + 1);
    else if (what < 70)                             /* the last bytes before the hole */
        addr = DATA + DATA_SIZE - size;
    else if (what < 80)                             /* partly in the hole */
        addr = DATA + DATA_SIZE - random_below(size);
    else if (what < 85)
        addr = DATA + DATA_SIZE + random_below(PAGE - size);
    else if (what < 90)
        addr = RDONLY + random_below(RDONLY_SIZE - size + 1);
    else if (what < 93)
        return 0x0000800000000000 + (random_u64() >> 17 & ~63ull);
    else
        addr = DATA + (random_below(DATA_SIZE - size + 1) & ~15u);
    if (row->flags & (R_ALIGN | R_ALIGN64))
        return random_chance(93) ? addr & (row->flags & R_ALIGN64 ? ~63ull : ~15ull) : addr;
    return random_chance(40) ? addr & -(uint64_t)(size & -size) : addr;
}

static unsigned pick_reg(const struct row *row)
{
    unsigned reg;

    do
        reg = random_below(16);
    while (reg == RSP || (row->pinned & 1u << reg));
    return reg;
}

static void put(uint8_t *buffer, unsigned *nr, uint64_t value, unsigned size)
{
    memcpy(buffer + *nr, &value, size);
    *nr += size;
}

/* ModRM with mod 3. */
static void modrm_register(struct encoder *e, unsigned reg)
{
    unsigned rm = random_below(16);

    e->rex |= (reg >> 3) << 2 | rm >> 3;
    e->modrm[e->nr_modrm++] = 0xc0 | (reg & 7) << 3 | (rm & 7);
}

/* ModRM, SIB and displacement for t->ea; registers are set to fit. */
static void modrm_memory(struct encoder *e, unsigned reg)
{
    struct test *t = e->t;
    unsigned base = NO_REG, index = NO_REG, scale = random_below(4), mod, disp_size;
    bool low = t->ea < 1ull << 32;
    int32_t disp;
    uint64_t index_value = 0;

    e->rex |= (reg >> 3) << 2;
    if (low && random_chance(12)) {                 /* RIP-relative: displacement filled in later */
        e->rip_relative = true;
        e->modrm[e->nr_modrm++] = (reg & 7) << 3 | 5;
        put(e->modrm, &e->nr_modrm, 0, 4);
        return;
    }
    if (low && t->ea < 1u << 31 && random_chance(8)) {      /* absolute, through a SIB byte */
        e->modrm[e->nr_modrm++] = (reg & 7) << 3 | 4;
        e->modrm[e->nr_modrm++] = 0x25;
        put(e->modrm, &e->nr_modrm, t->ea, 4);
        return;
    }
    e->address_32 = low && random_chance(8);
    base = pick_reg(t->row);
    if (random_chance(40)) {
        do
            index = pick_reg(t->row);
        while (index == base);
    }
    mod = random_below(3);
    if (mod == 0 && (base & 7) == RBP)
        mod = 1;
    disp_size = mod == 0 ? 0 : mod == 1 ? 1 : 4;
    disp = mod == 0 ? 0 : mod == 1 ? (int8_t)random_u64() : (int32_t)random_u64();
    if (index != NO_REG) {
        index_value = random_chance(50) ? random_below(256) : random_u64();
        t->in.gpr[index] = index_value;
        t->ea_reg_mask |= 1u << index;
        index_value <<= scale;
    }
    t->in.gpr[base] = t->ea - index_value - (int64_t)disp;
    if (e->address_32)                              /* the upper halves don't matter then */
        t->in.gpr[base] ^= random_u64() << 32;
    t->ea_reg_mask |= 1u << base;
    e->rex |= base >> 3;
    if (index != NO_REG || (base & 7) == RSP || random_chance(10)) {
        unsigned sib_index = index == NO_REG ? 4 : index;

        e->rex |= (sib_index >> 3) << 1;
        e->modrm[e->nr_modrm++] = mod << 6 | (reg & 7) << 3 | 4;
        e->modrm[e->nr_modrm++] = scale << 6 | (sib_index & 7) << 3 | (base & 7);
    } else {
        e->modrm[e->nr_modrm++] = mod << 6 | (reg & 7) << 3 | (base & 7);
    }
    put(e->modrm, &e->nr_modrm, (uint32_t)disp, disp_size);
}

static void modrm(struct encoder *e, int reg)
{
    struct test *t = e->t;
    unsigned size = t->row->mem ? t->row->mem : t->opsize;

    if (reg < 0)
        reg = random_below(16);
    t->has_mem = t->row->flags & R_MEM || (!(t->row->flags & R_REG) && random_chance(50));
    if (!t->has_mem) {
        modrm_register(e, reg);
        return;
    }
    t->ea = pick_address(t->row, size);
    modrm_memory(e, reg);
}

static void operand_size(struct encoder *e, char letter)
{
    static const uint8_t v[] = { 2, 4, 8 }, y[] = { 4, 8 }, q[] = { 2, 8 };

    e->t->opsize = letter == 'v' ? v[random_below(3)] :
                   letter == 'y' ? y[random_below(2)] : q[random_below(2)];
    if (e->t->opsize == 2)
        e->prefix[e->nr_prefix++] = 0x66;
    if (e->t->opsize == 8 && letter != 'q')
        e->rex_w = true;
}

static bool is_prefix(unsigned byte)
{
    return byte == 0x66 || byte == 0xf2 || byte == 0xf3 || byte == 0xf0 || byte == 0x67 ||
           (byte & 0xfe) == 0x64;
}

static bool immediate(struct encoder *e, char letter)
{
    unsigned size;

    switch (letter) {
    case 'b': size = 1; break;
    case 'w': size = 2; break;
    case 'd': size = 4; break;
    case 'q': size = 8; break;
    case 'z': size = e->t->opsize == 2 ? 2 : 4; break;
    default: return false;
    }
    put(e->imm, &e->nr_imm, size == 1 ? random_u64() : random_int(), size);
    return true;
}

static bool token(struct encoder *e, const char *text)
{
    char *end;
    unsigned byte;

    if (strcmp(text, "W") == 0) {
        e->rex_w = true;
        e->t->opsize = 8;
        return true;
    }
    if (strcmp(text, "+r") == 0) {
        unsigned reg = random_below(16);

        e->opcode[e->nr_opcode - 1] |= reg & 7;
        e->rex |= reg >> 3;
        return true;
    }
    if ((text[0] == 'v' || text[0] == 'y' || text[0] == 'q') && !text[1]) {
        operand_size(e, text[0]);
        return true;
    }
    if (text[0] == '/') {
        modrm(e, text[1] == 'r' ? -1 : text[1] - '0');
        return true;
    }
    if (text[0] == 'i')
        return immediate(e, text[1]);
    if (text[0] == '?') {
        if (random_chance(50))
            return true;
        text++;
    }
    byte = strtoul(text, &end, 16);
    if (end != text + 2 || *end)
        return false;
    if (e->nr_opcode == 0 && is_prefix(byte) && e->nr_prefix < MAX_PREFIXES)
        e->prefix[e->nr_prefix++] = byte;
    else if (e->nr_modrm || e->nr_imm || e->nr_opcode == sizeof(e->opcode))
        put(e->imm, &e->nr_imm, byte, 1);           /* a further instruction of the row */
    else
        e->opcode[e->nr_opcode++] = byte;
    return true;
}

static void emit(struct test *t, const void *bytes, unsigned nr)
{
    memcpy(t->code + t->length, bytes, nr);
    t->length += nr;
}

static void assemble(struct encoder *e)
{
    struct test *t = e->t;
    uint8_t rex = 0x40 | e->rex | (e->rex_w ? 8 : 0);

    if (e->address_32)
        e->prefix[e->nr_prefix++] = 0x67;
    emit(t, e->prefix, e->nr_prefix);
    if (rex != 0x40 || random_chance(20))
        emit(t, &rex, 1);
    emit(t, e->opcode, e->nr_opcode);
    emit(t, e->modrm, e->nr_modrm);
    if (e->rip_relative) {
        uint32_t disp = t->ea - (t->in.rip + t->length + e->nr_imm);

        memcpy(t->code + t->length - 4, &disp, 4);
    }
    emit(t, e->imm, e->nr_imm);
}

bool encode(struct test *test)
{
    struct encoder e = { .t = test };
    char copy[96], *save = NULL;

    test->length = 0;
    test->opsize = 4;
    test->has_mem = false;
    test->ea_reg_mask = 0;
    if (strlen(test->row->code) >= sizeof(copy))
        return false;
    strcpy(copy, test->row->code);
    for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save))
        if (!token(&e, t))
            return false;
    assemble(&e);
    return true;
}
