/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What machine.c, run_state.c and exits.c know of one another. */
#ifndef MACHINE_INTERNAL_H
#define MACHINE_INTERNAL_H

#include "boot.h"
#include "debug.h"
#include "firmware.h"
#include "gdb.h"
#include "machine.h"
#include "power_on.h"
#include "q35.h"
#include "sev_object.h"
#include "main_timer.h"

enum run_state {
    STATE_PRELAUNCH, STATE_RUNNING, STATE_PAUSED, STATE_SHUTDOWN, STATE_INTERNAL_ERROR,
    STATE_GUEST_PANICKED, STATE_DEBUG,
};

/* What a vCPU asked for; carried out in this order. */
enum machine_request {
    REQUEST_SHUTDOWN = 1 << 0,
    REQUEST_RESET = 1 << 1,
    REQUEST_PANIC = 1 << 2,
    REQUEST_INTERNAL_ERROR = 1 << 3,
    REQUEST_DEBUG = 1 << 4,
};

struct machine_cpu {
    struct machine *machine;
    struct kvm_vcpu *vcpu;
    struct vcpu_state *power_on;
    /* exits.c, on the vCPU's own thread: memory faults on the same page one after another. */
    uint64_t fault_gpa;
    bool fault_private;
    unsigned faults;
};

struct machine {
    const struct machine_config *cfg;
    struct kvm_vm *vm;
    struct memory *mem;
    uint64_t ram_size;
    uint64_t device_memory, device_memory_size; /* for memory devices; size 0: none can come */
    bool protected;             /* all RAM is made private before the guest runs */
    struct sev_object *sev;      /* then too: it encrypts its memory; NULL: it doesn't */
    struct boot *boot;          /* NULL: no kernel */
    struct firmware *firmware;  /* NULL: none; with neither there is nothing to boot */
    struct q35 *board;
    struct devices *devices;    /* the board's */
    struct debug *debug;
    struct gdb *gdb;            /* serves nobody unless asked */
    struct irqchip_state *irqchip_power_on;
    struct machine_cpu cpus[MACHINE_MAX_CPUS];
    unsigned nr_cpus;
    enum run_state state;
    unsigned requests;          /* atomic: enum machine_request */
    struct main_timer *request_timer;        /* wakes the main thread for them */
    GMainLoop *loop;
    struct monitor_vm monitor_vm;
};

/* machine.c: everything into guest memory, entry into vCPU 0, launched. All are parked. */
bool machine_load(struct machine *m, GError **error);

/* needs.c: the RAM's backend object; NULL without an error: none was named. */
bool machine_find_backend(const struct machine_config *cfg, struct memory_backend **ret,
                          GError **error);

/* run_state.c */
unsigned machine_cpu_count(void *opaque);
struct kvm_vcpu *machine_cpu(void *opaque, unsigned index);     /* NULL: none */
void run_state_init(struct machine *m);
void run_state_park_all(struct machine *m);
bool run_state_start(struct machine *m, GError **error);
/* The same, but for the vCPUs of this mask only: the others stay where they are. */
bool run_state_start_some(struct machine *m, uint64_t cpus, GError **error);
/* To "paused", if it runs. */
void run_state_pause(struct machine *m);
const char *run_state_name(const struct machine *m);
/* Any thread. */
void machine_request(struct machine *m, enum machine_request request);
static inline bool machine_has_request(const struct machine *m)
{
    return __atomic_load_n(&m->requests, __ATOMIC_ACQUIRE) != 0;
}

/* debugger.c: the gdb stub and what it asks of the machine. */
struct gdb *debugger_new(struct machine *m);

/* exits.c */
extern const struct kvm_exit_ops machine_exit_ops;

#endif
