/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events through the vector table, 16-, 32- and 64-bit gates: frames, stacks,
 * privilege, error codes, double and triple faults; and IRET back.
 */
#include "exception.h"
#include "debug.h"
#include "flat_machine.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum {
    RAM = 8 << 20,
    TABLES = 0x10000, GDT = 0x20000, IDT = 0x21000, TSS = 0x23000, HANDLER = 0x30000,
    STACK0 = 0x41000, STACK3 = 0x51000, IST1 = 0x61000, CODE = 0x70000,
    /* Selectors: what flat_enter() uses first. */
    KERNEL_CS = 0x08, KERNEL_DS = 0x10, USER_CS = 0x1b, USER_DS = 0x23, SEL_TSS = 0x28,
    CONFORMING_CS = 0x38, ABSENT_CS = 0x40,
};

static uint64_t segment_descriptor(uint32_t base, uint32_t limit, uint32_t ar)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)ar << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(base >> 24) << 56;
}

static void set_gate(struct flat_machine *m, unsigned vector, uint16_t selector, uint64_t offset,
                     unsigned type, unsigned dpl, unsigned ist)
{
    unsigned size = m->cpu->long_mode ? 16 : 8;
    uint64_t low = (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 |
                   (uint64_t)(type | dpl << 5 | 0x80) << 40 | (offset >> 16 & 0xffff) << 48;

    flat_write64(m, IDT + vector * size, low);
    if (size == 16)
        flat_write64(m, IDT + vector * size + 8, offset >> 32);
}

/* A GDT, a TSS, an IDT whose gates lead to HANDLER + vector * 16. */
static void enter(struct flat_machine *m, enum flat_mode mode, unsigned cpl)
{
    bool wide = mode == FLAT_64 || mode == FLAT_COMPAT;
    uint32_t code = wide ? 0xa09b : 0xc09b;
    struct cpu *cpu = m->cpu;

    flat_enter(m, mode, cpl, TABLES);
    flat_write64(m, GDT + KERNEL_CS, segment_descriptor(0, 0xfffff, code));
    flat_write64(m, GDT + KERNEL_DS, segment_descriptor(0, 0xfffff, 0xc093));
    flat_write64(m, GDT + (USER_CS & ~7), segment_descriptor(0, 0xfffff, code | 0x60));
    flat_write64(m, GDT + (USER_DS & ~7), segment_descriptor(0, 0xfffff, 0xc0f3));
    flat_write64(m, GDT + SEL_TSS, segment_descriptor(TSS, 0x2067, 0x8b));
    flat_write64(m, GDT + CONFORMING_CS, segment_descriptor(0, 0xfffff, code | 4));
    flat_write64(m, GDT + ABSENT_CS, segment_descriptor(0, 0xfffff, code & ~0x80u));
    cpu->gdt = (struct cpu_table){ GDT, 0x7f };
    cpu->idt = (struct cpu_table){ IDT, 0xfff };
    cpu->seg[SEG_TR] = (struct cpu_segment){ TSS, 0x2067, 0x8b, SEL_TSS };
    if (wide) {
        flat_write64(m, TSS + 4, STACK0);
        flat_write64(m, TSS + 0x24, IST1);
    } else {
        flat_write32(m, TSS + 4, STACK0);
        flat_write32(m, TSS + 8, KERNEL_DS);
    }
    for (unsigned i = 0; i < (wide ? 256 : 512) && i < 256; i++)
        set_gate(m, i, KERNEL_CS, HANDLER + i * 16, DESC_INT, 3, 0);
    cpu->seg[SEG_CS].selector = cpl ? USER_CS : KERNEL_CS;
    cpu->seg[SEG_SS].selector = cpl ? USER_DS : KERNEL_DS;
    cpu->regs[REG_RSP] = cpl ? STACK3 : STACK0;
    cpu->regs[REG_RIP] = CODE;
    cpu_set_rflags(cpu, FLAG_IF | FLAG_CF | FLAG_ONE);
}

static void raise_event(struct cpu *cpu, uint8_t vector, bool has_error, uint32_t error)
{
    cpu->fault = (struct cpu_fault){ .vector = vector, .has_error = has_error, .error = error };
    exception_from_fault(cpu);
}

static int setup(void **state)
{
    *state = flat_machine_new(RAM);
    return 0;
}

static int teardown(void **state)
{
    flat_machine_free(*state);
    return 0;
}

static void test_real_mode(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn iret = { .size = 2 };

    flat_enter(m, FLAT_REAL, 0, 0);
    cpu->idt = (struct cpu_table){ 0, 0x3ff };
    flat_write32(m, 0x21 * 4, 0x12345678);
    segment_load_real(cpu, SEG_SS, 0x4000);
    segment_load_real(cpu, SEG_CS, 0x700);
    cpu->regs[REG_RSP] = 0xabcd0004;
    cpu->regs[REG_RIP] = 0x100;
    cpu_set_rflags(cpu, FLAG_IF | FLAG_TF | FLAG_ZF | FLAG_ONE);
    cpu->event.pending = cpu->event.external = true;
    cpu->event.vector = 0x21;
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->seg[SEG_CS].selector, 0x1234);
    assert_int_equal(cpu->seg[SEG_CS].base, 0x12340);
    assert_int_equal(cpu->regs[REG_RIP], 0x5678);
    /* SP wraps within 64 KiB, the rest of RSP stays. */
    assert_int_equal(cpu->regs[REG_RSP], 0xabcdfffe);
    assert_int_equal(flat_read32(m, 0x40002) & 0xffff, FLAG_IF | FLAG_TF | FLAG_ZF | FLAG_ONE);
    assert_int_equal(flat_read32(m, 0x40000) & 0xffff, 0x700);
    assert_int_equal(flat_read32(m, 0x4fffe) & 0xffff, 0x100);
    assert_int_equal(cpu_rflags(cpu), FLAG_ZF | FLAG_ONE);
    assert_false(cpu->event.pending);

    assert_int_equal(exec_iret(cpu, &iret), CPU_BREAK);
    assert_int_equal(cpu->seg[SEG_CS].selector, 0x700);
    assert_int_equal(cpu->regs[REG_RIP], 0x100);
    assert_int_equal(cpu->regs[REG_RSP], 0xabcd0004);
    assert_int_equal(cpu_rflags(cpu), FLAG_IF | FLAG_TF | FLAG_ZF | FLAG_ONE);
}

static void test_protected_same_level(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn iret = { .size = 4 };

    enter(m, FLAT_32, 0);
    raise_event(cpu, VECTOR_GP, true, 0x1230);
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RIP], HANDLER + 13 * 16);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 16);
    assert_int_equal(flat_read32(m, STACK0 - 16), 0x1230);
    assert_int_equal(flat_read32(m, STACK0 - 12), CODE);
    assert_int_equal(flat_read32(m, STACK0 - 8), KERNEL_CS);
    assert_int_equal(flat_read32(m, STACK0 - 4), FLAG_RF | FLAG_IF | FLAG_CF | FLAG_ONE);
    assert_int_equal(cpu_rflags(cpu), FLAG_CF | FLAG_ONE);

    cpu->regs[REG_RSP] += 4;
    assert_int_equal(exec_iret(cpu, &iret), CPU_BREAK);
    assert_int_equal(cpu->regs[REG_RIP], CODE);
    assert_int_equal(cpu->regs[REG_RSP], STACK0);
    assert_int_equal(cpu_rflags(cpu), FLAG_RF | FLAG_IF | FLAG_CF | FLAG_ONE);
}

static void test_protected_from_user(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn iret = { .size = 4 };

    enter(m, FLAT_32, 3);
    set_gate(m, 0x80, KERNEL_CS, HANDLER + 0x800, DESC_TRAP, 3, 0);
    assert_int_equal(exec_int(cpu, &(struct insn){ .imm = 0x80, .next = 2 }), CPU_BREAK);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->seg[SEG_SS].selector, KERNEL_DS);
    assert_int_equal(cpu->seg[SEG_CS].selector, KERNEL_CS);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 20);
    assert_int_equal(flat_read32(m, STACK0 - 20), CODE + 2);
    assert_int_equal(flat_read32(m, STACK0 - 16), USER_CS);
    assert_int_equal(flat_read32(m, STACK0 - 12), FLAG_IF | FLAG_CF | FLAG_ONE);
    assert_int_equal(flat_read32(m, STACK0 - 8), STACK3);
    assert_int_equal(flat_read32(m, STACK0 - 4), USER_DS);
    /* A trap gate leaves IF. */
    assert_true(cpu_rflags(cpu) & FLAG_IF);

    segment_load(cpu, SEG_DS, KERNEL_DS);
    segment_load(cpu, SEG_ES, USER_DS);
    assert_int_equal(exec_iret(cpu, &iret), CPU_BREAK);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->regs[REG_RIP], CODE + 2);
    assert_int_equal(cpu->regs[REG_RSP], STACK3);
    assert_int_equal(cpu->seg[SEG_SS].selector, USER_DS);
    /* The kernel's segment doesn't stay with the user. */
    assert_true(cpu->seg[SEG_DS].ar & SEG_AR_UNUSABLE);
    assert_int_equal(cpu->seg[SEG_ES].selector, USER_DS);
}

static void test_16bit_gate(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 0);
    set_gate(m, 0x20, KERNEL_CS, 0x91234, DESC_INT16, 0, 0);
    cpu->event.pending = cpu->event.external = true;
    cpu->event.vector = 0x20;
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RIP], 0x1234);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 6);
    assert_int_equal(flat_read32(m, STACK0 - 6) & 0xffff, CODE & 0xffff);
}

static void assert_frame64(struct flat_machine *m, uint64_t top, uint64_t rip, uint64_t cs,
                           uint64_t flags, uint64_t rsp, uint64_t ss)
{
    assert_int_equal(flat_read64(m, top - 8), ss);
    assert_int_equal(flat_read64(m, top - 16), rsp);
    assert_int_equal(flat_read64(m, top - 24), flags);
    assert_int_equal(flat_read64(m, top - 32), cs);
    assert_int_equal(flat_read64(m, top - 40), rip);
}

static void test_long_mode(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn iret = { .size = 8 };

    enter(m, FLAT_64, 0);
    cpu->regs[REG_RSP] = STACK0 - 0x101;
    raise_event(cpu, VECTOR_PF, true, 2);
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    /* RSP is aligned to 16 before the frame. */
    assert_frame64(m, STACK0 - 0x110, CODE, KERNEL_CS, FLAG_RF | FLAG_IF | FLAG_CF | FLAG_ONE,
                   STACK0 - 0x101, KERNEL_DS);
    assert_int_equal(flat_read64(m, STACK0 - 0x140), 2);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 0x140);
    assert_int_equal(cpu->seg[SEG_SS].selector, KERNEL_DS);
    cpu->regs[REG_RSP] += 8;
    assert_int_equal(exec_iret(cpu, &iret), CPU_BREAK);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 0x101);
    assert_int_equal(cpu->regs[REG_RIP], CODE);

    enter(m, FLAT_64, 3);
    cpu->event.pending = cpu->event.external = true;
    cpu->event.vector = 0x30;
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_frame64(m, STACK0, CODE, USER_CS, FLAG_IF | FLAG_CF | FLAG_ONE, STACK3, USER_DS);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->seg[SEG_SS].selector, 0);
    /* As after WRFSBASE: no segment, but a base that the way out must not take. */
    cpu->seg[SEG_FS] = (struct cpu_segment){ .base = 0x390ca3c0, .ar = SEG_AR_UNUSABLE };
    assert_int_equal(exec_iret(cpu, &iret), CPU_BREAK);
    assert_int_equal(cpu->seg[SEG_FS].base, 0x390ca3c0);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->code_size, 8);
    assert_int_equal(cpu->regs[REG_RSP], STACK3);
}

static void test_ist(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_64, 0);
    set_gate(m, VECTOR_NMI, KERNEL_CS, HANDLER + 32, DESC_INT, 0, 1);
    cpu->event.pending = cpu->event.external = true;
    cpu->event.vector = VECTOR_NMI;
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_frame64(m, IST1, CODE, KERNEL_CS, FLAG_IF | FLAG_CF | FLAG_ONE, STACK0, KERNEL_DS);
    assert_true(cpu->nmi_masked);
    assert_int_equal(cpu->seg[SEG_SS].selector, KERNEL_DS);
    assert_int_equal(exec_iret(cpu, &(struct insn){ .size = 8 }), CPU_BREAK);
    assert_false(cpu->nmi_masked);
    assert_int_equal(cpu->regs[REG_RSP], STACK0);
}

/* Everything that an INT n from user code may run into, registers unchanged. */
static void test_int_faults(void **state)
{
    static const struct {
        uint16_t selector;
        unsigned type, dpl;
        uint64_t gate_and;
        uint8_t vector;
        uint32_t error;
    } cases[] = {
        { KERNEL_CS, DESC_INT, 0, ~0ull, VECTOR_GP, 0x40 * 8 + 2 },
        { KERNEL_CS, DESC_LDT, 3, ~0ull, VECTOR_GP, 0x40 * 8 + 2 },
        { KERNEL_CS, DESC_INT, 3, ~(1ull << 47), VECTOR_NP, 0x40 * 8 + 2 },
        { 0, DESC_INT, 3, ~0ull, VECTOR_GP, 0 },
        { KERNEL_DS, DESC_INT, 3, ~0ull, VECTOR_GP, KERNEL_DS },
        { 0x1000, DESC_INT, 3, ~0ull, VECTOR_GP, 0x1000 },
        { ABSENT_CS, DESC_INT, 3, ~0ull, VECTOR_NP, ABSENT_CS },
    };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    for (unsigned i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned n = i / 2;
        unsigned at = IDT + 0x40 * (i & 1 ? 16 : 8);

        enter(m, i & 1 ? FLAT_64 : FLAT_32, 3);
        set_gate(m, 0x40, cases[n].selector, HANDLER, cases[n].type, cases[n].dpl, 0);
        flat_write64(m, at, flat_read64(m, at) & cases[n].gate_and);
        assert_int_equal(exec_int(cpu, &(struct insn){ .imm = 0x40, .next = 2 }), CPU_FAULT);
        assert_int_equal(cpu->fault.vector, cases[n].vector);
        assert_int_equal(cpu->fault.error, cases[n].error);
        assert_int_equal(cpu->regs[REG_RIP], CODE);
        assert_int_equal(cpu->regs[REG_RSP], STACK3);
        assert_int_equal(cpu->seg[SEG_CS].selector, USER_CS);
        assert_int_equal(cpu->cpl, 3);
    }
}

/* A hardware event's fault says that it was external. */
static void test_ext_bit(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 0);
    set_gate(m, 0x40, 0x1000, HANDLER, DESC_INT, 3, 0);
    cpu->event.pending = cpu->event.external = true;
    cpu->event.vector = 0x40;
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RIP], HANDLER + VECTOR_GP * 16);
    assert_int_equal(flat_read32(m, STACK0 - 16), 0x1001);
}

static void test_soft_event_faults_on_its_instruction(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_64, 3);
    set_gate(m, 0x40, KERNEL_CS, HANDLER, DESC_INT, 0, 0);
    cpu->event.pending = cpu->event.soft = true;
    cpu->event.vector = 0x40;
    cpu->event.length = 2;
    cpu->regs[REG_RIP] = CODE + 2;
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RIP], HANDLER + VECTOR_GP * 16);
    assert_int_equal(flat_read64(m, STACK0 - 40), CODE);
    assert_int_equal(flat_read64(m, STACK0 - 48), 0x40 * 8 + 2);
}

/* Which pairs make a double fault (SDM vol. 3, table 6-5). */
static void test_double_faults(void **state)
{
    static const struct {
        uint8_t first, second;
        bool is_double;
    } cases[] = {
        { VECTOR_GP, VECTOR_NP, true }, { VECTOR_DE, VECTOR_GP, true },
        { VECTOR_PF, VECTOR_NP, true }, { VECTOR_UD, VECTOR_NP, false },
        { VECTOR_BP, VECTOR_GP, false },
    };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint16_t bad = cases[i].second == VECTOR_NP ? ABSENT_CS : KERNEL_DS;
        unsigned vector = cases[i].is_double ? VECTOR_DF : cases[i].second;

        enter(m, FLAT_64, 0);
        set_gate(m, cases[i].first, bad, HANDLER, DESC_INT, 0, 0);
        raise_event(cpu, cases[i].first, false, 0);
        assert_int_equal(exception_deliver(cpu), CPU_OK);
        assert_int_equal(cpu->regs[REG_RIP], HANDLER + vector * 16);
        assert_int_equal(flat_read64(m, STACK0 - 48), cases[i].is_double ? 0 : bad | 1);
        assert_int_equal(flat_read64(m, STACK0 - 40), CODE);
    }
}

static void test_page_fault_on_the_way(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    /* The stack of a #GP isn't mapped: #PF follows #GP, on the IST stack. */
    enter(m, FLAT_64, 0);
    cpu->regs[REG_RSP] = 0x50000000000;
    set_gate(m, VECTOR_PF, KERNEL_CS, HANDLER + 14 * 16, DESC_INT, 0, 1);
    raise_event(cpu, VECTOR_GP, true, 0);
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RIP], HANDLER + VECTOR_PF * 16);
    assert_int_equal(cpu->cr2, 0x50000000000 - 8);
    assert_int_equal(flat_read64(m, IST1 - 48), PF_W);

    /* #PF while delivering #PF: double; with no way to deliver that: shutdown. */
    enter(m, FLAT_64, 0);
    cpu->regs[REG_RSP] = 0x50000000000;
    set_gate(m, VECTOR_PF, KERNEL_CS, HANDLER + 14 * 16, DESC_INT, 0, 0);
    set_gate(m, VECTOR_DF, KERNEL_CS, HANDLER + 8 * 16, DESC_INT, 0, 1);
    raise_event(cpu, VECTOR_PF, true, 0);
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RIP], HANDLER + VECTOR_DF * 16);
    assert_int_equal(cpu->regs[REG_RSP], IST1 - 48);

    enter(m, FLAT_64, 0);
    cpu->regs[REG_RSP] = 0x50000000000;
    raise_event(cpu, VECTOR_PF, true, 0);
    assert_int_equal(exception_deliver(cpu), CPU_EXIT_SHUTDOWN);
    assert_int_equal(cpu->regs[REG_RIP], CODE);
    assert_int_equal(cpu->regs[REG_RSP], 0x50000000000);
    assert_false(cpu->event.pending);

    /* An IDT of no length: what guests use to reset the machine. */
    enter(m, FLAT_64, 0);
    cpu->idt.limit = 0;
    raise_event(cpu, VECTOR_BP, false, 0);
    assert_int_equal(exception_deliver(cpu), CPU_EXIT_SHUTDOWN);
}

static void test_fault_records(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;

    cpu->fault = (struct cpu_fault){ .vector = VECTOR_PF, .has_error = true, .address = 0x1234 };
    exception_from_fault(cpu);
    assert_int_equal(cpu->cr2, 0x1234);
    cpu->dr[6] = DR6_FIXED | 2;
    cpu->dr[7] = DR7_FIXED | DR7_GD;
    cpu->fault = (struct cpu_fault){ .vector = VECTOR_DB, .address = DR6_BS };
    exception_from_fault(cpu);
    assert_int_equal(cpu->dr[6], DR6_FIXED | DR6_BS);
    assert_int_equal(cpu->dr[7], DR7_FIXED);
}

/* The stack is MMIO that can't be served yet: the event waits, nothing has changed. */
static void test_refused_access_keeps_the_event(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 0);
    cpu->regs[REG_RSP] = 0xfee00100;
    m->refuse = 0;
    raise_event(cpu, VECTOR_UD, false, 0);
    /* The gate's and the descriptor's pages, then the push is refused. */
    cpu_flush_gpa(cpu, 0, UINT64_MAX);
    for (unsigned i = 0; i < 4; i++) {
        m->refuse = 1;
        assert_int_equal(exception_deliver(cpu), CPU_EXIT_ACCESS);
        assert_true(cpu->event.pending);
        assert_int_equal(cpu->regs[REG_RIP], CODE);
        assert_int_equal(cpu->regs[REG_RSP], 0xfee00100);
        m->refuse = 0;
        if (i == 3)
            break;
    }
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RSP], 0xfee00100 - 12);
    assert_int_equal(m->mmio.data, CODE);
}

/* Gates that come from a device: what answered for one event is not kept for the next. */
static void test_accesses_of_one_event_end_with_it(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 0);
    cpu->idt.base = 0xfee00000;
    raise_event(cpu, VECTOR_UD, false, 0);
    m->nr_done = 0;
    /* #UD, then #GP and #DF for gates of zeros. */
    assert_int_equal(exception_deliver(cpu), CPU_EXIT_SHUTDOWN);
    assert_int_equal(m->nr_done, 3);
}

static void test_conforming_handler_keeps_the_level(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 3);
    set_gate(m, 0x40, CONFORMING_CS, HANDLER, DESC_INT, 3, 0);
    assert_int_equal(exec_int(cpu, &(struct insn){ .imm = 0x40, .next = 2 }), CPU_BREAK);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->seg[SEG_CS].selector, CONFORMING_CS | 3);
    assert_int_equal(cpu->regs[REG_RSP], STACK3 - 12);
}

static void test_vm86_round_trip(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    static const uint32_t frame[] = { 0x10, 0x700, FLAG_VM | FLAG_IF | FLAG_ONE, 0x80, 0x800,
                                      0x900, 0xa00, 0xb00, 0xc00 };

    enter(m, FLAT_32, 0);
    cpu->regs[REG_RSP] = STACK0 - sizeof(frame);
    memcpy(m->ram + STACK0 - sizeof(frame), frame, sizeof(frame));
    assert_int_equal(exec_iret(cpu, &(struct insn){ .size = 4 }), CPU_BREAK);
    assert_true(mode_vm86(cpu));
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->code_size, 2);
    assert_int_equal(cpu->seg[SEG_CS].base, 0x7000);
    assert_int_equal(cpu->seg[SEG_SS].base, 0x8000);
    assert_int_equal(cpu->seg[SEG_GS].base, 0xc000);
    assert_int_equal(cpu->seg[SEG_GS].limit, 0xffff);
    assert_int_equal(cpu->regs[REG_RSP], 0x80);

    /* IOPL is 0: INT n is the monitor's, as #GP. */
    assert_int_equal(exec_int(cpu, &(struct insn){ .imm = 0x40, .next = 2 }), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_GP);
    exception_from_fault(cpu);
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_false(mode_vm86(cpu));
    assert_int_equal(cpu->cpl, 0);
    assert_true(cpu->seg[SEG_DS].ar & SEG_AR_UNUSABLE);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - sizeof(frame) - 4);
    assert_int_equal(flat_read32(m, STACK0 - 4), 0xc00);
    assert_int_equal(flat_read32(m, STACK0 - 32), 0x700);
    assert_true(flat_read32(m, STACK0 - 28) & FLAG_VM);
}

static void test_iret_faults_change_nothing(void **state)
{
    static const struct {
        uint64_t frame[5];
        uint8_t vector;
        uint32_t error;
    } cases[] = {
        { { CODE, 0, 2, 0, 0 }, VECTOR_GP, 0 },
        { { CODE, ABSENT_CS, 2, 0, KERNEL_DS }, VECTOR_NP, ABSENT_CS },
        { { CODE, KERNEL_DS, 2, 0, KERNEL_DS }, VECTOR_GP, KERNEL_DS },
        { { 1ull << 63, KERNEL_CS, 2, 0, KERNEL_DS }, VECTOR_GP, 0 },
        { { CODE, USER_CS, 2, 0, KERNEL_DS }, VECTOR_GP, KERNEL_DS },
        { { CODE, USER_CS, 2, 0, 0 }, VECTOR_GP, 0 },
        { { CODE, USER_CS & ~3, 2, 0, USER_DS }, VECTOR_GP, USER_CS & ~3 },
    };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enter(m, FLAT_64, 0);
        cpu->regs[REG_RSP] = STACK0 - 40;
        memcpy(m->ram + STACK0 - 40, cases[i].frame, 40);
        assert_int_equal(exec_iret(cpu, &(struct insn){ .size = 8 }), CPU_FAULT);
        assert_int_equal(cpu->fault.vector, cases[i].vector);
        assert_int_equal(cpu->fault.error, cases[i].error);
        assert_int_equal(cpu->regs[REG_RSP], STACK0 - 40);
        assert_int_equal(cpu->regs[REG_RIP], CODE);
        assert_int_equal(cpu->cpl, 0);
    }
}

static void test_syscall_and_sysret(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_64, 3);
    cpu->star = (uint64_t)KERNEL_CS << 32 | (uint64_t)0x13 << 48;
    cpu->lstar = 0xffffffff81000000;
    cpu->sfmask = FLAG_IF;
    assert_int_equal(exec_syscall(cpu, &(struct insn){ .next = 2 }), CPU_BREAK);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->regs[REG_RIP], 0xffffffff81000000);
    assert_int_equal(cpu->regs[REG_RCX], CODE + 2);
    assert_int_equal(cpu->regs[REG_R11], FLAG_IF | FLAG_CF | FLAG_ONE);
    assert_int_equal(cpu_rflags(cpu), FLAG_CF | FLAG_ONE);
    assert_int_equal(cpu->seg[SEG_SS].selector, KERNEL_DS);
    assert_int_equal(exec_sysret(cpu, &(struct insn){ .size = 8 }), CPU_BREAK);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->code_size, 8);
    assert_int_equal(cpu->seg[SEG_CS].selector, 0x23);
    assert_int_equal(cpu->seg[SEG_SS].selector, 0x1b);
    assert_int_equal(cpu->regs[REG_RIP], CODE + 2);
    assert_int_equal(cpu_rflags(cpu), FLAG_IF | FLAG_CF | FLAG_ONE);
    /* And not from there. */
    assert_int_equal(exec_sysret(cpu, &(struct insn){ .size = 8 }), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_GP);
    cpu->efer &= ~(uint64_t)EFER_SCE;
    assert_int_equal(exec_syscall(cpu, &(struct insn){ .next = 2 }), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_UD);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_real_mode),
        TEST(test_protected_same_level),
        TEST(test_protected_from_user),
        TEST(test_16bit_gate),
        TEST(test_long_mode),
        TEST(test_ist),
        TEST(test_int_faults),
        TEST(test_ext_bit),
        TEST(test_soft_event_faults_on_its_instruction),
        TEST(test_double_faults),
        TEST(test_page_fault_on_the_way),
        TEST(test_fault_records),
        TEST(test_refused_access_keeps_the_event),
        TEST(test_accesses_of_one_event_end_with_it),
        TEST(test_conforming_handler_keeps_the_level),
        TEST(test_vm86_round_trip),
        TEST(test_iret_faults_change_nothing),
        TEST(test_syscall_and_sysret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
