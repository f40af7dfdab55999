/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM as a client of KVM sees it: system, VM and vCPU descriptors, what this
 * KVM can do, and the loop around KVM_RUN.
 *
 * Results are 0 (or a value) and -errno, exactly the one that KVM gave.  No
 * messages: those above say what the user asked for.
 */
#ifndef KVM_VM_H
#define KVM_VM_H

#include "driver.h"
#include "kvm_uapi.h"

#include <stdbool.h>
#include <stdint.h>

/* How this VM's private/shared attribute is set: settled once, from capabilities. */
enum kvm_attributes_regime {
    KVM_ATTRIBUTES_NONE,        /* no private memory */
    KVM_ATTRIBUTES_VM,          /* KVM_SET_MEMORY_ATTRIBUTES: two backings */
    KVM_ATTRIBUTES_VM2,         /* KVM_SET_MEMORY_ATTRIBUTES2 on the VM: two backings */
    KVM_ATTRIBUTES_GUEST_MEMFD, /* KVM_SET_MEMORY_ATTRIBUTES2 on the file: in place */
    /*
     * SEV: each entry of the guest's page tables says it of an access.  KVM isn't asked; what
     * the guest tells (KVM_HC_MAP_GPA_RANGE) is what there is to record.
     */
    KVM_ATTRIBUTES_ENCRYPTED,
};

static inline bool kvm_attributes_per_vm(enum kvm_attributes_regime regime)
{
    return regime == KVM_ATTRIBUTES_VM || regime == KVM_ATTRIBUTES_VM2;
}

/* For people. */
static inline const char *kvm_attributes_text(enum kvm_attributes_regime regime)
{
    switch (regime) {
    case KVM_ATTRIBUTES_VM: return "attributes per VM, two backings";
    case KVM_ATTRIBUTES_VM2: return "attributes per VM by version 2, two backings";
    case KVM_ATTRIBUTES_GUEST_MEMFD: return "attributes per guest_memfd, converted in place";
    case KVM_ATTRIBUTES_ENCRYPTED: return "encrypted, by the guest's page tables";
    case KVM_ATTRIBUTES_NONE: break;
    }
    return "none";
}

struct kvm_sev;

struct kvm_vm {
    const struct kvm_driver *driver;
    int system_fd, vm_fd;
    uint32_t type;              /* KVM_X86_*_VM */
    enum kvm_attributes_regime regime;
    uint64_t guest_memfd_flags; /* valid GUEST_MEMFD_FLAG_*, 0 before Linux 6.18 */
    bool guest_memfd;           /* KVM_CREATE_GUEST_MEMFD and slots with it */
    int nr_memslots;
    size_t run_size;            /* of a vCPU's mapping */
    struct kvm_sev *sev;        /* sev_client.h; NULL: no SEV guest */
};

/* Which VM type a SEV guest has: Linux before 6.10 has none for it, and another command to start. */
enum kvm_sev_need {
    KVM_SEV_NONE, KVM_SEV_ANY_TYPE, KVM_SEV_OWN_TYPE, KVM_SEV_LEGACY_TYPE,
};

/* What a machine needs of a KVM, so that one can be chosen before anything is made. */
struct kvm_needs {
    uint32_t vm_type;
    bool two_backings;          /* private memory with attributes per VM */
    bool in_place;              /* private memory converted in place */
    bool guest_memfd_mmap;      /* guest_memfd as ordinary memory: MMAP and INIT_SHARED */
    bool encrypted;             /* SEV, or SEV-ES by vm_type */
    enum kvm_sev_need sev_type;
    const char *sev_device;     /* borrowed */
};

/*
 * kvm_vm_probe - can this driver's KVM do what is needed?
 * 0; -errno of opening it; -ENOTSUP with *missing the capability's name (static).
 */
int kvm_vm_probe(const struct kvm_driver *driver, const struct kvm_needs *needs,
                 const char **missing);

/* Open the system and create the VM.  On error nothing stays open. kvm_vm_free(NULL) is fine. */
int kvm_vm_new(const struct kvm_driver *driver, const struct kvm_needs *needs, struct kvm_vm **ret);
void kvm_vm_free(struct kvm_vm *vm);

/* KVM_CHECK_EXTENSION on the VM: 0 is "no"; errors count as 0. */
int kvm_vm_check_extension(struct kvm_vm *vm, unsigned cap);
int kvm_vm_ioctl(struct kvm_vm *vm, unsigned long request, void *arg);

/*
 * PIC, IOAPIC, LAPICs and PIT in KVM. Before the first vCPU. reserved_gpa: four pages
 * below 4 GiB where no RAM will be, for KVM's own use.
 */
int kvm_vm_create_irqchip(struct kvm_vm *vm, uint64_t reserved_gpa);

/* A guest_memfd descriptor (close with driver->close), or -errno. */
int kvm_vm_create_guest_memfd(struct kvm_vm *vm, uint64_t size, uint64_t flags);

/*
 * kvm_set_private - the attribute of a range, by whatever call the regime has.
 * @gpa: used in the per-VM regimes.  @fd, @offset: used in the guest_memfd one.
 * *error_offset (may be NULL): with -EAGAIN, where in [0, size) the busy page is.
 * -EAGAIN is retried a bounded number of times here.
 */
int kvm_set_private(struct kvm_vm *vm, uint64_t gpa, int fd, uint64_t offset, uint64_t size,
                    bool private_, uint64_t *error_offset);

/*
 * kvm_private_run - for tests: what KVM itself holds of a page, and how many bytes
 * from there on are the same.  -ENOTSUP: this one doesn't tell.
 */
int kvm_private_run(struct kvm_vm *vm, uint64_t gpa, int fd, uint64_t offset, bool *ret_private,
                    uint64_t *ret_size);

struct kvm_slot {
    uint32_t id;
    uint64_t gpa, size, hva;
    bool readonly;
    int guest_memfd;            /* -1: none */
    uint64_t guest_memfd_offset;
};
/* size 0 deletes (only id counts then). */
int kvm_vm_set_slot(struct kvm_vm *vm, const struct kvm_slot *slot);

/*
 * vCPUs.  One thread each, made by kvm_vcpu_start().  Exits that the loop can't
 * settle go to the handler, on the vCPU's thread, without any lock held.
 */
struct kvm_vcpu;

enum kvm_exit_action {
    KVM_RESUME,                 /* enter the guest again */
    /*
     * Park this vCPU: the handler has asked somebody for a run state change, who parks and
     * waits for all vCPUs before the next kvm_vcpu_resume(), so that none is lost.
     */
    KVM_STOP,
};

struct kvm_exit_ops {
    enum kvm_exit_action (*pio)(void *opaque, struct kvm_vcpu *vcpu, uint16_t port, void *data,
                                unsigned size, unsigned count, bool write);
    enum kvm_exit_action (*mmio)(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa, void *data,
                                 unsigned size, bool write);
    enum kvm_exit_action (*memory_fault)(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                         uint64_t size, bool private_);
    /* KVM_HC_MAP_GPA_RANGE; *ret goes to the guest's RAX. */
    enum kvm_exit_action (*map_gpa_range)(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                          uint64_t size, bool private_, uint64_t *ret);
    /*
     * Everything else that ends in a decision: KVM_EXIT_SHUTDOWN, _INTERNAL_ERROR, _FAIL_ENTRY,
     * _SYSTEM_EVENT, _HLT without an irqchip, an exit that nobody knows; error is 0 or what
     * KVM_RUN failed with (-errno).  exit_text says it for people, valid during the call.
     */
    enum kvm_exit_action (*stopped)(void *opaque, struct kvm_vcpu *vcpu, uint32_t exit_reason,
                                    int error, const char *exit_text);
    /* KVM_EXIT_DEBUG: what KVM_SET_GUEST_DEBUG asked for. NULL: nobody did. */
    enum kvm_exit_action (*debug)(void *opaque, struct kvm_vcpu *vcpu,
                                  const struct kvm_debug_exit_arch *exit);
};

int kvm_vcpu_new(struct kvm_vm *vm, unsigned index, const struct kvm_exit_ops *ops, void *opaque,
                 struct kvm_vcpu **ret);
void kvm_vcpu_free(struct kvm_vcpu *vcpu);      /* stops and joins its thread first */
struct kvm_vm *kvm_vcpu_vm(const struct kvm_vcpu *vcpu);
unsigned kvm_vcpu_index(const struct kvm_vcpu *vcpu);
int kvm_vcpu_thread_id(const struct kvm_vcpu *vcpu);    /* gettid() of it; 0 before start */
int kvm_vcpu_ioctl(struct kvm_vcpu *vcpu, unsigned long request, void *arg);
struct kvm_run *kvm_vcpu_run_page(struct kvm_vcpu *vcpu);

/*
 * What the guest's CPUID shows: all that this KVM supports, as one package with
 * vcpus cores, x2APIC id = index.  With private memory also the hypercall by which
 * the guest converts it.  -errno of KVM, -ENOMEM.
 */
int kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, unsigned vcpus);

/* One leaf of what this KVM supports. 0 or -errno; -ENOENT: there is no such leaf. */
int kvm_vm_cpuid(struct kvm_vm *vm, uint32_t function, uint32_t index, struct kvm_cpuid_entry2 *ret);

/* Bits of a guest-physical address on this KVM (CPUID 0x80000008); 36 where it doesn't say. */
unsigned kvm_vm_address_bits(struct kvm_vm *vm);

/* Create the thread, parked. */
int kvm_vcpu_start(struct kvm_vcpu *vcpu);
/* Let it run; safe when it runs already. */
void kvm_vcpu_resume(struct kvm_vcpu *vcpu);
/*
 * Ask it to park; kvm_vcpu_wait_parked() returns when it is outside KVM_RUN with
 * its last exit completed, so that registers may be read.  Not from its own thread.
 * A vCPU without a thread is parked.
 */
void kvm_vcpu_park(struct kvm_vcpu *vcpu);
void kvm_vcpu_wait_parked(struct kvm_vcpu *vcpu);
bool kvm_vcpu_is_self(const struct kvm_vcpu *vcpu);
/*
 * Keep it parked for a look at it, whatever resume and park say meanwhile; they
 * take effect when the last hold is released.  Not from its own thread, nor with
 * a lock held that its exit handler takes.
 */
void kvm_vcpu_hold(struct kvm_vcpu *vcpu);
void kvm_vcpu_release(struct kvm_vcpu *vcpu);

/* Names for messages and traces: "KVM_EXIT_SHUTDOWN". Never NULL. */
const char *kvm_exit_name(uint32_t exit_reason);

#endif
