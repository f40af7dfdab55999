/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Coalesced MMIO and PIO: writes to zones that user space named are put into a ring
 * that it finds in each vCPU's mapping, and looked at when the guest comes out for
 * something else.  Source: Linux 6.12 Documentation/virt/kvm/api.rst, 4.116.
 */
#ifndef SOFTKVM_COALESCED_H
#define SOFTKVM_COALESCED_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct coalesced;
struct vm;

struct coalesced *coalesced_new(void);          /* NULL without memory */
void coalesced_free(struct coalesced *io);      /* or NULL */

/*
 * KVM_REGISTER_COALESCED_MMIO and KVM_UNREGISTER_COALESCED_MMIO, which takes away all
 * zones that contain this one.  -EINVAL, -ENOSPC, -ENOMEM or what making the ring met.
 */
int coalesced_register(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone);
int coalesced_unregister(struct vm *vm, const struct kvm_coalesced_mmio_zone *zone);

/* A guest's write, by a vCPU in the guest; false: no zone's, or the ring is full. */
bool coalesced_write(struct coalesced *io, bool port, uint64_t address, const void *data,
                     unsigned size);

/* Put the ring's page where the caller has a mapping already. 0 or -errno. */
int coalesced_map(struct coalesced *io, void *at, int prot, int flags);

#endif
