/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Operands whose size and place are known at run time only: the plain flavour of operand.h. */
#include "operand.h"

enum cpu_status linear_read(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *value)
{
    enum cpu_status status;
    uint8_t v8;
    uint16_t v16;
    uint32_t v32;

    switch (size) {
    case 1:
        status = mmu_read8(cpu, linear, &v8);
        *value = status == CPU_OK ? v8 : 0;
        return status;
    case 2:
        status = mmu_read16(cpu, linear, &v16);
        *value = status == CPU_OK ? v16 : 0;
        return status;
    case 4:
        status = mmu_read32(cpu, linear, &v32);
        *value = status == CPU_OK ? v32 : 0;
        return status;
    default:
        *value = 0;
        return mmu_read64(cpu, linear, value);
    }
}

enum cpu_status linear_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:
        return mmu_write8(cpu, linear, value);
    case 2:
        return mmu_write16(cpu, linear, value);
    case 4:
        return mmu_write32(cpu, linear, value);
    default:
        return mmu_write64(cpu, linear, value);
    }
}

enum cpu_status rm_read(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t *value)
{
    enum cpu_status status;
    uint64_t linear;

    if (!(insn->flags & INSN_MEM)) {
        *value = reg_get(cpu, insn, insn->rm, size);
        return CPU_OK;
    }
    status = insn_linear(cpu, insn, size, ACCESS_READ, &linear);
    return status == CPU_OK ? linear_read(cpu, linear, size, value) : status;
}

enum cpu_status rm_write(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t value)
{
    enum cpu_status status;
    uint64_t linear;

    if (!(insn->flags & INSN_MEM)) {
        reg_set(cpu, insn, insn->rm, size, value);
        return CPU_OK;
    }
    status = insn_linear(cpu, insn, size, ACCESS_WRITE, &linear);
    return status == CPU_OK ? linear_write(cpu, linear, size, value) : status;
}

enum cpu_status rmw_begin_at(struct cpu *cpu, const struct insn *insn, uint64_t linear,
                             unsigned size, struct rmw *m)
{
    enum cpu_status status;

    *m = (struct rmw){ .linear = linear, .size = size };
    status = mmu_rmw(cpu, linear, size, &m->host, &m->code);
    if (status != CPU_OK)
        return status;
    if (m->host) {
        m->old = host_load(m->host, size);
        return CPU_OK;
    }
    if (insn->flags & INSN_LOCK) {
        m->bus_locked = true;
        mmu_rmw_lock();
    }
    status = linear_read(cpu, linear, size, &m->old);
    if (status != CPU_OK && m->bus_locked)
        mmu_rmw_unlock();
    return status;
}

enum cpu_status rmw_begin(struct cpu *cpu, const struct insn *insn, unsigned size, struct rmw *m)
{
    enum cpu_status status;
    uint64_t linear;

    if (!(insn->flags & INSN_MEM)) {
        *m = (struct rmw){ .old = reg_get(cpu, insn, insn->rm, size), .size = size };
        return CPU_OK;
    }
    status = insn_linear(cpu, insn, size, ACCESS_WRITE, &linear);
    return status == CPU_OK ? rmw_begin_at(cpu, insn, linear, size, m) : status;
}

/* Misaligned addresses within a page are fine for x86 hosts, if slow. */
__attribute__((no_sanitize("alignment")))
static bool host_exchange(void *host, unsigned size, uint64_t *old, uint64_t value)
{
    uint8_t old8 = *old;
    uint16_t old16 = *old;
    uint32_t old32 = *old;
    bool done;

    switch (size) {
    case 1:
        done = __atomic_compare_exchange_n((uint8_t *)host, &old8, value, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
        *old = old8;
        return done;
    case 2:
        done = __atomic_compare_exchange_n((uint16_t *)host, &old16, value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *old = old16;
        return done;
    case 4:
        done = __atomic_compare_exchange_n((uint32_t *)host, &old32, value, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *old = old32;
        return done;
    default:
        return __atomic_compare_exchange_n((uint64_t *)host, old, value, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    }
}

enum cpu_status rmw_commit(struct cpu *cpu, const struct insn *insn, struct rmw *m, uint64_t value)
{
    enum cpu_status status;

    if (m->host) {
        if (!(insn->flags & INSN_LOCK))
            host_store(m->host, m->size, value);
        else if (!host_exchange(m->host, m->size, &m->old, zero_extend(value, m->size)))
            return CPU_MISS;
        mmu_stored(cpu, m->code);
        return CPU_OK;
    }
    if (!(insn->flags & INSN_MEM)) {
        reg_set(cpu, insn, insn->rm, m->size, value);
        return CPU_OK;
    }
    status = linear_write(cpu, m->linear, m->size, value);
    if (m->bus_locked)
        mmu_rmw_unlock();
    return status;
}

enum cpu_status exec_code_hit(struct cpu *cpu, const struct insn *insn)
{
    cpu_code_written(cpu->code_hit);
    return insn_stop(cpu, insn, CPU_OK);
}
