/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM's hypercalls: number in RAX, arguments in RBX, RCX, RDX, result in RAX.
 * Source: Linux 6.12 Documentation/virt/kvm/x86/hypercalls.rst.
 */
#include "guest.h"

enum { CPUID_KVM_FEATURES = 0x40000001, FEATURE_MAP_GPA_RANGE = 1 << 16 };

bool processor_is_amd(void)
{
    uint32_t regs[4];

    cpuid(0, 0, regs);
    return regs[1] == 0x68747541 || regs[1] == 0x6f677948;      /* "Auth"entic, "Hygo"n */
}

/*
 * VMMCALL is 0f 01 d9.  A KVM that can't read our private memory takes the
 * instruction for zeros, two bytes long, and goes on at its third byte.  So what
 * follows reads well from there too: d9 66 90 is FLDENV -112(%rsi), here of the
 * environment after FNINIT; from where it should go on, 66 90 is a NOP.
 */
static int64_t vmmcall(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    static const uint32_t environment[28] = { 0x37f, 0, 0xffff };
    int64_t result = (int64_t)nr;

    __asm__ volatile(".byte 0x0f, 0x01, 0xd9, 0x66, 0x90"
                     : "+a"(result)
                     : "b"(a0), "c"(a1), "d"(a2), "S"((const char *)environment + 112)
                     : "memory");
    return result;
}

static int64_t vmcall(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    int64_t result = (int64_t)nr;

    __asm__ volatile("vmcall" : "+a"(result) : "b"(a0), "c"(a1), "d"(a2) : "memory");
    return result;
}

int64_t hypercall(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    return processor_is_amd() ? vmmcall(nr, a0, a1, a2) : vmcall(nr, a0, a1, a2);
}

void share_page(uint64_t address)
{
    uint32_t regs[4];

    cpuid(CPUID_KVM_FEATURES, 0, regs);
    if (regs[0] & FEATURE_MAP_GPA_RANGE)
        hypercall(HC_MAP_GPA_RANGE, address, 1, MAP_GPA_SHARED);
}
