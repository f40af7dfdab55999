/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory: backends (what the user asks for), RamBlocks (pieces of guest
 * RAM with their backings and attributes), the guest-physical map (slots), and
 * the one conversion function.
 *
 * Locks: memory->lock (a mutex, inside) covers map, attributes and listeners; it
 * is taken after the machine lock, never before (docs/architecture.md, "Locks").
 * Functions take it themselves unless said otherwise.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "attr_map.h"
#include "object.h"
#include "vm.h"

#include <glib.h>

/* --- Backends: objects of type memory-backend-* --- */

enum backend_kind {
    BACKEND_PLAIN,              /* host memory only */
    BACKEND_TWO_BACKINGS,       /* private=on: host memory and a guest_memfd of its own */
    BACKEND_IN_PLACE,           /* guest_memfd itself, mapped while shared */
};

struct memory_backend;          /* begins with struct object */

void memory_register_backends(void);

struct memory_backend *memory_backend_find(const char *id);     /* NULL: none of that id */
/* The backend behind an object, NULL if the object is none (query-memdev). */
struct memory_backend *memory_backend_from_object(struct object *obj);
/* The machine's own backend, without an object: "pc.ram" for `-m`, "pc.bios". */
struct memory_backend *memory_backend_new_internal(const char *name, uint64_t size,
                                                   enum backend_kind kind, GError **error);
uint64_t memory_backend_size(const struct memory_backend *backend);
enum backend_kind memory_backend_kind(const struct memory_backend *backend);
const char *memory_backend_id(const struct memory_backend *backend);
/* Reading what isn't allocated takes no memory: the host's one page of zeroes serves it. */
bool memory_backend_reads_free(const struct memory_backend *backend);
bool memory_backend_preallocates(const struct memory_backend *backend);
uint64_t memory_backend_page_size(const struct memory_backend *backend);
struct json_object *memory_backend_describe(const struct memory_backend *backend);      /* a Memdev of QMP */

/* --- RamBlocks --- */

struct ram_block;
struct memory;

/* The memory of one machine. */
struct memory *memory_new(struct kvm_vm *vm);
void memory_free(struct memory *mem);
struct kvm_vm *memory_vm(struct memory *mem);

/*
 * ram_block_new - a block of guest RAM from a backend: allocates or maps its
 * backings; creates the guest_memfd where the backend wants one.  All pages are
 * shared at first, so that they can be loaded; memory_launch() makes those of a
 * protected VM private.  The block belongs to mem.
 */
struct ram_block *ram_block_new(struct memory *mem, struct memory_backend *backend, GError **error);
/* Machine-made RAM or ROM without a backend object: firmware, option ROMs. */
struct ram_block *ram_block_new_internal(struct memory *mem, const char *name, uint64_t size,
                                         bool readonly, GError **error);
const char *ram_block_name(const struct ram_block *block);
/* Main thread. */
void ram_block_set_name(struct ram_block *block, const char *name);
uint64_t ram_block_size(const struct ram_block *block);
enum backend_kind ram_block_kind(const struct ram_block *block);
void *ram_block_host(const struct ram_block *block);    /* of the shared backing */
/*
 * Before memory_launch(): something was written through ram_block_host(), so that
 * it is carried over to private memory.  memory_write() does this by itself.
 * False: not in the block, or no memory.
 */
bool ram_block_mark_loaded(struct ram_block *block, uint64_t offset, uint64_t size);
/*
 * Allocate a range now, in the backing that the guest is going to use first: the
 * private one where there is one.  0 or -errno; some of it may be allocated then.
 */
int ram_block_populate(struct ram_block *block, uint64_t offset, uint64_t size);
bool ram_block_has_attributes(const struct ram_block *block);
bool ram_block_readonly(const struct ram_block *block);

/* Map [offset, offset + size) of the block at gpa: one KVM slot. */
bool memory_map(struct memory *mem, struct ram_block *block, uint64_t offset, uint64_t gpa,
                uint64_t size, GError **error);
/* The same, but the guest and devices can't write there.  Not of a block with a guest_memfd. */
bool memory_map_readonly(struct memory *mem, struct ram_block *block, uint64_t offset,
                         uint64_t gpa, uint64_t size, GError **error);
/*
 * memory_enable_smm - from now on (nothing is mapped yet) vCPUs in system management mode
 * have KVM's second address space: all that is mapped, and what memory_map_smm() adds.
 * That is no memory to anyone else, devices and monitors included.  False: no such space.
 */
bool memory_enable_smm(struct memory *mem);
bool memory_map_smm(struct memory *mem, struct ram_block *block, uint64_t offset, uint64_t gpa,
                    uint64_t size, GError **error);
bool memory_unmap_smm(struct memory *mem, uint64_t gpa, uint64_t size, GError **error);
bool memory_unmap(struct memory *mem, uint64_t gpa, uint64_t size, GError **error);
/* Take a block out again and free it. False: some of it is mapped. */
bool ram_block_delete(struct ram_block *block, GError **error);

/* Blocks in QEMU's order: largest first, equal ones by age. Caller frees the array only. */
GPtrArray *memory_blocks(struct memory *mem);

/*
 * memory_launch - every loaded byte is in place: make all memory that can be
 * private private, keeping its content, whatever the backing (docs/memory.md,
 * "Loading a protected VM").  Before the first vCPU runs for the guest.
 * vcpu0 is borrowed where content has to be copied by the guest itself, and is
 * left in the state in which it was.
 */
bool memory_launch(struct memory *mem, struct kvm_vcpu *vcpu0, GError **error);

/*
 * memory_relaunch - instead of a reset, for a guest that encrypts its memory: nothing can be
 * loaded any more, and content stays; all of it counts as private again.
 */
bool memory_relaunch(struct memory *mem, GError **error);

/*
 * memory_reset - as before the first load: every page shared, all RAM (not ROM)
 * zero.  All vCPUs are parked.  Load again, then memory_launch() again: listeners get
 * what there is then.  After a failure they have nothing; another reset may succeed.
 */
bool memory_reset(struct memory *mem, GError **error);

/* --- Access by devices and loaders: shared pages only --- */

/*
 * Copy between guest memory and a buffer.  False, with nothing or a part done:
 * a page is private (of a SEV guest: since it tells which are not) or not RAM; *ret_gpa (may be NULL) is the first such
 * address.  Counted and traced, not reported.
 */
bool memory_read(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, uint64_t *ret_gpa);
bool memory_write(struct memory *mem, uint64_t gpa, const void *buf, uint64_t size,
                  uint64_t *ret_gpa);
/* RAM at all, private or not: largest size from gpa on that is one block; 0 if none. */
uint64_t memory_ram_at(struct memory *mem, uint64_t gpa);

/* --- Conversion --- */

/*
 * memory_convert - make [gpa, gpa + size) private or shared.
 *
 * The design's order; all of the range or none of it, over block borders too.
 * 0 also when it is so already.  -EINVAL: unaligned, empty, wraps; to private
 * where there is no RAM that can be private (to shared there: ignored, 0).
 * Else KVM's or a listener's errno, with *ret_gpa (may be NULL) the first
 * address that failed.
 */
int memory_convert(struct memory *mem, uint64_t gpa, uint64_t size, bool private_,
                   uint64_t *ret_gpa);

/* Who asked, for the history (history.h). */
enum conversion_cause {
    CONVERSION_HOST,            /* whatever isn't one of the following */
    CONVERSION_MEMORY_FAULT,    /* the guest touched a page in the other state */
    CONVERSION_HYPERCALL,       /* KVM_HC_MAP_GPA_RANGE */
    CONVERSION_LAUNCH, CONVERSION_RESET, CONVERSION_UNPLUG,
    CONVERSION_DEBUG,           /* there and back, for a debugger (debug_memory.h) */
};

struct conversion_origin {
    enum conversion_cause cause;
    int vcpu;                   /* -1: none */
    bool rip_known;
    uint64_t rip;               /* of the guest, when it asked */
};

int memory_convert_for(struct memory *mem, const struct conversion_origin *origin, uint64_t gpa,
                       uint64_t size, bool private_, uint64_t *ret_gpa);

/* --- Queries: see attributes.h too --- */

struct memory_counters {
    uint64_t conversions, failed_conversions;   /* calls */
    uint64_t pages_to_private, pages_to_shared;
    uint64_t refused_accesses;  /* of devices: a private page, or no RAM */
    uint64_t failed_discards;   /* a copy that is no longer used couldn't be freed */
    uint64_t failed_rollbacks;  /* of a run, after a failed conversion; the record is right */
};
struct memory_counters memory_get_counters(struct memory *mem);

#endif
