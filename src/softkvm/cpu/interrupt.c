// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * INT n, INT3, INTO, INT1, and IRET in all modes (SDM vol. 2; vol. 3, chapter
 * 20 for virtual-8086).
 */
#include "debug.h"
#include "exception.h"
#include "far.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "task.h"

static enum cpu_status deliver(struct cpu *cpu, const struct insn *insn, uint8_t vector, bool soft)
{
    struct delivery d = { .vector = vector, .soft = soft, .rip = insn_next_rip(cpu, insn) };
    enum cpu_status status = interrupt_deliver(cpu, &d);

    return status == CPU_OK ? CPU_BREAK : status;
}

/*
 * Virtual-8086 mode with VME: is this interrupt one that the program's own
 * vector table serves?  The bit map lies below the I/O map in the TSS.
 */
static enum cpu_status is_redirected(struct cpu *cpu, uint8_t vector, bool *ret)
{
    enum cpu_status status;
    uint16_t io_map;
    uint8_t bits;

    *ret = false;
    if (!(cpu->cr4 & CR4_VME))
        return CPU_OK;
    status = tss_read(cpu, 102, &io_map, 2, 0);
    if (status == CPU_OK && io_map < 32)
        return raise_gp(cpu);
    if (status == CPU_OK)
        status = tss_read(cpu, io_map - 32 + vector / 8, &bits, 1, 0);
    if (status != CPU_OK)
        return status == CPU_FAULT && cpu->fault.vector == VECTOR_TS ? raise_gp(cpu) : status;
    *ret = !(bits >> (vector % 8) & 1);
    return CPU_OK;
}

/* An interrupt that the virtual-8086 program serves itself, with IF standing for VIF. */
static enum cpu_status deliver_vm86(struct cpu *cpu, const struct insn *insn, uint8_t vector)
{
    uint64_t flags = cpu_rflags(cpu), image = flags, clear = FLAG_TF | FLAG_NT;
    struct stack stack;
    enum cpu_status status;
    uint32_t target;
    bool virtual_if = cpu_iopl(cpu) < 3;

    if (virtual_if) {
        image = (image & ~(uint64_t)FLAG_IF) | FLAG_IOPL | (flags & FLAG_VIF ? FLAG_IF : 0);
        clear |= FLAG_VIF;
    } else {
        clear |= FLAG_IF;
    }
    status = mmu_read(cpu, vector * 4u, &target, 4);
    if (status != CPU_OK)
        return status;
    stack_current(cpu, &stack);
    status = stack_push_all(cpu, &stack, (uint64_t[]){ image, cpu->seg[SEG_CS].selector,
                                                       insn_next_rip(cpu, insn) }, 3, 2);
    if (status != CPU_OK)
        return status;
    stack_commit(cpu, &stack);
    segment_load_real(cpu, SEG_CS, target >> 16);
    cpu->regs[REG_RIP] = target & 0xffff;
    cpu_set_rflags(cpu, flags & ~clear);
    return CPU_BREAK;
}

enum cpu_status exec_int(struct cpu *cpu, const struct insn *insn)
{
    uint8_t vector = insn->imm;

    if (mode_vm86(cpu)) {
        bool redirected;
        enum cpu_status status = is_redirected(cpu, vector, &redirected);

        if (status != CPU_OK)
            return status;
        if (redirected)
            return deliver_vm86(cpu, insn, vector);
        if (cpu_iopl(cpu) < 3)
            return raise_gp(cpu);
    }
    return deliver(cpu, insn, vector, true);
}

enum cpu_status exec_int3(struct cpu *cpu, const struct insn *insn)
{
    if (cpu->guest_debug.enabled && cpu->guest_debug.sw_breakpoints) {
        cpu->debug.vector = VECTOR_BP;
        cpu->debug.pc = cpu->seg[SEG_CS].base + insn_rip(cpu, insn);
        return CPU_EXIT_DEBUG;
    }
    return deliver(cpu, insn, VECTOR_BP, true);
}

enum cpu_status exec_into(struct cpu *cpu, const struct insn *insn)
{
    return cpu_rflags(cpu) & FLAG_OF ? deliver(cpu, insn, VECTOR_OF, true) : CPU_OK;
}

enum cpu_status exec_int1(struct cpu *cpu, const struct insn *insn)
{
    /* The breakpoints that MOV SS held back come with it. */
    cpu->attention &= ~ATTENTION_DEBUG;
    cpu->debug_hits = 0;
    return deliver(cpu, insn, VECTOR_DB, false);
}

/* Flags that IRET takes from the stack at this privilege level. */
static uint64_t iret_mask(const struct cpu *cpu, unsigned size)
{
    uint64_t mask = FLAGS_ARITH | FLAG_TF | FLAG_DF | FLAG_NT;

    if (size > 2)
        mask |= FLAG_RF | FLAG_AC | FLAG_ID;
    if (cpu->cpl <= cpu_iopl(cpu))
        mask |= FLAG_IF;
    if (cpu->cpl == 0)
        mask |= FLAG_IOPL | (size > 2 ? FLAG_VIF | FLAG_VIP : 0);
    return mask;
}

static void merge_flags(struct cpu *cpu, uint64_t image, uint64_t mask)
{
    cpu_set_rflags(cpu, (cpu_rflags(cpu) & ~mask) | (image & mask));
}

/* Real mode, and virtual-8086 mode with IOPL 3. */
static enum cpu_status iret_real(struct cpu *cpu, const struct insn *insn)
{
    uint64_t values[3], mask = iret_mask(cpu, insn->size);
    struct stack stack;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_pop_all(cpu, &stack, values, 3, insn->size);
    if (status != CPU_OK)
        return status;
    if (values[0] > cpu->seg[SEG_CS].limit)
        return raise_gp(cpu);
    if (!mode_vm86(cpu))
        mask = (mask & ~(uint64_t)(FLAG_VIF | FLAG_VIP)) | FLAG_IOPL;
    stack_commit(cpu, &stack);
    segment_load_real(cpu, SEG_CS, values[1]);
    cpu->regs[REG_RIP] = values[0];
    merge_flags(cpu, values[2], mask);
    return CPU_BREAK;
}

/* Virtual-8086 mode, IOPL < 3, VME: 16-bit IRET works on VIF. */
static enum cpu_status iret_vme(struct cpu *cpu, const struct insn *insn)
{
    uint64_t values[3], image, mask = FLAGS_ARITH | FLAG_DF | FLAG_NT | FLAG_TF | FLAG_VIF;
    struct stack stack;
    enum cpu_status status;

    if (!(cpu->cr4 & CR4_VME) || insn->size != 2)
        return raise_gp(cpu);
    stack_current(cpu, &stack);
    status = stack_pop_all(cpu, &stack, values, 3, 2);
    if (status != CPU_OK)
        return status;
    image = values[2];
    if ((image & FLAG_TF) || ((image & FLAG_IF) && (cpu->flags & FLAG_VIP)))
        return raise_gp(cpu);
    stack_commit(cpu, &stack);
    segment_load_real(cpu, SEG_CS, values[1]);
    cpu->regs[REG_RIP] = values[0];
    merge_flags(cpu, image | (image & FLAG_IF ? FLAG_VIF : 0), mask);
    return CPU_BREAK;
}

/* values: EIP, CS, EFLAGS; the stack holds ESP, SS, ES, DS, FS, GS. */
static enum cpu_status iret_to_vm86(struct cpu *cpu, struct stack *stack, const uint64_t *values)
{
    static const uint8_t segs[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    uint64_t rest[6];
    enum cpu_status status = stack_pop_all(cpu, stack, rest, 6, 4);

    if (status != CPU_OK)
        return status;
    cpu_set_rflags(cpu, values[2] & 0x3f7fd5);
    cpu->regs[REG_RIP] = values[0] & 0xffff;
    cpu->regs[REG_RSP] = rest[0];
    segment_load_real(cpu, SEG_CS, values[1]);
    for (unsigned i = 0; i < 5; i++)
        segment_load_real(cpu, segs[i], rest[i + 1]);
    cpu_update_mode(cpu);
    return CPU_BREAK;
}

static enum cpu_status iret_protected(struct cpu *cpu, const struct insn *insn)
{
    uint64_t values[3], outer[2], mask = iret_mask(cpu, insn->size);
    struct cpu_segment cs;
    struct stack stack;
    enum cpu_status status;
    bool outward, switches;

    stack_current(cpu, &stack);
    status = stack_pop_all(cpu, &stack, values, 3, insn->size);
    if (status != CPU_OK)
        return status;
    if (!cpu->long_mode && cpu->cpl == 0 && insn->size == 4 && (values[2] & FLAG_VM))
        return iret_to_vm86(cpu, &stack, values);
    status = code_segment_return(cpu, values[1], &cs, &values[0]);
    if (status != CPU_OK)
        return status;
    outward = (cs.selector & 3) > cpu->cpl;
    switches = outward || mode_64(cpu);
    if (switches) {
        status = stack_pop_all(cpu, &stack, outer, 2, insn->size);
        if (status == CPU_OK)
            status = outer_stack(cpu, &cs, outer[1], outer[0], &stack);
        if (status != CPU_OK)
            return status;
    }
    stack_commit(cpu, &stack);
    cpu->seg[SEG_CS] = cs;
    cpu->regs[REG_RIP] = values[0];
    merge_flags(cpu, values[2], mask);
    cpu_update_mode(cpu);
    if (outward)
        segments_drop_inner(cpu);
    return CPU_BREAK;
}

enum cpu_status exec_iret(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status;

    if (!mode_protected(cpu)) {
        status = iret_real(cpu, insn);
    } else if (mode_vm86(cpu)) {
        status = cpu_iopl(cpu) == 3 ? iret_real(cpu, insn) : iret_vme(cpu, insn);
    } else if (cpu->flags & FLAG_NT) {
        uint16_t link = 0;

        status = cpu->long_mode ? raise_gp(cpu) : tss_read(cpu, 0, &link, 2, 0);
        if (status == CPU_OK)
            status = task_switch(cpu, link, TASK_IRET, insn_next_rip(cpu, insn));
    } else {
        status = iret_protected(cpu, insn);
    }
    if (status == CPU_BREAK)
        cpu->nmi_masked = false;
    return status;
}
