/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Comparing two outcomes.  The last instruction's address, operand and opcode in
 * the x87 image aren't compared: processors disagree on when they are saved.
 */
#include "generate.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLAGS_COMPARED = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x400 | 0x800 | 0x4000 | 0x40000 | 0x200000,
    X87_C1 = 1 << 9, X87_UE = 1 << 4,
};

static char report[16384];
static size_t report_length;

static void __attribute__((format(printf, 1, 2))) differ(const char *format, ...)
{
    va_list args;
    size_t room = sizeof(report) - report_length;
    int n;

    va_start(args, format);
    n = vsnprintf(report + report_length, room, format, args);
    va_end(args);
    if (n > 0)
        report_length += (size_t)n < room ? (size_t)n : room - 1;
}

const char *compare_report(void)
{
    return report;
}

static void compare_u64(const char *name, uint64_t in, uint64_t host, uint64_t ours)
{
    if (host != ours)
        differ("#   %-6s in %016" PRIx64 "  host %016" PRIx64 "  ours %016" PRIx64 "\n", name,
               in, host, ours);
}

static const char *hex(const uint8_t *bytes, unsigned size, char *text)
{
    for (unsigned i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", bytes[size - 1 - i]);
    return text;
}

static void compare_bytes(const char *name, unsigned nr, const uint8_t *in, const uint8_t *host,
                          const uint8_t *ours, unsigned size)
{
    char a[40], b[40], c[40];

    if (memcmp(host, ours, size) != 0)
        differ("#   %s%u in %s  host %s  ours %s\n", name, nr, hex(in, size, a), hex(host, size, b),
               hex(ours, size, c));
}

/* Distance in units of the last place; both finite and of one sign, or far apart. */
static bool f80_near(const uint8_t *a, const uint8_t *b, unsigned ulp)
{
    uint64_t ma, mb;
    uint16_t ea, eb;
    int64_t d;

    memcpy(&ma, a, 8);
    memcpy(&mb, b, 8);
    memcpy(&ea, a + 8, 2);
    memcpy(&eb, b + 8, 2);
    ea += !(ea & 0x7fff);                           /* denormals have the same unit as 1 */
    eb += !(eb & 0x7fff);
    if (ea == eb) {
        d = ma - mb;
    } else if (ea == eb + 1) {                      /* around a power of two */
        d = 2 * (ma - (1ull << 63)) + (0 - mb);
    } else if (eb == ea + 1) {
        d = 2 * (mb - (1ull << 63)) + (0 - ma);
    } else {
        return false;
    }
    return d <= (int64_t)ulp && d >= -(int64_t)ulp;
}

static void compare_x87(const struct test *t, const struct fx_image *host,
                        const struct fx_image *ours)
{
    bool near = t->row->flags & R_NEAR;
    uint16_t mask = near ? (uint16_t)~(X87_C1 | X87_UE) : 0xffff;
    char in[40], h[40], o[40];

    compare_u64("fcw", t->in.fx.control, host->control, ours->control);
    compare_u64("fsw", t->in.fx.status & mask, host->status & mask, ours->status & mask);
    compare_u64("ftag", t->in.fx.tags, host->tags, ours->tags);
    for (unsigned i = 0; i < 8; i++) {
        if (near && f80_near(host->st[i], ours->st[i], t->row->ulp))
            continue;
        if (memcmp(host->st[i], ours->st[i], 10) != 0)
            differ("#   st%u in %s  host %s  ours %s\n", i, hex(t->in.fx.st[i], 10, in),
                   hex(host->st[i], 10, h), hex(ours->st[i], 10, o));
    }
}

/* Approximations: each of the four lanes within so many units of the last place. */
static bool singles_near(const uint8_t *a, const uint8_t *b)
{
    for (unsigned i = 0; i < 4; i++) {
        int32_t x, y;

        memcpy(&x, a + 4 * i, 4);
        memcpy(&y, b + 4 * i, 4);
        if (x != y && (abs(x - y) > 3 << 11 || (x ^ y) < 0))
            return false;
    }
    return true;
}

static void compare_xmm(const struct test *t, const struct fx_image *host,
                        const struct fx_image *ours)
{
    bool near = t->row->flags & R_NEAR && t->row->kind == K_F32;

    for (unsigned i = 0; i < 16; i++)
        if (!near || !singles_near(host->xmm[i], ours->xmm[i]))
            compare_bytes("xmm", i, t->in.fx.xmm[i], host->xmm[i], ours->xmm[i], 16);
}

/* A #XM for overflow or underflow: whether it was inexact too is a known difference. */
static uint32_t mxcsr_ignored(const struct outcome *host)
{
    enum { OVERFLOW_UNDERFLOW = 0x18, INEXACT = 0x20, XM = 19 };
    uint32_t mxcsr = host->state.fx.mxcsr;

    return host->vector == XM && (mxcsr & ~(mxcsr >> 7) & OVERFLOW_UNDERFLOW) ? INEXACT : 0;
}

static const char *vector_name(unsigned vector)
{
    switch (vector) {
    case 3: return "done (#BP)";
    case VECTOR_HANG: return "hang";
    case VECTOR_SHUTDOWN: return "shutdown";
    case VECTOR_UNKNOWN: return "unknown instruction";
    case VECTOR_OTHER: return "another exit";
    default: return "exception";
    }
}

/* Which bytes the processor writes as it likes: those of the host for both. */
static void ignore_bytes(const struct test *t)
{
    uint8_t *ours = arena_ours(t->ea + t->row->ignored_at);
    uint8_t *host = arena_host(t->ea + t->row->ignored_at);

    if (t->row->ignored && t->ea >= DATA && t->ea < DATA + DATA_SIZE)
        memcpy(ours, host, t->row->ignored);
}

bool compare(const struct test *t, const struct outcome *host, const struct outcome *ours,
             uint32_t undefined_flags)
{
    static const char *const names[16] = {
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"
    };
    uint64_t flags = FLAGS_COMPARED & ~undefined_flags, addr;
    /* In its kernel's half the host may have a page, which we haven't. */
    uint32_t error_mask = host->cr2 >> 63 ? ~1u : ~0u;
    const struct state *h = &host->state, *o = &ours->state;
    uint64_t cr2_mask = t->row->flags & R_CR2_PAGE ? -(uint64_t)PAGE : UINT64_MAX;
    const char *area;

    report_length = 0;
    report[0] = 0;
    ignore_bytes(t);
    area = arena_compare(&addr);
    if (host->vector != ours->vector)
        differ("#   end: host %u %s, ours %u %s\n", host->vector, vector_name(host->vector),
               ours->vector, vector_name(ours->vector));
    else
        compare_u64("error", 0, host->error & error_mask, ours->error & error_mask);
    compare_u64("cr2", 0, host->cr2 & cr2_mask, ours->cr2 & cr2_mask);
    for (unsigned i = 0; i < 16; i++)
        compare_u64(names[i], t->in.gpr[i], h->gpr[i], o->gpr[i]);
    compare_u64("rip", t->in.rip, h->rip, o->rip);
    compare_u64("rflags", t->in.rflags, h->rflags & flags, o->rflags & flags);
    compare_x87(t, &h->fx, &o->fx);
    compare_u64("mxcsr", t->in.fx.mxcsr, h->fx.mxcsr & ~mxcsr_ignored(host),
                o->fx.mxcsr & ~mxcsr_ignored(host));
    compare_xmm(t, &h->fx, &o->fx);
    if (area) {
        differ("#   %s at operand%+" PRId64 " (0x%" PRIx64 "): host %02x, ours %02x\n", area,
               (int64_t)(addr - t->ea), addr, *(uint8_t *)arena_host(addr),
               *(uint8_t *)arena_ours(addr));
        arena_copy_host_to_ours();
    }
    return report_length == 0;
}
