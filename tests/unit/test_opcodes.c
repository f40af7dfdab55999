/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The opcode table: no two rows match the same bytes, and every row is well formed. */
#include "opcode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_rows_do_not_conflict(void **state)
{
    unsigned conflicts = 0;

    for (size_t i = 0; i < nr_opcodes; i++)
        for (size_t j = i + 1; j < nr_opcodes; j++)
            if (opcode_conflict(&opcodes[i], &opcodes[j])) {
                print_error("rows %zu (%s %s) and %zu (%s %s) match the same bytes\n",
                            i, opcodes[i].name, opcodes[i].operands,
                            j, opcodes[j].name, opcodes[j].operands);
                conflicts++;
            }
    assert_int_equal(conflicts, 0);
}

static void test_conflict_detected(void **state)
{
    struct opcode mem = { .map = MAP_0F, .opcode = 0xae, .prefix = PFX_NP, .digit = DIGIT_5,
                          .rm = RM_MEM, .attrs = MODRM };
    struct opcode reg = mem, mandatory = mem, legacy = mem, longm = mem, span = { 0 }, one = { 0 };

    assert_true(opcode_conflict(&mem, &mem));
    reg.rm = RM_REG;
    assert_false(opcode_conflict(&mem, &reg));
    mandatory.prefix = PFX_F3;
    assert_false(opcode_conflict(&mem, &mandatory));
    mandatory.prefix = PFX_ANY;
    assert_true(opcode_conflict(&mem, &mandatory));
    legacy.attrs |= NO64;
    longm.attrs |= ONLY64;
    assert_false(opcode_conflict(&legacy, &longm));
    assert_true(opcode_conflict(&legacy, &mem));

    span = (struct opcode){ .opcode = 0x50, .prefix = PFX_ANY, .attrs = LOW3 };
    one = (struct opcode){ .opcode = 0x57, .prefix = PFX_ANY };
    assert_true(opcode_conflict(&span, &one));
    assert_true(opcode_conflict(&one, &span));
    one.opcode = 0x58;
    assert_false(opcode_conflict(&span, &one));
}

static bool row_is_well_formed(const struct opcode *op)
{
    uint32_t imm = op->attrs & IMM_MASK;
    bool has_imm;

    if (!op->name || !op->body || !op->operands || !op->prefix || !op->digit || !op->rm)
        return false;
    if (!(op->attrs & MODRM) && (op->digit != DIGIT_ANY || op->rm != RM_ANY))
        return false;
    if ((op->attrs & LOCK_OK) && !(op->attrs & MODRM))
        return false;
    if ((op->attrs & SETS_RIP) && !(op->attrs & ENDS))
        return false;
    if ((op->attrs & LOW3 && op->opcode & 7) || (op->attrs & LOW4 && op->opcode & 15))
        return false;
    /* The operand column and the attributes tell the same story. */
    has_imm = strpbrk(op->operands, "IJO") || strstr(op->operands, "Ap");
    return has_imm == (imm != 0);
}

static void test_rows_are_well_formed(void **state)
{
    unsigned bad = 0;

    for (size_t i = 0; i < nr_opcodes; i++)
        if (!row_is_well_formed(&opcodes[i])) {
            print_error("row %zu (%s %s) contradicts itself\n", i, opcodes[i].name,
                        opcodes[i].operands);
            bad++;
        }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_do_not_conflict),
        cmocka_unit_test(test_conflict_detected),
        cmocka_unit_test(test_rows_are_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
