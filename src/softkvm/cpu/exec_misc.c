/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NOP and hints, fences, CLC and its kin, LAHF, SAHF, BOUND. */
#include "exception.h"
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

enum cpu_status exec_nop(struct cpu *cpu, const struct insn *insn)
{
    NEXT(cpu, insn);
}

enum cpu_status body_nop(struct cpu *cpu, const struct insn *insn)
{
    return CPU_OK;
}

insn_exec *pick_nop(struct insn *insn, struct decode_mode mode)
{
    return exec_nop;
}

/* Guest accesses are host accesses in the same order: only a full fence has something to do. */
enum cpu_status body_fence(struct cpu *cpu, const struct insn *insn)
{
    __sync_synchronize();
    return CPU_OK;
}

/* CLFLUSH and its kin read as a load does; there is no cache to be seen. */
enum cpu_status body_cache_line(struct cpu *cpu, const struct insn *insn)
{
    uint64_t linear;
    enum cpu_status status = insn_linear(cpu, insn, 1, ACCESS_READ, &linear);

    return status == CPU_OK ? mmu_probe(cpu, linear, 1, ACCESS_READ) : status;
}

/* F5 CMC, F8 CLC, F9 STC. */
enum cpu_status body_carry(struct cpu *cpu, const struct insn *insn)
{
    bool cf = insn->opcode == 0xf5 ? !flag_cf(cpu) : insn->opcode & 1;

    flags_change_arith(cpu, FLAG_CF, cf ? FLAG_CF : 0);
    return CPU_OK;
}

/* FC CLD, FD STD. */
enum cpu_status body_direction(struct cpu *cpu, const struct insn *insn)
{
    cpu->flags = (cpu->flags & ~(uint64_t)FLAG_DF) | (insn->opcode & 1 ? FLAG_DF : 0);
    return CPU_OK;
}

enum cpu_status body_lahf(struct cpu *cpu, const struct insn *insn)
{
    uint64_t flags = cpu_rflags(cpu) & 0xff;

    cpu->regs[REG_RAX] = (cpu->regs[REG_RAX] & ~0xff00ULL) | flags << 8;
    return CPU_OK;
}

enum cpu_status body_sahf(struct cpu *cpu, const struct insn *insn)
{
    flags_change_arith(cpu, FLAGS_ARITH & ~FLAG_OF, cpu->regs[REG_RAX] >> 8);
    return CPU_OK;
}

/* The index in reg, signed, against two bounds in memory. */
enum cpu_status body_bound(struct cpu *cpu, const struct insn *insn)
{
    uint64_t linear, low, high, index;
    enum cpu_status status = insn_linear(cpu, insn, 2 * insn->size, ACCESS_READ, &linear);

    if (status == CPU_OK)
        status = linear_read(cpu, linear, insn->size, &low);
    if (status == CPU_OK)
        status = linear_read(cpu, (uint32_t)(linear + insn->size), insn->size, &high);
    if (status != CPU_OK)
        return status;
    index = sign_extend(hot_get(cpu, insn->reg, insn->size), insn->size);
    if ((int64_t)index < (int64_t)sign_extend(low, insn->size) ||
        (int64_t)index > (int64_t)sign_extend(high, insn->size))
        return raise_fault(cpu, VECTOR_BR);
    return CPU_OK;
}
