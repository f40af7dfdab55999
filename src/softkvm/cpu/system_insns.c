// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * System instructions that fit nowhere else: TLB and caches, HLT, time stamp,
 * CPUID, MSRs, XCR0, random numbers, hypercalls (SDM vol. 2 for each).
 */
#include "exception.h"
#include "flags.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"

#include <sys/random.h>

enum { CPUID_1_ECX_OSXSAVE = 1 << 27 };

enum cpu_status exec_invlpg(struct cpu *cpu, const struct insn *insn)
{
    uint64_t addr = insn_offset(cpu, insn);

    if (!mode_64(cpu))
        addr = (uint32_t)(cpu->seg[insn->seg].base + addr);
    else if (insn->seg >= SEG_FS)
        addr += cpu->seg[insn->seg].base;
    tlb_flush_page(cpu, addr);
    return CPU_BREAK;
}

/* There is no cache whose contents could differ from memory, but for decoded code. */
enum cpu_status exec_wbinvd(struct cpu *cpu, const struct insn *insn)
{
    cpu_doubt_code(cpu);
    return CPU_BREAK;
}

enum cpu_status exec_hlt(struct cpu *cpu, const struct insn *insn)
{
    return CPU_EXIT_HLT;
}

enum { HYPERCALL_LENGTH = 3 };
static const uint8_t vmcall_code[HYPERCALL_LENGTH] = { 0x0f, 0x01, 0xc1 };
static const uint8_t vmmcall_code[HYPERCALL_LENGTH] = { 0x0f, 0x01, 0xd9 };

/*
 * The other vendor's instruction: #UD without the quirk.  With it, the
 * processor's own is written over it and executed next, where the guest itself
 * could write; elsewhere it works as it is.
 */
static enum cpu_status foreign_hypercall(struct cpu *cpu, const struct insn *insn)
{
    uint64_t linear = insn_rip(cpu, insn);
    enum cpu_status status;

    if (cpu->no_foreign_hypercall)
        return raise_fault(cpu, VECTOR_UD);
    if (!mode_64(cpu))
        linear = (uint32_t)(cpu->seg[SEG_CS].base + linear);
    status = mmu_probe(cpu, linear, HYPERCALL_LENGTH, ACCESS_WRITE);
    if (status == CPU_FAULT)
        return CPU_EXIT_HYPERCALL;
    if (status == CPU_OK)
        status = mmu_write(cpu, linear, cpu->native_vmmcall ? vmmcall_code : vmcall_code,
                           HYPERCALL_LENGTH);
    if (status != CPU_OK)
        return status;
    cpu->regs[REG_RIP] = insn_rip(cpu, insn);
    return CPU_BREAK;
}

enum cpu_status exec_vmcall(struct cpu *cpu, const struct insn *insn)
{
    return cpu->native_vmmcall ? foreign_hypercall(cpu, insn) : CPU_EXIT_HYPERCALL;
}

enum cpu_status exec_vmmcall(struct cpu *cpu, const struct insn *insn)
{
    return cpu->native_vmmcall ? CPU_EXIT_HYPERCALL : foreign_hypercall(cpu, insn);
}

/* MONITOR and MWAIT: no wait is as good as one that ended at once. */
enum cpu_status exec_mwait(struct cpu *cpu, const struct insn *insn)
{
    return cpu->cpl != 0 || cpu->no_mwait ? raise_fault(cpu, VECTOR_UD) : CPU_OK;
}

/* EDX:EAX, as the instructions of this file return 64 bits. */
static void set_edx_eax(struct cpu *cpu, uint64_t value)
{
    cpu->regs[REG_RAX] = (uint32_t)value;
    cpu->regs[REG_RDX] = value >> 32;
}

static uint64_t get_edx_eax(const struct cpu *cpu)
{
    return (uint32_t)cpu->regs[REG_RAX] | cpu->regs[REG_RDX] << 32;
}

static bool is_tsc_refused(const struct cpu *cpu)
{
    return mode_protected(cpu) && (cpu->cr4 & CR4_TSD) && cpu->cpl > 0;
}

enum cpu_status exec_rdtsc(struct cpu *cpu, const struct insn *insn)
{
    if (is_tsc_refused(cpu))
        return raise_gp(cpu);
    set_edx_eax(cpu, cpu->ops->read_tsc(cpu->opaque));
    return CPU_OK;
}

enum cpu_status exec_rdtscp(struct cpu *cpu, const struct insn *insn)
{
    if (is_tsc_refused(cpu))
        return raise_gp(cpu);
    set_edx_eax(cpu, cpu->ops->read_tsc(cpu->opaque));
    cpu->regs[REG_RCX] = (uint32_t)cpu->tsc_aux;
    return CPU_OK;
}

enum cpu_status exec_rdpid(struct cpu *cpu, const struct insn *insn)
{
    cpu->regs[insn->rm] = (uint32_t)cpu->tsc_aux;
    return CPU_OK;
}

/* No performance counters: none of their numbers is valid. */
enum cpu_status exec_rdpmc(struct cpu *cpu, const struct insn *insn)
{
    return raise_gp(cpu);
}

enum cpu_status exec_cpuid(struct cpu *cpu, const struct insn *insn)
{
    uint32_t leaf = cpu->regs[REG_RAX], regs[4] = { 0 };

    cpu->ops->cpuid(cpu->opaque, leaf, cpu->regs[REG_RCX], regs);
    if (leaf == 1) {
        regs[2] &= ~(uint32_t)CPUID_1_ECX_OSXSAVE;
        if (cpu->cr4 & CR4_OSXSAVE)
            regs[2] |= CPUID_1_ECX_OSXSAVE;
    }
    cpu->regs[REG_RAX] = regs[0];
    cpu->regs[REG_RBX] = regs[1];
    cpu->regs[REG_RCX] = regs[2];
    cpu->regs[REG_RDX] = regs[3];
    /* It serialises, which is how code says that another processor may have changed it. */
    cpu_doubt_code(cpu);
    return CPU_BREAK;
}

enum cpu_status exec_rdmsr(struct cpu *cpu, const struct insn *insn)
{
    uint32_t index = cpu->regs[REG_RCX];
    enum cpu_status status;
    uint64_t value;

    status = cpu->ops->rdmsr(cpu->opaque, index, &value);
    if (status == CPU_BREAK)
        status = cpu_msr_read(cpu, index, &value) ? CPU_OK : CPU_FAULT;
    if (status != CPU_OK)
        return status == CPU_FAULT ? raise_gp(cpu) : status;
    set_edx_eax(cpu, value);
    return CPU_OK;
}

enum cpu_status exec_wrmsr(struct cpu *cpu, const struct insn *insn)
{
    uint32_t index = cpu->regs[REG_RCX];
    uint64_t value = get_edx_eax(cpu);
    enum cpu_status status = cpu->ops->wrmsr(cpu->opaque, index, value);

    if (status == CPU_BREAK)
        status = cpu_msr_write(cpu, index, value, false) ? CPU_OK : CPU_FAULT;
    if (status != CPU_OK)
        return status == CPU_FAULT ? raise_gp(cpu) : status;
    return CPU_BREAK;
}

enum cpu_status exec_xgetbv(struct cpu *cpu, const struct insn *insn)
{
    if (!(cpu->cr4 & CR4_OSXSAVE))
        return raise_fault(cpu, VECTOR_UD);
    if ((uint32_t)cpu->regs[REG_RCX] != 0)
        return raise_gp(cpu);
    set_edx_eax(cpu, cpu->xcr0);
    return CPU_OK;
}

/* Components are x87 (always on) and SSE. */
enum cpu_status exec_xsetbv(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value = get_edx_eax(cpu);

    if (!(cpu->cr4 & CR4_OSXSAVE))
        return raise_fault(cpu, VECTOR_UD);
    if (cpu->cpl != 0 || (uint32_t)cpu->regs[REG_RCX] != 0 || !(value & 1) || value > 3)
        return raise_gp(cpu);
    cpu->xcr0 = value;
    return CPU_BREAK;
}

/* RDRAND and RDSEED: CF says whether there was a number, the register is 0 if not. */
enum cpu_status exec_rdrand(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value = 0;
    bool ok = getrandom(&value, sizeof(value), GRND_NONBLOCK) == sizeof(value);

    if (!ok)
        value = 0;
    if (insn->size == 2)
        memcpy(&cpu->regs[insn->rm], &value, 2);
    else
        cpu->regs[insn->rm] = insn->size == 4 ? (uint32_t)value : value;
    flags_set_arith(cpu, ok ? FLAG_CF : 0);
    return CPU_OK;
}
