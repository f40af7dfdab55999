/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: blocks and their invalidation, stepping, shadows, requests,
 * interrupted string instructions; and what only legacy modes have.
 */
#include "block.h"
#include "flat_machine.h"
#include "debug.h"
#include "mmu.h"
#include "mode.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum {
    RAM = 8 << 20,
    TABLES = 0x10000, CODE = 0x20000, STACK = 0x31000, DATA = 0x100000, MMIO = 0x10000000,
    IDT = 0x40000, HANDLER = 0x50000, GDT = 0x60000,
};

static int setup(void **state)
{
    *state = flat_machine_new(RAM);
    return 0;
}

static int teardown(void **state)
{
    flat_machine_free(*state);
    return 0;
}

/* Code at CODE, in 64-bit mode, with gates to HANDLER + vector * 16 where HLT stands. */
static void enter64(struct flat_machine *m, const void *code, size_t size)
{
    struct cpu *cpu = m->cpu;

    flat_enter(m, FLAT_64, 0, TABLES);
    flat_write64(m, GDT + 8, 0x00af9b000000ffff);
    cpu->gdt = (struct cpu_table){ GDT, 0xff };
    cpu->idt = (struct cpu_table){ IDT, 0xfff };
    cpu->seg[SEG_CS].selector = 8;
    for (unsigned i = 0; i < 256; i++) {
        uint64_t offset = HANDLER + i * 16;

        flat_write64(m, IDT + i * 16, (offset & 0xffff) | 8 << 16 | 0x8eull << 40 |
                     (offset >> 16 & 0xffff) << 48);
        flat_write64(m, IDT + i * 16 + 8, 0);
        m->ram[offset] = 0xf4;
    }
    memcpy(m->ram + CODE, code, size);
    cpu->regs[REG_RIP] = CODE;
    cpu->regs[REG_RSP] = STACK;
    cpu_set_rflags(cpu, FLAG_ONE);
}

static void enter_legacy(struct flat_machine *m, enum flat_mode mode, const void *code,
                         size_t size)
{
    flat_enter(m, mode, 0, TABLES);
    memcpy(m->ram + CODE, code, size);
    m->cpu->regs[REG_RIP] = mode == FLAT_REAL ? 0 : CODE;
    if (mode == FLAT_REAL)
        m->cpu->seg[SEG_CS].base = CODE;
    m->cpu->regs[REG_RSP] = mode == FLAT_REAL ? 0x8000 : STACK;
    cpu_set_rflags(m->cpu, FLAG_ONE);
}

#define ENTER64(m_, ...)                                                        \
    do {                                                                        \
        static const uint8_t code_[] = { __VA_ARGS__ };                         \
        enter64((m_), code_, sizeof(code_));                                    \
    } while (0)
#define ENTER(m_, mode_, ...)                                                   \
    do {                                                                        \
        static const uint8_t code_[] = { __VA_ARGS__ };                         \
        enter_legacy((m_), (mode_), code_, sizeof(code_));                      \
    } while (0)

static void test_loop_counts_instructions(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xb9, 0x10, 0x27, 0, 0,          /* mov ecx, 10000 */
            0x48, 0xff, 0xc0,                   /* 1: inc rax */
            0xff, 0xc9, 0x75, 0xf9,             /* dec ecx; jnz 1b */
            0xf4);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX], 10000);
    assert_int_equal(m->cpu->instructions, 1 + 3 * 10000 + 1);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 13);
    assert_in_range(m->cpu->blocks_decoded, 1, 4);
}

/* The very next instruction of the block that runs is changed. */
static void test_code_changes_itself(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xc6, 0x05, 0x01, 0, 0, 0, 0x42, /* mov byte [rip + 1], 0x42 */
            0xb0, 0x11,                         /* mov al, 0x11: becomes 0x42 */
            0xf4);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX] & 0xff, 0x42);
    assert_int_equal(m->cpu->instructions, 3);
}

static void test_string_store_changes_code(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xf3, 0xaa,                      /* rep stosb: NOPs over the next two */
            0x0f, 0x0b, 0x0f, 0x0b,             /* ud2; ud2 */
            0xf4);
    m->cpu->regs[REG_RAX] = 0x90;
    m->cpu->regs[REG_RDI] = CODE + 2;
    m->cpu->regs[REG_RCX] = 4;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 7);
}

/* A block that was linked to and is in every cache changes between two runs of it. */
static void test_called_code_is_replaced(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xb9, 100, 0, 0, 0,              /* mov ecx, 100 */
            0xe8, 0xf6, 0x0f, 0, 0,             /* 1: call CODE + 0x1000 */
            0x88, 0x0d, 0xf2, 0x0f, 0, 0,       /* mov [rip + ff2], cl: its immediate */
            0xff, 0xc9, 0x75, 0xf1,             /* dec ecx; jnz 1b */
            0xf4);
    memcpy(m->ram + CODE + 0x1000, "\x83\xc0\x64\xc3", 4);      /* add eax, 100; ret */
    m->cpu->regs[REG_RAX] = 0;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    /* 100, then what cl was the time before: 100 + 100 + 99 + ... + 2 */
    assert_int_equal(m->cpu->regs[REG_RAX], 100 + 5049);
}

static void test_other_writer_is_noticed(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xb0, 0x11, 0xf4);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    m->ram[CODE + 1] = 0x22;
    cpu_code_written(&m->code[CODE / CPU_PAGE_SIZE]);
    m->cpu->regs[REG_RIP] = CODE;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX] & 0xff, 0x22);
}

static void test_flushed_range_is_decoded_anew(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xb0, 0x11, 0xf4);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    m->ram[CODE + 1] = 0x22;                    /* behind the CPU's back */
    cpu_flush_gpa(m->cpu, CODE, CPU_PAGE_SIZE);
    m->cpu->regs[REG_RIP] = CODE;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX] & 0xff, 0x22);
}

static unsigned fills_to_read_all(struct cpu *cpu, uint64_t first, unsigned pages)
{
    uint64_t before = cpu->tlb_fills, value;

    for (unsigned i = 0; i < pages; i++)
        assert_int_equal(mmu_read64(cpu, first + i * CPU_PAGE_SIZE, &value), CPU_OK);
    return cpu->tlb_fills - before;
}

/* With few translations cached and with many: those of the range go, and no code but its own. */
static void test_flush_costs_the_range_only(void **state)
{
    enum { FIRST = 0x400000, FEW = 10, MANY = 1000 };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t decoded;

    ENTER64(m, 0xeb, 0x00, 0xf4);
    assert_int_equal(cpu_run(cpu), CPU_EXIT_HLT);
    decoded = cpu->blocks_decoded;
    for (unsigned pages = FEW; pages <= MANY; pages += MANY - FEW) {
        assert_true(fills_to_read_all(cpu, FIRST, pages) > 0);
        assert_int_equal(fills_to_read_all(cpu, FIRST, pages), 0);
        cpu_flush_gpa(cpu, FIRST + 7 * CPU_PAGE_SIZE, CPU_PAGE_SIZE);
        assert_int_equal(fills_to_read_all(cpu, FIRST, pages), 1);
        cpu_flush_gpa(cpu, FIRST, 9 * CPU_PAGE_SIZE);
        assert_int_equal(fills_to_read_all(cpu, FIRST, pages), 9);
        cpu->regs[REG_RIP] = CODE;
        assert_int_equal(cpu_run(cpu), CPU_EXIT_HLT);
        assert_int_equal(cpu->blocks_decoded, decoded);
    }
    cpu_flush_gpa(cpu, 0, 1 << 30);
    assert_int_equal(fills_to_read_all(cpu, FIRST, MANY), MANY);
    cpu->regs[REG_RIP] = CODE;
    assert_int_equal(cpu_run(cpu), CPU_EXIT_HLT);
    assert_true(cpu->blocks_decoded > decoded);
}

/* User space writes memory unseen; whoever wants to run that has to map it. */
static void test_code_from_a_disk_is_noticed(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xff, 0xd3,                      /* call rbx */
            0xe6, 0x80,                         /* out 0x80, al: leaves, and comes back */
            0x0f, 0x01, 0x3b,                   /* invlpg [rbx] */
            0xff, 0xd3, 0xf4);                  /* call rbx; hlt */
    memcpy(m->ram + 0x400000, "\xb2\x11\xc3", 3);
    m->cpu->regs[REG_RBX] = 0x400000;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    m->cpu->regs[REG_RIP] = CODE;
    m->refuse = 1;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_ACCESS);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 2);
    memcpy(m->ram + 0x400000, "\xb2\x22\xc3", 3);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RDX] & 0xff, 0x22);
}

static void test_replaced_state_forgets_code(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xb0, 0x11, 0xf4);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    m->ram[CODE + 1] = 0x22;
    m->cpu->regs[REG_RIP] = CODE;
    cpu_state_replaced(m->cpu);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX] & 0xff, 0x22);
}

/* mov eax, imm32 with its immediate in the next page, whose bytes change. */
static void test_instruction_across_pages(void **state)
{
    struct flat_machine *m = *state;
    uint32_t at = CODE + CPU_PAGE_SIZE - 3;

    ENTER64(m, 0xf4);
    memcpy(m->ram + at, "\xb8\x44\x33\x22\x11\xf4", 6);
    for (unsigned i = 0; i < 3; i++) {
        m->cpu->regs[REG_RIP] = at;
        m->ram[at + 4] = i;
        cpu_code_written(&m->code[(at + 4) / CPU_PAGE_SIZE]);
        assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
        assert_int_equal(m->cpu->regs[REG_RAX], i << 24 | 0x223344);
    }
}

/* More blocks than the arena holds. */
static void test_arena_is_reused(void **state)
{
    struct flat_machine *m = *state;
    uint8_t *p = m->ram + DATA;

    ENTER64(m, 0xf4);
    for (unsigned i = 0; i < 6u << 20; i += 4)
        memcpy(p + i, "\xff\xc0\xeb\x00", 4);   /* inc eax; jmp +0 */
    p[6u << 20] = 0xf4;
    for (unsigned round = 0; round < 2; round++) {
        m->cpu->regs[REG_RAX] = 0;
        m->cpu->regs[REG_RIP] = DATA;
        assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
        assert_int_equal(m->cpu->regs[REG_RAX], 6u << 18);
    }
}

static void test_remapped_page_runs_other_code(void **state)
{
    struct flat_machine *m = *state;

    /* The 2 MiB at 0x400000 are mapped to those at 0x200000, then to themselves. */
    ENTER64(m, 0xff, 0xd3,                      /* call rbx */
            0x48, 0x89, 0x07,                   /* mov [rdi], rax */
            0x0f, 0x01, 0x3b,                   /* invlpg [rbx] */
            0xff, 0xd3, 0xf4);                  /* call rbx; hlt */
    memcpy(m->ram + 0x200000, "\xb2\x11\xc3", 3);
    memcpy(m->ram + 0x400000, "\xb6\x22\xc3", 3);
    flat_write64(m, TABLES + 0x2000 + 2 * 8, 0x200087);
    m->cpu->regs[REG_RAX] = 0x400087;
    m->cpu->regs[REG_RBX] = 0x400000;
    m->cpu->regs[REG_RDX] = 0;
    m->cpu->regs[REG_RDI] = TABLES + 0x2000 + 2 * 8;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RDX], 0x2211);
}

static void test_single_step_by_debugger(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x90, 0xeb, 0x01, 0x90, 0xb0, 0x01, 0xf4);
    m->cpu->guest_debug.enabled = m->cpu->guest_debug.single_step = true;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_DEBUG);
    assert_int_equal(m->cpu->debug.pc, CODE + 1);
    assert_int_equal(m->cpu->debug.dr6, DR6_FIXED | DR6_BS);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_DEBUG);
    assert_int_equal(m->cpu->debug.pc, CODE + 4);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_DEBUG);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 6);
    m->cpu->guest_debug.enabled = m->cpu->guest_debug.single_step = false;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
}

/* TF set by POPF: the trap comes after the instruction that follows. */
static void test_trap_flag(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x68, 0x02, 0x01, 0, 0,          /* push TF */
            0x9d, 0x90, 0x90, 0xf4);            /* popf; nop; nop */
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + VECTOR_DB * 16 + 1);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP]), CODE + 7);
    assert_true(m->cpu->dr[6] & DR6_BS);
}

/* Where code ended that sets TF, does something and halts; the #DB came after trap bytes. */
static void expect_trap(struct flat_machine *m, unsigned trap)
{
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + VECTOR_DB * 16 + 1);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP]), CODE + trap);
    assert_int_equal(m->cpu->dr[6], DR6_FIXED | DR6_BS);
}

static void test_mov_ss_holds_back_the_trap(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x68, 0x02, 0x01, 0, 0, 0x9d,    /* push TF; popf */
            0x8e, 0xd0, 0x90, 0xf4);            /* mov ss, eax; nop */
    expect_trap(m, 9);
}

static void test_mov_ss_holds_back_watched_data(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x8e, 0x17, 0x90, 0xf4);         /* mov ss, [rdi]; nop */
    m->cpu->regs[REG_RDI] = DATA;
    m->cpu->dr[0] = DATA;
    m->cpu->dr[7] = 0x30401;                    /* read and write, one byte */
    cpu_state_replaced(m->cpu);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP]), CODE + 3);
    assert_int_equal(m->cpu->dr[6] & 15, 1);
}

static void test_halt_traps(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x68, 0x02, 0x01, 0, 0, 0x9d, 0xf4, 0x90);
    expect_trap(m, 7);
}

/* INT n and SYSCALL clear TF: nothing traps in the handler. */
static void test_handlers_are_not_stepped(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x68, 0x02, 0x01, 0, 0, 0x9d, 0xcd, 0x40);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + 0x40 * 16 + 1);
    ENTER64(m, 0x68, 0x02, 0x01, 0, 0, 0x9d, 0xf1);     /* int1: one #DB, its own */
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + VECTOR_DB * 16 + 1);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP]), CODE + 7);
    assert_int_equal(m->cpu->dr[6], DR6_FIXED);
    ENTER64(m, 0x68, 0x02, 0x01, 0, 0, 0x9d, 0x0f, 0x05, 0xf4, 0xf4);
    m->cpu->efer |= EFER_SCE;
    m->cpu->star = 8ull << 32;
    m->cpu->lstar = CODE + 9;
    m->cpu->sfmask = FLAG_TF;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 10);
}

/* SYSRET to code with TF: the trap comes before that code's first instruction. */
static void test_sysret_traps_at_once(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x48, 0x0f, 0x07, 0x90, 0x90, 0xf4);
    m->cpu->seg[SEG_TR] = (struct cpu_segment){ DATA, 0x67, SEG_AR_P | 0xb, 0x28 };
    flat_write64(m, DATA + 4, STACK);
    m->cpu->efer |= EFER_SCE;
    m->cpu->star = 8ull << 32 | 8ull << 48;
    m->cpu->regs[REG_RCX] = CODE + 3;
    m->cpu->regs[REG_R11] = FLAG_TF | FLAG_ONE;
    expect_trap(m, 3);
}

static void test_sti_shadows_one_instruction(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xfb, 0x90, 0x90, 0xf4);         /* sti; nop; nop; hlt */
    m->cpu->request = CPU_REQ_IRQ;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_REQUEST);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 2);
    assert_true(cpu_interrupt_allowed(m->cpu));
}

static void test_masked_interrupt_does_not_stop(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xb9, 50, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xf4);
    m->cpu->request = CPU_REQ_IRQ;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
}

static void test_request_ends_endless_loop(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xeb, 0xfe);
    m->cpu->request = CPU_REQ_EXIT;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_REQUEST);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE);
}

/* A request is seen in the middle of REP MOVS, which then goes on. */
static void test_rep_is_interrupted_and_resumed(void **state)
{
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;

    ENTER64(m, 0xf3, 0xa4, 0xf4);
    memset(m->ram + DATA, 0x5a, 0x10000);
    cpu->regs[REG_RSI] = DATA;
    cpu->regs[REG_RDI] = DATA + 0x20000;
    cpu->regs[REG_RCX] = 0x10000;
    cpu_set_rflags(cpu, FLAG_ONE | FLAG_IF);
    cpu->guest_debug.enabled = cpu->guest_debug.single_step = true;
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(cpu_run(cpu), CPU_EXIT_DEBUG);
        assert_int_equal(cpu->regs[REG_RIP], CODE);
        assert_int_equal(cpu->regs[REG_RCX], 0x10000 - i);
    }
    cpu->guest_debug.enabled = cpu->guest_debug.single_step = false;
    assert_int_equal(cpu_run(cpu), CPU_EXIT_HLT);
    assert_int_equal(cpu->regs[REG_RCX], 0);
    assert_memory_equal(m->ram + DATA, m->ram + DATA + 0x20000, 0x10000);
}

/* Pages that want the same TLB entry are copied as others are: a walk a page, not an element. */
static void test_rep_between_colliding_pages(void **state)
{
    enum { PAGES = 4, APART = TLB_SIZE * CPU_PAGE_SIZE, COPY = 6 << 20 };
    struct flat_machine *m = *state;
    struct cpu *cpu = m->cpu;
    uint64_t fills;

    ENTER64(m, 0xf3, 0x48, 0xa5, 0xf4);
    flat_write64(m, TABLES + 0x2000 + (APART >> 21) * 8, COPY | 0x87);
    for (unsigned i = 0; i < PAGES * CPU_PAGE_SIZE; i++)
        m->ram[DATA + i] = (uint8_t)(i * 7 + i / CPU_PAGE_SIZE);
    cpu->regs[REG_RSI] = DATA;
    cpu->regs[REG_RDI] = APART + (DATA & 0x1fffff);
    assert_int_equal((cpu->regs[REG_RDI] ^ DATA) & (APART - 1), 0);
    cpu->regs[REG_RCX] = PAGES * CPU_PAGE_SIZE / 8;
    fills = cpu->tlb_fills;
    assert_int_equal(cpu_run(cpu), CPU_EXIT_HLT);
    assert_in_range(cpu->tlb_fills - fills, 1, 4 * PAGES + 2);
    assert_memory_equal(m->ram + COPY + (DATA & 0x1fffff), m->ram + DATA, PAGES * CPU_PAGE_SIZE);
    /* Into what isn't mapped: nothing is copied there, and the instruction can be resumed. */
    flat_write64(m, TABLES + 0x2000 + (APART >> 21) * 8, 0);
    tlb_flush_all(cpu);
    cpu->regs[REG_RIP] = CODE;
    cpu->regs[REG_RSI] = DATA;
    cpu->regs[REG_RDI] = APART + (DATA & 0x1fffff);
    cpu->regs[REG_RCX] = 100;
    assert_int_equal(cpu_run(cpu), CPU_EXIT_HLT);
    assert_in_range(cpu->regs[REG_RIP], HANDLER + 14 * 16, HANDLER + 14 * 16 + 1);
    assert_int_equal(cpu->regs[REG_RCX], 100);
    assert_int_equal(cpu->cr2, APART + (DATA & 0x1fffff));
}

/* REP STOS to a device: each element is an access of its own, ended by access_done(). */
static void test_rep_to_mmio(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xf3, 0xab, 0xf4);
    m->cpu->regs[REG_RDI] = MMIO;
    m->cpu->regs[REG_RCX] = 5;
    m->cpu->regs[REG_RAX] = 0x12345678;
    m->refuse = 1;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_ACCESS);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE);
    assert_int_equal(m->cpu->regs[REG_RCX], 5);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->nr_mmio, 5);
    assert_int_equal(m->nr_done, 5);
    assert_int_equal(m->mmio.address, MMIO + 16);
    assert_int_equal(m->cpu->regs[REG_RDI], MMIO + 20);
}

/* LOCK XADD on a device: read, then write, and one access_done(). */
static void test_locked_access_to_mmio(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xf0, 0x0f, 0xc1, 0x07, 0xf4);   /* lock xadd [rdi], eax */
    m->cpu->regs[REG_RDI] = MMIO;
    m->cpu->regs[REG_RAX] = 2;
    m->mmio_value = 40;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->nr_mmio, 2);
    assert_int_equal(m->nr_done, 1);
    assert_int_equal(m->mmio.data, 42);
    assert_int_equal(m->cpu->regs[REG_RAX], 40);
}

static void test_watched_data_traps(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x89, 0x07, 0x90, 0xf4);         /* mov [rdi], eax; nop */
    m->cpu->regs[REG_RDI] = DATA;
    m->cpu->dr[0] = DATA + 2;
    m->cpu->dr[7] = 0x10401;                    /* write, one byte, enabled */
    cpu_state_replaced(m->cpu);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + VECTOR_DB * 16 + 1);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP]), CODE + 2);
    assert_int_equal(m->cpu->dr[6] & 15, 1);
}

static void test_code_breakpoint_is_a_fault(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x90, 0x90, 0xf4);
    m->cpu->dr[1] = CODE + 1;
    m->cpu->dr[7] = 0x404;
    cpu_state_replaced(m->cpu);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP]), CODE + 1);
    assert_int_equal(m->cpu->dr[6] & 15, 2);
    /* With RF it runs. */
    m->cpu->regs[REG_RIP] = CODE + 1;
    m->cpu->regs[REG_RSP] = STACK;
    cpu_set_rflags(m->cpu, FLAG_ONE | FLAG_RF);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 3);
    assert_false(cpu_rflags(m->cpu) & FLAG_RF);
}

static void test_fault_keeps_registers(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xff, 0xc0,                      /* inc eax */
            0x48, 0x87, 0x07,                   /* xchg [rdi], rax: not canonical */
            0xf4);
    m->cpu->regs[REG_RDI] = 1ull << 60;
    m->cpu->regs[REG_RAX] = 5;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + VECTOR_GP * 16 + 1);
    assert_int_equal(m->cpu->regs[REG_RAX], 6);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP] + 8), CODE + 2);
}

/* A displacement that leaves 32 bits once it is counted from the block's start. */
static void test_farthest_rip_relative(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0x48, 0x8d, 0x05, 0xff, 0xff, 0xff, 0x7f,        /* lea rax, [rip + 7fffffff] */
            0x48, 0x8d, 0x1d, 0x00, 0x00, 0x00, 0x80,           /* lea rbx, [rip - 80000000] */
            0xf4);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_true(m->cpu->regs[REG_RAX] == CODE + 7 + 0x7fffffffull);
    assert_true(m->cpu->regs[REG_RBX] == CODE + 14 - 0x80000000ull);
}

static void test_jump_to_what_is_not_canonical(void **state)
{
    struct flat_machine *m = *state;

    ENTER64(m, 0xff, 0xe0);                     /* jmp rax */
    m->cpu->regs[REG_RAX] = 1ull << 47;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + VECTOR_GP * 16 + 1);
    assert_int_equal(flat_read64(m, m->cpu->regs[REG_RSP] + 8), CODE);
}

static void run_bcd(struct flat_machine *m, uint8_t opcode, uint16_t ax, uint64_t flags,
                    uint16_t want_ax, uint64_t want_flags, uint64_t mask)
{
    const uint8_t code[] = { opcode, 0x0a, 0xf4, 0xf4 };

    enter_legacy(m, FLAT_32, code, sizeof(code));
    if ((opcode & 0xfe) != 0xd4)
        m->ram[CODE + 1] = 0xf4;
    cpu_code_written(&m->code[CODE / CPU_PAGE_SIZE]);
    m->cpu->regs[REG_RAX] = ax;
    cpu_set_rflags(m->cpu, flags | FLAG_ONE);
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX], want_ax);
    assert_int_equal(cpu_rflags(m->cpu) & mask, want_flags);
}

/* Examples of SDM vol. 2, and the edges. */
static void test_decimal_arithmetic(void **state)
{
    struct flat_machine *m = *state;
    uint64_t both = FLAG_CF | FLAG_AF, result = FLAG_SF | FLAG_ZF | FLAG_PF;

    run_bcd(m, 0xd6, 0x1234, FLAG_CF, 0x12ff, FLAG_CF, both | result);      /* salc */
    run_bcd(m, 0xd6, 0x1234, FLAG_ZF, 0x1200, FLAG_ZF, both | result);
    run_bcd(m, 0x27, 0xae, 0, 0x14, both | FLAG_PF, both | result);           /* daa */
    run_bcd(m, 0x27, 0x2e, 0, 0x34, FLAG_AF, both | result);
    run_bcd(m, 0x27, 0x99, 0, 0x99, FLAG_SF | FLAG_PF, both | result);
    run_bcd(m, 0x27, 0x00, both, 0x66, both | FLAG_PF, both | result);
    run_bcd(m, 0x2f, 0xee, 0, 0x88, both | FLAG_SF | FLAG_PF, both | result); /* das */
    run_bcd(m, 0x2f, 0x05, FLAG_AF, 0xff, both | FLAG_SF | FLAG_PF, both | result);
    run_bcd(m, 0x37, 0x000f, 0, 0x0105, both, both);                          /* aaa */
    run_bcd(m, 0x37, 0x00fa, 0, 0x0200, both, both);
    run_bcd(m, 0x37, 0x1234, 0, 0x1204, 0, both);
    run_bcd(m, 0x3f, 0x02ff, 0, 0x0109, both, both);                          /* aas */
    run_bcd(m, 0xd4, 0x0063, 0, 0x0909, FLAG_PF, result);                     /* aam */
    run_bcd(m, 0xd5, 0x0909, 0, 0x0063, FLAG_PF, result);                     /* aad */
}

static void test_pusha_popa(void **state)
{
    struct flat_machine *m = *state;

    ENTER(m, FLAT_32, 0x60, 0x31, 0xc0, 0x31, 0xff, 0x61, 0xf4);
    for (unsigned i = 0; i < 8; i++)
        if (i != REG_RSP)
            m->cpu->regs[i] = i + 1;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(m->cpu->regs[i], i == REG_RSP ? STACK : i + 1);
    assert_int_equal(flat_read32(m, STACK - 20), STACK);
}

static void test_bound(void **state)
{
    struct flat_machine *m = *state;

    ENTER(m, FLAT_32, 0x62, 0x03, 0xf4);        /* bound eax, [ebx] */
    flat_write64(m, IDT + VECTOR_BR * 8, 0x8e00ull << 32 | 8 << 16 | (HANDLER & 0xffff) |
                 (uint64_t)(HANDLER >> 16) << 48);
    flat_write64(m, GDT + 8, 0x00cf9b000000ffff);
    m->cpu->gdt = (struct cpu_table){ GDT, 0xff };
    m->cpu->idt = (struct cpu_table){ IDT, 0x7ff };
    m->ram[HANDLER] = 0xf4;
    flat_write32(m, DATA, -5);
    flat_write32(m, DATA + 4, 7);
    m->cpu->regs[REG_RBX] = DATA;
    m->cpu->regs[REG_RAX] = (uint32_t)-5;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], CODE + 3);
    m->cpu->regs[REG_RAX] = 8;
    m->cpu->regs[REG_RIP] = CODE;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RIP], HANDLER + 1);
}

/* 16-bit code: a near jump wraps within 64 KiB, LOOP counts CX, a call pushes two bytes. */
static void test_real_mode_branches(void **state)
{
    struct flat_machine *m = *state;

    ENTER(m, FLAT_REAL, 0xb9, 3, 0,             /* mov cx, 3 */
          0x40, 0xe2, 0xfd,                     /* 1: inc ax; loop 1b */
          0xe8, 0x03, 0x00,                     /* call +3 */
          0xf4, 0x90, 0x90,
          0x43, 0xc3);                          /* inc bx; ret */
    m->cpu->regs[REG_RCX] = 0xabcd0000;
    m->cpu->regs[REG_RAX] = m->cpu->regs[REG_RBX] = 0;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX], 3);
    assert_int_equal(m->cpu->regs[REG_RBX], 1);
    assert_int_equal(m->cpu->regs[REG_RCX], 0xabcd0000);
    assert_int_equal(m->cpu->regs[REG_RIP], 10);
    assert_int_equal(m->cpu->regs[REG_RSP], 0x8000);
}

static void test_jump_beyond_the_limit_faults(void **state)
{
    struct flat_machine *m = *state;

    ENTER(m, FLAT_REAL, 0xeb, 0x7e, 0xf4);      /* jmp 0x80 */
    m->cpu->seg[SEG_CS].limit = 0x7f;
    flat_write32(m, VECTOR_GP * 4, (CODE >> 4) << 16 | 2);
    m->cpu->idt = (struct cpu_table){ 0, 0x3ff };
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(flat_read32(m, 0x7ffa) & 0xffff, 0);       /* pushed IP: of the jump */
}

/* An instruction that the limit of CS cuts short. */
static void test_fetch_beyond_the_limit_faults(void **state)
{
    struct flat_machine *m = *state;

    ENTER(m, FLAT_REAL, 0x40, 0xb8, 0x34, 0x12, 0xf4);
    m->cpu->regs[REG_RAX] = 0;
    m->cpu->seg[SEG_CS].limit = 2;
    flat_write32(m, VECTOR_GP * 4, 0x04 << 16 | 0);
    m->ram[0x40] = 0xf4;
    m->cpu->idt = (struct cpu_table){ 0, 0x3ff };
    m->cpu->seg[SEG_CS].limit = 2;
    assert_int_equal(cpu_run(m->cpu), CPU_EXIT_HLT);
    assert_int_equal(m->cpu->regs[REG_RAX], 1);
    assert_int_equal(flat_read32(m, 0x7ffa) & 0xffff, 1);
}

int main(void)
{
#define TEST(name_) cmocka_unit_test_setup_teardown(name_, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_loop_counts_instructions),
        TEST(test_code_changes_itself),
        TEST(test_string_store_changes_code),
        TEST(test_called_code_is_replaced),
        TEST(test_other_writer_is_noticed),
        TEST(test_flushed_range_is_decoded_anew),
        TEST(test_flush_costs_the_range_only),
        TEST(test_code_from_a_disk_is_noticed),
        TEST(test_replaced_state_forgets_code),
        TEST(test_instruction_across_pages),
        TEST(test_arena_is_reused),
        TEST(test_remapped_page_runs_other_code),
        TEST(test_single_step_by_debugger),
        TEST(test_trap_flag),
        TEST(test_mov_ss_holds_back_the_trap),
        TEST(test_mov_ss_holds_back_watched_data),
        TEST(test_halt_traps),
        TEST(test_handlers_are_not_stepped),
        TEST(test_sysret_traps_at_once),
        TEST(test_sti_shadows_one_instruction),
        TEST(test_masked_interrupt_does_not_stop),
        TEST(test_request_ends_endless_loop),
        TEST(test_rep_is_interrupted_and_resumed),
        TEST(test_rep_between_colliding_pages),
        TEST(test_rep_to_mmio),
        TEST(test_locked_access_to_mmio),
        TEST(test_watched_data_traps),
        TEST(test_code_breakpoint_is_a_fault),
        TEST(test_fault_keeps_registers),
        TEST(test_farthest_rip_relative),
        TEST(test_jump_to_what_is_not_canonical),
        TEST(test_decimal_arithmetic),
        TEST(test_pusha_popa),
        TEST(test_bound),
        TEST(test_real_mode_branches),
        TEST(test_jump_beyond_the_limit_faults),
        TEST(test_fetch_beyond_the_limit_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
