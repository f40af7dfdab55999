/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. */
#include "exception.h"
#include "flags.h"
#include "opcodes.h"
#include "operand.h"

/* With memory, XCHG is locked whether it says so or not. */
enum cpu_status body_xchg(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value = reg_get(cpu, insn, insn->reg, insn->size);
    struct insn locked = *insn;
    enum cpu_status status;
    struct rmw m;

    locked.flags |= INSN_LOCK;
    status = rmw_begin(cpu, &locked, insn->size, &m);
    if (status != CPU_OK)
        return status;
    do {
        status = rmw_commit(cpu, &locked, &m, value);
    } while (status == CPU_MISS);
    if (status == CPU_OK)
        reg_set(cpu, insn, insn->reg, insn->size, m.old);
    return status;
}

/* 90-97.  90 without REX.B is NOP: it doesn't even clear the upper half of RAX. */
enum cpu_status body_xchg_acc(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value = hot_get(cpu, insn->reg, insn->size);

    if (insn->reg == REG_RAX)
        return CPU_OK;
    hot_set(cpu, insn->reg, insn->size, hot_get(cpu, REG_RAX, insn->size));
    hot_set(cpu, REG_RAX, insn->size, value);
    return CPU_OK;
}

static void set_lazy(struct cpu *cpu, uint8_t op, uint64_t a, uint64_t b, unsigned size)
{
    a = sign_extend(a, size);
    b = sign_extend(b, size);
    cpu->lazy.a = a;
    cpu->lazy.b = b;
    cpu->lazy.result = sign_extend(op == LAZY_ADD ? a + b : a - b, size);
    cpu->lazy.op = op;
}

enum cpu_status body_xadd(struct cpu *cpu, const struct insn *insn)
{
    uint64_t addend = reg_get(cpu, insn, insn->reg, insn->size);
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, insn->size, &m);

    if (status != CPU_OK)
        return status;
    /* Where both are the same register, the sum is what stays. */
    if (!(insn->flags & INSN_MEM))
        reg_set(cpu, insn, insn->reg, insn->size, m.old);
    do {
        status = rmw_commit(cpu, insn, &m, m.old + addend);
    } while (status == CPU_MISS);
    if (status != CPU_OK)
        return status;
    if (insn->flags & INSN_MEM)
        reg_set(cpu, insn, insn->reg, insn->size, m.old);
    set_lazy(cpu, LAZY_ADD, m.old, addend, insn->size);
    return CPU_OK;
}

/* Memory is written whatever the outcome: it must be writable.  A register isn't. */
enum cpu_status body_cmpxchg(struct cpu *cpu, const struct insn *insn)
{
    uint64_t expected = hot_get(cpu, REG_RAX, insn->size);
    uint64_t value = reg_get(cpu, insn, insn->reg, insn->size);
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, insn->size, &m);

    if (status != CPU_OK)
        return status;
    do {
        if (m.old != expected && !(insn->flags & INSN_MEM))
            break;
        status = rmw_commit(cpu, insn, &m, m.old == expected ? value : m.old);
    } while (status == CPU_MISS);
    if (status != CPU_OK)
        return status;
    if (m.old != expected)
        hot_set(cpu, REG_RAX, insn->size, m.old);
    set_lazy(cpu, LAZY_SUB, expected, m.old, insn->size);
    return CPU_OK;
}

static enum cpu_status cmpxchg8b(struct cpu *cpu, const struct insn *insn)
{
    uint64_t expected = cpu->regs[REG_RDX] << 32 | (uint32_t)cpu->regs[REG_RAX];
    uint64_t value = cpu->regs[REG_RCX] << 32 | (uint32_t)cpu->regs[REG_RBX];
    struct rmw m;
    enum cpu_status status = rmw_begin(cpu, insn, 8, &m);

    if (status != CPU_OK)
        return status;
    do {
        status = rmw_commit(cpu, insn, &m, m.old == expected ? value : m.old);
    } while (status == CPU_MISS);
    if (status != CPU_OK)
        return status;
    if (m.old != expected) {
        cpu->regs[REG_RAX] = (uint32_t)m.old;
        cpu->regs[REG_RDX] = m.old >> 32;
    }
    flags_change_arith(cpu, FLAG_ZF, m.old == expected ? FLAG_ZF : 0);
    return CPU_OK;
}

typedef unsigned __int128 u128;

/* Inlined where the compiler may assume the instruction: meson.build says -mcx16. */
#if defined(__x86_64__)
__attribute__((no_sanitize("thread")))
static u128 host_cmpxchg16(void *host, u128 expected, u128 value)
{
    return __sync_val_compare_and_swap((u128 *)host, expected, value);
}
#else
static u128 host_cmpxchg16(void *host, u128 expected, u128 value)
{
    __atomic_compare_exchange_n((u128 *)host, &expected, value, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    return expected;
}
#endif

/* Memory without a host address: under the lock that all such accesses take. */
static enum cpu_status slow_cmpxchg16(struct cpu *cpu, uint64_t linear, u128 expected, u128 value,
                                      u128 *old)
{
    enum cpu_status status;

    mmu_rmw_lock();
    status = mmu_read(cpu, linear, old, sizeof(*old));
    if (status == CPU_OK) {
        if (*old != expected)
            value = *old;
        status = mmu_write(cpu, linear, &value, sizeof(value));
    }
    mmu_rmw_unlock();
    return status;
}

static enum cpu_status cmpxchg16b(struct cpu *cpu, const struct insn *insn)
{
    u128 expected = (u128)cpu->regs[REG_RDX] << 64 | cpu->regs[REG_RAX];
    u128 value = (u128)cpu->regs[REG_RCX] << 64 | cpu->regs[REG_RBX], old;
    uint32_t *code;
    uint64_t linear;
    void *host;
    enum cpu_status status = insn_linear(cpu, insn, 16, ACCESS_WRITE, &linear);

    if (status != CPU_OK)
        return status;
    if (linear & 15)
        return raise_gp(cpu);
    status = mmu_rmw(cpu, linear, 16, &host, &code);
    if (status == CPU_OK && host) {
        old = host_cmpxchg16(host, expected, value);
        mmu_stored(cpu, code);
    } else if (status == CPU_OK) {
        status = slow_cmpxchg16(cpu, linear, expected, value, &old);
    }
    if (status != CPU_OK)
        return status;
    if (old != expected) {
        cpu->regs[REG_RAX] = old;
        cpu->regs[REG_RDX] = old >> 64;
    }
    flags_change_arith(cpu, FLAG_ZF, old == expected ? FLAG_ZF : 0);
    return CPU_OK;
}

enum cpu_status body_cmpxchg_pair(struct cpu *cpu, const struct insn *insn)
{
    return insn->size == 8 ? cmpxchg16b(cpu, insn) : cmpxchg8b(cpu, insn);
}

insn_exec *pick_xchg_acc(struct insn *insn, struct decode_mode mode)
{
    return insn->reg == REG_RAX ? exec_nop : NULL;
}
