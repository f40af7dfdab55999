/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gdb stub of a machine: what it asks of run states and monitor. */
#include "machine_internal.h"

#include <stdio.h>

static const char *host_status(void *opaque)
{
    return run_state_name(opaque);
}

static void host_stop(void *opaque)
{
    run_state_pause(opaque);
}

static bool host_resume(void *opaque, uint64_t cpus, GError **error)
{
    return run_state_start_some(opaque, cpus, error);
}

static void host_kill(void *opaque)
{
    fprintf(stderr, "cloister: terminated by the debugger\n");
    machine_end(opaque, "host-ui");
}

static char *host_command(void *opaque, const char *line)
{
    return monitor_hmp_run(machine_monitor_vm(opaque), line);
}

G_STATIC_ASSERT((int)GDB_MAX_CPUS >= (int)MACHINE_MAX_CPUS);

struct gdb *debugger_new(struct machine *m)
{
    const struct gdb_host host = {
        .opaque = m, .kvm = m->vm, .debug = m->debug, .cpu_count = machine_cpu_count,
        .cpu = machine_cpu, .status = host_status, .stop = host_stop, .resume = host_resume,
        .kill = host_kill, .command = host_command,
    };

    return gdb_new(&host);
}

bool machine_serve_gdb(struct machine *m, const char *device, GError **error)
{
    return gdb_listen(m->gdb, device, error);
}
