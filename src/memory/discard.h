/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guest memory a device may map: a block's sources say what isn't there
 * (private pages; parts that a virtio-mem device hasn't plugged), listeners are
 * told what is there by all of them.  What QEMU calls a RamDiscardManager is here a
 * part of each RamBlock.
 *
 * All functions take memory->lock; listeners are called with it held, and don't
 * call back.  Docs: docs/memory.md, "Sources and listeners".
 */
#ifndef MEMORY_DISCARD_H
#define MEMORY_DISCARD_H

#include "memory.h"

/* --- Sources --- */

/* Of one block. The attributes of private memory are one that every such block has. */
struct ram_discard_source;

enum { RAM_DISCARD_MAX_SOURCES = 8 };   /* of a block, with the attributes */

/*
 * ram_discard_source_add - begin to decide over a block: all of it is there, or
 * nothing yet.  Listeners let go of what isn't any more.
 * @name: unique in the block.  @granularity: a power of two of which offsets and
 * sizes will be multiples, at least 4 KiB; the block's size is one.
 */
struct ram_discard_source *ram_discard_source_add(struct ram_block *block, const char *name,
                                                  uint64_t granularity, bool populated,
                                                  GError **error);
/*
 * No more say: what it alone kept away is there now.  A listener's errno: it
 * refused that, the source stays as it was.
 */
int ram_discard_source_remove(struct ram_discard_source *source);

/*
 * ram_discard_plug, ram_discard_unplug - [offset, offset + size) is there, or not,
 * as far as this source is concerned.
 * Plug: -errno of a listener that refuses, nothing has changed then.  Unplug: no
 * listener can refuse; it has let go on return, and the memory may be freed
 * (ram_block_discard_range()).  Both: 0 also for what is so already; -EINVAL: not
 * multiples of the granularity or outside; -ENOMEM with nothing changed.
 */
int ram_discard_plug(struct ram_discard_source *source, uint64_t offset, uint64_t size);
int ram_discard_unplug(struct ram_discard_source *source, uint64_t offset, uint64_t size);

/* The first run from *offset on that is there as far as this source is concerned; false: none. */
bool ram_discard_source_run(struct ram_discard_source *source, uint64_t *offset, uint64_t *size);
/* What this source says of a whole range. */
bool ram_discard_source_has(struct ram_discard_source *source, uint64_t offset, uint64_t size);
/* Nothing of the range is there, as far as this source is concerned. */
bool ram_discard_source_lacks(struct ram_discard_source *source, uint64_t offset, uint64_t size);

/* --- What all sources say together --- */

/* Every page of the range is there. */
bool ram_block_is_populated(struct ram_block *block, uint64_t offset, uint64_t size);
/* The finest of its sources': what changes, changes in multiples of this. */
uint64_t ram_block_granularity(struct ram_block *block);

/*
 * Maximal runs of the range that are (or aren't) populated, ascending, until one
 * call returns other than 0, which is returned.  fn is called with memory->lock held.
 */
typedef int (*ram_block_run_fn)(void *opaque, uint64_t offset, uint64_t size);
int ram_block_replay(struct ram_block *block, uint64_t offset, uint64_t size, bool populated,
                     ram_block_run_fn fn, void *opaque);

/*
 * ram_block_discard_range - give a range's memory back, shared and private copies
 * both; it reads as zeroes.  In a guest that was launched it is private from then
 * on, where the block can be, as all memory of such a guest begins.  -EINVAL: not
 * whole pages of each backing.  Unplug first: what a listener still has isn't freed
 * under it but is refused with -EBUSY.
 */
int ram_block_discard_range(struct ram_block *block, uint64_t offset, uint64_t size);

/* --- Listeners --- */

/* A piece of a block where it is mapped. */
struct memory_section {
    struct ram_block *block;
    uint64_t offset, size;      /* in the block; multiples of its granularity unless cut by a slot */
    uint64_t gpa;
    void *host;
    bool readonly;
    /* It has just let go of this, for a change that didn't happen: lack of room is its to bear. */
    bool again;
};

/* Who holds translations of guest memory: of what is mapped and populated. */
struct memory_listener {
    /* About to be usable; may refuse with -errno, and is then told to discard all of it. */
    int (*populate)(struct memory_listener *listener, const struct memory_section *section);
    /* No longer usable; can't refuse. May include what it never got. */
    void (*discard)(struct memory_listener *listener, const struct memory_section *section);
    /*
     * For tests, may be NULL: does it hold all of that, where it is populated, or
     * nothing of it, where it isn't?
     */
    bool (*agrees)(struct memory_listener *listener, const struct memory_section *section,
                   bool populated);
    /* kept by listeners.c */
    struct memory_listener *next;
};
/* Replays what is populated; -errno of a refusal, the listener is then not registered. */
int memory_listener_add(struct memory *mem, struct memory_listener *listener);
void memory_listener_remove(struct memory *mem, struct memory_listener *listener);

#endif
