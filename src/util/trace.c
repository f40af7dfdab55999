/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of trace events and the one function that writes a line. */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name, *help;
} trace_events[TRACE_NR_EVENTS] = {
    [TRACE_KVM_RUN_EXIT] = { "kvm_run_exit", "a vCPU left the guest and stops" },
    [TRACE_KVM_PIO] = { "kvm_pio", "port I/O that reached a device model" },
    [TRACE_KVM_MMIO] = { "kvm_mmio", "memory-mapped I/O that reached a device model" },
    [TRACE_KVM_MEMORY_FAULT] = { "kvm_memory_fault",
                                 "the guest touched a page in the state that it isn't in" },
    [TRACE_KVM_MAP_GPA_RANGE] = { "kvm_map_gpa_range", "the guest asked for a conversion" },
    [TRACE_SEV_LAUNCH_UPDATE] = { "sev_launch_update", "a piece is encrypted and measured" },
    [TRACE_SEV_LAUNCH_MEASURE] = { "sev_launch_measure", "the measurement is there" },
    [TRACE_SEV_LAUNCH_FINISH] = { "sev_launch_finish", "the guest's launch is over" },
    [TRACE_KVM_CONVERT_MEMORY] = { "kvm_convert_memory", "a range became private or shared" },
    [TRACE_MEMORY_ACCESS_REFUSED] = { "memory_access_refused",
                                      "a device asked for a private page, or for no RAM at all" },
    [TRACE_RUNSTATE_SET] = { "runstate_set", "running, paused, shutdown, ..." },
    [TRACE_SYSTEM_RESET] = { "system_reset", "the machine starts again, and why" },
    [TRACE_VIRTIO_DMA_REFUSED] = { "virtio_dma_refused",
                                   "a request's buffer is private, or no RAM" },
    [TRACE_VIRTIO_MEM_REQUEST] = { "virtio_mem_request",
                                   "the driver plugs or unplugs blocks, or asks; and the answer" },
    [TRACE_VIRTIO_BROKEN] = { "virtio_broken", "a ring can't be used: the device needs a reset" },
    [TRACE_FW_CFG_SELECT] = { "fw_cfg_select", "the item of fw_cfg that the guest reads next" },
    [TRACE_PFLASH_WRITE] = { "pflash_write", "a command or its data to flash memory" },
    [TRACE_PAM_UPDATE] = { "pam_update", "what the guest sees below 1 MiB from now on" },
    [TRACE_BOOT_LOAD] = { "boot_load", "what was loaded into guest memory, and where" },
};

bool trace_on[TRACE_NR_EVENTS];
static int trace_fd = STDERR_FILENO;

bool trace_enable(const char *pattern)
{
    bool found = false;

    for (unsigned i = 0; i < TRACE_NR_EVENTS; i++) {
        if (fnmatch(pattern, trace_events[i].name, 0) == 0) {
            __atomic_store_n(&trace_on[i], true, __ATOMIC_RELAXED);
            found = true;
        }
    }
    return found;
}

int trace_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0666);

    if (fd < 0)
        return -errno;
    if (trace_fd != STDERR_FILENO)
        close(trace_fd);
    trace_fd = fd;
    return 0;
}

const char *trace_event_name(unsigned i)
{
    return i < TRACE_NR_EVENTS ? trace_events[i].name : NULL;
}

const char *trace_event_help(unsigned i)
{
    return i < TRACE_NR_EVENTS ? trace_events[i].help : NULL;
}

/* One write() a line, so that lines of several threads don't mix. */
void trace_print(enum trace_event event, const char *format, ...)
{
    static const size_t room = 511;
    char line[512];
    struct timespec now;
    size_t length;
    va_list args;
    int n;

    clock_gettime(CLOCK_MONOTONIC, &now);
    n = snprintf(line, room, "%ld.%06ld %s ", (long)now.tv_sec, now.tv_nsec / 1000,
                 trace_events[event].name);
    length = n < 0 ? 0 : (size_t)n;
    va_start(args, format);
    n = vsnprintf(line + length, room - length, format, args);
    va_end(args);
    length += n < 0 ? 0 : (size_t)n;
    if (length >= room)
        length = room - 1;
    line[length++] = '\n';
    /* Losing a trace line (a full disk, a closed pipe) must not disturb the guest. */
    if (write(trace_fd, line, length) < 0)
        return;
}
