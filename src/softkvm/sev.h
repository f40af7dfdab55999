/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SEV as KVM offers it: KVM_MEMORY_ENCRYPT_OP and what belongs to it, between the
 * firmware (sev_guest.h) and the memory of the VM (sev_memory.h).
 * Source: Linux 6.12 Documentation/virt/kvm/x86/amd-memory-encryption.rst and
 * arch/x86/kvm/svm/sev.c for errnos.
 */
#ifndef SOFTKVM_SEV_H
#define SOFTKVM_SEV_H

#include "kvm_uapi.h"

#include <stdbool.h>
#include <stdint.h>

struct memslot;
struct softkvm_options;
struct vcpu;
struct vm;

#define SEV_CPUID_LEAF 0x8000001fu

enum {
    SEV_C_BIT = 51,             /* of page-table entries */
    SEV_GUESTS = 509,           /* what CPUID says of address space ids: as many as EPYC has */
    SEV_CPUID_EAX = 1 << 1,     /* of leaf 0x8000001f: SEV, and nothing beyond */
};

struct sev;

/* KVM_MEMORY_ENCRYPT_OP; arg is the caller's pointer. */
int sev_op(struct vm *vm, unsigned long arg);
/* KVM_MEMORY_ENCRYPT_REG_REGION and UNREG_REGION. */
int sev_register(struct vm *vm, const struct kvm_enc_region *region);
int sev_unregister(struct vm *vm, const struct kvm_enc_region *region);

/* KVM_X86_GRP_SEV of the device attributes: -ENXIO, or its value. */
int sev_device_attr(const struct softkvm_options *options, uint64_t attr, uint64_t *value);

/* A slot comes and goes; vm->lock held, the VM paused for the second. */
int sev_slot_add(struct vm *vm, const struct memslot *slot);
void sev_slot_remove(struct vm *vm, const struct memslot *slot);

/* KVM_RUN: 0: go on; else its result, kvm_run being filled. */
enum sev_run { SEV_RUN_ON, SEV_RUN_NEVER, SEV_RUN_NO_KEY };
enum sev_run sev_may_run(struct vm *vm);

/* A vCPU's access to the page at hva: sev_memory_enter(). */
int sev_page(struct vm *vm, uint64_t hva, bool encrypted, uint8_t **host);
/* A vCPU left the guest for a page that is in the other view: 0 or -errno for KVM_RUN. */
int sev_switch_page(struct vcpu *vcpu);

void sev_free(struct vm *vm);

/* "/dev/sev": a descriptor or -errno; and is this one? */
int sev_device_open(void);
bool sev_device_is(int fd);

#endif
