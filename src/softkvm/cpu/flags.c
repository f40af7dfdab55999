/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RFLAGS as a whole, from and to its lazy form. */
#include "flags.h"

#include "segment.h"

static uint64_t flags_arith(const struct cpu *cpu)
{
    return (flag_cf(cpu) ? FLAG_CF : 0) | (flag_pf(cpu) ? FLAG_PF : 0) |
           (flag_af(cpu) ? FLAG_AF : 0) | (flag_zf(cpu) ? FLAG_ZF : 0) |
           (flag_sf(cpu) ? FLAG_SF : 0) | (flag_of(cpu) ? FLAG_OF : 0);
}

void flags_settle(struct cpu *cpu)
{
    flags_set_arith(cpu, flags_arith(cpu));
}

uint64_t cpu_rflags(const struct cpu *cpu)
{
    return (cpu->flags & ~(uint64_t)FLAGS_ARITH) | flags_arith(cpu) | FLAG_ONE;
}

/* VM and AC are what the mode depends on (AC: SMAP's override). */
void cpu_set_rflags(struct cpu *cpu, uint64_t rflags)
{
    uint64_t changed = cpu->flags ^ rflags;

    cpu->flags = rflags | FLAG_ONE;
    cpu->lazy.op = LAZY_NONE;
    if (changed & (FLAG_VM | FLAG_AC))
        cpu_update_mode(cpu);
}
