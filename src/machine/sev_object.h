/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * -object sev-guest: what its owner wants of a SEV guest, and its launch as QEMU has
 * it: encrypted and measured when the machine is ready, finished when it first runs.
 */
#ifndef MACHINE_SEV_OBJECT_H
#define MACHINE_SEV_OBJECT_H

#include "config.h"
#include "memory.h"

struct sev_object;               /* begins with struct object */

void sev_register_object(void);

/* The object of -machine confidential-guest-support=; NULL with the error set. */
struct sev_object *sev_object_find(const char *id, GError **error);

/* What KVM must have for it. needs borrows from the object. */
void sev_object_needs(const struct sev_object *sev, struct kvm_needs *needs);
bool sev_object_kernel_hashes(const struct sev_object *sev);

/* No objects from now on: the machine is what it was started as. */
void sev_object_no_more(void);

/* The VM is new: its C-bit as asked, INIT and LAUNCH_START.  The object is in use from now on. */
bool sev_object_start(struct sev_object *sev, struct kvm_vm *vm, GError **error);
/* The machine is gone. */
void sev_object_release(struct sev_object *sev);
/* All is encrypted. */
bool sev_object_measure(struct kvm_vm *vm, GError **error);
/* Before the guest first runs; any time later too, for nothing. */
bool sev_object_finish(struct kvm_vm *vm, GError **error);

#endif
