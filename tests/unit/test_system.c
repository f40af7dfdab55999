/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System instructions: control and debug registers, port I/O with its
 * permissions and restarts, IF and IOPL in every mode, time, XCR0, bases.
 */
#include "control.h"
#include "debug.h"
#include "flat_machine.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { RAM = 4 << 20, TABLES = 0x10000, TSS = 0x23000, CODE = 0x30000, STACK = 0x41000 };

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

static void enter(struct flat_machine *m, enum flat_mode mode, unsigned cpl)
{
    flat_enter(m, mode, cpl, TABLES);
    m->cpu->seg[SEG_TR] = (struct cpu_segment){ TSS, 0x67 + 0x21, 0x8b, 0x28 };
    m->cpu->regs[REG_RSP] = STACK;
    m->cpu->regs[REG_RIP] = CODE;
    cpu_set_rflags(m->cpu, FLAG_ONE);
}

static void enter_vm86(struct flat_machine *m, unsigned iopl)
{
    enter(m, FLAT_32, 3);
    cpu_set_rflags(m->cpu, FLAG_ONE | FLAG_VM | iopl << 12);
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        segment_load_real(m->cpu, i, 0x1000);
    m->cpu->regs[REG_RSP] = 0x800;
    cpu_update_mode(m->cpu);
}

static void assert_fault(struct cpu *cpu, enum cpu_status status, uint8_t vector)
{
    assert_int_equal(status, CPU_FAULT);
    assert_int_equal(cpu->fault.vector, vector);
}

static void test_cr0(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;

    enter(*state, FLAT_32, 0);
    assert_fault(cpu, control_write_cr0(cpu, CR0_PG), VECTOR_GP);
    assert_fault(cpu, control_write_cr0(cpu, CR0_PE | CR0_NW), VECTOR_GP);
    assert_fault(cpu, control_write_cr0(cpu, 1ull << 32 | CR0_PE), VECTOR_GP);
    assert_int_equal(control_write_cr0(cpu, CR0_PE | 1 << 8), CPU_OK);
    assert_int_equal(cpu->cr0, CR0_PE | CR0_ET);
    /* LMSW sets PE, and doesn't clear it. */
    cpu->regs[REG_RAX] = CR0_TS;
    assert_int_equal(exec_lmsw(cpu, &(struct insn){ .rm = REG_RAX }), CPU_BREAK);
    assert_int_equal(cpu->cr0, CR0_PE | CR0_ET | CR0_TS);
    assert_int_equal(exec_clts(cpu, &(struct insn){ 0 }), CPU_OK);
    assert_int_equal(cpu->cr0, CR0_PE | CR0_ET);
}

/* The way that a boot loader goes: PAE, CR3, LME, PG; and back. */
static void test_into_long_mode_and_back(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_COMPAT, 0);           /* for its tables */
    enter(m, FLAT_32, 0);
    assert_true(cpu_msr_write(cpu, 0xc0000080, EFER_LME, false));
    assert_fault(cpu, control_write_cr0(cpu, CR0_PE | CR0_PG), VECTOR_GP);  /* no PAE */
    assert_int_equal(control_write_cr4(cpu, CR4_PAE), CPU_OK);
    assert_int_equal(control_write_cr3(cpu, TABLES), CPU_OK);
    assert_int_equal(control_write_cr0(cpu, CR0_PE | CR0_PG), CPU_OK);
    assert_true(cpu->long_mode);
    assert_int_equal(cpu->efer, EFER_LME | EFER_LMA);
    assert_int_equal(cpu->code_size, 4);
    assert_false(cpu_msr_write(cpu, 0xc0000080, 0, false));
    assert_fault(cpu, control_write_cr4(cpu, 0), VECTOR_GP);
    assert_fault(cpu, control_write_cr3(cpu, 1ull << 46), VECTOR_GP);
    cpu->seg[SEG_CS].ar = (cpu->seg[SEG_CS].ar & ~(uint32_t)SEG_AR_DB) | SEG_AR_L;
    cpu_update_mode(cpu);
    assert_int_equal(cpu->code_size, 8);
    assert_fault(cpu, control_write_cr0(cpu, CR0_PE), VECTOR_GP);
    cpu->seg[SEG_CS].ar = (cpu->seg[SEG_CS].ar & ~(uint32_t)SEG_AR_L) | SEG_AR_DB;
    cpu_update_mode(cpu);
    assert_int_equal(control_write_cr0(cpu, CR0_PE), CPU_OK);
    assert_false(cpu->long_mode);
    assert_int_equal(cpu->efer, EFER_LME);
}

/* CR4.LA57: of a processor that has it, outside long mode; it moves the sign bit of addresses. */
static void test_la57(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    enter(m, FLAT_32, 0);
    assert_fault(cpu, control_write_cr4(cpu, CR4_PAE | CR4_LA57), VECTOR_GP);
    cpu->la57 = true;
    assert_false(is_canonical(cpu, 1ull << 47));
    assert_int_equal(control_write_cr4(cpu, CR4_PAE | CR4_LA57), CPU_OK);
    assert_true(is_canonical(cpu, 1ull << 47));
    assert_false(is_canonical(cpu, 1ull << 56));
    assert_true(is_canonical(cpu, ~0ull << 56));
    assert_int_equal(control_write_cr4(cpu, CR4_PAE), CPU_OK);
    enter(m, FLAT_64, 0);
    assert_fault(cpu, control_write_cr4(cpu, CR4_PAE | CR4_LA57), VECTOR_GP);
    cpu->la57 = false;
}

static void test_cr4_and_cr8(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn to8 = { .reg = 8, .rm = REG_RAX }, from8 = { .reg = 8, .rm = REG_RBX };

    enter(m, FLAT_64, 0);
    assert_fault(cpu, control_write_cr4(cpu, CR4_PAE | 1 << 12), VECTOR_GP);    /* LA57 */
    assert_fault(cpu, control_write_cr4(cpu, CR4_PAE | 1 << 17), VECTOR_GP);    /* PCIDE */
    assert_int_equal(control_write_cr4(cpu, CR4_PAE | CR4_SMAP), CPU_OK);
    assert_int_equal(cpu->mmu_index, 2);
    assert_int_equal(exec_stac(cpu, &(struct insn){ 0 }), CPU_OK);
    assert_int_equal(cpu->mmu_index, 0);
    assert_int_equal(exec_clac(cpu, &(struct insn){ 0 }), CPU_OK);
    assert_int_equal(cpu->mmu_index, 2);
    cpu->regs[REG_RAX] = 9;
    assert_int_equal(exec_mov_to_cr(cpu, &to8), CPU_BREAK);
    assert_int_equal(m->tpr, 9);
    assert_int_equal(exec_mov_from_cr(cpu, &from8), CPU_OK);
    assert_int_equal(cpu->regs[REG_RBX], 9);
    cpu->regs[REG_RAX] = 16;
    assert_fault(cpu, exec_mov_to_cr(cpu, &to8), VECTOR_GP);
    assert_fault(cpu, exec_mov_to_cr(cpu, &(struct insn){ .reg = 1 }), VECTOR_UD);
    enter(m, FLAT_64, 3);
    assert_fault(cpu, exec_stac(cpu, &(struct insn){ 0 }), VECTOR_UD);
}

static void test_debug_registers(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;
    struct insn to7 = { .reg = 7, .rm = REG_RAX }, to5 = { .reg = 5, .rm = REG_RAX };
    struct insn from6 = { .reg = 6, .rm = REG_RBX };

    enter(*state, FLAT_64, 0);
    cpu->regs[REG_RAX] = 1ull << 32;
    assert_fault(cpu, exec_mov_to_dr(cpu, &to7), VECTOR_GP);
    cpu->regs[REG_RAX] = 1;
    assert_int_equal(exec_mov_to_dr(cpu, &to5), CPU_BREAK);     /* DR5 is DR7 */
    assert_int_equal(cpu->dr[7], DR7_FIXED | 1);
    assert_true(cpu->debug_code);
    cpu->cr4 |= CR4_DE;
    assert_fault(cpu, exec_mov_to_dr(cpu, &to5), VECTOR_UD);
    cpu->regs[REG_RAX] = DR7_GD;
    assert_int_equal(exec_mov_to_dr(cpu, &to7), CPU_BREAK);
    assert_false(cpu->debug_code);
    assert_fault(cpu, exec_mov_from_dr(cpu, &from6), VECTOR_DB);
    assert_int_equal(cpu->fault.address, DR6_BD);
}

static void test_in_out(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn in = { .opcode = 0xec }, out = { .opcode = 0xe6, .imm = 0x80, .size = 1 };

    enter(m, FLAT_64, 0);
    cpu->regs[REG_RDX] = 0x12345;
    m->pio_value = 0xaabbccdd;
    for (unsigned size = 1; size <= 4; size *= 2) {
        static const uint64_t values[] = { 0, 0xffffffffffffffdd, 0xffffffffffffccdd, 0,
                                           0xaabbccdd };

        cpu->regs[REG_RAX] = UINT64_MAX;
        in.size = size;
        assert_int_equal(exec_in(cpu, &in), CPU_OK);
        assert_int_equal(cpu->regs[REG_RAX], values[size]);
        assert_int_equal(m->pio.address, 0x2345);
        assert_int_equal(m->pio.size, size);
    }
    cpu->regs[REG_RAX] = 0x1234;
    assert_int_equal(exec_out(cpu, &out), CPU_OK);
    assert_int_equal(m->pio.address, 0x80);
    assert_int_equal(m->pio.data, 0x34);
    assert_true(cpu->attention & ATTENTION_ACCESS);
    m->refuse = 1;
    cpu->regs[REG_RAX] = 5;
    assert_int_equal(exec_in(cpu, &in), CPU_EXIT_ACCESS);
    assert_int_equal(cpu->regs[REG_RAX], 5);
}

/* The TSS's map: bit set is denied; what lies beyond the limit is denied. */
static void test_port_permissions(void **state)
{
    static const struct {
        uint16_t port;
        unsigned size;
        bool ok;
    } cases[] = {
        { 0x20, 1, true }, { 0x21, 1, false }, { 0x20, 2, false }, { 0x22, 2, true },
        { 0x27, 1, true }, { 0x27, 2, false }, { 0xf8, 1, true }, { 0xfc, 4, true },
        { 0x100, 1, false }, { 0xffff, 1, false },
    };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    for (unsigned i = 0; i < 3 * sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned n = i / 3;
        struct insn in = { .opcode = 0xec, .size = cases[n].size };

        if (i % 3 == 2)
            enter_vm86(m, 3);       /* the map counts there whatever IOPL is */
        else
            enter(m, i % 3 ? FLAT_64 : FLAT_32, 3);
        flat_write32(m, TSS + 100, 0x68 << 16);
        memset(m->ram + TSS + 0x68, 0, 0x20);
        m->ram[TSS + 0x68 + 0x20 / 8] = 1 << 1;
        m->ram[TSS + 0x68 + 0x28 / 8] = 1 << 0;
        cpu->regs[REG_RDX] = cases[n].port;
        if (cases[n].ok)
            assert_int_equal(exec_in(cpu, &in), CPU_OK);
        else
            assert_fault(cpu, exec_in(cpu, &in), VECTOR_GP);
    }
    enter(m, FLAT_32, 3);
    cpu->flags |= FLAG_IOPL;
    cpu->regs[REG_RDX] = 0xffff;
    assert_int_equal(exec_in(cpu, &(struct insn){ .opcode = 0xec, .size = 1 }), CPU_OK);
    /* A 16-bit TSS has no map. */
    cpu->flags &= ~(uint64_t)FLAG_IOPL;
    cpu->seg[SEG_TR].ar = 0x83;
    assert_fault(cpu, exec_in(cpu, &(struct insn){ .opcode = 0xec, .size = 1 }), VECTOR_GP);
}

static void test_repeated_string_io(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn ins = { .size = 2, .address_size = 8, .flags = INSN_REP, .next = 3, .off = 0 };
    struct insn outs = { .size = 4, .address_size = 4, .flags = INSN_REP, .next = 2,
                         .seg = SEG_DS };

    enter(m, FLAT_64, 0);
    cpu->regs[REG_RDX] = 0x1f0;
    cpu->regs[REG_RDI] = 0x5000;
    cpu->regs[REG_RCX] = 2;
    m->pio_value = 0x1122;
    assert_int_equal(exec_ins(cpu, &ins), CPU_BREAK);
    /* The engine adds the length, which brings it back to the instruction. */
    assert_int_equal(cpu->regs[REG_RIP], CODE - 3);
    cpu->regs[REG_RIP] += 3;
    assert_int_equal(cpu->regs[REG_RCX], 1);
    m->refuse = 1;
    assert_int_equal(exec_ins(cpu, &ins), CPU_EXIT_ACCESS);
    assert_int_equal(cpu->regs[REG_RCX], 1);
    assert_int_equal(cpu->regs[REG_RDI], 0x5002);
    m->pio_value = 0x3344;
    assert_int_equal(exec_ins(cpu, &ins), CPU_OK);
    assert_int_equal(cpu->regs[REG_RCX], 0);
    assert_int_equal(cpu->regs[REG_RDI], 0x5004);
    assert_int_equal(flat_read32(m, 0x5000), 0x33441122);
    assert_int_equal(exec_ins(cpu, &ins), CPU_OK);
    assert_int_equal(m->nr_pio, 2);

    /* Memory that can't be written is found before the port is read. */
    cpu->regs[REG_RCX] = 1;
    cpu->regs[REG_RDI] = 0x7fff00000000;
    assert_fault(cpu, exec_ins(cpu, &ins), VECTOR_PF);
    assert_int_equal(m->nr_pio, 2);

    /* Backwards, with 32-bit addresses. */
    cpu->flags |= FLAG_DF;
    cpu->regs[REG_RCX] = 0xffffffff00000001;
    cpu->regs[REG_RSI] = 0xffffffff00005000;
    assert_int_equal(exec_outs(cpu, &outs), CPU_OK);
    assert_int_equal(m->pio.data, 0x33441122);
    assert_int_equal(cpu->regs[REG_RSI], 0x4ffc);
    assert_int_equal(cpu->regs[REG_RCX], 0);
}

static void test_cli_sti(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn none = { 0 };

    enter(m, FLAT_32, 0);
    assert_int_equal(exec_sti(cpu, &none), CPU_BREAK);
    assert_true(cpu->flags & FLAG_IF);
    assert_true(cpu->interrupt_shadow);
    cpu->interrupt_shadow = false;
    assert_int_equal(exec_sti(cpu, &none), CPU_BREAK);
    assert_false(cpu->interrupt_shadow);        /* it was on already */
    assert_int_equal(exec_cli(cpu, &none), CPU_OK);
    assert_false(cpu->flags & FLAG_IF);

    enter(m, FLAT_32, 3);
    assert_fault(cpu, exec_cli(cpu, &none), VECTOR_GP);
    cpu->cr4 |= CR4_PVI;
    assert_int_equal(exec_sti(cpu, &none), CPU_BREAK);
    assert_true(cpu->flags & FLAG_VIF);
    assert_false(cpu->flags & FLAG_IF);
    cpu->flags |= FLAG_VIP;
    assert_fault(cpu, exec_sti(cpu, &none), VECTOR_GP);

    enter_vm86(m, 0);
    assert_fault(cpu, exec_cli(cpu, &none), VECTOR_GP);
    cpu->cr4 |= CR4_VME;
    assert_int_equal(exec_sti(cpu, &none), CPU_BREAK);
    assert_true(cpu->flags & FLAG_VIF);
    enter_vm86(m, 3);
    assert_int_equal(exec_sti(cpu, &none), CPU_BREAK);
    assert_true(cpu->flags & FLAG_IF);
}

static void test_popf(void **state)
{
    static const struct {
        unsigned cpl, iopl, size;
        uint64_t image, flags;
    } cases[] = {
        { 0, 0, 4, 0xffffffff, 0x247fd7 },
        { 0, 0, 2, 0xffff, 0x7fd7 },
        { 3, 0, 4, 0xffffffff, 0x244dd7 },
        { 3, 3, 4, 0xffffcfff, 0x247fd7 },
        { 3, 1, 2, 0, 0x1002 },
    };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enter(m, FLAT_32, cases[i].cpl);
        cpu_set_rflags(cpu, FLAG_ONE | cases[i].iopl << 12);
        flat_write32(m, STACK, cases[i].image);
        assert_int_equal(exec_popf(cpu, &(struct insn){ .size = cases[i].size }), CPU_BREAK);
        assert_int_equal(cpu_rflags(cpu), cases[i].flags);
        assert_int_equal(cpu->regs[REG_RSP], STACK + cases[i].size);
    }
}

static void test_pushf_popf_in_vm86(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn insn = { .size = 2 };

    enter_vm86(m, 0);
    assert_fault(cpu, exec_pushf(cpu, &insn), VECTOR_GP);
    assert_fault(cpu, exec_popf(cpu, &insn), VECTOR_GP);
    cpu->cr4 |= CR4_VME;
    cpu->flags |= FLAG_VIF;
    assert_int_equal(exec_pushf(cpu, &insn), CPU_OK);
    assert_int_equal(flat_read32(m, 0x10000 + 0x7fe) & 0xffff, FLAG_IOPL | FLAG_IF | FLAG_ONE);
    flat_write32(m, 0x10000 + 0x7fe, FLAG_CF);
    assert_int_equal(exec_popf(cpu, &insn), CPU_BREAK);
    assert_int_equal(cpu_rflags(cpu), FLAG_VM | FLAG_CF | FLAG_ONE);
    enter_vm86(m, 3);
    cpu->cr4 = 0;
    assert_int_equal(exec_pushf(cpu, &insn), CPU_OK);
    assert_int_equal(exec_popf(cpu, &insn), CPU_BREAK);
    assert_true(mode_vm86(cpu));
}

static void test_time_and_identity(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    struct insn none = { 0 };

    enter(m, FLAT_64, 3);
    m->tsc = 0x123456789abcdef0;
    assert_int_equal(exec_rdtsc(cpu, &none), CPU_OK);
    assert_int_equal(cpu->regs[REG_RAX], 0x9abcdef0);
    assert_int_equal(cpu->regs[REG_RDX], 0x12345678);
    cpu->tsc_aux = 7;
    assert_int_equal(exec_rdtscp(cpu, &none), CPU_OK);
    assert_int_equal(cpu->regs[REG_RCX], 7);
    cpu->cr4 |= CR4_TSD;
    assert_fault(cpu, exec_rdtsc(cpu, &none), VECTOR_GP);
    assert_fault(cpu, exec_rdpmc(cpu, &none), VECTOR_GP);

    cpu->regs[REG_RAX] = UINT64_MAX << 32 | 1;
    assert_int_equal(exec_cpuid(cpu, &none), CPU_BREAK);
    assert_false(cpu->regs[REG_RCX] & 1 << 27);
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->regs[REG_RAX] = 1;
    assert_int_equal(exec_cpuid(cpu, &none), CPU_BREAK);
    assert_true(cpu->regs[REG_RCX] & 1 << 27);
}

static void test_xcr0(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;
    struct insn none = { 0 };

    enter(*state, FLAT_64, 0);
    assert_fault(cpu, exec_xgetbv(cpu, &none), VECTOR_UD);
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->regs[REG_RCX] = 0;
    cpu->regs[REG_RDX] = 0;
    for (uint64_t value = 0; value < 8; value++) {
        cpu->regs[REG_RAX] = value;
        if (value == 1 || value == 3)
            assert_int_equal(exec_xsetbv(cpu, &none), CPU_BREAK);
        else
            assert_fault(cpu, exec_xsetbv(cpu, &none), VECTOR_GP);
    }
    assert_int_equal(exec_xgetbv(cpu, &none), CPU_OK);
    assert_int_equal(cpu->regs[REG_RAX], 3);
    cpu->regs[REG_RCX] = 1;
    assert_fault(cpu, exec_xgetbv(cpu, &none), VECTOR_GP);
}

static void test_bases_and_umip(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;
    struct insn wrfs = { .reg = 2, .rm = REG_RAX, .size = 8 };
    struct insn rdgs = { .reg = 1, .rm = REG_RBX, .size = 4 };

    enter(*state, FLAT_64, 3);
    assert_fault(cpu, exec_fsgsbase(cpu, &wrfs), VECTOR_UD);
    cpu->cr4 |= CR4_FSGSBASE;
    cpu->regs[REG_RAX] = 0x800000000000;
    assert_fault(cpu, exec_fsgsbase(cpu, &wrfs), VECTOR_GP);
    cpu->regs[REG_RAX] = 0x7fff12345678;
    assert_int_equal(exec_fsgsbase(cpu, &wrfs), CPU_OK);
    assert_int_equal(cpu->seg[SEG_FS].base, 0x7fff12345678);
    cpu->seg[SEG_GS].base = 0xffff888012345678;
    assert_int_equal(exec_fsgsbase(cpu, &rdgs), CPU_OK);
    assert_int_equal(cpu->regs[REG_RBX], 0x12345678);
    assert_fault(cpu, exec_swapgs(cpu, &rdgs), VECTOR_GP);
    assert_int_equal(exec_smsw(cpu, &(struct insn){ .rm = REG_RAX, .size = 4 }), CPU_OK);
    assert_int_equal(cpu->regs[REG_RAX], (uint32_t)cpu->cr0);
    cpu->cr4 |= CR4_UMIP;
    assert_fault(cpu, exec_smsw(cpu, &(struct insn){ .size = 4 }), VECTOR_GP);
    assert_fault(cpu, exec_str(cpu, &(struct insn){ .size = 4 }), VECTOR_GP);
    enter(*state, FLAT_64, 0);
    cpu->kernel_gs_base = 1;
    cpu->seg[SEG_GS].base = 2;
    assert_int_equal(exec_swapgs(cpu, &rdgs), CPU_OK);
    assert_int_equal(cpu->kernel_gs_base, 2);
    assert_int_equal(cpu->seg[SEG_GS].base, 1);
}

static void test_exits(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;
    struct insn none = { 0 };

    enter(*state, FLAT_64, 0);
    assert_int_equal(exec_hlt(cpu, &none), CPU_EXIT_HLT);
    assert_int_equal(exec_vmcall(cpu, &none), CPU_EXIT_HYPERCALL);
    cpu->guest_debug.enabled = cpu->guest_debug.sw_breakpoints = true;
    assert_int_equal(exec_int3(cpu, &(struct insn){ .off = 4, .next = 5 }), CPU_EXIT_DEBUG);
    assert_int_equal(cpu->debug.pc, CODE + 4);
    /* MSRs that nobody has. */
    cpu->regs[REG_RCX] = 0x12345;
    assert_fault(cpu, exec_rdmsr(cpu, &none), VECTOR_GP);
    assert_fault(cpu, exec_wrmsr(cpu, &none), VECTOR_GP);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cr0),
        TEST(test_into_long_mode_and_back),
        TEST(test_la57), TEST(test_cr4_and_cr8),
        TEST(test_debug_registers),
        TEST(test_in_out),
        TEST(test_port_permissions),
        TEST(test_repeated_string_io),
        TEST(test_cli_sti),
        TEST(test_popf),
        TEST(test_pushf_popf_in_vm86),
        TEST(test_time_and_identity),
        TEST(test_xcr0),
        TEST(test_bases_and_umip),
        TEST(test_exits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
