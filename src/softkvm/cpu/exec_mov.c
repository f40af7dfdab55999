/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MOV, MOVZX, MOVSX, MOVSXD, LEA, XLAT, CMOVcc, SETcc, CBW and CWD families. */
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

enum cpu_status body_mov_rm_reg(struct cpu *cpu, const struct insn *insn)
{
    return rm_write(cpu, insn, insn->size, reg_get(cpu, insn, insn->reg, insn->size));
}

enum cpu_status body_mov_reg_rm(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    if (status == CPU_OK)
        reg_set(cpu, insn, insn->reg, insn->size, value);
    return status;
}

enum cpu_status body_mov_rm_imm(struct cpu *cpu, const struct insn *insn)
{
    return rm_write(cpu, insn, insn->size, insn->imm);
}

enum cpu_status body_mov_reg_imm(struct cpu *cpu, const struct insn *insn)
{
    reg_set(cpu, insn, insn->reg, insn->size, insn->imm);
    return CPU_OK;
}

/* A0-A3: the accumulator and an address without ModRM. */
enum cpu_status body_mov_acc_moffs(struct cpu *cpu, const struct insn *insn)
{
    uint64_t linear, value;
    enum cpu_status status = segment_linear(cpu, insn->seg, insn->imm, insn->size, ACCESS_READ,
                                            &linear);

    if (status == CPU_OK)
        status = linear_read(cpu, linear, insn->size, &value);
    if (status == CPU_OK)
        hot_set(cpu, REG_RAX, insn->size, value);
    return status;
}

enum cpu_status body_mov_moffs_acc(struct cpu *cpu, const struct insn *insn)
{
    uint64_t linear;
    enum cpu_status status = segment_linear(cpu, insn->seg, insn->imm, insn->size, ACCESS_WRITE,
                                            &linear);

    return status == CPU_OK ? linear_write(cpu, linear, insn->size, cpu->regs[REG_RAX]) : status;
}

static enum cpu_status extend(struct cpu *cpu, const struct insn *insn, unsigned from, bool sign)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, from, &value);

    if (status == CPU_OK)
        hot_set(cpu, insn->reg, insn->size, sign ? sign_extend(value, from) : value);
    return status;
}

/* B6, B7, BE, BF: bit 0 is the source's size. */
enum cpu_status body_movzx(struct cpu *cpu, const struct insn *insn)
{
    return extend(cpu, insn, insn->opcode & 1 ? 2 : 1, false);
}

enum cpu_status body_movsx(struct cpu *cpu, const struct insn *insn)
{
    return extend(cpu, insn, insn->opcode & 1 ? 2 : 1, true);
}

enum cpu_status body_movsxd(struct cpu *cpu, const struct insn *insn)
{
    return extend(cpu, insn, 4, true);
}

enum cpu_status body_lea(struct cpu *cpu, const struct insn *insn)
{
    hot_set(cpu, insn->reg, insn->size, insn_offset(cpu, insn));
    return CPU_OK;
}

enum cpu_status body_xlat(struct cpu *cpu, const struct insn *insn)
{
    uint64_t offset = cpu->regs[REG_RBX] + (cpu->regs[REG_RAX] & 0xff), linear, value;
    enum cpu_status status;

    offset = zero_extend(offset, insn->address_size);
    status = segment_linear(cpu, insn->seg, offset, 1, ACCESS_READ, &linear);
    if (status == CPU_OK)
        status = linear_read(cpu, linear, 1, &value);
    if (status == CPU_OK)
        hot_set(cpu, REG_RAX, 1, value);
    return status;
}

/* The source is read, and a 32-bit destination's upper half cleared, whatever the condition. */
enum cpu_status body_cmov(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &value);

    if (status != CPU_OK)
        return status;
    if (!flags_condition(cpu, insn->opcode & 15))
        value = hot_get(cpu, insn->reg, insn->size);
    hot_set(cpu, insn->reg, insn->size, value);
    return CPU_OK;
}

enum cpu_status body_setcc(struct cpu *cpu, const struct insn *insn)
{
    return rm_write(cpu, insn, 1, flags_condition(cpu, insn->opcode & 15));
}

/* CBW, CWDE, CDQE. */
enum cpu_status body_cbw(struct cpu *cpu, const struct insn *insn)
{
    hot_set(cpu, REG_RAX, insn->size, sign_extend(cpu->regs[REG_RAX], insn->size / 2));
    return CPU_OK;
}

/* CWD, CDQ, CQO. */
enum cpu_status body_cwd(struct cpu *cpu, const struct insn *insn)
{
    bool negative = (int64_t)sign_extend(cpu->regs[REG_RAX], insn->size) < 0;

    hot_set(cpu, REG_RDX, insn->size, negative ? UINT64_MAX : 0);
    return CPU_OK;
}

/* Threaded forms. */
static ALWAYS_INLINE enum cpu_status hot_load(struct cpu *cpu, const struct insn *insn,
                                              unsigned from, unsigned size, bool sign)
{
    struct tlb_entry *e;
    void *host = tlb_host(cpu, hot_address(cpu, insn), from, ACCESS_READ, &e);
    uint64_t value;

    if (unlikely(!host))
        return CPU_MISS;
    value = host_load(host, from);
    hot_set(cpu, insn->reg, size, sign ? sign_extend(value, from) : value);
    return CPU_OK;
}

static ALWAYS_INLINE enum cpu_status hot_store(struct cpu *cpu, const struct insn *insn,
                                               unsigned size, uint64_t value)
{
    struct tlb_entry *e;
    void *host = tlb_host(cpu, hot_address(cpu, insn), size, ACCESS_WRITE, &e);

    if (unlikely(!host))
        return CPU_MISS;
    host_store(host, size, value);
    return hot_stored(cpu, e);
}

static ALWAYS_INLINE enum cpu_status hot_move(struct cpu *cpu, const struct insn *insn,
                                              unsigned from, unsigned size, bool sign)
{
    uint64_t value = hot_get(cpu, insn->rm, from);

    hot_set(cpu, insn->reg, size, sign ? sign_extend(value, from) : value);
    return CPU_OK;
}

static ALWAYS_INLINE enum cpu_status hot_set_reg(struct cpu *cpu, const struct insn *insn,
                                                 unsigned reg, unsigned size, uint64_t value)
{
    hot_set(cpu, reg, size, value);
    return CPU_OK;
}

#define HOT_FORM(name_, expr_)                                                                  \
    static enum cpu_status hot_##name_(struct cpu *cpu, const struct insn *insn)                \
    {                                                                                           \
        return insn_finish(cpu, insn, expr_);                                                   \
    }
#define HOT_SIZED(size_)                                                                        \
    HOT_FORM(load_##size_, hot_load(cpu, insn, size_, size_, false))                            \
    HOT_FORM(store_##size_, hot_store(cpu, insn, size_, cpu->regs[insn->reg]))                  \
    HOT_FORM(store_imm_##size_, hot_store(cpu, insn, size_, insn->imm))                         \
    HOT_FORM(copy_##size_, hot_set_reg(cpu, insn, insn->rm, size_, cpu->regs[insn->reg]))       \
    HOT_FORM(rm_imm_##size_, hot_set_reg(cpu, insn, insn->rm, size_, insn->imm))                \
    HOT_FORM(reg_imm_##size_, hot_set_reg(cpu, insn, insn->reg, size_, insn->imm))

HOT_SIZED(1)
HOT_SIZED(2)
HOT_SIZED(4)
HOT_SIZED(8)
HOT_FORM(lea_4, hot_set_reg(cpu, insn, insn->reg, 4, hot_address(cpu, insn)))
HOT_FORM(lea_8, hot_set_reg(cpu, insn, insn->reg, 8, hot_address(cpu, insn)))

#define SIZES(name_) { hot_##name_##_1, hot_##name_##_2, hot_##name_##_4, hot_##name_##_8 }

static insn_exec *const forms_load[4] = SIZES(load), *const forms_store[4] = SIZES(store);
static insn_exec *const forms_copy[4] = SIZES(copy), *const forms_rm_imm[4] = SIZES(rm_imm);
static insn_exec *const forms_store_imm[4] = SIZES(store_imm);
static insn_exec *const forms_reg_imm[4] = SIZES(reg_imm);

static bool operands_ok(const struct insn *insn, struct decode_mode mode)
{
    if (insn->flags & INSN_MEM)
        return hot_memory_ok(insn, mode);
    return hot_byte_ok(insn, insn->rm);
}

insn_exec *pick_mov_rm_reg(struct insn *insn, struct decode_mode mode)
{
    if (!operands_ok(insn, mode) || !hot_byte_ok(insn, insn->reg))
        return NULL;
    return (insn->flags & INSN_MEM ? forms_store : forms_copy)[size_index(insn->size)];
}

insn_exec *pick_mov_reg_rm(struct insn *insn, struct decode_mode mode)
{
    uint8_t reg = insn->reg;

    if (!operands_ok(insn, mode) || !hot_byte_ok(insn, insn->reg))
        return NULL;
    if (insn->flags & INSN_MEM)
        return forms_load[size_index(insn->size)];
    /* Between registers its mirror image; the plain body isn't needed any more. */
    insn->reg = insn->rm;
    insn->rm = reg;
    return forms_copy[size_index(insn->size)];
}

insn_exec *pick_mov_rm_imm(struct insn *insn, struct decode_mode mode)
{
    if (!operands_ok(insn, mode))
        return NULL;
    return (insn->flags & INSN_MEM ? forms_store_imm : forms_rm_imm)[size_index(insn->size)];
}

insn_exec *pick_mov_reg_imm(struct insn *insn, struct decode_mode mode)
{
    return hot_byte_ok(insn, insn->reg) ? forms_reg_imm[size_index(insn->size)] : NULL;
}

insn_exec *pick_lea(struct insn *insn, struct decode_mode mode)
{
    if (insn->address_size != 8 || insn->size < 4)
        return NULL;
    return insn->size == 4 ? hot_lea_4 : hot_lea_8;
}

/* Extending moves: to 32 and 64 bits. */
#define HOT_EXTEND(name_, from_, sign_)                                                         \
    HOT_FORM(name_##_##from_##_4_reg, hot_move(cpu, insn, from_, 4, sign_))                     \
    HOT_FORM(name_##_##from_##_4_mem, hot_load(cpu, insn, from_, 4, sign_))                     \
    HOT_FORM(name_##_##from_##_8_reg, hot_move(cpu, insn, from_, 8, sign_))                     \
    HOT_FORM(name_##_##from_##_8_mem, hot_load(cpu, insn, from_, 8, sign_))

HOT_EXTEND(zx, 1, false)
HOT_EXTEND(zx, 2, false)
HOT_EXTEND(sx, 1, true)
HOT_EXTEND(sx, 2, true)
HOT_EXTEND(sx, 4, true)

#define EXTEND_FORMS(name_, from_)                                                              \
    { { hot_##name_##_##from_##_4_reg, hot_##name_##_##from_##_4_mem },                         \
      { hot_##name_##_##from_##_8_reg, hot_##name_##_##from_##_8_mem } }

static insn_exec *const forms_zx[2][2][2] = { EXTEND_FORMS(zx, 1), EXTEND_FORMS(zx, 2) };
static insn_exec *const forms_sx[3][2][2] = { EXTEND_FORMS(sx, 1), EXTEND_FORMS(sx, 2),
                                              EXTEND_FORMS(sx, 4) };

static insn_exec *pick_extend(const struct insn *insn, struct decode_mode mode,
                              insn_exec *const forms[2][2], unsigned from)
{
    bool mem = insn->flags & INSN_MEM;

    if (insn->size < 4 || (mem && !hot_memory_ok(insn, mode)) ||
        (!mem && from == 1 && is_high_byte(insn, insn->rm)))
        return NULL;
    return forms[insn->size == 8][mem];
}

insn_exec *pick_movzx(struct insn *insn, struct decode_mode mode)
{
    return pick_extend(insn, mode, forms_zx[insn->opcode & 1], insn->opcode & 1 ? 2 : 1);
}

insn_exec *pick_movsx(struct insn *insn, struct decode_mode mode)
{
    return pick_extend(insn, mode, forms_sx[insn->opcode & 1], insn->opcode & 1 ? 2 : 1);
}

insn_exec *pick_movsxd(struct insn *insn, struct decode_mode mode)
{
    return pick_extend(insn, mode, forms_sx[2], 4);
}

/* One function a condition. */
static ALWAYS_INLINE enum cpu_status hot_cmov(struct cpu *cpu, const struct insn *insn,
                                              unsigned cc, unsigned size)
{
    uint64_t value = hot_get(cpu, insn->rm, size);

    hot_set(cpu, insn->reg, size,
            flags_condition(cpu, cc) ? value : hot_get(cpu, insn->reg, size));
    return CPU_OK;
}

#define HOT_CC(cc_)                                                                             \
    HOT_FORM(cmov_4_##cc_, hot_cmov(cpu, insn, cc_, 4))                                         \
    HOT_FORM(cmov_8_##cc_, hot_cmov(cpu, insn, cc_, 8))                                         \
    HOT_FORM(setcc_##cc_, hot_set_reg(cpu, insn, insn->rm, 1, flags_condition(cpu, cc_)))
#define EACH_CC(what_)                                                                          \
    what_(0) what_(1) what_(2) what_(3) what_(4) what_(5) what_(6) what_(7)                     \
    what_(8) what_(9) what_(10) what_(11) what_(12) what_(13) what_(14) what_(15)

EACH_CC(HOT_CC)

#define CMOV_4(cc_) hot_cmov_4_##cc_,
#define CMOV_8(cc_) hot_cmov_8_##cc_,
#define SETCC(cc_) hot_setcc_##cc_,
static insn_exec *const forms_cmov[2][16] = { { EACH_CC(CMOV_4) }, { EACH_CC(CMOV_8) } };
static insn_exec *const forms_setcc[16] = { EACH_CC(SETCC) };

insn_exec *pick_cmov(struct insn *insn, struct decode_mode mode)
{
    if ((insn->flags & INSN_MEM) || insn->size < 4)
        return NULL;
    return forms_cmov[insn->size == 8][insn->opcode & 15];
}

insn_exec *pick_setcc(struct insn *insn, struct decode_mode mode)
{
    if ((insn->flags & INSN_MEM) || is_high_byte(insn, insn->rm))
        return NULL;
    return forms_setcc[insn->opcode & 15];
}
