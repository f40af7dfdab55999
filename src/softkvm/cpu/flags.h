/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lazy arithmetic flags.  An instruction records what it did (cpu->lazy) and
 * whoever needs a flag computes that flag.  a, b and result are kept sign-extended
 * from the operand size to 64 bits, which keeps both the signed and the unsigned
 * order, so that no reader needs to know the size.
 *
 * cpu_rflags() and cpu_set_rflags() (cpu.h) read and replace the whole register.
 */
#ifndef SOFTKVM_CPU_FLAGS_H
#define SOFTKVM_CPU_FLAGS_H

#include "cpu.h"

/* cpu->lazy.op.  "flags": that flag's bit in cpu->flags is right. */
enum lazy_op {
    LAZY_NONE,          /* all arithmetic flags are in cpu->flags */
    LAZY_LOGIC,         /* ZF SF PF of result; CF OF AF are 0 */
    LAZY_ADD,           /* result = a + b (+ carry) */
    LAZY_SUB,           /* result = a - b */
    LAZY_SBB,           /* result = a - b - carry */
    LAZY_INC,           /* result = a + b; CF: flags */
    LAZY_DEC,           /* result = a - b; CF: flags */
    LAZY_RESULT,        /* ZF SF PF of result; CF OF AF: flags */
};

static inline bool flags_parity(uint64_t result)
{
    return !__builtin_parity(result & 0xff);
}

static inline bool flag_zf(const struct cpu *cpu)
{
    return __builtin_expect(cpu->lazy.op == LAZY_NONE, 0) ? cpu->flags & FLAG_ZF
                                                          : cpu->lazy.result == 0;
}

static inline bool flag_sf(const struct cpu *cpu)
{
    return __builtin_expect(cpu->lazy.op == LAZY_NONE, 0) ? cpu->flags & FLAG_SF
                                                          : (int64_t)cpu->lazy.result < 0;
}

static inline bool flag_pf(const struct cpu *cpu)
{
    return __builtin_expect(cpu->lazy.op == LAZY_NONE, 0) ? cpu->flags & FLAG_PF
                                                          : flags_parity(cpu->lazy.result);
}

static inline bool flag_cf(const struct cpu *cpu)
{
    uint64_t a = cpu->lazy.a, b = cpu->lazy.b, r = cpu->lazy.result;

    switch ((enum lazy_op)cpu->lazy.op) {
    case LAZY_LOGIC:
        return false;
    case LAZY_SUB:
        return a < b;
    case LAZY_ADD:
        return (int64_t)((a & b) | ((a | b) & ~r)) < 0;
    case LAZY_SBB:
        return (int64_t)((~a & b) | ((~a | b) & r)) < 0;
    case LAZY_NONE:
    case LAZY_INC:
    case LAZY_DEC:
    case LAZY_RESULT:
        break;
    }
    return cpu->flags & FLAG_CF;
}

static inline bool flag_of(const struct cpu *cpu)
{
    uint64_t a = cpu->lazy.a, b = cpu->lazy.b, r = cpu->lazy.result;

    switch ((enum lazy_op)cpu->lazy.op) {
    case LAZY_LOGIC:
        return false;
    case LAZY_ADD:
    case LAZY_INC:
        return (int64_t)((a ^ r) & (b ^ r)) < 0;
    case LAZY_SUB:
    case LAZY_SBB:
    case LAZY_DEC:
        return (int64_t)((a ^ b) & (a ^ r)) < 0;
    case LAZY_NONE:
    case LAZY_RESULT:
        break;
    }
    return cpu->flags & FLAG_OF;
}

static inline bool flag_af(const struct cpu *cpu)
{
    switch ((enum lazy_op)cpu->lazy.op) {
    case LAZY_LOGIC:
        return false;
    case LAZY_ADD:
    case LAZY_INC:
    case LAZY_SUB:
    case LAZY_SBB:
    case LAZY_DEC:
        return (cpu->lazy.a ^ cpu->lazy.b ^ cpu->lazy.result) & FLAG_AF;
    case LAZY_NONE:
    case LAZY_RESULT:
        break;
    }
    return cpu->flags & FLAG_AF;
}

/*
 * Set all six arithmetic flags to concrete values (FLAG_* of FLAGS_ARITH): for
 * COMISD, FCOMI, BCD and whatever else computes its flags itself.
 */
static inline void flags_set_arith(struct cpu *cpu, uint64_t arith)
{
    cpu->flags = (cpu->flags & ~(uint64_t)FLAGS_ARITH) | (arith & FLAGS_ARITH);
    cpu->lazy.op = LAZY_NONE;
}

/* Bring the arithmetic flags into cpu->flags, so that single ones can be changed there. */
void flags_settle(struct cpu *cpu);

/* Change some arithmetic flags (mask), leave the others. */
static inline void flags_change_arith(struct cpu *cpu, uint64_t mask, uint64_t value)
{
    flags_settle(cpu);
    cpu->flags = (cpu->flags & ~(mask & FLAGS_ARITH)) | (value & mask & FLAGS_ARITH);
}

/* Condition cc, 0..15, as Jcc, SETcc and CMOVcc number them.  A constant cc costs one flag. */
static inline __attribute__((always_inline)) bool flags_condition(const struct cpu *cpu,
                                                                  unsigned cc)
{
    bool sub = cpu->lazy.op == LAZY_SUB, value = false;

    switch (cc >> 1) {
    case 0:
        value = flag_of(cpu);
        break;
    case 1:
        value = flag_cf(cpu);
        break;
    case 2:
        value = flag_zf(cpu);
        break;
    case 3:
        value = sub ? cpu->lazy.a <= cpu->lazy.b : flag_cf(cpu) || flag_zf(cpu);
        break;
    case 4:
        value = flag_sf(cpu);
        break;
    case 5:
        value = flag_pf(cpu);
        break;
    case 6:
        value = sub ? (int64_t)cpu->lazy.a < (int64_t)cpu->lazy.b : flag_sf(cpu) != flag_of(cpu);
        break;
    case 7:
        value = sub ? (int64_t)cpu->lazy.a <= (int64_t)cpu->lazy.b
                    : flag_zf(cpu) || flag_sf(cpu) != flag_of(cpu);
        break;
    }
    return value != (cc & 1);
}

#endif
