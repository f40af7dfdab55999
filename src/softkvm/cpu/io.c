// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Port I/O: IN, OUT, INS, OUTS (SDM vol. 1, chapter 19).  A repeated string
 * instruction ends after every iteration, with rip on it until the count is 0:
 * each of them may have to leave the processor and be started anew.  REP INS
 * fetches ahead: an iteration is then a run of elements.
 */
#include "debug.h"
#include "exception.h"
#include "mmu.h"
#include "mode.h"
#include "opcodes.h"
#include "segment.h"
#include "task.h"

/* IOPL, else the TSS's permission map: two bytes are read, as the bits may straddle them. */
static enum cpu_status check_port(struct cpu *cpu, uint16_t port, unsigned size)
{
    enum cpu_status status = CPU_OK;
    uint16_t map, bits;

    if (!mode_protected(cpu) || (cpu->cpl <= cpu_iopl(cpu) && !mode_vm86(cpu)))
        return CPU_OK;
    if (!(cpu->seg[SEG_TR].ar & 8))
        return raise_gp(cpu);
    status = tss_read(cpu, 102, &map, 2, 0);
    if (status == CPU_OK)
        status = tss_read(cpu, map + port / 8, &bits, 2, 0);
    if (status == CPU_FAULT && cpu->fault.vector == VECTOR_TS)
        return raise_gp(cpu);
    if (status == CPU_OK && (bits >> (port & 7) & ((1u << size) - 1)))
        return raise_gp(cpu);
    return status;
}

static enum cpu_status pio_done(struct cpu *cpu, uint16_t port, unsigned size,
                                enum cpu_status status)
{
    if (status != CPU_OK)
        return status;
    cpu->attention |= ATTENTION_ACCESS;
    if (cpu->debug_io)
        debug_io_access(cpu, port, size);
    return CPU_OK;
}

static enum cpu_status do_pio(struct cpu *cpu, uint16_t port, void *data, unsigned size,
                              bool write)
{
    return pio_done(cpu, port, size, cpu->ops->pio(cpu->opaque, port, data, size, write));
}

static uint16_t port_operand(const struct cpu *cpu, const struct insn *insn)
{
    return insn->opcode & 8 ? cpu->regs[REG_RDX] : (uint8_t)insn->imm;
}

enum cpu_status exec_in(struct cpu *cpu, const struct insn *insn)
{
    uint16_t port = port_operand(cpu, insn);
    enum cpu_status status = check_port(cpu, port, insn->size);
    uint32_t value = 0;

    if (status == CPU_OK)
        status = do_pio(cpu, port, &value, insn->size, false);
    if (status != CPU_OK)
        return status;
    if (insn->size == 4)
        cpu->regs[REG_RAX] = value;
    else
        memcpy(&cpu->regs[REG_RAX], &value, insn->size);
    return CPU_OK;
}

enum cpu_status exec_out(struct cpu *cpu, const struct insn *insn)
{
    uint16_t port = port_operand(cpu, insn);
    enum cpu_status status = check_port(cpu, port, insn->size);
    uint32_t value = cpu->regs[REG_RAX];

    return status == CPU_OK ? do_pio(cpu, port, &value, insn->size, true) : status;
}

static uint64_t address_mask(const struct insn *insn)
{
    return insn->address_size == 8 ? UINT64_MAX : insn->address_size == 4 ? UINT32_MAX : UINT16_MAX;
}

/* A 32-bit result clears the register's upper half, a 16-bit one keeps the rest. */
static void add_reg(struct cpu *cpu, const struct insn *insn, unsigned reg, int64_t step)
{
    uint64_t value = cpu->regs[reg] + step;

    if (insn->address_size == 2)
        memcpy(&cpu->regs[reg], &value, 2);
    else
        cpu->regs[reg] = value & address_mask(insn);
}

/* n elements were moved: advance the pointer and the count, and come again if there are more. */
static enum cpu_status next_elements(struct cpu *cpu, const struct insn *insn, unsigned reg, int n)
{
    add_reg(cpu, insn, reg, cpu->flags & FLAG_DF ? -(int)insn->size * n : (int)insn->size * n);
    if (!(insn->flags & (INSN_REP | INSN_REPNE)))
        return CPU_OK;
    add_reg(cpu, insn, REG_RCX, -n);
    if (!(cpu->regs[REG_RCX] & address_mask(insn)))
        return CPU_OK;
    cpu->regs[REG_RIP] -= insn->next - insn->off;
    return CPU_BREAK;
}

/* User space may have cleared the count while it had the access: nobody asks for its answer. */
static bool is_done(struct cpu *cpu, const struct insn *insn)
{
    bool done = (insn->flags & (INSN_REP | INSN_REPNE)) &&
                !(cpu->regs[REG_RCX] & address_mask(insn));

    if (done)
        cpu->attention |= ATTENTION_ACCESS;
    return done;
}

/* How many elements upwards from linear REP INS may fetch: those of one page of RAM. */
static unsigned run_length(struct cpu *cpu, const struct insn *insn, uint64_t offset,
                           uint64_t linear)
{
    uint64_t n = cpu->regs[REG_RCX] & address_mask(insn), end;
    unsigned room = (CPU_PAGE_SIZE - (linear & (CPU_PAGE_SIZE - 1))) / insn->size;
    struct tlb_entry *e;

    if (!cpu->ops->pio_run || !(insn->flags & (INSN_REP | INSN_REPNE)) ||
        (cpu->flags & (FLAG_DF | FLAG_TF)) ||
        !tlb_host(cpu, linear, insn->size, ACCESS_WRITE, &e))
        return 1;
    n = n < room ? n : room;
    n = n < CPU_PIO_RUN / insn->size ? n : CPU_PIO_RUN / insn->size;
    /* All of it within the segment, and without wrapping. */
    if (n < 2 || offset + n * insn->size - 1 > address_mask(insn) ||
        segment_linear(cpu, SEG_ES, offset, n * insn->size, ACCESS_WRITE, &end) != CPU_OK)
        return 1;
    return n;
}

enum cpu_status exec_ins(struct cpu *cpu, const struct insn *insn)
{
    uint64_t linear, offset = cpu->regs[REG_RDI] & address_mask(insn);
    uint16_t port = cpu->regs[REG_RDX];
    uint8_t data[CPU_PIO_RUN] = { 0 };
    enum cpu_status status;
    unsigned n = 1;

    if (is_done(cpu, insn))
        return CPU_OK;
    status = check_port(cpu, port, insn->size);
    if (status == CPU_OK)
        status = segment_linear(cpu, SEG_ES, offset, insn->size, ACCESS_WRITE, &linear);
    if (status == CPU_OK)
        status = mmu_probe(cpu, linear, insn->size, ACCESS_WRITE);
    if (status != CPU_OK)
        return status;
    n = run_length(cpu, insn, offset, linear);
    status = n == 1 ? do_pio(cpu, port, data, insn->size, false)
                    : pio_done(cpu, port, insn->size,
                               cpu->ops->pio_run(cpu->opaque, port, data, insn->size, &n));
    if (status == CPU_OK)
        status = mmu_write(cpu, linear, data, n * insn->size);
    return status == CPU_OK ? next_elements(cpu, insn, REG_RDI, n) : status;
}

enum cpu_status exec_outs(struct cpu *cpu, const struct insn *insn)
{
    uint64_t linear, offset = cpu->regs[REG_RSI] & address_mask(insn);
    uint16_t port = cpu->regs[REG_RDX];
    enum cpu_status status;
    uint32_t value = 0;

    if (is_done(cpu, insn))
        return CPU_OK;
    status = check_port(cpu, port, insn->size);
    if (status == CPU_OK)
        status = segment_linear(cpu, insn->seg, offset, insn->size, ACCESS_READ, &linear);
    if (status == CPU_OK)
        status = mmu_read(cpu, linear, &value, insn->size);
    if (status == CPU_OK)
        status = do_pio(cpu, port, &value, insn->size, true);
    return status == CPU_OK ? next_elements(cpu, insn, REG_RSI, 1) : status;
}
