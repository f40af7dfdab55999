/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Integer instructions: every opcode, each size, registers and memory, LOCK where it may be. */
#include "insn_test.h"

#include <string.h>

enum { RAX = 1 << 0, RCX = 1 << 1, RDX = 1 << 2, RBX = 1 << 3, RSI = 1 << 6, RDI = 1 << 7 };
enum { N_RAX, N_RCX, N_RDX, N_RBX, N_RSP, N_RBP, N_RSI, N_RDI };

/* AX mostly small enough for the quotient to fit a byte. */
static void setup_divide_byte(struct test *t)
{
    if (random_chance(70))
        t->in.gpr[N_RAX] = (t->in.gpr[N_RAX] & ~0xffffull) | random_below(0x2000);
}

/* The immediate is the last byte; the manual leaves results undefined beyond 16. */
static void setup_shift16(struct test *t)
{
    bool immediate = !(t->code[t->length - 1] == 0) && t->row->pinned == 0;

    if (immediate)
        t->code[t->length - 1] &= 0xef;
    t->in.gpr[N_RCX] &= ~0x10ull;
}

/* Some bytes around the operand, either side. */
static void setup_bit_offset(struct test *t)
{
    t->in.gpr[N_RCX] = random_below(2048) - 1024ull;
}

static void setup_often_zero(struct test *t)
{
    static const uint64_t zero;

    if (!random_chance(30))
        return;
    for (unsigned i = 0; i < 16; i++)
        if (i != N_RSP && !(t->ea_reg_mask & 1u << i))
            t->in.gpr[i] = 0;
    if (t->has_mem && t->ea >= DATA && t->ea + 8 <= DATA + DATA_SIZE)
        arena_write(t->ea, &zero, 8);
}

static void setup_xlat(struct test *t)
{
    t->in.gpr[N_RBX] = DATA + random_below(DATA_SIZE);
}

/* EDX:EAX, not RDX:RAX. */
static void setup_near_equal8(struct test *t)
{
    uint32_t pair[2];

    if (random_chance(50) || t->ea < DATA || t->ea + 8 > DATA + DATA_SIZE)
        return;
    memcpy(pair, arena_host(t->ea), 8);
    t->in.gpr[N_RAX] = pair[0];
    t->in.gpr[N_RDX] = pair[1];
}

/* Mostly into the code pages, else to where neither side has anything. */
static void setup_near_branch(struct test *t)
{
    int32_t rel = (int32_t)random_below(2 * PAGE) - PAGE;

    if (random_chance(20))
        rel = -(int32_t)(0x1000000 + random_below(0x8000000));
    memcpy(t->code + t->length - 4, &rel, 4);
}

static uint64_t some_target(void)
{
    if (random_chance(80))
        return CODE + random_below(CODE_SIZE);
    return random_chance(50) ? 0x0000800000000000ull + random_below(PAGE) : random_u64();
}

static void setup_target(struct test *t)
{
    uint64_t target = some_target();

    for (unsigned i = 0; i < 16; i++)
        if (i != N_RSP && !t->has_mem)
            t->in.gpr[i] = target;
    if (t->has_mem && t->ea >= DATA && t->ea + 8 <= DATA + DATA_SIZE)
        arena_write(t->ea, &target, 8);
}

static void setup_return(struct test *t)
{
    uint64_t target = some_target();

    if (random_chance(10))
        t->in.gpr[N_RSP] = STACK + STACK_SIZE - random_below(9);
    arena_write(t->in.gpr[N_RSP], &target, 8);
}

static void setup_counter(struct test *t)
{
    if (random_chance(70))
        t->in.gpr[N_RCX] = (random_chance(50) ? 0ull : random_u64() << 32) | random_below(3);
    if (t->code[t->length - 1] >= 0xf0)             /* to itself: not for ever */
        t->in.gpr[N_RCX] = 1 + random_below(3);
}

static void setup_frame(struct test *t)
{
    t->in.gpr[N_RBP] = random_chance(90) ? STACK + random_below(STACK_SIZE + 16) :
                       random_chance(50) ? STACK + STACK_SIZE + random_below(PAGE) : 1ull << 63;
}

/* Outer frames where they can be read; what is pushed before a fault is nobody's business. */
static void setup_enter(struct test *t)
{
    t->in.gpr[N_RBP] = STACK + PAGE + 8 * random_below(PAGE / 8);
}

/* Both pointers close together. */
static void setup_overlap(struct test *t)
{
    t->in.gpr[N_RSI] = DATA + PAGE + random_below(PAGE);
    t->in.gpr[N_RDI] = t->in.gpr[N_RSI] + random_below(128) - 64;
    t->in.gpr[N_RCX] = random_below(64);
}

const struct row rows_integer[] = {
    /* Two operands. */
    { "?f0 00 /r", "add r/m8,r8", .mem = 1 },
    { "?f0 v 01 /r", "add r/m,r" },
    { "02 /r", "add r8,r/m8", .mem = 1 },
    { "v 03 /r", "add r,r/m" },
    { "04 ib", "add al,imm" },
    { "v 05 iz", "add rax,imm" },
    { "?f0 80 /0 ib", "add r/m8,imm", .mem = 1 },
    { "?f0 v 81 /0 iz", "add r/m,imm" },
    { "?f0 v 83 /0 ib", "add r/m,imm8" },
    { "?f0 08 /r", "or r/m8,r8", .mem = 1 },
    { "?f0 v 09 /r", "or r/m,r" },
    { "0a /r", "or r8,r/m8", .mem = 1 },
    { "v 0b /r", "or r,r/m" },
    { "0c ib", "or al,imm" },
    { "v 0d iz", "or rax,imm" },
    { "?f0 80 /1 ib", "or r/m8,imm", .mem = 1 },
    { "?f0 v 81 /1 iz", "or r/m,imm" },
    { "?f0 v 83 /1 ib", "or r/m,imm8" },
    { "?f0 10 /r", "adc r/m8,r8", .mem = 1 },
    { "?f0 v 11 /r", "adc r/m,r" },
    { "12 /r", "adc r8,r/m8", .mem = 1 },
    { "v 13 /r", "adc r,r/m" },
    { "14 ib", "adc al,imm" },
    { "v 15 iz", "adc rax,imm" },
    { "?f0 80 /2 ib", "adc r/m8,imm", .mem = 1 },
    { "?f0 v 81 /2 iz", "adc r/m,imm" },
    { "?f0 v 83 /2 ib", "adc r/m,imm8" },
    { "?f0 18 /r", "sbb r/m8,r8", .mem = 1 },
    { "?f0 v 19 /r", "sbb r/m,r" },
    { "1a /r", "sbb r8,r/m8", .mem = 1 },
    { "v 1b /r", "sbb r,r/m" },
    { "1c ib", "sbb al,imm" },
    { "v 1d iz", "sbb rax,imm" },
    { "?f0 80 /3 ib", "sbb r/m8,imm", .mem = 1 },
    { "?f0 v 81 /3 iz", "sbb r/m,imm" },
    { "?f0 v 83 /3 ib", "sbb r/m,imm8" },
    { "?f0 20 /r", "and r/m8,r8", .mem = 1 },
    { "?f0 v 21 /r", "and r/m,r" },
    { "22 /r", "and r8,r/m8", .mem = 1 },
    { "v 23 /r", "and r,r/m" },
    { "24 ib", "and al,imm" },
    { "v 25 iz", "and rax,imm" },
    { "?f0 80 /4 ib", "and r/m8,imm", .mem = 1 },
    { "?f0 v 81 /4 iz", "and r/m,imm" },
    { "?f0 v 83 /4 ib", "and r/m,imm8" },
    { "?f0 28 /r", "sub r/m8,r8", .mem = 1 },
    { "?f0 v 29 /r", "sub r/m,r" },
    { "2a /r", "sub r8,r/m8", .mem = 1 },
    { "v 2b /r", "sub r,r/m" },
    { "2c ib", "sub al,imm" },
    { "v 2d iz", "sub rax,imm" },
    { "?f0 80 /5 ib", "sub r/m8,imm", .mem = 1 },
    { "?f0 v 81 /5 iz", "sub r/m,imm" },
    { "?f0 v 83 /5 ib", "sub r/m,imm8" },
    { "?f0 30 /r", "xor r/m8,r8", .mem = 1 },
    { "?f0 v 31 /r", "xor r/m,r" },
    { "32 /r", "xor r8,r/m8", .mem = 1 },
    { "v 33 /r", "xor r,r/m" },
    { "34 ib", "xor al,imm" },
    { "v 35 iz", "xor rax,imm" },
    { "?f0 80 /6 ib", "xor r/m8,imm", .mem = 1 },
    { "?f0 v 81 /6 iz", "xor r/m,imm" },
    { "?f0 v 83 /6 ib", "xor r/m,imm8" },
    { "?f0 38 /r", "cmp r/m8,r8", .mem = 1 },
    { "?f0 v 39 /r", "cmp r/m,r" },
    { "3a /r", "cmp r8,r/m8", .mem = 1 },
    { "v 3b /r", "cmp r,r/m" },
    { "3c ib", "cmp al,imm" },
    { "v 3d iz", "cmp rax,imm" },
    { "?f0 80 /7 ib", "cmp r/m8,imm", .mem = 1 },
    { "?f0 v 81 /7 iz", "cmp r/m,imm" },
    { "?f0 v 83 /7 ib", "cmp r/m,imm8" },
    { "84 /r", "test r/m8,r8", .mem = 1 },
    { "v 85 /r", "test r/m,r" },
    { "a8 ib", "test al,imm" },
    { "v a9 iz", "test rax,imm" },
    { "?f0 84 /r", "lock test", .mem = 1 },

    /* One operand. */
    { "f6 /0 ib", "test r/m8,imm", .mem = 1 },
    { "v f7 /0 iz", "test r/m,imm" },
    { "f6 /1 ib", "test r/m8,imm", .mem = 1 },
    { "v f7 /1 iz", "test r/m,imm" },
    { "?f0 f6 /2", "not r/m8", .mem = 1 },
    { "?f0 v f7 /2", "not r/m" },
    { "?f0 f6 /3", "neg r/m8", .mem = 1 },
    { "?f0 v f7 /3", "neg r/m" },
    { "?f0 fe /0", "inc r/m8", .mem = 1 },
    { "?f0 v ff /0", "inc r/m" },
    { "?f0 fe /1", "dec r/m8", .mem = 1 },
    { "?f0 v ff /1", "dec r/m" },

    /* Multiplication and division. */
    { "f6 /4", "mul r/m8", .mem = 1 },
    { "v f7 /4", "mul r/m" },
    { "f6 /5", "imul r/m8", .mem = 1 },
    { "v f7 /5", "imul r/m" },
    { "f6 /6", "div r/m8", .mem = 1, .pinned = RAX | RDX, .setup = setup_divide_byte },
    { "v f7 /6", "div r/m", .pinned = RAX | RDX, .setup = setup_divide },
    { "f6 /7", "idiv r/m8", .mem = 1, .pinned = RAX | RDX, .setup = setup_divide_byte },
    { "v f7 /7", "idiv r/m", .pinned = RAX | RDX, .setup = setup_divide },
    { "v 0f af /r", "imul r,r/m" },
    { "v 69 /r iz", "imul r,r/m,imm" },
    { "v 6b /r ib", "imul r,r/m,imm8" },

    /* Shifts and rotates: undefined flags are in the table; by 1 all but AF are defined. */
    { "c0 /0 ib", "rol r/m8,imm", .mem = 1 },
    { "v c1 /0 ib", "rol r/m,imm" },
    { "d0 /0", "rol r/m8,1", .mem = 1 },
    { "v d1 /0", "rol r/m,1" },
    { "d2 /0", "rol r/m8,cl", .mem = 1 },
    { "v d3 /0", "rol r/m,cl" },
    { "c0 /1 ib", "ror r/m8,imm", .mem = 1 },
    { "v c1 /1 ib", "ror r/m,imm" },
    { "d0 /1", "ror r/m8,1", .mem = 1 },
    { "v d1 /1", "ror r/m,1" },
    { "d2 /1", "ror r/m8,cl", .mem = 1 },
    { "v d3 /1", "ror r/m,cl" },
    { "c0 /2 ib", "rcl r/m8,imm", .mem = 1 },
    { "v c1 /2 ib", "rcl r/m,imm" },
    { "d0 /2", "rcl r/m8,1", .mem = 1 },
    { "v d1 /2", "rcl r/m,1" },
    { "d2 /2", "rcl r/m8,cl", .mem = 1 },
    { "v d3 /2", "rcl r/m,cl" },
    { "c0 /3 ib", "rcr r/m8,imm", .mem = 1 },
    { "v c1 /3 ib", "rcr r/m,imm" },
    { "d0 /3", "rcr r/m8,1", .mem = 1 },
    { "v d1 /3", "rcr r/m,1" },
    { "d2 /3", "rcr r/m8,cl", .mem = 1 },
    { "v d3 /3", "rcr r/m,cl" },
    { "c0 /4 ib", "shl r/m8,imm", .mem = 1 },
    { "v c1 /4 ib", "shl r/m,imm" },
    { "d0 /4", "shl r/m8,1", .mem = 1 },
    { "v d1 /4", "shl r/m,1" },
    { "d2 /4", "shl r/m8,cl", .mem = 1 },
    { "v d3 /4", "shl r/m,cl" },
    { "c0 /5 ib", "shr r/m8,imm", .mem = 1 },
    { "v c1 /5 ib", "shr r/m,imm" },
    { "d0 /5", "shr r/m8,1", .mem = 1 },
    { "v d1 /5", "shr r/m,1" },
    { "d2 /5", "shr r/m8,cl", .mem = 1 },
    { "v d3 /5", "shr r/m,cl" },
    { "c0 /6 ib", "shl r/m8,imm", .mem = 1 },
    { "v c1 /6 ib", "shl r/m,imm" },
    { "d0 /6", "shl r/m8,1", .mem = 1 },
    { "v d1 /6", "shl r/m,1" },
    { "d2 /6", "shl r/m8,cl", .mem = 1 },
    { "v d3 /6", "shl r/m,cl" },
    { "c0 /7 ib", "sar r/m8,imm", .mem = 1 },
    { "v c1 /7 ib", "sar r/m,imm" },
    { "d0 /7", "sar r/m8,1", .mem = 1 },
    { "v d1 /7", "sar r/m,1" },
    { "d2 /7", "sar r/m8,cl", .mem = 1 },
    { "v d3 /7", "sar r/m,cl" },
    { "y 0f a4 /r ib", "shld r/m,r,imm" },
    { "y 0f a5 /r", "shld r/m,r,cl" },
    { "66 0f a4 /r ib", "shld r/m16,r16,imm up to 16", .mem = 2, .setup = setup_shift16 },
    { "66 0f a5 /r", "shld r/m16,r16,cl up to 16", .mem = 2, .pinned = RCX,
      .setup = setup_shift16 },
    { "y 0f ac /r ib", "shrd r/m,r,imm" },
    { "y 0f ad /r", "shrd r/m,r,cl" },
    { "66 0f ac /r ib", "shrd r/m16,r16,imm up to 16", .mem = 2, .setup = setup_shift16 },
    { "66 0f ad /r", "shrd r/m16,r16,cl up to 16", .mem = 2, .pinned = RCX,
      .setup = setup_shift16 },

    /* Bits.  Memory operands with a register offset reach far: offsets are kept small. */
    { "?f0 v 0f a3 /r", "bt r,r", .flags = R_REG },
    { "?f0 v 0f a3 /1", "bt m,rcx", .flags = R_MEM, .pinned = RCX, .setup = setup_bit_offset },
    { "?f0 v 0f ba /4 ib", "bt r/m,imm" },
    { "?f0 v 0f ab /r", "bts r,r", .flags = R_REG },
    { "?f0 v 0f ab /1", "bts m,rcx", .flags = R_MEM, .pinned = RCX, .setup = setup_bit_offset },
    { "?f0 v 0f ba /5 ib", "bts r/m,imm" },
    { "?f0 v 0f b3 /r", "btr r,r", .flags = R_REG },
    { "?f0 v 0f b3 /1", "btr m,rcx", .flags = R_MEM, .pinned = RCX, .setup = setup_bit_offset },
    { "?f0 v 0f ba /6 ib", "btr r/m,imm" },
    { "?f0 v 0f bb /r", "btc r,r", .flags = R_REG },
    { "?f0 v 0f bb /1", "btc m,rcx", .flags = R_MEM, .pinned = RCX, .setup = setup_bit_offset },
    { "?f0 v 0f ba /7 ib", "btc r/m,imm" },
    { "v 0f bc /r", "bsf r,r/m", .setup = setup_often_zero },
    { "v 0f bd /r", "bsr r,r/m", .setup = setup_often_zero },
    { "f3 v 0f b8 /r", "popcnt r,r/m", .feature = F_POPCNT },
    { "y 0f c8 +r", "bswap r" },
    { "v 0f 38 f0 /r", "movbe r,m", .flags = R_MEM, .feature = F_MOVBE },
    { "v 0f 38 f1 /r", "movbe m,r", .flags = R_MEM, .feature = F_MOVBE },
    { "f2 0f 38 f0 /r", "crc32 r,r/m8", .mem = 1, .feature = F_SSE42 },
    { "f2 W 0f 38 f0 /r", "crc32 r64,r/m8", .mem = 1, .feature = F_SSE42 },
    { "f2 v 0f 38 f1 /r", "crc32 r,r/m", .feature = F_SSE42 },

    /* Moves. */
    { "88 /r", "mov r/m8,r8", .mem = 1 },
    { "v 89 /r", "mov r/m,r" },
    { "8a /r", "mov r8,r/m8", .mem = 1 },
    { "v 8b /r", "mov r,r/m" },
    { "c6 /0 ib", "mov r/m8,imm", .mem = 1 },
    { "v c7 /0 iz", "mov r/m,imm" },
    { "b0 +r ib", "mov r8,imm" },
    { "66 b8 +r iw", "mov r16,imm" },
    { "b8 +r id", "mov r32,imm" },
    { "W b8 +r iq", "mov r64,imm" },
    { "v 0f b6 /r", "movzx r,r/m8", .mem = 1 },
    { "v 0f b7 /r", "movzx r,r/m16", .mem = 2 },
    { "v 0f be /r", "movsx r,r/m8", .mem = 1 },
    { "v 0f bf /r", "movsx r,r/m16", .mem = 2 },
    { "v 63 /r", "movsxd r,r/m", .mem = 4 },
    { "v 8d /r", "lea r,m", .flags = R_MEM },
    { "d7", "xlat", .pinned = RAX | RBX, .setup = setup_xlat },
    { "98", "cwde" },
    { "66 98", "cbw" },
    { "W 98", "cdqe" },
    { "99", "cdq" },
    { "66 99", "cwd" },
    { "W 99", "cqo" },
    { "v 0f 40 /r", "cmovo r,r/m" },
    { "v 0f 41 /r", "cmovno r,r/m" },
    { "v 0f 42 /r", "cmovb r,r/m" },
    { "v 0f 43 /r", "cmovnb r,r/m" },
    { "v 0f 44 /r", "cmovz r,r/m" },
    { "v 0f 45 /r", "cmovnz r,r/m" },
    { "v 0f 46 /r", "cmovbe r,r/m" },
    { "v 0f 47 /r", "cmova r,r/m" },
    { "v 0f 48 /r", "cmovs r,r/m" },
    { "v 0f 49 /r", "cmovns r,r/m" },
    { "v 0f 4a /r", "cmovp r,r/m" },
    { "v 0f 4b /r", "cmovnp r,r/m" },
    { "v 0f 4c /r", "cmovl r,r/m" },
    { "v 0f 4d /r", "cmovge r,r/m" },
    { "v 0f 4e /r", "cmovle r,r/m" },
    { "v 0f 4f /r", "cmovg r,r/m" },
    { "0f 90 /0", "seto r/m8", .mem = 1 },
    { "0f 91 /0", "setno r/m8", .mem = 1 },
    { "0f 92 /0", "setb r/m8", .mem = 1 },
    { "0f 93 /0", "setnb r/m8", .mem = 1 },
    { "0f 94 /0", "setz r/m8", .mem = 1 },
    { "0f 95 /0", "setnz r/m8", .mem = 1 },
    { "0f 96 /0", "setbe r/m8", .mem = 1 },
    { "0f 97 /0", "seta r/m8", .mem = 1 },
    { "0f 98 /0", "sets r/m8", .mem = 1 },
    { "0f 99 /0", "setns r/m8", .mem = 1 },
    { "0f 9a /0", "setp r/m8", .mem = 1 },
    { "0f 9b /0", "setnp r/m8", .mem = 1 },
    { "0f 9c /0", "setl r/m8", .mem = 1 },
    { "0f 9d /0", "setge r/m8", .mem = 1 },
    { "0f 9e /0", "setle r/m8", .mem = 1 },
    { "0f 9f /0", "setg r/m8", .mem = 1 },

    /* Exchanges. */
    { "?f0 86 /r", "xchg r/m8,r8", .mem = 1 },
    { "?f0 v 87 /r", "xchg r/m,r" },
    { "v 90 +r", "xchg r,rax" },
    { "?f0 0f b0 /r", "cmpxchg r/m8,r8", .mem = 1, .pinned = RAX | RDX, .setup = setup_near_equal },
    { "?f0 v 0f b1 /r", "cmpxchg m,r", .flags = R_MEM, .pinned = RAX | RDX,
      .setup = setup_near_equal },
    /* Not 32-bit ones: processors differ on whether inequality clears the upper half. */
    { "q 0f b1 /r", "cmpxchg r,r", .flags = R_REG, .pinned = RAX | RDX,
      .setup = setup_near_equal },
    { "?f0 0f c7 /1", "cmpxchg8b m", .flags = R_MEM, .mem = 8, .pinned = RAX | RCX | RDX | RBX,
      .setup = setup_near_equal8 },
    { "?f0 W 0f c7 /1", "cmpxchg16b m", .flags = R_MEM | R_ALIGN, .mem = 16,
      .pinned = RAX | RCX | RDX | RBX, .setup = setup_near_equal },
    { "?f0 0f c0 /r", "xadd r/m8,r8", .mem = 1 },
    { "?f0 v 0f c1 /r", "xadd r/m,r" },

    /* Near branches: the target is an INT3, or outside the code. */
    { "70 ib", "jo rel8" },
    { "0f 80 id", "jo rel32", .setup = setup_near_branch },
    { "71 ib", "jno rel8" },
    { "0f 81 id", "jno rel32", .setup = setup_near_branch },
    { "72 ib", "jb rel8" },
    { "0f 82 id", "jb rel32", .setup = setup_near_branch },
    { "73 ib", "jnb rel8" },
    { "0f 83 id", "jnb rel32", .setup = setup_near_branch },
    { "74 ib", "jz rel8" },
    { "0f 84 id", "jz rel32", .setup = setup_near_branch },
    { "75 ib", "jnz rel8" },
    { "0f 85 id", "jnz rel32", .setup = setup_near_branch },
    { "76 ib", "jbe rel8" },
    { "0f 86 id", "jbe rel32", .setup = setup_near_branch },
    { "77 ib", "ja rel8" },
    { "0f 87 id", "ja rel32", .setup = setup_near_branch },
    { "78 ib", "js rel8" },
    { "0f 88 id", "js rel32", .setup = setup_near_branch },
    { "79 ib", "jns rel8" },
    { "0f 89 id", "jns rel32", .setup = setup_near_branch },
    { "7a ib", "jp rel8" },
    { "0f 8a id", "jp rel32", .setup = setup_near_branch },
    { "7b ib", "jnp rel8" },
    { "0f 8b id", "jnp rel32", .setup = setup_near_branch },
    { "7c ib", "jl rel8" },
    { "0f 8c id", "jl rel32", .setup = setup_near_branch },
    { "7d ib", "jge rel8" },
    { "0f 8d id", "jge rel32", .setup = setup_near_branch },
    { "7e ib", "jle rel8" },
    { "0f 8e id", "jle rel32", .setup = setup_near_branch },
    { "7f ib", "jg rel8" },
    { "0f 8f id", "jg rel32", .setup = setup_near_branch },
    { "eb ib", "jmp rel8" },
    { "e9 id", "jmp rel32", .setup = setup_near_branch },
    { "e8 id", "call rel32", .setup = setup_near_branch },
    { "ff /4", "jmp r/m", .mem = 8, .setup = setup_target },
    { "ff /2", "call r/m", .mem = 8, .setup = setup_target },
    { "c3", "ret", .setup = setup_return },
    { "c2 iw", "ret imm", .setup = setup_return },
    { "e0 ib", "loopne rel8", .pinned = RCX, .setup = setup_counter },
    { "67 e0 ib", "loopne rel8, ecx", .pinned = RCX, .setup = setup_counter },
    { "e1 ib", "loope rel8", .pinned = RCX, .setup = setup_counter },
    { "67 e1 ib", "loope rel8, ecx", .pinned = RCX, .setup = setup_counter },
    { "e2 ib", "loop rel8", .pinned = RCX, .setup = setup_counter },
    { "67 e2 ib", "loop rel8, ecx", .pinned = RCX, .setup = setup_counter },
    { "e3 ib", "jrcxz rel8", .pinned = RCX, .setup = setup_counter },
    { "67 e3 ib", "jrcxz rel8, ecx", .pinned = RCX, .setup = setup_counter },

    /* The stack. */
    { "50 +r", "push r" },
    { "66 50 +r", "push r16" },
    { "58 +r", "pop r" },
    { "66 58 +r", "pop r16" },
    { "68 id", "push imm" },
    { "66 68 iw", "push imm16" },
    { "6a ib", "push imm8" },
    { "66 6a ib", "push imm8 as 16" },
    { "ff /6", "push r/m", .mem = 8 },
    { "66 ff /6", "push r/m16", .mem = 2 },
    { "8f /0", "pop r/m", .mem = 8 },
    { "66 8f /0", "pop r/m16", .mem = 2 },
    { "c8 iw ib", "enter", .setup = setup_enter },
    { "c9", "leave", .setup = setup_frame },
    { "66 c9", "leave 16", .setup = setup_frame },
    { "9c", "pushf", .flags = 0 },
    { "c8 40 00 ib", "enter with a small frame", .setup = setup_enter },

    /* Strings. */
    { "a4", "movsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "v a5", "movs", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 v a5", "movs with 32-bit addresses", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 a4", "rep movsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 v a5", "rep movs", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f3 v a5", "rep movs with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "f2 a4", "repne movsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f2 v a5", "repne movs", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f2 v a5", "repne movs with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "a6", "cmpsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "v a7", "cmps", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 v a7", "cmps with 32-bit addresses", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 a6", "rep cmpsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 v a7", "rep cmps", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f3 v a7", "rep cmps with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "f2 a6", "repne cmpsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f2 v a7", "repne cmps", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f2 v a7", "repne cmps with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "aa", "stosb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "v ab", "stos", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 v ab", "stos with 32-bit addresses", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 aa", "rep stosb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 v ab", "rep stos", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f3 v ab", "rep stos with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "f2 aa", "repne stosb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f2 v ab", "repne stos", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f2 v ab", "repne stos with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "ac", "lodsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "v ad", "lods", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 v ad", "lods with 32-bit addresses", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 ac", "rep lodsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 v ad", "rep lods", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f3 v ad", "rep lods with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "f2 ac", "repne lodsb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f2 v ad", "repne lods", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f2 v ad", "repne lods with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "ae", "scasb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "v af", "scas", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 v af", "scas with 32-bit addresses", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 ae", "rep scasb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f3 v af", "rep scas", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f3 v af", "rep scas with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "f2 ae", "repne scasb", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "f2 v af", "repne scas", .pinned = RCX | RSI | RDI, .setup = setup_string },
    { "67 f2 v af", "repne scas with 32-bit addresses", .pinned = RCX | RSI | RDI,
      .setup = setup_string },
    { "f3 v a5", "rep movs, overlapping", .pinned = RCX | RSI | RDI, .setup = setup_overlap },
    { "f3 a4", "rep movsb, overlapping", .pinned = RCX | RSI | RDI, .setup = setup_overlap },

    /* Flags and the rest. */
    { "f5", "cmc" },
    { "f8", "clc" },
    { "f9", "stc" },
    { "fc", "cld" },
    { "fd", "std" },
    { "9e", "sahf" },
    { "9f", "lahf" },
    { "90", "nop" },
    { "f3 90", "pause" },
    { "v 0f 1f /0", "nop r/m" },
    { "f3 0f 1e fa", "endbr64" },
    { "0f ae e8", "lfence" },
    { "0f ae f0", "mfence" },
    { "0f ae f8", "sfence" },
    { "0f ae /7", "clflush", .flags = R_MEM, .mem = 1 },
    { "0f 0d /1", "prefetchw", .flags = R_MEM, .mem = 1 },
    { "0f 18 /1", "prefetcht0", .flags = R_MEM, .mem = 1 },

    /* What must not be. */
    { "0f 0b", "ud2" },
    { "cc", "int3" },
    { "06", "not in 64-bit mode" },
    { "0e", "not in 64-bit mode" },
    { "16", "not in 64-bit mode" },
    { "1e", "not in 64-bit mode" },
    { "07", "not in 64-bit mode" },
    { "17", "not in 64-bit mode" },
    { "1f", "not in 64-bit mode" },
    { "27", "not in 64-bit mode" },
    { "2f", "not in 64-bit mode" },
    { "37", "not in 64-bit mode" },
    { "3f", "not in 64-bit mode" },
    { "60", "not in 64-bit mode" },
    { "61", "not in 64-bit mode" },
    { "ce", "not in 64-bit mode" },
    { "d6", "not in 64-bit mode" },
    { "f0 90", "lock nop" },
    { "f0 v 8b /r", "lock mov" },
    { "f0 v 3b /r", "lock cmp" },
    { "f0 v 03 /r", "lock add r,r/m" },
    { "f0 v 0f a3 /r", "lock bt", .flags = R_MEM, .pinned = RCX },
    { "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", "16 bytes of nop" },
    { "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", "15 bytes of nop" },
    { "f4", "hlt in user mode" },
    { "fa", "cli in user mode" },
};
const size_t rows_integer_count = sizeof(rows_integer) / sizeof(rows_integer[0]);
