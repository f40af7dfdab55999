/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Integer instructions. */
#include "insn_test.h"

enum { RAX = 1 << 0, RCX = 1 << 1, RDX = 1 << 2, RSI = 1 << 6, RDI = 1 << 7 };

const struct row rows_integer[] = {
    { "00 /r", "add r/m8,r8", .mem = 1 },
    { "v 01 /r", "add r/m,r" },
    { "f0 v 01 /r", "lock add m,r", .flags = R_MEM },
    { "v 81 /4 iz", "and r/m,imm" },
    { "v 89 /r", "mov r/m,r" },
    { "v 8b /r", "mov r,r/m" },
    { "v b8 +r iz", "mov r,imm" },
    { "v d3 /4", "shl r/m,cl" },
    { "v f7 /6", "div r/m", .pinned = RAX | RDX, .setup = setup_divide },
    { "v 0f b1 /r", "cmpxchg m,r", .flags = R_MEM, .pinned = RAX | RDX,
      .setup = setup_near_equal },
    /* Not 32-bit ones: processors differ on whether inequality clears the upper half. */
    { "W 0f b1 /r", "cmpxchg r,r", .flags = R_REG, .pinned = RAX | RDX, .setup = setup_near_equal },
    { "?f3 a4", "rep movsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "50 +r", "push r" },
    { "0f 0b", "ud2" },
    { "cc", "int3" },
};
const size_t rows_integer_count = sizeof(rows_integer) / sizeof(rows_integer[0]);
