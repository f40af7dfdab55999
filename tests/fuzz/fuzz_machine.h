/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small machine for the processor's fuzz target: 128 KiB of RAM with descriptor
 * tables, page tables, a TSS, handlers that stand in read-only memory and end in
 * HLT; everything above is MMIO.  Struct fuzz_setup is the head of a fuzz input.
 */
#ifndef TESTS_FUZZ_MACHINE_H
#define TESTS_FUZZ_MACHINE_H

#include "cpu.h"

enum {
    FUZZ_RAM = 0x20000,
    FUZZ_MAX_ACCESSES = 128,
    FUZZ_MODES = 8,             /* enum in fuzz_machine.c */
};

/* Options: bits of struct fuzz_setup. */
enum {
    FUZZ_NO_IDT = 1 << 0,       /* faults end in a shutdown */
    FUZZ_FPU = 1 << 1,          /* something in the floating-point registers */
    FUZZ_TS = 1 << 2,           /* CR0.TS */
    FUZZ_AM = 1 << 3,           /* CR0.AM */
    FUZZ_XSAVE = 1 << 4,        /* CR4.OSXSAVE */
    FUZZ_SMAP = 1 << 5,         /* CR4.SMEP and SMAP */
    FUZZ_CR4 = 1 << 6,          /* CR4.FSGSBASE, UMIP, PCE, DE, TSD */
    FUZZ_EM = 1 << 7,           /* CR0.EM */
    FUZZ_UNMASKED = 1 << 8,     /* floating-point exceptions are not masked */
    FUZZ_NO_SSE = 1 << 9,       /* CR4.OSFXSR clear */
};

struct fuzz_setup {
    uint8_t mode, cpl;
    uint8_t refuse;             /* bit n: the n-th access is refused once (repeats after 8) */
    uint8_t seed;               /* of floating-point registers */
    uint16_t options;
    uint16_t offset;            /* of the code in its page */
    uint32_t rflags;
    uint16_t regs[16];          /* top 4 bits: where it points; the others: how far beside that */
};

struct fuzz_access {
    uint64_t address, data;
    uint8_t size, write, pio;
};

struct fuzz_machine {
    struct cpu *cpu;
    uint8_t *ram;
    uint32_t code[FUZZ_RAM / CPU_PAGE_SIZE];
    uint64_t tsc, tpr;
    /* The accesses of this instruction: answered from here when it starts anew. */
    struct fuzz_access log[FUZZ_MAX_ACCESSES];
    unsigned logged, access;    /* how many, and the next one; the caller zeroes access */
    unsigned accesses;          /* since the start */
    uint8_t refuse;
    uint64_t digest;            /* of all accesses to devices */
    bool looking;               /* nothing is refused: it isn't the guest that asks */
    bool trapped, unrepeatable; /* the caller's notes */
};

/* Never NULL: ends the program without memory. */
struct fuzz_machine *fuzz_machine_new(void);

/* Everything as the setup wants it, code where rip is. */
void fuzz_machine_start(struct fuzz_machine *m, const struct fuzz_setup *setup,
                        const uint8_t *code, size_t size);

/* cpu_translate() to a page of RAM. */
bool fuzz_translate(struct fuzz_machine *m, uint64_t linear, uint64_t *gpa);

/* Do faults still end in the read-only handlers? */
bool fuzz_handlers_stand(struct fuzz_machine *m);

/* Is the read-only page as it was? */
void fuzz_machine_check(struct fuzz_machine *m);

/* Called with what is wrong; doesn't return. */
_Noreturn void fuzz_machine_failed(struct fuzz_machine *m, const char *what);

#endif
