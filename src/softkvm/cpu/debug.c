// SPDX-License-Identifier: LGPL-2.1-or-later
/* Matching of accesses against DR0-DR3; see debug.h. */
#include "debug.h"
#include "mmu.h"
#include "mode.h"

enum { RW_CODE = 0, RW_WRITE = 1, RW_IO = 2, RW_ACCESS = 3 };

static const uint64_t *registers(const struct cpu *cpu)
{
    bool host = cpu->guest_debug.enabled && cpu->guest_debug.hw_breakpoints;

    return host ? cpu->guest_debug.dr : cpu->dr;
}

static bool is_enabled(uint64_t dr7, unsigned n)
{
    return (dr7 >> (n * 2)) & 3;
}

static unsigned kind(uint64_t dr7, unsigned n)
{
    return (dr7 >> (16 + n * 4)) & 3;
}

/* Encoding 2 means eight bytes. */
static unsigned length(uint64_t dr7, unsigned n)
{
    static const uint8_t lengths[] = { 1, 2, 8, 4 };

    return lengths[(dr7 >> (18 + n * 4)) & 3];
}

void debug_update(struct cpu *cpu)
{
    uint64_t dr7 = registers(cpu)[7];
    bool had_data = cpu->debug_data;

    cpu->debug_code = cpu->debug_data = cpu->debug_io = false;
    for (unsigned n = 0; n < 4; n++) {
        if (!is_enabled(dr7, n))
            continue;
        cpu->debug_code |= kind(dr7, n) == RW_CODE;
        cpu->debug_data |= kind(dr7, n) == RW_WRITE || kind(dr7, n) == RW_ACCESS;
        cpu->debug_io |= kind(dr7, n) == RW_IO && (cpu->cr4 & CR4_DE);
    }
    /* Pages that are watched must not be in the TLB, others come back by themselves. */
    if (had_data || cpu->debug_data)
        tlb_flush_all(cpu);
}

uint32_t debug_code_hits(const struct cpu *cpu, uint64_t addr)
{
    const uint64_t *dr = registers(cpu);
    uint32_t hits = 0;

    for (unsigned n = 0; n < 4; n++) {
        if (is_enabled(dr[7], n) && kind(dr[7], n) == RW_CODE && dr[n] == addr)
            hits |= 1 << n;
    }
    return hits;
}

static void hit(struct cpu *cpu, unsigned n)
{
    cpu->debug_hits |= 1 << n;
    cpu->attention |= ATTENTION_DEBUG;
}

/* The watched range is aligned to its length. */
static bool overlaps(const uint64_t *dr, unsigned n, uint64_t addr, unsigned size)
{
    uint64_t start = dr[n] & ~(uint64_t)(length(dr[7], n) - 1);

    return addr - start < length(dr[7], n) || start - addr < size;
}

bool debug_data_page(const struct cpu *cpu, uint64_t addr)
{
    const uint64_t *dr = registers(cpu);

    for (unsigned n = 0; n < 4; n++) {
        if (is_enabled(dr[7], n) && (kind(dr[7], n) & 1) && !((dr[n] ^ addr) >> CPU_PAGE_SHIFT))
            return true;
    }
    return false;
}

void debug_data_access(struct cpu *cpu, uint64_t addr, unsigned size, enum cpu_access access)
{
    const uint64_t *dr = registers(cpu);

    for (unsigned n = 0; access != ACCESS_EXEC && n < 4; n++) {
        bool wanted = kind(dr[7], n) == RW_ACCESS ||
                      (kind(dr[7], n) == RW_WRITE && access == ACCESS_WRITE);

        if (wanted && is_enabled(dr[7], n) && overlaps(dr, n, addr, size))
            hit(cpu, n);
    }
}

void debug_io_access(struct cpu *cpu, uint16_t port, unsigned size)
{
    const uint64_t *dr = registers(cpu);

    for (unsigned n = 0; n < 4; n++) {
        if (is_enabled(dr[7], n) && kind(dr[7], n) == RW_IO && overlaps(dr, n, port, size))
            hit(cpu, n);
    }
}
