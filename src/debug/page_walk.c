/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "page_walk.h"

#include "debug_memory.h"
#include "error.h"
#include "range.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_LEVELS = 5 };
#define ADDRESS_BITS 0x000ffffffffff000ULL
#define KNOWN_BITS (ADDRESS_BITS | PTE_NO_EXECUTE | 0xfff)

/* Levels from the root down: where an index begins, how many bits it has, how large a table is. */
struct level {
    uint8_t shift, bits;
    bool large;                 /* bit 7 ends the walk */
    bool rights;                /* has R/W, U/S and NX */
};

static const struct paging {
    const char *name;
    unsigned levels, entry_size, address_bits;
    struct level level[MAX_LEVELS];
} modes[] = {
    [PAGING_OFF] = { "off", 0, 0, 64, { { 0 } } },
    [PAGING_32BIT] = { "32-bit", 2, 4, 32, { { 22, 10, true, true }, { 12, 10, false, true } } },
    [PAGING_PAE] = { "PAE", 3, 8, 32, {
        { 30, 2, false, false }, { 21, 9, true, true }, { 12, 9, false, true } } },
    [PAGING_4LEVEL] = { "4-level", 4, 8, 48, {
        { 39, 9, false, true }, { 30, 9, true, true }, { 21, 9, true, true },
        { 12, 9, false, true } } },
    [PAGING_5LEVEL] = { "5-level", 5, 8, 57, {
        { 48, 9, false, true }, { 39, 9, false, true }, { 30, 9, true, true },
        { 21, 9, true, true }, { 12, 9, false, true } } },
};

struct table {
    bool valid;
    uint64_t gpa;
    union {
        uint8_t bytes[4096];
        uint64_t wide[512];
        uint32_t narrow[1024];
    };
};

struct page_walk {
    struct debug *dbg;
    enum paging_mode mode;
    const struct paging *paging;
    uint64_t root, mask;        /* mask: what of an entry counts */
    uint64_t private_bit;       /* 0: there is none */
    bool pse;
    struct table tables[MAX_LEVELS];
};

enum {
    CR0_PG = 1u << 31, CR4_PSE = 1 << 4, CR4_PAE = 1 << 5, CR4_LA57 = 1 << 12,
    EFER_LMA = 1 << 10, EFER_NXE = 1 << 11,
};

static enum paging_mode mode_of(const struct kvm_sregs *s)
{
    if (!(s->cr0 & CR0_PG))
        return PAGING_OFF;
    if (!(s->cr4 & CR4_PAE))
        return PAGING_32BIT;
    if (!(s->efer & EFER_LMA))
        return PAGING_PAE;
    return s->cr4 & CR4_LA57 ? PAGING_5LEVEL : PAGING_4LEVEL;
}

struct page_walk *page_walk_new_sregs(struct debug *dbg, const struct kvm_sregs *sregs)
{
    struct page_walk *walk = g_new0(struct page_walk, 1);

    walk->dbg = dbg;
    walk->mode = mode_of(sregs);
    walk->paging = &modes[walk->mode];
    walk->pse = walk->mode != PAGING_32BIT || sregs->cr4 & CR4_PSE;
    walk->mask = walk->mode == PAGING_32BIT ? UINT32_MAX : KNOWN_BITS;
    if (!(sregs->efer & EFER_NXE))
        walk->mask &= ~PTE_NO_EXECUTE;
    walk->private_bit = debug_private_bit(dbg);
    walk->root = sregs->cr3 & walk->mask & ~walk->private_bit &
                 (walk->mode == PAGING_PAE ? 0xffffffe0 : ADDRESS_BITS);
    return walk;
}

struct page_walk *page_walk_new(struct debug *dbg, unsigned cpu, GError **error)
{
    struct debug_registers registers;

    if (!debug_registers(dbg, cpu, &registers, error))
        return NULL;
    return page_walk_new_sregs(dbg, &registers.sregs);
}

void page_walk_free(struct page_walk *walk)
{
    g_free(walk);
}

enum paging_mode page_walk_mode(const struct page_walk *walk)
{
    return walk->mode;
}

const char *page_walk_mode_name(const struct page_walk *walk)
{
    return walk->paging->name;
}

void page_walk_forget(struct page_walk *walk)
{
    for (unsigned i = 0; i < MAX_LEVELS; i++)
        walk->tables[i].valid = false;
}

/* --- One table, one entry --- */

/* Never a device's registers: looking at tables must change nothing. */
static bool read_table(struct page_walk *walk, unsigned level, uint64_t gpa, GError **error)
{
    struct memory *mem = debug_machine(walk->dbg)->memory;
    struct table *table = &walk->tables[level];
    uint64_t size = (uint64_t)walk->paging->entry_size << walk->paging->level[level].bits;

    if (table->valid && table->gpa == gpa)
        return true;
    table->gpa = gpa;
    table->valid = false;
    if (memory_look(mem, gpa, size).state == MEMORY_NOTHING)
        error_set(error, "No memory is mapped at address 0x%" PRIx64, gpa);
    else
        table->valid = debug_read_as(walk->dbg, debug_fetch_view(walk->dbg), gpa, table->bytes,
                                     size, error) == size;
    if (!table->valid)
        g_prefix_error(error, "page table at 0x%" PRIx64 ": ", gpa);
    return table->valid;
}

static uint64_t entry_at(const struct page_walk *walk, unsigned level, unsigned index)
{
    const struct table *table = &walk->tables[level];

    return walk->mask & (walk->paging->entry_size == 4 ? table->narrow[index] : table->wide[index]);
}

static uint64_t sign_extend(const struct page_walk *walk, uint64_t gva)
{
    unsigned unused = 64 - walk->paging->address_bits;

    return walk->mode < PAGING_4LEVEL ? gva : (uint64_t)((int64_t)(gva << unused) >> unused);
}

/* Rights so far: of no level. */
static const struct page_leaf all_rights = { .user = true, .writable = true };

static void narrow_rights(const struct level *level, uint64_t entry, struct page_leaf *leaf)
{
    if (!level->rights)
        return;
    leaf->user &= (entry & PTE_USER) != 0;
    leaf->writable &= (entry & PTE_WRITABLE) != 0;
    leaf->no_execute |= (entry & PTE_NO_EXECUTE) != 0;
}

/* Does the walk end with this entry? */
static bool is_leaf(const struct page_walk *walk, unsigned level, uint64_t entry)
{
    return level + 1 == walk->paging->levels ||
           (walk->paging->level[level].large && walk->pse && entry & PTE_LARGE);
}

/* Entries of 32 bits have no room for the bit: all is private then (APM vol. 2, 15.34.5). */
static enum debug_view view_of(const struct page_walk *walk, uint64_t entry)
{
    if (!walk->private_bit)
        return DEBUG_BY_RECORD;
    return walk->mode == PAGING_32BIT || entry & walk->private_bit ? DEBUG_PRIVATE : DEBUG_SHARED;
}

static void fill_leaf(const struct page_walk *walk, unsigned level, uint64_t gva, uint64_t entry,
                      struct page_leaf *leaf)
{
    uint64_t size = 1ULL << walk->paging->level[level].shift;

    leaf->size = size;
    leaf->gva = sign_extend(walk, gva & ~(size - 1));
    leaf->entry = entry & ~walk->private_bit;
    leaf->view = view_of(walk, entry);
    leaf->large = level + 1 < walk->paging->levels;
    leaf->gpa = leaf->entry & ADDRESS_BITS & ~(size - 1);
    if (leaf->large && walk->mode == PAGING_32BIT)      /* PSE-36 */
        leaf->gpa = (entry & 0xffc00000) | (entry & 0x1fe000) << 19;
}

/* --- One address --- */

bool debug_translate(struct page_walk *walk, uint64_t gva, struct page_leaf *ret, GError **error)
{
    const struct paging *paging = walk->paging;
    uint64_t table = walk->root;

    *ret = all_rights;
    if (walk->mode == PAGING_OFF) {
        ret->gva = ret->gpa = gva & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
        ret->size = GUEST_PAGE_SIZE;
        ret->view = debug_fetch_view(walk->dbg);
        return true;
    }
    for (unsigned i = 0; i < paging->levels; i++) {
        const struct level *level = &paging->level[i];
        uint64_t entry;

        if (sign_extend(walk, gva) != gva || (walk->mode < PAGING_4LEVEL && gva >> 32))
            break;
        if (!read_table(walk, i, table, error)) {
            g_prefix_error(error, "virtual address 0x%" PRIx64 ": ", gva);
            return false;
        }
        entry = entry_at(walk, i, gva >> level->shift & ((1u << level->bits) - 1));
        if (!(entry & PTE_PRESENT))
            break;
        narrow_rights(level, entry, ret);
        if (is_leaf(walk, i, entry)) {
            fill_leaf(walk, i, gva, entry, ret);
            return true;
        }
        table = entry & ADDRESS_BITS & ~walk->private_bit;
    }
    error_set(error, "virtual address 0x%" PRIx64 " isn't mapped", gva);
    if (error)
        (*error)->code = DEBUG_UNMAPPED;
    return false;
}

/* --- All of a range --- */

struct each {
    struct page_walk *walk;
    uint64_t first, last;       /* without sign extension */
    page_leaf_fn fn;
    void *opaque;
    unsigned tables;
    uint64_t next;              /* where it ended early */
};

static bool each_table(struct each *each, unsigned level, uint64_t gpa, uint64_t base,
                       struct page_leaf rights);

static bool report_unreadable(struct each *each, unsigned level, uint64_t base,
                              const GError *error)
{
    const struct paging *paging = each->walk->paging;
    struct page_leaf leaf = {
        .gva = sign_extend(each->walk, base),
        .size = level ? 1ULL << paging->level[level - 1].shift : 1ULL << paging->address_bits,
    };

    return each->fn(each->opaque, &leaf, error->message);
}

static bool each_entry(struct each *each, unsigned level, uint64_t entry, uint64_t gva,
                       struct page_leaf leaf)
{
    struct page_walk *walk = each->walk;

    narrow_rights(&walk->paging->level[level], entry, &leaf);
    if (!is_leaf(walk, level, entry))
        return each_table(each, level + 1, entry & ADDRESS_BITS & ~walk->private_bit, gva, leaf);
    fill_leaf(walk, level, gva, entry, &leaf);
    each->next = leaf.gva;
    return each->fn(each->opaque, &leaf, NULL);
}

static bool each_table(struct each *each, unsigned level, uint64_t gpa, uint64_t base,
                       struct page_leaf rights)
{
    struct page_walk *walk = each->walk;
    const struct level *l = &walk->paging->level[level];
    uint64_t size = 1ULL << l->shift, end = base + (size << l->bits) - 1;
    uint64_t from = (MAX(each->first, base) - base) >> l->shift;
    uint64_t to = (MIN(each->last, end) - base) >> l->shift;
    g_autoptr(GError) error = NULL;

    each->next = sign_extend(walk, base);
    if (++each->tables > PAGE_WALK_MAX_TABLES)
        return false;
    if (!read_table(walk, level, gpa, &error))
        return report_unreadable(each, level, base, error);
    for (uint64_t i = from; i <= to; i++) {
        uint64_t entry = entry_at(walk, level, (unsigned)i);

        if (entry & PTE_PRESENT && !each_entry(each, level, entry, base + i * size, rights))
            return false;
    }
    return true;
}

bool page_walk_each(struct page_walk *walk, uint64_t first, uint64_t last, page_leaf_fn fn,
                    void *opaque, uint64_t *ret_next)
{
    uint64_t space = walk->mode == PAGING_OFF ? 0 : (1ULL << walk->paging->address_bits) - 1;
    struct each each = {
        .walk = walk, .first = first & space, .last = last & space, .fn = fn, .opaque = opaque,
    };
    bool ok = walk->mode != PAGING_OFF && each.first <= each.last &&
              each_table(&each, 0, walk->root, 0, all_rights);

    if (ret_next)
        *ret_next = each.next;
    return ok;
}
