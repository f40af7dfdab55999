/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cache of decoded blocks: finding, decoding, dropping.
 *
 * Three ways lead to a block, each falling back on the next: a link in the
 * block before (exec.h), the jump cache by linear address, and after a
 * translation of the address the hash by guest-physical address.
 */
#include "block.h"

#include "decode.h"
#include "exec.h"
#include "exception.h"
#include "mmu.h"
#include "segment.h"

#include <linux/membarrier.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ARENA_SIZE = 16 << 20,      /* address space; memory is used as blocks are decoded */
    CACHE_SIZE = ((sizeof(struct block_cache) + 4095) & ~4095UL) + ARENA_SIZE,
    BLOCK_MAX_BYTES = BLOCK_MAX_INSNS * INSN_MAX_BYTES,
    BLOCK_MAX_SIZE = sizeof(struct block) + (BLOCK_MAX_INSNS + 1) * sizeof(struct insn) +
                     BLOCK_MAX_BYTES,
    ARENA_ALIGN = 8,
    MODE_SINGLE = 0x80,
    WORD_DECODED = 1,           /* the code words' bit 0 */
    WORD_NEVER = 2,             /* no_code has neither this nor what doubt makes of it */
};

static const uint32_t no_code;
struct block block_none = { .code = &no_code, .word = WORD_NEVER };

/* vCPUs of this process: with one alone nobody else's stores need ordering. */
static unsigned nr_caches;

struct block_cache *block_cache_new(void)
{
    /* One mapping, the arena last: not even the tables use memory before they are needed. */
    struct block_cache *cache = mmap(NULL, CACHE_SIZE, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (cache == MAP_FAILED)
        return NULL;
    cache->arena = (uint8_t *)cache + CACHE_SIZE - ARENA_SIZE;
    /* Where the kernel lacks it, code_mark() has to do with a plain fence. */
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    __atomic_fetch_add(&nr_caches, 1, __ATOMIC_SEQ_CST);
    return cache;
}

void block_cache_free(struct block_cache *cache)
{
    if (!cache)
        return;
    __atomic_fetch_sub(&nr_caches, 1, __ATOMIC_SEQ_CST);
    munmap(cache, CACHE_SIZE);
}

static void flush_all(struct block_cache *cache)
{
    if (!cache->used)           /* nothing is in the tables either */
        return;
    memset(cache->jump, 0, sizeof(cache->jump));
    memset(cache->hash, 0, sizeof(cache->hash));
    memset(cache->pages, 0, sizeof(cache->pages));
    cache->used = 0;
    cache->trusted = NULL;
    cache->pending = NULL;
}

void block_cache_flush_all(struct cpu *cpu)
{
    flush_all(cpu->blocks);
}

void cpu_doubt_code(struct cpu *cpu)
{
    struct block *block = cpu->blocks->trusted;

    for (; block; block = block->trusted_next)
        block->word &= ~(uint32_t)WORD_DECODED;
    cpu->blocks->trusted = NULL;
    cpu->doubted_at = cpu->instructions;
}

static void block_trust(struct block_cache *cache, struct block *block)
{
    block->word |= WORD_DECODED;
    block->trusted_next = cache->trusted;
    cache->trusted = block;
}

bool block_confirm(struct cpu *cpu, struct block *block)
{
    uint32_t word = __atomic_load_n(block->code, __ATOMIC_RELAXED);

    if (likely(word == block->word))
        return true;
    if (word != (block->word | WORD_DECODED))
        return false;
    if (!guest_equal(block->host, block->copy, block->bytes)) {
        cpu_code_written((uint32_t *)block->code);
        return false;
    }
    block_trust(cpu->blocks, block);
    return true;
}

static struct code_page **page_head(struct block_cache *cache, uint64_t gpa)
{
    return &cache->pages[gpa >> CPU_PAGE_SHIFT & ((1 << CODE_PAGE_HASH_BITS) - 1)];
}

static struct code_page *page_find(struct block_cache *cache, uint64_t gpa)
{
    struct code_page *p = *page_head(cache, gpa);

    while (p && p->gpa != gpa)
        p = p->next;
    return p;
}

/* Four lanes, so that multiplications overlap.  Other CPUs may be storing: then it differs. */
__attribute__((no_sanitize("thread")))
static uint64_t page_sum(const uint8_t *host)
{
    uint64_t lane[4] = { 1, 2, 3, 4 };

    for (unsigned i = 0; i < CPU_PAGE_SIZE; i += sizeof(lane)) {
        uint64_t words[4];

        memcpy(words, host + i, sizeof(words));
        for (unsigned n = 0; n < 4; n++)
            lane[n] = (lane[n] ^ words[n]) * 0x9e3779b97f4a7c15;
    }
    return lane[0] ^ lane[1] >> 1 ^ lane[2] >> 2 ^ lane[3] >> 3;
}

void block_verify_page(struct cpu *cpu, uint64_t gpa, const struct cpu_page *page)
{
    struct code_page *p;

    if (!(__atomic_load_n(page->code, __ATOMIC_RELAXED) & 1))
        return;
    p = page_find(cpu->blocks, gpa);
    if (p && p->word == __atomic_load_n(page->code, __ATOMIC_RELAXED) &&
        p->sum != page_sum(page->host))
        cpu_code_written(page->code);
}

static void page_end(struct code_page *p)
{
    cpu_code_written(p->code);
    p->word = 0;
}

void block_cache_flush_gpa(struct cpu *cpu, uint64_t gpa, uint64_t size)
{
    struct block_cache *cache = cpu->blocks;
    struct code_page *p;

    /* By page where the range has fewer than the table has lists. */
    if (size / CPU_PAGE_SIZE < 1 << CODE_PAGE_HASH_BITS) {
        for (uint64_t off = 0; off < size; off += CPU_PAGE_SIZE) {
            p = page_find(cache, gpa + off);
            if (p)
                page_end(p);
        }
        return;
    }
    for (size_t i = 0; i < sizeof(cache->pages) / sizeof(cache->pages[0]); i++)
        for (p = cache->pages[i]; p; p = p->next)
            if (p->gpa - gpa < size)
                page_end(p);
}

void cpu_code_written(uint32_t *code)
{
    uint32_t word = __atomic_load_n(code, __ATOMIC_RELAXED);

    /* From "decoded, n" to "not decoded, n + 1". */
    while ((word & 1) &&
           !__atomic_compare_exchange_n(code, &word, word + 1, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        ;
}

/*
 * From here on stores to the page are noticed.  A store on another CPU is
 * followed by a plain load of the word: the barrier makes sure that either that
 * load sees the mark or we see the stored bytes.
 */
static uint32_t code_mark(uint32_t *code)
{
    uint32_t word = __atomic_fetch_or(code, 1, __ATOMIC_SEQ_CST);

    if (!(word & 1) && __atomic_load_n(&nr_caches, __ATOMIC_RELAXED) > 1)
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    return word | 1;
}

/* Where the next instruction is fetched from. */
struct fetch {
    uint64_t linear;
    uint64_t gpa;               /* of linear */
    struct cpu_page page;
    unsigned left;              /* bytes up to the end of the page, or of the segment */
    bool limited;               /* left is the segment's limit, not the page's end */
};

/* cs:rip as a linear address, with the checks that precede every fetch. */
static enum cpu_status fetch_address(struct cpu *cpu, struct fetch *fetch)
{
    uint64_t rip = cpu->regs[REG_RIP];
    const struct cpu_segment *cs = &cpu->seg[SEG_CS];

    if (cpu->code_size == 8) {
        if (unlikely(!is_canonical(cpu, rip)))
            return raise_gp(cpu);
        fetch->linear = rip;
        fetch->left = CPU_PAGE_SIZE - (rip & ~CPU_PAGE_MASK);
        fetch->limited = false;
        return CPU_OK;
    }
    if (unlikely(rip > cs->limit))
        return raise_gp(cpu);
    fetch->linear = (uint32_t)(cs->base + rip);
    fetch->left = CPU_PAGE_SIZE - (fetch->linear & ~CPU_PAGE_MASK);
    fetch->limited = cs->limit - rip < fetch->left - 1;
    if (fetch->limited)
        fetch->left = cs->limit - rip + 1;
    return CPU_OK;
}

static uint64_t fetch_key(const struct cpu *cpu)
{
    return cpu->tlb->generation << 10 | cpu->cpl << 8 | cpu->stack_size << 4 | cpu->code_size;
}

static uint8_t block_mode(const struct cpu *cpu, bool single)
{
    return cpu->code_size | cpu->stack_size << 3 | (single ? MODE_SINGLE : 0);
}

/* The instruction's bytes reach into the next page (or come from no RAM at all). */
static enum cpu_status fetch_crossing(struct cpu *cpu, const struct fetch *fetch, uint8_t *bytes,
                                      unsigned *have)
{
    uint64_t linear = fetch->linear;
    enum cpu_status status;

    while (*have < INSN_MAX_BYTES) {
        uint64_t addr = linear + *have;
        unsigned left;

        if (cpu->code_size != 8)
            addr = (uint32_t)addr;
        left = CPU_PAGE_SIZE - (addr & ~CPU_PAGE_MASK);
        if (left > INSN_MAX_BYTES - *have)
            left = INSN_MAX_BYTES - *have;
        status = mmu_fetch_slow(cpu, addr, bytes + *have, left);
        if (status != CPU_OK)
            return status;
        *have += left;
    }
    return CPU_OK;
}

static void finish_block(struct cpu *cpu, struct block *block, unsigned count)
{
    const struct insn *last = &block->insns[count - 1];
    struct insn *end = &block->insns[count];
    bool far = (block->gpa & ~CPU_PAGE_MASK) + last->next >= CPU_PAGE_SIZE;

    *end = (struct insn){ .off = last->next, .next = last->next, .ordinal = count };
    end->link[0] = end->link[1] = &block_none;
    if (decode_ends_block(last) || cpu->code_size != 8)
        end->exec = exec_leave;
    else
        end->exec = far ? exec_end : exec_end_near;
    block->bytes = last->next;
}

static struct decode_mode decode_mode(const struct cpu *cpu, const struct fetch *fetch)
{
    return (struct decode_mode){
        .code_size = cpu->code_size,
        .stack_size = cpu->stack_size,
        .page_offset = fetch->linear & ~CPU_PAGE_MASK,
    };
}

/*
 * As many instructions as lie within the page; none when the first one doesn't.
 * copy gets the bytes that they were decoded from.
 */
static unsigned decode_run(struct cpu *cpu, const struct fetch *fetch, unsigned max,
                           struct insn *insns, uint8_t *copy)
{
    const uint8_t *code = fetch->page.host + (fetch->linear & ~CPU_PAGE_MASK);
    unsigned off = 0, count = 0;

    while (count < max && off < fetch->left) {
        uint8_t bytes[INSN_MAX_BYTES];
        unsigned avail = fetch->left - off, length;

        /* Decoded from a copy: other CPUs may be changing the original. */
        avail = avail < sizeof(bytes) ? avail : sizeof(bytes);
        guest_copy(bytes, code + off, avail);
        length = decode_insn(bytes, avail, decode_mode(cpu, fetch), off, &insns[count]);
        if (!length)
            break;
        insns[count].ordinal = count;
        memcpy(copy + off, bytes, length);
        off += length;
        if (decode_ends_block(&insns[count++]))
            break;
    }
    return count;
}

/* A single instruction from bytes that are no one page of RAM, to be run once. */
static enum cpu_status decode_transient(struct cpu *cpu, const struct fetch *fetch,
                                        const struct block **ret)
{
    static __thread _Alignas(struct block)
        uint8_t once[sizeof(struct block) + 2 * sizeof(struct insn)];
    struct block *block = (struct block *)once;
    uint8_t bytes[INSN_MAX_BYTES];
    unsigned have = 0, avail;
    enum cpu_status status;

    /* First what the first page has: the rest may fault without being needed. */
    avail = fetch->left < INSN_MAX_BYTES ? fetch->left : INSN_MAX_BYTES;
    status = mmu_fetch_slow(cpu, fetch->linear, bytes, avail);
    if (status != CPU_OK)
        return status;
    have = avail;
    if (!decode_insn(bytes, have, decode_mode(cpu, fetch), 0, block->insns)) {
        if (fetch->limited)
            return raise_gp(cpu);
        status = fetch_crossing(cpu, fetch, bytes, &have);
        if (status != CPU_OK)
            return status;
        decode_insn(bytes, have, decode_mode(cpu, fetch), 0, block->insns);
    }
    block->transient = true;
    block->gpa = fetch->gpa;
    block->code = &no_code;
    block->word = WORD_NEVER;
    finish_block(cpu, block, 1);
    *ret = block;
    return CPU_OK;
}

void block_keep_left(struct cpu *cpu, const struct insn *insn)
{
    struct block_cache *cache = cpu->blocks;
    struct block *block = (struct block *)cache->left_block;
    struct insn *alone = block->insns;

    *alone = *insn;
    alone->next -= insn->off;
    alone->off = alone->ordinal = 0;
    /* As decode_insn() would have it had the block begun here. */
    if (insn->base == REG_RIP &&
        __builtin_sub_overflow(insn->disp, (int32_t)insn->off, &alone->disp))
        alone->index = REG_NONE;
    *block = (struct block){ .code = &no_code, .word = WORD_NEVER, .transient = true };
    finish_block(cpu, block, 1);
    cache->left = true;
    cache->left_rip = cpu->regs[REG_RIP];
}

const struct block *block_take_left(struct cpu *cpu)
{
    struct block_cache *cache = cpu->blocks;
    bool left = cache->left && cache->left_rip == cpu->regs[REG_RIP];

    cache->left = false;
    return left ? (const struct block *)cache->left_block : NULL;
}

/* Room for a block of any length, and its page. */
static void arena_reserve(struct block_cache *cache)
{
    if (cache->used + BLOCK_MAX_SIZE + sizeof(struct code_page) > ARENA_SIZE)
        flush_all(cache);
}

static void *arena_take(struct block_cache *cache, size_t size)
{
    void *p = cache->arena + cache->used;

    cache->used += (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    return p;
}

/* Blocks of this page are about to be decoded, under this word. */
static void page_enter(struct block_cache *cache, uint64_t gpa, const struct cpu_page *page,
                       uint32_t word)
{
    struct code_page *p = page_find(cache, gpa);

    if (!p) {
        p = arena_take(cache, sizeof(*p));
        *p = (struct code_page){ .gpa = gpa, .next = *page_head(cache, gpa) };
        *page_head(cache, gpa) = p;
    }
    p->code = page->code;
    if (p->word != word) {
        p->sum = page_sum(page->host);
        p->word = word;
    }
}

static struct block **hash_head(struct block_cache *cache, uint64_t gpa)
{
    return &cache->hash[(gpa ^ gpa >> BLOCK_HASH_BITS) & ((1 << BLOCK_HASH_BITS) - 1)];
}

/*
 * An instruction that goes on in the next page is decoded each time it runs:
 * nothing says that its second page stays the same.
 */
static enum cpu_status decode_block(struct cpu *cpu, const struct fetch *fetch, bool single,
                                    const struct block **ret)
{
    struct block_cache *cache = cpu->blocks;
    uint32_t word = code_mark(fetch->page.code);
    uint8_t copy[BLOCK_MAX_BYTES];
    struct block *block;
    unsigned count;

    arena_reserve(cache);
    page_enter(cache, fetch->gpa & CPU_PAGE_MASK, &fetch->page, word);
    block = (struct block *)(cache->arena + cache->used);
    block->code = fetch->page.code;
    block->word = word;
    block->mode = block_mode(cpu, single);
    block->transient = false;
    block->gpa = fetch->gpa;
    block->host = fetch->page.host + (fetch->linear & ~CPU_PAGE_MASK);
    count = decode_run(cpu, fetch, single ? 1 : BLOCK_MAX_INSNS, block->insns, copy);
    if (!count)
        return decode_transient(cpu, fetch, ret);
    finish_block(cpu, block, count);
    arena_take(cache, sizeof(*block) + (count + 1) * sizeof(struct insn));
    block->copy = memcpy(arena_take(cache, block->bytes), copy, block->bytes);
    block_trust(cache, block);
    block->hash_next = *hash_head(cache, block->gpa);
    *hash_head(cache, block->gpa) = block;
    cpu->blocks_decoded++;
    *ret = block;
    return CPU_OK;
}

/* Blocks that turn out to be not current leave the chain as it is searched. */
static struct block *hash_find(struct cpu *cpu, uint64_t gpa, uint8_t mode)
{
    struct block **link = hash_head(cpu->blocks, gpa), *block;

    while ((block = *link)) {
        if ((block->word | WORD_DECODED) != __atomic_load_n(block->code, __ATOMIC_RELAXED)) {
            *link = block->hash_next;
            continue;
        }
        if (block->gpa == gpa && block->mode == mode && block_confirm(cpu, block))
            return block;
        link = &block->hash_next;
    }
    return NULL;
}

static void jump_enter(struct cpu *cpu, uint64_t linear, struct block *block)
{
    struct jump_entry *e = jump_entry(cpu->blocks, linear);

    e->rip = linear;
    e->key = cpu->fetch_key;
    e->block = block;
}

enum cpu_status block_find(struct cpu *cpu, bool single, const struct block **ret)
{
    struct fetch fetch;
    struct jump_entry *e;
    struct block *block;
    enum cpu_status status = fetch_address(cpu, &fetch);

    if (status != CPU_OK)
        return status;
    cpu->fetch_key = fetch_key(cpu);
    e = jump_entry(cpu->blocks, fetch.linear);
    if (!single && e->rip == fetch.linear && e->key == cpu->fetch_key &&
        block_confirm(cpu, e->block) && e->block->bytes <= fetch.left) {
        *ret = e->block;
        return CPU_OK;
    }
    status = mmu_fetch_page(cpu, fetch.linear, &fetch.page, &fetch.gpa);
    if (status == CPU_BREAK)
        return decode_transient(cpu, &fetch, ret);
    if (status != CPU_OK)
        return status;
    fetch.gpa = (fetch.gpa & CPU_PAGE_MASK) | (fetch.linear & ~CPU_PAGE_MASK);
    block = hash_find(cpu, fetch.gpa, block_mode(cpu, single));
    if (!block || block->bytes > fetch.left) {
        if (fetch.limited)
            return decode_transient(cpu, &fetch, ret);
        status = decode_block(cpu, &fetch, single, ret);
        if (status != CPU_OK || (*ret)->transient)
            return status;
        block = (struct block *)*ret;
    }
    if (!single)
        jump_enter(cpu, fetch.linear, block);
    *ret = block;
    return CPU_OK;
}

/* The block that an end record belongs to. */
static const struct block *end_block(const struct insn *end)
{
    const struct insn *first = end - end->ordinal;

    return (const struct block *)((const char *)first - offsetof(struct block, insns));
}

void block_link(struct cpu *cpu, const struct block *block)
{
    struct block_cache *cache = cpu->blocks;
    struct insn *end = cache->pending;
    bool same_page;

    cache->pending = NULL;
    if (!end || block->transient || end_block(end)->transient)
        return;
    same_page = (end_block(end)->gpa ^ block->gpa) < CPU_PAGE_SIZE;
    if (cache->pending_near && !same_page)
        return;
    if (!cache->pending_near && end->link_key != cpu->fetch_key) {
        /* The other link was made under another key and is as old as that. */
        end->link[!cache->pending_slot] = &block_none;
        end->link_key = cpu->fetch_key;
    }
    end->link[cache->pending_slot] = (struct block *)block;
}
