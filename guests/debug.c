/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Something to debug: functions that call one another, a variable that changes, and an
 * INT3 and a single-step trap of the guest's own, which it must get whoever looks on.
 */
#include "guest.h"

/* GCC would call a clone, on which no debugger's breakpoint is; clang makes none. */
#if __has_attribute(noipa)
#define NOINLINE __attribute__((noipa, used))
#else
#define NOINLINE __attribute__((noinline, used))
#endif

enum { VECTOR_DB = 1, VECTOR_BP = 3, FLAG_TF = 0x100, ROUNDS = 3 };

volatile unsigned counter = 40, rounds, own_int3s, own_traps;
volatile char text[] = "a text to be read";

static void on_int3(struct frame *frame)
{
    own_int3s++;
}

static void on_trap(struct frame *frame)
{
    own_traps++;
    frame->rflags &= ~(uint64_t)FLAG_TF;
}

unsigned leaf(unsigned n);
unsigned middle(unsigned n);

NOINLINE unsigned leaf(unsigned n)
{
    counter += n;
    return counter;
}

NOINLINE unsigned middle(unsigned n)
{
    return leaf(n) + 1;
}

static void own_exceptions(void)
{
    __asm__ volatile("int3");
    __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop" : : : "memory", "cc");
}

void guest_main(void)
{
    unsigned sum = 0;

    set_handler(VECTOR_BP, on_int3);
    set_handler(VECTOR_DB, on_trap);
    for (rounds = 0; rounds < ROUNDS; rounds++) {
        own_exceptions();
        sum += middle(rounds + 1);
    }
    check(own_int3s == ROUNDS, "INT3 of its own");
    check(own_traps == ROUNDS, "single-step traps of its own");
    print("counter %u, sum %u, %s\n", counter, sum, text);
    if (has_word("reset"))
        reset_machine();
    while (has_word("wait"))
        cpu_pause();
}
