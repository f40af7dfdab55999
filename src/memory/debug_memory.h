/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory as the debug access layer (src/debug) sees it: what is at an
 * address, shared pages by copying, private ones by the ways that a VM without
 * encryption has.  For nobody else: devices and loaders have memory_read().
 * Any thread, unless said otherwise.
 */
#ifndef MEMORY_DEBUG_MEMORY_H
#define MEMORY_DEBUG_MEMORY_H

#include "memory.h"

enum memory_state {
    MEMORY_NOTHING,             /* no RAM here */
    MEMORY_SHARED,
    MEMORY_PRIVATE,
    MEMORY_ABSENT,              /* not plugged */
};

struct memory_piece {
    enum memory_state state;
    uint64_t size;              /* all of it is so, and of one block; at most what was asked */
    struct ram_block *block;    /* NULL: nothing here */
    uint64_t offset;            /* in the block */
};

/* What is at gpa, and how far; size > 0, gpa + size may wrap. */
struct memory_piece memory_look(struct memory *mem, uint64_t gpa, uint64_t size);

/*
 * Copy what is shared of [gpa, gpa + size): bytes from gpa on that were copied.
 * Unlike a device, a debugger may write to ROM, and its accesses aren't counted.
 */
uint64_t memory_copy_shared(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write);

/*
 * The same whatever is private by the record: of an encrypted VM this is what the host
 * sees, and the guest by an entry that doesn't encrypt.
 */
uint64_t memory_copy_host(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write);

/*
 * memory_with_host - fn with the host's address of [gpa, gpa + size), which is RAM of one
 * block, and stays as it is meanwhile (private by the record, if private_only).
 * -EFAULT: it isn't; else fn's answer.
 */
typedef int (*memory_host_fn)(void *opaque, void *host, uint64_t size);
int memory_with_host(struct memory *mem, uint64_t gpa, uint64_t size, bool private_only,
                     memory_host_fn fn, void *opaque);

/*
 * Copy private memory of one block, all of [gpa, gpa + size) or nothing.
 *
 * In place: its pages are made shared for the copy and private again.  With two
 * backings the host never sees the private one: vCPU 0 copies, and is left as it
 * was.  All vCPUs are parked, and stay so.  Main thread.
 * 0; -errno, with *ret_what (static) a few words about what failed.  When pages
 * can't be made private again, they stay shared and *ret_what says so.
 */
int memory_copy_private(struct memory *mem, struct kvm_vcpu *vcpu0, uint64_t gpa, void *buf,
                        uint64_t size, bool write, const char **ret_what);

#endif
