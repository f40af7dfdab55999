// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Far jumps, calls and returns, call gates (SDM vol. 3, sections 5.8, 6.14.3;
 * vol. 2 for each instruction).
 */
#include "far.h"
#include "exception.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "stack.h"
#include "task.h"

struct target {
    uint16_t selector;
    uint64_t offset;
};

static bool is_code(const struct cpu_segment *s)
{
    return (s->ar & (SEG_AR_S | SEG_TYPE_CODE)) == (SEG_AR_S | SEG_TYPE_CODE);
}

static enum cpu_status fault_on(struct cpu *cpu, uint8_t vector, uint16_t selector)
{
    return raise_fault_code(cpu, vector, selector & ~3u);
}

/* Would cs at offset be fetchable?  #GP(0). */
static enum cpu_status check_offset(struct cpu *cpu, const struct cpu_segment *cs,
                                    uint64_t *offset)
{
    bool wide = cpu->long_mode && (cs->ar & SEG_AR_L);

    if (!wide)
        *offset = (uint32_t)*offset;
    if (wide ? !is_canonical(cpu, *offset) : *offset > cs->limit)
        return raise_gp(cpu);
    return CPU_OK;
}

/* Present, not both 16-bit nor both 64- and 32-bit; sets the accessed bit. */
static enum cpu_status finish_code(struct cpu *cpu, struct cpu_segment *cs, unsigned cpl)
{
    enum cpu_status status;

    if (cpu->long_mode && (cs->ar & (SEG_AR_L | SEG_AR_DB)) == (SEG_AR_L | SEG_AR_DB))
        return fault_on(cpu, VECTOR_GP, cs->selector);
    if (!(cs->ar & SEG_AR_P))
        return fault_on(cpu, VECTOR_NP, cs->selector);
    status = descriptor_set_type(cpu, cs, SEG_TYPE_ACCESSED);
    cs->selector = (cs->selector & ~3) | cpl;
    return status;
}

static enum cpu_status read_descriptor(struct cpu *cpu, uint16_t selector, uint64_t *descriptor,
                                       struct cpu_segment *segment)
{
    enum cpu_status status;

    if (!(selector & ~3))
        return raise_gp(cpu);
    status = descriptor_read(cpu, selector, VECTOR_GP, descriptor);
    if (status == CPU_OK)
        descriptor_unpack(*descriptor, selector, segment);
    return status;
}

/* The code segment of a direct far jump or call: no change of privilege. */
static enum cpu_status check_direct(struct cpu *cpu, struct cpu_segment *cs)
{
    unsigned rpl = cs->selector & 3, dpl = segment_dpl(cs);
    bool conforming = cs->ar & SEG_TYPE_CONFORMING;

    if (conforming ? dpl > cpu->cpl : rpl > cpu->cpl || dpl != cpu->cpl)
        return fault_on(cpu, VECTOR_GP, cs->selector);
    return finish_code(cpu, cs, cpu->cpl);
}

enum cpu_status code_segment_return(struct cpu *cpu, uint16_t selector, struct cpu_segment *cs,
                                    uint64_t *offset)
{
    enum cpu_status status;
    uint64_t descriptor;
    unsigned rpl = selector & 3;

    status = read_descriptor(cpu, selector, &descriptor, cs);
    if (status != CPU_OK)
        return status;
    if (!is_code(cs) || rpl < cpu->cpl ||
        (cs->ar & SEG_TYPE_CONFORMING ? segment_dpl(cs) > rpl : segment_dpl(cs) != rpl))
        return fault_on(cpu, VECTOR_GP, selector);
    status = finish_code(cpu, cs, rpl);
    if (status == CPU_OK)
        status = check_offset(cpu, cs, offset);
    return status;
}

void segments_drop_inner(struct cpu *cpu)
{
    static const uint8_t segs[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

    for (unsigned i = 0; i < 4; i++) {
        struct cpu_segment *s = &cpu->seg[segs[i]];
        bool conforming = is_code(s) && (s->ar & SEG_TYPE_CONFORMING);

        /* Bases stay: systems set those of FS and GS apart from the selector. */
        if (s->selector > 3 && !conforming && segment_dpl(s) < cpu->cpl) {
            s->selector = 0;
            s->limit = 0;
            s->ar = SEG_AR_UNUSABLE;
        }
    }
}

static void set_code(struct cpu *cpu, const struct cpu_segment *cs, uint64_t rip)
{
    cpu->seg[SEG_CS] = *cs;
    cpu->regs[REG_RIP] = rip;
    cpu_update_mode(cpu);
}

struct call_gate {
    struct target target;
    unsigned size, parameters;
};

/* A gate's target code segment, and the level it runs at. */
static enum cpu_status read_gate_target(struct cpu *cpu, struct call_gate *gate, bool call,
                                        struct cpu_segment *cs, unsigned *cpl)
{
    enum cpu_status status;
    uint64_t descriptor;
    bool conforming;

    status = read_descriptor(cpu, gate->target.selector, &descriptor, cs);
    if (status != CPU_OK)
        return status;
    conforming = cs->ar & SEG_TYPE_CONFORMING;
    if (!is_code(cs) || segment_dpl(cs) > cpu->cpl ||
        (!call && !conforming && segment_dpl(cs) != cpu->cpl) ||
        (cpu->long_mode && (cs->ar & (SEG_AR_L | SEG_AR_DB)) != SEG_AR_L))
        return fault_on(cpu, VECTOR_GP, cs->selector);
    *cpl = conforming ? cpu->cpl : segment_dpl(cs);
    status = finish_code(cpu, cs, *cpl);
    if (status == CPU_OK)
        status = check_offset(cpu, cs, &gate->target.offset);
    return status;
}

static enum cpu_status read_call_gate(struct cpu *cpu, uint64_t descriptor,
                                      const struct cpu_segment *system, struct call_gate *gate)
{
    unsigned type = system->ar & SEG_AR_TYPE, dpl = segment_dpl(system);
    enum cpu_status status;
    uint64_t upper = 0;

    if (dpl < cpu->cpl || dpl < (system->selector & 3u) ||
        (type != DESC_CALL && (type != DESC_CALL16 || cpu->long_mode)))
        return fault_on(cpu, VECTOR_GP, system->selector);
    if (cpu->long_mode) {
        status = descriptor_read_upper(cpu, system->selector, VECTOR_GP, &upper);
        if (status != CPU_OK)
            return status;
        if (upper >> 40 & 0x1f)
            return fault_on(cpu, VECTOR_GP, system->selector);
    }
    if (!(system->ar & SEG_AR_P))
        return fault_on(cpu, VECTOR_NP, system->selector);
    gate->size = cpu->long_mode ? 8 : type == DESC_CALL ? 4 : 2;
    gate->parameters = cpu->long_mode ? 0 : descriptor >> 32 & 31;
    gate->target.selector = descriptor >> 16;
    gate->target.offset = (descriptor & 0xffff) | (descriptor >> 48) << 16 | upper << 32;
    if (type == DESC_CALL16)
        gate->target.offset &= 0xffff;
    return CPU_OK;
}

/* The stack of an inner level with the caller's SS, RSP and parameters on it. */
static enum cpu_status gate_stack(struct cpu *cpu, const struct call_gate *gate, unsigned cpl,
                                  struct stack *stack)
{
    struct cpu_segment ss = { .selector = cpl, .ar = SEG_AR_UNUSABLE | cpl << SEG_AR_DPL_SHIFT };
    uint64_t values[2] = { cpu->seg[SEG_SS].selector, cpu->regs[REG_RSP] };
    uint64_t parameters[32];
    struct stack outer;
    enum cpu_status status;
    uint64_t sp;

    stack_current(cpu, &outer);
    status = stack_pop_all(cpu, &outer, parameters, gate->parameters, gate->size);
    if (status != CPU_OK)
        return status;
    if (cpu->long_mode) {
        status = tss_read(cpu, 4 + cpl * 8, &sp, 8, 0);
        stack_other(cpu, stack, &ss, sp, cpl, true);
    } else {
        status = tss_stack(cpu, cpl, 0, stack);
    }
    if (status == CPU_OK)
        status = stack_push_all(cpu, stack, values, 2, gate->size);
    for (unsigned i = gate->parameters; status == CPU_OK && i-- > 0;)
        status = stack_push(cpu, stack, parameters[i], gate->size);
    return status;
}

static enum cpu_status through_gate(struct cpu *cpu, struct call_gate *gate, bool call,
                                    uint64_t next_rip)
{
    uint64_t values[2] = { cpu->seg[SEG_CS].selector, next_rip };
    struct stack stack;
    struct cpu_segment cs;
    enum cpu_status status;
    unsigned cpl;

    status = read_gate_target(cpu, gate, call, &cs, &cpl);
    if (status != CPU_OK)
        return status;
    stack_current(cpu, &stack);
    if (cpl < cpu->cpl)
        status = gate_stack(cpu, gate, cpl, &stack);
    if (status == CPU_OK && call)
        status = stack_push_all(cpu, &stack, values, 2, gate->size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    set_code(cpu, &cs, gate->target.offset);
    return CPU_BREAK;
}

static enum cpu_status to_system(struct cpu *cpu, uint64_t descriptor,
                                 const struct cpu_segment *system, bool call, uint64_t next_rip)
{
    unsigned type = system->ar & SEG_AR_TYPE, dpl = segment_dpl(system);
    enum task_reason reason = call ? TASK_CALL : TASK_JMP;
    struct call_gate gate;
    enum cpu_status status;

    if (!cpu->long_mode && (type == DESC_TASK || type == DESC_TSS || type == DESC_TSS16)) {
        if (dpl < cpu->cpl || dpl < (system->selector & 3u))
            return fault_on(cpu, VECTOR_GP, system->selector);
        if (!(system->ar & SEG_AR_P))
            return fault_on(cpu, VECTOR_NP, system->selector);
        return task_switch(cpu, type == DESC_TASK ? descriptor >> 16 : system->selector, reason,
                           next_rip);
    }
    status = read_call_gate(cpu, descriptor, system, &gate);
    return status == CPU_OK ? through_gate(cpu, &gate, call, next_rip) : status;
}

static enum cpu_status push_return(struct cpu *cpu, struct stack *stack, uint64_t rip,
                                   unsigned size)
{
    uint64_t values[2] = { cpu->seg[SEG_CS].selector, rip };

    stack_current(cpu, stack);
    return stack_push_all(cpu, stack, values, 2, size);
}

static enum cpu_status transfer_real(struct cpu *cpu, const struct insn *insn,
                                     const struct target *to, bool call)
{
    struct stack stack;
    enum cpu_status status = CPU_OK;

    if (to->offset > cpu->seg[SEG_CS].limit)
        return raise_gp(cpu);
    stack_current(cpu, &stack);
    if (call)
        status = push_return(cpu, &stack, insn_next_rip(cpu, insn), insn->size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    segment_load_real(cpu, SEG_CS, to->selector);
    cpu->regs[REG_RIP] = to->offset;
    cpu_update_mode(cpu);
    return CPU_BREAK;
}

static enum cpu_status transfer(struct cpu *cpu, const struct insn *insn, struct target *to,
                                bool call)
{
    struct cpu_segment cs;
    struct stack stack;
    enum cpu_status status;
    uint64_t descriptor;

    if (mode_real_segments(cpu))
        return transfer_real(cpu, insn, to, call);
    status = read_descriptor(cpu, to->selector, &descriptor, &cs);
    if (status != CPU_OK)
        return status;
    if (!(cs.ar & SEG_AR_S))
        return to_system(cpu, descriptor, &cs, call, insn_next_rip(cpu, insn));
    if (!is_code(&cs))
        return fault_on(cpu, VECTOR_GP, to->selector);
    status = check_direct(cpu, &cs);
    if (status == CPU_OK)
        status = check_offset(cpu, &cs, &to->offset);
    stack_current(cpu, &stack);
    if (status == CPU_OK && call)
        status = push_return(cpu, &stack, insn_next_rip(cpu, insn), insn->size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    set_code(cpu, &cs, to->offset);
    return CPU_BREAK;
}

/* m16:16, m16:32, m16:64: the offset comes first. */
static enum cpu_status read_target(struct cpu *cpu, const struct insn *insn, struct target *to)
{
    unsigned size = insn->size + 2;
    uint8_t bytes[10] = { 0 };
    enum cpu_status status;
    uint64_t linear;

    status = insn_linear(cpu, insn, size, ACCESS_READ, &linear);
    if (status == CPU_OK)
        status = mmu_read(cpu, linear, bytes, size);
    if (status != CPU_OK)
        return status;
    to->offset = 0;
    memcpy(&to->offset, bytes, insn->size);
    memcpy(&to->selector, bytes + insn->size, 2);
    return CPU_OK;
}

enum cpu_status exec_jmp_far(struct cpu *cpu, const struct insn *insn)
{
    struct target to = { insn->selector, insn->imm };

    return transfer(cpu, insn, &to, false);
}

enum cpu_status exec_call_far(struct cpu *cpu, const struct insn *insn)
{
    struct target to = { insn->selector, insn->imm };

    return transfer(cpu, insn, &to, true);
}

enum cpu_status exec_jmp_far_mem(struct cpu *cpu, const struct insn *insn)
{
    struct target to;
    enum cpu_status status = read_target(cpu, insn, &to);

    return status == CPU_OK ? transfer(cpu, insn, &to, false) : status;
}

enum cpu_status exec_call_far_mem(struct cpu *cpu, const struct insn *insn)
{
    struct target to;
    enum cpu_status status = read_target(cpu, insn, &to);

    return status == CPU_OK ? transfer(cpu, insn, &to, true) : status;
}

/* LDS, LES, LFS, LGS, LSS: opcode names the segment. */
enum cpu_status exec_load_far(struct cpu *cpu, const struct insn *insn)
{
    static const uint8_t segs[8] = {
        [0xb2 & 7] = SEG_SS, [0xb4 & 7] = SEG_FS, [0xb5 & 7] = SEG_GS,
    };
    unsigned seg = insn->opcode == 0xc4 ? SEG_ES
                 : insn->opcode == 0xc5 ? SEG_DS : segs[insn->opcode & 7];
    struct target from;
    enum cpu_status status = read_target(cpu, insn, &from);

    if (status == CPU_OK)
        status = segment_load(cpu, seg, from.selector);
    if (status != CPU_OK)
        return status;
    if (insn->size == 2)
        memcpy(&cpu->regs[insn->reg], &from.offset, 2);
    else
        cpu->regs[insn->reg] = from.offset;
    return seg == SEG_SS ? CPU_BREAK : CPU_OK;
}

static enum cpu_status ret_real(struct cpu *cpu, const struct insn *insn)
{
    struct stack stack;
    enum cpu_status status;
    uint64_t values[2];

    stack_current(cpu, &stack);
    status = stack_pop_all(cpu, &stack, values, 2, insn->size);
    if (status != CPU_OK)
        return status;
    if (values[0] > cpu->seg[SEG_CS].limit)
        return raise_gp(cpu);
    stack_release(&stack, insn->imm);
    stack_commit(cpu, &stack);
    segment_load_real(cpu, SEG_CS, values[1]);
    cpu->regs[REG_RIP] = values[0];
    cpu_update_mode(cpu);
    return CPU_BREAK;
}

enum cpu_status outer_stack(struct cpu *cpu, const struct cpu_segment *cs, uint16_t selector,
                            uint64_t sp, struct stack *stack)
{
    bool wide = cpu->long_mode && (cs->ar & SEG_AR_L);
    unsigned rpl = cs->selector & 3;
    struct cpu_segment ss = { .selector = selector,
                              .ar = SEG_AR_UNUSABLE | rpl << SEG_AR_DPL_SHIFT };
    enum cpu_status status = CPU_OK;

    if (!(wide && rpl != 3 && !(selector & ~3) && selector == rpl))
        status = segment_read_stack(cpu, selector, rpl, VECTOR_GP, 0, &ss);
    if (status == CPU_OK)
        stack_other(cpu, stack, &ss, sp, rpl, wide);
    return status;
}

enum cpu_status exec_ret_far(struct cpu *cpu, const struct insn *insn)
{
    struct stack stack;
    struct cpu_segment cs;
    enum cpu_status status;
    uint64_t values[2], outer[2];
    bool outward;

    if (mode_real_segments(cpu))
        return ret_real(cpu, insn);
    stack_current(cpu, &stack);
    status = stack_pop_all(cpu, &stack, values, 2, insn->size);
    if (status == CPU_OK)
        status = code_segment_return(cpu, values[1], &cs, &values[0]);
    if (status != CPU_OK)
        return status;
    outward = (cs.selector & 3) > cpu->cpl;
    stack_release(&stack, insn->imm);
    if (outward) {
        status = stack_pop_all(cpu, &stack, outer, 2, insn->size);
        if (status == CPU_OK)
            status = outer_stack(cpu, &cs, outer[1], outer[0], &stack);
        if (status != CPU_OK)
            return status;
        stack_release(&stack, insn->imm);
    }
    stack_commit(cpu, &stack);
    set_code(cpu, &cs, values[0]);
    if (outward)
        segments_drop_inner(cpu);
    return CPU_BREAK;
}
