/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SSE to SSE4.2. */
#include "insn_test.h"

const struct row rows_sse[] = {
    { "0f 58 /r", "addps xmm,xmm/m128", .kind = K_F32, .mem = 16, .flags = R_ALIGN | R_SSE },
};
const size_t rows_sse_count = sizeof(rows_sse) / sizeof(rows_sse[0]);
