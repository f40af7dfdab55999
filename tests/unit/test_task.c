/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Task switches: by JMP, CALL and IRET, through task gates; what is saved where,
 * busy bits and links, and faults before and after the point of no return.
 */
#include "task.h"
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
    RAM = 4 << 20, GDT = 0x20000, IDT = 0x21000, TSS_A = 0x23000, TSS_B = 0x24000,
    TSS_16 = 0x25000, CODE = 0x30000, STACK_A = 0x41000, STACK_B = 0x42000,
    KCODE = 0x08, KDATA = 0x10, A = 0x18, B = 0x20, C16 = 0x28, GATE = 0x30, UDATA = 0x38,
};

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t ar)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)ar << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(base >> 24) << 56;
}

static uint8_t type_of(const struct flat_machine *m, uint16_t selector)
{
    return m->ram[GDT + selector + 5] & 15;
}

static int setup(void **state)
{
    struct flat_machine *m = flat_machine_new(RAM);
    struct cpu *cpu = m->cpu;

    *state = m;
    flat_enter(m, FLAT_32, 0, 0);
    flat_write64(m, GDT + KCODE, descriptor(0, 0xfffff, 0xc09a));
    flat_write64(m, GDT + KDATA, descriptor(0, 0xfffff, 0xc092));
    flat_write64(m, GDT + UDATA, descriptor(0, 0xfffff, 0xc0f2));
    flat_write64(m, GDT + A, descriptor(TSS_A, 0x67, 0x8b));
    flat_write64(m, GDT + B, descriptor(TSS_B, 0x67, 0x89));
    flat_write64(m, GDT + C16, descriptor(TSS_16, 0x2b, 0x81));
    flat_write64(m, GDT + GATE, (uint64_t)B << 16 | 0x85ull << 40);
    flat_write64(m, IDT + VECTOR_DF * 8, (uint64_t)B << 16 | 0x85ull << 40);
    flat_write64(m, IDT + VECTOR_TS * 8, (uint64_t)KCODE << 16 | 0x1000 | 0x8eull << 40);
    cpu->gdt = (struct cpu_table){ GDT, 0x3f };
    cpu->idt = (struct cpu_table){ IDT, 0x7ff };
    cpu->seg[SEG_TR] = (struct cpu_segment){ TSS_A, 0x67, 0x8b, A };
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        cpu->seg[i].selector = i == SEG_CS ? KCODE : KDATA;
    for (unsigned i = 0; i < 8; i++) {
        cpu->regs[i] = 0xa0000000 + i;
        flat_write32(m, TSS_B + 0x28 + i * 4, 0xb0000000 + i);
    }
    cpu->regs[REG_RSP] = STACK_A;
    cpu->regs[REG_RIP] = CODE;
    cpu_set_rflags(cpu, FLAG_ONE | FLAG_CF);
    flat_write32(m, TSS_B + 0x20, 0x3000);
    flat_write32(m, TSS_B + 0x24, FLAG_ONE | FLAG_ZF);
    flat_write32(m, TSS_B + 0x38, STACK_B);
    for (unsigned i = 0; i < 6; i++)
        flat_write32(m, TSS_B + 0x48 + i * 4, i == SEG_CS ? KCODE : KDATA);
    return 0;
}

static int teardown(void **state)
{
    flat_machine_free(*state);
    return 0;
}

static enum cpu_status jump(struct cpu *cpu, uint16_t selector)
{
    return exec_jmp_far(cpu, &(struct insn){ .size = 4, .selector = selector, .next = 7 });
}

static enum cpu_status call(struct cpu *cpu, uint16_t selector)
{
    return exec_call_far(cpu, &(struct insn){ .size = 4, .selector = selector, .next = 7 });
}

static void assert_in_b(struct cpu *cpu)
{
    assert_int_equal(cpu->seg[SEG_TR].selector, B);
    assert_int_equal(cpu->regs[REG_RIP], 0x3000);
    assert_int_equal(cpu->regs[REG_RBX], 0xb0000003);
    assert_int_equal(cpu->regs[REG_RDI], 0xb0000007);
    assert_int_equal(cpu->regs[REG_RSP], STACK_B);
    assert_int_equal(cpu->seg[SEG_GS].selector, KDATA);
    assert_true(cpu->cr0 & CR0_TS);
}

static void test_jump(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    cpu->dr[7] = DR7_FIXED | 3;
    assert_int_equal(jump(cpu, B), CPU_BREAK);
    assert_in_b(cpu);
    assert_int_equal(cpu_rflags(cpu), FLAG_ONE | FLAG_ZF);
    assert_int_equal(flat_read32(m, TSS_A + 0x20), CODE + 7);
    assert_int_equal(flat_read32(m, TSS_A + 0x24), FLAG_ONE | FLAG_CF);
    assert_int_equal(flat_read32(m, TSS_A + 0x2c), 0xa0000001);
    assert_int_equal(flat_read32(m, TSS_A + 0x38), STACK_A);
    assert_int_equal(flat_read32(m, TSS_A + 0x4c), KCODE);
    assert_int_equal(type_of(m, A), DESC_TSS);
    assert_int_equal(type_of(m, B), DESC_TSS_BUSY);
    assert_int_equal(flat_read32(m, TSS_B), 0);
    assert_int_equal(cpu->dr[7], DR7_FIXED | 2);    /* the local one is off */
    assert_int_equal(jump(cpu, B), CPU_FAULT);      /* busy */
    assert_int_equal(cpu->fault.error, B);
    assert_int_equal(jump(cpu, A), CPU_BREAK);
    assert_int_equal(cpu->regs[REG_RIP], CODE + 7);
    assert_int_equal(cpu->regs[REG_RSP], STACK_A);
}

static void test_call_and_return(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    assert_int_equal(call(cpu, GATE), CPU_BREAK);
    assert_in_b(cpu);
    assert_int_equal(cpu_rflags(cpu), FLAG_ONE | FLAG_ZF | FLAG_NT);
    assert_int_equal(flat_read32(m, TSS_B) & 0xffff, A);
    assert_int_equal(type_of(m, A), DESC_TSS_BUSY);
    assert_int_equal(type_of(m, B), DESC_TSS_BUSY);
    cpu->regs[REG_RIP] = 0x3005;
    assert_int_equal(exec_iret(cpu, &(struct insn){ .size = 4, .next = 1 }), CPU_BREAK);
    assert_int_equal(cpu->seg[SEG_TR].selector, A);
    assert_int_equal(cpu->regs[REG_RIP], CODE + 7);
    assert_int_equal(cpu_rflags(cpu), FLAG_ONE | FLAG_CF);
    assert_int_equal(type_of(m, A), DESC_TSS_BUSY);
    assert_int_equal(type_of(m, B), DESC_TSS);
    assert_int_equal(flat_read32(m, TSS_B + 0x20), 0x3006);
    assert_false(flat_read32(m, TSS_B + 0x24) & FLAG_NT);
}

static void test_task_gate_for_double_fault(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    /* The kernel's stack is gone. */
    cpu->seg[SEG_SS].limit = 0;
    cpu->fault = (struct cpu_fault){ .vector = VECTOR_TS, .has_error = true, .error = 5 };
    exception_from_fault(cpu);
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->seg[SEG_TR].selector, B);
    assert_int_equal(cpu->regs[REG_RIP], 0x3000);
    assert_int_equal(cpu->regs[REG_RSP], STACK_B - 4);
    assert_int_equal(flat_read32(m, STACK_B - 4), 0);
    assert_int_equal(flat_read32(m, TSS_A + 0x20), CODE);
    assert_true(cpu_rflags(cpu) & FLAG_NT);
    assert_false(cpu->event.pending);
}

static void test_faults_of_the_new_task(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    flat_write32(m, TSS_B + 0x54, UDATA + 0x100);   /* DS beyond the table */
    assert_int_equal(jump(cpu, B), CPU_BREAK);
    assert_true(cpu->event.pending);
    assert_int_equal(cpu->event.vector, VECTOR_TS);
    assert_int_equal(cpu->event.error, UDATA + 0x100);
    assert_int_equal(cpu->regs[REG_RIP], 0x3000);
    assert_int_equal(exception_deliver(cpu), CPU_OK);
    assert_int_equal(cpu->regs[REG_RIP], 0x1000);
    assert_int_equal(flat_read32(m, STACK_B - 12), 0x3000);
}

static void test_debug_trap(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    flat_write32(m, TSS_B + 0x64, 1);
    assert_int_equal(jump(cpu, B), CPU_BREAK);
    assert_true(cpu->event.pending);
    assert_int_equal(cpu->event.vector, VECTOR_DB);
    assert_true(cpu->dr[6] & DR6_BT);
}

static void test_faults_before_change_nothing(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    flat_write64(m, GDT + B, descriptor(TSS_B, 0x66, 0x89));
    assert_int_equal(jump(cpu, B), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_TS);
    flat_write64(m, GDT + B, descriptor(TSS_B, 0x67, 0x09));
    assert_int_equal(jump(cpu, B), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_NP);
    cpu->flags |= FLAG_NT;
    assert_int_equal(exec_iret(cpu, &(struct insn){ .size = 4, .next = 1 }), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_TS);     /* the link is null */
    assert_int_equal(cpu->regs[REG_RIP], CODE);
    assert_int_equal(cpu->seg[SEG_TR].selector, A);
    assert_int_equal(type_of(m, A), DESC_TSS_BUSY);
}

static void test_16bit(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint16_t words[0x16] = { [7] = 0x4000, [8] = FLAG_ONE, [9] = 0x1111, [13] = 0x2000,
                             [17] = KDATA, [18] = KCODE, [19] = KDATA, [20] = KDATA };

    memcpy(m->ram + TSS_16, words, sizeof(words));
    assert_int_equal(call(cpu, C16), CPU_BREAK);
    assert_int_equal(cpu->regs[REG_RIP], 0x4000);
    assert_int_equal(cpu->regs[REG_RAX], 0xffff1111);
    assert_int_equal(cpu->regs[REG_RSP], 0xffff2000);
    assert_true(cpu->seg[SEG_FS].ar & SEG_AR_UNUSABLE);
    assert_int_equal(type_of(m, C16), DESC_TSS16_BUSY);
    assert_int_equal(exec_iret(cpu, &(struct insn){ .size = 2, .next = 1 }), CPU_BREAK);
    assert_int_equal(cpu->seg[SEG_TR].selector, A);
    assert_int_equal(cpu->regs[REG_RBX], 0xa0000003);
    assert_int_equal(type_of(m, C16), DESC_TSS16);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_jump),
        TEST(test_call_and_return),
        TEST(test_task_gate_for_double_fault),
        TEST(test_faults_of_the_new_task),
        TEST(test_debug_trap),
        TEST(test_faults_before_change_nothing),
        TEST(test_16bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
