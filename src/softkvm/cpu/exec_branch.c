/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Near branches: JMP, Jcc, CALL, RET, LOOP, JCXZ.
 *
 * In 64-bit mode operands are 64 bits wide and 66 is ignored, as Intel's
 * processors do.  Elsewhere the target is cut to the operand size and checked
 * against the limit of CS.
 */
#include "exception.h"
#include "flags.h"
#include "opcodes.h"
#include "operand.h"
#include "stack.h"

/* Is there code to be fetched at target, as far as the branch itself checks? */
static bool target_ok(const struct cpu *cpu, uint64_t target)
{
    return cpu->code_size == 8 ? is_canonical(cpu, target) : target <= cpu->seg[SEG_CS].limit;
}

static enum cpu_status jump(struct cpu *cpu, uint64_t target)
{
    if (!target_ok(cpu, target))
        return raise_gp(cpu);
    cpu->regs[REG_RIP] = target;
    return CPU_BREAK;
}

static uint64_t relative_target(const struct cpu *cpu, const struct insn *insn)
{
    return zero_extend(insn_next_rip(cpu, insn) + insn->imm, insn->size);
}

static enum cpu_status branch_if(struct cpu *cpu, const struct insn *insn, bool taken)
{
    if (taken)
        return jump(cpu, relative_target(cpu, insn));
    cpu->regs[REG_RIP] += insn->next;
    return CPU_BREAK;
}

enum cpu_status body_jcc(struct cpu *cpu, const struct insn *insn)
{
    return branch_if(cpu, insn, flags_condition(cpu, insn->opcode & 15));
}

enum cpu_status body_jmp_rel(struct cpu *cpu, const struct insn *insn)
{
    return jump(cpu, relative_target(cpu, insn));
}

enum cpu_status body_jmp_rm(struct cpu *cpu, const struct insn *insn)
{
    uint64_t target;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &target);

    return status == CPU_OK ? jump(cpu, target) : status;
}

static enum cpu_status call(struct cpu *cpu, const struct insn *insn, uint64_t target)
{
    struct stack stack;
    enum cpu_status status;

    if (!target_ok(cpu, target))
        return raise_gp(cpu);
    stack_current(cpu, &stack);
    status = stack_push(cpu, &stack, insn_next_rip(cpu, insn), insn->size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    cpu->regs[REG_RIP] = target;
    return CPU_BREAK;
}

enum cpu_status body_call_rel(struct cpu *cpu, const struct insn *insn)
{
    return call(cpu, insn, relative_target(cpu, insn));
}

enum cpu_status body_call_rm(struct cpu *cpu, const struct insn *insn)
{
    uint64_t target;
    enum cpu_status status = rm_read(cpu, insn, insn->size, &target);

    return status == CPU_OK ? call(cpu, insn, target) : status;
}

/* C2 releases imm bytes of parameters; for C3 imm is 0. */
enum cpu_status body_ret(struct cpu *cpu, const struct insn *insn)
{
    struct stack stack;
    uint64_t target;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_pop(cpu, &stack, &target, insn->size);
    if (status != CPU_OK)
        return status;
    if (!target_ok(cpu, target))
        return raise_gp(cpu);
    stack_release(&stack, insn->imm);
    stack_commit(cpu, &stack);
    cpu->regs[REG_RIP] = target;
    return CPU_BREAK;
}

/* E0-E2: LOOPNE, LOOPE, LOOP.  The counter has the address size. */
enum cpu_status body_loop(struct cpu *cpu, const struct insn *insn)
{
    uint64_t count = zero_extend(cpu->regs[REG_RCX] - 1, insn->address_size);
    bool taken = count != 0;
    enum cpu_status status;

    if (insn->opcode != 0xe2)
        taken = taken && flag_zf(cpu) == (insn->opcode & 1);
    status = branch_if(cpu, insn, taken);
    if (status == CPU_BREAK)
        hot_set(cpu, REG_RCX, insn->address_size, count);
    return status;
}

enum cpu_status body_jcxz(struct cpu *cpu, const struct insn *insn)
{
    return branch_if(cpu, insn, !zero_extend(cpu->regs[REG_RCX], insn->address_size));
}

/* Threaded forms, 64-bit mode: near ones stay within the page, taken or not. */
static bool stays_in_page(const struct insn *insn, struct decode_mode mode)
{
    uint64_t next = mode.page_offset + insn->next;

    return next < CPU_PAGE_SIZE && next + insn->imm < CPU_PAGE_SIZE;
}

static ALWAYS_INLINE enum cpu_status hot_jcc(struct cpu *cpu, const struct insn *insn,
                                             unsigned cc, bool near)
{
    uint64_t next = insn_next_rip(cpu, insn);

    if (flags_condition(cpu, cc))
        return chain(cpu, insn + 1, 1, next + insn->imm, near);
    return chain(cpu, insn + 1, 0, next, near);
}

#define HOT_JCC(cc_)                                                                            \
    static enum cpu_status hot_jcc_far_##cc_(struct cpu *cpu, const struct insn *insn)          \
    {                                                                                           \
        return hot_jcc(cpu, insn, cc_, false);                                                  \
    }                                                                                           \
    static enum cpu_status hot_jcc_near_##cc_(struct cpu *cpu, const struct insn *insn)         \
    {                                                                                           \
        return hot_jcc(cpu, insn, cc_, true);                                                   \
    }
#define EACH_CC(what_)                                                                          \
    what_(0) what_(1) what_(2) what_(3) what_(4) what_(5) what_(6) what_(7)                     \
    what_(8) what_(9) what_(10) what_(11) what_(12) what_(13) what_(14) what_(15)

EACH_CC(HOT_JCC)

#define JCC_FAR(cc_) hot_jcc_far_##cc_,
#define JCC_NEAR(cc_) hot_jcc_near_##cc_,
static insn_exec *const forms_jcc[2][16] = { { EACH_CC(JCC_FAR) }, { EACH_CC(JCC_NEAR) } };

insn_exec *pick_jcc(struct insn *insn, struct decode_mode mode)
{
    if (mode.code_size != 8)
        return NULL;
    return forms_jcc[stays_in_page(insn, mode)][insn->opcode & 15];
}

static enum cpu_status hot_jmp_far(struct cpu *cpu, const struct insn *insn)
{
    return chain(cpu, insn + 1, 1, insn_next_rip(cpu, insn) + insn->imm, false);
}

static enum cpu_status hot_jmp_near(struct cpu *cpu, const struct insn *insn)
{
    return chain(cpu, insn + 1, 1, insn_next_rip(cpu, insn) + insn->imm, true);
}

insn_exec *pick_jmp_rel(struct insn *insn, struct decode_mode mode)
{
    if (mode.code_size != 8)
        return NULL;
    return stays_in_page(insn, mode) ? hot_jmp_near : hot_jmp_far;
}

/* Push the return address; false: not the fast way, and nothing happened. */
static ALWAYS_INLINE enum cpu_status hot_push_return(struct cpu *cpu, const struct insn *insn)
{
    uint64_t sp = cpu->regs[REG_RSP] - 8;
    struct tlb_entry *e;
    void *host = tlb_host(cpu, sp, 8, ACCESS_WRITE, &e);

    /* A stack in a page with code is left to the plain body. */
    if (unlikely(!host) || unlikely(__atomic_load_n(e->code, __ATOMIC_RELAXED) & 1))
        return CPU_MISS;
    host_store(host, 8, insn_next_rip(cpu, insn));
    if (unlikely(__atomic_load_n(e->code, __ATOMIC_RELAXED) & 1))
        return CPU_MISS;
    cpu->regs[REG_RSP] = sp;
    return CPU_OK;
}

static ALWAYS_INLINE enum cpu_status hot_call_rel(struct cpu *cpu, const struct insn *insn,
                                                  bool near)
{
    if (unlikely(hot_push_return(cpu, insn) != CPU_OK))
        return exec_body(cpu, insn);
    return chain(cpu, insn + 1, 1, insn_next_rip(cpu, insn) + insn->imm, near);
}

static enum cpu_status hot_call_far(struct cpu *cpu, const struct insn *insn)
{
    return hot_call_rel(cpu, insn, false);
}

static enum cpu_status hot_call_near(struct cpu *cpu, const struct insn *insn)
{
    return hot_call_rel(cpu, insn, true);
}

insn_exec *pick_call_rel(struct insn *insn, struct decode_mode mode)
{
    if (mode.code_size != 8)
        return NULL;
    return stays_in_page(insn, mode) ? hot_call_near : hot_call_far;
}

static enum cpu_status hot_jmp_reg(struct cpu *cpu, const struct insn *insn)
{
    uint64_t target = cpu->regs[insn->rm];

    if (unlikely(!is_canonical(cpu, target)))
        return exec_body(cpu, insn);
    return chain_indirect(cpu, insn + 1, target);
}

static enum cpu_status hot_call_reg(struct cpu *cpu, const struct insn *insn)
{
    uint64_t target = cpu->regs[insn->rm];

    if (unlikely(!is_canonical(cpu, target)) || unlikely(hot_push_return(cpu, insn) != CPU_OK))
        return exec_body(cpu, insn);
    return chain_indirect(cpu, insn + 1, target);
}

insn_exec *pick_jmp_rm(struct insn *insn, struct decode_mode mode)
{
    return mode.code_size == 8 && !(insn->flags & INSN_MEM) ? hot_jmp_reg : NULL;
}

insn_exec *pick_call_rm(struct insn *insn, struct decode_mode mode)
{
    return mode.code_size == 8 && !(insn->flags & INSN_MEM) ? hot_call_reg : NULL;
}

static enum cpu_status hot_ret(struct cpu *cpu, const struct insn *insn)
{
    uint64_t sp = cpu->regs[REG_RSP], target;
    struct tlb_entry *e;
    void *host = tlb_host(cpu, sp, 8, ACCESS_READ, &e);

    if (unlikely(!host))
        return exec_body(cpu, insn);
    target = host_load(host, 8);
    if (unlikely(!is_canonical(cpu, target)))
        return exec_body(cpu, insn);
    cpu->regs[REG_RSP] = sp + 8 + insn->imm;
    return chain_indirect(cpu, insn + 1, target);
}

insn_exec *pick_ret(struct insn *insn, struct decode_mode mode)
{
    return mode.code_size == 8 ? hot_ret : NULL;
}
