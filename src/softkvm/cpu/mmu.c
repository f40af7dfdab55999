// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The software TLB and the slow path of memory accesses: misses, accesses that
 * cross a page, MMIO, pages with a data breakpoint.
 *
 * An entry is filled with every right that the translation has at that moment,
 * so that reading a page first doesn't cost a second walk on the first write;
 * the write tag waits for the D bit and for RAM that may be written.
 */
#include "block.h"
#include "debug.h"
#include "exception.h"
#include "mode.h"
#include "paging.h"

#include <pthread.h>
#include <sys/mman.h>

/* Below so many entries in use, cpu_flush_gpa() looks at these, else at all frames. */
enum { FRAMES_FROM = 512 };

/* Where an access goes; host is NULL for MMIO. */
struct place {
    uint8_t *host;
    uint32_t *code;
    uint64_t gpa;
};

static pthread_mutex_t rmw_mutex = PTHREAD_MUTEX_INITIALIZER;

static void entry_clear(struct tlb_entry *e)
{
    e->tag[ACCESS_READ] = e->tag[ACCESS_WRITE] = e->tag[ACCESS_EXEC] = TLB_NO_TAG;
    e->page = TLB_NO_TAG;
}

/*
 * A VM may have a thousand processors that never run: memory is used as it is
 * filled.  Zeroed entries are as good as cleared ones, as address 0 belongs to the
 * first slot; only an access across the end of the address space comes from the last.
 */
struct tlb *tlb_new(void)
{
    struct tlb *tlb = mmap(NULL, sizeof(*tlb), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (tlb == MAP_FAILED)
        return NULL;
    for (unsigned index = 0; index < MMU_NR; index++) {
        entry_clear(&tlb->entry[index][0]);
        entry_clear(&tlb->entry[index][TLB_SIZE - 1]);
    }
    return tlb;
}

void tlb_free(struct tlb *tlb)
{
    if (tlb)
        munmap(tlb, sizeof(*tlb));
}

static void entry_list(struct tlb *tlb, struct tlb_entry *e, unsigned list)
{
    if (e->listed & (1 << list))
        return;
    e->listed |= 1 << list;
    tlb->list[list][tlb->listed[list]++] = e - &tlb->entry[0][0];
}

static void flush_list(struct tlb *tlb, unsigned list)
{
    for (unsigned i = 0; i < tlb->listed[list]; i++) {
        struct tlb_entry *e = &tlb->entry[0][0] + tlb->list[list][i];

        e->listed &= ~(1 << list);
        if (list == TLB_GLOBAL || !e->global)
            entry_clear(e);
    }
    tlb->listed[list] = 0;
}

void tlb_flush_nonglobal(struct cpu *cpu)
{
    flush_list(cpu->tlb, TLB_LOCAL);
    cpu->tlb->generation++;
}

void tlb_flush_all(struct cpu *cpu)
{
    flush_list(cpu->tlb, TLB_LOCAL);
    flush_list(cpu->tlb, TLB_GLOBAL);
    cpu->tlb->large = 0;
    cpu->tlb->generation++;
}

void tlb_reset(struct cpu *cpu)
{
    tlb_flush_all(cpu);
    for (unsigned i = 0; i < TLB_SIZE; i++) {
        if (cpu->tlb->pages[i].tag)
            cpu->tlb->pages[i].tag = 0;
    }
}

static uint64_t large_bit(uint64_t addr)
{
    return (uint64_t)1 << ((addr >> 30) & 63);
}

/* Drop the cached parts of large pages around addr. */
static void flush_large(struct tlb *tlb, uint64_t addr)
{
    for (unsigned list = 0; list < TLB_NR_LISTS; list++) {
        for (unsigned i = 0; i < tlb->listed[list]; i++) {
            struct tlb_entry *e = &tlb->entry[0][0] + tlb->list[list][i];

            if (e->shift > CPU_PAGE_SHIFT && !((e->page ^ addr) >> e->shift))
                entry_clear(e);
        }
    }
}

void tlb_flush_page(struct cpu *cpu, uint64_t addr)
{
    for (unsigned index = 0; index < MMU_NR; index++) {
        struct tlb_entry *e = tlb_entry(cpu, index, addr);

        if (e->page == (addr & CPU_PAGE_MASK))
            entry_clear(e);
    }
    if (cpu->tlb->large & large_bit(addr))
        flush_large(cpu->tlb, addr);
    cpu->tlb->generation++;
}

static void flush_pages(struct tlb *tlb, uint64_t gpa, uint64_t size)
{
    /* By page where there are fewer than entries. */
    if (size / CPU_PAGE_SIZE < TLB_SIZE) {
        for (uint64_t off = 0; off < size; off += CPU_PAGE_SIZE) {
            struct gpa_entry *e = &tlb->pages[(gpa + off) >> CPU_PAGE_SHIFT & (TLB_SIZE - 1)];

            if (e->tag == ((gpa + off) | GPA_VALID))
                e->tag = 0;
        }
        return;
    }
    for (unsigned i = 0; i < TLB_SIZE; i++) {
        struct gpa_entry *e = &tlb->pages[i];

        if (e->tag && (e->tag & CPU_PAGE_MASK) - gpa < size)
            e->tag = 0;
    }
}

static void flush_entry(struct tlb_entry *e, uint64_t gpa, uint64_t size)
{
    if (e->page != TLB_NO_TAG && e->gpa - gpa < size)
        entry_clear(e);
}

static void flush_listed(struct tlb *tlb, uint64_t gpa, uint64_t size)
{
    for (unsigned list = 0; list < TLB_NR_LISTS; list++)
        for (unsigned i = 0; i < tlb->listed[list]; i++)
            flush_entry(&tlb->entry[0][0] + tlb->list[list][i], gpa, size);
}

/* Entries are a cache line each, frames sixteen to one: few lines are read where few match. */
static void flush_frames(struct tlb *tlb, uint64_t gpa, uint64_t size)
{
    typedef uint32_t frames __attribute__((vector_size(16)));
    enum { LANES = sizeof(frames) / sizeof(uint32_t), STRIDE = 16 };
    uint32_t first = gpa >> CPU_PAGE_SHIFT, count = size >> CPU_PAGE_SHIFT;

    for (unsigned i = 0; i < MMU_NR * TLB_SIZE; i += STRIDE) {
        const frames *at = (const frames *)(tlb->frame + i);
        frames found = { 0 };

        for (unsigned n = 0; n < STRIDE / LANES; n++)
            found |= (frames)(at[n] - first < count);
        if (!(((const uint64_t *)&found)[0] | ((const uint64_t *)&found)[1]))
            continue;
        for (unsigned n = 0; n < STRIDE; n++)
            if (tlb->frame[i + n] - first < count)
                flush_entry(&tlb->entry[0][0] + i + n, gpa, size);
    }
}

/*
 * What is keyed by linear address (links, the jump cache) leads to blocks, and those
 * of the range end: nothing else is forgotten.
 */
void cpu_flush_gpa(struct cpu *cpu, uint64_t gpa, uint64_t size)
{
    struct tlb *tlb = cpu->tlb;
    unsigned listed = tlb->listed[TLB_LOCAL] + tlb->listed[TLB_GLOBAL];

    flush_pages(tlb, gpa, size);
    if (listed < FRAMES_FROM || size >> CPU_PAGE_SHIFT > UINT32_MAX)
        flush_listed(tlb, gpa, size);
    else
        flush_frames(tlb, gpa, size);
    block_cache_flush_gpa(cpu, gpa, size);
}

enum cpu_status mmu_map_page(struct cpu *cpu, uint64_t gpa, enum cpu_access access,
                             struct cpu_page *page)
{
    struct gpa_entry *e = &cpu->tlb->pages[(gpa >> CPU_PAGE_SHIFT) & (TLB_SIZE - 1)];
    enum cpu_status status;

    if (e->tag == (gpa | GPA_VALID) && (access != ACCESS_WRITE || e->page.writable)) {
        *page = e->page;
        return CPU_OK;
    }
    status = cpu->ops->map_page(cpu->opaque, gpa, access, page);
    if (status == CPU_OK) {
        e->tag = gpa | GPA_VALID;
        e->page = *page;
    }
    return status;
}

enum cpu_status mmu_mmio(struct cpu *cpu, uint64_t gpa, void *data, unsigned size, bool write)
{
    uint8_t *bytes = data;

    gpa &= ~cpu->c_bit;         /* devices aren't encrypted */
    while (size > 0) {
        unsigned part = size < 8 ? size : 8;
        enum cpu_status status = cpu->ops->mmio(cpu->opaque, gpa, bytes, part, write);

        if (status != CPU_OK)
            return status;
        cpu->attention |= ATTENTION_ACCESS;
        gpa += part;
        bytes += part;
        size -= part;
    }
    return CPU_OK;
}

static void tlb_fill(struct cpu *cpu, unsigned mmu_index, uint64_t addr,
                     const struct translation *t, const struct cpu_page *page)
{
    struct tlb_entry *e = tlb_entry(cpu, mmu_index, addr);
    uint64_t base = addr & CPU_PAGE_MASK;
    /* Where data of a page isn't encrypted and code is, an entry serves one of them. */
    bool for_code = t->shared && t->gpa & cpu->c_bit;
    bool watched = (cpu->debug_data && debug_data_page(cpu, base)) ||
                   mmu_index == MMU_USER_ALIGNED || for_code;
    bool read = !watched && paging_allows(cpu, t, ACCESS_READ, mmu_index);
    bool write = !watched && t->dirty && page->writable &&
                 paging_allows(cpu, t, ACCESS_WRITE, mmu_index);
    bool exec = (for_code || !t->shared) && paging_allows(cpu, t, ACCESS_EXEC, mmu_index);

    if (exec)
        block_verify_page(cpu, t->gpa & CPU_PAGE_MASK, page);
    e->tag[ACCESS_READ] = read ? base : TLB_NO_TAG;
    e->tag[ACCESS_WRITE] = write ? base : TLB_NO_TAG;
    e->tag[ACCESS_EXEC] = exec ? base : TLB_NO_TAG;
    e->page = base;
    e->gpa = t->gpa & CPU_PAGE_MASK;
    cpu->tlb->frame[e - &cpu->tlb->entry[0][0]] = t->gpa >> CPU_PAGE_SHIFT;
    e->addend = (uintptr_t)page->host - base;
    e->code = page->code;
    e->global = t->global;
    e->shift = t->shift;
    entry_list(cpu->tlb, e, t->global ? TLB_GLOBAL : TLB_LOCAL);
    if (t->shift > CPU_PAGE_SHIFT)
        cpu->tlb->large |= large_bit(addr);
    cpu->tlb_fills++;
}

/* Translate and check an access that doesn't cross a page. */
static enum cpu_status resolve(struct cpu *cpu, unsigned mmu_index, uint64_t addr,
                               enum cpu_access access, struct place *place)
{
    struct tlb_entry *e = tlb_entry(cpu, mmu_index, addr);
    struct translation t;
    struct cpu_page page;
    enum cpu_status status;

    if (e->tag[access] == (addr & CPU_PAGE_MASK)) {
        *place = (struct place){ (uint8_t *)(addr + e->addend), e->code,
                                 e->gpa | (addr & ~CPU_PAGE_MASK) };
        return CPU_OK;
    }
    status = paging_walk(cpu, addr, access, mmu_index, &t);
    if (status != CPU_OK)
        return status;
    *place = (struct place){ .gpa = t.gpa };
    status = mmu_map_page(cpu, t.gpa & CPU_PAGE_MASK, access, &page);
    if (status == CPU_BREAK)
        return CPU_OK;
    if (status != CPU_OK)
        return status;
    tlb_fill(cpu, mmu_index, addr, &t, &page);
    place->host = page.host + (addr & ~CPU_PAGE_MASK);
    place->code = page.code;
    return CPU_OK;
}

/* Host accesses of the guest's size where that is a power of two: atomic if aligned. */
static void copy(void *to, const void *from, unsigned size)
{
    switch (size) {
    case 1:
        guest_copy(to, from, 1);
        break;
    case 2:
        guest_copy(to, from, 2);
        break;
    case 4:
        guest_copy(to, from, 4);
        break;
    case 8:
        guest_copy(to, from, 8);
        break;
    default:
        guest_copy(to, from, size);
        break;
    }
}

static enum cpu_status access_place(struct cpu *cpu, const struct place *place, void *data,
                                    unsigned size, enum cpu_access access)
{
    if (!place->host)
        return mmu_mmio(cpu, place->gpa, data, size, access == ACCESS_WRITE);
    if (access != ACCESS_WRITE) {
        copy(data, place->host, size);
        return CPU_OK;
    }
    copy(place->host, data, size);
    mmu_stored(cpu, place->code);
    return CPU_OK;
}

/* How many of size bytes at addr lie in its page. */
static unsigned in_page(uint64_t addr, unsigned size)
{
    unsigned room = CPU_PAGE_SIZE - (addr & ~CPU_PAGE_MASK);

    return size < room ? size : room;
}

/* Outside long mode, what follows the last byte of 4 GiB is the first. */
static uint64_t next_page(const struct cpu *cpu, uint64_t addr)
{
    uint64_t next = (addr & CPU_PAGE_MASK) + CPU_PAGE_SIZE;

    return cpu->long_mode ? next : (uint32_t)next;
}

/* CR0.AM and RFLAGS.AC: operands of two, four and eight bytes must be aligned. */
static bool is_misaligned(unsigned mmu_index, uint64_t addr, unsigned size,
                          enum cpu_access access)
{
    return mmu_index == MMU_USER_ALIGNED && access != ACCESS_EXEC && size <= 8 &&
           !(size & (size - 1)) && (addr & (size - 1));
}

/* Translate all of an access; the second place is used where it crosses a page. */
static enum cpu_status resolve_all(struct cpu *cpu, unsigned mmu_index, uint64_t addr,
                                   unsigned size, enum cpu_access access, struct place places[2])
{
    enum cpu_status status = resolve(cpu, mmu_index, addr, access, &places[0]);

    if (status == CPU_OK && in_page(addr, size) < size)
        status = resolve(cpu, mmu_index, next_page(cpu, addr), access, &places[1]);
    if (status == CPU_OK && is_misaligned(mmu_index, addr, size, access))
        return raise_fault_code(cpu, VECTOR_AC, 0);
    return status;
}

enum cpu_status mmu_access(struct cpu *cpu, unsigned mmu_index, uint64_t addr, void *data,
                           unsigned size, enum cpu_access access)
{
    unsigned first = in_page(addr, size);
    const unsigned sizes[2] = { first, size - first };
    uint8_t *const parts[2] = { data, (uint8_t *)data + first };
    struct place places[2] = { { 0 }, { 0 } };
    enum cpu_status status = resolve_all(cpu, mmu_index, addr, size, access, places);
    /* A device may send the instruction back to its start: RAM is not written before it. */
    bool device_first = first < size && places[0].host && !places[1].host;

    for (unsigned i = 0; i < 2 && status == CPU_OK; i++) {
        unsigned n = i ^ device_first;

        if (sizes[n])
            status = access_place(cpu, &places[n], parts[n], sizes[n], access);
    }
    if (status == CPU_OK && cpu->debug_data)
        debug_data_access(cpu, addr, size, access);
    return status;
}

unsigned mmu_index_for(const struct cpu *cpu, unsigned cpl)
{
    if (cpl == 3)
        return (cpu->flags & FLAG_AC) && (cpu->cr0 & CR0_AM) ? MMU_USER_ALIGNED : MMU_USER;
    return (cpu->cr4 & CR4_SMAP) && !(cpu->flags & FLAG_AC) ? MMU_SUPERVISOR_SMAP : MMU_SUPERVISOR;
}

/* Implicit supervisor accesses: RFLAGS.AC doesn't lift SMAP for them. */
unsigned mmu_index_system(const struct cpu *cpu)
{
    return cpu->cr4 & CR4_SMAP ? MMU_SUPERVISOR_SMAP : MMU_SUPERVISOR;
}

enum cpu_status mmu_read(struct cpu *cpu, uint64_t addr, void *data, unsigned size)
{
    return mmu_access(cpu, cpu->mmu_index, addr, data, size, ACCESS_READ);
}

enum cpu_status mmu_write(struct cpu *cpu, uint64_t addr, const void *data, unsigned size)
{
    return mmu_access(cpu, cpu->mmu_index, addr, (void *)data, size, ACCESS_WRITE);
}

enum cpu_status mmu_read_system(struct cpu *cpu, uint64_t addr, void *data, unsigned size)
{
    return mmu_access(cpu, mmu_index_system(cpu), addr, data, size, ACCESS_READ);
}

enum cpu_status mmu_write_system(struct cpu *cpu, uint64_t addr, const void *data, unsigned size)
{
    return mmu_access(cpu, mmu_index_system(cpu), addr, (void *)data, size, ACCESS_WRITE);
}

enum cpu_status mmu_probe(struct cpu *cpu, uint64_t addr, unsigned size, enum cpu_access access)
{
    struct place places[2];

    return resolve_all(cpu, cpu->mmu_index, addr, size, access, places);
}

static enum cpu_status rmw(struct cpu *cpu, unsigned mmu_index, uint64_t addr, unsigned size,
                           void **ret, uint32_t **ret_code)
{
    struct place places[2];
    enum cpu_status status = resolve_all(cpu, mmu_index, addr, size, ACCESS_WRITE, places);

    if (status != CPU_OK)
        return status;
    if (cpu->debug_data)
        debug_data_access(cpu, addr, size, ACCESS_WRITE);
    *ret = in_page(addr, size) < size ? NULL : places[0].host;
    *ret_code = places[0].code;
    return CPU_OK;
}

enum cpu_status mmu_rmw(struct cpu *cpu, uint64_t addr, unsigned size, void **ret,
                        uint32_t **ret_code)
{
    return rmw(cpu, cpu->mmu_index, addr, size, ret, ret_code);
}

enum cpu_status mmu_rmw_system(struct cpu *cpu, uint64_t addr, unsigned size, void **ret,
                               uint32_t **ret_code)
{
    return rmw(cpu, mmu_index_system(cpu), addr, size, ret, ret_code);
}

void mmu_rmw_lock(void)
{
    pthread_mutex_lock(&rmw_mutex);
}

void mmu_rmw_unlock(void)
{
    pthread_mutex_unlock(&rmw_mutex);
}

enum cpu_status mmu_fetch_page(struct cpu *cpu, uint64_t addr, struct cpu_page *page,
                               uint64_t *gpa)
{
    struct place place;
    enum cpu_status status = resolve(cpu, cpu->mmu_index, addr, ACCESS_EXEC, &place);

    if (status != CPU_OK)
        return status;
    *gpa = place.gpa & CPU_PAGE_MASK;
    if (!place.host)
        return CPU_BREAK;
    *page = (struct cpu_page){ place.host - (addr & ~CPU_PAGE_MASK), place.code, false };
    return CPU_OK;
}

enum cpu_status mmu_fetch_slow(struct cpu *cpu, uint64_t addr, void *data, unsigned size)
{
    return mmu_access(cpu, cpu->mmu_index, addr, data, size, ACCESS_EXEC);
}

bool cpu_translate(struct cpu *cpu, uint64_t addr, uint64_t *gpa, bool *writable, bool *user)
{
    struct translation t;

    /* Of an encrypted guest's tables whoever asks sees nothing. */
    if ((cpu->c_bit && cpu->cr0 & CR0_PG) || paging_peek(cpu, addr, &t) != CPU_OK)
        return false;
    t.gpa &= ~cpu->c_bit;
    *gpa = t.gpa;
    *writable = t.writable;
    *user = t.user;
    return true;
}
