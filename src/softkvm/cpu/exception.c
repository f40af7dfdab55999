// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Delivery of exceptions and interrupts (SDM vol. 3, chapter 6): through the
 * vector table of real mode, the gates of protected mode and long mode; and
 * what becomes of faults on the way (section 6.15, interrupt 8).
 */
#include "exception.h"
#include "debug.h"
#include "mmu.h"
#include "mode.h"
#include "segment.h"
#include "stack.h"
#include "task.h"

struct gate {
    uint64_t offset;
    uint16_t selector;
    uint8_t type, dpl, ist;
};

static uint32_t ext_bit(const struct delivery *d)
{
    return d->soft ? 0 : ERROR_EXT;
}

/* RFLAGS as the handler's frame holds them. */
static uint64_t pushed_flags(const struct cpu *cpu, const struct delivery *d)
{
    return cpu_rflags(cpu) | (d->resume ? FLAG_RF : 0);
}

static enum cpu_status deliver_real(struct cpu *cpu, const struct delivery *d)
{
    const uint64_t values[] = { pushed_flags(cpu, d), cpu->seg[SEG_CS].selector, d->rip };
    struct stack stack;
    enum cpu_status status;
    uint32_t vector;

    if (d->vector * 4u + 3 > cpu->idt.limit)
        return raise_gp(cpu);
    status = mmu_read_system(cpu, cpu->idt.base + d->vector * 4u, &vector, 4);
    if (status != CPU_OK)
        return status;
    stack_current(cpu, &stack);
    status = stack_push_all(cpu, &stack, values, 3, 2);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    segment_load_real(cpu, SEG_CS, vector >> 16);
    cpu->regs[REG_RIP] = vector & 0xffff;
    cpu_set_rflags(cpu, cpu_rflags(cpu) & ~(uint64_t)(FLAG_IF | FLAG_TF | FLAG_RF | FLAG_AC));
    cpu_update_mode(cpu);
    return CPU_OK;
}

static enum cpu_status read_gate(struct cpu *cpu, const struct delivery *d, struct gate *gate)
{
    unsigned size = cpu->long_mode ? 16 : 8;
    uint32_t error = d->vector * 8u | ERROR_IDT | ext_bit(d);
    uint64_t words[2] = { 0, 0 };
    enum cpu_status status;
    bool known;

    if (d->vector * size + size - 1 > cpu->idt.limit)
        return raise_fault_code(cpu, VECTOR_GP, error);
    status = mmu_read_system(cpu, cpu->idt.base + d->vector * size, words, size);
    if (status != CPU_OK)
        return status;
    *gate = (struct gate){
        .offset = (words[0] & 0xffff) | (words[0] >> 48) << 16 | words[1] << 32,
        .selector = words[0] >> 16, .type = words[0] >> 40 & 0x1f, .dpl = words[0] >> 45 & 3,
        .ist = cpu->long_mode ? words[0] >> 32 & 7 : 0,
    };
    known = gate->type == DESC_INT || gate->type == DESC_TRAP ||
            (!cpu->long_mode && (gate->type == DESC_INT16 || gate->type == DESC_TRAP16 ||
                                 gate->type == DESC_TASK));
    if (!known || (d->soft && gate->dpl < cpu->cpl))
        return raise_fault_code(cpu, VECTOR_GP, error);
    if (!(words[0] >> 47 & 1))
        return raise_fault_code(cpu, VECTOR_NP, error);
    if (gate->type == DESC_INT16 || gate->type == DESC_TRAP16)
        gate->offset &= 0xffff;
    return CPU_OK;
}

/* The handler's code segment, and the privilege level that it runs at. */
static enum cpu_status read_handler(struct cpu *cpu, const struct gate *gate, uint32_t ext,
                                    struct cpu_segment *cs, unsigned *cpl)
{
    uint32_t error = (gate->selector & ~3u) | ext;
    enum cpu_status status;
    uint64_t descriptor;
    bool conforming;

    if (!(gate->selector & ~3))
        return raise_fault_code(cpu, VECTOR_GP, ext);
    status = descriptor_read(cpu, gate->selector, VECTOR_GP, &descriptor);
    if (status == CPU_FAULT && cpu->fault.vector == VECTOR_GP)
        cpu->fault.error |= ext;
    if (status != CPU_OK)
        return status;
    descriptor_unpack(descriptor, gate->selector, cs);
    if ((cs->ar & (SEG_AR_S | SEG_TYPE_CODE)) != (SEG_AR_S | SEG_TYPE_CODE) ||
        segment_dpl(cs) > cpu->cpl)
        return raise_fault_code(cpu, VECTOR_GP, error);
    if (cpu->long_mode && (cs->ar & (SEG_AR_L | SEG_AR_DB)) != SEG_AR_L)
        return raise_fault_code(cpu, VECTOR_GP, error);
    if (!(cs->ar & SEG_AR_P))
        return raise_fault_code(cpu, VECTOR_NP, error);
    conforming = cs->ar & SEG_TYPE_CONFORMING;
    *cpl = conforming ? cpu->cpl : segment_dpl(cs);
    if (mode_vm86(cpu) && *cpl != 0)
        return raise_fault_code(cpu, VECTOR_GP, error);
    if (cpu->long_mode ? !is_canonical(cpu, gate->offset) : gate->offset > cs->limit)
        return raise_fault_code(cpu, VECTOR_GP, ext);
    status = descriptor_set_type(cpu, cs, SEG_TYPE_ACCESSED);
    cs->selector = (gate->selector & ~3) | *cpl;
    return status;
}

static enum cpu_status long_stack(struct cpu *cpu, const struct gate *gate, unsigned cpl,
                                  uint32_t ext, struct stack *stack)
{
    struct cpu_segment ss = cpu->seg[SEG_SS];
    enum cpu_status status = CPU_OK;
    uint64_t sp = cpu->regs[REG_RSP];

    if (gate->ist)
        status = tss_read(cpu, 0x24 + (gate->ist - 1) * 8, &sp, 8, ext);
    else if (cpl < cpu->cpl)
        status = tss_read(cpu, 4 + cpl * 8, &sp, 8, ext);
    if (status != CPU_OK)
        return status;
    if (cpl < cpu->cpl)
        ss = (struct cpu_segment){ .selector = cpl,
                                   .ar = SEG_AR_UNUSABLE | cpl << SEG_AR_DPL_SHIFT };
    stack_other(cpu, stack, &ss, sp & ~(uint64_t)15, cpl, true);
    stack->error = ext;
    return CPU_OK;
}

static enum cpu_status deliver_long(struct cpu *cpu, const struct delivery *d,
                                    const struct gate *gate, unsigned cpl)
{
    const uint64_t values[] = {
        cpu->seg[SEG_SS].selector, cpu->regs[REG_RSP], pushed_flags(cpu, d),
        cpu->seg[SEG_CS].selector, d->rip, d->error,
    };
    struct stack stack;
    enum cpu_status status = long_stack(cpu, gate, cpl, ext_bit(d), &stack);

    if (status == CPU_OK)
        status = stack_push_all(cpu, &stack, values, d->has_error ? 6 : 5, 8);
    if (status == CPU_OK)
        stack_commit(cpu, &stack);
    return status;
}

/* The stack that a 16- or 32-bit TSS has for privilege level cpl. */
enum cpu_status tss_stack(struct cpu *cpu, unsigned cpl, uint32_t ext, struct stack *stack)
{
    bool wide = cpu->seg[SEG_TR].ar & 8;
    unsigned size = wide ? 4 : 2;
    unsigned offset = size + cpl * size * 2;
    struct cpu_segment ss;
    enum cpu_status status;
    uint64_t sp = 0;
    uint16_t selector;

    status = tss_read(cpu, offset, &sp, size, ext);
    if (status == CPU_OK)
        status = tss_read(cpu, offset + size, &selector, 2, ext);
    if (status == CPU_OK)
        status = segment_read_stack(cpu, selector, cpl, VECTOR_TS, ext, &ss);
    if (status != CPU_OK)
        return status;
    stack_other(cpu, stack, &ss, sp, cpl, false);
    stack->error = (selector & ~3u) | ext;
    return CPU_OK;
}

static enum cpu_status deliver_legacy(struct cpu *cpu, const struct delivery *d,
                                      const struct gate *gate, unsigned cpl)
{
    unsigned size = gate->type & 8 ? 4 : 2, n = 0;
    bool vm86 = mode_vm86(cpu);
    struct stack stack;
    enum cpu_status status = CPU_OK;
    uint64_t values[10];

    stack_current(cpu, &stack);
    stack.error = ext_bit(d);
    if (vm86) {
        values[n++] = cpu->seg[SEG_GS].selector;
        values[n++] = cpu->seg[SEG_FS].selector;
        values[n++] = cpu->seg[SEG_DS].selector;
        values[n++] = cpu->seg[SEG_ES].selector;
    }
    if (cpl < cpu->cpl) {
        values[n++] = cpu->seg[SEG_SS].selector;
        values[n++] = cpu->regs[REG_RSP];
        status = tss_stack(cpu, cpl, ext_bit(d), &stack);
    }
    values[n++] = pushed_flags(cpu, d);
    values[n++] = cpu->seg[SEG_CS].selector;
    values[n++] = d->rip;
    if (d->has_error)
        values[n++] = d->error;
    if (status == CPU_OK)
        status = stack_push_all(cpu, &stack, values, n, size);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    for (unsigned seg = SEG_ES; vm86 && seg <= SEG_GS; seg++) {
        if (seg != SEG_CS && seg != SEG_SS)
            segment_load_null(cpu, seg, 0, 0);
    }
    return CPU_OK;
}

static enum cpu_status deliver_protected(struct cpu *cpu, const struct delivery *d)
{
    uint64_t clear = FLAG_TF | FLAG_VM | FLAG_RF | FLAG_NT;
    struct cpu_segment cs;
    struct gate gate;
    enum cpu_status status = read_gate(cpu, d, &gate);
    unsigned cpl;

    if (status != CPU_OK)
        return status;
    if (gate.type == DESC_TASK)
        return task_gate_deliver(cpu, d, gate.selector);
    status = read_handler(cpu, &gate, ext_bit(d), &cs, &cpl);
    if (status != CPU_OK)
        return status;
    status = cpu->long_mode ? deliver_long(cpu, d, &gate, cpl)
                            : deliver_legacy(cpu, d, &gate, cpl);
    if (status != CPU_OK)
        return status;
    if (!(gate.type & 1))
        clear |= FLAG_IF;
    cpu->seg[SEG_CS] = cs;
    cpu->regs[REG_RIP] = gate.offset;
    cpu_set_rflags(cpu, cpu_rflags(cpu) & ~clear);
    cpu_update_mode(cpu);
    return CPU_OK;
}

enum cpu_status interrupt_deliver(struct cpu *cpu, const struct delivery *d)
{
    return mode_protected(cpu) ? deliver_protected(cpu, d) : deliver_real(cpu, d);
}

static bool is_contributory(uint8_t vector)
{
    return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/* Traps and aborts don't run the instruction again; everything else that isn't an interrupt does. */
static bool is_fault(uint8_t vector)
{
    return vector != VECTOR_DB && vector != VECTOR_NMI && vector != VECTOR_BP &&
           vector != VECTOR_OF && vector != VECTOR_DF && vector != VECTOR_MC;
}

/* What a fault leaves behind besides its frame (SDM vol. 3, 4.7 and 17.2.3). */
static void record_fault(struct cpu *cpu)
{
    if (cpu->fault.vector == VECTOR_PF)
        cpu->cr2 = cpu->fault.address;
    if (cpu->fault.vector == VECTOR_DB) {
        cpu->dr[6] = (cpu->dr[6] & ~(uint64_t)15) | cpu->fault.address;
        cpu->dr[7] &= ~(uint64_t)DR7_GD;
    }
}

void exception_from_fault(struct cpu *cpu)
{
    record_fault(cpu);
    cpu->event.pending = true;
    cpu->event.soft = cpu->event.external = false;
    cpu->event.vector = cpu->fault.vector;
    cpu->event.length = 0;
    cpu->event.has_error = cpu->fault.has_error;
    cpu->event.error = cpu->fault.error;
    cpu->event.address = cpu->fault.address;
}

/* cpu->fault happened while cpu->event was being delivered.  False: shutdown. */
static bool combine(struct cpu *cpu)
{
    bool benign = cpu->event.soft || cpu->event.external;
    uint8_t first = cpu->event.vector, second = cpu->fault.vector;
    bool serious = is_contributory(second) || second == VECTOR_PF;

    if (cpu->event.soft)
        cpu->regs[REG_RIP] -= cpu->event.length;
    if (!benign && first == VECTOR_DF && serious)
        return false;
    if (!benign && ((is_contributory(first) && is_contributory(second)) ||
                    (first == VECTOR_PF && serious))) {
        record_fault(cpu);
        cpu->fault = (struct cpu_fault){ .vector = VECTOR_DF, .has_error = true };
    }
    exception_from_fault(cpu);
    return true;
}

/*
 * What was delivered, or became another event, isn't started anew: its accesses to
 * devices must not answer for those of what comes next.
 */
static void accesses_done(struct cpu *cpu)
{
    if (!(cpu->attention & ATTENTION_ACCESS))
        return;
    cpu->attention &= ~ATTENTION_ACCESS;
    cpu->ops->access_done(cpu->opaque);
}

enum cpu_status exception_deliver(struct cpu *cpu)
{
    while (cpu->event.pending) {
        bool hard = !cpu->event.soft && !cpu->event.external;
        struct delivery d = {
            .vector = cpu->event.vector, .soft = cpu->event.soft,
            .has_error = hard && cpu->event.has_error && mode_protected(cpu),
            .error = cpu->event.error,
            .rip = cpu->regs[REG_RIP], .resume = hard && is_fault(cpu->event.vector),
        };
        enum cpu_status status;

        /* A task gate may leave another event pending: the new task's fault. */
        cpu->event.pending = false;
        status = interrupt_deliver(cpu, &d);
        if (status != CPU_EXIT_ACCESS)
            accesses_done(cpu);
        if (status == CPU_OK || status == CPU_BREAK) {
            cpu->interrupt_shadow = 0;
            cpu->nmi_masked |= d.vector == VECTOR_NMI && !d.soft;
            continue;
        }
        cpu->event.pending = true;
        if (status != CPU_FAULT)
            return status;
        if (!combine(cpu)) {
            cpu->event.pending = false;
            return CPU_EXIT_SHUTDOWN;
        }
    }
    return CPU_OK;
}
