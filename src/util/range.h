/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arithmetic on address ranges: (start, size) at interfaces, half-open inside. */
#ifndef UTIL_RANGE_H
#define UTIL_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#define KIB (1ULL << 10)
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)
#define TIB (1ULL << 40)

enum { GUEST_PAGE_SIZE = 4096 };

/* start + size passes 2^64. A range that ends exactly there counts as wrapping, as in KVM. */
static inline bool range_wraps(uint64_t start, uint64_t size)
{
    return start + size < start;
}

static inline bool is_aligned(uint64_t value, uint64_t alignment)
{
    return (value & (alignment - 1)) == 0;
}

/* [start, start + size) lies within [0, limit). */
static inline bool range_within(uint64_t start, uint64_t size, uint64_t limit)
{
    return size <= limit && start <= limit - size;
}

static inline bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a_size && b_size && a < b + b_size && b < a + a_size;
}

#endif
