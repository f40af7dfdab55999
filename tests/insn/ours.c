/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Running the instruction on softkvm's processor: a flat 64-bit user mode with
 * real page tables over the arena and an IDT whose every gate leads to a HLT in
 * ring 0, so that delivering the exception is part of what is tested.
 */
#include "insn_test.h"

#include "cpu.h"
#include "mode.h"
#include "segment.h"
#include "opcode.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>

/* Layout of SYSTEM. */
enum {
    PML4 = SYSTEM, PDPT = SYSTEM + 0x1000, PD = SYSTEM + 0x2000, PT = SYSTEM + 0x3000,
    IDT = SYSTEM + 0x4000, GDT = SYSTEM + 0x5000, TSS = SYSTEM + 0x6000,
    HANDLERS = SYSTEM + 0x7000, KERNEL_STACK = SYSTEM + 0x9000,
    KERNEL_STACK_TOP = KERNEL_STACK + PAGE,
    XSAVE_SIZE = 576,
};

/* Linux's selectors, because some instructions show them. */
enum { SEL_KERNEL_CS = 0x10, SEL_USER_DS = 0x2b, SEL_USER_CS = 0x33, SEL_TSS = 0x40 };

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };
#define PTE_NX (1ull << 63)

static struct cpu *cpu;
static uint32_t page_code[ARENA_SIZE / PAGE];

static enum cpu_status map_page(void *opaque, uint64_t gpa, enum cpu_access access,
                                struct cpu_page *page)
{
    if (gpa < ARENA || gpa >= ARENA + ARENA_SIZE)
        return CPU_BREAK;
    page->host = arena_ours(gpa);
    page->code = &page_code[(gpa - ARENA) / PAGE];
    page->writable = true;
    return CPU_OK;
}

static enum cpu_status no_mmio(void *opaque, uint64_t gpa, void *data, unsigned size, bool write)
{
    memset(data, 0xff, write ? 0 : size);
    return CPU_OK;
}

static enum cpu_status no_pio(void *opaque, uint16_t port, void *data, unsigned size, bool write)
{
    memset(data, 0xff, write ? 0 : size);
    return CPU_OK;
}

static void nothing(void *opaque)
{
}

static enum cpu_status no_rdmsr(void *opaque, uint32_t index, uint64_t *value)
{
    return CPU_BREAK;
}

static enum cpu_status no_wrmsr(void *opaque, uint32_t index, uint64_t value)
{
    return CPU_BREAK;
}

static bool supported_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    static struct cpuid_entry entries[256];
    static size_t nr;

    if (!nr)
        nr = cpu_supported_cpuid(entries, sizeof(entries) / sizeof(entries[0]));
    for (size_t i = 0; i < nr; i++)
        if (entries[i].leaf == leaf && (!entries[i].indexed || entries[i].subleaf == subleaf)) {
            regs[0] = entries[i].eax;
            regs[1] = entries[i].ebx;
            regs[2] = entries[i].ecx;
            regs[3] = entries[i].edx;
            return true;
        }
    return false;
}

static void op_cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    if (!supported_cpuid(leaf, subleaf, regs))
        memset(regs, 0, 16);
}

static uint64_t read_zero(void *opaque)
{
    return 0;
}

static void write_nothing(void *opaque, uint64_t value)
{
}

static const struct cpu_ops ops = {
    .map_page = map_page, .mmio = no_mmio, .pio = no_pio, .access_done = nothing,
    .rdmsr = no_rdmsr, .wrmsr = no_wrmsr, .cpuid = op_cpuid, .read_tsc = read_zero,
    .read_tpr = read_zero, .write_tpr = write_nothing,
};

bool ours_cpuid(uint32_t leaf, uint32_t regs[4])
{
    return supported_cpuid(leaf, 0, regs);
}

static void store64(uint64_t addr, uint64_t value)
{
    memcpy(arena_ours(addr), &value, 8);
}

static uint64_t load64(uint64_t addr)
{
    uint64_t value;

    memcpy(&value, arena_ours(addr), 8);
    return value;
}

static void map(uint64_t start, uint64_t size, uint64_t bits)
{
    for (uint64_t a = start; a < start + size; a += PAGE)
        store64(PT + (a - ARENA) / PAGE * 8, a | bits);
}

/* ARENA is 2 MiB aligned, so one table of each level does. */
static void make_page_tables(void)
{
    store64(PML4, PDPT | PTE_P | PTE_W | PTE_U);
    store64(PDPT + (ARENA >> 30) * 8, PD | PTE_P | PTE_W | PTE_U);
    store64(PD + (ARENA >> 21 & 511) * 8, PT | PTE_P | PTE_W | PTE_U);
    map(CODE, CODE_SIZE, PTE_P | PTE_U);
    map(DATA, DATA_SIZE, PTE_P | PTE_W | PTE_U | PTE_NX);
    map(RDONLY, RDONLY_SIZE, PTE_P | PTE_U | PTE_NX);
    map(STACK, STACK_SIZE, PTE_P | PTE_W | PTE_U | PTE_NX);
    map(SYSTEM, SYSTEM_SIZE, PTE_P | PTE_W);
}

static void make_tables(void)
{
    memset(arena_ours(HANDLERS), 0xf4, 256);
    for (unsigned i = 0; i < 256; i++) {            /* interrupt gates; INT3 and INTO from ring 3 */
        uint64_t offset = HANDLERS + i, dpl = i == 3 || i == 4 ? 3 : 0;

        store64(IDT + i * 16, (offset & 0xffff) | SEL_KERNEL_CS << 16 | (0x8e00 | dpl << 13) << 32 |
                              (offset >> 16 & 0xffff) << 48);
        store64(IDT + i * 16 + 8, offset >> 32);
    }
    store64(GDT + SEL_KERNEL_CS, 0x00af9b000000ffff);
    store64(GDT + (SEL_USER_DS & ~7), 0x00cff3000000ffff);
    store64(GDT + (SEL_USER_CS & ~7), 0x00affb000000ffff);
    store64(TSS + 4, KERNEL_STACK_TOP);
}

static void set_segments(void)
{
    static const struct cpu_segment code = { .limit = UINT32_MAX, .selector = SEL_USER_CS,
        .ar = SEG_AR_P | SEG_AR_DPL | SEG_AR_S | 0xb | SEG_AR_L | SEG_AR_G };
    static const struct cpu_segment stack = { .limit = UINT32_MAX, .selector = SEL_USER_DS,
        .ar = SEG_AR_P | SEG_AR_DPL | SEG_AR_S | 3 | SEG_AR_DB | SEG_AR_G };
    static const struct cpu_segment null = { .ar = SEG_AR_UNUSABLE };

    cpu->seg[SEG_CS] = code;
    cpu->seg[SEG_SS] = stack;
    cpu->seg[SEG_DS] = cpu->seg[SEG_ES] = cpu->seg[SEG_FS] = cpu->seg[SEG_GS] = null;
    cpu->seg[SEG_GS].base = GS_BASE;
}

static void on_alarm(void)
{
    __atomic_fetch_or(&cpu->request, CPU_REQ_EXIT, __ATOMIC_SEQ_CST);
}

int ours_init(void)
{
    cpu = cpu_new(&ops, NULL);
    if (!cpu)
        return -ENOMEM;
    make_page_tables();
    make_tables();
    cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    cpu->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_OSXSAVE;
    cpu->xcr0 = 3;
    cpu->cr3 = PML4;
    cpu->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    cpu->idt = (struct cpu_table){ .base = IDT, .limit = 256 * 16 - 1 };
    cpu->gdt = (struct cpu_table){ .base = GDT, .limit = 0x7f };
    cpu->seg[SEG_TR] = (struct cpu_segment){ .base = TSS, .limit = 0x67, .selector = SEL_TSS,
                                             .ar = SEG_AR_P | 0xb };
    cpu->seg[SEG_LDTR] = (struct cpu_segment){ .ar = SEG_AR_UNUSABLE };
    set_segments();
    cpu_set_rflags(cpu, 0x202);
    cpu_state_replaced(cpu);
    host_on_alarm = on_alarm;
    return 0;
}

void ours_code_written(void)
{
    for (uint64_t a = CODE; a < CODE + CODE_SIZE; a += PAGE)
        if (page_code[(a - ARENA) / PAGE] & 1)
            cpu_code_written(&page_code[(a - ARENA) / PAGE]);
}

static void load_fpu(const struct fx_image *fx)
{
    uint8_t area[XSAVE_SIZE] __attribute__((aligned(64))) = { 0 };

    memcpy(area, fx, 512);
    area[512] = 3;
    cpu_xrstor(cpu, area);
}

static bool vector_has_error(unsigned vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* The handler's HLT completed: the frame on the kernel stack tells what happened. */
static void read_frame(struct outcome *out)
{
    uint64_t frame = cpu->regs[REG_RSP];

    out->vector = cpu->regs[REG_RIP] - 1 - HANDLERS;
    if (frame < KERNEL_STACK || frame > KERNEL_STACK_TOP - 40) {
        out->vector = VECTOR_OTHER;
        return;
    }
    if (vector_has_error(out->vector)) {
        out->error = load64(frame);
        frame += 8;
    }
    out->state.rip = load64(frame);
    out->state.rflags = load64(frame + 16);
    out->state.gpr[REG_RSP] = load64(frame + 24);
    out->cr2 = out->vector == VECTOR_PF ? cpu->cr2 : 0;
}

void ours_run(const struct state *in, struct outcome *out)
{
    static const struct itimerval off, limit = { .it_value.tv_usec = 500000 };
    uint8_t area[XSAVE_SIZE] __attribute__((aligned(64)));
    enum cpu_status status;

    memset(out, 0, sizeof(*out));
    set_segments();
    memcpy(cpu->regs, in->gpr, sizeof(in->gpr));
    cpu->regs[REG_RIP] = in->rip;
    cpu_set_rflags(cpu, in->rflags);
    load_fpu(&in->fx);
    cpu->event.pending = cpu->nmi_masked = false;
    cpu->interrupt_shadow = 0;
    cpu->request = 0;
    cpu_update_mode(cpu);

    setitimer(ITIMER_PROF, &limit, NULL);
    status = cpu_run(cpu);
    setitimer(ITIMER_PROF, &off, NULL);

    memcpy(out->state.gpr, cpu->regs, sizeof(out->state.gpr));
    out->state.rip = cpu->regs[REG_RIP];
    out->state.rflags = cpu_rflags(cpu);
    switch (status) {
    case CPU_EXIT_HLT: read_frame(out); break;
    case CPU_EXIT_REQUEST: out->vector = VECTOR_HANG; break;
    case CPU_EXIT_SHUTDOWN: out->vector = VECTOR_SHUTDOWN; break;
    case CPU_EXIT_UNKNOWN: out->vector = VECTOR_UNKNOWN; break;
    default: out->vector = VECTOR_OTHER; break;
    }
    cpu_xsave(cpu, area);
    memcpy(&out->state.fx, area, 512);
}

uint32_t ours_undefined_flags(const uint8_t *code, size_t length)
{
    unsigned prefix = PFX_NP;
    enum opcode_map map = MAP_1B;
    size_t i = 0;
    const struct opcode *op;

    for (; i < length; i++) {
        if (code[i] == 0x66 && prefix == PFX_NP)
            prefix = PFX_66;
        else if (code[i] == 0xf3 || code[i] == 0xf2)
            prefix = code[i] == 0xf3 ? PFX_F3 : PFX_F2;
        else if (code[i] != 0x66 && code[i] != 0x67 && code[i] != 0xf0 &&
                 (code[i] & 0xfe) != 0x64 && (code[i] & 0xf0) != 0x40)
            break;
    }
    if (i + 2 < length && code[i] == 0x0f) {
        map = code[i + 1] == 0x38 ? MAP_0F38 : code[i + 1] == 0x3a ? MAP_0F3A : MAP_0F;
        i += map == MAP_0F ? 1 : 2;
    }
    if (i >= length)
        return 0;
    op = opcode_find(map, code[i], prefix, i + 1 < length ? code[i + 1] : 0, true);
    return op ? op->undefined : 0;
}
