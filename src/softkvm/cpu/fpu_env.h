/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's floating-point environment while a guest runs.
 *
 * SSE arithmetic is done by the compiler's float and double.  From fpu_enter() to
 * fpu_leave() the host rounds and flushes as the guest's MXCSR says, with every
 * exception masked, and collects the exception flags; they are folded into the
 * guest's MXCSR when somebody looks (fpu_sync()).  So an addition costs an
 * addition.  Who needs host floating point inside cpu_run() for other purposes
 * saves and restores this.
 *
 * On hosts without MXCSR the C library's environment stands in: no denormal flag,
 * no flushing.
 */
#ifndef SOFTKVM_FPU_ENV_H
#define SOFTKVM_FPU_ENV_H

#include "cpu.h"

enum {
    MXCSR_IE = 1 << 0, MXCSR_DE = 1 << 1, MXCSR_ZE = 1 << 2, MXCSR_OE = 1 << 3, MXCSR_UE = 1 << 4,
    MXCSR_PE = 1 << 5, MXCSR_FLAGS = 0x3f, MXCSR_DAZ = 1 << 6, MXCSR_MASK_SHIFT = 7,
    MXCSR_MASKS = MXCSR_FLAGS << MXCSR_MASK_SHIFT, MXCSR_RC_SHIFT = 13, MXCSR_RC = 3 << 13,
    MXCSR_FTZ = 1 << 15, MXCSR_DEFAULT = 0x1f80, MXCSR_VALID = 0xffff,
};

#if defined(__x86_64__) || defined(__SSE__)
#include <xmmintrin.h>

static inline uint32_t host_mxcsr(void)
{
    return _mm_getcsr();
}

static inline void host_set_mxcsr(uint32_t value)
{
    _mm_setcsr(value);
}
#else
uint32_t host_mxcsr(void);
void host_set_mxcsr(uint32_t value);
#endif

/* Add exception flags that were found by other means than host arithmetic. */
static inline void host_raise(uint32_t flags)
{
    uint32_t now = host_mxcsr();

    if (flags & ~now)
        host_set_mxcsr(now | flags);
}

/* Make the host compute as the guest's MXCSR says; forgets collected flags. */
static inline void fpu_apply(const struct cpu *cpu)
{
    uint32_t mxcsr = cpu->fpu.mxcsr, host = MXCSR_MASKS | (mxcsr & (MXCSR_RC | MXCSR_DAZ));

    /* Flushing is a masked response to underflow. */
    if (mxcsr & MXCSR_UE << MXCSR_MASK_SHIFT)
        host |= mxcsr & MXCSR_FTZ;
    host_set_mxcsr(host);
}

/* Fold what was collected into the guest's MXCSR. */
static inline void fpu_sync(struct cpu *cpu)
{
    cpu->fpu.mxcsr |= host_mxcsr() & MXCSR_FLAGS;
}

/* Around running the guest; fpu_leave() gets what fpu_enter() returned. */
static inline uint32_t fpu_enter(const struct cpu *cpu)
{
    uint32_t saved = host_mxcsr();

    fpu_apply(cpu);
    return saved;
}

static inline void fpu_leave(struct cpu *cpu, uint32_t saved)
{
    fpu_sync(cpu);
    host_set_mxcsr(saved);
}

#endif
