/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gdb stub: gdb's remote serial protocol ("Debugging with GDB", appendix E) for
 * one machine.  Its vCPUs are threads 1, 2, ... of process 1; a stop stops all.
 * Guest memory is reached through debug.h only.
 *
 * Main thread, but for gdb_debug_exit().  Breakpoints change only while every vCPU
 * is parked, so that a vCPU may look at them without a lock.
 */
#ifndef DEBUG_GDB_H
#define DEBUG_GDB_H

#include "debug.h"

enum { GDB_MAX_CPUS = 64 };

/* What the stub asks of the machine; called on the main thread without locks. */
struct gdb_host {
    void *opaque;
    struct kvm_vm *kvm;
    struct debug *debug;
    unsigned (*cpu_count)(void *opaque);        /* up to GDB_MAX_CPUS */
    struct kvm_vcpu *(*cpu)(void *opaque, unsigned index);
    const char *(*status)(void *opaque);        /* QEMU's RunState: "running", "debug", ... */
    void (*stop)(void *opaque);                 /* all parked on return; gdb_stopped() is called */
    /* Let the CPUs of this mask run. */
    bool (*resume)(void *opaque, uint64_t cpus, GError **error);
    void (*kill)(void *opaque);                 /* end the program */
    char *(*command)(void *opaque, const char *line);   /* of the monitor; caller frees */
};

struct gdb;

/* host is copied.  gdb_free(NULL) is fine; its client is told that the machine is gone. */
struct gdb *gdb_new(const struct gdb_host *host);
void gdb_free(struct gdb *gdb);

/*
 * gdb_listen - serve debuggers there, and no longer where they were served before:
 * "tcp:[HOST]:PORT" (a server, loopback without a host), "unix:PATH" (likewise),
 * or any other of chardev_new()'s forms; "none".  One client at a time, others are
 * turned away.  False: nobody is served.
 */
bool gdb_listen(struct gdb *gdb, const char *device, GError **error);

/* A debugger has connected and not gone. */
bool gdb_is_connected(const struct gdb *gdb);

/*
 * All vCPUs are parked: tell KVM of breakpoints and steps, before they run; or of
 * none, so that nothing else that borrows a vCPU meets them.
 */
bool gdb_arm(struct gdb *gdb, GError **error);
void gdb_disarm(struct gdb *gdb);
/* The machine has left "running" (and is disarmed), or was reset and has been loaded again. */
void gdb_stopped(struct gdb *gdb);
void gdb_was_reset(struct gdb *gdb);

/*
 * A vCPU's KVM_EXIT_DEBUG, on its own thread.  True: a debugger's: park, and have
 * the main thread stop the machine in state "debug".  False: it was the guest's own
 * INT3 or #DB, which it has been given: run on.
 */
bool gdb_debug_exit(struct gdb *gdb, unsigned cpu, const struct kvm_debug_exit_arch *exit);
/* Some vCPU has come to a debugger's stop that isn't reported yet. */
bool gdb_has_hit(const struct gdb *gdb);

#endif
