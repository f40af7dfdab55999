/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The VM behind a VM descriptor.
 *
 * Lock order: vcpu->mutex, vm->lock, the vcpu->run_lock of all vCPUs (by index;
 * vm_pause() takes them), the registry of guest_memfd mappings, the irqchip's.
 * A vCPU in the guest holds its run_lock only.
 */
#ifndef SOFTKVM_SOFT_VM_H
#define SOFTKVM_SOFT_VM_H

#include "code_words.h"
#include "irqchip.h"
#include "memslot.h"
#include "softkvm.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* As Linux: four ids for each, as topologies leave gaps. */
enum { VM_MAX_VCPUS = 1024, VM_MAX_VCPU_IDS = 4 * VM_MAX_VCPUS };

struct attr_map;
struct coalesced;
struct eventfds;
struct msr_filter;
struct sev;
struct ticker;
struct vcpu;

struct vm {
    unsigned refs;              /* VM and vCPU descriptors, guest_memfds; atomic */
    struct softkvm_options options;
    uint32_t type;

    pthread_mutex_t lock;
    bool paused;                /* atomic: vCPUs keep out of the guest */

    struct memslots slots;
    struct memslots smm_slots;          /* address space 1: what vCPUs in SMM see */
    struct attr_map *private_gfns;      /* KVM_SET_MEMORY_ATTRIBUTES */
    struct code_words_pool code_words;
    struct sev *sev;            /* NULL: not encrypted; set before there are vCPUs */
    uint64_t c_bit;             /* of addresses and page-table entries; 0 without sev */

    struct vcpu *vcpus[VM_MAX_VCPUS];   /* in order of creation; atomic, only grows */
    unsigned nr_vcpus;                  /* atomic */
    struct vcpu *vcpu_by_id[VM_MAX_VCPU_IDS];   /* atomic */

    struct irqchip *irqchip;
    struct eventfds *eventfds;
    struct coalesced *coalesced;
    struct ticker *ticker;

    uint32_t boot_cpu_id;
    uint32_t max_vcpu_id;       /* KVM_CAP_MAX_VCPU_ID as enabled: ids are below; 0: not */
    bool platform_info_denied;  /* the guest gets #GP from MSR_PLATFORM_INFO; atomic */
    struct msr_filter *msr_filter;      /* NULL: all allowed; changes while the VM is paused */
    uint32_t msr_exits;         /* KVM_MSR_EXIT_REASON_* that go to user space; atomic */
    uint64_t manual_dirty_log;  /* KVM_DIRTY_LOG_MANUAL_* as enabled; under lock */
    bool hlt_in_guest;          /* KVM_X86_DISABLE_EXITS_HLT; atomic */
    bool exit_on_emulation_failure;     /* atomic, as are the next two */
    bool exception_payload, triple_fault_event;
    uint64_t disabled_quirks;   /* KVM_X86_QUIRK_*; changes while the VM is paused */
    uint64_t hypercall_exits;   /* mask of KVM_HC_* that go to user space; atomic */
    struct {
        uint64_t ticks, ns;
    } clock;                    /* kvm-clock at host_ticks(); changes while the VM is paused */
    uint64_t created_ticks;     /* of the host */
    uint64_t last_tsc_offset;   /* of the last host write to a vCPU's TSC; atomic */
    uint32_t last_tsc_khz;      /* of that vCPU; 0: there was none; atomic */
    uint32_t default_tsc_khz;   /* atomic */
    uint64_t conversions;       /* atomic; statistics */
};

/* KVM_CREATE_VM: a descriptor or -errno. */
int vm_create(const struct softkvm_options *options, unsigned long type);
void vm_get(struct vm *vm);
void vm_put(struct vm *vm);

/* KVM_CAP_DISABLE_QUIRKS2. */
uint64_t vm_valid_quirks(void);

/* KVM_CREATE_VM's mask of types, and whether a type has private memory. */
uint32_t vm_types(const struct softkvm_options *options);
bool vm_has_private_memory(const struct vm *vm);

/* How many there are for slots: a second one is for SMM. vm NULL: at most. */
unsigned vm_address_spaces(const struct vm *vm);

/*
 * KVM_CAP_MEMORY_ATTRIBUTES, KVM_CAP_MEMORY_ATTRIBUTES2 and
 * KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES; vm NULL: system scope.
 */
uint64_t vm_valid_attributes(const struct softkvm_options *options, const struct vm *vm);
uint64_t vm_valid_attributes2(const struct softkvm_options *options, const struct vm *vm);
uint64_t guest_memfd_valid_attributes(const struct softkvm_options *options, const struct vm *vm);

/*
 * vm_pause - take every vCPU out of the guest and keep it out until vm_resume().
 * vm->lock must be held.  What a vCPU reads in the guest without a lock may be
 * changed in between, and cpu_flush_gpa() called.
 */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* Forget translations of the range on all vCPUs; between vm_pause() and vm_resume(). */
void vm_flush_gpa(struct vm *vm, uint64_t gpa, uint64_t size);

/* NULL: none. Lock-free. */
struct vcpu *vm_vcpu_by_id(struct vm *vm, uint32_t id);

/* KVM_SET_MEMORY_ATTRIBUTES, and KVM_SET_MEMORY_ATTRIBUTES2 on the VM. */
int vm_set_attributes(struct vm *vm, const struct kvm_memory_attributes *attrs);
int vm_set_attributes2(struct vm *vm, const struct kvm_memory_attributes2 *attrs);

#endif
