/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VMMs take the C-bit's place from the machine's own CPUID instruction, which KVM has no
 * part in, and some ask it for VMX or SVM before they open /dev/kvm.  Linux can let it fault (ARCH_SET_CPUID), but few machines can, and none for a
 * guest of most hypervisors; so in memory the executable's CPUID instructions become UD2,
 * of the same length, and the signal is answered with what the machine says, and that.
 */
#include "machine_cpuid.h"

#include "cpuid_sites.h"
#include "sev.h"

#include <cpuid.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    SITES_MAX = 256, UD2_SECOND = 0x0b,
    LEAF_FEATURES = 1, ECX_VMX = 1 << 5, ECX_SVM = 1 << 2, VENDOR_AMD = 0x68747541,   /* "Auth" */
};

#define LEAF_MAX 0x80000000u
#define LEAF_AMD_FEATURES 0x80000001u

/* Written before the program runs. */
static const uint8_t *sites[SITES_MAX];
static unsigned nr_sites;
static bool adds_sev, adds_virtualization;

static bool is_site(uintptr_t rip)
{
    for (unsigned i = 0; i < nr_sites; i++) {
        if ((uintptr_t)sites[i] == rip)
            return true;
    }
    return false;
}

static bool is_amd(void)
{
    uint32_t regs[4];

    __cpuid(0, regs[0], regs[1], regs[2], regs[3]);
    return regs[1] == VENDOR_AMD;
}

static void add_virtualization(uint32_t regs[4], uint32_t leaf)
{
    if (leaf == LEAF_FEATURES && !is_amd())
        regs[2] |= ECX_VMX;
    else if (leaf == LEAF_AMD_FEATURES && is_amd())
        regs[2] |= ECX_SVM;
}

/* As the machine would say it: guests lose one bit of addresses to the C-bit (EBX 11:6). */
static void add_sev(uint32_t regs[4], uint32_t leaf)
{
    if (leaf == LEAF_MAX && regs[0] < SEV_CPUID_LEAF)
        regs[0] = SEV_CPUID_LEAF;
    if (leaf == SEV_CPUID_LEAF) {
        regs[0] = SEV_CPUID_EAX;
        regs[1] = SEV_C_BIT | 1 << 6;
        regs[2] = SEV_GUESTS;
        regs[3] = 1;
    }
}

static void cpuid(uint32_t regs[4], uint32_t leaf, uint32_t subleaf)
{
    __cpuid_count(leaf, subleaf, regs[0], regs[1], regs[2], regs[3]);
    if (adds_sev)
        add_sev(regs, leaf);
    if (adds_virtualization)
        add_virtualization(regs, leaf);
}

static void on_sigill(int signo, siginfo_t *info, void *opaque)
{
    const struct sigaction before = { .sa_handler = SIG_DFL };
    greg_t *gregs = ((ucontext_t *)opaque)->uc_mcontext.gregs;
    uint32_t regs[4];

    if (!is_site(gregs[REG_RIP])) {
        /* Somebody else's: it happens again. */
        sigaction(signo, &before, NULL);
        return;
    }
    cpuid(regs, gregs[REG_RAX], gregs[REG_RCX]);
    gregs[REG_RAX] = regs[0];
    gregs[REG_RBX] = regs[1];
    gregs[REG_RCX] = regs[2];
    gregs[REG_RDX] = regs[3];
    gregs[REG_RIP] += 2;
}

/* The sites of one segment of code; nothing of it runs now. */
static void replace(const uint8_t *code, size_t size)
{
    uintptr_t page_mask = sysconf(_SC_PAGESIZE) - 1, start = (uintptr_t)code & ~page_mask;
    size_t length = ((uintptr_t)code + size - start + page_mask) & ~page_mask;
    const uint8_t *end = code + size;
    unsigned first = nr_sites;

    for (const uint8_t *at = code; nr_sites < SITES_MAX && (at = cpuid_site(code, at, end)); at += 2)
        sites[nr_sites++] = at;
    if (nr_sites == first)
        return;
    if (mprotect((void *)start, length, PROT_READ | PROT_WRITE)) {
        nr_sites = first;
        return;
    }
    for (unsigned i = first; i < nr_sites; i++)
        ((uint8_t *)sites[i])[1] = UD2_SECOND;
    mprotect((void *)start, length, PROT_READ | PROT_EXEC);
}

/* The executable is the first. */
static int on_object(struct dl_phdr_info *object, size_t size, void *opaque)
{
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];

        if (header->p_type == PT_LOAD && header->p_flags == (PF_R | PF_X))
            replace((const uint8_t *)object->dlpi_addr + header->p_vaddr, header->p_filesz);
    }
    return 1;
}

static bool says_sev_itself(void)
{
    uint32_t regs[4];

    __cpuid(LEAF_MAX, regs[0], regs[1], regs[2], regs[3]);
    if (regs[0] < SEV_CPUID_LEAF)
        return false;
    __cpuid(SEV_CPUID_LEAF, regs[0], regs[1], regs[2], regs[3]);
    return regs[0] & SEV_CPUID_EAX && (regs[1] & 0x3f) == SEV_C_BIT;
}

static bool says_virtualization_itself(void)
{
    uint32_t regs[4];

    __cpuid(is_amd() ? LEAF_AMD_FEATURES : LEAF_FEATURES, regs[0], regs[1], regs[2], regs[3]);
    return regs[2] & (is_amd() ? ECX_SVM : ECX_VMX);
}

void machine_cpuid_set(bool sev, bool virtualization)
{
    const struct sigaction action = {
        .sa_sigaction = on_sigill, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
    };

    adds_sev = sev && !says_sev_itself();
    adds_virtualization = virtualization && !says_virtualization_itself();
    if ((adds_sev || adds_virtualization) && !sigaction(SIGILL, &action, NULL))
        dl_iterate_phdr(on_object, NULL);
}
