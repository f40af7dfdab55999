/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the memory subsystem know of one another. */
#ifndef MEMORY_INTERNAL_H
#define MEMORY_INTERNAL_H

#include "discard.h"
#include "history.h"
#include "memory.h"

#include <pthread.h>

/* --- Host memory: the shared backing of plain and two-backing blocks --- */

struct host_memory {
    void *addr;                 /* NULL: none */
    uint64_t size;
    int fd;                     /* -1: anonymous */
    uint64_t offset;            /* in the file */
    uint64_t page_size;         /* larger than 4096 with hugetlb */
    bool shared;
};

struct host_memory_options {
    bool memfd, share, reserve, merge, dump, seal, hugetlb;
    uint64_t hugetlbsize;       /* 0: the system's default */
    const char *name;           /* of the memfd */
    /* A file that the caller has opened, and that is taken over whatever happens. */
    bool file, readonly, pmem;
    int fd;
    uint64_t offset, align;     /* align 0: of pages */
};

/* 0 or -errno; then nothing is held. */
int host_memory_new(struct host_memory *ret, uint64_t size, const struct host_memory_options *opt);
void host_memory_clear(struct host_memory *memory);
/* Give the pages back: they read as zero afterwards. -EINVAL: not whole pages of this memory. */
int host_memory_discard(const struct host_memory *memory, uint64_t offset, uint64_t size);
/* Advice that is taken where the kernel can take it. */
void host_memory_advise(void *addr, uint64_t size, bool merge, bool dump);

/* --- Backends --- */

struct memory_backend {
    struct object obj;
    uint64_t size;
    bool share, reserve, prealloc, merge, merge_given, dump, private_;
    uint32_t prealloc_threads;
    int policy;                         /* enum numa_policy */
    struct node_set host_nodes;
    char *mem_path;
    uint64_t align, offset;
    bool readonly, pmem, discard_data;
    enum on_off_auto rom;
    enum on_off_auto guest_memfd;
    bool hugetlb, seal;
    uint64_t hugetlbsize;
    enum backend_kind kind;     /* settled when complete */
    struct host_memory host;    /* not of BACKEND_IN_PLACE, whose memory comes from a VM */
    bool anonymous;             /* made by the machine: belongs to its block */
};

void memory_backend_free_anonymous(struct memory_backend *backend);
/* What the guest sees of it can't be written. */
bool memory_backend_is_rom(const struct memory_backend *backend);

/* --- RamBlocks --- */

struct ram_block {
    struct memory *mem;
    struct memory_backend *backend;     /* NULL: made by the machine */
    char *name;
    uint64_t size;
    enum backend_kind kind;
    bool readonly;
    struct host_memory own;             /* of a block without a backend */
    void *host;                         /* mapping of the shared backing, or of the guest_memfd */
    int guest_memfd;                    /* -1: none */
    struct attr_map *private_pages;     /* NULL: this block has no attributes */
    /* Written before launch; only with two backings, and where the guest encrypts its memory. */
    struct attr_map *loaded_pages;
    bool pinned;                        /* registered with SEV */
    struct ram_discard_source *sources[RAM_DISCARD_MAX_SOURCES];        /* beside private_pages */
    unsigned nr_sources;
};

struct ram_discard_source {
    struct ram_block *block;
    char *name;
    uint64_t granularity;
    struct attr_map *absent;            /* pages that this source doesn't have */
};

/* --- The memory of a machine --- */

struct mapping {
    struct ram_block *block;
    uint64_t gpa, size, offset;
    uint32_t slot;
    bool readonly;
    bool smm_only;              /* in KVM's second address space alone */
    bool in_space[2];           /* KVM's spaces that have its slot; not while a reset goes on */
};

struct memory {
    struct kvm_vm *vm;
    pthread_mutex_t lock;
    GPtrArray *blocks;                  /* owned, in QEMU's order */
    GArray *mappings;                   /* struct mapping, ascending by gpa */
    bool smm;                           /* what vCPUs see in SMM is an address space of its own */
    GArray *smm_mappings;               /* struct mapping: what is seen there alone */
    struct memory_listener *listeners;  /* in order of registration */
    /* Since a reset began that hasn't ended well: they have nothing and aren't told. */
    bool listeners_away;
    bool launches;                      /* memory_launch() follows each load */
    struct memory_counters counters;
    bool launched;
    bool guest_tells;                   /* a SEV guest: it has called to say what it shares */
    struct conversion_record *history;  /* NULL until there is one; slot = serial % size */
    uint64_t last_conversion;           /* serial */
};

/* All that follow: mem->lock is held. */

/* The mapping that holds gpa, or the first one above it; NULL: none. */
struct mapping *mapping_at_or_after(struct memory *mem, uint64_t gpa);
/* The mapping that holds gpa; NULL: none. */
struct mapping *mapping_find(struct memory *mem, uint64_t gpa);
uint64_t mapping_end(const struct mapping *map);
/* A slot number that nobody uses from first on, or -ENOSPC. */
int memory_free_slot(struct memory *mem, uint32_t first);
/* In each space where it belongs; 0 also for one that is there, or gone, already. */
int mapping_set_slot(struct memory *mem, struct mapping *map);
int mapping_delete_slot(struct memory *mem, struct mapping *map);

/* Word by word and relaxed: the other side may be at work on the same bytes. */
void memory_copy_words(void *to, const void *from, size_t size);

void ram_block_free(struct ram_block *block);
/* ram_block_mark_loaded(), and how it fares: false: out of range or of memory. */
bool ram_block_mark_loaded_locked(struct ram_block *block, uint64_t offset, uint64_t size);
/* Free the shared (or else the private) copy of a two-backing block's range. */
int ram_block_discard_copy(struct ram_block *block, uint64_t offset, uint64_t size, bool shared);
/* Free all copies of a range, which reads as zero then. 0 or -errno. */
int ram_block_free_copies(struct ram_block *block, uint64_t offset, uint64_t size);

/* memory_convert() for those who hold the lock; keep_copies: the other copy is not freed. */
int memory_convert_locked(struct memory *mem, const struct conversion_origin *origin, uint64_t gpa,
                          uint64_t size, bool private_, bool keep_copies, uint64_t *ret_gpa);
/* The same without a vCPU, both copies are kept. */
int memory_convert_own(struct memory *mem, enum conversion_cause cause, uint64_t gpa, uint64_t size,
                       bool private_, uint64_t *ret_gpa);

/* --- encrypted.c --- */

/* All loaded pages by ascending address; they are loaded still. */
bool memory_encrypt_loaded(struct memory *mem, GError **error);
bool ram_block_pin(struct ram_block *block, GError **error);
void ram_block_unpin(struct ram_block *block);

/* --- history.c --- */

/* Notes when it begins, and adds it when it has ended. */
void history_begin(struct conversion_record *record);
void history_add(struct memory *mem, struct conversion_record *record);

/* --- discard.c --- */

/*
 * The maps that say what of a block isn't there, except one: their number, at most
 * RAM_DISCARD_MAX_SOURCES.
 */
unsigned ram_block_maps(const struct ram_block *block, const struct attr_map *except,
                        const struct attr_map **maps);

/* Runs of a range that all those maps (but one) have, or not: as ram_block_replay(). */
int ram_block_each_run(const struct ram_block *block, const struct attr_map *except,
                       uint64_t offset, uint64_t size, bool populated, ram_block_run_fn fn,
                       void *opaque);
void ram_block_free_sources(struct ram_block *block);
/* Where the populated run that holds offset ends; offset itself if it isn't. */
uint64_t ram_block_populated_end(const struct ram_block *block, uint64_t offset);

/* --- listeners.c --- */

/*
 * All listeners, about those parts of a block's range that all maps but the
 * changing one (may be NULL) have.  Populate: 0, or the errno of the first that
 * refuses; all of it has then been told to be let go again.
 */
int populate_notify(struct ram_block *block, const struct attr_map *changing, uint64_t offset,
                    uint64_t size);
void discard_notify(struct ram_block *block, const struct attr_map *changing, uint64_t offset,
                    uint64_t size);
/* Populate, after discard_notify() for a change that didn't happen. */
int repopulate_notify(struct ram_block *block, const struct attr_map *changing, uint64_t offset,
                      uint64_t size);
/* The same for what comes into view at an address, or goes from it. */
int mapping_populate(const struct mapping *map, bool again);
void mapping_discard(const struct mapping *map);
/*
 * Nobody has anything and nobody is told anything, until all get what there is.  When
 * one refuses (its errno), all stay away.
 */
void listeners_leave(struct memory *mem);
int listeners_return(struct memory *mem);

/* What the guest copies for itself: in memory_launch(), and for a debugger. */
struct guest_copy {
    void *host;                 /* page aligned, whole pages */
    uint64_t gpa, size;         /* multiples of 8 */
    bool to_host;               /* out of the guest's memory */
};
/* 0; -errno, with *ret_what (static) a few words about what failed. */
int guest_copy_run(struct memory *mem, struct kvm_vcpu *vcpu, GArray *copies,
                   const char **ret_what);

#endif
