/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Monitors: QMP for programs, HMP for people, over stdio, sockets and files.
 * One table of commands (commands.c) serves both.
 *
 * All of it runs on the main thread, in GLib's main loop; events may be emitted
 * from any thread.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "memory.h"

#include <glib.h>
#include <json-c/json.h>

/*
 * What the monitor asks of the machine.  The machine fills it; opaque goes back
 * to it.  Called on the main thread without locks.  Commands that change the
 * run state emit their events through monitor_event() before they return.
 */
struct debug;                   /* debug.h */
struct devices;                 /* device.h */

struct monitor_vm {
    void *opaque;
    struct memory *memory;
    struct kvm_vm *kvm;
    struct devices *devices;
    struct debug *debug;
    const char *(*status)(void *opaque);        /* QEMU's RunState: "running", "paused", ... */
    void (*stop)(void *opaque);
    bool (*cont)(void *opaque, GError **error);
    void (*reset)(void *opaque);
    void (*powerdown)(void *opaque);            /* ACPI power button */
    void (*quit)(void *opaque);
    bool (*gdbserver)(void *opaque, const char *device, GError **error);
    /* Where firmware expects the owner's secrets (SEV). False, or NULL: nowhere. */
    bool (*secret_area)(void *opaque, uint64_t *ret_gpa);
    unsigned (*cpu_count)(void *opaque);
    struct kvm_vcpu *(*cpu)(void *opaque, unsigned index);
    const char *name;                           /* -name, may be NULL */
    const char *uuid;                           /* -uuid, may be NULL */
};

struct monitor;                 /* one per -qmp, -monitor, -mon */

/*
 * A byte stream that a front end (monitor, serial port, gdbstub) uses:
 * stdio, unix:, tcp:, file:, null, pty.  chardev.h has the details.
 */
struct chardev;

enum monitor_mode { MONITOR_HMP, MONITOR_QMP, MONITOR_QMP_PRETTY };

/*
 * A front end of the chardev, which stays its owner's (chardev_free_all() comes
 * after monitor_free_all()).  vm must live as long.  NULL: the chardev is in use.
 */
struct monitor *monitor_new(struct chardev *chr, enum monitor_mode mode,
                            const struct monitor_vm *vm, GError **error);
void monitor_free(struct monitor *mon);
void monitor_free_all(void);

/*
 * Emit a QMP event to all connected clients. data may be NULL (or is taken
 * over).  Any thread; from other threads it is queued to the main loop, in order.
 * Names and their data are rows of event.c's table: another name is refused with
 * a line on stderr.
 */
void monitor_event(const char *name, struct json_object *data);

/*
 * Run one HMP line, its output as text with '\n' (gdb's `monitor`). Caller frees.
 * Commands see CPU 0.
 */
char *monitor_hmp_run(const struct monitor_vm *vm, const char *line);

#endif
