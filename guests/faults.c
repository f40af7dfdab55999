/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exceptions: vector, error code, address and place of each; double faults on a
 * stack of their own; stores into code that is about to run.
 */
#include "guest.h"

enum {
    DE = 0, DB = 1, BP = 3, UD = 6, NM = 7, DF = 8, NP = 11, SS = 12, GP = 13, PF = 14,
    P_PRESENT = 1, P_WRITE = 2, P_USER = 4, P_FETCH = 16,
    PTE_PRESENT = 1, PTE_WRITE = 2, PTE_USER = 4, PTE_ACCESSED = 0x20, PTE_DIRTY = 0x40,
    WINDOW = 0x800000,          /* 2 MiB in pages of 4 KiB */
    SELECTOR_NOT_PRESENT = 0x48,
};

#define PTE_NX (1ULL << 63)
#define NON_CANONICAL 0x800000000000ULL

static uint64_t *table;

static uint64_t window(unsigned n)
{
    return WINDOW + 4096 * (uint64_t)n;
}

static uint64_t do_read(uint64_t address)
{
    return *(volatile uint64_t *)address;
}

static uint64_t do_write(uint64_t address)
{
    *(volatile uint64_t *)address = 1;
    return 0;
}

static uint64_t do_call(uint64_t address)
{
    __asm__ volatile("call *%0" : : "r"(address) : "memory", "rax");
    return 0;
}

static uint64_t do_divide(uint64_t divisor)
{
    uint64_t quotient = 1, rest = 0;

    __asm__ volatile("divq %2" : "+a"(quotient), "+d"(rest) : "r"(divisor));
    return quotient;
}

static uint64_t do_ud2(uint64_t unused)
{
    __asm__ volatile("ud2");
    return 0;
}

static uint64_t do_int3(uint64_t unused)
{
    __asm__ volatile("int3");
    return 0;
}

static uint64_t do_load_ds(uint64_t selector)
{
    __asm__ volatile("movl %0, %%ds" : : "r"((uint32_t)selector));
    return 0;
}

/* Relative to RBP an address is in the stack segment. */
static uint64_t do_stack(uint64_t address)
{
    uint64_t value;

    __asm__ volatile("pushq %%rbp; movq %1, %%rbp; movq (%%rbp), %0; popq %%rbp"
                     : "=r"(value) : "r"(address) : "memory");
    return value;
}

static uint64_t do_cli(uint64_t unused)
{
    __asm__ volatile("cli");
    return 0;
}

static uint64_t do_rdmsr(uint64_t index)
{
    return rdmsr((uint32_t)index);
}

static uint64_t do_single_step(uint64_t unused)
{
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" : : : "memory", "cc");
    return 0;
}

static uint64_t do_fpu(uint64_t unused)
{
    __asm__ volatile("movaps %xmm0, %xmm0");
    return 0;
}

static void set_task_switched(bool on)
{
    uint64_t cr0 = read_cr0();

    write_cr0(on ? cr0 | 8 : cr0 & ~8ULL);
}

static bool raised(uint8_t vector, uint64_t error)
{
    return last_fault.happened && last_fault.vector == vector && last_fault.error == error;
}

struct fault_case {
    const char *what;
    try_fn *fn;
    uint64_t arg;
    bool ring3;
    uint8_t vector;
    uint64_t error;
};

static const struct fault_case cases[] = {
    { "#DE by division by zero", do_divide, 0, false, DE, 0 },
    { "#UD", do_ud2, 0, false, UD, 0 },
    { "#BP", do_int3, 0, false, BP, 0 },
    { "#DB by single step", do_single_step, 0, false, DB, 0 },
    { "#GP by a non-canonical read", do_read, NON_CANONICAL, false, GP, 0 },
    { "#GP by a non-canonical write", do_write, NON_CANONICAL, false, GP, 0 },
    { "#SS by a non-canonical address", do_stack, NON_CANONICAL, false, SS, 0 },
    { "#GP by a selector beyond the table", do_load_ds, 0x1008, false, GP, 0x1008 },
    { "#NP by a segment that isn't there", do_load_ds, SELECTOR_NOT_PRESENT, false, NP, 0x48 },
    { "#GP by an unknown MSR", do_rdmsr, 0x12345678, false, GP, 0 },
    { "#GP by CLI at ring 3", do_cli, 0, true, GP, 0 },
    { "#GP by RDMSR at ring 3", do_rdmsr, 0x10, true, GP, 0 },
    { "#BP at ring 3", do_int3, 0, true, BP, 0 },
    { "#PF reading nothing", do_read, WINDOW, false, PF, 0 },
    { "#PF writing nothing", do_write, WINDOW, false, PF, P_WRITE },
    { "#PF reading nothing at ring 3", do_read, WINDOW, true, PF, P_USER },
    { "#PF writing what is read-only", do_write, WINDOW + 4096, false, PF, P_PRESENT | P_WRITE },
    { "#PF writing read-only at ring 3", do_write, WINDOW + 4096, true, PF,
      P_PRESENT | P_WRITE | P_USER },
    { "#PF reading the kernel's at ring 3", do_read, WINDOW + 2 * 4096, true, PF,
      P_PRESENT | P_USER },
    { "#PF executing what is no code", do_call, WINDOW + 3 * 4096, false, PF,
      P_PRESENT | P_FETCH },
    { "#PF executing nothing", do_call, WINDOW, false, PF, P_FETCH },
    { "#PF across two pages", do_read, WINDOW + 5 * 4096 - 4, false, PF, 0 },
};

static void test_cases(void)
{
    table[0] = 0;
    table[1] &= ~(uint64_t)PTE_WRITE;
    table[2] &= ~(uint64_t)PTE_USER;
    table[3] |= PTE_NX;
    table[5] = 0;
    for (unsigned n = 0; n < 6; n++)
        flush_page(window(n));
    for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        const struct fault_case *c = &cases[n];

        last_fault.happened = false;
        (c->ring3 ? ring3_call : try_call)(c->fn, c->arg);
        check(raised(c->vector, c->error), "%s", c->what);
        if (last_fault.happened && !raised(c->vector, c->error))
            print("got vector %u, error 0x%lx\n", last_fault.vector, last_fault.error);
    }
    check(last_fault.cr2 == window(5), "CR2 is in the second page");
    set_task_switched(true);
    last_fault.happened = false;
    try_call(do_fpu, 0);
    set_task_switched(false);
    check(raised(NM, 0), "#NM with CR0.TS");
}

static void test_accessed_and_dirty(void)
{
    const uint64_t bits = PTE_ACCESSED | PTE_DIRTY;

    table[8] &= ~bits;
    flush_page(window(8));
    do_read(window(8));
    check((table[8] & bits) == PTE_ACCESSED, "accessed bit");
    do_write(window(8));
    check((table[8] & bits) == bits, "dirty bit");
    table[8] &= ~bits;
    flush_page(window(8));
    table[8] &= ~(uint64_t)PTE_WRITE;
    last_fault.happened = false;
    try_call(do_write, window(8));
    check(raised(PF, P_PRESENT | P_WRITE) && !(table[8] & PTE_DIRTY), "no dirty bit by a fault");
}

static bool on_ist(unsigned n, uint64_t rsp)
{
    return rsp <= (uint64_t)ist_stack(n) && rsp > (uint64_t)ist_stack(n) - 4096;
}

static uint64_t handler_rsp;

static void on_double_fault(struct frame *frame)
{
    extern uint64_t try_rsp;
    extern const char try_return[];

    handler_rsp = (uint64_t)frame;
    last_fault = (struct fault) { .happened = true, .vector = DF, .error = frame->error,
                                  .rsp = frame->rsp };
    frame->rip = (uint64_t)try_return;
    frame->rsp = try_rsp;
    frame->rflags = 2;
}

static uint64_t do_lose_stack(uint64_t address)
{
    __asm__ volatile("movq %0, %%rsp; pushq $0" : : "r"(address) : "memory");
    return 0;
}

/* A #PF whose gate isn't there, and a #PF whose frame has no stack to go to. */
static void test_double_fault(void)
{
    uint8_t type = idt[PF].type;

    set_handler(DF, on_double_fault);
    idt[DF].ist = 1;
    idt[PF].type = type & 0x7f;
    last_fault.happened = false;
    try_call(do_read, WINDOW);
    idt[PF].type = type;
    check(raised(DF, 0) && on_ist(1, handler_rsp), "#DF by a missing gate");
    last_fault.happened = false;
    try_call(do_lose_stack, window(1));
    check(raised(DF, 0) && last_fault.rsp == window(1) && on_ist(1, handler_rsp),
          "#DF by a lost stack");
    idt[PF].ist = 2;
    last_fault.happened = false;
    try_call(do_lose_stack, window(1));
    idt[PF].ist = 0;
    check(raised(PF, P_WRITE) && last_fault.rsp == window(1), "#PF on a stack of its own");
}

/* mov $imm32, %eax; ret */
static void put_code(uint8_t *at, uint32_t value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

static uint32_t run_code(const uint8_t *at)
{
    uint32_t result;

    __asm__ volatile("call *%1" : "=a"(result) : "r"(at) : "memory");
    return result;
}

static void test_changed_code(void)
{
    uint8_t *inside = (uint8_t *)window(9), *across = (uint8_t *)window(11) - 3;
    bool ok = true;

    for (uint32_t n = 0; n < 1000; n++) {
        put_code(inside, n);
        ok &= run_code(inside) == n;
    }
    check(ok, "code changed between calls");
    put_code(across, 0x11223344);
    ok = run_code(across) == 0x11223344;
    across[4] = 0x55;           /* in the second page alone */
    check(ok && run_code(across) == 0x55223344, "code changed across two pages");
    table[12] = table[9];       /* the same page at another address */
    flush_page(window(12));
    put_code((uint8_t *)window(12), 77);
    check(run_code(inside) == 77, "code changed through an alias");
}

/* The store changes the immediate of the very next instruction. */
static void test_changed_ahead(void)
{
    bool ok = true;

    for (uint32_t n = 0; n < 100; n++) {
        uint8_t *at = (uint8_t *)window(10);
        uint32_t result;

        /* mov %ecx, 1(%rip) ; mov $0, %eax ; ret: the store hits the immediate */
        static const uint8_t bytes[] = { 0x89, 0x0d, 1, 0, 0, 0, 0xb8, 0, 0, 0, 0, 0xc3 };

        memcpy(at, bytes, sizeof(bytes));
        __asm__ volatile("call *%1" : "=a"(result) : "r"(at), "c"(n + 1) : "memory");
        ok &= result == n + 1;
    }
    check(ok, "code changed just ahead");
}

void guest_main(void)
{
    table = split_large_page(WINDOW);
    test_cases();
    test_accessed_and_dirty();
    test_double_fault();
    test_changed_code();
    test_changed_ahead();
}
