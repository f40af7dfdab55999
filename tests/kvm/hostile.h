/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A caller that means no good: its descriptors, its memory and the arguments that it
 * makes up.  Everything random comes from a seed.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "driver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);
/* 0 to n - 1. */
unsigned rng_below(struct rng *rng, unsigned n);
static inline bool rng_one_in(struct rng *rng, unsigned n)
{
    return rng_below(rng, n) == 0;
}

/*
 * Memory: guest is what slots may be made of, so a guest may write anything there;
 * arguments is one thread's, and what lies behind it can't be reached.
 */
enum { GUEST_SIZE = 4 << 20, ARGUMENT_SIZE = 64 << 10 };

extern uint8_t *guest_memory;

bool hostile_memory_init(void);
uint8_t *new_argument_memory(void);

/* Descriptors known so far; any of them (or none of them) at random. */
enum { MAX_DESCRIPTORS = 96 };

void descriptors_add(int fd);
unsigned descriptors_count(void);
int descriptors_any(struct rng *rng);
/* One that nobody else will get any more, to be closed; -1: there is none. */
int descriptors_take(struct rng *rng);

/* An argument for the request: a number, a bad address, or a structure in memory. */
unsigned long make_argument(struct rng *rng, unsigned long request, uint8_t *memory);

#endif
