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
    /* Set when a machine takes it. */
    const struct debug_object_type *kind;
    struct kvm_vm *vm;
};

/* What is allowed of private memory. */
struct debug_policy {
    bool read, write;
    bool while_running;         /* read also while the guest runs; written never */
    char text[80];              /* how the policy spells it: "allow=read" */
};

struct debug_object_type {
    struct object_type object;
    const char *vms;            /* the VMs that it is for, for people: "kvm-type=sw-protected-vm" */
    bool (*fits)(const struct kvm_vm *vm);
    /* What of the command line would allow it, where there is no object. */
    const char *(*offer)(const struct kvm_vm *vm, bool write);
    void (*policy)(struct debug_object *obj, struct debug_policy *ret);
    /* What would allow it: "allow=read-write on the object". */
    const char *(*remedy)(struct debug_object *obj, bool write);
    /*
     * Copy private memory: all of one memory_piece (debug_memory.h), any alignment; view
     * DEBUG_PRIVATE: whatever the record says.  The policy has been asked.
     * False with the error set: why, without the address.
     */
    bool (*copy)(struct debug_object *obj, struct debug *dbg, enum debug_view view, uint64_t gpa,
                 void *buf, uint64_t size, bool write, GError **error);
    /* The bit of page-table entries that encrypts, and isn't part of the address. NULL: none. */
    uint64_t (*private_bit)(const struct kvm_vm *vm);
    /* Why registers aren't to be seen; NULL, or NULL from it: they are. */
    const char *(*registers)(const struct kvm_vm *vm);
};

void debug_register_objects(void);

/* What these VMs need; NULL: nothing, they have no private memory. */
const struct debug_object_type *debug_object_kind(const struct kvm_vm *vm);
/* For this VM.  NULL with the error set: no such object, none for debugging, or for others. */
struct debug_object *debug_object_find(const char *id, struct kvm_vm *vm, GError **error);

/* sw_protected_debug.c, sev_debug.c */
extern const struct debug_object_type sw_protected_debug_type, sev_debug_type;

#endif
