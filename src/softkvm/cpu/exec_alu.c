/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ADD OR ADC SBB AND SUB XOR CMP, TEST, INC, DEC, NEG, NOT.
 *
 * One computation, alu(), serves the plain bodies (any size, LOCK, any mode) and
 * the threaded forms, which are the same code with constants.
 */
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

/* Numbered as in bits 5:3 of the opcodes 00-3F, and as /digit of 80-83. */
enum alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, NR_ALU };

struct alu_result {
    uint64_t a, b, result;      /* sign-extended */
    uint8_t lazy;
};

static ALWAYS_INLINE struct alu_result alu(const struct cpu *cpu, enum alu_op op, unsigned size,
                                           uint64_t a, uint64_t b)
{
    struct alu_result r = { .a = sign_extend(a, size), .b = sign_extend(b, size) };

    switch (op) {
    case ALU_ADD:
        r.result = r.a + r.b;
        r.lazy = LAZY_ADD;
        break;
    case ALU_ADC:
        r.result = r.a + r.b + flag_cf(cpu);
        r.lazy = LAZY_ADD;
        break;
    case ALU_SBB:
        r.result = r.a - r.b - flag_cf(cpu);
        r.lazy = LAZY_SBB;
        break;
    case ALU_SUB:
    case ALU_CMP:
        r.result = r.a - r.b;
        r.lazy = LAZY_SUB;
        break;
    case ALU_AND:
        r.result = r.a & r.b;
        r.lazy = LAZY_LOGIC;
        break;
    case ALU_OR:
        r.result = r.a | r.b;
        r.lazy = LAZY_LOGIC;
        break;
    case ALU_XOR:
        r.result = r.a ^ r.b;
        r.lazy = LAZY_LOGIC;
        break;
    case NR_ALU:
        break;
    }
    r.result = sign_extend(r.result, size);
    return r;
}

static ALWAYS_INLINE void set_lazy(struct cpu *cpu, struct alu_result r)
{
    cpu->lazy.result = r.result;
    if (r.lazy != LAZY_LOGIC) {
        cpu->lazy.a = r.a;
        cpu->lazy.b = r.b;
    }
    cpu->lazy.op = r.lazy;
}

/* Plain: dst is what ModRM names. */
static enum cpu_status alu_to_rm(struct cpu *cpu, const struct insn *insn, enum alu_op op,
                                 uint64_t b)
{
    struct alu_result r;
    struct rmw m;
    enum cpu_status status;
    uint64_t a;

    if (op == ALU_CMP) {
        status = rm_read(cpu, insn, insn->size, &a);
        if (status == CPU_OK)
            set_lazy(cpu, alu(cpu, op, insn->size, a, b));
        return status;
    }
    status = rmw_begin(cpu, insn, insn->size, &m);
    if (status != CPU_OK)
        return status;
    do {
        r = alu(cpu, op, insn->size, m.old, b);
        status = rmw_commit(cpu, insn, &m, r.result);
    } while (status == CPU_MISS);
    if (status == CPU_OK)
        set_lazy(cpu, r);
    return status;
}

enum cpu_status body_alu_rm_reg(struct cpu *cpu, const struct insn *insn)
{
    return alu_to_rm(cpu, insn, insn->opcode >> 3 & 7,
                     reg_get(cpu, insn, insn->reg, insn->size));
}

enum cpu_status body_alu_rm_imm(struct cpu *cpu, const struct insn *insn)
{
    return alu_to_rm(cpu, insn, insn->reg & 7, insn->imm);
}

enum cpu_status body_alu_reg_rm(struct cpu *cpu, const struct insn *insn)
{
    enum alu_op op = insn->opcode >> 3 & 7;
    struct alu_result r;
    uint64_t b;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &b);

    if (status != CPU_OK)
        return status;
    r = alu(cpu, op, insn->size, reg_get(cpu, insn, insn->reg, insn->size), b);
    if (op != ALU_CMP)
        reg_set(cpu, insn, insn->reg, insn->size, r.result);
    set_lazy(cpu, r);
    return CPU_OK;
}

enum cpu_status body_alu_acc_imm(struct cpu *cpu, const struct insn *insn)
{
    enum alu_op op = insn->opcode >> 3 & 7;
    struct alu_result r = alu(cpu, op, insn->size, hot_get(cpu, REG_RAX, insn->size), insn->imm);

    if (op != ALU_CMP)
        hot_set(cpu, REG_RAX, insn->size, r.result);
    set_lazy(cpu, r);
    return CPU_OK;
}

/* TEST reads only, so no LOCK and no write access. */
static enum cpu_status test_rm(struct cpu *cpu, const struct insn *insn, uint64_t b)
{
    uint64_t a;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &a);

    if (status == CPU_OK)
        set_lazy(cpu, alu(cpu, ALU_AND, insn->size, a, b));
    return status;
}

enum cpu_status body_test_rm_reg(struct cpu *cpu, const struct insn *insn)
{
    return test_rm(cpu, insn, reg_get(cpu, insn, insn->reg, insn->size));
}

enum cpu_status body_test_rm_imm(struct cpu *cpu, const struct insn *insn)
{
    return test_rm(cpu, insn, insn->imm);
}

enum cpu_status body_test_acc_imm(struct cpu *cpu, const struct insn *insn)
{
    set_lazy(cpu, alu(cpu, ALU_AND, insn->size, hot_get(cpu, REG_RAX, insn->size), insn->imm));
    return CPU_OK;
}

/* INC and DEC leave CF alone: it is settled into cpu->flags first. */
static ALWAYS_INLINE struct alu_result alu_step(unsigned size, uint64_t old, bool dec)
{
    struct alu_result r = { .a = sign_extend(old, size), .b = 1 };

    r.result = sign_extend(dec ? r.a - 1 : r.a + 1, size);
    r.lazy = dec ? LAZY_DEC : LAZY_INC;
    return r;
}

static ALWAYS_INLINE void set_lazy_keep_cf(struct cpu *cpu, struct alu_result r)
{
    cpu->flags = (cpu->flags & ~(uint64_t)FLAG_CF) | flag_cf(cpu);
    set_lazy(cpu, r);
}

static enum cpu_status step_rm(struct cpu *cpu, const struct insn *insn, bool dec)
{
    struct alu_result r;
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, insn->size, &m);

    if (status != CPU_OK)
        return status;
    do {
        r = alu_step(insn->size, m.old, dec);
        status = rmw_commit(cpu, insn, &m, r.result);
    } while (status == CPU_MISS);
    if (status == CPU_OK)
        set_lazy_keep_cf(cpu, r);
    return status;
}

enum cpu_status body_inc(struct cpu *cpu, const struct insn *insn)
{
    return step_rm(cpu, insn, false);
}

enum cpu_status body_dec(struct cpu *cpu, const struct insn *insn)
{
    return step_rm(cpu, insn, true);
}

/* 40-4F outside 64-bit mode. */
enum cpu_status body_inc_reg(struct cpu *cpu, const struct insn *insn)
{
    struct alu_result r = alu_step(insn->size, hot_get(cpu, insn->reg, insn->size),
                                   insn->opcode & 8);

    hot_set(cpu, insn->reg, insn->size, r.result);
    set_lazy_keep_cf(cpu, r);
    return CPU_OK;
}

enum cpu_status body_neg(struct cpu *cpu, const struct insn *insn)
{
    struct alu_result r;
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, insn->size, &m);

    if (status != CPU_OK)
        return status;
    do {
        r = alu(cpu, ALU_SUB, insn->size, 0, m.old);
        status = rmw_commit(cpu, insn, &m, r.result);
    } while (status == CPU_MISS);
    if (status == CPU_OK)
        set_lazy(cpu, r);
    return status;
}

enum cpu_status body_not(struct cpu *cpu, const struct insn *insn)
{
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, insn->size, &m);

    if (status != CPU_OK)
        return status;
    do {
        status = rmw_commit(cpu, insn, &m, ~m.old);
    } while (status == CPU_MISS);
    return status;
}

/* Threaded forms: destination, then source. */
enum form { FORM_REG_REG, FORM_REG_IMM, FORM_REG_MEM, FORM_MEM_REG, FORM_MEM_IMM, NR_FORMS };

/*
 * FORM_REG_REG: rm is the destination, reg the source.  The others: reg is the
 * register beside memory, rm the one beside an immediate.
 */
static ALWAYS_INLINE enum cpu_status hot_alu(struct cpu *cpu, const struct insn *insn,
                                             enum alu_op op, unsigned size, enum form form,
                                             bool writes)
{
    bool to_mem = form == FORM_MEM_REG || form == FORM_MEM_IMM;
    bool mem = to_mem || form == FORM_REG_MEM;
    unsigned dst = form == FORM_REG_MEM ? insn->reg : insn->rm;
    struct tlb_entry *e = NULL;
    void *host = NULL;
    uint64_t a, b;
    struct alu_result r;

    if (mem) {
        host = tlb_host(cpu, hot_address(cpu, insn), size,
                        to_mem && writes ? ACCESS_WRITE : ACCESS_READ, &e);
        if (unlikely(!host))
            return CPU_MISS;
    }
    a = to_mem ? host_load(host, size) : hot_get(cpu, dst, size);
    if (form == FORM_REG_IMM || form == FORM_MEM_IMM)
        b = insn->imm;
    else if (form == FORM_REG_MEM)
        b = host_load(host, size);
    else
        b = hot_get(cpu, insn->reg, size);
    r = alu(cpu, op, size, a, b);
    if (writes && to_mem)
        host_store(host, size, r.result);
    else if (writes)
        hot_set(cpu, dst, size, r.result);
    set_lazy(cpu, r);
    return writes && to_mem ? hot_stored(cpu, e) : CPU_OK;
}

#define HOT_ALU(name_, op_, size_, form_, writes_)                                              \
    static enum cpu_status hot_##name_##_##size_##_##form_(struct cpu *cpu,                     \
                                                           const struct insn *insn)             \
    {                                                                                           \
        return insn_finish(cpu, insn, hot_alu(cpu, insn, op_, size_, form_, writes_));          \
    }
#define HOT_ALU_SIZES(name_, op_, form_, writes_)                                               \
    HOT_ALU(name_, op_, 1, form_, writes_) HOT_ALU(name_, op_, 2, form_, writes_)               \
    HOT_ALU(name_, op_, 4, form_, writes_) HOT_ALU(name_, op_, 8, form_, writes_)
#define HOT_ALU_FORMS(name_, op_, writes_)                                                      \
    HOT_ALU_SIZES(name_, op_, FORM_REG_REG, writes_)                                            \
    HOT_ALU_SIZES(name_, op_, FORM_REG_IMM, writes_)                                            \
    HOT_ALU_SIZES(name_, op_, FORM_REG_MEM, writes_)                                            \
    HOT_ALU_SIZES(name_, op_, FORM_MEM_REG, writes_)                                            \
    HOT_ALU_SIZES(name_, op_, FORM_MEM_IMM, writes_)

HOT_ALU_FORMS(add, ALU_ADD, true)
HOT_ALU_FORMS(or, ALU_OR, true)
HOT_ALU_FORMS(adc, ALU_ADC, true)
HOT_ALU_FORMS(sbb, ALU_SBB, true)
HOT_ALU_FORMS(and, ALU_AND, true)
HOT_ALU_FORMS(sub, ALU_SUB, true)
HOT_ALU_FORMS(xor, ALU_XOR, true)
HOT_ALU_FORMS(cmp, ALU_CMP, false)
HOT_ALU_FORMS(test, ALU_AND, false)

#define SIZES(name_, form_)                                                                     \
    { hot_##name_##_1_##form_, hot_##name_##_2_##form_,                                         \
      hot_##name_##_4_##form_, hot_##name_##_8_##form_ }
#define FORMS(name_)                                                                            \
    { [FORM_REG_REG] = SIZES(name_, FORM_REG_REG), [FORM_REG_IMM] = SIZES(name_, FORM_REG_IMM), \
      [FORM_REG_MEM] = SIZES(name_, FORM_REG_MEM), [FORM_MEM_REG] = SIZES(name_, FORM_MEM_REG), \
      [FORM_MEM_IMM] = SIZES(name_, FORM_MEM_IMM) }

static insn_exec *const hot_alu_forms[NR_ALU][NR_FORMS][4] = {
    [ALU_ADD] = FORMS(add), [ALU_OR] = FORMS(or), [ALU_ADC] = FORMS(adc), [ALU_SBB] = FORMS(sbb),
    [ALU_AND] = FORMS(and), [ALU_SUB] = FORMS(sub), [ALU_XOR] = FORMS(xor), [ALU_CMP] = FORMS(cmp),
};
static insn_exec *const hot_test_forms[NR_FORMS][4] = FORMS(test);

/* The form for memory or a register as what ModRM names, or NR_FORMS. */
static enum form choose_form(const struct insn *insn, struct decode_mode mode, enum form reg,
                             enum form mem)
{
    if (insn->flags & INSN_MEM)
        return hot_memory_ok(insn, mode) ? mem : NR_FORMS;
    return hot_byte_ok(insn, insn->rm) ? reg : NR_FORMS;
}

static insn_exec *pick_form(insn_exec *const forms[NR_FORMS][4], const struct insn *insn,
                            enum form form)
{
    return form == NR_FORMS ? NULL : forms[form][size_index(insn->size)];
}

insn_exec *pick_alu_rm_reg(struct insn *insn, struct decode_mode mode)
{
    if (!hot_byte_ok(insn, insn->reg))
        return NULL;
    return pick_form(hot_alu_forms[insn->opcode >> 3 & 7], insn,
                     choose_form(insn, mode, FORM_REG_REG, FORM_MEM_REG));
}

/* Between registers, the same as its mirror image in encoding and operands. */
insn_exec *pick_alu_reg_rm(struct insn *insn, struct decode_mode mode)
{
    enum form form = choose_form(insn, mode, FORM_REG_REG, FORM_REG_MEM);

    if (form == NR_FORMS || !hot_byte_ok(insn, insn->reg))
        return NULL;
    if (form == FORM_REG_REG) {
        uint8_t reg = insn->reg;

        insn->reg = insn->rm;
        insn->rm = reg;
    }
    return pick_form(hot_alu_forms[insn->opcode >> 3 & 7], insn, form);
}

insn_exec *pick_alu_rm_imm(struct insn *insn, struct decode_mode mode)
{
    return pick_form(hot_alu_forms[insn->reg & 7], insn,
                     choose_form(insn, mode, FORM_REG_IMM, FORM_MEM_IMM));
}

insn_exec *pick_alu_acc_imm(struct insn *insn, struct decode_mode mode)
{
    insn->rm = REG_RAX;
    return pick_form(hot_alu_forms[insn->opcode >> 3 & 7], insn, FORM_REG_IMM);
}

insn_exec *pick_test_rm_reg(struct insn *insn, struct decode_mode mode)
{
    if (!hot_byte_ok(insn, insn->reg))
        return NULL;
    return pick_form(hot_test_forms, insn, choose_form(insn, mode, FORM_REG_REG, FORM_MEM_REG));
}

insn_exec *pick_test_rm_imm(struct insn *insn, struct decode_mode mode)
{
    return pick_form(hot_test_forms, insn, choose_form(insn, mode, FORM_REG_IMM, FORM_MEM_IMM));
}

insn_exec *pick_test_acc_imm(struct insn *insn, struct decode_mode mode)
{
    insn->rm = REG_RAX;
    return pick_form(hot_test_forms, insn, FORM_REG_IMM);
}

static ALWAYS_INLINE enum cpu_status hot_step(struct cpu *cpu, const struct insn *insn,
                                              unsigned size, bool mem, bool dec)
{
    struct tlb_entry *e = NULL;
    void *host = NULL;
    struct alu_result r;

    if (mem) {
        host = tlb_host(cpu, hot_address(cpu, insn), size, ACCESS_WRITE, &e);
        if (unlikely(!host))
            return CPU_MISS;
    }
    r = alu_step(size, mem ? host_load(host, size) : hot_get(cpu, insn->rm, size), dec);
    if (mem)
        host_store(host, size, r.result);
    else
        hot_set(cpu, insn->rm, size, r.result);
    set_lazy_keep_cf(cpu, r);
    return mem ? hot_stored(cpu, e) : CPU_OK;
}

#define HOT_STEP(name_, size_, mem_, dec_)                                                      \
    static enum cpu_status hot_##name_##_##size_##_##mem_(struct cpu *cpu,                      \
                                                          const struct insn *insn)              \
    {                                                                                           \
        return insn_finish(cpu, insn, hot_step(cpu, insn, size_, mem_, dec_));                  \
    }
#define HOT_STEP_SIZES(name_, mem_, dec_)                                                       \
    HOT_STEP(name_, 1, mem_, dec_) HOT_STEP(name_, 2, mem_, dec_)                               \
    HOT_STEP(name_, 4, mem_, dec_) HOT_STEP(name_, 8, mem_, dec_)

HOT_STEP_SIZES(inc, 0, false)
HOT_STEP_SIZES(inc, 1, false)
HOT_STEP_SIZES(dec, 0, true)
HOT_STEP_SIZES(dec, 1, true)

static insn_exec *const hot_inc_forms[2][4] = { SIZES(inc, 0), SIZES(inc, 1) };
static insn_exec *const hot_dec_forms[2][4] = { SIZES(dec, 0), SIZES(dec, 1) };

static insn_exec *pick_step(insn_exec *const forms[2][4], const struct insn *insn,
                            struct decode_mode mode)
{
    bool mem = insn->flags & INSN_MEM;

    if (mem ? !hot_memory_ok(insn, mode) : !hot_byte_ok(insn, insn->rm))
        return NULL;
    return forms[mem][size_index(insn->size)];
}

insn_exec *pick_inc(struct insn *insn, struct decode_mode mode)
{
    return pick_step(hot_inc_forms, insn, mode);
}

insn_exec *pick_dec(struct insn *insn, struct decode_mode mode)
{
    return pick_step(hot_dec_forms, insn, mode);
}

static ALWAYS_INLINE enum cpu_status hot_neg(struct cpu *cpu, const struct insn *insn,
                                             unsigned size)
{
    struct alu_result r = alu(cpu, ALU_SUB, size, 0, hot_get(cpu, insn->rm, size));

    hot_set(cpu, insn->rm, size, r.result);
    set_lazy(cpu, r);
    return CPU_OK;
}

static ALWAYS_INLINE enum cpu_status hot_not(struct cpu *cpu, const struct insn *insn,
                                             unsigned size)
{
    hot_set(cpu, insn->rm, size, ~hot_get(cpu, insn->rm, size));
    return CPU_OK;
}

#define HOT_UNARY(name_, size_)                                                                 \
    static enum cpu_status hot_##name_##_##size_##_0(struct cpu *cpu, const struct insn *insn)  \
    {                                                                                           \
        return insn_finish(cpu, insn, hot_##name_(cpu, insn, size_));                           \
    }

HOT_UNARY(neg, 4)
HOT_UNARY(neg, 8)
HOT_UNARY(not, 4)
HOT_UNARY(not, 8)

insn_exec *pick_neg(struct insn *insn, struct decode_mode mode)
{
    if ((insn->flags & INSN_MEM) || insn->size < 4)
        return NULL;
    return insn->size == 4 ? hot_neg_4_0 : hot_neg_8_0;
}

insn_exec *pick_not(struct insn *insn, struct decode_mode mode)
{
    if ((insn->flags & INSN_MEM) || insn->size < 4)
        return NULL;
    return insn->size == 4 ? hot_not_4_0 : hot_not_8_0;
}
