/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast the processor is: loops of 64-bit guest code on flat RAM, without
 * anything of the machine around it.
 *
 * Prints guest instructions per second and, where the host has a time-stamp
 * counter, its ticks per guest instruction; the median of several runs.  Only
 * the thread's own time counts: the host may have other things to do.
 */
#include "flat_machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

enum { RAM = 8 << 20, TABLES = 0x10000, CODE = 0x20000, STACK = 0x31000, DATA = 0x100000 };
enum { RUNS = 7 };

/* dependent arithmetic: add, xor, shift, multiply, rotate, compare */
static const uint8_t code_integer[] = {
    0xb9, 0x00, 0x00, 0x00, 0x00,                           /*   0: mov ecx,0x0 */
    0x48, 0x01, 0xd8,                                       /*   5: add rax,rbx */
    0x48, 0x31, 0xc3,                                       /*   8: xor rbx,rax */
    0x48, 0x89, 0xc2,                                       /*   b: mov rdx,rax */
    0x48, 0xc1, 0xe2, 0x0d,                                 /*   e: shl rdx,0xd */
    0x48, 0x31, 0xd0,                                       /*  12: xor rax,rdx */
    0x48, 0x8d, 0x74, 0x88, 0x07,                           /*  15: lea rsi,[rax+rcx*4+0x7] */
    0x48, 0x0f, 0xaf, 0xfe,                                 /*  1a: imul rdi,rsi */
    0xc1, 0xc7, 0x05,                                       /*  1e: rol edi,0x5 */
    0x49, 0x29, 0xf8,                                       /*  21: sub r8,rdi */
    0x41, 0x81, 0xe0, 0xff, 0xff, 0xff, 0x7f,               /*  24: and r8d,0x7fffffff */
    0x49, 0x39, 0xc0,                                       /*  2b: cmp r8,rax */
    0x49, 0x83, 0xd1, 0x00,                                 /*  2e: adc r9,0x0 */
    0xff, 0xc9,                                             /*  32: dec ecx */
    0x75, 0xcf,                                             /*  34: jne 0x5 */
    0xf4,                                                   /*  36: hlt */
};

/* loads, stores and read-modify-write in 256 KiB */
static const uint8_t code_memory[] = {
    0xb9, 0x00, 0x00, 0x00, 0x00,                           /*   0: mov ecx,0x0 */
    0x48, 0x8b, 0x04, 0x17,                                 /*   5: mov rax,QWORD PTR [rdi+rdx*1] */
    0x48, 0x01, 0xc8,                                       /*   9: add rax,rcx */
    0x48, 0x89, 0x44, 0x17, 0x08,                           /*   c: mov QWORD PTR [rdi+rdx*1+0x8],rax */
    0x01, 0x4c, 0x17, 0x10,                                 /*  11: add DWORD PTR [rdi+rdx*1+0x10],ecx */
    0x0f, 0xb6, 0x5c, 0x17, 0x03,                           /*  15: movzx ebx,BYTE PTR [rdi+rdx*1+0x3] */
    0x83, 0xc2, 0x48,                                       /*  1a: add edx,0x48 */
    0x48, 0x89, 0x54, 0x24, 0xf0,                           /*  1d: mov QWORD PTR [rsp-0x10],rdx */
    0x81, 0xe2, 0xf8, 0xff, 0x03, 0x00,                     /*  22: and edx,0x3fff8 */
    0x48, 0x3b, 0x1c, 0x17,                                 /*  28: cmp rbx,QWORD PTR [rdi+rdx*1] */
    0xff, 0xc9,                                             /*  2c: dec ecx */
    0x75, 0xd5,                                             /*  2e: jne 0x5 */
    0xf4,                                                   /*  30: hlt */
};

/* calls, returns and branches that depend on data */
static const uint8_t code_branch[] = {
    0xb9, 0x00, 0x00, 0x00, 0x00,                           /*   0: mov ecx,0x0 */
    0x69, 0xc0, 0x6d, 0x4e, 0xc6, 0x41,                     /*   5: imul eax,eax,0x41c64e6d */
    0x05, 0x39, 0x30, 0x00, 0x00,                           /*   b: add eax,0x3039 */
    0xa9, 0x00, 0x00, 0x01, 0x00,                           /*  10: test eax,0x10000 */
    0x74, 0x07,                                             /*  15: je 0x1e */
    0xe8, 0x0c, 0x00, 0x00, 0x00,                           /*  17: call 0x28 */
    0xeb, 0x05,                                             /*  1c: jmp 0x23 */
    0xe8, 0x13, 0x00, 0x00, 0x00,                           /*  1e: call 0x36 */
    0xff, 0xc9,                                             /*  23: dec ecx */
    0x75, 0xde,                                             /*  25: jne 0x5 */
    0xf4,                                                   /*  27: hlt */
    0x53,                                                   /*  28: push rbx */
    0x48, 0x01, 0xc3,                                       /*  29: add rbx,rax */
    0x48, 0x39, 0xd3,                                       /*  2c: cmp rbx,rdx */
    0x72, 0x03,                                             /*  2f: jb 0x34 */
    0x48, 0xff, 0xc6,                                       /*  31: inc rsi */
    0x5b,                                                   /*  34: pop rbx */
    0xc3,                                                   /*  35: ret */
    0x48, 0x29, 0xc2,                                       /*  36: sub rdx,rax */
    0x78, 0x03,                                             /*  39: js 0x3e */
    0x48, 0xff, 0xce,                                       /*  3b: dec rsi */
    0xc3,                                                   /*  3e: ret */
};

/* packed and scalar floating point, integer vectors */
static const uint8_t code_sse[] = {
    0xb9, 0x00, 0x00, 0x00, 0x00,                           /*   0: mov ecx,0x0 */
    0x0f, 0x59, 0xc1,                                       /*   5: mulps xmm0,xmm1 */
    0x0f, 0x58, 0xc2,                                       /*   8: addps xmm0,xmm2 */
    0x0f, 0x28, 0xd8,                                       /*   b: movaps xmm3,xmm0 */
    0x66, 0x0f, 0xfe, 0xe5,                                 /*   e: paddd xmm4,xmm5 */
    0x66, 0x0f, 0xef, 0xe3,                                 /*  12: pxor xmm4,xmm3 */
    0xf2, 0x0f, 0x2a, 0xf1,                                 /*  16: cvtsi2sd xmm6,ecx */
    0xf2, 0x0f, 0x58, 0xfe,                                 /*  1a: addsd xmm7,xmm6 */
    0xf2, 0x41, 0x0f, 0x59, 0xf8,                           /*  1e: mulsd xmm7,xmm8 */
    0x0f, 0x11, 0x27,                                       /*  23: movups XMMWORD PTR [rdi],xmm4 */
    0xf3, 0x44, 0x0f, 0x6f, 0x4f, 0x08,                     /*  26: movdqu xmm9,XMMWORD PTR [rdi+0x8] */
    0xff, 0xc9,                                             /*  2c: dec ecx */
    0x75, 0xd5,                                             /*  2e: jne 0x5 */
    0xf4,                                                   /*  30: hlt */
};

struct loop {
    const char *name;
    const uint8_t *code;
    size_t size;
    uint32_t rounds;
};

static const struct loop loops[] = {
    { "integer", code_integer, sizeof(code_integer), 4000000 },
    { "memory", code_memory, sizeof(code_memory), 4000000 },
    { "branch", code_branch, sizeof(code_branch), 4000000 },
    { "sse", code_sse, sizeof(code_sse), 2000000 },
};

struct result {
    double per_second, ticks;
};

static uint64_t host_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
}

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static bool run(const struct loop *loop, struct result *result)
{
    struct flat_machine *m = flat_machine_new(RAM);
    struct cpu *cpu = m->cpu;
    uint64_t instructions, ticks;
    double wall, seconds;
    bool ok;

    flat_enter(m, FLAT_64, 0, TABLES);
    memcpy(m->ram + CODE, loop->code, loop->size);
    flat_write32(m, CODE + 1, loop->rounds);        /* of MOV ECX */
    for (unsigned i = 0; i < 16; i++)
        cpu->regs[i] = 0x9e3779b97f4a7c15 * (i + 1);
    cpu->regs[REG_RDX] = 0;
    cpu->regs[REG_RDI] = DATA;
    cpu->regs[REG_RSP] = STACK;
    cpu->regs[REG_RIP] = CODE;
    cpu->fpu.mxcsr = 0x1f80;
    instructions = cpu->instructions;
    wall = now(CLOCK_MONOTONIC);
    seconds = now(CLOCK_THREAD_CPUTIME_ID);
    ticks = host_ticks();
    ok = cpu_run(cpu) == CPU_EXIT_HLT;
    ticks = host_ticks() - ticks;
    seconds = now(CLOCK_THREAD_CPUTIME_ID) - seconds;
    wall = now(CLOCK_MONOTONIC) - wall;
    instructions = cpu->instructions - instructions;
    result->per_second = instructions / seconds;
    result->ticks = ticks / wall * seconds / instructions;
    flat_machine_free(m);
    return ok;
}

static int compare(const void *a, const void *b)
{
    double x = ((const struct result *)a)->per_second, y = ((const struct result *)b)->per_second;

    return (x > y) - (x < y);
}

int main(void)
{
    printf("%-10s %16s %18s\n", "loop", "M instructions/s", "ticks/instruction");
    for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
        struct result results[RUNS];

        for (unsigned n = 0; n < RUNS; n++)
            if (!run(&loops[i], &results[n])) {
                fprintf(stderr, "%s: did not end with HLT\n", loops[i].name);
                return 1;
            }
        qsort(results, RUNS, sizeof(results[0]), compare);
        printf("%-10s %16.1f %18.2f\n", loops[i].name, results[RUNS / 2].per_second / 1e6,
               results[RUNS / 2].ticks);
    }
    return 0;
}
