/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processor on any bytes as code, in every mode and with any registers, on a
 * machine of 128 KiB whose tables are in order when it starts (fuzz_machine.h).
 *
 * First it goes one instruction at a time.  Then:
 *  - nothing has more than 15 bytes, and rip moves on by as many;
 *  - what faults leaves every register as it was, rip on the instruction;
 *  - an access that couldn't be served is asked for again in the same way;
 *  - read-only memory stays as it is.
 * If that came to an end (HLT, triple fault...), the same is run once more at full
 * speed, which has to arrive at the same registers, memory and device accesses.
 */
#include "fuzz.h"

#include "decode.h"
#include "fuzz_machine.h"
#include "mode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 200 };

#define CHECK(condition_) do { if (!(condition_)) complain(m, #condition_); } while (0)

/* What a fault must not change; cpu->fpu's status and MXCSR's flags are its message. */
struct snapshot {
    uint64_t regs[16], rip, rflags, cr0, cr3, cr4, xcr0, efer, bases[4];
    struct cpu_segment seg[CPU_NR_SEGS];
    struct cpu_table gdt, idt;
    struct cpu_fpu fpu;
};

static void snapshot_take(const struct cpu *cpu, struct snapshot *s)
{
    memset(s, 0, sizeof(*s));
    memcpy(s->regs, cpu->regs, sizeof(s->regs));
    s->rip = cpu->regs[REG_RIP];
    s->rflags = cpu_rflags(cpu);
    s->cr0 = cpu->cr0;
    s->cr3 = cpu->cr3;
    s->cr4 = cpu->cr4;
    s->xcr0 = cpu->xcr0;
    s->efer = cpu->efer;
    s->bases[0] = cpu->kernel_gs_base;
    s->bases[1] = cpu->star;
    s->bases[2] = cpu->lstar;
    s->bases[3] = cpu->sysenter_eip;
    for (unsigned i = 0; i < CPU_NR_SEGS; i++) {
        s->seg[i].base = cpu->seg[i].base;
        s->seg[i].limit = cpu->seg[i].limit;
        s->seg[i].ar = cpu->seg[i].ar;
        s->seg[i].selector = cpu->seg[i].selector;
    }
    s->gdt.base = cpu->gdt.base;
    s->gdt.limit = cpu->gdt.limit;
    s->idt.base = cpu->idt.base;
    s->idt.limit = cpu->idt.limit;
    s->fpu.control = cpu->fpu.control;
    s->fpu.status = cpu->fpu.status;
    s->fpu.valid = cpu->fpu.valid;
    s->fpu.mxcsr = cpu->fpu.mxcsr;
    memcpy(s->fpu.xmm, cpu->fpu.xmm, sizeof(s->fpu.xmm));
    for (unsigned i = 0; i < 8; i++) {
        s->fpu.st[i].mantissa = cpu->fpu.st[i].mantissa;
        s->fpu.st[i].sign_exponent = cpu->fpu.st[i].sign_exponent;
    }
}

static void snapshot_print(const char *name, const struct snapshot *s)
{
    static const char *const regs[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };

    fprintf(stderr, "%s: rip %jx flags %jx cr0 %jx cr3 %jx cr4 %jx efer %jx fpu %x %x %x %x\n",
            name, (uintmax_t)s->rip, (uintmax_t)s->rflags, (uintmax_t)s->cr0, (uintmax_t)s->cr3,
            (uintmax_t)s->cr4, (uintmax_t)s->efer, s->fpu.control, s->fpu.status, s->fpu.valid,
            s->fpu.mxcsr);
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, "  %s%u %jx", i < 8 ? regs[i] : "r", i, (uintmax_t)s->regs[i]);
    for (unsigned i = 0; i < CPU_NR_SEGS; i++)
        fprintf(stderr, "\n  seg %u: %x base %jx limit %x ar %x", i, s->seg[i].selector,
                (uintmax_t)s->seg[i].base, s->seg[i].limit, s->seg[i].ar);
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, "\n  xmm%u %jx:%jx", i, (uintmax_t)s->fpu.xmm[i].u64[1],
                (uintmax_t)s->fpu.xmm[i].u64[0]);
    for (unsigned i = 0; i < 8; i++)
        fprintf(stderr, "\n  st%u %x:%jx", i, s->fpu.st[i].sign_exponent,
                (uintmax_t)s->fpu.st[i].mantissa);
    fprintf(stderr, "\n");
}

struct step {
    struct snapshot before;
    uint8_t bytes[INSN_MAX_BYTES];
    unsigned avail, length;
    struct insn insn;
};

static struct step last;        /* the step that was taken last: for messages too */

static _Noreturn void complain(struct fuzz_machine *m, const char *what)
{
    struct snapshot now;

    fprintf(stderr, "%s\n  instruction %s:", what,
            last.insn.row < nr_opcodes ? opcodes[last.insn.row].name : "invalid");
    for (unsigned i = 0; i < last.avail; i++)
        fprintf(stderr, "%s%02x", i == last.length ? " | " : " ", last.bytes[i]);
    fprintf(stderr, "\n  code size %u, cpl %u, last fault %u, event %u %u\n", m->cpu->code_size,
            m->cpu->cpl, m->cpu->fault.vector, m->cpu->event.pending, m->cpu->event.vector);
    snapshot_print("before", &last.before);
    snapshot_take(m->cpu, &now);
    snapshot_print("now", &now);
    abort();
}

void fuzz_machine_failed(struct fuzz_machine *m, const char *what)
{
    complain(m, what);
}

/* The bytes at rip, as far as they are mapped RAM. */
static void step_fetch(struct fuzz_machine *m, struct step *s)
{
    struct cpu *cpu = m->cpu;
    uint64_t gpa = 0;

    for (s->avail = 0; s->avail < INSN_MAX_BYTES; s->avail++) {
        uint64_t linear = cpu->regs[REG_RIP] + s->avail;

        if (cpu->code_size != 8)
            linear = (uint32_t)(cpu->seg[SEG_CS].base + linear);
        if ((s->avail == 0 || linear % CPU_PAGE_SIZE == 0) && !fuzz_translate(m, linear, &gpa))
            return;
        s->bytes[s->avail] = m->ram[gpa++];
    }
}

static void step_begin(struct fuzz_machine *m, struct step *s)
{
    struct cpu *cpu = m->cpu;
    const struct decode_mode mode = { .code_size = cpu->code_size, .stack_size = cpu->stack_size };
    uint8_t *bytes;

    snapshot_take(cpu, &s->before);
    step_fetch(m, s);
    /* The address sanitizer watches the byte after the last one. */
    bytes = malloc(s->avail ? s->avail : 1);
    memcpy(bytes, s->bytes, s->avail);
    s->insn.row = nr_opcodes;
    s->length = decode_insn(bytes, s->avail, mode, 0, &s->insn);
    free(bytes);
    CHECK(s->length <= s->avail && (s->length || s->avail < INSN_MAX_BYTES));
    CHECK(s->insn.row <= nr_opcodes && (!s->length || s->insn.next == s->length));
}

static bool is_row(const struct step *s, const char *name)
{
    return s->length && s->insn.row < nr_opcodes && strcmp(opcodes[s->insn.row].name, name) == 0;
}

/*
 * A string instruction that repeats over its own bytes, or comes from a device that
 * answers otherwise each time: what is left of it after a stop is another
 * instruction, where an undisturbed run finishes the old one.  The manual promises
 * neither.
 */
static bool became_another(struct fuzz_machine *m, const struct step *s)
{
    struct step again;

    if (m->cpu->regs[REG_RIP] != s->before.rip)
        return false;
    if (!s->length)
        return true;
    if (s->insn.row >= nr_opcodes || !(opcodes[s->insn.row].attrs & STRING))
        return false;
    step_fetch(m, &again);
    return again.avail < s->length || memcmp(again.bytes, s->bytes, s->length) != 0;
}

/* An instruction that just goes on to the next one, and did so without an event. */
static void check_completed(struct fuzz_machine *m, const struct step *s)
{
    uint64_t next = s->before.rip + s->length;

    if (!s->length || s->insn.row >= nr_opcodes || !fuzz_handlers_stand(m) ||
        (opcodes[s->insn.row].attrs & (SETS_RIP | STRING)))
        return;
    if (m->cpu->code_size != 8)
        next = (uint32_t)next;
    CHECK(m->cpu->regs[REG_RIP] == next);
}

/* A fault without anywhere to go: nothing may have changed. */
static void check_shutdown(struct fuzz_machine *m, const struct step *s)
{
    struct snapshot now;

    snapshot_take(m->cpu, &now);
    /* A task switch had happened; the fault is the new task's. */
    if (now.seg[SEG_TR].selector != s->before.seg[SEG_TR].selector || m->trapped)
        return;
    now.fpu.status = s->before.fpu.status;
    CHECK((now.fpu.mxcsr & ~0x3fu) == (s->before.fpu.mxcsr & ~0x3fu));
    now.fpu.mxcsr = s->before.fpu.mxcsr;
    CHECK(memcmp(&now, &s->before, sizeof(now)) == 0);
}

/* Step by step.  Says how it ended; CPU_OK: not within MAX_STEPS. */
static enum cpu_status run_steps(struct fuzz_machine *m)
{
    struct cpu *cpu = m->cpu;

    cpu->guest_debug.enabled = cpu->guest_debug.single_step = true;
    for (unsigned n = 0; n < MAX_STEPS; n++) {
        enum cpu_status status;

        if (!cpu->event.pending)
            step_begin(m, &last);
        m->trapped |= (last.before.rflags & FLAG_TF) || (cpu->dr[7] & 0xff) ||
                      is_row(&last, "int1");
        /* ENTER that had to stop reads anew what its own frame may have overwritten by then. */
        m->unrepeatable |= is_row(&last, "rdrand") || is_row(&last, "rdseed") ||
                           (m->refuse && is_row(&last, "enter"));
        m->access = 0;
        status = cpu_run(cpu);
        CHECK(status > CPU_FAULT);
        m->unrepeatable |= became_another(m, &last);
        if (status == CPU_EXIT_DEBUG)
            check_completed(m, &last);
        else if (status == CPU_EXIT_SHUTDOWN && cpu->idt.limit == 0)
            check_shutdown(m, &last);
        if (status != CPU_EXIT_DEBUG && status != CPU_EXIT_ACCESS)
            return status;
        m->trapped |= cpu_rflags(cpu) & FLAG_TF;
    }
    return CPU_OK;
}

static void check_same_end(struct fuzz_machine *m, const struct fuzz_machine *stepped,
                           const struct snapshot *end)
{
    struct snapshot now;

    snapshot_take(m->cpu, &now);
    last.before = *end;         /* what complain() calls "before" is the other run's end */
    CHECK(memcmp(&now, end, sizeof(now)) == 0);
    CHECK(m->digest == stepped->digest);
    CHECK(memcmp(m->ram, stepped->ram, FUZZ_RAM) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_machine *stepped, *free_running;
    struct fuzz_setup setup;
    struct snapshot end;
    enum cpu_status status;

    if (!stepped) {
        stepped = fuzz_machine_new();
        free_running = fuzz_machine_new();
    }
    if (size <= sizeof(setup))
        return 0;
    memcpy(&setup, data, sizeof(setup));
    fuzz_machine_start(stepped, &setup, data + sizeof(setup), size - sizeof(setup));
    status = run_steps(stepped);
    fuzz_machine_check(stepped);
    if (status == CPU_OK || stepped->trapped || stepped->unrepeatable)
        return 0;
    snapshot_take(stepped->cpu, &end);
    setup.refuse = 0;
    fuzz_machine_start(free_running, &setup, data + sizeof(setup), size - sizeof(setup));
    if (cpu_run(free_running->cpu) != status)
        complain(free_running, "another end at full speed");
    check_same_end(free_running, stepped, &end);
    return 0;
}

/* The lowest of a set of bits, as a number. */
static unsigned first_of(unsigned set)
{
    return __builtin_ctz(set | 0x80000000);
}

/* One instruction of the row, in some form of it. */
static size_t encode(const struct opcode *op, bool rex_w, bool memory, uint8_t *code)
{
    static const uint8_t maps[NR_MAPS][2] = { { 0 }, { 0x0f }, { 0x0f, 0x38 }, { 0x0f, 0x3a } };
    uint8_t *p = code;

    if (op->prefix != PFX_ANY && !(op->prefix & PFX_NP))
        *p++ = op->prefix & PFX_66 ? 0x66 : op->prefix & PFX_F3 ? 0xf3 : 0xf2;
    if (rex_w)
        *p++ = 0x48;
    for (unsigned i = 0; i < 2 && maps[op->map][i]; i++)
        *p++ = maps[op->map][i];
    *p++ = op->opcode;
    if (op->attrs & MODRM) {
        unsigned rm = op->rm & RM_MEM && (memory || op->rm == RM_MEM) ? 3 : 0xc0 | first_of(op->rm);

        *p++ = rm | first_of(op->digit) << 3;
    }
    if (op->attrs & IMM_MASK) {
        memcpy(p, "\x08\x00\x01\x00\x00\x00\x08\x00", 8);
        p += (op->attrs & IMM_MASK) < IMM_W ? 1 : 4;
    }
    return p - code;
}

/* Every row of the opcode table: in long mode where it is for that, and in some other mode. */
const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    static uint8_t seed[sizeof(struct fuzz_setup) + 64];
    static const uint8_t tail[] = { 0x50, 0x89, 0x03, 0x01, 0x4b, 0x08, 0x59, 0x7c, 0x01, 0x90,
                                    0xf4 };
    unsigned row = n / 2;
    bool second = n & 1;
    const struct opcode *op = &opcodes[row];
    struct fuzz_setup setup = {
        .mode = second ? row : op->attrs & NO64 ? 2 : 3, .cpl = row % 5 == 0, .seed = row,
        .refuse = row % 3 == 0 ? 0x55 : 0, .offset = row % 16 ? 0x100 : 0xff8,
        .options = FUZZ_FPU | FUZZ_XSAVE | (row & 2 ? FUZZ_NO_IDT : 0) |
                   (row & 4 ? FUZZ_CR4 : 0) | (row & 8 ? FUZZ_UNMASKED : 0),
    };
    size_t length;

    if (row >= nr_opcodes)
        return NULL;
    for (unsigned i = 0; i < 16; i++)
        setup.regs[i] = (row % 7 ? 1 : 7) << 12 | (0x900 + i * 32);
    setup.regs[REG_RSP] = 0x4700;
    setup.regs[REG_RCX] = 0x808;
    memcpy(seed, &setup, sizeof(setup));
    length = encode(op, row % 3 == 1 && !second, n / 4 & 1, seed + sizeof(setup));
    memcpy(seed + sizeof(setup) + length, tail, sizeof(tail));
    *size = sizeof(setup) + length + sizeof(tail);
    return seed;
}
