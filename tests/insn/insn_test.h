/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Instruction rows: each is executed on the host's processor and on softkvm's
 * with the same registers and memory, and everything must agree afterwards.
 *
 * Both sides run in 64-bit user mode on the same addresses below 4 GiB:
 *
 *   CODE    two pages, then a hole: the instruction, surrounded by INT3
 *   DATA    four pages, then a hole: memory operands
 *   RDONLY  one page that can't be written, then a hole
 *   STACK   two pages between holes
 *
 * A run ends at the first exception of any kind; the INT3 behind the instruction
 * is the one that means success.  Vector, error code and CR2 are compared like
 * registers are.
 */
#ifndef INSN_TEST_H
#define INSN_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PAGE = 0x1000,
    ARENA = 0x10000000,         /* everything is within 2 MiB from here */
    ARENA_SIZE = 0x200000,
    CODE = ARENA + 0x1000, CODE_SIZE = 2 * PAGE,
    DATA = ARENA + 0x10000, DATA_SIZE = 4 * PAGE,
    RDONLY = ARENA + 0x18000, RDONLY_SIZE = PAGE,
    STACK = ARENA + 0x20000, STACK_SIZE = 2 * PAGE,
    SYSTEM = ARENA + 0x100000,  /* ours only: tables, handlers, kernel stack */
    SYSTEM_SIZE = 0x20000,
    GS_BASE = DATA + PAGE,      /* on both sides */
};

/* The 512 bytes of FXSAVE64. */
struct fx_image {
    uint16_t control, status;
    uint8_t tags, reserved;
    uint16_t opcode;
    uint64_t ip, dp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16];          /* by stack position */
    uint8_t xmm[16][16];
    uint8_t rest[96];
} __attribute__((aligned(16)));

struct state {
    uint64_t gpr[16];           /* hardware numbering */
    uint64_t rip, rflags;
    struct fx_image fx;
};

enum { VECTOR_HANG = 256, VECTOR_SHUTDOWN, VECTOR_UNKNOWN, VECTOR_OTHER };

struct outcome {
    struct state state;
    unsigned vector;
    uint32_t error;
    uint64_t cr2;               /* of a #PF, else 0 */
};

/* What random operands look like. */
enum kind { K_INT, K_F32, K_F64, K_F80, K_BCD, K_TEXT, K_NR };

enum {
    R_REG = 1 << 0,             /* register form only */
    R_MEM = 1 << 1,             /* memory form only */
    R_ALIGN = 1 << 2,           /* wants alignment of 16: mostly give it that */
    R_NOFAULT = 1 << 3,         /* memory operand always accessible (a partial store is legal) */
    R_X87 = 1 << 4,             /* vary the x87 control word, stack and pending exceptions */
    R_SSE = 1 << 5,             /* vary MXCSR */
    R_NEAR = 1 << 6,            /* x87: result may differ by row->ulp, C1 and #U ignored, #O and
                                   #U masked; SSE: single precision, relative error 3 * 2^-12 */
    R_MASKED = 1 << 8,          /* R_SSE with all exceptions masked */
    R_CR2_PAGE = 1 << 9,        /* which byte of a long operand faults is the processor's choice */
    R_ALIGN64 = 1 << 10,        /* like R_ALIGN, 64 */
};

enum feature { F_ANY, F_SSE3, F_SSSE3, F_SSE41, F_SSE42, F_POPCNT, F_AES, F_PCLMUL, F_SHA, F_MOVBE,
               F_BMI1, F_BMI2, F_LZCNT, F_ADX, F_RDPID, F_FSGSBASE, F_XSAVE, F_NR };

struct test;

/*
 * One row.  code is the encoding in the manual's notation, tokens separated by
 * blanks:
 *   0f 66 f3...  bytes; prefixes come first, REX is added behind them as needed
 *   W            REX.W
 *   v  y  q      operand size at random: 16/32/64, 32/64, 16/64 without REX.W
 *   /r  /0../7   ModRM, with SIB, displacement, REX at random
 *   +r           the byte before holds a register
 *   ib iw id iq iz   immediate (iz: 2 or 4 bytes by operand size)
 *   ?f0          prefix that is there half of the time
 */
struct row {
    const char *code, *name;
    uint8_t kind;
    uint16_t mem;               /* bytes that the memory operand has; 0: the operand size */
    uint16_t flags;
    uint8_t feature;
    uint8_t ulp;
    uint8_t ignored, ignored_at;    /* so many bytes of the operand, from there on, may differ */
    uint16_t pinned;            /* registers (bit by number) that setup sets: not for addresses */
    uint32_t undef;             /* flags to ignore beside the opcode table's */
    void (*setup)(struct test *test);   /* after everything else is random */
};

struct test {
    const struct row *row;
    struct state in;
    uint8_t code[64];           /* the instruction */
    unsigned length;
    unsigned opsize;            /* bytes */
    bool has_mem;
    uint64_t ea;                /* of the memory operand */
    unsigned ea_reg_mask;       /* registers that form it */
};

extern const struct row rows_integer[], rows_sse[], rows_x87[];
extern const size_t rows_integer_count, rows_sse_count, rows_x87_count;

/* random.c: one generator, seeded by main. */
void random_seed(uint64_t seed);
uint64_t random_u64(void);
unsigned random_below(unsigned n);
bool random_chance(unsigned percent);
uint64_t random_int(void);                      /* likes the edges of every size */
void random_lanes(enum kind kind, void *data, size_t size);
void random_f80(void *ten_bytes);

/* encode.c: from a row to bytes and registers.  False: the row can't be parsed. */
bool encode(struct test *test);

/* memory.c: the two copies of the arena. */
void *arena_host(uint64_t addr);                /* what the host's processor sees */
void *arena_ours(uint64_t addr);                /* what ours sees */
int arena_init(void);
void arena_reset(void);                         /* the same random bytes everywhere */
void arena_write(uint64_t addr, const void *data, size_t size);     /* both; skips holes */
const char *arena_compare(uint64_t *addr);      /* NULL: equal; else the name of the area */
void arena_copy_host_to_ours(void);

int host_init(void);
extern void (*host_on_alarm)(void);             /* SIGPROF while our processor runs */
void host_run(const struct state *in, struct outcome *out);

int ours_init(void);
void ours_run(const struct state *in, struct outcome *out);
void ours_code_written(void);
bool ours_cpuid(uint32_t leaf, uint32_t regs[4]);       /* false: no such leaf */
/* Flags that the opcode table calls undefined for these bytes. */
uint32_t ours_undefined_flags(const uint8_t *code, size_t length);

/* Setups that rows share: setup.c. */
void setup_string(struct test *test);           /* RSI, RDI into DATA, RCX small, DF at random */
void setup_string_inside(struct test *test);    /* without faults */
void setup_divide(struct test *test);           /* RDX:RAX such that most quotients fit */
void setup_near_equal(struct test *test);       /* CMPXCHG: make equality likely */

/* State images at the operand whose reserved fields mostly are as they must be. */
void setup_ldmxcsr(struct test *test);
void setup_fxrstor(struct test *test);
void setup_xsave(struct test *test);            /* also EDX:EAX */
void setup_xrstor(struct test *test);

/* Operands of transcendental instructions where they are defined and have 2 ulp. */
void setup_f2xm1(struct test *test);
void setup_fyl2x(struct test *test);
void setup_fyl2xp1(struct test *test);
void setup_fpatan(struct test *test);
void setup_fptan(struct test *test);
void setup_fsin(struct test *test);
void setup_fcos(struct test *test);
void setup_fsincos(struct test *test);

#endif
