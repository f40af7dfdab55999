/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decoded blocks and where to find them.
 *
 * A block is a run of instructions of one page, keyed by the guest-physical
 * address of its first byte and by what decoding depends on.  After its last
 * instruction stands one record more, whose links name the blocks that it was
 * seen to lead to.  A block lives in its vCPU's arena until all of the arena is
 * dropped; it is used only while it is current: nobody stored to its page since
 * it was decoded (struct cpu_page in cpu.h says how that is known).
 *
 * Everything here belongs to the vCPU's thread, but for the code words.
 */
#ifndef SOFTKVM_CPU_BLOCK_H
#define SOFTKVM_CPU_BLOCK_H

#include "insn.h"

enum {
    BLOCK_MAX_INSNS = 64,
    JUMP_BITS = 12,
    BLOCK_HASH_BITS = 14,
    CODE_PAGE_HASH_BITS = 11,
};

struct block {
    const uint32_t *code;       /* its page's code word, and what that was */
    uint32_t word;
    uint16_t bytes;             /* length of the code */
    uint8_t mode;               /* code_size, stack_size, one instruction only */
    bool transient;             /* run once, in no cache and linked to nothing */
    uint64_t gpa;               /* of the first byte */
    struct block *hash_next;
    struct insn insns[];
};

/*
 * A page that blocks were decoded from.  Stores of vCPUs end blocks at once, but
 * user space writes guest memory without anybody noticing: a disk's DMA, a
 * debugger's breakpoint.  A guest can't use such code without mapping it anew, so
 * the page's contents are compared whenever a translation for execution is made.
 */
struct code_page {
    uint64_t gpa;
    uint32_t word;              /* the blocks that are current have this one */
    uint64_t sum;               /* of the contents when the first of them was decoded */
    struct code_page *next;
};

struct jump_entry {             /* the jump cache: linear address to block */
    uint64_t rip, key;          /* key: cpu->fetch_key */
    struct block *block;
};

struct block_cache {
    struct jump_entry jump[1 << JUMP_BITS];
    struct block *hash[1 << BLOCK_HASH_BITS];
    struct code_page *pages[1 << CODE_PAGE_HASH_BITS];
    uint8_t *arena;
    size_t used;
    struct insn *pending;       /* end record whose link pending_slot is to be set, or NULL */
    unsigned pending_slot;
    bool pending_near;
};

/* The block that isn't there: never current. */
extern struct block block_none;

static inline bool block_is_current(const struct block *block)
{
    return __atomic_load_n(block->code, __ATOMIC_RELAXED) == block->word;
}

static inline struct jump_entry *jump_entry(struct block_cache *cache, uint64_t rip)
{
    return &cache->jump[(rip ^ rip >> JUMP_BITS) & ((1 << JUMP_BITS) - 1)];
}

/* NULL without memory. */
struct block_cache *block_cache_new(void);
void block_cache_free(struct block_cache *cache);

/* Forget blocks of guest-physical addresses [gpa, gpa + size): their backing changes. */
void block_cache_flush_gpa(struct cpu *cpu, uint64_t gpa, uint64_t size);

/* Forget all blocks.  One that runs may go on to its end. */
void block_cache_flush_all(struct cpu *cpu);

/*
 * A translation for execution of the page at gpa is being made: drop its blocks
 * if they aren't what the page holds.
 */
void block_verify_page(struct cpu *cpu, uint64_t gpa, const struct cpu_page *page);

/*
 * block_find - the block to execute at cs:rip, decoding it where need be.
 * @single: one of a single instruction.
 * CPU_OK; CPU_FAULT (the fetch faults); CPU_EXIT_ACCESS.
 */
enum cpu_status block_find(struct cpu *cpu, bool single, const struct block **ret);

/* Set the link that waits for a target (chain_miss() in exec.h), if one does. */
void block_link(struct cpu *cpu, const struct block *block);

#endif
