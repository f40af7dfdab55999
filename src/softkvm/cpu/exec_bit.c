/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* BT BTS BTR BTC, BSF BSR, TZCNT LZCNT POPCNT, BSWAP, MOVBE, CRC32. */
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

/* Bits 4:3 of the opcodes A3-BB, and /digit & 3 of BA. */
enum bit_op { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

static uint64_t bit_apply(enum bit_op op, uint64_t value, uint64_t mask)
{
    switch (op) {
    case BIT_SET:
        return value | mask;
    case BIT_RESET:
        return value & ~mask;
    case BIT_COMPLEMENT:
        return value ^ mask;
    case BIT_TEST:
        break;
    }
    return value;
}

/*
 * With a bit offset from a register, memory is a string of bits, of which the
 * operand is the part that offset selects, before or after the address.
 */
static enum cpu_status bit_linear(struct cpu *cpu, const struct insn *insn, int64_t offset,
                                  enum cpu_access access, uint64_t *linear)
{
    uint64_t at = insn_offset(cpu, insn) + (offset >> (3 + size_index(insn->size))) * insn->size;

    if (insn->address_size != 8)
        at = zero_extend(at, insn->address_size);
    return segment_linear(cpu, insn->seg, at, insn->size, access, linear);
}

static enum cpu_status bit_rm(struct cpu *cpu, const struct insn *insn, enum bit_op op,
                              int64_t offset)
{
    uint64_t mask = 1ULL << (offset & (8 * insn->size - 1)), linear = 0;
    bool mem = insn->flags & INSN_MEM;
    struct rmw m = { 0 };
    enum cpu_status status;

    if (mem) {
        status = bit_linear(cpu, insn, offset, op == BIT_TEST ? ACCESS_READ : ACCESS_WRITE,
                            &linear);
        if (status != CPU_OK)
            return status;
    }
    if (op == BIT_TEST) {
        if (mem)
            status = linear_read(cpu, linear, insn->size, &m.old);
        else
            status = rm_read(cpu, insn, insn->size, &m.old);
    } else {
        status = mem ? rmw_begin_at(cpu, insn, linear, insn->size, &m)
                     : rmw_begin(cpu, insn, insn->size, &m);
        if (status != CPU_OK)
            return status;
        do {
            status = rmw_commit(cpu, insn, &m, bit_apply(op, m.old, mask));
        } while (status == CPU_MISS);
    }
    if (status == CPU_OK)
        flags_change_arith(cpu, FLAG_CF, m.old & mask ? FLAG_CF : 0);
    return status;
}

enum cpu_status body_bit_reg(struct cpu *cpu, const struct insn *insn)
{
    uint64_t offset = reg_get(cpu, insn, insn->reg, insn->size);

    return bit_rm(cpu, insn, insn->opcode >> 3 & 3, (int64_t)sign_extend(offset, insn->size));
}

/* An immediate offset stays within the operand. */
enum cpu_status body_bit_imm(struct cpu *cpu, const struct insn *insn)
{
    return bit_rm(cpu, insn, insn->reg & 3, insn->imm & (8 * insn->size - 1));
}

static ALWAYS_INLINE enum cpu_status hot_bit_test(struct cpu *cpu, const struct insn *insn,
                                                  unsigned size, uint64_t offset)
{
    uint64_t bit = cpu->regs[insn->rm] >> (offset & (8 * size - 1)) & 1;

    flags_change_arith(cpu, FLAG_CF, bit ? FLAG_CF : 0);
    return CPU_OK;
}

static enum cpu_status hot_bt_reg_4(struct cpu *cpu, const struct insn *insn)
{
    return insn_finish(cpu, insn, hot_bit_test(cpu, insn, 4, cpu->regs[insn->reg]));
}

static enum cpu_status hot_bt_reg_8(struct cpu *cpu, const struct insn *insn)
{
    return insn_finish(cpu, insn, hot_bit_test(cpu, insn, 8, cpu->regs[insn->reg]));
}

insn_exec *pick_bt_reg(struct insn *insn, struct decode_mode mode)
{
    if ((insn->flags & INSN_MEM) || insn->size < 4)
        return NULL;
    return insn->size == 4 ? hot_bt_reg_4 : hot_bt_reg_8;
}

/* With a source of 0 the destination stays, as AMD documents and Intel does. */
enum cpu_status body_bsf(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    if (status != CPU_OK)
        return status;
    if (value)
        reg_set(cpu, insn, insn->reg, insn->size, __builtin_ctzll(value));
    flags_change_arith(cpu, FLAG_ZF, value ? 0 : FLAG_ZF);
    return CPU_OK;
}

enum cpu_status body_bsr(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    if (status != CPU_OK)
        return status;
    if (value)
        reg_set(cpu, insn, insn->reg, insn->size, 63 - __builtin_clzll(value));
    flags_change_arith(cpu, FLAG_ZF, value ? 0 : FLAG_ZF);
    return CPU_OK;
}

enum cpu_status body_popcnt(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    if (status != CPU_OK)
        return status;
    reg_set(cpu, insn, insn->reg, insn->size, __builtin_popcountll(value));
    flags_set_arith(cpu, value ? 0 : FLAG_ZF);
    return CPU_OK;
}

static uint64_t swap_bytes(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

/* The 16-bit form is undefined; processors clear the register. */
enum cpu_status body_bswap(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value = hot_get(cpu, insn->reg, insn->size);

    hot_set(cpu, insn->reg, insn->size, insn->size == 2 ? 0 : swap_bytes(value, insn->size));
    return CPU_OK;
}

enum cpu_status body_movbe_load(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    if (status == CPU_OK)
        reg_set(cpu, insn, insn->reg, insn->size, swap_bytes(value, insn->size));
    return status;
}

enum cpu_status body_movbe_store(struct cpu *cpu, const struct insn *insn)
{
    return rm_write(cpu, insn, insn->size,
                    swap_bytes(reg_get(cpu, insn, insn->reg, insn->size), insn->size));
}

/* CRC-32C, polynomial 11EDC6F41, bits reflected. */
enum cpu_status body_crc32(struct cpu *cpu, const struct insn *insn)
{
    uint32_t crc = cpu->regs[insn->reg];
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    if (status != CPU_OK)
        return status;
    for (unsigned i = 0; i < insn->size; i++, value >>= 8) {
        crc ^= value & 0xff;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    cpu->regs[insn->reg] = crc;
    return CPU_OK;
}
