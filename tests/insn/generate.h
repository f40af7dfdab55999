/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef INSN_GENERATE_H
#define INSN_GENERATE_H

#include "insn_test.h"

/* Make a test of test->row and put its code and operands in both arenas.  False: a bad row. */
bool generate(struct test *test);

/* compare.c: true when nothing differs, else compare_report() says what. */
bool compare(const struct test *test, const struct outcome *host, const struct outcome *ours,
             uint32_t undefined_flags);
const char *compare_report(void);

#endif
