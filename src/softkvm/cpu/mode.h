/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Control bits, and the modes that they and the segments add up to
 * (SDM vol. 3, sections 2.2 and 2.5).
 */
#ifndef SOFTKVM_CPU_MODE_H
#define SOFTKVM_CPU_MODE_H

#include "cpu.h"

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)

#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_LA57 (1u << 12)
#define CR4_FSGSBASE (1u << 16)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)

#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

/* Error codes of #PF, and the EXT and IDT bits of those that name a selector. */
enum {
    PF_P = 1 << 0, PF_W = 1 << 1, PF_U = 1 << 2, PF_RSVD = 1 << 3, PF_I = 1 << 4,
    ERROR_EXT = 1 << 0, ERROR_IDT = 1 << 1,
};

/* Types of system descriptors; the 32-bit ones are 64-bit ones in long mode. */
enum {
    DESC_TSS16 = 1, DESC_LDT = 2, DESC_TSS16_BUSY = 3, DESC_CALL16 = 4, DESC_TASK = 5,
    DESC_INT16 = 6, DESC_TRAP16 = 7, DESC_TSS = 9, DESC_TSS_BUSY = 11, DESC_CALL = 12,
    DESC_INT = 14, DESC_TRAP = 15,
    /* Bits of the type of code and data descriptors. */
    SEG_TYPE_ACCESSED = 1, SEG_TYPE_WRITE = 2, SEG_TYPE_READ = 2, SEG_TYPE_DOWN = 4,
    SEG_TYPE_CONFORMING = 4, SEG_TYPE_CODE = 8,
};

static inline bool mode_protected(const struct cpu *cpu)
{
    return cpu->cr0 & CR0_PE;
}

static inline bool mode_vm86(const struct cpu *cpu)
{
    return cpu->flags & FLAG_VM;
}

/* Real mode or virtual-8086: segments are selectors times 16. */
static inline bool mode_real_segments(const struct cpu *cpu)
{
    return !mode_protected(cpu) || mode_vm86(cpu);
}

static inline bool mode_64(const struct cpu *cpu)
{
    return cpu->code_size == 8;
}

static inline unsigned cpu_iopl(const struct cpu *cpu)
{
    return (cpu->flags & FLAG_IOPL) >> 12;
}

static inline unsigned segment_dpl(const struct cpu_segment *segment)
{
    return (segment->ar & SEG_AR_DPL) >> SEG_AR_DPL_SHIFT;
}

#endif
