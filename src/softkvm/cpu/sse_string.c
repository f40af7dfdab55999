/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SSE4.2: PCMPESTRI and its kin (SDM vol. 2, section 4.1). */
#include "flags.h"
#include "sse.h"

/* Bits of the immediate. */
enum {
    STR_WORDS = 1 << 0, STR_SIGNED = 1 << 1, STR_AGGREGATION_SHIFT = 2, STR_NEGATE = 1 << 4,
    STR_VALID_ONLY = 1 << 5, STR_LAST = 1 << 6, STR_EXPAND = 1 << 6,
};
enum { STR_ANY, STR_RANGES, STR_EACH, STR_ORDERED };

/* One comparison under way: elements, widened, and how many of them are valid. */
struct strings {
    unsigned n;                 /* elements in a register: 16 or 8 */
    int32_t a[16], b[16];
    unsigned a_valid, b_valid;
};

static void widen(const union cpu_xmm *x, unsigned imm, int32_t *elements, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        elements[i] = imm & STR_WORDS ? (imm & STR_SIGNED ? x->s16[i] : x->u16[i])
                                      : (imm & STR_SIGNED ? x->s8[i] : x->u8[i]);
}

/* Elements before the first 0. */
static unsigned implicit_length(const int32_t *elements, unsigned n)
{
    unsigned i = 0;

    while (i < n && elements[i])
        i++;
    return i;
}

/* From EAX or EDX: the absolute value, at most n. */
static unsigned explicit_length(uint64_t reg, bool wide, unsigned n)
{
    int64_t value = wide ? (int64_t)reg : (int32_t)reg;
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;

    return magnitude < n ? magnitude : n;
}

static bool match_any(const struct strings *s, unsigned j)
{
    for (unsigned i = 0; i < s->a_valid; i++)
        if (j < s->b_valid && s->a[i] == s->b[j])
            return true;
    return false;
}

static bool match_ranges(const struct strings *s, unsigned j)
{
    for (unsigned i = 0; i + 1 < s->a_valid; i += 2)
        if (j < s->b_valid && s->a[i] <= s->b[j] && s->b[j] <= s->a[i + 1])
            return true;
    return false;
}

static bool match_each(const struct strings *s, unsigned j)
{
    if (j >= s->a_valid || j >= s->b_valid)
        return j >= s->a_valid && j >= s->b_valid;
    return s->a[j] == s->b[j];
}

/* Does a, or as much of it as there is room for, begin at b[j]? */
static bool match_ordered(const struct strings *s, unsigned j)
{
    for (unsigned i = 0; i < s->a_valid && i + j < s->n; i++)
        if (i + j >= s->b_valid || s->a[i] != s->b[i + j])
            return false;
    return true;
}

static unsigned compare_strings(const struct strings *s, unsigned imm)
{
    static bool (*const match[4])(const struct strings *, unsigned) = {
        [STR_ANY] = match_any, [STR_RANGES] = match_ranges, [STR_EACH] = match_each,
        [STR_ORDERED] = match_ordered,
    };
    unsigned all = (1u << s->n) - 1, result = 0;

    for (unsigned j = 0; j < s->n; j++)
        result |= (unsigned)match[imm >> STR_AGGREGATION_SHIFT & 3](s, j) << j;
    if (imm & STR_NEGATE)
        result ^= imm & STR_VALID_ONLY ? (1u << s->b_valid) - 1 : all;
    return result;
}

/* XMM0 = the result, as bits or as whole elements. */
static void store_mask(struct cpu *cpu, unsigned result, unsigned imm)
{
    union cpu_xmm r = { .u64 = { result, 0 } };

    if (imm & STR_EXPAND) {
        for (unsigned i = 0; i < 16; i++)
            r.u8[i] = result >> (imm & STR_WORDS ? i / 2 : i) & 1 ? 0xff : 0;
    }
    cpu->fpu.xmm[0] = r;
}

static void store_index(struct cpu *cpu, unsigned result, unsigned imm, unsigned n)
{
    if (!result)
        cpu->regs[REG_RCX] = n;
    else
        cpu->regs[REG_RCX] = imm & STR_LAST ? 31 - __builtin_clz(result) : __builtin_ctz(result);
}

static enum cpu_status compare_string(struct cpu *cpu, const struct insn *insn, bool lengths,
                                      bool mask)
{
    bool wide = insn->flags & INSN_REX_W;
    unsigned imm = insn->imm & 0xff, result;
    struct strings s = { .n = imm & STR_WORDS ? 8 : 16 };
    union cpu_xmm b;
    enum cpu_status status;

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    status = sse_source(cpu, insn, 16, 0, &b);
    if (status != CPU_OK)
        return status;
    widen(&cpu->fpu.xmm[insn->reg], imm, s.a, s.n);
    widen(&b, imm, s.b, s.n);
    s.a_valid = lengths ? explicit_length(cpu->regs[REG_RAX], wide, s.n)
                        : implicit_length(s.a, s.n);
    s.b_valid = lengths ? explicit_length(cpu->regs[REG_RDX], wide, s.n)
                        : implicit_length(s.b, s.n);
    result = compare_strings(&s, imm);
    flags_set_arith(cpu, (result ? FLAG_CF : 0) | (s.b_valid < s.n ? FLAG_ZF : 0) |
                         (s.a_valid < s.n ? FLAG_SF : 0) | (result & 1 ? FLAG_OF : 0));
    if (mask)
        store_mask(cpu, result, imm);
    else
        store_index(cpu, result, imm, s.n);
    return CPU_OK;
}

enum cpu_status sse_pcmpestrm(struct cpu *cpu, const struct insn *insn)
{
    return compare_string(cpu, insn, true, true);
}

enum cpu_status sse_pcmpestri(struct cpu *cpu, const struct insn *insn)
{
    return compare_string(cpu, insn, true, false);
}

enum cpu_status sse_pcmpistrm(struct cpu *cpu, const struct insn *insn)
{
    return compare_string(cpu, insn, false, true);
}

enum cpu_status sse_pcmpistri(struct cpu *cpu, const struct insn *insn)
{
    return compare_string(cpu, insn, false, false);
}
