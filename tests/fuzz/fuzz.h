/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a fuzz target provides, for libFuzzer and for standalone.c. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Seed n, NULL after the last: inputs that reach deep, which mutation starts from. */
const uint8_t *fuzz_seed(unsigned n, size_t *size);

#endif
