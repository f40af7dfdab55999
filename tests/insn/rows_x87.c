/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* x87 and MMX. */
#include "insn_test.h"

const struct row rows_x87[] = {
    { "d8 c1", "fadd st0,st1", .kind = K_F80, .flags = R_X87 },
};
const size_t rows_x87_count = sizeof(rows_x87) / sizeof(rows_x87[0]);
