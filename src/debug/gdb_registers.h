/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A vCPU's registers as gdb numbers, sizes and describes them ("Debugging with GDB",
 * G.5.6, i386 features): the 64-bit core, SSE, segment bases, and the system registers.
 * The description is of 64 bits whatever mode the vCPU is in: gdb can't change it.
 */
#ifndef DEBUG_GDB_REGISTERS_H
#define DEBUG_GDB_REGISTERS_H

#include "vm.h"

#include <glib.h>

struct gdb_registers {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
    uint64_t kernel_gs_base;
    /* What gdb_register_set() has changed. */
    bool regs_changed, sregs_changed, fpu_changed, kernel_gs_base_changed;
};

enum {
    GDB_REGISTER_MAX = 16,      /* bytes of the widest */
    GDB_RIP = 16,
};

/* The vCPU is parked. False: KVM doesn't show or take them (a protected guest's). */
bool gdb_registers_load(struct kvm_vcpu *vcpu, struct gdb_registers *ret, GError **error);
bool gdb_registers_store(struct kvm_vcpu *vcpu, const struct gdb_registers *r, GError **error);

/* Bytes of register n, 0: there is none. */
size_t gdb_register_size(unsigned n);
void gdb_register_get(const struct gdb_registers *r, unsigned n, uint8_t *value);
/* False: this one can't become that. */
bool gdb_register_set(struct gdb_registers *r, unsigned n, const uint8_t *value, GError **error);

/* target.xml; never freed. */
const char *gdb_target_xml(void);

#endif
