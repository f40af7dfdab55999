/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decoded blocks and where to find them.
 *
 * A block is a run of instructions of one page, keyed by the guest-physical
 * address of its first byte and by what decoding depends on.  After its last
 * instruction stands one record more, whose links name the blocks that it was
 * seen to lead to.  A block lives in its vCPU's arena until all of the arena is
 * dropped; it is used only while it is current: no vCPU stored to its page since
 * it was decoded (struct cpu_page in cpu.h says how that is known).
 *
 * User space writes guest memory without anybody noticing: a disk's DMA, a
 * debugger's breakpoint.  So a block keeps the bytes that it was made from, and at
 * every occasion for a guest to learn of such a write all blocks become doubtful
 * (cpu_doubt_code()): the next one to use such a block compares first.  What is
 * in doubt looks to links and to the jump cache like a block that isn't current,
 * so it costs nothing where it isn't used.
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
    const uint32_t *code;       /* its page's code word, and what that was; */
    uint32_t word;              /* without bit 0 while the block is in doubt */
    uint16_t bytes;             /* length of the code */
    uint8_t mode;               /* code_size, stack_size, one instruction only */
    bool transient;             /* run once, in no cache and linked to nothing */
    uint64_t gpa;               /* of the first byte */
    const uint8_t *host;        /* that byte */
    const uint8_t *copy;        /* of all of them, as decoded */
    struct block *hash_next;
    struct block *trusted_next;
    struct insn insns[];
};

/*
 * A page that blocks were decoded from.  Where a guest maps a page for execution,
 * its contents are compared as a whole: another vCPU may be the one that was told
 * of a device's write.
 */
struct code_page {
    uint64_t gpa;
    uint32_t *code;
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
    struct block *trusted;      /* the blocks that are not in doubt */
    struct insn *pending;       /* end record whose link pending_slot is to be set, or NULL */
    unsigned pending_slot;
    bool pending_near;
    bool left;                  /* an instruction left with CPU_EXIT_ACCESS: */
    uint64_t left_rip;
    _Alignas(struct block) uint8_t left_block[sizeof(struct block) + 2 * sizeof(struct insn)];
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

/*
 * Keep an instruction that can't complete before user space has done its part, and
 * which starts anew then: it is the one that was decoded, whatever stands in memory
 * by that time.  Called with rip on it.
 */
void block_keep_left(struct cpu *cpu, const struct insn *insn);

/* That instruction as a block, if it is the one at rip; once. NULL: it isn't. */
const struct block *block_take_left(struct cpu *cpu);

/*
 * block_confirm - may a block that isn't known to be current be used after all?
 * True for one in doubt that memory still holds.  Where that differs all blocks of
 * the page end, on every vCPU.
 */
bool block_confirm(struct cpu *cpu, struct block *block);

/* Set the link that waits for a target (chain_miss() in exec.h), if one does. */
void block_link(struct cpu *cpu, const struct block *block);

#endif
