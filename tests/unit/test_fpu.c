/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floating point where rows of tests/insn can't go: control bits that make the
 * units unavailable, environments of every mode, XSAVE images, and that the
 * host's own floating-point environment is left as it was.
 */
#include "flat_machine.h"
#include "fpu_env.h"
#include "mode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    RAM = 4 << 20,
    TABLES = 0x10000, CODE = 0x20000, STACK = 0x31000, DATA = 0x100000,
    IDT = 0x40000, HANDLER = 0x50000, GDT = 0x60000,
    NO_FAULT = -1,
};

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

/* 64-bit mode at CODE, RDI on DATA, gates to HANDLER + vector where HLTs stand. */
static void enter64(struct flat_machine *m, const uint8_t *code, size_t size)
{
    struct cpu *cpu = m->cpu;

    cpu_reset(cpu);
    flat_enter(m, FLAT_64, 0, TABLES);
    flat_write64(m, GDT + 8, 0x00af9b000000ffff);
    cpu->gdt = (struct cpu_table){ GDT, 0xff };
    cpu->idt = (struct cpu_table){ IDT, 0xfff };
    cpu->seg[SEG_CS].selector = 8;
    for (uint64_t i = 0; i < 256; i++) {
        flat_write64(m, IDT + i * 16, ((HANDLER + i) & 0xffff) | 8 << 16 | 0x8eull << 40 |
                     (uint64_t)(HANDLER >> 16) << 48);
        flat_write64(m, IDT + i * 16 + 8, 0);
        m->ram[HANDLER + i] = 0xf4;
    }
    memcpy(m->ram + CODE, code, size);
    m->ram[CODE + size] = 0xf4;
    for (unsigned i = 0; i < 2; i++)
        if (m->code[CODE / CPU_PAGE_SIZE + i] & 1)
            cpu_code_written(&m->code[CODE / CPU_PAGE_SIZE + i]);
    cpu->regs[REG_RIP] = CODE;
    cpu->regs[REG_RSP] = STACK;
    cpu->regs[REG_RDI] = DATA;
    cpu->cr0 |= CR0_NE;
    cpu->fpu.control = 0x37f;
    cpu->fpu.mxcsr = MXCSR_DEFAULT;
    cpu_set_rflags(cpu, FLAG_ONE);
}

/* Which vector the code ends with, or NO_FAULT at the HLT behind it. */
static int run(struct flat_machine *m, size_t size)
{
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    if (m->cpu->regs[REG_RIP] == CODE + size + 1)
        return NO_FAULT;
    assert_in_range(m->cpu->regs[REG_RIP], HANDLER + 1, HANDLER + 256);
    return m->cpu->regs[REG_RIP] - 1 - HANDLER;
}

#define RUN64(m_, ...)                                                          \
    ({                                                                          \
        static const uint8_t code_[] = { __VA_ARGS__ };                         \
        enter64((m_), code_, sizeof(code_));                                    \
        run((m_), sizeof(code_));                                               \
    })

static void test_unavailable_units_fault(void **state)
{
    static const struct {
        const char *what;
        uint8_t code[5];
        uint32_t cr0, cr4, cr4_clear;
        int vector;
    } rows[] = {
        { "fld1", { 0xd9, 0xe8 }, 0, 0, 0, NO_FAULT },
        { "fld1", { 0xd9, 0xe8 }, CR0_EM, 0, 0, VECTOR_NM },
        { "fld1", { 0xd9, 0xe8 }, CR0_TS, 0, 0, VECTOR_NM },
        { "fnstcw", { 0xd9, 0x3f }, CR0_TS, 0, 0, VECTOR_NM },
        { "fnstsw ax", { 0xdf, 0xe0 }, CR0_EM, 0, 0, VECTOR_NM },
        { "fwait", { 0x9b }, CR0_TS, 0, 0, NO_FAULT },
        { "fwait", { 0x9b }, CR0_TS | CR0_MP, 0, 0, VECTOR_NM },
        { "paddb mm", { 0x0f, 0xfc, 0xc1 }, CR0_EM, 0, 0, VECTOR_UD },
        { "paddb mm", { 0x0f, 0xfc, 0xc1 }, CR0_TS, 0, 0, VECTOR_NM },
        { "paddb mm", { 0x0f, 0xfc, 0xc1 }, 0, 0, CR4_OSFXSR, NO_FAULT },
        { "addps", { 0x0f, 0x58, 0xc1 }, 0, 0, CR4_OSFXSR, VECTOR_UD },
        { "addps", { 0x0f, 0x58, 0xc1 }, CR0_EM, 0, 0, VECTOR_UD },
        { "addps", { 0x0f, 0x58, 0xc1 }, CR0_TS, 0, 0, VECTOR_NM },
        { "addps", { 0x0f, 0x58, 0xc1 }, CR0_TS, 0, CR4_OSFXSR, VECTOR_UD },
        { "movaps", { 0x0f, 0x28, 0xc1 }, CR0_TS, 0, 0, VECTOR_NM },
        { "movnti", { 0x0f, 0xc3, 0x07 }, CR0_TS | CR0_EM, 0, CR4_OSFXSR, NO_FAULT },
        { "ldmxcsr", { 0x0f, 0xae, 0x17 }, CR0_EM, 0, 0, VECTOR_UD },
        { "stmxcsr", { 0x0f, 0xae, 0x1f }, CR0_TS, 0, 0, VECTOR_NM },
        { "fxsave", { 0x0f, 0xae, 0x07 }, 0, 0, CR4_OSFXSR, NO_FAULT },
        { "fxsave", { 0x0f, 0xae, 0x07 }, CR0_TS, 0, 0, VECTOR_NM },
        { "xsave", { 0x0f, 0xae, 0x27 }, 0, 0, 0, VECTOR_UD },
        { "xsave", { 0x0f, 0xae, 0x27 }, 0, CR4_OSXSAVE, 0, NO_FAULT },
        { "xsave", { 0x0f, 0xae, 0x27 }, CR0_TS, CR4_OSXSAVE, 0, VECTOR_NM },
    };
    struct flat_machine *m = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t size = rows[i].code[2] ? 3 : rows[i].code[1] ? 2 : 1;
        int vector;

        enter64(m, rows[i].code, size);
        m->cpu->cr0 |= rows[i].cr0;
        m->cpu->cr4 = (m->cpu->cr4 | rows[i].cr4) & ~rows[i].cr4_clear;
        cpu_state_replaced(m->cpu);
        vector = run(m, size);
        if (vector != rows[i].vector)
            fail_msg("row %zu, %s: vector %d, not %d", i, rows[i].what, vector, rows[i].vector);
    }
}

/* fld1; fldz; fdivp with zero divide unmasked: noticed by what waits next. */
#define DIVIDE_BY_ZERO 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9

static void test_numeric_error_waits(void **state)
{
    static const uint8_t code[] = { DIVIDE_BY_ZERO, 0xdf, 0xe0, 0x9b };
    struct flat_machine *m = *state;

    enter64(m, code, sizeof(code));
    m->cpu->fpu.control = 0x37b;
    assert_int_equal(run(m, sizeof(code)), VECTOR_MF);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP]), CODE + sizeof(code) - 1);
    assert_int_equal(m->cpu->regs[REG_RAX] & 0x8084, 0x8084);   /* B, ES, ZE */
    assert_int_equal(m->cpu->fpu.ip, CODE + 4);

    enter64(m, code, sizeof(code));         /* without CR0.NE nobody is told */
    m->cpu->cr0 &= ~CR0_NE;
    m->cpu->fpu.control = 0x37b;
    assert_int_equal(run(m, sizeof(code)), NO_FAULT);
}

static void test_unmasked_sse_exception_leaves_destination(void **state)
{
    static const uint8_t code[] = { 0xf2, 0x0f, 0x5e, 0xc1 };   /* divsd xmm0, xmm1 */
    struct flat_machine *m = *state;

    for (unsigned handled = 0; handled < 2; handled++) {
        enter64(m, code, sizeof(code));
        m->cpu->fpu.mxcsr = MXCSR_DEFAULT & ~(MXCSR_ZE << MXCSR_MASK_SHIFT);
        m->cpu->fpu.xmm[0].f64[0] = 1;
        m->cpu->fpu.xmm[1].f64[0] = 0;
        if (!handled)
            m->cpu->cr4 &= ~CR4_OSXMMEXCPT;
        assert_int_equal(run(m, sizeof(code)), handled ? VECTOR_XM : VECTOR_UD);
        assert_true(m->cpu->fpu.xmm[0].f64[0] == 1);
        assert_int_equal(m->cpu->fpu.mxcsr & MXCSR_FLAGS, MXCSR_ZE);
    }
}

static void test_last_operand_is_remembered(void **state)
{
    struct flat_machine *m = *state;

    /* nop; fld qword [rdi + 8]; fnstcw doesn't count */
    assert_int_equal(RUN64(m, 0x90, 0xdd, 0x47, 0x08, 0xd9, 0x3f), NO_FAULT);
    assert_int_equal(m->cpu->fpu.ip, CODE + 1);
    assert_int_equal(m->cpu->fpu.dp, DATA + 8);
    assert_int_equal(m->cpu->fpu.cs, 8);
    /* fsqrt: D9 FA */
    assert_int_equal(RUN64(m, 0xd9, 0xe8, 0xd9, 0xfa), NO_FAULT);
    assert_int_equal(m->cpu->fpu.opcode, 0x1fa);
}

/* FNSTENV's seven words in the four formats (SDM vol. 1, figures 8-9 to 8-12). */
static void test_environment_formats(void **state)
{
    static const struct {
        enum flat_mode mode;
        bool prefix;                /* 66: the other operand size */
        unsigned size;
        uint32_t words[7];
    } rows[] = {
        { FLAT_32, false, 4, { 0xffff037f, 0xffff3800, 0xffff3fff, 0x12345678, 0x05fa0018,
                               0x9abcdef0, 0xffff0020 } },
        { FLAT_32, true, 2, { 0x037f, 0x3800, 0x3fff, 0x5678, 0x0018, 0xdef0, 0x0020 } },
        { FLAT_16, false, 2, { 0x037f, 0x3800, 0x3fff, 0x5678, 0x0018, 0xdef0, 0x0020 } },
        /* cs:ip 0018:00015678 is 157f8, ds:dp 0020:0002def0 is 2e0f0 */
        { FLAT_REAL, false, 2, { 0x037f, 0x3800, 0x3fff, 0x57f8, 0x15fa, 0xe0f0, 0x2000 } },
        { FLAT_REAL, true, 4, { 0xffff037f, 0xffff3800, 0xffff3fff, 0xffff57f8, 0x000015fa,
                                0xffffe0f0, 0x00002000 } },
    };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        /* fnstenv [bx] or [edi]; hlt */
        const uint8_t code[] = { 0x66, 0xd9, 0x37, 0xf4 };
        uint32_t got[7] = { 0 };

        flat_enter(m, rows[i].mode, 0, TABLES);
        cpu->cr0 |= CR0_NE;
        cpu->fpu = (struct cpu_fpu){ .control = 0x37f, .status = 0x3800, .mxcsr = MXCSR_DEFAULT };
        cpu->fpu.valid = 0x80;
        cpu->fpu.st[7].ld = 1;
        cpu->fpu.opcode = 0x5fa;
        cpu->fpu.cs = 0x18;
        cpu->fpu.ds = 0x20;
        cpu->fpu.ip = rows[i].mode == FLAT_REAL ? 0x15678 : 0x12345678;
        cpu->fpu.dp = rows[i].mode == FLAT_REAL ? 0x2def0 : 0x9abcdef0;
        memcpy(m->ram + 0x1000, code + !rows[i].prefix, sizeof(code) - !rows[i].prefix);
        if (m->code[1] & 1)
            cpu_code_written(&m->code[1]);
        cpu->regs[REG_RIP] = 0x1000;
        cpu->regs[REG_RBX] = cpu->regs[REG_RDI] = 0x800;
        cpu_set_rflags(cpu, FLAG_ONE);
        assert_int_equal(cpu_run(cpu), CPU_EXIT_HLT);
        for (unsigned w = 0; w < 7; w++) {
            memcpy(&got[w], m->ram + 0x800 + w * rows[i].size, rows[i].size);
            if (got[w] != rows[i].words[w])
                fail_msg("row %zu, word %u: %x, not %x", i, w, got[w], rows[i].words[w]);
        }
    }
}

static void test_state_survives_save_and_restore(void **state)
{
    struct flat_machine *m = *state;
    struct cpu_fpu before;

    /* fldpi; fld1; fnsave [rdi]; frstor [rdi] */
    assert_int_equal(RUN64(m, 0xd9, 0xeb, 0xd9, 0xe8, 0xdd, 0x37, 0xdd, 0x27), NO_FAULT);
    before = m->cpu->fpu;
    assert_int_equal(before.status >> 11 & 7, 6);
    assert_int_equal(before.valid, 0xc0);
    assert_int_equal(before.st[7].mantissa, 0xc90fdaa22168c235);
    /* fnsave leaves a fresh unit behind */
    assert_int_equal(RUN64(m, 0xd9, 0xe8, 0xdd, 0x37), NO_FAULT);
    assert_int_equal(m->cpu->fpu.valid, 0);
    assert_int_equal(m->cpu->fpu.control, 0x37f);
}

/* XRSTOR with RDX:RAX = features on an image at DATA. */
static int run_xrstor(struct flat_machine *m, uint64_t features, uint64_t xcr0, uint64_t address)
{
    static const uint8_t code[] = { 0x48, 0x0f, 0xae, 0x2f };

    enter64(m, code, sizeof(code));
    m->cpu->cr4 |= CR4_OSXSAVE;
    m->cpu->xcr0 = xcr0;
    m->cpu->regs[REG_RAX] = features;
    m->cpu->regs[REG_RDX] = features >> 32;
    m->cpu->regs[REG_RDI] = address;
    memset(m->cpu->fpu.xmm, 0x5a, sizeof(m->cpu->fpu.xmm));
    m->cpu->fpu.valid = 0xff;
    return run(m, sizeof(code));
}

static void make_image(struct flat_machine *m, uint64_t xstate_bv)
{
    memset(m->ram + DATA, 0, 1024);
    flat_write32(m, DATA, 0x027f);
    flat_write32(m, DATA + 24, MXCSR_DEFAULT | 1 << 13);
    flat_write64(m, DATA + 160, 0x1122334455667788);
    flat_write64(m, DATA + 512, xstate_bv);
}

static void test_xrstor_loads_or_resets(void **state)
{
    struct flat_machine *m = *state;
    struct cpu_fpu *fpu = &m->cpu->fpu;

    make_image(m, 3);
    assert_int_equal(run_xrstor(m, 3, 3, DATA), NO_FAULT);
    assert_int_equal(fpu->control, 0x27f);
    assert_int_equal(fpu->mxcsr, MXCSR_DEFAULT | 1 << 13);
    assert_int_equal(fpu->xmm[0].u64[0], 0x1122334455667788);

    make_image(m, 0);                       /* nothing there: reset values, MXCSR loaded */
    assert_int_equal(run_xrstor(m, 3, 3, DATA), NO_FAULT);
    assert_int_equal(fpu->control, 0x37f);
    assert_int_equal(fpu->valid, 0);
    assert_int_equal(fpu->mxcsr, MXCSR_DEFAULT | 1 << 13);
    assert_int_equal(fpu->xmm[0].u64[0], 0);

    make_image(m, 3);                       /* not asked for: stays */
    assert_int_equal(run_xrstor(m, 1, 3, DATA), NO_FAULT);
    assert_int_equal(fpu->control, 0x27f);
    assert_int_equal(fpu->mxcsr, MXCSR_DEFAULT);
    assert_int_equal(fpu->xmm[0].u64[0], 0x5a5a5a5a5a5a5a5a);

    make_image(m, 1);                       /* XCR0 limits what is asked for */
    assert_int_equal(run_xrstor(m, UINT64_MAX, 1, DATA), NO_FAULT);
    assert_int_equal(fpu->xmm[0].u64[0], 0x5a5a5a5a5a5a5a5a);
}

static void test_xrstor_refuses_bad_images(void **state)
{
    struct flat_machine *m = *state;

    make_image(m, 7);                       /* a component that XCR0 hasn't */
    assert_int_equal(run_xrstor(m, 3, 3, DATA), VECTOR_GP);
    make_image(m, 3);
    assert_int_equal(run_xrstor(m, 3, 3, DATA + 16), VECTOR_GP);
    flat_write64(m, DATA + 520, 1ull << 63);        /* compacted */
    assert_int_equal(run_xrstor(m, 3, 3, DATA), VECTOR_GP);
    make_image(m, 3);
    flat_write32(m, DATA + 24, 1 << 16);
    assert_int_equal(run_xrstor(m, 3, 3, DATA), VECTOR_GP);
    assert_int_equal(m->cpu->fpu.xmm[0].u64[0], 0x5a5a5a5a5a5a5a5a);
}

static void test_user_space_image(void **state)
{
    struct flat_machine *m = *state;
    uint8_t area[576], again[576];

    assert_int_equal(RUN64(m, 0xd9, 0xeb, 0xd9, 0xe8), NO_FAULT);
    m->cpu->fpu.xmm[15].u64[1] = 0x0123456789abcdef;
    cpu_xsave(m->cpu, area);
    cpu_reset(m->cpu);
    assert_true(cpu_xrstor(m->cpu, area));
    cpu_xsave(m->cpu, again);
    assert_memory_equal(area, again, sizeof(area));
    assert_int_equal(m->cpu->fpu.xmm[15].u64[1], 0x0123456789abcdef);

    area[512] = 7;                          /* a component that isn't there */
    assert_false(cpu_xrstor(m->cpu, area));
    area[512] = 3;
    area[26] = 1;                           /* MXCSR bit 16 */
    assert_false(cpu_xrstor(m->cpu, area));
    cpu_xsave(m->cpu, area);
    assert_memory_equal(area, again, sizeof(area));
}

/* The guest rounds up and collects #P; the host's environment is none of its business. */
static void test_host_environment_is_kept(void **state)
{
    static const uint8_t code[] = { 0xf2, 0x0f, 0x5e, 0xc1 };   /* divsd xmm0, xmm1 */
    struct flat_machine *m = *state;
    uint32_t saved = host_mxcsr();

    host_set_mxcsr(MXCSR_DEFAULT | 1 << MXCSR_RC_SHIFT);        /* down */
    enter64(m, code, sizeof(code));
    m->cpu->fpu.mxcsr = MXCSR_DEFAULT | 2 << MXCSR_RC_SHIFT;    /* up */
    m->cpu->fpu.xmm[0].f64[0] = 1;
    m->cpu->fpu.xmm[1].f64[0] = 3;
    assert_int_equal(run(m, sizeof(code)), NO_FAULT);
    assert_int_equal(host_mxcsr(), MXCSR_DEFAULT | 1 << MXCSR_RC_SHIFT);
    host_set_mxcsr(saved);
    assert_int_equal(m->cpu->fpu.xmm[0].u64[0], 0x3fd5555555555556);
    assert_int_equal(m->cpu->fpu.mxcsr, MXCSR_DEFAULT | 2 << MXCSR_RC_SHIFT | MXCSR_PE);
}

/* Sixteen bytes of MMIO, and of two pages. */
static void test_wide_accesses(void **state)
{
    struct flat_machine *m = *state;

    m->mmio_value = 0x8877665544332211;
    /* mov edi, 0x10000000; movups xmm0, [rdi] */
    assert_int_equal(RUN64(m, 0xbf, 0, 0, 0, 0x10, 0x0f, 0x10, 0x07), NO_FAULT);
    assert_int_equal(m->cpu->fpu.xmm[0].u64[0], 0x8877665544332211);
    /* movups [rdi + 0xff8], xmm0 */
    memset(m->ram + DATA, 0, 0x2000);
    assert_int_equal(RUN64(m, 0x0f, 0x57, 0xc0, 0x0f, 0xc2, 0xc0, 0x00, 0x0f, 0x11, 0x87, 0xf8, 0x0f,
                           0, 0), NO_FAULT);
    assert_int_equal(flat_read64(m, DATA + 0xff8), UINT64_MAX);
    assert_int_equal(flat_read64(m, DATA + 0x1000), UINT64_MAX);
    assert_int_equal(flat_read64(m, DATA + 0x1008), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unavailable_units_fault, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numeric_error_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unmasked_sse_exception_leaves_destination, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_last_operand_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environment_formats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state_survives_save_and_restore, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xrstor_loads_or_resets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xrstor_refuses_bad_images, setup, teardown),
        cmocka_unit_test_setup_teardown(test_user_space_image, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host_environment_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wide_accesses, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
