/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SSE floating point: kernels may raise exception flags, which collect in the
 * host's MXCSR (fpu_env.h).  With all of the guest's exceptions masked that is
 * all there is to it; otherwise a kernel runs under sse_checked(), which tells
 * whether the instruction is to fault, and its result is used only when not.
 */
#ifndef SOFTKVM_SSE_FLOAT_H
#define SOFTKVM_SSE_FLOAT_H

#include "sse.h"

typedef union cpu_xmm float_kernel(union cpu_xmm a, union cpu_xmm b, unsigned imm);

/* What of the result can be tiny, for an unmasked underflow that is exact. */
enum sse_result { RESULT_OTHER, RESULT_PS, RESULT_SS, RESULT_PD, RESULT_SD };

/* #XM (or #UD) when an unmasked exception comes up; else *r is the result. */
enum cpu_status sse_checked(struct cpu *cpu, float_kernel *kernel, const union cpu_xmm *a,
                            const union cpu_xmm *b, unsigned imm, enum sse_result result,
                            union cpu_xmm *r);

SSE_INLINE bool sse_all_masked(const struct cpu *cpu)
{
    return likely((cpu->fpu.mxcsr & MXCSR_MASKS) == MXCSR_MASKS);
}

/* xmm = kernel(xmm, source of size_ bytes, imm8) */
#define FLOAT_OP(name_, kernel_, size_, how_, result_)                                      \
    SSE_INLINE enum cpu_status name_##_inline(struct cpu *cpu, const struct insn *insn,     \
                                              unsigned how)                                 \
    {                                                                                       \
        union cpu_xmm s, *d = &cpu->fpu.xmm[insn->reg];                                     \
        enum cpu_status status;                                                             \
                                                                                            \
        if (!sse_usable(cpu))                                                               \
            return sse_refuse(cpu, how);                                                    \
        status = sse_source(cpu, insn, size_, how | (how_), &s);                            \
        if (unlikely(status != CPU_OK))                                                     \
            return status;                                                                  \
        if (!sse_all_masked(cpu))                                                           \
            return how & SSE_FAST ? CPU_MISS                                                \
                                  : sse_checked(cpu, kernel_, d, &s, insn->imm, result_, d); \
        *d = kernel_(*d, s, insn->imm);                                                     \
        return CPU_OK;                                                                      \
    }                                                                                       \
    SSE_EXECUTORS(name_, name_##_inline)

/* Run a kernel whose operands and result are elsewhere than in two XMM registers. */
SSE_INLINE enum cpu_status float_run(struct cpu *cpu, float_kernel *kernel,
                                     const union cpu_xmm *a, const union cpu_xmm *b, unsigned imm,
                                     unsigned how, enum sse_result result, union cpu_xmm *r)
{
    if (!sse_all_masked(cpu))
        return how & SSE_FAST ? CPU_MISS : sse_checked(cpu, kernel, a, b, imm, result, r);
    *r = kernel(*a, *b, imm);
    return CPU_OK;
}

enum {
    F32_QUIET = 1u << 22, F32_DEFAULT_NAN = 0xffc00000u,
};
#define F64_QUIET (1ull << 51)
#define F64_DEFAULT_NAN 0xfff8000000000000ull

static inline bool f32_is_nan(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

static inline bool f64_is_nan(uint64_t bits)
{
    return (bits & INT64_MAX) > 0x7ff0000000000000;
}

#endif
