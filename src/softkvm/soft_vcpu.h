/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vCPU behind a vCPU descriptor.
 *
 * vcpu->mutex is held during each of its ioctls, all of KVM_RUN included.
 * vcpu->run_lock is held while the processor executes, and by every other ioctl;
 * vm_pause() takes it, so nothing else may be waited for with it held.
 */
#ifndef SOFTKVM_SOFT_VCPU_H
#define SOFTKVM_SOFT_VCPU_H

#include "cpu.h"
#include "kvm_uapi.h"
#include "vcpu_cpuid.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/select.h>         /* sigset_t, without the register names of <signal.h> */

struct lapic;
struct vm;

enum {
    VCPU_RUN_SIZE = 3 * 4096,   /* struct kvm_run, the page of port data, that of the ring */
    VCPU_PIO_OFFSET = 4096,
    VCPU_RING_OFFSET = KVM_COALESCED_MMIO_PAGE_OFFSET * 4096,
    ACCESS_LOG_MAX = 16,
};

enum access_kind { KIND_MMIO, KIND_PORT, KIND_MSR };

/*
 * What steps of KVM_RUN's loop return: go on, or KVM_RUN's result (0 or -errno).
 * The processor's callbacks say besides that an instruction, or this use of it,
 * isn't implemented.
 */
enum { RUN_ON = 1, RUN_EMULATION_FAILED };

/*
 * The accesses that the current instruction made outside RAM, in order.  An
 * instruction that had to be left for user space starts anew afterwards; what
 * it did already is answered from here.
 */
struct access_log {
    unsigned count;             /* done */
    unsigned next;              /* how many of those this execution has asked again */
    bool waiting;               /* entry[count] is with user space */
    struct logged_access {
        uint64_t address;       /* or port, or index */
        uint8_t size;
        uint8_t kind;           /* enum access_kind */
        bool write;
        uint16_t count;         /* elements of KIND_PORT; more than one: all in vcpu->pio_run */
        uint8_t data[8];
    } entry[ACCESS_LOG_MAX];
};

struct vcpu {
    struct vm *vm;
    uint32_t id, index;
    struct cpu *cpu;
    struct lapic *lapic;        /* NULL: interrupts are user space's */
    bool split_irqchip;         /* there is a lapic, but the PICs are user space's */

    pthread_mutex_t mutex, run_lock;
    bool in_guest;              /* atomic: within cpu_run(), for the ticker */
    bool asleep;                /* atomic: waits in HLT; wake_fd gets it out */
    int wake_fd;                /* made when it first sleeps; -1: not yet, or none could be had */

    struct kvm_run *run;
    int exit_result;            /* of KVM_RUN after CPU_EXIT_ACCESS */
    bool wants_page;            /* a SEV guest's, in the other view than it is */
    uint64_t wanted_page;       /* with the C-bit, or without */
    struct access_log log;
    uint8_t pio_run[CPU_PIO_RUN];
    bool hypercall_waiting;     /* run->hypercall.ret is to be taken */

    uint32_t mp_state;          /* KVM_MP_STATE_* */
    uint32_t sipi_vector;
    unsigned nmis;              /* from KVM_NMI, not yet taken */
    bool smi;                   /* from KVM_SMI; these two where there is no lapic */
    uint64_t smi_count;         /* taken */
    int interrupt;              /* from KVM_INTERRUPT: vector, or -1 */
    uint64_t apic_base, tpr;    /* where there is no lapic */
    uint64_t vapic_addr;        /* KVM_SET_VAPIC_ADDR; 0: none */
    bool report_tpr;            /* KVM_TPR_ACCESS_REPORTING */
    enum { TPR_UNUSED, TPR_READ, TPR_WRITE } tpr_access;        /* of this instruction */

    bool has_sigmask;           /* KVM_SET_SIGNAL_MASK */
    sigset_t sigmask;

    bool has_run;               /* CPUID is fixed from the first KVM_RUN on */
    struct kvm_cpuid_entry2 *cpuid;
    uint32_t nr_cpuid;

    uint32_t tsc_khz;
    uint64_t tsc_offset, tsc_adjust;
    uint64_t kvmclock_msr, wall_clock_msr;
    bool kvmclock_stale;        /* atomic: to be written before the next entry */
    bool kvmclock_stopped;      /* KVM_KVMCLOCK_CTRL */
    bool wall_clock_due;        /* was asked for, and the page couldn't be had yet */

    struct {
        uint64_t msr;           /* MSR_KVM_STEAL_TIME */
        bool stale;             /* to be written before the next entry */
        bool has_thread;        /* whose waits were last looked at: */
        pthread_t thread;
        uint64_t switches, run_delay;
    } steal;

    bool triple_fault;          /* shut down instead of going on */
    /* An exception of KVM_SET_VCPU_EVENTS that is in cpu->event; CR2, DR6 are to follow. */
    struct {
        bool pending, has_payload;
        uint8_t vector;
        uint64_t payload;
    } given;

    bool pv_enforced;           /* KVM_CAP_ENFORCE_PV_FEATURE_CPUID */
    bool block_irq;             /* KVM_GUESTDBG_BLOCKIRQ */
    uint64_t hwcr, platform_info, migration_control;    /* the MSRs */

    uint64_t exits[64];         /* by KVM_EXIT_*; statistics, atomic */
};

/* KVM_CREATE_VCPU: a descriptor or -errno. */
int vcpu_create(struct vm *vm, unsigned long id);
/* With the VM; nobody uses it any more. */
void vcpu_free(struct vcpu *vcpu);

/* KVM_RUN. */
int vcpu_run(struct vcpu *vcpu);

/* Make it look at its interrupts and requests; any thread, any lock but run_lock may be held. */
void vcpu_kick(struct vcpu *vcpu);

/* First guest-physical address beyond what CPUID 0x80000008 allows. */
uint64_t vcpu_gpa_limit(void);

/* The processor's callbacks; opaque is the vCPU. */
extern const struct cpu_ops vcpu_cpu_ops;

/* An exception (error code 0 where it has one) for the instruction at rip to end with. */
void vcpu_inject_fault(struct vcpu *vcpu, uint8_t vector);

/*
 * Take what user space answered to the access that is out.  After that the
 * instruction may be started again.
 */
void vcpu_complete_access(struct vcpu *vcpu);

#endif
