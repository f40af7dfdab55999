/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CPUID and MSRs: what is announced is consistent and has opcodes, what isn't
 * announced doesn't, values that hardware refuses are refused.
 */
#include "flat_machine.h"
#include "opcode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { EAX, EBX, ECX, EDX };

static void query(uint32_t leaf, uint32_t regs[4])
{
    flat_cpuid(NULL, leaf, 0, regs);
}

static void test_leaves(void **state)
{
    struct cpuid_entry entries[64], one;
    size_t n = cpu_supported_cpuid(entries, 64);
    uint32_t regs[4];
    char brand[49] = "";

    assert_true(n > 0 && n <= 64);
    /* The number is the same where there is no room, and nothing is written beyond. */
    assert_int_equal(cpu_supported_cpuid(&one, 1), n);
    for (size_t i = 0; i < n; i++) {
        uint32_t base = entries[i].leaf & 0xf0000000;

        query(base, regs);
        assert_true(entries[i].leaf <= regs[EAX]);
        for (size_t j = i + 1; j < n; j++)
            assert_false(entries[i].leaf == entries[j].leaf &&
                         entries[i].subleaf == entries[j].subleaf);
    }
    for (uint32_t i = 0; i < 3; i++)
        query(0x80000002 + i, (uint32_t *)(brand + i * 16));
    assert_non_null(strstr(brand, "softkvm"));
}

struct feature {
    uint32_t leaf;
    unsigned reg, bit;
    bool announced;
};

/* x86-64-v2 and what the system side brings; nothing with a VEX prefix. */
static void test_features(void **state)
{
    static const struct feature features[] = {
        { 1, EDX, 0, true }, { 1, EDX, 6, true }, { 1, EDX, 8, true }, { 1, EDX, 15, true },
        { 1, EDX, 23, true }, { 1, EDX, 24, true }, { 1, EDX, 25, true }, { 1, EDX, 26, true },
        { 1, ECX, 0, true }, { 1, ECX, 9, true }, { 1, ECX, 13, true }, { 1, ECX, 19, true },
        { 1, ECX, 20, true }, { 1, ECX, 23, true }, { 1, ECX, 26, true }, { 1, ECX, 31, true },
        { 0x80000001, ECX, 0, true }, { 0x80000001, EDX, 29, true },
        { 0x80000001, EDX, 20, true }, { 0x80000001, EDX, 11, true }, { 7, EBX, 7, true },
        { 7, EBX, 20, true }, { 1, ECX, 3, false }, { 1, ECX, 5, false }, { 1, ECX, 12, false },
        { 1, ECX, 17, false }, { 1, ECX, 28, false }, { 1, ECX, 29, false }, { 7, EBX, 5, false },
        { 7, EBX, 10, false }, { 7, EBX, 16, false }, { 7, ECX, 16, true },
    };
    uint32_t regs[4];

    for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        query(features[i].leaf, regs);
        if (!!(regs[features[i].reg] >> features[i].bit & 1) != features[i].announced)
            fail_msg("leaf %x register %u bit %u", features[i].leaf, features[i].reg,
                     features[i].bit);
    }
}

/* An instruction of each feature is in the opcode table exactly if the feature is announced. */
static void test_features_have_opcodes(void **state)
{
    static const struct {
        struct feature feature;
        enum opcode_map map;
        uint8_t opcode;
        unsigned prefix;
        uint8_t modrm;
    } rows[] = {
        { { 1, ECX, 1, false }, MAP_0F3A, 0x44, PFX_66, 0xc1 },     /* PCLMULQDQ */
        { { 1, ECX, 22, true }, MAP_0F38, 0xf0, PFX_NP, 0x00 },     /* MOVBE */
        { { 1, ECX, 13, true }, MAP_0F, 0xc7, PFX_NP, 0x08 },       /* CMPXCHG16B */
        { { 1, ECX, 23, true }, MAP_0F, 0xb8, PFX_F3, 0xc1 },       /* POPCNT */
        { { 1, ECX, 25, false }, MAP_0F38, 0xdc, PFX_66, 0xc1 },    /* AESENC */
        { { 1, ECX, 30, true }, MAP_0F, 0xc7, PFX_NP, 0xf0 },       /* RDRAND */
        { { 7, EBX, 18, true }, MAP_0F, 0xc7, PFX_NP, 0xf8 },       /* RDSEED */
        { { 7, EBX, 0, true }, MAP_0F, 0xae, PFX_F3, 0xc0 },        /* RDFSBASE */
        { { 7, EBX, 20, true }, MAP_0F, 0x01, PFX_NP, 0xca },       /* CLAC */
        { { 7, EBX, 10, false }, MAP_0F38, 0x82, PFX_66, 0x00 },    /* INVPCID */
        { { 7, EBX, 19, false }, MAP_0F38, 0xf6, PFX_66, 0xc1 },    /* ADCX */
        { { 7, ECX, 22, true }, MAP_0F, 0xc7, PFX_F3, 0xf8 },       /* RDPID */
        { { 0x80000001, ECX, 8, true }, MAP_0F, 0x0d, PFX_NP, 0x08 },   /* PREFETCHW */
        { { 0x80000001, EDX, 27, true }, MAP_0F, 0x01, PFX_NP, 0xf9 },  /* RDTSCP */
        { { 0x80000001, EDX, 11, true }, MAP_0F, 0x05, PFX_NP, 0 },     /* SYSCALL */
        { { 1, EDX, 11, true }, MAP_0F, 0x34, PFX_NP, 0 },              /* SYSENTER */
    };
    uint32_t regs[4];

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct feature *f = &rows[i].feature;
        bool announced;

        query(f->leaf, regs);
        announced = regs[f->reg] >> f->bit & 1;
        assert_int_equal(announced, f->announced);
        if (!!opcode_find(rows[i].map, rows[i].opcode, rows[i].prefix, rows[i].modrm, true) !=
            announced)
            fail_msg("row %u: opcode %x", i, rows[i].opcode);
    }
}

static int setup(void **state)
{
    *state = flat_machine_new(1 << 20);
    return 0;
}

static int teardown(void **state)
{
    flat_machine_free(*state);
    return 0;
}

static void test_msr_values(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t value;
        bool ok;
    } writes[] = {
        { 0x277, 0x0007040600070406, true }, { 0x277, 0x0207040600070406, false },
        { 0x277, 0x0907040600070406, false },
        { 0x2ff, 0xc06, true }, { 0x2ff, 0x1000, false }, { 0x2ff, 2, false },
        { 0x200, 0x80000006, true }, { 0x200, 0x80000002, false }, { 0x200, 1ull << 46, false },
        { 0x201, 0x3fff80000800, true }, { 0x201, 0x400, false },
        { 0x250, 0x0606060606060606, true }, { 0x26f, 0x0706060606060606, false },
        { 0xc0000082, 0xffffffff81000000, true }, { 0xc0000082, 0x8000000000000000, false },
        { 0xc0000100, 0x7fffffffffff, true }, { 0xc0000101, 0x800000000000, false },
        { 0xc0000084, 0x47700, true }, { 0xc0000084, 1ull << 32, false },
        { 0xc0000080, 0x901, true }, { 0xc0000080, 0x2, false },
        { 0x400, 0, true }, { 0x400, 1, false }, { 0x401, 0, true }, { 0x401, 1, false },
        { 0x402, 123, true }, { 0x400 + 4 * CPU_MCE_BANKS, 0, false }, { 0x17b, 0, false },
        { 0x8b, 0, true }, { 0x10a, 0, false }, { 0xfe, 0, false }, { 0x179, 0, false },
        { 0x12345, 0, false },
    };
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;

    for (unsigned i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        uint64_t before = 0, after = 0;
        bool readable = cpu_msr_read(cpu, writes[i].index, &before);

        if (cpu_msr_write(cpu, writes[i].index, writes[i].value, false) != writes[i].ok)
            fail_msg("write %x = %lx", writes[i].index, (unsigned long)writes[i].value);
        assert_int_equal(cpu_msr_read(cpu, writes[i].index, &after), readable);
        if (!writes[i].ok)
            assert_int_equal(after, before);
        else if (writes[i].index != 0x8b)
            assert_int_equal(after, writes[i].value);
    }
    /* EFER.LMA isn't the guest's to write. */
    assert_true(cpu_msr_write(cpu, 0xc0000080, 0x500, false));
    assert_int_equal(cpu->efer, 0x100);
    assert_true(cpu_msr_write(cpu, 0xc0000080, 0x500, true));
    assert_int_equal(cpu->efer, 0x500);
    assert_true(cpu->long_mode);
}

static void test_reset_values(void **state)
{
    struct cpu *cpu = ((struct flat_machine *)*state)->cpu;
    uint64_t value;

    cpu->cr0 = 0x80000011;
    cpu->pat = 1;
    cpu->lstar = 5;
    cpu_init(cpu);
    /* INIT keeps MSRs, and the cache bits of CR0. */
    assert_int_equal(cpu->cr0, 0x10);
    assert_int_equal(cpu->lstar, 5);
    cpu_reset(cpu);
    assert_int_equal(cpu->cr0, 0x60000010);
    assert_int_equal(cpu->seg[SEG_CS].base + cpu->regs[REG_RIP], 0xfffffff0);
    assert_int_equal(cpu->seg[SEG_CS].selector, 0xf000);
    assert_int_equal(cpu_rflags(cpu), 2);
    assert_int_equal(cpu->code_size, 2);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->lstar, 0);
    assert_int_equal(cpu->dr[6], 0xffff0ff0);
    assert_int_equal(cpu->dr[7], 0x400);
    assert_int_equal(cpu->xcr0, 1);
    assert_int_equal(cpu->fpu.mxcsr, 0x1f80);
    assert_true(cpu_msr_read(cpu, 0x277, &value));
    assert_int_equal(value, 0x0007040600070406);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_features_have_opcodes),
        cmocka_unit_test_setup_teardown(test_msr_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_values, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
