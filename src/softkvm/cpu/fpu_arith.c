/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 arithmetic and comparison (SDM vol. 2: FADD, FMUL, FCOM, FSUB, FDIV and their
 * forms, FCOMI, FTST, FSQRT, FRNDINT, FSCALE, FPREM, FXTRACT, FCHS, FABS).
 */
#include "flags.h"
#include "fpu_state.h"

/* ModRM.reg of D8, DA, DC, DE. */
enum { OP_ADD, OP_MUL, OP_COM, OP_COMP, OP_SUB, OP_SUBR, OP_DIV, OP_DIVR };

static struct f80 compute(struct f80_env *env, unsigned op, struct f80 a, struct f80 b)
{
    switch (op) {
    case OP_ADD: return f80_add(env, a, b);
    case OP_MUL: return f80_mul(env, a, b);
    case OP_SUB: return f80_sub(env, a, b);
    case OP_SUBR: return f80_sub(env, b, a);
    case OP_DIV: return f80_div(env, a, b);
    default: return f80_div(env, b, a);
    }
}

/* C3 C2 C0 of comparing ST(0) with b; pops so many registers. */
static void compare(struct cpu_fpu *fpu, struct f80 b, struct f80_env env, bool empty, bool quiet,
                    unsigned pops)
{
    uint16_t cc = FSW_C3 | FSW_C2 | FSW_C0;
    bool done;

    if (empty || fpu_empty(fpu, 0)) {
        done = fpu_underflow(fpu);
    } else {
        cc = f80_compare(&env, fpu_get(fpu, 0), b, quiet);
        done = fpu_raise(fpu, env.flags, FSW_EARLY);
    }
    fpu_set_cc(fpu, FSW_C3 | FSW_C2 | FSW_C0, cc);
    while (done && pops-- > 0)
        fpu_pop(fpu);
}

/* ST(dst) = ST(dst) op b. */
static void arithmetic(struct cpu_fpu *fpu, unsigned op, unsigned dst, struct f80 b,
                       struct f80_env env, bool empty, unsigned pops)
{
    struct f80 r = f80_indefinite;
    bool done;

    if (empty || fpu_empty(fpu, dst)) {
        done = fpu_underflow(fpu);
    } else {
        r = compute(&env, op, fpu_get(fpu, dst), b);
        done = fpu_raise(fpu, env.flags, FSW_EARLY);
    }
    if (!done)
        return;
    fpu_set(fpu, dst, r);
    while (pops-- > 0)
        fpu_pop(fpu);
}

/* ST(0) with a memory operand that was converted to b. */
static enum cpu_status memory_operand(struct cpu *cpu, const struct insn *insn, struct f80 b,
                                      struct f80_env env)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    unsigned op = insn->reg & 7;
    enum f80_class class = f80_classify(fpu_get(fpu, 0));

    /* A NaN in ST(0) comes before a denormal in memory. */
    if (class == F80_NAN || class == F80_UNSUPPORTED)
        env.flags &= ~FSW_DE;
    if (op == OP_COM || op == OP_COMP)
        compare(fpu, b, env, false, false, op == OP_COMP);
    else
        arithmetic(fpu, op, 0, b, env, false, 0);
    return fpu_end(cpu, insn);
}

#define MEMORY_FORM(name_, type_, convert_)                                                 \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        struct f80_env env = fpu_env(&cpu->fpu);                                            \
        type_ value;                                                                        \
        enum cpu_status status = fpu_begin(cpu);                                            \
                                                                                            \
        if (status == CPU_OK)                                                               \
            status = fpu_load(cpu, insn, &value, sizeof(value));                            \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        return memory_operand(cpu, insn, convert_, env);                                    \
    }
MEMORY_FORM(fpu_arith_m32, uint32_t, f80_from_f32(&env, value))
MEMORY_FORM(fpu_arith_m64, uint64_t, f80_from_f64(&env, value))
MEMORY_FORM(fpu_arith_m16int, int16_t, f80_from_int(value))
MEMORY_FORM(fpu_arith_m32int, int32_t, f80_from_int(value))

/* D8: ST(0) op ST(i). */
enum cpu_status fpu_arith_st0(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    unsigned op = insn->reg & 7, i = insn->rm & 7;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (op == OP_COM || op == OP_COMP)
        compare(fpu, fpu_get(fpu, i), fpu_env(fpu), fpu_empty(fpu, i), false, op == OP_COMP);
    else
        arithmetic(fpu, op, 0, fpu_get(fpu, i), fpu_env(fpu), fpu_empty(fpu, i), 0);
    return fpu_end(cpu, insn);
}

/* DC, and DE with a pop: ST(i) op ST(0); the encodings of FSUB and FSUBR, FDIV and FDIVR swap. */
static enum cpu_status arith_sti(struct cpu *cpu, const struct insn *insn, unsigned pops)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    unsigned op = insn->reg & 7;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (op >= OP_SUB)
        op ^= 1;
    arithmetic(fpu, op, insn->rm & 7, fpu_get(fpu, 0), fpu_env(fpu), fpu_empty(fpu, 0), pops);
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_arith_sti(struct cpu *cpu, const struct insn *insn)
{
    return arith_sti(cpu, insn, 0);
}

enum cpu_status fpu_arith_sti_pop(struct cpu *cpu, const struct insn *insn)
{
    return arith_sti(cpu, insn, 1);
}

/* Comparisons of registers. */
static enum cpu_status compare_register(struct cpu *cpu, const struct insn *insn, unsigned i,
                                        bool quiet, unsigned pops)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    compare(fpu, fpu_get(fpu, i), fpu_env(fpu), fpu_empty(fpu, i), quiet, pops);
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fcom(struct cpu *cpu, const struct insn *insn)
{
    return compare_register(cpu, insn, insn->rm & 7, false, 0);
}

enum cpu_status fpu_fcomp(struct cpu *cpu, const struct insn *insn)
{
    return compare_register(cpu, insn, insn->rm & 7, false, 1);
}

enum cpu_status fpu_fcompp(struct cpu *cpu, const struct insn *insn)
{
    return compare_register(cpu, insn, 1, false, 2);
}

enum cpu_status fpu_fucom(struct cpu *cpu, const struct insn *insn)
{
    return compare_register(cpu, insn, insn->rm & 7, true, 0);
}

enum cpu_status fpu_fucomp(struct cpu *cpu, const struct insn *insn)
{
    return compare_register(cpu, insn, insn->rm & 7, true, 1);
}

enum cpu_status fpu_fucompp(struct cpu *cpu, const struct insn *insn)
{
    return compare_register(cpu, insn, 1, true, 2);
}

/* FCOMI and its kin: the outcome goes to ZF, PF, CF. */
static enum cpu_status compare_flags(struct cpu *cpu, const struct insn *insn, bool quiet,
                                     bool pop)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    struct f80_env env = fpu_env(fpu);
    uint16_t cc = FSW_C3 | FSW_C2 | FSW_C0;
    unsigned i = insn->rm & 7;
    enum cpu_status status = fpu_begin(cpu);
    uint16_t c1 = fpu->status & FSW_C1;
    bool done;

    if (status != CPU_OK)
        return status;
    if (fpu_empty(fpu, 0) || fpu_empty(fpu, i)) {
        env.flags = FSW_IE | FSW_SF;
        c1 = 0;
    } else {
        cc = f80_compare(&env, fpu_get(fpu, 0), fpu_get(fpu, i), quiet);
    }
    flags_set_arith(cpu, (cc & FSW_C3 ? FLAG_ZF : 0) | (cc & FSW_C2 ? FLAG_PF : 0) |
                         (cc & FSW_C0 ? FLAG_CF : 0));
    done = fpu_raise(fpu, env.flags, FSW_EARLY);
    fpu->status |= c1;                          /* these comparisons leave it alone */
    if (done && pop)
        fpu_pop(fpu);
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fcomi(struct cpu *cpu, const struct insn *insn)
{
    return compare_flags(cpu, insn, false, false);
}

enum cpu_status fpu_fcomip(struct cpu *cpu, const struct insn *insn)
{
    return compare_flags(cpu, insn, false, true);
}

enum cpu_status fpu_fucomi(struct cpu *cpu, const struct insn *insn)
{
    return compare_flags(cpu, insn, true, false);
}

enum cpu_status fpu_fucomip(struct cpu *cpu, const struct insn *insn)
{
    return compare_flags(cpu, insn, true, true);
}

enum cpu_status fpu_ftst(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    compare(fpu, f80_zero, fpu_env(fpu), false, false, 0);
    return fpu_end(cpu, insn);
}

/* FXAM never faults: it tells of empty registers too. */
enum cpu_status fpu_fxam(struct cpu *cpu, const struct insn *insn)
{
    static const uint16_t codes[] = {
        [F80_UNSUPPORTED] = 0, [F80_NAN] = FSW_C0, [F80_NORMAL] = FSW_C2,
        [F80_INFINITY] = FSW_C2 | FSW_C0, [F80_ZERO] = FSW_C3, [F80_DENORMAL] = FSW_C3 | FSW_C2,
    };
    struct cpu_fpu *fpu = &cpu->fpu;
    struct f80 a = fpu_get(fpu, 0);
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    fpu_set_cc(fpu, FSW_CC, (fpu_empty(fpu, 0) ? FSW_C3 | FSW_C0 : codes[f80_classify(a)]) |
                            (f80_sign(a) ? FSW_C1 : 0));
    return fpu_end(cpu, insn);
}

/* Of ST(0) alone. */
static struct f80 change_sign(struct f80_env *env, struct f80 a)
{
    a.sign_exponent ^= 0x8000;
    return a;
}

static struct f80 clear_sign(struct f80_env *env, struct f80 a)
{
    a.sign_exponent &= 0x7fff;
    return a;
}

#define UNARY(name_, function_)                                                             \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        struct cpu_fpu *fpu = &cpu->fpu;                                                    \
        struct f80_env env = fpu_env(fpu);                                                  \
        struct f80 r = f80_indefinite;                                                      \
        enum cpu_status status = fpu_begin(cpu);                                            \
                                                                                            \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        if (fpu_empty(fpu, 0))                                                              \
            env.flags = FSW_IE | FSW_SF;                                                    \
        else                                                                                \
            r = function_(&env, fpu_get(fpu, 0));                                           \
        if (fpu_raise(fpu, env.flags, FSW_EARLY))                                           \
            fpu_set(fpu, 0, r);                                                             \
        return fpu_end(cpu, insn);                                                          \
    }
UNARY(fpu_fchs, change_sign)
UNARY(fpu_fabs, clear_sign)
UNARY(fpu_fsqrt, f80_sqrt)
UNARY(fpu_frndint, f80_round_to_int)

enum cpu_status fpu_fscale(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    struct f80_env env = fpu_env(fpu);
    struct f80 r = f80_indefinite;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (fpu_empty(fpu, 0) || fpu_empty(fpu, 1))
        env.flags = FSW_IE | FSW_SF;
    else
        r = f80_scale(&env, fpu_get(fpu, 0), fpu_get(fpu, 1));
    if (fpu_raise(fpu, env.flags, FSW_EARLY))
        fpu_set(fpu, 0, r);
    return fpu_end(cpu, insn);
}

static enum cpu_status remainder_of(struct cpu *cpu, const struct insn *insn, bool nearest)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    struct f80_env env = fpu_env(fpu);
    struct f80 r = f80_indefinite;
    unsigned quotient = 0;
    bool partial = false;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (fpu_empty(fpu, 0) || fpu_empty(fpu, 1))
        env.flags = FSW_IE | FSW_SF;
    else
        r = f80_remainder(&env, fpu_get(fpu, 0), fpu_get(fpu, 1), nearest, &quotient, &partial);
    fpu_set_cc(fpu, FSW_C2, 0);
    if (fpu_raise(fpu, env.flags, FSW_EARLY)) {
        fpu_set(fpu, 0, r);
        fpu_set_cc(fpu, FSW_C2, partial ? FSW_C2 : 0);
        if (f80_classify(r) != F80_NAN)
            fpu_set_cc(fpu, FSW_C0 | FSW_C1 | FSW_C3, (quotient & 4 ? FSW_C0 : 0) |
                       (quotient & 2 ? FSW_C3 : 0) | (quotient & 1 ? FSW_C1 : 0));
    }
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fprem(struct cpu *cpu, const struct insn *insn)
{
    return remainder_of(cpu, insn, false);
}

enum cpu_status fpu_fprem1(struct cpu *cpu, const struct insn *insn)
{
    return remainder_of(cpu, insn, true);
}

/* ST(0) into exponent and significand; *exponent as a number. */
static struct f80 extract(struct f80_env *env, struct f80 a, struct f80 *exponent)
{
    int shift;

    *exponent = f80_indefinite;
    switch (f80_classify(a)) {
    case F80_UNSUPPORTED:
        env->flags |= FSW_IE;
        return f80_indefinite;
    case F80_NAN:
        return *exponent = f80_nan(env, a, f80_zero);
    case F80_INFINITY:
        *exponent = f80_infinity;
        return a;
    case F80_ZERO:
        env->flags |= FSW_ZE;
        *exponent = f80_infinity;
        exponent->sign_exponent |= 0x8000;
        return a;
    case F80_DENORMAL:
        env->flags |= FSW_DE;
        break;
    case F80_NORMAL:
        break;
    }
    shift = __builtin_clzll(a.mantissa);
    *exponent = f80_from_int((int)(f80_exponent(a) ? f80_exponent(a) : 1) - shift - F80_BIAS);
    return f80_make(f80_sign(a), F80_BIAS, a.mantissa << shift);
}

enum cpu_status fpu_fxtract(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    struct f80_env env = fpu_env(fpu);
    struct f80 significand = f80_indefinite, exponent = f80_indefinite;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (fpu_empty(fpu, 0))
        env.flags = FSW_IE | FSW_SF;
    else if (!fpu_empty(fpu, 7))
        env.flags = FSW_IE | FSW_SF | FSW_C1;
    else
        significand = extract(&env, fpu_get(fpu, 0), &exponent);
    if (fpu_raise(fpu, env.flags, FSW_EARLY)) {
        fpu_set(fpu, 0, exponent);
        fpu_push(fpu, significand);
    }
    return fpu_end(cpu, insn);
}
