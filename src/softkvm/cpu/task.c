// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The task-state segment, and switching tasks in hardware: 16- and 32-bit TSSs,
 * by JMP, CALL, IRET, and events through task gates (SDM vol. 3, chapter 7).
 *
 * Up to the point where the new task's registers are in place, a fault belongs
 * to the old task and nothing has changed.  After it, a fault belongs to the new
 * one: it becomes the pending event, and the switch itself counts as done.
 */
#include "task.h"
#include "debug.h"
#include "mmu.h"
#include "mode.h"
#include "segment.h"
#include "stack.h"

enum { BUSY = 2, TSS_MAX = 0x68, DR7_LOCAL = 0x155 };

/* Where things are in a TSS.  Registers and segments stand in hardware numbering. */
struct tss_layout {
    uint8_t size;               /* of the part that a switch reads */
    uint8_t word;               /* of a register */
    uint8_t cr3;                /* or 0: this TSS has none */
    uint8_t ip, flags, regs, segs, nr_segs, ldt, trap;
    uint8_t save_end;           /* ip to here is written when the task is left */
};

static const struct tss_layout layouts[] = {
    { .size = 0x2c, .word = 2, .ip = 0x0e, .flags = 0x10, .regs = 0x12, .segs = 0x22,
      .nr_segs = 4, .ldt = 0x2a, .save_end = 0x2a },
    { .size = 0x68, .word = 4, .cr3 = 0x1c, .ip = 0x20, .flags = 0x24, .regs = 0x28, .segs = 0x48,
      .nr_segs = 6, .ldt = 0x60, .trap = 0x64, .save_end = 0x60 },
};

static const struct tss_layout *layout_of(const struct cpu_segment *tss)
{
    return &layouts[tss->ar & 8 ? 1 : 0];
}

enum cpu_status tss_read(struct cpu *cpu, unsigned offset, void *data, unsigned size,
                         uint32_t ext)
{
    const struct cpu_segment *tr = &cpu->seg[SEG_TR];

    if (offset + size - 1 > tr->limit)
        return raise_fault_code(cpu, VECTOR_TS, (tr->selector & ~3u) | ext);
    return mmu_read_system(cpu, tr->base + offset, data, size);
}

static uint32_t get(const uint8_t *image, unsigned offset, unsigned size)
{
    uint32_t value = 0;

    memcpy(&value, image + offset, size);
    return value;
}

/* Find the TSS and check that this kind of switch may go there. */
static enum cpu_status find_tss(struct cpu *cpu, uint16_t selector, enum task_reason reason,
                                uint32_t ext, struct cpu_segment *tss)
{
    uint8_t vector = reason == TASK_IRET ? VECTOR_TS : VECTOR_GP;
    uint32_t error = (selector & ~3u) | ext;
    enum cpu_status status;
    uint64_t descriptor;
    unsigned type;

    if (!(selector & ~3) || (selector & 4))
        return raise_fault_code(cpu, vector, error);
    status = descriptor_read(cpu, selector, vector, &descriptor);
    if (status != CPU_OK)
        return status;
    descriptor_unpack(descriptor, selector, tss);
    type = tss->ar & (SEG_AR_S | SEG_AR_TYPE);
    if ((type & ~(unsigned)BUSY) != DESC_TSS16 && (type & ~(unsigned)BUSY) != DESC_TSS)
        return raise_fault_code(cpu, vector, error);
    if (!(type & BUSY) != (reason != TASK_IRET))
        return raise_fault_code(cpu, vector, error);
    if (!(tss->ar & SEG_AR_P))
        return raise_fault_code(cpu, VECTOR_NP, error);
    if (tss->limit + 1 < layout_of(tss)->size)
        return raise_fault_code(cpu, VECTOR_TS, error);
    return CPU_OK;
}

/* Write the running task's registers to its TSS. */
static enum cpu_status save_task(struct cpu *cpu, enum task_reason reason, uint64_t rip)
{
    const struct cpu_segment *tr = &cpu->seg[SEG_TR];
    const struct tss_layout *l = layout_of(tr);
    uint64_t flags = cpu_rflags(cpu);
    uint8_t image[TSS_MAX] = { 0 };

    if (tr->limit + 1 < l->size)
        return raise_fault_code(cpu, VECTOR_TS, tr->selector & ~3u);
    if (reason == TASK_IRET)
        flags &= ~(uint64_t)FLAG_NT;
    memcpy(image + l->ip, &rip, l->word);
    memcpy(image + l->flags, &flags, l->word);
    for (unsigned i = 0; i < 8; i++)
        memcpy(image + l->regs + i * l->word, &cpu->regs[i], l->word);
    for (unsigned i = 0; i < l->nr_segs; i++)
        memcpy(image + l->segs + i * l->word, &cpu->seg[i].selector, 2);
    return mmu_write_system(cpu, tr->base + l->ip, image + l->ip, l->save_end - l->ip);
}

/* Busy bits and the link back: everything in memory that marks who runs now. */
static enum cpu_status mark_tasks(struct cpu *cpu, struct cpu_segment *tss,
                                  enum task_reason reason)
{
    uint16_t old = cpu->seg[SEG_TR].selector;
    enum cpu_status status = CPU_OK;

    if (reason == TASK_CALL || reason == TASK_EVENT)
        status = mmu_write_system(cpu, tss->base, &old, 2);
    else
        status = descriptor_clear_type(cpu, old, BUSY);
    if (status == CPU_OK && reason != TASK_IRET)
        status = descriptor_set_type(cpu, tss, BUSY);
    return status;
}

/* What can't fail. */
static void load_registers(struct cpu *cpu, const struct cpu_segment *tss, const uint8_t *image,
                           enum task_reason reason)
{
    const struct tss_layout *l = layout_of(tss);
    uint64_t flags = get(image, l->flags, l->word) | FLAG_ONE;

    if (reason == TASK_CALL || reason == TASK_EVENT)
        flags |= FLAG_NT;
    if (l->cr3 && (cpu->cr0 & CR0_PG)) {
        cpu->cr3 = get(image, l->cr3, 4);
        cpu->pdptr_stale = true;
        tlb_flush_nonglobal(cpu);
    }
    cpu->seg[SEG_TR] = *tss;
    cpu->cr0 |= CR0_TS;
    cpu->dr[7] &= ~(uint64_t)DR7_LOCAL;
    debug_update(cpu);
    for (unsigned i = 0; i < 8; i++)
        cpu->regs[i] = get(image, l->regs + i * l->word, l->word) |
                       (l->word == 2 ? 0xffff0000u : 0);
    cpu->regs[REG_RIP] = get(image, l->ip, l->word);
    cpu_set_rflags(cpu, l->word == 2 ? flags & 0xffff : flags & 0x3f7fd7);
}

static enum cpu_status load_code(struct cpu *cpu, uint16_t selector)
{
    unsigned rpl = selector & 3;
    struct cpu_segment cs;
    enum cpu_status status;
    uint64_t descriptor;
    bool level_ok;

    if (!(selector & ~3))
        return raise_fault_code(cpu, VECTOR_TS, 0);
    status = descriptor_read(cpu, selector, VECTOR_TS, &descriptor);
    if (status != CPU_OK)
        return status;
    descriptor_unpack(descriptor, selector, &cs);
    level_ok = cs.ar & SEG_TYPE_CONFORMING ? segment_dpl(&cs) <= rpl : segment_dpl(&cs) == rpl;
    if ((cs.ar & (SEG_AR_S | SEG_TYPE_CODE)) != (SEG_AR_S | SEG_TYPE_CODE) || !level_ok)
        return raise_fault_code(cpu, VECTOR_TS, selector & ~3u);
    if (!(cs.ar & SEG_AR_P))
        return raise_fault_code(cpu, VECTOR_NP, selector & ~3u);
    status = descriptor_set_type(cpu, &cs, SEG_TYPE_ACCESSED);
    if (status == CPU_OK)
        cpu->seg[SEG_CS] = cs;
    return status;
}

/* The same checks as by MOV and LLDT, but what is wrong is the TSS. */
static enum cpu_status blame_tss(struct cpu *cpu, enum cpu_status status)
{
    if (status == CPU_FAULT && cpu->fault.vector == VECTOR_GP)
        cpu->fault.vector = VECTOR_TS;
    return status;
}

static enum cpu_status load_segments(struct cpu *cpu, const struct tss_layout *l,
                                     const uint8_t *image)
{
    static const uint8_t data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    uint16_t selectors[6] = { 0 };
    enum cpu_status status;

    for (unsigned i = 0; i < l->nr_segs; i++)
        selectors[i] = get(image, l->segs + i * l->word, 2);
    status = blame_tss(cpu, segment_load_ldt(cpu, get(image, l->ldt, 2)));
    if (status != CPU_OK)
        return status;
    if (mode_vm86(cpu)) {
        for (unsigned i = SEG_ES; i <= SEG_GS; i++)
            segment_load_real(cpu, i, selectors[i]);
        cpu_update_mode(cpu);
        return CPU_OK;
    }
    status = segment_read_stack(cpu, selectors[SEG_SS], selectors[SEG_CS] & 3, VECTOR_TS, 0,
                                &cpu->seg[SEG_SS]);
    if (status == CPU_OK)
        status = load_code(cpu, selectors[SEG_CS]);
    cpu_update_mode(cpu);
    for (unsigned i = 0; status == CPU_OK && i < 4; i++)
        status = blame_tss(cpu, segment_load(cpu, data[i], selectors[data[i]]));
    if (status == CPU_OK && cpu->regs[REG_RIP] > cpu->seg[SEG_CS].limit)
        return raise_gp(cpu);
    return status;
}

/* In the new task: segments, the debug trap, the error code.  Faults are its own. */
static enum cpu_status enter_task(struct cpu *cpu, const uint8_t *image, const struct delivery *d)
{
    const struct tss_layout *l = layout_of(&cpu->seg[SEG_TR]);
    unsigned cpl = get(image, l->segs + SEG_CS * l->word, 2) & 3;
    struct stack stack;
    enum cpu_status status;

    for (unsigned i = SEG_ES; i <= SEG_LDTR; i++)
        segment_load_null(cpu, i, 0, mode_vm86(cpu) ? 3 : cpl);
    cpu_update_mode(cpu);
    status = load_segments(cpu, l, image);
    if (status == CPU_OK && d && d->has_error) {
        stack_current(cpu, &stack);
        status = stack_push(cpu, &stack, d->error, l->word);
        if (status == CPU_OK)
            stack_commit(cpu, &stack);
    }
    if (status == CPU_OK && l->trap && (image[l->trap] & 1)) {
        cpu->fault = (struct cpu_fault){ .vector = VECTOR_DB, .address = DR6_BT };
        status = CPU_FAULT;
    }
    if (status == CPU_FAULT)
        exception_from_fault(cpu);
    /* The switch can't be started anew, so an access that has to wait can't be served. */
    return status == CPU_OK || status == CPU_FAULT ? CPU_BREAK : CPU_EXIT_UNKNOWN;
}

static enum cpu_status do_switch(struct cpu *cpu, uint16_t selector, enum task_reason reason,
                                 uint64_t rip, const struct delivery *d)
{
    uint8_t image[TSS_MAX] = { 0 };
    struct cpu_segment tss;
    enum cpu_status status;

    status = find_tss(cpu, selector, reason, d && !d->soft ? ERROR_EXT : 0, &tss);
    if (status == CPU_OK)
        status = mmu_read_system(cpu, tss.base, image, layout_of(&tss)->size);
    if (status == CPU_OK)
        status = save_task(cpu, reason, rip);
    if (status == CPU_OK)
        status = mark_tasks(cpu, &tss, reason);
    if (status != CPU_OK)
        return status;
    load_registers(cpu, &tss, image, reason);
    return enter_task(cpu, image, d);
}

enum cpu_status task_switch(struct cpu *cpu, uint16_t selector, enum task_reason reason,
                            uint64_t rip)
{
    return do_switch(cpu, selector, reason, rip, NULL);
}

enum cpu_status task_gate_deliver(struct cpu *cpu, const struct delivery *d, uint16_t selector)
{
    return do_switch(cpu, selector, TASK_EVENT, d->rip, d);
}
