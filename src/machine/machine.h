/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One virtual machine: its memory, board and vCPUs, and the states that it goes
 * through.
 *
 * Main thread, except what vCPUs do in their exit handlers (exits.c): those leave
 * requests, and the main thread carries them out.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include "accel.h"
#include "config.h"
#include "monitor.h"

struct machine;

/*
 * machine_needs - what KVM must offer for this, settled after the -object options
 * have been carried out.  False: the options contradict one another.
 */
bool machine_needs(const struct machine_config *cfg, struct kvm_needs *needs, GError **error);

/*
 * machine_new - VM, memory, vCPUs and board, loaded and ready to run, state
 * "prelaunch".  cfg stays the caller's and must live as long.  The serial ports that
 * cfg has are there, and lead nowhere yet.
 * machine_free(NULL) is fine; machine_free() stops the vCPUs.
 */
struct machine *machine_new(const struct machine_config *cfg, const struct kvm_driver *driver,
                            const struct kvm_needs *needs, GError **error);
void machine_free(struct machine *m);
/* Serial port number index leads to chr, which must outlive the machine. */
bool machine_connect_serial(struct machine *m, unsigned index, struct chardev *chr, GError **error);

/* -gdb: where debuggers are served. */
bool machine_serve_gdb(struct machine *m, const char *device, GError **error);

/* -device: TYPE,id=ID,... Before the machine runs. */
bool machine_add_device(struct machine *m, const char *option, GError **error);

/* What monitors need; lives as long as the machine. */
const struct monitor_vm *machine_monitor_vm(struct machine *m);

/* Start (unless -S), and run the main loop until the machine ends. */
bool machine_run(struct machine *m, GError **error);

/* End the main loop: SHUTDOWN event with this reason of QMP's (host-signal, ...). */
void machine_end(struct machine *m, const char *reason);

#endif
