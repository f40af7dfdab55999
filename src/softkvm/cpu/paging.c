// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Page walks: 32-bit paging with PSE, PAE paging, 4-level and 5-level paging with
 * pages of 4 KiB, 2 MiB and 1 GiB (SDM vol. 3, chapter 4).  PCIDs and protection keys
 * are neither announced nor modelled.
 *
 * SEV guests: tables are always read encrypted, code is, and so is everything where
 * entries can't say otherwise: without paging and with entries of 32 bits.  In other
 * entries the C-bit is no address bit and never reserved.
 */
#include "paging.h"
#include "exception.h"
#include "mode.h"

enum {
    PTE_P = 1 << 0, PTE_W = 1 << 1, PTE_U = 1 << 2, PTE_A = 1 << 5, PTE_D = 1 << 6,
    PTE_PS = 1 << 7, PTE_G = 1 << 8,
    MAX_LEVELS = 5,
    PDPTR_RESERVED = 0x1e6,     /* bits 1, 2, 5-8 */
};
#define PTE_NX (1ull << 63)
#define BITS(high_, low_) ((~0ull >> (63 - (high_))) & (~0ull << (low_)))

/* What the three forms of paging differ in. */
struct paging {
    uint8_t levels;             /* that are read from memory */
    uint8_t entry_size;
    uint8_t index_bits;
    uint64_t root;
};

/* An entry that the walk used, as it was read. */
struct step {
    uint64_t entry;
    uint64_t gpa;
};

static enum cpu_status page_fault(struct cpu *cpu, uint64_t addr, enum cpu_access access,
                                  unsigned mmu_index, uint32_t error)
{
    bool fetch_known = (cpu->cr4 & CR4_SMEP) || ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE));

    if (access == ACCESS_WRITE)
        error |= PF_W;
    if (access == ACCESS_EXEC && fetch_known)
        error |= PF_I;
    if (mmu_is_user(mmu_index))
        error |= PF_U;
    cpu->fault = (struct cpu_fault){
        .vector = VECTOR_PF, .has_error = true, .error = error, .address = addr,
    };
    return CPU_FAULT;
}

/* Which bits of an entry must be zero. */
static uint64_t reserved_bits(const struct cpu *cpu, const struct paging *p, unsigned level,
                              bool leaf)
{
    uint64_t reserved;

    if (p->entry_size == 4) {
        if (level == 1 || !leaf)
            return 0;
        /* PSE-36: bits 13-20 are physical address bits 32-39. */
        reserved = 1 << 21;
        if (cpu->phys_bits < 40)
            reserved |= BITS(20, 13 + (cpu->phys_bits > 32 ? cpu->phys_bits - 32 : 0));
        return reserved;
    }
    reserved = BITS(51, cpu->phys_bits);
    if (!(cpu->efer & EFER_NXE))
        reserved |= PTE_NX;
    if (!cpu->long_mode)
        reserved |= BITS(62, 52);
    if (level >= 4)
        reserved |= PTE_PS;
    if (level == 3 && leaf)
        reserved |= BITS(29, 13);
    if (level == 2 && leaf)
        reserved |= BITS(20, 13);
    return reserved & ~cpu->c_bit;
}

static bool is_leaf(const struct cpu *cpu, const struct paging *p, unsigned level, uint64_t entry)
{
    if (level == 1)
        return true;
    if (level >= 4 || !(entry & PTE_PS))
        return false;
    return p->entry_size == 8 || (cpu->cr4 & CR4_PSE);
}

static uint64_t leaf_gpa(const struct cpu *cpu, const struct paging *p, unsigned shift,
                         uint64_t entry, uint64_t addr)
{
    uint64_t offset = addr & (((uint64_t)1 << shift) - 1);
    uint64_t base = entry & BITS(51, 12) & (~0ull << shift);

    if (p->entry_size == 4) {
        base = (uint32_t)base;
        if (shift == 22)
            base |= (entry & BITS(20, 13)) << 19;
        base |= cpu->c_bit;
    }
    return base | offset;
}

static enum cpu_status read_entry(struct cpu *cpu, const struct paging *p, uint64_t gpa,
                                  uint64_t *entry)
{
    struct cpu_page page;
    enum cpu_status status = mmu_map_page(cpu, (gpa & CPU_PAGE_MASK) | cpu->c_bit, ACCESS_READ,
                                          &page);
    const void *host;

    *entry = 0;
    /* As KVM: tables come from memory only, whatever a device would have answered. */
    if (status == CPU_BREAK)
        return CPU_EXIT_UNKNOWN;
    if (status != CPU_OK)
        return status;
    host = page.host + (gpa & ~CPU_PAGE_MASK);
    *entry = p->entry_size == 8 ? __atomic_load_n((const uint64_t *)host, __ATOMIC_ACQUIRE)
                                : __atomic_load_n((const uint32_t *)host, __ATOMIC_ACQUIRE);
    return CPU_OK;
}

/*
 * Set bits in an entry that still is what the walk saw.  CPU_BREAK: it isn't,
 * walk again.  A table that can't be written keeps its bits as they are.
 */
static enum cpu_status set_bits(struct cpu *cpu, const struct paging *p, struct step *step,
                                uint64_t bits)
{
    struct cpu_page page;
    enum cpu_status status;
    void *host;
    bool same;

    if ((step->entry & bits) == bits)
        return CPU_OK;
    status = mmu_map_page(cpu, (step->gpa & CPU_PAGE_MASK) | cpu->c_bit, ACCESS_WRITE, &page);
    if (status == CPU_BREAK)
        return CPU_OK;
    if (status != CPU_OK)
        return status;
    host = page.host + (step->gpa & ~CPU_PAGE_MASK);
    if (p->entry_size == 8) {
        uint64_t seen = step->entry;

        same = __atomic_compare_exchange_n((uint64_t *)host, &seen, seen | bits, false,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    } else {
        uint32_t seen = (uint32_t)step->entry;

        same = __atomic_compare_exchange_n((uint32_t *)host, &seen, seen | (uint32_t)bits, false,
                                           __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    if (!same)
        return CPU_BREAK;
    step->entry |= bits;
    mmu_stored(cpu, page.code);
    return CPU_OK;
}

static struct paging paging_form(const struct cpu *cpu)
{
    if (cpu->long_mode)
        return (struct paging){ cpu->cr4 & CR4_LA57 ? 5 : 4, 8, 9,
                                cpu->cr3 & BITS(51, 12) & ~cpu->c_bit };
    if (cpu->cr4 & CR4_PAE)
        return (struct paging){ 2, 8, 9, 0 };
    return (struct paging){ 2, 4, 10, cpu->cr3 & BITS(31, 12) };
}

/* PAE paging: the table that the processor's own copy of the top level names. */
static enum cpu_status pdptr_table(struct cpu *cpu, uint64_t addr, uint64_t *table)
{
    uint64_t pdptr;

    if (cpu->pdptr_stale) {
        enum cpu_status status = mmu_load_pdptrs(cpu, cpu->cr3);

        if (status != CPU_OK)
            return status;
    }
    pdptr = cpu->pdptr[(addr >> 30) & 3];
    *table = pdptr & BITS(51, 12) & ~cpu->c_bit;
    return pdptr & PTE_P ? CPU_OK : CPU_FAULT;
}

/*
 * Read the entries for addr from the top down.  *ret_error: the P and RSVD bits
 * of the error code where this returns CPU_FAULT.
 */
static enum cpu_status descend(struct cpu *cpu, const struct paging *p, uint64_t addr,
                               struct step steps[MAX_LEVELS + 1], unsigned *ret_level,
                               struct translation *t, uint32_t *ret_error)
{
    uint64_t table = p->root;
    unsigned level, shift = 12 + p->index_bits * (p->levels - 1);

    *t = (struct translation){ .writable = true, .user = true, .executable = true };
    *ret_error = 0;
    if (!cpu->long_mode && p->entry_size == 8) {
        enum cpu_status status = pdptr_table(cpu, addr, &table);

        if (status != CPU_OK)
            return status;
    }
    for (level = p->levels; ; level--, shift -= p->index_bits) {
        uint64_t index = (addr >> shift) & ((1u << p->index_bits) - 1);
        struct step *step = &steps[level];
        enum cpu_status status;
        bool leaf;

        step->gpa = table + index * p->entry_size;
        status = read_entry(cpu, p, step->gpa, &step->entry);
        if (status != CPU_OK)
            return status;
        if (!(step->entry & PTE_P))
            return CPU_FAULT;
        leaf = is_leaf(cpu, p, level, step->entry);
        if (step->entry & reserved_bits(cpu, p, level, leaf)) {
            *ret_error = PF_P | PF_RSVD;
            return CPU_FAULT;
        }
        t->writable &= !!(step->entry & PTE_W);
        t->user &= !!(step->entry & PTE_U);
        t->executable &= !(p->entry_size == 8 && (step->entry & PTE_NX));
        if (leaf)
            break;
        table = step->entry & (p->entry_size == 8 ? BITS(51, 12) & ~cpu->c_bit : BITS(31, 12));
    }
    t->shift = shift;
    t->gpa = leaf_gpa(cpu, p, shift, steps[level].entry, addr);
    t->global = (steps[level].entry & PTE_G) && (cpu->cr4 & CR4_PGE);
    t->dirty = steps[level].entry & PTE_D;
    *ret_level = level;
    return CPU_OK;
}

static void identity(const struct cpu *cpu, uint64_t addr, struct translation *t)
{
    *t = (struct translation){
        .gpa = (uint32_t)addr | cpu->c_bit, .shift = CPU_PAGE_SHIFT,
        .writable = true, .user = true, .executable = true, .dirty = true,
    };
}

bool paging_allows(const struct cpu *cpu, const struct translation *t, enum cpu_access access,
                   unsigned mmu_index)
{
    if (!(cpu->cr0 & CR0_PG))
        return true;
    if (access == ACCESS_EXEC) {
        if (!t->executable)
            return false;
        return mmu_is_user(mmu_index) ? t->user : !(t->user && (cpu->cr4 & CR4_SMEP));
    }
    if (mmu_is_user(mmu_index))
        return t->user && (access == ACCESS_READ || t->writable);
    if (t->user && mmu_index == MMU_SUPERVISOR_SMAP)
        return false;
    return access == ACCESS_READ || t->writable || !(cpu->cr0 & CR0_WP);
}

enum cpu_status paging_walk(struct cpu *cpu, uint64_t addr, enum cpu_access access,
                            unsigned mmu_index, struct translation *t)
{
    struct paging p = paging_form(cpu);
    struct step steps[MAX_LEVELS + 1];
    enum cpu_status status;
    unsigned leaf, level;
    uint32_t error;

    if (!(cpu->cr0 & CR0_PG)) {
        identity(cpu, addr, t);
        return CPU_OK;
    }
again:
    status = descend(cpu, &p, addr, steps, &leaf, t, &error);
    if (status == CPU_FAULT)
        return page_fault(cpu, addr, access, mmu_index, error);
    if (status != CPU_OK)
        return status;
    if (!paging_allows(cpu, t, access, mmu_index))
        return page_fault(cpu, addr, access, mmu_index, PF_P);
    for (level = p.levels; level >= leaf; level--) {
        bool dirty = level == leaf && access == ACCESS_WRITE;

        status = set_bits(cpu, &p, &steps[level], PTE_A | (dirty ? PTE_D : 0));
        if (status == CPU_BREAK)
            goto again;
        if (status != CPU_OK)
            return status;
    }
    t->dirty |= access == ACCESS_WRITE;
    t->shared = cpu->c_bit && !(t->gpa & cpu->c_bit);
    if (access == ACCESS_EXEC)
        t->gpa |= cpu->c_bit;
    return CPU_OK;
}

enum cpu_status paging_peek(struct cpu *cpu, uint64_t addr, struct translation *t)
{
    struct paging p = paging_form(cpu);
    struct step steps[MAX_LEVELS + 1];
    unsigned leaf;
    uint32_t error;

    if (!(cpu->cr0 & CR0_PG)) {
        identity(cpu, addr, t);
        return CPU_OK;
    }
    return descend(cpu, &p, addr, steps, &leaf, t, &error);
}

enum cpu_status mmu_load_pdptrs(struct cpu *cpu, uint64_t cr3)
{
    struct paging p = { 3, 8, 2, cr3 & BITS(31, 5) };
    uint64_t entries[4];

    for (unsigned i = 0; i < 4; i++) {
        enum cpu_status status = read_entry(cpu, &p, p.root + i * 8, &entries[i]);

        if (status != CPU_OK)
            return status;
        if ((entries[i] & PTE_P) &&
            (entries[i] & (PDPTR_RESERVED | BITS(63, cpu->phys_bits)) & ~cpu->c_bit))
            return raise_gp(cpu);
    }
    for (unsigned i = 0; i < 4; i++)
        cpu->pdptr[i] = entries[i];
    cpu->pdptr_stale = false;
    return CPU_OK;
}

bool cpu_load_pdptrs(struct cpu *cpu)
{
    if (cpu->long_mode || !(cpu->cr0 & CR0_PG) || !(cpu->cr4 & CR4_PAE))
        return false;
    return !cpu->pdptr_stale || mmu_load_pdptrs(cpu, cpu->cr3) == CPU_OK;
}
