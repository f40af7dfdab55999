/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The counter that guests' TSCs are made of.
 *
 * The host's own TSC where it is invariant (CPUID 0x80000007) and the kernel
 * keeps its own time by it, which it does only as long as the processors agree:
 * then a guest's TSC and RDTSC in the program count alike, as in KVM.  Elsewhere
 * CLOCK_MONOTONIC in nanoseconds.
 */
#ifndef SOFTKVM_HOST_TICKS_H
#define SOFTKVM_HOST_TICKS_H

#include <stdbool.h>
#include <stdint.h>

/* Ticks a millisecond; the first call takes 10 ms to find out.  Any thread. */
uint32_t host_ticks_khz(void);
/* Now. Never runs backwards, also when the processor's TSC does (after a suspend). */
uint64_t host_ticks(void);
/* As many ticks of a counter of khz. */
uint64_t host_ticks_scale(uint64_t ticks, uint32_t khz);

/* Are they the processor's? */
bool host_ticks_are_tsc(void);
/* For tests, before all else: CLOCK_MONOTONIC in any case. */
void host_ticks_use_clock(void);

#endif
