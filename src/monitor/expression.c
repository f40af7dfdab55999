/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sum of logic of products: "* / %" bind tightest, then "& | ^", then "+ -", as
 * in QEMU's monitor.  Values have 64 bits; division is signed.
 */
#include "expression.h"

#include "debug.h"
#include "error.h"

#include <errno.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

struct parser {
    const struct monitor_ctx *ctx;
    const char *p;
    unsigned depth;
    GError **error;
};

static bool parse_sum(struct parser *in, uint64_t *ret);

static void skip_blanks(struct parser *in)
{
    while (g_ascii_isspace(*in->p))
        in->p++;
}

/* --- Registers --- */

#define REG(name_, field_) \
    { name_, offsetof(struct debug_registers, field_), sizeof(((struct debug_registers *)0)->field_) }
#define SEGMENT(name_) \
    REG(#name_, sregs.name_.selector), REG(#name_ ".base", sregs.name_.base), \
    REG(#name_ ".limit", sregs.name_.limit)

/* The 32-bit names have all 64 bits too. */
static const struct {
    const char *name;
    size_t offset, size;
} registers[] = {
    REG("rax", regs.rax), REG("rbx", regs.rbx), REG("rcx", regs.rcx), REG("rdx", regs.rdx),
    REG("rsi", regs.rsi), REG("rdi", regs.rdi), REG("rsp", regs.rsp), REG("rbp", regs.rbp),
    REG("eax", regs.rax), REG("ebx", regs.rbx), REG("ecx", regs.rcx), REG("edx", regs.rdx),
    REG("esi", regs.rsi), REG("edi", regs.rdi), REG("esp", regs.rsp), REG("ebp", regs.rbp),
    REG("sp", regs.rsp), REG("fp", regs.rbp),
    REG("r8", regs.r8), REG("r9", regs.r9), REG("r10", regs.r10), REG("r11", regs.r11),
    REG("r12", regs.r12), REG("r13", regs.r13), REG("r14", regs.r14), REG("r15", regs.r15),
    REG("rip", regs.rip), REG("rflags", regs.rflags), REG("eflags", regs.rflags),
    SEGMENT(cs), SEGMENT(ds), SEGMENT(es), SEGMENT(ss), SEGMENT(fs), SEGMENT(gs),
    REG("gdt.base", sregs.gdt.base), REG("gdt.limit", sregs.gdt.limit),
    REG("idt.base", sregs.idt.base), REG("idt.limit", sregs.idt.limit),
    REG("cr0", sregs.cr0), REG("cr2", sregs.cr2), REG("cr3", sregs.cr3), REG("cr4", sregs.cr4),
    REG("efer", sregs.efer),
};

static bool read_register(const struct debug_registers *all, const char *name, uint64_t *ret)
{
    if (strcmp(name, "pc") == 0 || strcmp(name, "eip") == 0) {
        *ret = all->regs.rip + all->sregs.cs.base;
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(registers); i++) {
        if (strcmp(registers[i].name, name) != 0)
            continue;
        *ret = 0;
        memcpy(ret, (const char *)all + registers[i].offset, registers[i].size);
        return true;
    }
    return false;
}

static bool parse_register(struct parser *in, uint64_t *ret)
{
    size_t len = strspn(in->p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._");
    g_autofree char *name = g_ascii_strdown(in->p, (gssize)len);
    struct debug_registers all;

    in->p += len;
    if (!debug_registers(in->ctx->vm->debug, *in->ctx->cpu, &all, in->error))
        return false;
    if (read_register(&all, name, ret))
        return true;
    error_set(in->error, "unknown register");
    return false;
}

/* --- Operands --- */

static bool parse_character(struct parser *in, uint64_t *ret)
{
    if (!in->p[0] || in->p[1] != '\'') {
        error_set(in->error, in->p[0] ? "missing terminating ' character"
                                      : "character constant expected");
        return false;
    }
    *ret = (uint8_t)in->p[0];
    in->p += 2;
    return true;
}

static bool parse_number(struct parser *in, uint64_t *ret)
{
    const char *start = in->p;
    char *end = (char *)start;

    if (!*start) {
        error_set(in->error, "unexpected end of expression");
        return false;
    }
    errno = 0;
    if (g_ascii_isdigit(*start))
        *ret = g_ascii_strtoull(start, &end, 0);
    if (errno == ERANGE) {
        error_set(in->error, "number too large");
        return false;
    }
    if (end == start || g_ascii_isalnum(*end)) {
        error_set(in->error, "invalid char '%c' in expression", *end);
        return false;
    }
    in->p = end;
    return true;
}

static bool parse_unary(struct parser *in, uint64_t *ret);

static bool parse_nested(struct parser *in, char first, uint64_t *ret)
{
    if (first != '(')
        return parse_unary(in, ret);
    if (!parse_sum(in, ret))
        return false;
    if (*in->p != ')') {
        error_set(in->error, "')' expected");
        return false;
    }
    in->p++;
    return true;
}

static bool parse_unary(struct parser *in, uint64_t *ret)
{
    char first;
    bool ok;

    skip_blanks(in);
    first = *in->p;
    if (!first || !strchr("+-~('$", first))
        return parse_number(in, ret);
    in->p++;
    if (first == '$')
        return parse_register(in, ret);
    if (first == '\'')
        return parse_character(in, ret);
    if (++in->depth > MAX_DEPTH) {
        error_set(in->error, "expression is nested too deeply");
        return false;
    }
    ok = parse_nested(in, first, ret);
    in->depth--;
    if (first == '-')
        *ret = -*ret;
    else if (first == '~')
        *ret = ~*ret;
    return ok;
}

/* --- Operators --- */

static bool divide(struct parser *in, char op, uint64_t by, uint64_t *ret)
{
    if (by == 0) {
        error_set(in->error, "division by zero");
        return false;
    }
    /* The one quotient that overflows wraps round. */
    if (by == UINT64_MAX)
        *ret = op == '/' ? -*ret : 0;
    else
        *ret = (uint64_t)(op == '/' ? (int64_t)*ret / (int64_t)by : (int64_t)*ret % (int64_t)by);
    return true;
}

static bool apply(struct parser *in, char op, uint64_t value, uint64_t *ret)
{
    switch (op) {
    case '*': *ret *= value; return true;
    case '&': *ret &= value; return true;
    case '|': *ret |= value; return true;
    case '^': *ret ^= value; return true;
    case '+': *ret += value; return true;
    case '-': *ret -= value; return true;
    default: return divide(in, op, value, ret);
    }
}

/* "0x1000 /tmp/file", "0x1000 -n": no operand begins so, what begins there is something else. */
static bool is_argument(const char *p)
{
    return g_ascii_isalpha(p[1]) || (p[0] == '/' && p[1] && strchr("._~/", p[1]));
}

static bool parse_chain(struct parser *in, const char *operators,
                        bool (*operand)(struct parser *in, uint64_t *ret), uint64_t *ret)
{
    if (!operand(in, ret))
        return false;
    for (;;) {
        uint64_t value;
        char op;

        skip_blanks(in);
        op = *in->p;
        if (!op || !strchr(operators, op) || is_argument(in->p))
            return true;
        in->p++;
        if (!operand(in, &value) || !apply(in, op, value, ret))
            return false;
    }
}

static bool parse_product(struct parser *in, uint64_t *ret)
{
    return parse_chain(in, "*/%", parse_unary, ret);
}

static bool parse_logic(struct parser *in, uint64_t *ret)
{
    return parse_chain(in, "&|^", parse_product, ret);
}

static bool parse_sum(struct parser *in, uint64_t *ret)
{
    return parse_chain(in, "+-", parse_logic, ret);
}

bool expression_eval(const struct monitor_ctx *ctx, const char **p, uint64_t *ret, GError **error)
{
    struct parser in = { .ctx = ctx, .p = *p, .error = error };
    bool ok = parse_sum(&in, ret);

    *p = in.p;
    return ok;
}
