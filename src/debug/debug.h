/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one way to guest memory for whoever isn't the guest or a device: monitors,
 * gdb, dumps (docs/debugging.md).
 *
 * MMIO is read as MMIO, shared RAM directly, private RAM through the machine's
 * debug object, which is asked first whether it may.  Whatever can't be accessed
 * is an error that says why and what would help; nothing is made up for it.
 *
 * Main thread, without locks.  The guest may run meanwhile: then an answer is of
 * some moment during the call, and memory may change hands under it, which ends
 * in an error or in the memory as it was before.
 */
#ifndef DEBUG_DEBUG_H
#define DEBUG_DEBUG_H

#include "memory.h"

struct debug;
struct debug_object;

/* Where the guest said that its note about itself is (core_vmcoreinfo.c); its own word. */
struct debug_vmcoreinfo {
    uint64_t gpa;
    uint32_t size;
    uint16_t format;
};

/* What the layer needs of the machine; called on the main thread. */
struct debug_machine {
    void *opaque;
    struct memory *memory;
    unsigned (*cpu_count)(void *opaque);
    struct kvm_vcpu *(*cpu)(void *opaque, unsigned index);
    bool (*running)(void *opaque);
    /* Bytes from gpa on, at most size, that one device claims, or else that nobody does. */
    uint64_t (*mmio_look)(void *opaque, uint64_t gpa, uint64_t size, bool *ret_claimed);
    void (*mmio)(void *opaque, uint64_t gpa, void *data, unsigned size, bool write);
    /* False: it has said nothing.  May be NULL. */
    bool (*vmcoreinfo)(void *opaque, struct debug_vmcoreinfo *ret);
};

/*
 * debug_new - object_id: of -machine debug=, NULL for none; the object is in use
 * from then on.  NULL: there is no such debug object, or it is for other VMs.
 * debug_free(NULL) is fine.
 */
struct debug *debug_new(const struct debug_machine *machine, const char *object_id,
                        GError **error);
void debug_free(struct debug *dbg);

const struct debug_machine *debug_machine(const struct debug *dbg);
/* NULL: none. */
struct debug_object *debug_get_object(const struct debug *dbg);

/* A line for start-up when private memory may be debugged; NULL: it may not. Caller frees. */
char *debug_notice(const struct debug *dbg);

/* --- vCPUs --- */

struct debug_registers {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    bool halted;
};

/* A vCPU that runs is held outside the guest meanwhile. */
bool debug_registers(struct debug *dbg, unsigned cpu, struct debug_registers *ret, GError **error);

/* 0, or -errno of a register that this vCPU doesn't have. */
int debug_read_msr(struct debug *dbg, unsigned cpu, uint32_t index, uint64_t *ret);

/* The second word of the descriptor, without base and limit. */
uint32_t debug_segment_flags(const struct kvm_segment *seg);

/* --- Memory --- */

/* Virtual addresses as one vCPU sees them (page_walk.h). */
struct page_walk;

/*
 * Whether RAM is private.  A record of what the guest asked for says it; but a page of
 * an encrypted VM has no state of its own: each access is encrypted or not, by the bit
 * of the page-table entry that leads there, and always for instructions, page tables
 * and without paging.
 */
enum debug_view { DEBUG_BY_RECORD, DEBUG_PRIVATE, DEBUG_SHARED };
/* How instructions and page tables are seen. */
enum debug_view debug_fetch_view(const struct debug *dbg);
/* The bit of page-table entries that says "private", or 0. */
uint64_t debug_private_bit(const struct debug *dbg);
/* Does this VM have memory that the host can't just look at? */
bool debug_has_private_memory(const struct debug *dbg);

/*
 * debug_read, debug_write - bytes from addr on that were copied: all of size, or
 * fewer with the error set, which is about addr + what is returned.
 * walk: addr is virtual; NULL: it is physical.  An address space's end isn't passed.
 */
uint64_t debug_read(struct debug *dbg, struct page_walk *walk, uint64_t addr, void *buf,
                    uint64_t size, GError **error);
uint64_t debug_write(struct debug *dbg, struct page_walk *walk, uint64_t addr, const void *buf,
                     uint64_t size, GError **error);

/* The same by physical address; view is about RAM. */
uint64_t debug_read_as(struct debug *dbg, enum debug_view view, uint64_t gpa, void *buf,
                       uint64_t size, GError **error);
uint64_t debug_write_as(struct debug *dbg, enum debug_view view, uint64_t gpa, const void *buf,
                        uint64_t size, GError **error);

/*
 * Bytes from gpa on, at most size, of which RAM or a device could be accessed now
 * (or not: *ret_ok), without doing so.  What a device would answer isn't known.
 */
uint64_t debug_probe(struct debug *dbg, uint64_t gpa, uint64_t size, bool *ret_ok);

#endif
