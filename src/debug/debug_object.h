/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Debug objects: how a kind of VM lets its owner at private memory, and whether.
 * Made by -object, named by -machine debug=ID.  A kind is a row of
 * debug_object.c's table; it says what is asked of it below.
 */
#ifndef DEBUG_DEBUG_OBJECT_H
#define DEBUG_DEBUG_OBJECT_H

#include "debug.h"
#include "object.h"

struct debug_object_type;

/* Begins every debug object. */
struct debug_object {
    struct object obj;
    const struct debug_object_type *kind;       /* set when it is found */
};

/* What is allowed of private memory. */
struct debug_policy {
    bool read, write;
    bool while_running;         /* also while the guest runs */
    char text[80];              /* how the policy spells it: "allow=read" */
};

struct debug_object_type {
    struct object_type object;
    const char *vms;            /* the VMs that it is for, for people: "kvm-type=sw-protected-vm" */
    bool (*fits)(const struct kvm_vm *vm);
    void (*policy)(struct debug_object *obj, struct debug_policy *ret);
    /* What would allow it: "allow=read-write on the object". */
    const char *(*remedy)(struct debug_object *obj, bool write);
    /*
     * Copy private memory: all of one memory_piece (debug_memory.h), any alignment.
     * The policy has been asked.  False with the error set: why, without the address.
     */
    bool (*copy)(struct debug_object *obj, struct debug *dbg, uint64_t gpa, void *buf,
                 uint64_t size, bool write, GError **error);
    /* Bits of a page-table entry that aren't part of the address (C-bit). NULL: none. */
    uint64_t (*entry_mask)(struct debug_object *obj);
};

void debug_register_objects(void);

/* NULL with the error set: no such object, or none for debugging. */
struct debug_object *debug_object_find(const char *id, GError **error);

/* sw_protected_debug.c */
extern const struct debug_object_type sw_protected_debug_type;

#endif
