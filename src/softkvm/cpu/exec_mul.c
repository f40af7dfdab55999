/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MUL, IMUL, DIV, IDIV.  Flags that the manual leaves undefined: multiplication
 * sets ZF, SF and PF from the low half; division leaves all flags as they were.
 */
#include "exception.h"
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

/* The accumulator pair: AX for bytes, else rDX:rAX. */
static u128 pair_get(const struct cpu *cpu, unsigned size)
{
    if (size == 1)
        return cpu->regs[REG_RAX] & 0xffff;
    return (u128)hot_get(cpu, REG_RDX, size) << (8 * size) | hot_get(cpu, REG_RAX, size);
}

static ALWAYS_INLINE void pair_set(struct cpu *cpu, unsigned size, uint64_t low, uint64_t high)
{
    if (size == 1) {
        hot_set(cpu, REG_RAX, 2, (low & 0xff) | high << 8);
        return;
    }
    hot_set(cpu, REG_RAX, size, low);
    hot_set(cpu, REG_RDX, size, high);
}

static ALWAYS_INLINE void set_flags(struct cpu *cpu, unsigned size, uint64_t low, bool overflow)
{
    cpu->flags = (cpu->flags & ~(uint64_t)(FLAG_CF | FLAG_OF | FLAG_AF)) |
                 (overflow ? FLAG_CF | FLAG_OF : 0);
    cpu->lazy.result = sign_extend(low, size);
    cpu->lazy.op = LAZY_RESULT;
}

static ALWAYS_INLINE void mul(struct cpu *cpu, unsigned size, uint64_t b)
{
    u128 product = (u128)hot_get(cpu, REG_RAX, size) * b;
    uint64_t low = zero_extend(product, size), high = zero_extend(product >> (8 * size), size);

    pair_set(cpu, size, low, high);
    set_flags(cpu, size, low, high != 0);
}

enum cpu_status body_mul(struct cpu *cpu, const struct insn *insn)
{
    uint64_t b;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &b);

    if (status == CPU_OK)
        mul(cpu, insn->size, b);
    return status;
}

static ALWAYS_INLINE s128 imul(unsigned size, uint64_t a, uint64_t b, bool *overflow)
{
    s128 product = (s128)(int64_t)sign_extend(a, size) * (int64_t)sign_extend(b, size);

    *overflow = product != (int64_t)sign_extend(product, size);
    return product;
}

enum cpu_status body_imul_pair(struct cpu *cpu, const struct insn *insn)
{
    uint64_t b;
    bool overflow;
    s128 product;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &b);

    if (status != CPU_OK)
        return status;
    product = imul(insn->size, hot_get(cpu, REG_RAX, insn->size), b, &overflow);
    pair_set(cpu, insn->size, product, product >> (8 * insn->size));
    set_flags(cpu, insn->size, product, overflow);
    return CPU_OK;
}

static ALWAYS_INLINE void imul_to_reg(struct cpu *cpu, const struct insn *insn, unsigned size,
                                      uint64_t a, uint64_t b)
{
    bool overflow;
    uint64_t product = imul(size, a, b, &overflow);

    hot_set(cpu, insn->reg, size, product);
    set_flags(cpu, size, product, overflow);
}

enum cpu_status body_imul_reg_rm(struct cpu *cpu, const struct insn *insn)
{
    uint64_t b;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &b);

    if (status == CPU_OK)
        imul_to_reg(cpu, insn, insn->size, hot_get(cpu, insn->reg, insn->size), b);
    return status;
}

enum cpu_status body_imul_rm_imm(struct cpu *cpu, const struct insn *insn)
{
    uint64_t b;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &b);

    if (status == CPU_OK)
        imul_to_reg(cpu, insn, insn->size, b, insn->imm);
    return status;
}

enum cpu_status body_div(struct cpu *cpu, const struct insn *insn)
{
    u128 a = pair_get(cpu, insn->size), quotient;
    uint64_t b;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &b);

    if (status != CPU_OK)
        return status;
    if (!b)
        return raise_fault(cpu, VECTOR_DE);
    if (insn->size < 8) {
        quotient = (uint64_t)a / b;
        a = (uint64_t)a % b;
    } else {
        quotient = a / b;
        a %= b;
    }
    if (quotient > size_mask(insn->size))
        return raise_fault(cpu, VECTOR_DE);
    pair_set(cpu, insn->size, quotient, a);
    return CPU_OK;
}

/* Magnitudes are divided, so that the most negative dividend needs no special case. */
enum cpu_status body_idiv(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->size, unused = 128 - 16 * size;
    s128 a = (s128)(pair_get(cpu, size) << unused) >> unused;
    u128 magnitude = a < 0 ? -(u128)a : (u128)a, quotient, remainder, limit;
    uint64_t b, divisor;
    bool negative;
    enum cpu_status status = rm_read(cpu, insn, size, &b);

    if (status != CPU_OK)
        return status;
    if (!b)
        return raise_fault(cpu, VECTOR_DE);
    b = sign_extend(b, size);
    divisor = (int64_t)b < 0 ? -b : b;
    negative = (a < 0) != ((int64_t)b < 0);
    quotient = magnitude / divisor;
    remainder = magnitude % divisor;
    limit = ((u128)1 << (8 * size - 1)) - !negative;
    if (quotient > limit)
        return raise_fault(cpu, VECTOR_DE);
    pair_set(cpu, size, negative ? -quotient : quotient, a < 0 ? -remainder : remainder);
    return CPU_OK;
}

/* Threaded forms: registers of 32 and 64 bits. */
#define HOT_MUL(name_, size_, expr_)                                                            \
    static enum cpu_status hot_##name_##_##size_(struct cpu *cpu, const struct insn *insn)      \
    {                                                                                           \
        expr_;                                                                                  \
        return insn_finish(cpu, insn, CPU_OK);                                                  \
    }
#define HOT_MUL_SIZES(name_)    HOT_##name_(4) HOT_##name_(8)

#define HOT_mul(size_) HOT_MUL(mul, size_, mul(cpu, size_, hot_get(cpu, insn->rm, size_)))
#define HOT_imul_reg(size_)                                                                     \
    HOT_MUL(imul_reg, size_, imul_to_reg(cpu, insn, size_, hot_get(cpu, insn->reg, size_),      \
                                         hot_get(cpu, insn->rm, size_)))
#define HOT_imul_imm(size_)                                                                     \
    HOT_MUL(imul_imm, size_, imul_to_reg(cpu, insn, size_, hot_get(cpu, insn->rm, size_),       \
                                         insn->imm))

HOT_MUL_SIZES(mul)
HOT_MUL_SIZES(imul_reg)
HOT_MUL_SIZES(imul_imm)

static insn_exec *pick(const struct insn *insn, insn_exec *exec4, insn_exec *exec8)
{
    if ((insn->flags & INSN_MEM) || insn->size < 4)
        return NULL;
    return insn->size == 4 ? exec4 : exec8;
}

insn_exec *pick_mul(struct insn *insn, struct decode_mode mode)
{
    return pick(insn, hot_mul_4, hot_mul_8);
}

insn_exec *pick_imul_reg_rm(struct insn *insn, struct decode_mode mode)
{
    return pick(insn, hot_imul_reg_4, hot_imul_reg_8);
}

insn_exec *pick_imul_rm_imm(struct insn *insn, struct decode_mode mode)
{
    return pick(insn, hot_imul_imm_4, hot_imul_imm_8);
}
