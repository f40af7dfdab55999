// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Instructions on segment registers and descriptor tables: MOV, PUSH and POP of
 * a segment register, LGDT ... STR, SMSW, LAR, LSL, VERR, VERW, ARPL, SWAPGS,
 * RDFSBASE and its kin (SDM vol. 2 for each).
 */
#include "exception.h"
#include "flags.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"
#include "stack.h"

/* Store to a general register, as every instruction with that operand size does. */
static void set_reg(struct cpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
    if (size == 2)
        memcpy(&cpu->regs[reg], &value, 2);
    else
        cpu->regs[reg] = size == 4 ? (uint32_t)value : value;
}

/* The register or memory operand, 16 bits of it. */
static enum cpu_status read_rm16(struct cpu *cpu, const struct insn *insn, uint16_t *value)
{
    enum cpu_status status;
    uint64_t linear;

    if (!(insn->flags & INSN_MEM)) {
        *value = cpu->regs[insn->rm];
        return CPU_OK;
    }
    status = insn_linear(cpu, insn, 2, ACCESS_READ, &linear);
    return status == CPU_OK ? mmu_read16(cpu, linear, value) : status;
}

/* To a register with the operand size, to memory always 16 bits. */
static enum cpu_status write_rm16(struct cpu *cpu, const struct insn *insn, uint64_t value)
{
    enum cpu_status status;
    uint64_t linear;

    if (!(insn->flags & INSN_MEM)) {
        set_reg(cpu, insn->rm, insn->size, value);
        return CPU_OK;
    }
    status = insn_linear(cpu, insn, 2, ACCESS_WRITE, &linear);
    return status == CPU_OK ? mmu_write16(cpu, linear, value) : status;
}

enum cpu_status exec_mov_from_sreg(struct cpu *cpu, const struct insn *insn)
{
    if ((insn->reg & 7) > SEG_GS)
        return raise_fault(cpu, VECTOR_UD);
    return write_rm16(cpu, insn, cpu->seg[insn->reg & 7].selector);
}

/* SS: the stack's width may be another, and no interrupt comes before RSP is loaded too. */
static enum cpu_status after_load(struct cpu *cpu, unsigned seg)
{
    if (seg != SEG_SS)
        return CPU_OK;
    cpu->interrupt_shadow = CPU_SHADOW_MOV_SS;
    return CPU_BREAK;
}

enum cpu_status exec_mov_to_sreg(struct cpu *cpu, const struct insn *insn)
{
    unsigned seg = insn->reg & 7;
    enum cpu_status status;
    uint16_t selector;

    if (seg == SEG_CS || seg > SEG_GS)
        return raise_fault(cpu, VECTOR_UD);
    status = read_rm16(cpu, insn, &selector);
    if (status == CPU_OK)
        status = segment_load(cpu, seg, selector);
    if (status != CPU_OK)
        return status;
    return after_load(cpu, seg);
}

/* The segment is in bits 3-5 of the opcode: 06, 0E, 16, 1E, 0F A0, 0F A8. */
static unsigned opcode_seg(const struct insn *insn)
{
    return insn->opcode >> 3 & 7;
}

enum cpu_status exec_push_sreg(struct cpu *cpu, const struct insn *insn)
{
    struct stack stack;
    enum cpu_status status;

    stack_current(cpu, &stack);
    status = stack_push(cpu, &stack, cpu->seg[opcode_seg(insn)].selector, insn->size);
    if (status == CPU_OK)
        stack_commit(cpu, &stack);
    return status;
}

enum cpu_status exec_pop_sreg(struct cpu *cpu, const struct insn *insn)
{
    unsigned seg = opcode_seg(insn);
    struct stack stack;
    enum cpu_status status;
    uint64_t selector;

    stack_current(cpu, &stack);
    status = stack_pop(cpu, &stack, &selector, insn->size);
    if (status == CPU_OK)
        status = segment_load(cpu, seg, selector);
    if (status != CPU_OK)
        return status;
    stack.ss = cpu->seg[SEG_SS];
    stack_commit(cpu, &stack);
    return after_load(cpu, seg);
}

/* SGDT, SIDT, SLDT, STR, SMSW: UMIP keeps them from user code. */
static bool is_umip_refused(const struct cpu *cpu)
{
    return (cpu->cr4 & CR4_UMIP) && cpu->cpl > 0;
}

static enum cpu_status store_table(struct cpu *cpu, const struct insn *insn,
                                   const struct cpu_table *table)
{
    unsigned size = mode_64(cpu) ? 10 : 6;
    enum cpu_status status;
    uint8_t bytes[10];
    uint64_t linear;

    if (is_umip_refused(cpu))
        return raise_gp(cpu);
    memcpy(bytes, &table->limit, 2);
    memcpy(bytes + 2, &table->base, 8);
    status = insn_linear(cpu, insn, size, ACCESS_WRITE, &linear);
    return status == CPU_OK ? mmu_write(cpu, linear, bytes, size) : status;
}

static enum cpu_status load_table(struct cpu *cpu, const struct insn *insn,
                                  struct cpu_table *table)
{
    unsigned size = mode_64(cpu) ? 10 : 6;
    enum cpu_status status;
    uint8_t bytes[10] = { 0 };
    uint64_t linear, base;

    status = insn_linear(cpu, insn, size, ACCESS_READ, &linear);
    if (status == CPU_OK)
        status = mmu_read(cpu, linear, bytes, size);
    if (status != CPU_OK)
        return status;
    memcpy(&base, bytes + 2, 8);
    if (!mode_64(cpu))
        base = insn->size == 2 ? base & 0xffffff : (uint32_t)base;
    if (!is_canonical_base(cpu, base))
        return raise_gp(cpu);
    memcpy(&table->limit, bytes, 2);
    table->base = base;
    return CPU_BREAK;
}

enum cpu_status exec_sgdt(struct cpu *cpu, const struct insn *insn)
{
    return store_table(cpu, insn, &cpu->gdt);
}

enum cpu_status exec_sidt(struct cpu *cpu, const struct insn *insn)
{
    return store_table(cpu, insn, &cpu->idt);
}

enum cpu_status exec_lgdt(struct cpu *cpu, const struct insn *insn)
{
    return load_table(cpu, insn, &cpu->gdt);
}

enum cpu_status exec_lidt(struct cpu *cpu, const struct insn *insn)
{
    return load_table(cpu, insn, &cpu->idt);
}

enum cpu_status exec_smsw(struct cpu *cpu, const struct insn *insn)
{
    return is_umip_refused(cpu) ? raise_gp(cpu) : write_rm16(cpu, insn, cpu->cr0);
}

/* SLDT, STR, LLDT, LTR, LAR, LSL, VERR, VERW, ARPL don't exist there. */
static bool has_selectors(const struct cpu *cpu)
{
    return !mode_real_segments(cpu);
}

static enum cpu_status store_selector(struct cpu *cpu, const struct insn *insn, unsigned seg)
{
    if (!has_selectors(cpu))
        return raise_fault(cpu, VECTOR_UD);
    if (is_umip_refused(cpu))
        return raise_gp(cpu);
    return write_rm16(cpu, insn, cpu->seg[seg].selector);
}

enum cpu_status exec_sldt(struct cpu *cpu, const struct insn *insn)
{
    return store_selector(cpu, insn, SEG_LDTR);
}

enum cpu_status exec_str(struct cpu *cpu, const struct insn *insn)
{
    return store_selector(cpu, insn, SEG_TR);
}

static enum cpu_status load_system(struct cpu *cpu, const struct insn *insn,
                                   enum cpu_status (*load)(struct cpu *, uint16_t))
{
    enum cpu_status status;
    uint16_t selector;

    if (!has_selectors(cpu))
        return raise_fault(cpu, VECTOR_UD);
    if (cpu->cpl != 0)
        return raise_gp(cpu);
    status = read_rm16(cpu, insn, &selector);
    if (status == CPU_OK)
        status = load(cpu, selector);
    return status == CPU_OK ? CPU_BREAK : status;
}

enum cpu_status exec_lldt(struct cpu *cpu, const struct insn *insn)
{
    return load_system(cpu, insn, segment_load_ldt);
}

enum cpu_status exec_ltr(struct cpu *cpu, const struct insn *insn)
{
    return load_system(cpu, insn, segment_load_tr);
}

static void set_zf(struct cpu *cpu, bool zf)
{
    flags_set_arith(cpu, (cpu_rflags(cpu) & ~(uint64_t)FLAG_ZF) | (zf ? FLAG_ZF : 0));
}

/*
 * Read the descriptor of an operand for a look at it.  *visible: it exists, and
 * the privilege rules let this code see it.
 */
static enum cpu_status look(struct cpu *cpu, uint16_t selector, uint64_t *descriptor,
                            struct cpu_segment *s, bool *visible)
{
    enum cpu_status status;
    unsigned dpl;
    bool conforming;

    *visible = false;
    if (!(selector & ~3))
        return CPU_OK;
    status = descriptor_read(cpu, selector, VECTOR_GP, descriptor);
    if (status == CPU_FAULT && cpu->fault.vector == VECTOR_GP)
        return CPU_OK;
    if (status != CPU_OK)
        return status;
    descriptor_unpack(*descriptor, selector, s);
    dpl = segment_dpl(s);
    conforming = (s->ar & SEG_AR_S) && (s->ar & SEG_TYPE_CODE) && (s->ar & SEG_TYPE_CONFORMING);
    *visible = conforming || (dpl >= cpu->cpl && dpl >= (selector & 3u));
    return CPU_OK;
}

/* Which types of system descriptors LAR and LSL accept, a bit each. */
#define TYPE(type_) (1u << (type_))
#define LSL_TYPES (TYPE(DESC_LDT) | TYPE(DESC_TSS) | TYPE(DESC_TSS_BUSY))
#define LSL_TYPES_LEGACY (LSL_TYPES | TYPE(DESC_TSS16) | TYPE(DESC_TSS16_BUSY))
#define LAR_TYPES (LSL_TYPES | TYPE(DESC_CALL))
#define LAR_TYPES_LEGACY (LSL_TYPES_LEGACY | TYPE(DESC_CALL16) | TYPE(DESC_TASK) | TYPE(DESC_CALL))

/* The same for the selector that the instruction's operand holds. */
static enum cpu_status look_operand(struct cpu *cpu, const struct insn *insn,
                                    uint64_t *descriptor, struct cpu_segment *s, bool *visible)
{
    enum cpu_status status;
    uint16_t selector;

    if (!has_selectors(cpu))
        return raise_fault(cpu, VECTOR_UD);
    status = read_rm16(cpu, insn, &selector);
    return status == CPU_OK ? look(cpu, selector, descriptor, s, visible) : status;
}

static enum cpu_status lar_lsl(struct cpu *cpu, const struct insn *insn, bool lsl)
{
    uint32_t types = lsl ? (cpu->long_mode ? LSL_TYPES : LSL_TYPES_LEGACY)
                         : (cpu->long_mode ? LAR_TYPES : LAR_TYPES_LEGACY);
    struct cpu_segment s;
    enum cpu_status status;
    uint64_t descriptor;
    bool visible;

    status = look_operand(cpu, insn, &descriptor, &s, &visible);
    if (status != CPU_OK)
        return status;
    if (visible && !(s.ar & SEG_AR_S))
        visible = types & TYPE(s.ar & SEG_AR_TYPE);
    set_zf(cpu, visible);
    if (visible)
        set_reg(cpu, insn->reg, insn->size, lsl ? s.limit : descriptor >> 32 & 0xf0ff00);
    return CPU_OK;
}

enum cpu_status exec_lar(struct cpu *cpu, const struct insn *insn)
{
    return lar_lsl(cpu, insn, false);
}

enum cpu_status exec_lsl(struct cpu *cpu, const struct insn *insn)
{
    return lar_lsl(cpu, insn, true);
}

static enum cpu_status verify(struct cpu *cpu, const struct insn *insn, bool write)
{
    struct cpu_segment s;
    enum cpu_status status;
    uint64_t descriptor;
    bool visible;

    status = look_operand(cpu, insn, &descriptor, &s, &visible);
    if (status != CPU_OK)
        return status;
    if (visible && !(s.ar & SEG_AR_S))
        visible = false;
    if (visible && write)
        visible = (s.ar & (SEG_TYPE_CODE | SEG_TYPE_WRITE)) == SEG_TYPE_WRITE;
    else if (visible)
        visible = (s.ar & (SEG_TYPE_CODE | SEG_TYPE_READ)) != SEG_TYPE_CODE;
    set_zf(cpu, visible);
    return CPU_OK;
}

enum cpu_status exec_verr(struct cpu *cpu, const struct insn *insn)
{
    return verify(cpu, insn, false);
}

enum cpu_status exec_verw(struct cpu *cpu, const struct insn *insn)
{
    return verify(cpu, insn, true);
}

enum cpu_status exec_arpl(struct cpu *cpu, const struct insn *insn)
{
    uint16_t value, rpl = cpu->regs[insn->reg] & 3;
    enum cpu_status status = CPU_OK;
    uint64_t linear = 0;
    bool raise;

    if (!has_selectors(cpu))
        return raise_fault(cpu, VECTOR_UD);
    value = cpu->regs[insn->rm];
    if (insn->flags & INSN_MEM) {
        status = insn_linear(cpu, insn, 2, ACCESS_WRITE, &linear);
        if (status == CPU_OK)
            status = mmu_probe(cpu, linear, 2, ACCESS_WRITE);
        if (status == CPU_OK)
            status = mmu_read16(cpu, linear, &value);
    }
    if (status != CPU_OK)
        return status;
    raise = (value & 3) < rpl;
    value = (value & ~3) | rpl;
    if (raise && (insn->flags & INSN_MEM))
        status = mmu_write16(cpu, linear, value);
    else if (raise)
        set_reg(cpu, insn->rm, 2, value);
    if (status == CPU_OK)
        set_zf(cpu, raise);
    return status;
}

enum cpu_status exec_swapgs(struct cpu *cpu, const struct insn *insn)
{
    uint64_t base = cpu->seg[SEG_GS].base;

    if (cpu->cpl != 0)
        return raise_gp(cpu);
    cpu->seg[SEG_GS].base = cpu->kernel_gs_base;
    cpu->kernel_gs_base = base;
    return CPU_OK;
}

/* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE: ModRM.reg 0-3. */
enum cpu_status exec_fsgsbase(struct cpu *cpu, const struct insn *insn)
{
    unsigned seg = insn->reg & 1 ? SEG_GS : SEG_FS;
    uint64_t value;

    if (!(cpu->cr4 & CR4_FSGSBASE))
        return raise_fault(cpu, VECTOR_UD);
    if (!(insn->reg & 2)) {
        set_reg(cpu, insn->rm, insn->size, cpu->seg[seg].base);
        return CPU_OK;
    }
    value = insn->size == 8 ? cpu->regs[insn->rm] : (uint32_t)cpu->regs[insn->rm];
    if (!is_canonical_base(cpu, value))
        return raise_gp(cpu);
    cpu->seg[seg].base = value;
    return CPU_OK;
}
