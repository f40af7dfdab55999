/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SEV and SEV-ES as a client of KVM drives them: KVM_MEMORY_ENCRYPT_OP on the VM and
 * the platform's /dev/sev.  A guest's launch is: start, update (n times), measure,
 * secrets if any, finish; the client follows its state.
 *
 * Results are 0 or -errno.  -EIO comes with the firmware's code in *fw (which may be
 * NULL; 0 with all other results).  Main thread, vCPUs parked or not.
 * Source: Linux Documentation/virt/kvm/x86/amd-memory-encryption.rst, <linux/psp-sev.h>.
 */
#ifndef KVM_SEV_CLIENT_H
#define KVM_SEV_CLIENT_H

#include "vm.h"

enum kvm_sev_state {            /* the firmware's numbers */
    KVM_SEV_UNINIT, KVM_SEV_LAUNCH_UPDATING, KVM_SEV_LAUNCH_MEASURED, KVM_SEV_RUNNING,
    KVM_SEV_RECEIVING, KVM_SEV_SENDING,
};

enum {
    KVM_SEV_POLICY_NODBG = 1 << 0, KVM_SEV_POLICY_NOKS = 1 << 1, KVM_SEV_POLICY_ES = 1 << 2,
    KVM_SEV_NONCE_SIZE = 16,
    KVM_SEV_MEASUREMENT_MAX = 256,      /* 48 bytes today */
};

/* vm->sev; NULL there: not a guest of this kind. */
struct kvm_sev {
    int device;                 /* the platform's descriptor; the VM's for as long as it lives */
    unsigned c_bit;             /* which bit of a page-table entry; from KVM's CPUID */
    unsigned reduced_bits;      /* of addresses, for the guest's CPUID; the machine's choice */
    uint8_t api_major, api_minor, build;
    enum kvm_sev_state state;
    uint32_t policy, handle;
    uint8_t measurement[KVM_SEV_MEASUREMENT_MAX];       /* from LAUNCH_MEASURED on */
    uint32_t measurement_size;
    uint64_t migration_control; /* atomic: what the guest wrote to MSR_KVM_MIGRATION_CONTROL */
};

struct kvm_sev_start {
    uint32_t policy, handle;
    const void *dh_cert, *session;      /* the owner's, or NULL */
    uint32_t dh_cert_size, session_size;
};

/* For kvm_vm_new(): the device, and what the platform says. *missing as there. */
int kvm_sev_open(struct kvm_vm *vm, const char *device, const char **missing);
void kvm_sev_close(struct kvm_vm *vm);

/* KVM_SEV_INIT2 (or the legacy INITs) and LAUNCH_START. Before the first vCPU. */
int kvm_sev_launch_start(struct kvm_vm *vm, const struct kvm_sev_start *start, uint32_t *fw);
/* Plain bytes at a host address of guest memory, of whole 16-byte blocks, become the guest's. */
int kvm_sev_launch_update(struct kvm_vm *vm, void *host, uint64_t size, uint32_t *fw);
/* All vCPUs' registers first, with SEV-ES. */
int kvm_sev_launch_measure(struct kvm_vm *vm, uint32_t *fw);
/* The owner's packet for this guest's memory at host. */
int kvm_sev_launch_secret(struct kvm_vm *vm, void *host, const void *header, uint32_t header_size,
                          const void *data, uint32_t data_size, uint32_t *fw);
int kvm_sev_launch_finish(struct kvm_vm *vm, uint32_t *fw);
/* *ret is malloc()ed. */
int kvm_sev_attestation_report(struct kvm_vm *vm, const uint8_t nonce[KVM_SEV_NONCE_SIZE],
                               void **ret, uint32_t *ret_size, uint32_t *fw);

/*
 * The guest's private memory at a host address, as plain text: any alignment and size.
 * -EIO with code 7 (POLICY_FAILURE): its policy forbids it (KVM_SEV_POLICY_NODBG).
 */
int kvm_sev_debug_decrypt(struct kvm_vm *vm, const void *guest, void *to, uint32_t size,
                          uint32_t *fw);
int kvm_sev_debug_encrypt(struct kvm_vm *vm, void *guest, const void *from, uint32_t size,
                          uint32_t *fw);

/* KVM_MEMORY_ENCRYPT_REG_REGION and UNREG_REGION: memory that the guest has must stay put. */
int kvm_sev_register(struct kvm_vm *vm, void *host, uint64_t size);
int kvm_sev_unregister(struct kvm_vm *vm, void *host, uint64_t size);

/* The platform's, malloc()ed both: its Diffie-Hellman key's certificate, and those above it. */
struct kvm_sev_platform {
    uint8_t *pdh, *chain, *id;
    uint32_t pdh_size, chain_size, id_size;
};
/* Of a VM that has SEV, or of /dev/sev where KVM has it. -ENOTTY: this KVM has not. */
int kvm_sev_platform_get(struct kvm_vm *vm, struct kvm_sev_platform *ret, unsigned *ret_c_bit,
                         uint32_t *fw);
void kvm_sev_platform_clear(struct kvm_sev_platform *platform);

/* The firmware's code in a few words. Never NULL. */
const char *kvm_sev_error_text(uint32_t fw);

#endif
