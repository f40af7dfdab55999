/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What encryption costs a SEV guest of softkvm: a loop of loads and stores in 32 MiB
 * against the same loop in a guest without, and what a page costs that changes hands.
 *
 * Figures are medians of batches that take turns; only the thread's own time counts
 * for the loops, and all time for pages, which another thread brings back.
 */
#include "kvm_test.h"
#include "sev_launch.h"

#include <stdlib.h>
#include <time.h>

enum { RAM = 48 << 20, DATA = 8 << 20, PAGE = 4096, BATCHES = 9, PAGES = 2048 };

#define ITERATIONS 4000000

static const uint8_t loop[] = {
    0xe6, 0x10,                                     /*  0: out %al,$0x10 */
    0x48, 0x31, 0xd2,                               /*  2: xor %rdx,%rdx */
    0x48, 0x8b, 0x04, 0x17,                         /*  5: mov (%rdi,%rdx,1),%rax */
    0x48, 0x01, 0xc3,                               /*  9: add %rax,%rbx */
    0x48, 0x89, 0x5c, 0x17, 0x08,                   /*  c: mov %rbx,0x8(%rdi,%rdx,1) */
    0x48, 0x83, 0xc2, 0x40,                         /* 11: add $0x40,%rdx */
    0x48, 0x81, 0xe2, 0xf8, 0xff, 0xff, 0x01,       /* 15: and $0x1fffff8,%rdx */
    0x48, 0xff, 0xc9,                               /* 1c: dec %rcx */
    0x75, 0xe4,                                     /* 1f: jnz 5 */
    0xeb, 0xdd,                                     /* 21: jmp 0 */
};

static double now_us(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, BATCHES, sizeof(values[0]), compare);
    return values[BATCHES / 2];
}

static double run_loop(struct machine *m)
{
    struct kvm_regs regs = machine_regs(m);
    double before;

    regs.rcx = ITERATIONS;
    regs.rdi = DATA;
    machine_set_regs(m, &regs);
    before = now_us(CLOCK_THREAD_CPUTIME_ID);
    machine_run_to(m, KVM_EXIT_IO);
    return now_us(CLOCK_THREAD_CPUTIME_ID) - before;
}

/* The host looks at each page, which the guest takes back with the next loop. */
static double look(const struct machine *m)
{
    double before = now_us(CLOCK_MONOTONIC);

    for (size_t i = 0; i < PAGES; i++)
        __atomic_load_n(m->ram + DATA + i * PAGE, __ATOMIC_RELAXED);
    return (now_us(CLOCK_MONOTONIC) - before) / PAGES;
}

static void encryption(void)
{
    double plain_us[BATCHES], encrypted_us[BATCHES], look_us[BATCHES], first, again[BATCHES], p, e;
    struct machine plain, encrypted;

    machine_init(&plain, KVM_X86_DEFAULT_VM, RAM);
    machine_long_mode(&plain, loop, sizeof(loop));
    sev_machine(&encrypted, RAM);
    memcpy(encrypted.ram + CODE_AT, loop, sizeof(loop));
    sev_launch(&encrypted, 0);
    machine_run_to(&plain, KVM_EXIT_IO);
    machine_run_to(&encrypted, KVM_EXIT_IO);
    run_loop(&plain);
    first = run_loop(&encrypted);
    for (int i = 0; i < BATCHES; i++) {
        plain_us[i] = run_loop(&plain);
        encrypted_us[i] = run_loop(&encrypted);
    }
    p = median(plain_us);
    e = median(encrypted_us);
    for (int i = 0; i < BATCHES; i++) {
        look_us[i] = look(&encrypted);
        again[i] = (run_loop(&encrypted) - e) / PAGES;
    }
    printf("loop, plain guest                  %10.1f ns a round\n", p * 1e3 / ITERATIONS);
    printf("loop, encrypted guest              %10.1f ns a round, %+.1f %%\n",
           e * 1e3 / ITERATIONS, (e / p - 1) * 100);
    printf("guest's first touch of a page      %10.1f us\n", (first - e) / (32 << 8));
    printf("host's look at an encrypted page   %10.1f us\n", median(look_us));
    printf("guest takes it back                %10.1f us\n", median(again));
}

static const struct test_case cases[] = { { "encryption", encryption } };

int main(int argc, char **argv)
{
    test_with_sev(true);
    return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
