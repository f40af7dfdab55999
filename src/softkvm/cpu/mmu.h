/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Linear memory as executors see it: the software TLB's fast path inline, the
 * page walk, MMIO and page-crossing accesses in mmu.c.
 *
 * Addresses here are linear (segment base added, limits and canonical form
 * checked: segment.h).  Every accessor returns CPU_OK, CPU_FAULT (#PF or #AC in
 * cpu->fault, CR2 not yet written), or CPU_EXIT_ACCESS.
 *
 * Guest memory is shared with other vCPUs and devices: aligned accesses are
 * single host accesses, so that the guest's own atomicity rules hold.
 */
#ifndef SOFTKVM_CPU_MMU_H
#define SOFTKVM_CPU_MMU_H

#include "cpu.h"
#include "guest_access.h"

#include <string.h>

enum {
    TLB_BITS = 11,
    TLB_SIZE = 1 << TLB_BITS,
    /* cpu->mmu_index: what the access rights of a translation depend on. */
    MMU_SUPERVISOR = 0,         /* CPL < 3, SMAP off or overridden by RFLAGS.AC */
    MMU_USER = 1,
    MMU_SUPERVISOR_SMAP = 2,
    MMU_USER_ALIGNED = 3,       /* user code with alignment checks: never on the fast path */
    MMU_NR = 4,
};

#define TLB_NO_TAG UINT64_MAX
#define GPA_VALID 1
#define CPU_PAGE_MASK (~(uint64_t)(CPU_PAGE_SIZE - 1))

/* One cache line.  A tag is set only where that kind of access needs no further check. */
struct tlb_entry {
    uint64_t tag[3];            /* by enum cpu_access: linear page address, or TLB_NO_TAG */
    uintptr_t addend;           /* host address - linear address */
    uint32_t *code;             /* struct cpu_page's */
    uint64_t page;              /* linear page address, or TLB_NO_TAG where nothing is cached */
    uint64_t gpa;               /* of the page */
    uint8_t shift;              /* 12, or that of the large page which this is a part of */
    uint8_t listed;             /* bit mask of the lists below that name this entry */
    bool global;
} __attribute__((aligned(64)));

/* What cpu_ops.map_page() said of a page, kept until cpu_flush_gpa(). */
struct gpa_entry {
    uint64_t tag;               /* gpa | GPA_VALID, or 0 */
    struct cpu_page page;
};

enum { TLB_LOCAL, TLB_GLOBAL, TLB_NR_LISTS };

struct tlb {
    struct tlb_entry entry[MMU_NR][TLB_SIZE];
    uint64_t generation;        /* changes at every flush: caches keyed by linear address compare it */
    /*
     * The entries that were filled since the last flush: flushing costs what
     * is cached, not what could be.  Guests that switch address spaces often
     * flush often, and leave their global pages alone.
     */
    uint16_t list[TLB_NR_LISTS][MMU_NR * TLB_SIZE];
    unsigned listed[TLB_NR_LISTS];
    uint64_t large;             /* bit (addr >> 30) % 64: a large page was cached around there */
    struct gpa_entry pages[TLB_SIZE];
    /* By entry: low bits of the guest frame that it was last filled with, to find it by. */
    uint32_t frame[MMU_NR * TLB_SIZE] __attribute__((aligned(64)));
};

static inline bool mmu_is_user(unsigned mmu_index)
{
    return mmu_index == MMU_USER || mmu_index == MMU_USER_ALIGNED;
}

static inline struct tlb_entry *tlb_entry(struct cpu *cpu, unsigned mmu_index, uint64_t addr)
{
    return &cpu->tlb->entry[mmu_index][(addr >> CPU_PAGE_SHIFT) & (TLB_SIZE - 1)];
}

/*
 * The host address for size bytes (a power of two up to 8) at addr, or NULL:
 * not cached, not direct RAM, crosses a page.  Misaligned in-page accesses are
 * served here too.
 */
static inline void *tlb_host(struct cpu *cpu, uint64_t addr, unsigned size,
                             enum cpu_access access, struct tlb_entry **ret_entry)
{
    struct tlb_entry *e = tlb_entry(cpu, cpu->mmu_index, addr);

    /*
     * The page of the last byte against the entry of the first: where they differ, the
     * entry can't hold the last one's page.
     */
    if (__builtin_expect(e->tag[access] !=
                         ((addr + size - 1) & ~(uint64_t)(CPU_PAGE_SIZE - 1)), 0))
        return NULL;
    *ret_entry = e;
    return (void *)(addr + e->addend);
}

/*
 * Any size up to a page, with the rights of a set of entries; all of it is
 * checked before any of it is written.
 */
enum cpu_status mmu_access(struct cpu *cpu, unsigned mmu_index, uint64_t addr, void *data,
                           unsigned size, enum cpu_access access);

/* The same with the rights of the code that runs; slow path of everything below. */
enum cpu_status mmu_read(struct cpu *cpu, uint64_t addr, void *data, unsigned size);
enum cpu_status mmu_write(struct cpu *cpu, uint64_t addr, const void *data, unsigned size);

/* The same with the rights of the processor itself: descriptor tables, TSS (implicit supervisor). */
unsigned mmu_index_system(const struct cpu *cpu);
/* The set of entries that data accesses at a privilege level use. */
unsigned mmu_index_for(const struct cpu *cpu, unsigned cpl);
enum cpu_status mmu_read_system(struct cpu *cpu, uint64_t addr, void *data, unsigned size);
enum cpu_status mmu_write_system(struct cpu *cpu, uint64_t addr, const void *data, unsigned size);

/*
 * Would an access of this kind fault?  Sets accessed and dirty bits as the
 * access would; for instructions that must know before they commit anything.
 * CPU_OK for MMIO.
 */
enum cpu_status mmu_probe(struct cpu *cpu, uint64_t addr, unsigned size, enum cpu_access access);

/*
 * For read-modify-write: a host pointer to size bytes that may be read and
 * written with host atomics.  *ret is NULL (and CPU_OK) where the memory isn't
 * direct RAM within one page: then use mmu_rmw_lock(), mmu_read(), mmu_write(),
 * mmu_rmw_unlock(), which excludes other vCPUs that do the same.
 * After storing through the pointer call mmu_stored(cpu, *ret_code).
 */
enum cpu_status mmu_rmw(struct cpu *cpu, uint64_t addr, unsigned size, void **ret,
                        uint32_t **ret_code);
void mmu_rmw_lock(void);
void mmu_rmw_unlock(void);

/* After every store to RAM: was there decoded code?  Then the running block ends here. */
static inline void mmu_stored(struct cpu *cpu, uint32_t *code)
{
    if (__builtin_expect(__atomic_load_n(code, __ATOMIC_RELAXED) & 1, 0)) {
        cpu_code_written(code);
        cpu->attention |= ATTENTION_CODE;
    }
}

/*
 * The page that instruction bytes at addr come from: faults as an instruction
 * fetch.  *gpa: of the page.  CPU_BREAK: not RAM; the bytes must be read with
 * mmu_fetch_slow().
 */
enum cpu_status mmu_fetch_page(struct cpu *cpu, uint64_t addr, struct cpu_page *page,
                               uint64_t *gpa);
enum cpu_status mmu_fetch_slow(struct cpu *cpu, uint64_t addr, void *data, unsigned size);

/* mmu_rmw() with the rights of the processor itself: the accessed and busy bits of descriptors. */
enum cpu_status mmu_rmw_system(struct cpu *cpu, uint64_t addr, unsigned size, void **ret,
                               uint32_t **ret_code);

/*
 * PAE paging's four entries from the table at cr3.  #GP(0), nothing changed,
 * where a reserved bit is set.
 */
enum cpu_status mmu_load_pdptrs(struct cpu *cpu, uint64_t cr3);

/* A TLB with nothing in it, or NULL without memory. */
struct tlb *tlb_new(void);
void tlb_free(struct tlb *tlb);     /* or NULL */
/* Forget what map_page() said, too. */
void tlb_reset(struct cpu *cpu);
void tlb_flush_all(struct cpu *cpu);
void tlb_flush_nonglobal(struct cpu *cpu);
void tlb_flush_page(struct cpu *cpu, uint64_t addr);

/* The generic accessors, one pair per size. */
#define MMU_ACCESSORS(bits_)                                                            \
    static inline enum cpu_status mmu_read##bits_(struct cpu *cpu, uint64_t addr,       \
                                                  uint##bits_##_t *value)               \
    {                                                                                   \
        struct tlb_entry *e;                                                            \
        void *host = tlb_host(cpu, addr, bits_ / 8, ACCESS_READ, &e);                   \
                                                                                        \
        if (__builtin_expect(!host, 0))                                                 \
            return mmu_read(cpu, addr, value, bits_ / 8);                               \
        guest_copy(value, host, bits_ / 8);                                             \
        return CPU_OK;                                                                  \
    }                                                                                   \
    static inline enum cpu_status mmu_write##bits_(struct cpu *cpu, uint64_t addr,      \
                                                   uint##bits_##_t value)               \
    {                                                                                   \
        struct tlb_entry *e;                                                            \
        void *host = tlb_host(cpu, addr, bits_ / 8, ACCESS_WRITE, &e);                  \
                                                                                        \
        if (__builtin_expect(!host, 0))                                                 \
            return mmu_write(cpu, addr, &value, bits_ / 8);                             \
        guest_copy(host, &value, bits_ / 8);                                            \
        mmu_stored(cpu, e->code);                                                       \
        return CPU_OK;                                                                  \
    }
MMU_ACCESSORS(8)
MMU_ACCESSORS(16)
MMU_ACCESSORS(32)
MMU_ACCESSORS(64)
#undef MMU_ACCESSORS

#endif
