/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ROL ROR RCL RCR SHL SHR SAR, SHLD, SHRD (SDM vol. 2).
 *
 * Where the manual leaves OF undefined (counts above 1) it is what the formula
 * for a count of 1 gives, as processors do it.
 */
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

/* Numbered as /digit of C0, C1, D0-D3; 6 is another SHL. */
enum shift_op { ROL, ROR, RCL, RCR, SHL, SHR, SHL2, SAR, NR_SHIFTS };

struct shift_result {
    uint64_t value;
    bool cf, of;
};

static ALWAYS_INLINE bool top_bit(uint64_t value, unsigned size)
{
    return value >> (8 * size - 1) & 1;
}

/* Shifts set ZF, SF and PF too, rotates only CF and OF. */
static ALWAYS_INLINE bool is_rotate(enum shift_op op)
{
    return op <= RCR;
}

static ALWAYS_INLINE uint64_t rotate_left(uint64_t a, unsigned size, unsigned count)
{
    unsigned bits = 8 * size;

    count &= bits - 1;
    return count ? zero_extend(a << count | a >> (bits - count), size) : a;
}

/* Through CF: a ring of one bit more than the operand has. */
static struct shift_result rotate_carry_left(uint64_t a, unsigned size, unsigned count, bool cf)
{
    struct shift_result r;

    for (r.value = a, r.cf = cf; count; count--) {
        bool out = top_bit(r.value, size);

        r.value = zero_extend(r.value << 1 | r.cf, size);
        r.cf = out;
    }
    r.of = top_bit(r.value, size) ^ r.cf;
    return r;
}

/* count: masked to the operand's 5 or 6 bits, not 0; a is zero-extended. */
static ALWAYS_INLINE struct shift_result shift(enum shift_op op, unsigned size, uint64_t a,
                                               unsigned count, bool cf)
{
    unsigned bits = 8 * size;
    struct shift_result r = { 0 };

    switch (op) {
    case ROL:
        r.value = rotate_left(a, size, count);
        r.cf = r.value & 1;
        r.of = top_bit(r.value, size) ^ r.cf;
        break;
    case ROR:
        r.value = rotate_left(a, size, bits - count % bits);
        r.cf = top_bit(r.value, size);
        r.of = r.cf ^ (r.value >> (bits - 2) & 1);
        break;
    case RCL:
        r = rotate_carry_left(a, size, count % (bits + 1), cf);
        break;
    case RCR:
        r = rotate_carry_left(a, size, (bits + 1) - count % (bits + 1), cf);
        r.of = top_bit(r.value, size) ^ (r.value >> (bits - 2) & 1);
        break;
    case SHL:
    case SHL2:
        r.value = count < bits ? zero_extend(a << count, size) : 0;
        r.cf = count <= bits && (a >> (bits - count) & 1);
        r.of = top_bit(r.value, size) ^ r.cf;
        break;
    case SHR:
        r.value = count < bits ? a >> count : 0;
        r.cf = count <= bits && (a >> (count - 1) & 1);
        r.of = top_bit(a, size);
        break;
    case SAR:
        a = sign_extend(a, size);
        r.value = zero_extend((int64_t)a >> count, size);
        r.cf = (int64_t)a >> (count - 1) & 1;
        r.of = false;
        break;
    case NR_SHIFTS:
        break;
    }
    return r;
}

static ALWAYS_INLINE void set_cf_of(struct cpu *cpu, struct shift_result r)
{
    cpu->flags = (cpu->flags & ~(uint64_t)(FLAG_CF | FLAG_OF | FLAG_AF)) |
                 (r.cf ? FLAG_CF : 0) | (r.of ? FLAG_OF : 0);
}

static ALWAYS_INLINE void set_flags(struct cpu *cpu, enum shift_op op, unsigned size,
                                    struct shift_result r)
{
    if (is_rotate(op)) {
        flags_change_arith(cpu, FLAG_CF | FLAG_OF, (r.cf ? FLAG_CF : 0) | (r.of ? FLAG_OF : 0));
        return;
    }
    set_cf_of(cpu, r);
    cpu->lazy.result = sign_extend(r.value, size);
    cpu->lazy.op = LAZY_RESULT;
}

static ALWAYS_INLINE unsigned count_mask(unsigned size)
{
    return size == 8 ? 63 : 31;
}

/* A count of 0 changes nothing, but a 32-bit destination is cleared above, and memory written. */
static enum cpu_status shift_rm(struct cpu *cpu, const struct insn *insn, unsigned count)
{
    enum shift_op op = insn->reg & 7;
    struct shift_result r = { 0 };
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, insn->size, &m);

    if (status != CPU_OK)
        return status;
    count &= count_mask(insn->size);
    r.value = m.old;
    if (count)
        r = shift(op, insn->size, m.old, count, flag_cf(cpu));
    status = rmw_commit(cpu, insn, &m, r.value);
    if (status == CPU_OK && count)
        set_flags(cpu, op, insn->size, r);
    return status;
}

enum cpu_status body_shift_1(struct cpu *cpu, const struct insn *insn)
{
    return shift_rm(cpu, insn, 1);
}

enum cpu_status body_shift_imm(struct cpu *cpu, const struct insn *insn)
{
    return shift_rm(cpu, insn, insn->imm);
}

enum cpu_status body_shift_cl(struct cpu *cpu, const struct insn *insn)
{
    return shift_rm(cpu, insn, cpu->regs[REG_RCX]);
}

/*
 * SHLD is the high half of dst:src shifted left, SHRD the low half of src:dst
 * shifted right.  16-bit operands with a count above 16 are undefined; here
 * they go on with dst again, as processors do.
 */
static struct shift_result shift_double(bool right, unsigned size, uint64_t dst, uint64_t src,
                                        unsigned count)
{
    unsigned bits = 8 * size;
    struct shift_result r;
    unsigned __int128 wide;

    if (right) {
        wide = (unsigned __int128)src << bits | dst;
        if (size == 2)
            wide |= (unsigned __int128)dst << 32;
        r.value = zero_extend((uint64_t)(wide >> count), size);
        r.cf = wide >> (count - 1) & 1;
    } else if (size == 2) {
        uint64_t ring = dst << 32 | src << 16 | dst;

        r.value = zero_extend(ring >> (32 - count), 2);
        r.cf = ring >> (48 - count) & 1;
    } else {
        wide = (unsigned __int128)dst << bits | src;
        r.value = zero_extend((uint64_t)(wide >> (bits - count)), size);
        r.cf = dst >> (bits - count) & 1;
    }
    r.of = top_bit(r.value ^ dst, size);
    return r;
}

static enum cpu_status shift_double_rm(struct cpu *cpu, const struct insn *insn, uint64_t count)
{
    bool right = insn->opcode & 8;
    struct shift_result r = { 0 };
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, insn->size, &m);

    if (status != CPU_OK)
        return status;
    count &= count_mask(insn->size);
    r.value = m.old;
    if (count)
        r = shift_double(right, insn->size, m.old, reg_get(cpu, insn, insn->reg, insn->size),
                         count);
    status = rmw_commit(cpu, insn, &m, r.value);
    if (status == CPU_OK && count)
        set_flags(cpu, SHL, insn->size, r);
    return status;
}

enum cpu_status body_shift_double_imm(struct cpu *cpu, const struct insn *insn)
{
    return shift_double_rm(cpu, insn, insn->imm);
}

enum cpu_status body_shift_double_cl(struct cpu *cpu, const struct insn *insn)
{
    return shift_double_rm(cpu, insn, cpu->regs[REG_RCX]);
}

/* Threaded forms: shifts and plain rotates of 32- and 64-bit registers. */
enum count_kind { COUNT_1, COUNT_IMM, COUNT_CL, NR_COUNTS };

static ALWAYS_INLINE enum cpu_status hot_shift(struct cpu *cpu, const struct insn *insn,
                                               enum shift_op op, unsigned size,
                                               enum count_kind kind)
{
    uint64_t a = hot_get(cpu, insn->rm, size);
    unsigned count = 1;
    struct shift_result r;

    if (kind != COUNT_1)
        count = (kind == COUNT_IMM ? insn->imm : cpu->regs[REG_RCX]) & count_mask(size);
    if (unlikely(!count)) {
        hot_set(cpu, insn->rm, size, a);
        return CPU_OK;
    }
    r = shift(op, size, a, count, false);
    hot_set(cpu, insn->rm, size, r.value);
    set_flags(cpu, op, size, r);
    return CPU_OK;
}

#define HOT_SHIFT(op_, size_, kind_)                                                            \
    static enum cpu_status hot_##op_##_##size_##_##kind_(struct cpu *cpu,                       \
                                                         const struct insn *insn)               \
    {                                                                                           \
        return insn_finish(cpu, insn, hot_shift(cpu, insn, op_, size_, kind_));                 \
    }
#define HOT_SHIFT_KINDS(op_, size_)                                                             \
    HOT_SHIFT(op_, size_, COUNT_1) HOT_SHIFT(op_, size_, COUNT_IMM) HOT_SHIFT(op_, size_, COUNT_CL)
#define HOT_SHIFT_SIZES(op_) HOT_SHIFT_KINDS(op_, 4) HOT_SHIFT_KINDS(op_, 8)

HOT_SHIFT_SIZES(ROL)
HOT_SHIFT_SIZES(ROR)
HOT_SHIFT_SIZES(SHL)
HOT_SHIFT_SIZES(SHR)
HOT_SHIFT_SIZES(SAR)

#define KINDS(op_, size_)                                                                       \
    { hot_##op_##_##size_##_COUNT_1, hot_##op_##_##size_##_COUNT_IMM,                           \
      hot_##op_##_##size_##_COUNT_CL }
#define SHIFT_FORMS(op_) { KINDS(op_, 4), KINDS(op_, 8) }

static insn_exec *const hot_shift_forms[NR_SHIFTS][2][NR_COUNTS] = {
    [ROL] = SHIFT_FORMS(ROL), [ROR] = SHIFT_FORMS(ROR), [SHL] = SHIFT_FORMS(SHL),
    [SHL2] = SHIFT_FORMS(SHL), [SHR] = SHIFT_FORMS(SHR), [SAR] = SHIFT_FORMS(SAR),
};

static insn_exec *pick_shift(const struct insn *insn, enum count_kind kind)
{
    if ((insn->flags & INSN_MEM) || insn->size < 4)
        return NULL;
    return hot_shift_forms[insn->reg & 7][insn->size == 8][kind];
}

insn_exec *pick_shift_1(struct insn *insn, struct decode_mode mode)
{
    return pick_shift(insn, COUNT_1);
}

insn_exec *pick_shift_imm(struct insn *insn, struct decode_mode mode)
{
    return pick_shift(insn, COUNT_IMM);
}

insn_exec *pick_shift_cl(struct insn *insn, struct decode_mode mode)
{
    return pick_shift(insn, COUNT_CL);
}
