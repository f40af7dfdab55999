/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One test of a row: random registers, memory around the operand, then the row's own setup. */
#include "generate.h"

#include <string.h>

enum {
    X87_DEFAULT = 0x37f,
    MXCSR_DEFAULT = 0x1f80,
    CODE_ROOM = 64,             /* the longest thing that a row encodes to */
};

/* Control word, status, tags: TOP anywhere, mostly full, sometimes empty registers. */
static void random_x87(const struct row *row, struct fx_image *fx)
{
    fx->control = X87_DEFAULT;
    fx->tags = 0xff;
    if (!(row->flags & R_X87)) {
        fx->tags = 0;
        return;
    }
    if (random_chance(50))
        fx->control = (fx->control & ~0xf00) | random_below(4) << 10 |
                      "\0\2\3\3"[random_below(4)] << 8;
    fx->status = random_below(8) << 11 | (random_u64() & 0x4700);
    if (random_chance(25))                          /* some exceptions unmasked */
        fx->control &= ~(random_u64() & (row->flags & R_NEAR ? 0x27 : 0x3f));
    if (random_chance(20)) {                        /* sticky ones; not pending unless wished */
        fx->status |= random_u64() & 0x7f;
        if (random_chance(80))
            fx->control |= fx->status & 0x3f;
        if (fx->status & ~fx->control & 0x3f)
            fx->status |= 0x8080;
    }
    if (random_chance(25))
        fx->tags = random_u64();
}

static uint32_t random_mxcsr(const struct row *row)
{
    uint32_t mxcsr = MXCSR_DEFAULT;

    if (!(row->flags & R_SSE) || random_chance(40))
        return mxcsr;
    mxcsr |= random_below(4) << 13;                 /* rounding */
    if (random_chance(25))
        mxcsr |= 1 << 15;                           /* FTZ */
    if (random_chance(25))
        mxcsr |= 1 << 6;                            /* DAZ */
    if (random_chance(30) && !(row->flags & R_MASKED))
        mxcsr &= ~(random_u64() & 0x1f80);
    if (random_chance(30))
        mxcsr |= random_u64() & 0x3f;               /* sticky flags */
    return mxcsr;
}

static void random_state(struct test *t)
{
    const struct row *row = t->row;
    struct state *s = &t->in;
    static const uint64_t flags[] = { 1, 4, 0x10, 0x40, 0x80, 0x400, 0x800 };

    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < 16; i++)
        if (row->kind == K_F32 || row->kind == K_F64 || row->kind == K_BCD)
            random_lanes(random_chance(30) ? K_INT : row->kind, &s->gpr[i], 8);
        else
            s->gpr[i] = random_int();
    s->gpr[4] = STACK + STACK_SIZE / 2 + random_below(32) * (random_chance(80) ? 8 : 1);
    s->rflags = 0x202;
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        if (random_chance(50))
            s->rflags |= flags[i];
    random_x87(row, &s->fx);
    s->fx.mxcsr = random_mxcsr(row);
    for (unsigned i = 0; i < 8; i++) {
        if (row->kind == K_INT || random_chance(3)) {   /* what MMX leaves there */
            random_lanes(K_INT, s->fx.st[i], 8);
            memset(s->fx.st[i] + 8, 0xff, 2);
        } else {
            random_f80(s->fx.st[i]);
        }
    }
    for (unsigned i = 0; i < 16; i++)
        random_lanes(row->kind, s->fx.xmm[i], 16);
}

static void fill_memory(const struct test *t)
{
    uint8_t data[640];
    unsigned size = (t->row->mem ? t->row->mem : t->opsize) + 16;

    if (!t->has_mem)
        return;
    if (size > sizeof(data))
        size = sizeof(data);
    if (t->row->kind == K_F80 && t->row->mem == 10)
        random_f80(data + 8);
    else if (t->row->kind == K_F80 && t->row->mem <= 8)
        random_lanes(t->row->mem == 4 ? K_F32 : K_F64, data + 8, size - 8);
    else
        random_lanes(t->row->kind, data + 8, size - 8);
    arena_write(t->ea, data + 8, size - 8);
}

/* INT3 all around, so that whatever is jumped to ends the run. */
static void place_code(struct test *t)
{
    uint8_t code[CODE_SIZE];

    memset(code, 0xcc, sizeof(code));
    memcpy(code + (t->in.rip - CODE), t->code,
           t->in.rip + t->length > CODE + CODE_SIZE ? CODE + CODE_SIZE - t->in.rip : t->length);
    memcpy(arena_host(CODE), code, sizeof(code));
    memcpy(arena_ours(CODE), code, sizeof(code));
    ours_code_written();
}

bool generate(struct test *t)
{
    random_state(t);
    t->in.rip = CODE + random_below(CODE_SIZE - CODE_ROOM);
    if (random_chance(10))                          /* across the page boundary */
        t->in.rip = CODE + PAGE - random_below(16);
    else if (random_chance(3))                      /* running into the hole */
        t->in.rip = CODE + CODE_SIZE - 1 - random_below(12);
    if (!encode(t))
        return false;
    fill_memory(t);
    if (t->row->setup)
        t->row->setup(t);
    place_code(t);
    return true;
}
