/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MOVS, CMPS, STOS, LODS, SCAS with their repetitions (SDM vol. 2, REP).
 *
 * Registers are committed after every element, or after every run of elements
 * that MOVS and STOS do at once within a page, so that a fault in the middle
 * leaves the instruction ready to be resumed.  Between runs the engine gets its
 * chance: for requests, single steps, and accesses to devices.
 */
#include "exception.h"
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

static bool repeats(const struct insn *insn)
{
    return insn->flags & (INSN_REP | INSN_REPNE);
}

static uint64_t counter(const struct cpu *cpu, const struct insn *insn)
{
    return repeats(insn) ? zero_extend(cpu->regs[REG_RCX], insn->address_size) : 1;
}

static uint64_t offset_of(const struct cpu *cpu, const struct insn *insn, enum cpu_reg reg)
{
    return zero_extend(cpu->regs[reg], insn->address_size);
}

/* n elements are done: move the registers that name them, count them. */
static void advance(struct cpu *cpu, const struct insn *insn, enum cpu_reg reg, uint64_t n)
{
    uint64_t bytes = n * insn->size;

    hot_set(cpu, reg, insn->address_size,
            cpu->flags & FLAG_DF ? cpu->regs[reg] - bytes : cpu->regs[reg] + bytes);
}

static void count_down(struct cpu *cpu, const struct insn *insn, uint64_t n)
{
    if (repeats(insn))
        hot_set(cpu, REG_RCX, insn->address_size, cpu->regs[REG_RCX] - n);
}

/* Does the engine want to see to something before the next element? */
static bool interrupted(const struct cpu *cpu)
{
    return cpu->attention || (cpu->flags & FLAG_TF) || cpu->guest_debug.single_step ||
           __atomic_load_n(&cpu->request, __ATOMIC_RELAXED);
}

/* One element at reg, in the instruction's source segment or ES. */
static enum cpu_status element_linear(struct cpu *cpu, const struct insn *insn, enum cpu_reg reg,
                                      enum cpu_access access, uint64_t *linear)
{
    unsigned seg = reg == REG_RSI ? insn->seg : SEG_ES;

    return segment_linear(cpu, seg, offset_of(cpu, insn, reg), insn->size, access, linear);
}

static enum cpu_status element_read(struct cpu *cpu, const struct insn *insn, enum cpu_reg reg,
                                    uint64_t *value)
{
    uint64_t linear;
    enum cpu_status status = element_linear(cpu, insn, reg, ACCESS_READ, &linear);

    return status == CPU_OK ? linear_read(cpu, linear, insn->size, value) : status;
}

static enum cpu_status element_write(struct cpu *cpu, const struct insn *insn, uint64_t value)
{
    uint64_t linear;
    enum cpu_status status = element_linear(cpu, insn, REG_RDI, ACCESS_WRITE, &linear);

    return status == CPU_OK ? linear_write(cpu, linear, insn->size, value) : status;
}

/* Host memory for a forward run of up to *n elements at reg; *n is cut to what there is. */
static void *run_host(struct cpu *cpu, const struct insn *insn, enum cpu_reg reg,
                      enum cpu_access access, uint64_t *n, struct tlb_entry **e)
{
    uint64_t offset = offset_of(cpu, insn, reg), linear, room;
    unsigned seg = reg == REG_RSI ? insn->seg : SEG_ES;

    if (segment_linear(cpu, seg, offset, insn->size, access, &linear) != CPU_OK)
        return NULL;
    room = (CPU_PAGE_SIZE - (linear & (CPU_PAGE_SIZE - 1))) / insn->size;
    if (*n > room)
        *n = room;
    /* The whole run has to satisfy the segment, and not wrap. */
    if (!*n || offset + *n * insn->size - 1 > size_mask(insn->address_size) ||
        segment_linear(cpu, seg, offset, *n * insn->size, access, &linear) != CPU_OK)
        return NULL;
    return tlb_host(cpu, linear, insn->size, access, e);
}

/* Source and destination are to be had through the same TLB entry, one at a time. */
static bool pages_collide(struct cpu *cpu, const struct insn *insn)
{
    uint64_t from, to;

    return element_linear(cpu, insn, REG_RSI, ACCESS_READ, &from) == CPU_OK &&
           element_linear(cpu, insn, REG_RDI, ACCESS_WRITE, &to) == CPU_OK &&
           tlb_entry(cpu, cpu->mmu_index, from) == tlb_entry(cpu, cpu->mmu_index, to);
}

/* run_host() of a page that isn't cached; a fault is left to the element's own access. */
static void *run_host_filled(struct cpu *cpu, const struct insn *insn, enum cpu_reg reg,
                             enum cpu_access access, uint64_t *n, struct tlb_entry **e)
{
    void *host = run_host(cpu, insn, reg, access, n, e);
    uint64_t linear;

    if (host || element_linear(cpu, insn, reg, access, &linear) != CPU_OK ||
        mmu_probe(cpu, linear, insn->size, access) != CPU_OK)
        return host;
    return run_host(cpu, insn, reg, access, n, e);
}

/* Element by element upwards, as the processor does it: an overlap repeats a pattern. */
static void copy_forward(uint8_t *dst, const uint8_t *src, uint64_t n, unsigned size)
{
    if ((uintptr_t)dst - (uintptr_t)src >= n * size) {
        guest_move(dst, src, n * size);
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        host_store(dst + i * size, size, host_load(src + i * size, size));
}

static void fill_forward(uint8_t *dst, uint64_t value, uint64_t n, unsigned size)
{
    uint64_t byte = value & 0xff;

    if (zero_extend(byte * 0x0101010101010101, size) == zero_extend(value, size)) {
        guest_fill(dst, byte, n * size);
        return;
    }
    for (uint64_t i = 0; i < n; i++)
        host_store(dst + i * size, size, value);
}

static bool may_run(const struct cpu *cpu, uint64_t n)
{
    return n > 1 && !(cpu->flags & (FLAG_DF | FLAG_TF)) && !cpu->guest_debug.single_step;
}

/* Up to n elements at once; returns how many, 0 where it takes the slow way. */
static uint64_t movs_run(struct cpu *cpu, const struct insn *insn, uint64_t n)
{
    struct tlb_entry *from, *to;
    const void *src;
    void *dst;

    if (!may_run(cpu, n))
        return 0;
    src = run_host(cpu, insn, REG_RSI, ACCESS_READ, &n, &from);
    dst = src ? run_host(cpu, insn, REG_RDI, ACCESS_WRITE, &n, &to) : NULL;
    if (!dst && pages_collide(cpu, insn)) {
        /* The second one puts the first out, whose memory it stays until the engine looks. */
        src = run_host_filled(cpu, insn, REG_RSI, ACCESS_READ, &n, &from);
        dst = src ? run_host_filled(cpu, insn, REG_RDI, ACCESS_WRITE, &n, &to) : NULL;
    }
    if (!dst)
        return 0;
    copy_forward(dst, src, n, insn->size);
    mmu_stored(cpu, to->code);
    return n;
}

static uint64_t stos_run(struct cpu *cpu, const struct insn *insn, uint64_t n)
{
    struct tlb_entry *to;
    void *dst;

    if (!may_run(cpu, n))
        return 0;
    dst = run_host(cpu, insn, REG_RDI, ACCESS_WRITE, &n, &to);
    if (!dst)
        return 0;
    fill_forward(dst, cpu->regs[REG_RAX], n, insn->size);
    mmu_stored(cpu, to->code);
    return n;
}

static enum cpu_status movs_one(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum cpu_status status = element_read(cpu, insn, REG_RSI, &value);

    return status == CPU_OK ? element_write(cpu, insn, value) : status;
}

enum cpu_status body_movs(struct cpu *cpu, const struct insn *insn)
{
    uint64_t left = counter(cpu, insn);

    while (left) {
        uint64_t n = movs_run(cpu, insn, left);

        if (!n) {
            enum cpu_status status = movs_one(cpu, insn);

            if (status != CPU_OK)
                return status;
            n = 1;
        }
        advance(cpu, insn, REG_RSI, n);
        advance(cpu, insn, REG_RDI, n);
        count_down(cpu, insn, n);
        left -= n;
        if (left && interrupted(cpu))
            return insn_again(cpu, insn);
    }
    return CPU_OK;
}

enum cpu_status body_stos(struct cpu *cpu, const struct insn *insn)
{
    uint64_t left = counter(cpu, insn);

    while (left) {
        uint64_t n = stos_run(cpu, insn, left);

        if (!n) {
            enum cpu_status status = element_write(cpu, insn, cpu->regs[REG_RAX]);

            if (status != CPU_OK)
                return status;
            n = 1;
        }
        advance(cpu, insn, REG_RDI, n);
        count_down(cpu, insn, n);
        left -= n;
        if (left && interrupted(cpu))
            return insn_again(cpu, insn);
    }
    return CPU_OK;
}

enum cpu_status body_lods(struct cpu *cpu, const struct insn *insn)
{
    uint64_t left = counter(cpu, insn);

    while (left) {
        uint64_t value;
        enum cpu_status status = element_read(cpu, insn, REG_RSI, &value);

        if (status != CPU_OK)
            return status;
        hot_set(cpu, REG_RAX, insn->size, value);
        advance(cpu, insn, REG_RSI, 1);
        count_down(cpu, insn, 1);
        if (--left && interrupted(cpu))
            return insn_again(cpu, insn);
    }
    return CPU_OK;
}

static void set_compared(struct cpu *cpu, uint64_t a, uint64_t b, unsigned size)
{
    cpu->lazy.a = sign_extend(a, size);
    cpu->lazy.b = sign_extend(b, size);
    cpu->lazy.result = sign_extend(a - b, size);
    cpu->lazy.op = LAZY_SUB;
}

/* F3 goes on while equal, F2 while not. */
static bool goes_on(const struct insn *insn, bool equal)
{
    return repeats(insn) && equal == !!(insn->flags & INSN_REP);
}

enum cpu_status body_cmps(struct cpu *cpu, const struct insn *insn)
{
    uint64_t left = counter(cpu, insn);

    while (left) {
        uint64_t a, b;
        enum cpu_status status = element_read(cpu, insn, REG_RSI, &a);

        if (status == CPU_OK)
            status = element_read(cpu, insn, REG_RDI, &b);
        if (status != CPU_OK)
            return status;
        advance(cpu, insn, REG_RSI, 1);
        advance(cpu, insn, REG_RDI, 1);
        count_down(cpu, insn, 1);
        set_compared(cpu, a, b, insn->size);
        if (!goes_on(insn, a == b))
            break;
        if (--left && interrupted(cpu))
            return insn_again(cpu, insn);
    }
    return CPU_OK;
}

enum cpu_status body_scas(struct cpu *cpu, const struct insn *insn)
{
    uint64_t left = counter(cpu, insn), a = hot_get(cpu, REG_RAX, insn->size);

    while (left) {
        uint64_t b;
        enum cpu_status status = element_read(cpu, insn, REG_RDI, &b);

        if (status != CPU_OK)
            return status;
        advance(cpu, insn, REG_RDI, 1);
        count_down(cpu, insn, 1);
        set_compared(cpu, a, b, insn->size);
        if (!goes_on(insn, a == b))
            break;
        if (--left && interrupted(cpu))
            return insn_again(cpu, insn);
    }
    return CPU_OK;
}
