/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trace events (-trace, -d trace:): one line each, on stderr or in a file, with
 * monotonic time.  Cheap when off: one relaxed load.
 *
 * A new event is a row of trace_events[] in trace.c and its number here.  Any
 * thread; trace_open() and trace_enable() before there are others.
 */
#ifndef UTIL_TRACE_H
#define UTIL_TRACE_H

#include <stdbool.h>

enum trace_event {
    TRACE_KVM_RUN_EXIT,         /* an exit that the run loop didn't settle itself */
    TRACE_KVM_PIO,
    TRACE_KVM_MMIO,
    TRACE_KVM_MEMORY_FAULT,
    TRACE_KVM_MAP_GPA_RANGE,
    TRACE_KVM_CONVERT_MEMORY,
    TRACE_MEMORY_ACCESS_REFUSED,
    TRACE_SEV_LAUNCH_UPDATE,
    TRACE_SEV_LAUNCH_MEASURE,
    TRACE_SEV_LAUNCH_FINISH,
    TRACE_RUNSTATE_SET,
    TRACE_SYSTEM_RESET,
    TRACE_BOOT_LOAD,
    TRACE_FW_CFG_SELECT,
    TRACE_PFLASH_WRITE,
    TRACE_PAM_UPDATE,
    TRACE_VIRTIO_DMA_REFUSED,
    TRACE_VIRTIO_BROKEN,
    TRACE_VIRTIO_MEM_REQUEST,
    TRACE_NR_EVENTS,
};

/* Events whose names match the pattern (fnmatch(3)) from now on. False: none does. */
bool trace_enable(const char *pattern);
/* Lines go to this file from now on, which is truncated. 0 or -errno. */
int trace_open(const char *path);
/* Name and help of event number i, NULL past the last. */
const char *trace_event_name(unsigned i);
const char *trace_event_help(unsigned i);

extern bool trace_on[TRACE_NR_EVENTS];

static inline bool trace_enabled(enum trace_event event)
{
    return __atomic_load_n(&trace_on[event], __ATOMIC_RELAXED);
}

void trace_print(enum trace_event event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define trace(event_, ...)                                                                     \
    do {                                                                                       \
        if (trace_enabled(event_))                                                             \
            trace_print(event_, __VA_ARGS__);                                                  \
    } while (0)

#endif
