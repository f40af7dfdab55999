/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a fuzz target provides, for libFuzzer and for standalone.c. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Seed n, NULL after the last: inputs that reach deep, which mutation starts from. */
const uint8_t *fuzz_seed(unsigned n, size_t *size);

/* For targets whose input is a program: what is left of it. */
struct input {
    const uint8_t *data;
    size_t size;
};

/* Little-endian; zeroes where it has ended. */
static inline uint64_t take(struct input *in, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes && in->size; i++, in->data++, in->size--)
        value |= (uint64_t)*in->data << 8 * i;
    return value;
}

static inline void fail_unless(bool ok)
{
    if (!ok)
        abort();
}

#endif
