/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segment loads and their faults, limits and types, LDT and TR, LAR and LSL,
 * far transfers and call gates.
 */
#include "segment.h"
#include "exception.h"
#include "flat_machine.h"
#include "mode.h"
#include "opcodes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum {
    RAM = 8 << 20, TABLES = 0x10000, GDT = 0x20000, LDT = 0x22000, TSS = 0x23000,
    CODE = 0x30000, STACK0 = 0x41000, STACK3 = 0x51000,
    /* One descriptor of every kind; the low three bits of each selector are 0. */
    KCODE = 0x08, KDATA = 0x10, UCODE = 0x18, UDATA = 0x20, TSS32 = 0x28, LDTD = 0x38,
    EXECUTE_ONLY = 0x48, READ_ONLY = 0x50, ABSENT_DATA = 0x58, CONFORMING = 0x60, DOWN = 0x68,
    GATE = 0x70, BUSY_TSS = 0x80, KCODE16 = 0x90, ABSENT_CODE = 0x98, CODE64 = 0xa0,
    BEYOND = 0xb0,
};

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t ar)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)ar << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(base >> 24) << 56;
}

static void enter(struct flat_machine *m, enum flat_mode mode, unsigned cpl)
{
    static const struct {
        uint16_t selector;
        uint32_t base, limit, ar;
    } table[] = {
        { KCODE, 0, 0xfffff, 0xc09a }, { KDATA, 0, 0xfffff, 0xc092 },
        { UCODE, 0, 0xfffff, 0xc0fa }, { UDATA, 0x12345000, 0x1ffff, 0x40f2 },
        { TSS32, TSS, 0x2067, 0x89 }, { LDTD, LDT, 0xfff, 0x82 },
        { EXECUTE_ONLY, 0, 0xfffff, 0xc0f8 }, { READ_ONLY, 0, 0xfffff, 0xc0f0 },
        { ABSENT_DATA, 0, 0xfffff, 0xc072 }, { CONFORMING, 0, 0xfffff, 0xc09e },
        { DOWN, 0, 0xfff, 0x40f6 }, { BUSY_TSS, TSS, 0x67, 0x8b },
        { KCODE16, 0, 0xffff, 0x009a }, { ABSENT_CODE, 0, 0xfffff, 0xc01a },
        { CODE64, 0, 0xfffff, 0xa09a },
    };
    struct cpu *cpu = m->cpu;

    flat_enter(m, mode, cpl, TABLES);
    memset(m->ram + GDT, 0, BEYOND);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        flat_write64(m, GDT + table[i].selector,
                     descriptor(table[i].base, table[i].limit, table[i].ar));
    cpu->gdt = (struct cpu_table){ GDT, BEYOND - 1 };
    cpu->seg[SEG_TR] = (struct cpu_segment){ TSS, 0x2067, 0x8b, TSS32 };
    cpu->seg[SEG_CS].selector = cpl ? UCODE | 3 : KCODE;
    cpu->seg[SEG_SS].selector = cpl ? UDATA | 3 : KDATA;
    cpu->regs[REG_RSP] = cpl ? STACK3 : STACK0;
    cpu->regs[REG_RIP] = CODE;
    flat_write32(m, TSS + 4, STACK0);
    flat_write32(m, TSS + 8, mode == FLAT_32 ? KDATA : 0);
    cpu_set_rflags(cpu, FLAG_ONE);
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

static void test_load_faults(void **state)
{
    static const struct {
        unsigned cpl, seg;
        uint16_t selector;
        uint8_t vector;         /* 0: loads */
        uint32_t error;
    } cases[] = {
        { 0, SEG_DS, KDATA, 0, 0 },
        { 0, SEG_DS, KDATA | 1, VECTOR_GP, KDATA },
        { 3, SEG_DS, KDATA, VECTOR_GP, KDATA },
        { 3, SEG_DS, KDATA | 3, VECTOR_GP, KDATA },
        { 3, SEG_DS, UDATA, 0, 0 },
        { 3, SEG_FS, READ_ONLY | 3, 0, 0 },
        { 3, SEG_GS, EXECUTE_ONLY | 3, VECTOR_GP, EXECUTE_ONLY },
        { 3, SEG_ES, UCODE | 3, 0, 0 },
        { 3, SEG_ES, KCODE | 3, VECTOR_GP, KCODE },
        { 3, SEG_ES, CONFORMING | 3, 0, 0 },
        { 3, SEG_ES, ABSENT_DATA | 3, VECTOR_NP, ABSENT_DATA },
        { 0, SEG_ES, TSS32, VECTOR_GP, TSS32 },
        { 0, SEG_ES, BEYOND, VECTOR_GP, BEYOND },
        { 0, SEG_ES, 0x0c, VECTOR_GP, 0x0c },       /* no LDT */
        { 3, SEG_ES, 3, 0, 0 },
        { 0, SEG_SS, KDATA, 0, 0 },
        { 0, SEG_SS, KDATA | 3, VECTOR_GP, KDATA },
        { 0, SEG_SS, UDATA, VECTOR_GP, UDATA },
        { 3, SEG_SS, UDATA | 3, 0, 0 },
        { 3, SEG_SS, UDATA, VECTOR_GP, UDATA },
        { 3, SEG_SS, READ_ONLY | 3, VECTOR_GP, READ_ONLY },
        { 3, SEG_SS, UCODE | 3, VECTOR_GP, UCODE },
        { 3, SEG_SS, ABSENT_DATA | 3, VECTOR_SS, ABSENT_DATA },
        { 0, SEG_SS, 0, VECTOR_GP, 0 },
        { 3, SEG_SS, 3, VECTOR_GP, 0 },
        { 3, SEG_SS, DOWN | 3, 0, 0 },
    };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cpu_segment before;
        enum cpu_status status;

        enter(m, FLAT_32, cases[i].cpl);
        before = cpu->seg[cases[i].seg];
        status = segment_load(cpu, cases[i].seg, cases[i].selector);
        if (!cases[i].vector) {
            assert_int_equal(status, CPU_OK);
            assert_int_equal(cpu->seg[cases[i].seg].selector, cases[i].selector);
            assert_int_equal(cpu->cpl, cases[i].cpl);
            /* The accessed bit is set, in the table too. */
            if (cases[i].selector & ~3)
                assert_true(m->ram[GDT + (cases[i].selector & ~7) + 5] & 1);
            continue;
        }
        assert_int_equal(status, CPU_FAULT);
        assert_int_equal(cpu->fault.vector, cases[i].vector);
        assert_int_equal(cpu->fault.error, cases[i].error);
        assert_memory_equal(&before, &cpu->seg[cases[i].seg], sizeof(before));
    }
}

static void test_descriptor_fields(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 3);
    assert_int_equal(segment_load(cpu, SEG_DS, UDATA | 3), CPU_OK);
    assert_int_equal(cpu->seg[SEG_DS].base, 0x12345000);
    assert_int_equal(cpu->seg[SEG_DS].limit, 0x1ffff);
    assert_int_equal(cpu->seg[SEG_DS].ar, 0x40f3);
    assert_int_equal(segment_load(cpu, SEG_DS, UCODE | 3), CPU_OK);
    assert_int_equal(cpu->seg[SEG_DS].limit, UINT32_MAX);
}

static void test_null_ss_in_64bit(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;

    enter(*state, FLAT_64, 0);
    assert_int_equal(segment_load(cpu, SEG_SS, 0), CPU_OK);
    cpu_update_mode(cpu);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(segment_load(cpu, SEG_SS, 1), CPU_FAULT);
    enter(*state, FLAT_64, 3);
    assert_int_equal(segment_load(cpu, SEG_SS, 3), CPU_FAULT);
}

static void assert_linear(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
                          enum cpu_access access, uint8_t vector)
{
    uint64_t linear;
    enum cpu_status status = segment_linear(cpu, seg, offset, size, access, &linear);

    if (!vector) {
        assert_int_equal(status, CPU_OK);
    } else {
        assert_int_equal(status, CPU_FAULT);
        assert_int_equal(cpu->fault.vector, vector);
        assert_int_equal(cpu->fault.error, 0);
    }
}

static void test_limits_and_types(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;

    enter(*state, FLAT_32, 3);
    segment_load(cpu, SEG_DS, UDATA | 3);
    assert_linear(cpu, SEG_DS, 0x1fffc, 4, ACCESS_WRITE, 0);
    assert_linear(cpu, SEG_DS, 0x1fffd, 4, ACCESS_WRITE, VECTOR_GP);
    assert_linear(cpu, SEG_DS, UINT32_MAX, 4, ACCESS_READ, VECTOR_GP);
    segment_load(cpu, SEG_SS, UDATA | 3);
    assert_linear(cpu, SEG_SS, 0x20000, 1, ACCESS_READ, VECTOR_SS);
    segment_load(cpu, SEG_ES, DOWN | 3);
    assert_linear(cpu, SEG_ES, 0xfff, 1, ACCESS_READ, VECTOR_GP);
    assert_linear(cpu, SEG_ES, 0x1000, 8, ACCESS_WRITE, 0);
    assert_linear(cpu, SEG_ES, 0xfffffffc, 4, ACCESS_WRITE, 0);
    assert_linear(cpu, SEG_ES, 0xfffffffd, 4, ACCESS_WRITE, VECTOR_GP);
    segment_load(cpu, SEG_FS, READ_ONLY | 3);
    assert_linear(cpu, SEG_FS, 0, 4, ACCESS_READ, 0);
    assert_linear(cpu, SEG_FS, 0, 4, ACCESS_WRITE, VECTOR_GP);
    assert_linear(cpu, SEG_CS, 0, 4, ACCESS_READ, 0);
    assert_linear(cpu, SEG_CS, 0, 4, ACCESS_WRITE, VECTOR_GP);
    segment_load(cpu, SEG_GS, 0);
    assert_linear(cpu, SEG_GS, 0, 1, ACCESS_READ, VECTOR_GP);

    /* 64-bit mode: no limits, but addresses must be canonical. */
    enter(*state, FLAT_64, 0);
    assert_linear(cpu, SEG_DS, 0x7ffffffffff8, 8, ACCESS_READ, 0);
    assert_linear(cpu, SEG_DS, 0x7ffffffffff9, 8, ACCESS_READ, VECTOR_GP);
    assert_linear(cpu, SEG_SS, 0x800000000000, 8, ACCESS_READ, VECTOR_SS);
    assert_linear(cpu, SEG_DS, 0xffff800000000000, 8, ACCESS_READ, 0);
    assert_linear(cpu, SEG_ES, 0xffff7fffffffffff, 2, ACCESS_READ, VECTOR_GP);
}

static void test_real_and_unreal_mode(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t linear;

    flat_enter(m, FLAT_REAL, 0, 0);
    assert_int_equal(segment_load(cpu, SEG_DS, 0x1234), CPU_OK);
    assert_int_equal(cpu->seg[SEG_DS].base, 0x12340);
    assert_linear(cpu, SEG_DS, 0xffff, 1, ACCESS_WRITE, 0);
    assert_linear(cpu, SEG_DS, 0xffff, 2, ACCESS_WRITE, VECTOR_GP);
    /* A limit that was loaded in protected mode stays. */
    enter(m, FLAT_32, 0);
    assert_int_equal(segment_load(cpu, SEG_DS, KDATA), CPU_OK);
    cpu->cr0 &= ~(uint64_t)CR0_PE;
    cpu_state_replaced(cpu);
    assert_int_equal(segment_load(cpu, SEG_DS, 0x1000), CPU_OK);
    assert_int_equal(segment_linear(cpu, SEG_DS, 0x200000, 4, ACCESS_WRITE, &linear), CPU_OK);
    assert_int_equal(linear, 0x210000);
}

static void test_ldt_and_tr(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 0);
    assert_int_equal(segment_load_ldt(cpu, KDATA), CPU_FAULT);
    assert_int_equal(cpu->fault.error, KDATA);
    assert_int_equal(segment_load_ldt(cpu, LDTD), CPU_OK);
    assert_int_equal(cpu->seg[SEG_LDTR].base, LDT);
    flat_write64(m, LDT + 8, descriptor(0x1000, 0xfff, 0x40f2));
    assert_int_equal(segment_load(cpu, SEG_DS, 0x0f), CPU_OK);
    assert_int_equal(cpu->seg[SEG_DS].base, 0x1000);
    assert_int_equal(m->ram[LDT + 8 + 5], 0xf3);
    assert_int_equal(segment_load_ldt(cpu, 0), CPU_OK);
    assert_int_equal(segment_load(cpu, SEG_ES, 0x0f), CPU_FAULT);

    assert_int_equal(segment_load_tr(cpu, 0), CPU_FAULT);
    assert_int_equal(segment_load_tr(cpu, BUSY_TSS), CPU_FAULT);
    assert_int_equal(cpu->fault.error, BUSY_TSS);
    assert_int_equal(segment_load_tr(cpu, TSS32), CPU_OK);
    assert_int_equal(m->ram[GDT + TSS32 + 5], 0x8b);
    assert_int_equal(cpu->seg[SEG_TR].ar & 15, 11);

    /* Long mode: 16 bytes, the upper ones are the base's upper half. */
    enter(m, FLAT_64, 0);
    flat_write64(m, GDT + TSS32 + 8, 0xffff8000);
    assert_int_equal(segment_load_tr(cpu, TSS32), CPU_OK);
    assert_int_equal(cpu->seg[SEG_TR].base, 0xffff800000000000 | TSS);
    flat_write64(m, GDT + TSS32, descriptor(TSS, 0x67, 0x89));
    flat_write64(m, GDT + TSS32 + 8, 0x00ff8000);
    assert_int_equal(segment_load_tr(cpu, TSS32), CPU_FAULT);
}

static void test_lar_lsl_verr_verw(void **state)
{
    static const struct {
        uint16_t selector;
        bool lar, lsl, verr, verw;
        uint32_t ar, limit;
    } cases[] = {
        { UDATA | 3, true, true, true, true, 0x40f200, 0x1ffff },
        { KDATA | 3, false, false, false, false, 0, 0 },
        { READ_ONLY | 3, true, true, true, false, 0xc0f000, UINT32_MAX },
        { EXECUTE_ONLY | 3, true, true, false, false, 0xc0f800, UINT32_MAX },
        { CONFORMING | 3, true, true, true, false, 0xc09e00, UINT32_MAX },
        { 0, false, false, false, false, 0, 0 },
        { BEYOND, false, false, false, false, 0, 0 },
    };
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;
    struct insn insn = { .size = 4, .reg = REG_RAX, .rm = REG_RBX };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enter(*state, FLAT_32, 3);
        cpu->regs[REG_RBX] = cases[i].selector;
        cpu->regs[REG_RAX] = 77;
        assert_int_equal(exec_lar(cpu, &insn), CPU_OK);
        assert_int_equal(!!(cpu_rflags(cpu) & FLAG_ZF), cases[i].lar);
        assert_int_equal(cpu->regs[REG_RAX], cases[i].lar ? cases[i].ar : 77);
        cpu->regs[REG_RAX] = 77;
        assert_int_equal(exec_lsl(cpu, &insn), CPU_OK);
        assert_int_equal(!!(cpu_rflags(cpu) & FLAG_ZF), cases[i].lsl);
        assert_int_equal(cpu->regs[REG_RAX], cases[i].lsl ? cases[i].limit : 77);
        assert_int_equal(exec_verr(cpu, &insn), CPU_OK);
        assert_int_equal(!!(cpu_rflags(cpu) & FLAG_ZF), cases[i].verr);
        assert_int_equal(exec_verw(cpu, &insn), CPU_OK);
        assert_int_equal(!!(cpu_rflags(cpu) & FLAG_ZF), cases[i].verw);
    }
    flat_enter(*state, FLAT_REAL, 0, 0);
    assert_int_equal(exec_lar(cpu, &insn), CPU_FAULT);
    assert_int_equal(cpu->fault.vector, VECTOR_UD);
}

static enum cpu_status far_jump(struct cpu *cpu, uint16_t selector, uint64_t offset)
{
    return exec_jmp_far(cpu, &(struct insn){ .size = 4, .selector = selector, .imm = offset,
                                             .next = 7 });
}

static void test_far_jump(void **state)
{
    static const struct {
        unsigned cpl;
        uint16_t selector;
        uint8_t vector;
        uint32_t error;
    } cases[] = {
        { 0, KCODE, 0, 0 }, { 0, KCODE | 3, VECTOR_GP, KCODE }, { 3, KCODE, VECTOR_GP, KCODE },
        { 3, UCODE, 0, 0 }, { 3, CONFORMING, 0, 0 }, { 0, UCODE, VECTOR_GP, UCODE },
        { 0, 0, VECTOR_GP, 0 }, { 0, KDATA, VECTOR_GP, KDATA },
        { 0, ABSENT_CODE, VECTOR_NP, ABSENT_CODE }, { 0, BEYOND, VECTOR_GP, BEYOND },
        { 0, LDTD, VECTOR_GP, LDTD },
    };
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum cpu_status status;

        enter(*state, FLAT_32, cases[i].cpl);
        status = far_jump(cpu, cases[i].selector, 0x1000);
        if (!cases[i].vector) {
            assert_int_equal(status, CPU_BREAK);
            assert_int_equal(cpu->regs[REG_RIP], 0x1000);
            assert_int_equal(cpu->seg[SEG_CS].selector, (cases[i].selector & ~3) | cases[i].cpl);
            continue;
        }
        assert_int_equal(status, CPU_FAULT);
        assert_int_equal(cpu->fault.vector, cases[i].vector);
        assert_int_equal(cpu->fault.error, cases[i].error);
        assert_int_equal(cpu->regs[REG_RIP], CODE);
    }
    /* From 32-bit to 16-bit code, whose limit counts. */
    enter(*state, FLAT_32, 0);
    assert_int_equal(far_jump(cpu, KCODE16, 0x10000), CPU_FAULT);
    assert_int_equal(far_jump(cpu, KCODE16, 0xfff0), CPU_BREAK);
    assert_int_equal(cpu->code_size, 2);
    /* Into 64-bit code, as boot loaders do. */
    enter(*state, FLAT_COMPAT, 0);
    assert_int_equal(cpu->code_size, 4);
    assert_int_equal(far_jump(cpu, CODE64, 0x1000), CPU_BREAK);
    assert_int_equal(cpu->code_size, 8);
}

static void test_far_call_and_return(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn call = { .size = 4, .selector = KCODE, .imm = 0x1000, .next = 7 };

    enter(m, FLAT_32, 0);
    assert_int_equal(exec_call_far(cpu, &call), CPU_BREAK);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 8);
    assert_int_equal(flat_read32(m, STACK0 - 8), CODE + 7);
    assert_int_equal(flat_read32(m, STACK0 - 4), KCODE);
    assert_int_equal(exec_ret_far(cpu, &(struct insn){ .size = 4, .imm = 12 }), CPU_BREAK);
    assert_int_equal(cpu->regs[REG_RIP], CODE + 7);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 + 12);
}

static void set_call_gate(struct flat_machine *m, unsigned parameters, bool wide)
{
    flat_write64(m, GDT + GATE, 0x1000 | (uint64_t)(wide ? CODE64 : KCODE) << 16 |
                                (uint64_t)parameters << 32 | 0xecull << 40);
    flat_write64(m, GDT + GATE + 8, 0);
}

static void test_call_gate(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn call = { .size = 4, .selector = GATE | 3, .next = 7 };

    enter(m, FLAT_32, 3);
    set_call_gate(m, 2, false);
    cpu->seg[SEG_SS].selector = READ_ONLY | 3;
    flat_write32(m, GDT + READ_ONLY + 4, 0xcff300);     /* a writable stack to return to */
    flat_write32(m, STACK3, 0x111);
    flat_write32(m, STACK3 + 4, 0x222);
    assert_int_equal(exec_call_far(cpu, &call), CPU_BREAK);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->regs[REG_RIP], 0x1000);
    assert_int_equal(cpu->seg[SEG_CS].selector, KCODE);
    assert_int_equal(cpu->seg[SEG_SS].selector, KDATA);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 24);
    assert_int_equal(flat_read32(m, STACK0 - 4), READ_ONLY | 3);
    assert_int_equal(flat_read32(m, STACK0 - 8), STACK3);
    assert_int_equal(flat_read32(m, STACK0 - 12), 0x222);
    assert_int_equal(flat_read32(m, STACK0 - 16), 0x111);
    assert_int_equal(flat_read32(m, STACK0 - 20), UCODE | 3);
    assert_int_equal(flat_read32(m, STACK0 - 24), CODE + 7);

    /* The return releases the parameters on both stacks; GS goes, but not its base. */
    cpu->seg[SEG_GS] = (struct cpu_segment){
        .selector = KDATA, .base = 0x400000, .limit = UINT32_MAX, .ar = cpu->seg[SEG_SS].ar,
    };
    assert_int_equal(exec_ret_far(cpu, &(struct insn){ .size = 4, .imm = 8 }), CPU_BREAK);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->regs[REG_RIP], CODE + 7);
    assert_int_equal(cpu->regs[REG_RSP], STACK3 + 8);
    assert_int_equal(cpu->seg[SEG_GS].selector, 0);
    assert_true(cpu->seg[SEG_GS].ar & SEG_AR_UNUSABLE);
    assert_int_equal(cpu->seg[SEG_GS].base, 0x400000);

    /* 64-bit: a null SS, eight bytes a slot. */
    enter(m, FLAT_64, 3);
    set_call_gate(m, 0, true);
    assert_int_equal(exec_call_far_mem(cpu, &(struct insn){ 0 }), CPU_FAULT);
    flat_write64(m, 0x5000, (uint64_t)(GATE | 3) << 32);
    assert_int_equal(exec_call_far_mem(cpu, &(struct insn){
        .size = 4, .flags = INSN_MEM, .base = REG_NONE, .index = REG_NONE, .disp = 0x5000,
        .seg = SEG_DS, .address_size = 8, .next = 7 }), CPU_BREAK);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->seg[SEG_SS].selector, 0);
    assert_int_equal(cpu->regs[REG_RSP], STACK0 - 32);
    assert_int_equal(flat_read64(m, STACK0 - 16), STACK3);
    assert_int_equal(flat_read64(m, STACK0 - 32), CODE + 7);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_load_faults),
        TEST(test_descriptor_fields),
        TEST(test_null_ss_in_64bit),
        TEST(test_limits_and_types),
        TEST(test_real_and_unreal_mode),
        TEST(test_ldt_and_tr),
        TEST(test_lar_lsl_verr_verw),
        TEST(test_far_jump),
        TEST(test_far_call_and_return),
        TEST(test_call_gate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
