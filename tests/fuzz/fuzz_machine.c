/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fuzz_machine.h. */
#include "fuzz_machine.h"

#include "mode.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROM = 0x4000, HANDLER = ROM + 0x800,
    GDT = 0x5000, TSS = 0x6000, TSS_LIMIT = 0x2067,
    TABLES = 0x9000, STACK = 0xd000, CODE = 0xe000, CODE_SIZE = 0x2000, DATA = 0x10000,
    VECTORS = 32, GDT_ENTRIES = 20, MMIO = 0x40000000,
    SEL_CODE = 0x08, SEL_DATA = 0x10,
};

enum mode { REAL, PROTECTED16, PROTECTED32, LONG, COMPAT, VM86, PAGED32, PAE32 };

#define FAIL_UNLESS(m_, condition_)                                             \
    do {                                                                        \
        if (!(condition_))                                                      \
            fuzz_machine_failed((m_), #condition_);                             \
    } while (0)

static uint64_t mix(uint64_t x)         /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* One in eight of the first accesses, as the setup says; the same access is never refused twice. */
static bool refused(struct fuzz_machine *m)
{
    unsigned n = m->looking ? UINT32_MAX : m->accesses++;

    return m->logged < FUZZ_MAX_ACCESSES && (m->refuse >> (n & 7) & 1) && n < 64;
}

static enum cpu_status map_page(void *opaque, uint64_t gpa, enum cpu_access access,
                                struct cpu_page *page)
{
    struct fuzz_machine *m = opaque;

    FAIL_UNLESS(m, gpa % CPU_PAGE_SIZE == 0 && gpa >> m->cpu->phys_bits == 0);
    if (refused(m))
        return CPU_EXIT_ACCESS;
    if (gpa >= FUZZ_RAM || (gpa == ROM && access == ACCESS_WRITE))
        return CPU_BREAK;
    *page = (struct cpu_page){ m->ram + gpa, &m->code[gpa / CPU_PAGE_SIZE], gpa != ROM };
    return CPU_OK;
}

/* An access to a device.  What was answered before the instruction had to stop, is so again. */
static enum cpu_status device(struct fuzz_machine *m, uint64_t address, void *data, unsigned size,
                              bool write, bool pio)
{
    struct fuzz_access a = { .address = address, .size = size, .write = write, .pio = pio };

    if (write)
        memcpy(&a.data, data, size);
    if (m->access < m->logged) {
        const struct fuzz_access *was = &m->log[m->access++];

        FAIL_UNLESS(m, was->address == address && was->size == size && was->write == write &&
                    was->pio == pio && (!write || was->data == a.data));
        if (!write)
            memcpy(data, &was->data, size);
        return CPU_OK;
    }
    if (refused(m))
        return CPU_EXIT_ACCESS;
    if (!write) {
        a.data = mix(address + m->digest);
        memcpy(data, &a.data, size);
    }
    m->digest = mix(mix(mix(m->digest ^ a.address) ^ a.data) ^ (size | write << 8 | pio << 9));
    if (m->logged < FUZZ_MAX_ACCESSES)
        m->log[m->logged++] = a;
    m->access++;
    return CPU_OK;
}

static enum cpu_status mmio(void *opaque, uint64_t gpa, void *data, unsigned size, bool write)
{
    struct fuzz_machine *m = opaque;

    FAIL_UNLESS(m, size >= 1 && size <= 8 && (gpa ^ (gpa + size - 1)) < CPU_PAGE_SIZE);
    FAIL_UNLESS(m, gpa >= FUZZ_RAM || (write && gpa / CPU_PAGE_SIZE == ROM / CPU_PAGE_SIZE));
    return device(m, gpa, data, size, write, false);
}

static enum cpu_status pio(void *opaque, uint16_t port, void *data, unsigned size, bool write)
{
    struct fuzz_machine *m = opaque;

    FAIL_UNLESS(m, size == 1 || size == 2 || size == 4);
    return device(m, port, data, size, write, true);
}

static void access_done(void *opaque)
{
    struct fuzz_machine *m = opaque;

    m->logged = m->access = 0;
}

static enum cpu_status rdmsr(void *opaque, uint32_t index, uint64_t *value)
{
    *value = mix(index);
    return cpu_msr_known(index) ? CPU_BREAK : index & 1 ? CPU_OK : CPU_FAULT;
}

static enum cpu_status wrmsr(void *opaque, uint32_t index, uint64_t value)
{
    return cpu_msr_known(index) ? CPU_BREAK : index & 1 ? CPU_OK : CPU_FAULT;
}

static void cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    uint64_t value = mix((uint64_t)leaf << 32 | subleaf);

    memcpy(regs, &value, 8);
    memcpy(regs + 2, &value, 8);
}

static uint64_t read_tsc(void *opaque)
{
    return ((struct fuzz_machine *)opaque)->tsc += 1000;
}

static uint64_t read_tpr(void *opaque)
{
    return ((struct fuzz_machine *)opaque)->tpr;
}

static void write_tpr(void *opaque, uint64_t value)
{
    ((struct fuzz_machine *)opaque)->tpr = value;
}

static const struct cpu_ops ops = {
    .map_page = map_page, .mmio = mmio, .pio = pio, .access_done = access_done, .rdmsr = rdmsr,
    .wrmsr = wrmsr, .cpuid = cpuid, .read_tsc = read_tsc, .read_tpr = read_tpr,
    .write_tpr = write_tpr,
};

struct fuzz_machine *fuzz_machine_new(void)
{
    struct fuzz_machine *m = calloc(1, sizeof(*m));

    if (!m)
        abort();
    m->ram = aligned_alloc(CPU_PAGE_SIZE, FUZZ_RAM);
    m->cpu = cpu_new(&ops, m);
    if (!m->ram || !m->cpu)
        abort();
    return m;
}

static void put(uint8_t *ram, unsigned gpa, uint64_t value, unsigned size)
{
    memcpy(ram + gpa, &value, size);
}

/* Gates of the mode's own kind, all to HLTs. */
static void make_handlers(uint8_t *ram, enum mode mode)
{
    unsigned size = mode == LONG || mode == COMPAT ? 16 : 8;

    memset(ram + ROM, 0, CPU_PAGE_SIZE);
    memset(ram + HANDLER, 0xf4, CPU_PAGE_SIZE - (HANDLER - ROM));
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        uint64_t offset = HANDLER + vector * 16;
        /* INT n works from any level for odd n; one in four uses an IST. */
        uint64_t dpl = vector & 1 ? 3 : 0;
        uint64_t ist = size == 16 && vector % 4 == 2 ? vector % 7 + 1 : 0;

        if (mode == REAL)
            put(ram, ROM + vector * 4, offset, 4);
        else
            put(ram, ROM + vector * size,
                offset | SEL_CODE << 16 | ist << 32 | (0x8e | dpl << 5) << 40, 8);
    }
}

static void make_gdt(uint8_t *ram, enum mode mode)
{
    bool wide = mode == LONG || mode == COMPAT;
    uint64_t code = wide ? 0x00af9b000000ffff : mode == PROTECTED16 ? 0x008f9b000000ffff
                                                                    : 0x00cf9b000000ffff;
    uint64_t tss = (uint64_t)(TSS & 0xffff) << 16 | TSS_LIMIT;
    const uint64_t gdt[GDT_ENTRIES] = {
        0, code, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff,
        /* 28: call gate from user code, 16 bytes in long mode; 38: busy, 48: available TSS */
        (HANDLER & 0xffff) | SEL_CODE << 16 | 0xecull << 40, 0,
        tss | 0x8bull << 40, 0, tss | 0x89ull << 40, 0,
        /* 58: 16-bit code, 60: conforming code, 68: 64-bit user code, 70: not present, 78: LDT */
        0x000f9b000000ffff, 0x00cf9f000000ffff, 0x00affb000000ffff, 0x00cf13000000ffff,
        0x000082000000ffff | (uint64_t)GDT << 16, 0,
        /* 88: task gate, 90: 16-bit call gate, 98: expand-down data */
        (uint64_t)0x48 << 16 | 0xe5ull << 40, (HANDLER & 0xffff) | SEL_CODE << 16 | 0xe4ull << 40,
        0x00cf97000000ffff & ~0xffffull,
    };

    memset(ram + GDT, 0, CPU_PAGE_SIZE);
    memcpy(ram + GDT, gdt, sizeof(gdt));
}

static void make_tss(uint8_t *ram, enum mode mode)
{
    memset(ram + TSS, 0, TSS_LIMIT + 1);
    if (mode == LONG || mode == COMPAT) {
        put(ram, TSS + 4, STACK - 0x800, 8);
        for (unsigned ist = 0; ist < 7; ist++)
            put(ram, TSS + 0x24 + ist * 8, STACK - 0x200 * ist, 8);
    } else {
        put(ram, TSS + 4, STACK - 0x800, 4);
        put(ram, TSS + 8, SEL_DATA, 2);
        put(ram, TSS + 0x1c, TABLES, 4);
        put(ram, TSS + 0x20, HANDLER, 4);
        for (unsigned seg = 0; seg < 6; seg++)
            put(ram, TSS + 0x48 + seg * 4, seg == 1 ? SEL_CODE : SEL_DATA, 2);
    }
    put(ram, TSS + 0x66, 0x68, 2);
}

/* Everything is where it is, and user code may use it. */
static void make_tables(uint8_t *ram, enum mode mode)
{
    bool small = mode == PAGED32;
    unsigned leaf = mode == PAGED32 ? TABLES : mode == PAE32 ? TABLES + 0x1000 : TABLES + 0x2000;

    memset(ram + TABLES, 0, 0x3000);
    if (mode == LONG || mode == COMPAT) {
        put(ram, TABLES, (TABLES + 0x1000) | 7, 8);
        put(ram, TABLES + 0x1000, (TABLES + 0x2000) | 7, 8);
        put(ram, TABLES + 0x1008, (TABLES + 0x2000) | 7, 8);
    } else if (mode == PAE32) {
        put(ram, TABLES, (TABLES + 0x1000) | 1, 8);
    }
    /* Large pages all through: the third is the supervisor's, the fourth isn't there. */
    for (uint64_t i = 0; i < (small ? 1024 : 512); i++) {
        unsigned bits = i == 3 ? 0 : i == 2 ? 0x83 : 0x87;

        put(ram, leaf + i * (small ? 4 : 8), i << (small ? 22 : 21) | bits, small ? 4 : 8);
    }
}

/* The RAM that a mode starts with, without the code. */
static const uint8_t *ram_image(enum mode mode)
{
    static uint8_t images[FUZZ_MODES][FUZZ_RAM], made[FUZZ_MODES];
    uint8_t *ram = images[mode];

    if (made[mode])
        return ram;
    made[mode] = true;
    for (unsigned gpa = 0; gpa < FUZZ_RAM; gpa += 8)
        put(ram, gpa, gpa * 0x0101010101010101u, 8);
    make_handlers(ram, mode);
    make_gdt(ram, mode);
    make_tss(ram, mode);
    make_tables(ram, mode);
    memset(ram + CODE, 0xf4, CODE_SIZE);
    return ram;
}

static void set_tables(struct cpu *cpu, enum mode mode)
{
    unsigned gate = mode == REAL ? 4 : mode == LONG || mode == COMPAT ? 16 : 8;

    cpu->idt = (struct cpu_table){ ROM, VECTORS * gate - 1 };
    cpu->gdt = (struct cpu_table){ GDT, GDT_ENTRIES * 8 - 1 };
    cpu->seg[SEG_TR] = (struct cpu_segment){ .base = TSS, .limit = TSS_LIMIT, .selector = 0x38,
                                             .ar = SEG_AR_P | DESC_TSS_BUSY };
    cpu->seg[SEG_LDTR] = (struct cpu_segment){ .base = GDT, .limit = 0xfff, .selector = 0x78,
                                               .ar = SEG_AR_P | DESC_LDT };
}

static void set_segments(struct cpu *cpu, enum mode mode, unsigned cpl)
{
    uint32_t ar = SEG_AR_P | SEG_AR_S | 3;
    uint32_t width = mode == PROTECTED16 ? 0 : SEG_AR_DB;

    if (mode == REAL || mode == VM86) {
        ar |= mode == VM86 ? SEG_AR_DPL : 0;
        for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
            unsigned base = i == SEG_CS ? CODE : i == SEG_ES || i == SEG_FS ? DATA : 0;

            cpu->seg[i] = (struct cpu_segment){ base, 0xffff, ar, base >> 4 };
        }
        return;
    }
    ar |= SEG_AR_G | cpl << SEG_AR_DPL_SHIFT;
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        cpu->seg[i] = (struct cpu_segment){ 0, UINT32_MAX, ar | width, SEL_DATA | cpl };
    cpu->seg[SEG_FS].base = DATA;
    cpu->seg[SEG_CS].ar = ar | 8 | (mode == LONG ? SEG_AR_L : width);
    cpu->seg[SEG_CS].selector = SEL_CODE | cpl;
}

static void set_control(struct cpu *cpu, enum mode mode, unsigned options)
{
    cpu->cr0 = CR0_ET | CR0_NE | (mode == REAL ? 0 : CR0_PE) |
               (options & FUZZ_TS ? CR0_TS | CR0_MP : 0) | (options & FUZZ_AM ? CR0_AM : 0) |
               (options & FUZZ_EM ? CR0_EM : 0);
    cpu->cr4 = (options & FUZZ_NO_SSE ? 0 : CR4_OSFXSR | CR4_OSXMMEXCPT) |
               (options & FUZZ_XSAVE ? CR4_OSXSAVE : 0) |
               (options & FUZZ_SMAP ? CR4_SMEP | CR4_SMAP : 0) |
               (options & FUZZ_CR4 ? CR4_FSGSBASE | CR4_UMIP | CR4_PCE | CR4_DE | CR4_TSD : 0);
    if (mode == LONG || mode == COMPAT || mode == PAGED32 || mode == PAE32) {
        cpu->cr0 |= CR0_PG | CR0_WP;
        cpu->cr4 |= mode == PAGED32 ? CR4_PSE | CR4_PGE : CR4_PAE | CR4_PGE;
        cpu->cr3 = TABLES;
    }
    cpu->xcr0 = 3;
    cpu->efer = mode == LONG || mode == COMPAT ? EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE : 0;
    cpu->star = (uint64_t)0x18 << 48 | (uint64_t)SEL_CODE << 32;
    cpu->lstar = cpu->cstar = HANDLER;
    cpu->sysenter_cs = SEL_CODE;
    cpu->sysenter_esp = STACK;
    cpu->sysenter_eip = HANDLER;
    cpu->kernel_gs_base = DATA;
}

/* Numbers of all kinds: small, huge, denormal, infinite, NaN. */
static void set_fpu(struct cpu_fpu *fpu, unsigned seed, unsigned options)
{
    static const uint64_t kinds[] = {
        0, 0x8000000000000000, 0x3ff0000000000000, 0x7ff0000000000000, 0x7ff0000000000001,
        0xfff8000000000000, 1, 0x7fefffffffffffff, 0x3f8000003f800000, 0x7f8000017f800000,
        0x000000017f7fffff, 0x4330000000000001,
    };
    static const uint16_t exponents[] = { 0, 0x3fff, 0x7fff, 0xffff, 1, 0x4040, 0xbffe, 0x7ffe };

    for (unsigned i = 0; i < 16; i++) {
        uint64_t r = mix(seed * 64 + i);

        for (unsigned half = 0; half < 2; half++, r >>= 8)
            fpu->xmm[i].u64[half] = r & 15 ? kinds[(r & 15) % 12] : mix(r);
    }
    for (unsigned i = 0; i < 8; i++) {
        uint64_t r = mix(seed * 64 + 32 + i);

        fpu->st[i].sign_exponent = exponents[r & 7];
        fpu->st[i].mantissa = r & 8 ? mix(r) : r & 16 ? mix(r) | 1ull << 63 : 1ull << 63;
    }
    fpu->valid = mix(seed) >> 8;
    fpu->status = (seed & 7) << 11;
    fpu->control = options & FUZZ_UNMASKED ? 0x340 : 0x37f;
    fpu->mxcsr = options & FUZZ_UNMASKED ? (seed & 3) << 13 : 0x1f80 | (seed & 3) << 13;
}

static uint64_t register_value(uint16_t what)
{
    static const uint64_t places[16] = {
        0, DATA, DATA + 0x1000, DATA + 0x8000, STACK, CODE + 0x1000, ROM, MMIO, MMIO + 0x1000,
        FUZZ_RAM, 0x400000, 0x600000, 0x800000000000, 0x100000000, 0x80000000, 0xffff800000000000,
    };
    int beside = (int)(what & 0xfff) - 0x800;

    return places[what >> 12] + beside;
}

void fuzz_machine_start(struct fuzz_machine *m, const struct fuzz_setup *setup,
                        const uint8_t *code, size_t size)
{
    struct cpu *cpu = m->cpu;
    enum mode mode = setup->mode % FUZZ_MODES;
    unsigned offset = setup->offset % CPU_PAGE_SIZE;
    unsigned cpl = mode == REAL ? 0 : mode == VM86 ? 3 : setup->cpl & 1 ? 3 : 0;

    m->tsc = m->tpr = m->digest = 0;
    m->logged = m->access = m->accesses = 0;
    m->refuse = setup->refuse;
    m->trapped = m->unrepeatable = false;
    memset(m->code, 0, sizeof(m->code));
    memcpy(m->ram, ram_image(mode), FUZZ_RAM);
    memcpy(m->ram + CODE + offset, code, size < CODE_SIZE - offset ? size : CODE_SIZE - offset);
    cpu_reset(cpu);
    memset(&cpu->guest_debug, 0, sizeof(cpu->guest_debug));
    set_tables(cpu, mode);
    set_segments(cpu, mode, cpl);
    set_control(cpu, mode, setup->options);
    if (setup->options & FUZZ_NO_IDT)
        cpu->idt.limit = 0;
    if (setup->options & FUZZ_FPU)
        set_fpu(&cpu->fpu, setup->seed, setup->options);
    for (unsigned i = 0; i < 16; i++) {
        cpu->regs[i] = register_value(setup->regs[i]);
        if (mode != LONG)
            cpu->regs[i] = i < 8 ? (uint32_t)cpu->regs[i] : 0;
    }
    cpu->regs[REG_RIP] = cpu->seg[SEG_CS].base == CODE ? offset : CODE + offset;
    /* No trap flag: popf in the code can set it. */
    cpu_set_rflags(cpu, (setup->rflags & (FLAGS_ARITH | FLAG_IF | FLAG_DF | FLAG_IOPL | FLAG_NT |
                                          FLAG_AC | FLAG_ID)) | FLAG_ONE |
                   (mode == VM86 ? FLAG_VM : 0));
    cpu_state_replaced(cpu);
}

bool fuzz_translate(struct fuzz_machine *m, uint64_t linear, uint64_t *gpa)
{
    bool writable, user, found;

    m->looking = true;
    found = cpu_translate(m->cpu, linear, gpa, &writable, &user);
    m->looking = false;
    return found && *gpa < FUZZ_RAM;
}

bool fuzz_handlers_stand(struct fuzz_machine *m)
{
    const struct cpu *cpu = m->cpu;
    uint64_t gpa;

    return cpu->idt.base == ROM && cpu->idt.limit && cpu->seg[SEG_CS].base == 0 &&
           fuzz_translate(m, ROM, &gpa) && gpa == ROM;
}

void fuzz_machine_check(struct fuzz_machine *m)
{
    for (unsigned i = HANDLER; i < ROM + CPU_PAGE_SIZE; i++)
        FAIL_UNLESS(m, m->ram[i] == 0xf4);
}
