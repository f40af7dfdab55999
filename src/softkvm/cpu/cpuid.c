// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What this processor says that it is (SDM vol. 2, CPUID; AMD APM vol. 3,
 * appendix E).  Everything announced works; what is not announced here doesn't.
 *
 * Family, model and stepping are those of an in-order Atom: guests know that it
 * doesn't speculate and leave out what they do against speculation, of which a
 * processor in software has none either.
 *
 * x2APIC and TSC_ADJUST are the machine's to provide, through cpu_ops.
 */
#include "cpu.h"

#include <string.h>

#define BIT(n_) (1u << (n_))

enum {
    FAMILY_MODEL_STEPPING = 0x000106ca,     /* family 6, model 1ch, stepping 10 */
    LEAF_MAX = 0xd,
    EXTENDED_MAX = 0x80000008u - 0x80000000u,
    XSAVE_SIZE = 576,
};

/* Leaf 1. */
enum {
    ECX_SSE3 = 0, ECX_SSSE3 = 9, ECX_CX16 = 13, ECX_SSE4_1 = 19, ECX_SSE4_2 = 20,
    ECX_X2APIC = 21, ECX_MOVBE = 22, ECX_POPCNT = 23, ECX_XSAVE = 26, ECX_RDRAND = 30, ECX_HYPERVISOR = 31,
    EDX_FPU = 0, EDX_VME = 1, EDX_DE = 2, EDX_PSE = 3, EDX_TSC = 4, EDX_MSR = 5, EDX_PAE = 6,
    EDX_MCE = 7, EDX_CX8 = 8, EDX_APIC = 9, EDX_SEP = 11, EDX_MTRR = 12, EDX_PGE = 13,
    EDX_MCA = 14, EDX_CMOV = 15, EDX_PAT = 16, EDX_PSE36 = 17, EDX_CLFSH = 19, EDX_MMX = 23,
    EDX_FXSR = 24, EDX_SSE = 25, EDX_SSE2 = 26,
};

#define LEAF_1_ECX                                                                      \
    (BIT(ECX_SSE3) | BIT(ECX_SSSE3) | BIT(ECX_CX16) | BIT(ECX_SSE4_1) | BIT(ECX_SSE4_2) | \
     BIT(ECX_X2APIC) | BIT(ECX_MOVBE) | BIT(ECX_POPCNT) | BIT(ECX_XSAVE) |              \
     BIT(ECX_RDRAND) | BIT(ECX_HYPERVISOR))
#define LEAF_1_EDX                                                                      \
    (BIT(EDX_FPU) | BIT(EDX_VME) | BIT(EDX_DE) | BIT(EDX_PSE) | BIT(EDX_TSC) | BIT(EDX_MSR) | \
     BIT(EDX_PAE) | BIT(EDX_MCE) | BIT(EDX_CX8) | BIT(EDX_APIC) | BIT(EDX_SEP) |        \
     BIT(EDX_MTRR) | BIT(EDX_PGE) | BIT(EDX_MCA) | BIT(EDX_CMOV) | BIT(EDX_PAT) |       \
     BIT(EDX_PSE36) | BIT(EDX_CLFSH) | BIT(EDX_MMX) | BIT(EDX_FXSR) | BIT(EDX_SSE) |    \
     BIT(EDX_SSE2))

/*
 * Leaf 7: FSGSBASE, TSC_ADJUST, SMEP, ERMS, RDSEED, SMAP; UMIP, LA57, RDPID; FSRM,
 * ARCH_CAPABILITIES.
 */
#define LEAF_7_EBX (BIT(0) | BIT(1) | BIT(7) | BIT(9) | BIT(18) | BIT(20))
#define LEAF_7_ECX (BIT(2) | BIT(16) | BIT(22))
#define LEAF_7_EDX (BIT(4) | BIT(29))

/* Leaf 80000001: LAHF, PREFETCHW; SYSCALL, NX, 1 GiB pages, RDTSCP, LM. */
#define EXTENDED_ECX (BIT(0) | BIT(8))
#define EXTENDED_EDX (BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29))

/* The registers are filled from EAX on, as table columns. */
static const struct cpuid_entry leaves[] = {
    /* "GenuineIntel": ebx, edx, ecx */
    { 0x0, 0, false, LEAF_MAX, 0x756e6547, 0x6c65746e, 0x49656e69 },
    /* ebx: CLFLUSH works on 64 bytes, one logical processor; the VMM adds the APIC id. */
    { 0x1, 0, false, FAMILY_MODEL_STEPPING, 8 << 8 | 1 << 16, LEAF_1_ECX, LEAF_1_EDX },
    /* Caches are in leaf 4. */
    { 0x2, 0, false, 0x00000001, 0, 0, 0x000000ff },
    /* 32 KiB of data, 32 KiB of instructions, 512 KiB of both; 8 ways, lines of 64 bytes. */
    { 0x4, 0, true, 0x121, 7 << 22 | 63, 63, 0 },
    { 0x4, 1, true, 0x122, 7 << 22 | 63, 63, 0 },
    { 0x4, 2, true, 0x143, 7 << 22 | 63, 1023, 0 },
    { 0x4, 3, true, 0, 0, 0, 0 },
    /* The APIC's timer never stops. */
    { 0x6, 0, false, BIT(2), 0, 0, 0 },
    { 0x7, 0, true, 0, LEAF_7_EBX, LEAF_7_ECX, LEAF_7_EDX },
    /* x87 and SSE state in the standard format. */
    { 0xd, 0, true, 3, XSAVE_SIZE, XSAVE_SIZE, 0 },
    { 0xd, 1, true, 0, 0, 0, 0 },
    { 0x80000000, 0, false, 0x80000000u + EXTENDED_MAX, 0, 0, 0 },
    { 0x80000001, 0, false, 0, 0, EXTENDED_ECX, EXTENDED_EDX },
    /* 512 KiB of second level, 8 ways, lines of 64 bytes. */
    { 0x80000006, 0, false, 0, 0, 512 << 16 | 6 << 12 | 64, 0 },
    /* The TSC runs at one rate. */
    { 0x80000007, 0, false, 0, 0, 0, BIT(8) },
    { 0x80000008, 0, false, CPU_PHYS_BITS | 57 << 8, 0, 0, 0 },
};

static const char brand[48] = "softkvm x86-64 processor in software";

size_t cpu_supported_cpuid(struct cpuid_entry *entries, size_t max)
{
    size_t nr = sizeof(leaves) / sizeof(leaves[0]), n = 0;

    for (size_t i = 0; i < nr && n < max; i++)
        entries[n++] = leaves[i];
    for (uint32_t i = 0; i < 3 && n < max; i++) {
        uint32_t words[4];

        memcpy(words, brand + i * 16, sizeof(words));
        entries[n++] = (struct cpuid_entry){
            0x80000002 + i, 0, false, words[0], words[1], words[2], words[3],
        };
    }
    return nr + 3;
}
