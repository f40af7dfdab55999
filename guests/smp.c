/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All processors at once: woken by INIT and SIPI, counting with locked
 * instructions, taking turns with a lock, interrupting one another, and running
 * code that another one changes.
 */
#include "guest.h"

enum { ROUNDS = 20000, VECTOR_PING = 0x50, VECTOR_ALL = 0x51, ICR_OTHERS = 3 << 18,
       CODE_ROUNDS = 50 };

static struct board_info board;
static unsigned cpus;
static volatile uint32_t phase, arrived;
static uint64_t counter, plain, wide[2] __attribute__((aligned(16)));
static uint32_t lock, pings, broadcasts;
static volatile uint32_t seen_code[64];

/* mov $imm32, %eax; ret: the bytes 1 to 4 are changed while others call it. */
static uint8_t code[64] __attribute__((aligned(64))) = { 0xb8, 0, 0, 0, 0, 0xc3 };

static void arrive(void)
{
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
}

/* The boot processor opens a phase and waits until all others are through. */
static void run_phase(uint32_t n)
{
    arrived = 0;
    __atomic_store_n(&phase, n, __ATOMIC_SEQ_CST);
}

static void wait_others(void)
{
    while (__atomic_load_n(&arrived, __ATOMIC_SEQ_CST) < cpus - 1)
        cpu_pause();
}

static void wait_phase(uint32_t n)
{
    while (__atomic_load_n(&phase, __ATOMIC_SEQ_CST) < n)
        cpu_pause();
}

static void add_wide(void)
{
    uint64_t low = wide[0], high = wide[1];
    uint8_t done;

    do {
        uint64_t new_low = low + 1, new_high = high + (new_low == 0) + 2;

        __asm__ volatile("lock cmpxchg16b %1; setz %0"
                         : "=q"(done), "+m"(wide), "+a"(low), "+d"(high)
                         : "b"(new_low), "c"(new_high) : "memory");
    } while (!done);
}

static void count(void)
{
    for (unsigned n = 0; n < ROUNDS; n++) {
        __asm__ volatile("lock incq %0" : "+m"(counter));
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            cpu_pause();
        plain++;
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
        if (n % 8 == 0)
            add_wide();
    }
}

static void on_ping(struct frame *frame)
{
    uint32_t *count_of = frame->vector == VECTOR_PING ? &pings : &broadcasts;

    __atomic_add_fetch(count_of, 1, __ATOMIC_SEQ_CST);
    apic_write(APIC_EOI, 0);
}

static uint32_t call_code(void)
{
    uint32_t result;

    __asm__ volatile("call *%1" : "=a"(result) : "r"(code) : "memory");
    return result;
}

static void watch_code(unsigned number)
{
    uint32_t value, regs[4];

    do {
        cpuid(0, 0, regs);      /* serialize, as cross-modifying code has to */
        value = call_code();
        __atomic_store_n(&seen_code[number], value, __ATOMIC_SEQ_CST);
    } while (value < CODE_ROUNDS);
}

static void ap(unsigned number)
{
    apic_enable(apic_has_x2apic());
    wait_phase(1);
    count();
    arrive();
    interrupts_on();
    wait_phase(3);
    interrupts_off();
    watch_code(number);
    arrive();
    for (;;)
        wait_for_interrupt();
}

static void test_counting(void)
{
    run_phase(1);
    count();
    wait_others();
    check(counter == (uint64_t)cpus * ROUNDS, "locked increments");
    check(plain == (uint64_t)cpus * ROUNDS, "spin lock");
    check(wide[0] == (uint64_t)cpus * ROUNDS / 8 && wide[1] == (uint64_t)cpus * ROUNDS / 4,
          "cmpxchg16b");
}

static void wait_count(const uint32_t *value, uint32_t expected)
{
    while (__atomic_load_n(value, __ATOMIC_SEQ_CST) < expected)
        cpu_pause();
}

static void test_ipis(void)
{
    uint32_t self = apic_id();

    set_handler(VECTOR_PING, on_ping);
    set_handler(VECTOR_ALL, on_ping);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned n = 0; n < board.cpu_count; n++) {
            if (board.apic_ids[n] == self)
                continue;
            apic_ipi(board.apic_ids[n], VECTOR_PING);
        }
        wait_count(&pings, (round + 1) * (cpus - 1));
        apic_ipi(0, ICR_OTHERS | VECTOR_ALL);
        wait_count(&broadcasts, (round + 1) * (cpus - 1));
    }
    check(pings == 10 * (cpus - 1), "directed interrupts");
    check(broadcasts == 10 * (cpus - 1), "broadcast interrupts");
}

static void test_changing_code(void)
{
    volatile uint32_t *immediate = (uint32_t *)(code + 1);
    bool ok = true;

    run_phase(3);
    for (uint32_t value = 1; value <= CODE_ROUNDS; value++) {
        *immediate = value;
        ok &= call_code() == value;
        for (unsigned n = 1; n < cpus; n++) {
            while (seen_code[n] != value)
                cpu_pause();
        }
    }
    wait_others();
    check(ok, "code changed under other processors");
}

void guest_main(void)
{
    board_find(&board);
    apic_enable(apic_has_x2apic());
    print("%u processors by %s, %s\n", board.cpu_count, board.source,
          apic_has_x2apic() ? "x2APIC" : "xAPIC");
    cpus = 1 + start_cpus(&board, ap);
    check(cpus == board.cpu_count, "%u processors up", cpus);
    test_counting();
    test_ipis();
    test_changing_code();
}
