// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * System management mode: into it, and out with RSM (AMD APM vol. 2, chapter 10;
 * Intel SDM vol. 3, chapter 32).
 *
 * The state-save area is AMD64's where CPUID announces long mode, and the P6's
 * where it doesn't: these are the two that firmware for KVM knows.  I/O restart and
 * auto-HALT restart aren't offered: the revision says so.
 */
#include "smm.h"

#include "debug.h"
#include "exception.h"
#include "guest_access.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "paging.h"

enum {
    SAVE_AREA_AT = 0xfe00, SAVE_AREA_SIZE = 512, HANDLER_AT = 0x8000,
    LEAF_EXTENDED_FEATURES = 0x80000001, EDX_LONG_MODE = 1 << 29,
    AR_SAVED = 0xf0ff,          /* without the limit's bits in the middle */
    AR_SMM = SEG_AR_P | SEG_AR_S | SEG_AR_G | 3,
    RFLAGS_SMM = FLAG_ONE,
};

/* Where everything is, from the area's start; segments in the order of enum cpu_seg. */
struct layout {
    uint32_t revision_value;
    uint8_t word;               /* bytes of a register, base or control register */
    uint8_t nr_regs;
    int8_t reg_step;
    uint16_t rax, rip, rflags, cr0, cr3, cr4, dr6, dr7, efer, smbase, revision, shadow;
    uint16_t gdt, idt;
    uint16_t seg[CPU_NR_SEGS];
    uint16_t selectors;         /* 0: in the segments */
};

/* Segments: selector and attributes (16 bits each), limit, base. */
static const struct layout layout_64 = {
    .revision_value = 0x20064, .word = 8, .nr_regs = 16, .reg_step = -8,
    .rax = 0x1f8, .rip = 0x178, .rflags = 0x170, .cr0 = 0x158, .cr3 = 0x150, .cr4 = 0x148,
    .dr6 = 0x168, .dr7 = 0x160, .efer = 0xd0, .smbase = 0x100, .revision = 0xfc, .shadow = 0xcb,
    .gdt = 0x60, .idt = 0x80,
    .seg = { 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x70, 0x90 },
};

/* Segments: attributes as in a descriptor's second word, limit, base. */
static const struct layout layout_32 = {
    .revision_value = 0x20000, .word = 4, .nr_regs = 8, .reg_step = 4,
    .rax = 0x1d0, .rip = 0x1f0, .rflags = 0x1f4, .cr0 = 0x1fc, .cr3 = 0x1f8, .cr4 = 0x114,
    .dr6 = 0x1cc, .dr7 = 0x1c8, .smbase = 0xf8, .revision = 0xfc, .shadow = 0x11a,
    .gdt = 0x16c, .idt = 0x150,
    .seg = { 0x184, 0x190, 0x19c, 0x12c, 0x138, 0x144, 0x178, 0x15c },
    .selectors = 0x1a8,
};

enum { SEG_ATTRIBUTES_64 = 2, SEG_LIMIT = 4, SEG_BASE = 8 };

static const struct layout *layout_for(struct cpu *cpu)
{
    uint32_t regs[4] = { 0 };

    cpu->ops->cpuid(cpu->opaque, LEAF_EXTENDED_FEATURES, 0, regs);
    return regs[3] & EDX_LONG_MODE ? &layout_64 : &layout_32;
}

static void put(uint8_t *area, unsigned at, uint64_t value, unsigned size)
{
    memcpy(area + at, &value, size);
}

static uint64_t get(const uint8_t *area, unsigned at, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, area + at, size);
    return value;
}

static void save_segments(const struct cpu *cpu, const struct layout *l, uint8_t *area)
{
    for (unsigned i = 0; i < CPU_NR_SEGS; i++) {
        const struct cpu_segment *seg = &cpu->seg[i];
        unsigned at = l->seg[i];

        if (l->selectors) {
            put(area, l->selectors + 4 * i, seg->selector, 4);
            put(area, at, (seg->ar & AR_SAVED) << 8, 4);
        } else {
            put(area, at, seg->selector, 2);
            put(area, at + SEG_ATTRIBUTES_64, seg->ar & AR_SAVED, 2);
        }
        put(area, at + SEG_LIMIT, seg->limit, 4);
        put(area, at + SEG_BASE, seg->base, l->word);
    }
}

static void load_segments(struct cpu *cpu, const struct layout *l, const uint8_t *area)
{
    for (unsigned i = 0; i < CPU_NR_SEGS; i++) {
        struct cpu_segment *seg = &cpu->seg[i];
        unsigned at = l->seg[i];

        if (l->selectors) {
            seg->selector = get(area, l->selectors + 4 * i, 2);
            seg->ar = get(area, at, 4) >> 8 & AR_SAVED;
        } else {
            seg->selector = get(area, at, 2);
            seg->ar = get(area, at + SEG_ATTRIBUTES_64, 2) & AR_SAVED;
        }
        if (!(seg->ar & SEG_AR_P))
            seg->ar |= SEG_AR_UNUSABLE;
        seg->limit = get(area, at + SEG_LIMIT, 4);
        seg->base = get(area, at + SEG_BASE, l->word);
    }
}

static void save_table(const struct cpu_table *table, const struct layout *l, uint8_t *area,
                       unsigned at)
{
    put(area, at + SEG_LIMIT, table->limit, 4);
    put(area, at + SEG_BASE, table->base, l->word);
}

static struct cpu_table load_table(const struct layout *l, const uint8_t *area, unsigned at)
{
    return (struct cpu_table){ .base = get(area, at + SEG_BASE, l->word),
                               .limit = get(area, at + SEG_LIMIT, 2) };
}

static void save_state(const struct cpu *cpu, const struct layout *l, uint8_t *area)
{
    for (unsigned i = 0; i < l->nr_regs; i++)
        put(area, l->rax + (int)i * l->reg_step, cpu->regs[i], l->word);
    put(area, l->rip, cpu->regs[REG_RIP], l->word);
    put(area, l->rflags, cpu_rflags(cpu), l->word);
    put(area, l->cr0, cpu->cr0, l->word);
    put(area, l->cr3, cpu->cr3, l->word);
    put(area, l->cr4, cpu->cr4, l->word);
    put(area, l->dr6, cpu->dr[6], l->word);
    put(area, l->dr7, cpu->dr[7], l->word);
    if (l->efer)
        put(area, l->efer, cpu->efer, l->word);
    put(area, l->smbase, cpu->smbase, 4);
    put(area, l->revision, l->revision_value, 4);
    put(area, l->shadow, cpu->interrupt_shadow, 1);
    save_table(&cpu->gdt, l, area, l->gdt);
    save_table(&cpu->idt, l, area, l->idt);
    save_segments(cpu, l, area);
}

/* False, and nothing changed: no processor can be in that state. */
static bool load_state(struct cpu *cpu, const struct layout *l, const uint8_t *area)
{
    uint64_t cr0 = get(area, l->cr0, l->word), cr3 = get(area, l->cr3, l->word);
    uint64_t cr4 = get(area, l->cr4, l->word);
    uint64_t efer = l->efer ? get(area, l->efer, l->word) & ~(uint64_t)EFER_LMA : 0;
    uint64_t dr6 = get(area, l->dr6, l->word), dr7 = get(area, l->dr7, l->word);

    if (efer & EFER_LME && cr0 & CR0_PG)
        efer |= EFER_LMA;
    if (!cpu_controls_valid(cpu, cr0, cr3, cr4, efer) || dr6 >> 32 || dr7 >> 32)
        return false;
    for (unsigned i = 0; i < l->nr_regs; i++)
        cpu->regs[i] = get(area, l->rax + (int)i * l->reg_step, l->word);
    cpu->regs[REG_RIP] = get(area, l->rip, l->word);
    cpu_set_rflags(cpu, get(area, l->rflags, l->word) | FLAG_ONE);
    cpu->cr0 = cr0 | CR0_ET;
    cpu->cr3 = cr3;
    cpu->cr4 = cr4;
    cpu->efer = efer;
    cpu->dr[6] = dr6 | DR6_FIXED;
    cpu->dr[7] = dr7 | DR7_FIXED;
    cpu->smbase = get(area, l->smbase, 4);
    cpu->interrupt_shadow = get(area, l->shadow, 1) & (CPU_SHADOW_MOV_SS | CPU_SHADOW_STI);
    cpu->gdt = load_table(l, area, l->gdt);
    cpu->idt = load_table(l, area, l->idt);
    load_segments(cpu, l, area);
    return true;
}

/* Between the area in guest memory, in the address space that is in force, and a copy of it. */
static enum cpu_status copy_area(struct cpu *cpu, uint64_t gpa, uint8_t *area,
                                 enum cpu_access access)
{
    for (unsigned done = 0; done < SAVE_AREA_SIZE;) {
        uint64_t at = gpa + done;
        unsigned size = CPU_PAGE_SIZE - (at & ~CPU_PAGE_MASK);
        struct cpu_page page;
        enum cpu_status status = mmu_map_page(cpu, (at & CPU_PAGE_MASK) | cpu->c_bit, access,
                                              &page);
        uint8_t *host;

        if (status != CPU_OK)
            return status;
        size = size < SAVE_AREA_SIZE - done ? size : SAVE_AREA_SIZE - done;
        host = page.host + (at & ~CPU_PAGE_MASK);
        if (access == ACCESS_WRITE) {
            guest_copy(host, area + done, size);
            mmu_stored(cpu, page.code);
        } else {
            guest_copy(area + done, host, size);
        }
        done += size;
    }
    return CPU_OK;
}

void cpu_set_smm(struct cpu *cpu, bool in_smm)
{
    if (cpu->in_smm == in_smm)
        return;
    cpu->in_smm = in_smm;
    /* The same addresses, other memory. */
    tlb_reset(cpu);
    cpu_state_replaced(cpu);
}

static void enter_handler(struct cpu *cpu)
{
    const struct cpu_segment data = { .limit = UINT32_MAX, .ar = AR_SMM };

    cpu_set_rflags(cpu, RFLAGS_SMM);
    cpu->regs[REG_RIP] = HANDLER_AT;
    cpu->interrupt_shadow = 0;
    cpu->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4 = cpu->efer = 0;
    cpu->dr[7] = DR7_FIXED;
    cpu->idt = (struct cpu_table){ 0 };
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        cpu->seg[i] = data;
    cpu->seg[SEG_CS].selector = cpu->smbase >> 4;
    cpu->seg[SEG_CS].base = cpu->smbase;
    cpu->smm_inside_nmi = cpu->nmi_masked;
    cpu->nmi_masked = true;
    cpu_state_replaced(cpu);
}

bool cpu_enter_smm(struct cpu *cpu)
{
    uint8_t area[SAVE_AREA_SIZE] = { 0 };

    save_state(cpu, layout_for(cpu), area);
    cpu_set_smm(cpu, true);
    if (copy_area(cpu, cpu->smbase + SAVE_AREA_AT, area, ACCESS_WRITE) != CPU_OK) {
        cpu_set_smm(cpu, false);
        return false;
    }
    enter_handler(cpu);
    return true;
}

enum cpu_status exec_rsm(struct cpu *cpu, const struct insn *insn)
{
    uint8_t area[SAVE_AREA_SIZE];

    if (!cpu->in_smm)
        return raise_fault(cpu, VECTOR_UD);
    if (copy_area(cpu, cpu->smbase + SAVE_AREA_AT, area, ACCESS_READ) != CPU_OK ||
        !load_state(cpu, layout_for(cpu), area))
        return CPU_EXIT_SHUTDOWN;
    if (!cpu->smm_inside_nmi)
        cpu->nmi_masked = false;
    cpu->smm_inside_nmi = false;
    cpu_set_smm(cpu, false);
    /* What waited for this: another SMI, INIT. */
    __atomic_or_fetch(&cpu->request, CPU_REQ_EXIT, __ATOMIC_SEQ_CST);
    return CPU_BREAK;
}
