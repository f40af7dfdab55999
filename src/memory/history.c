/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "history.h"

#include "memory_internal.h"

#include <time.h>

/* Copied at once under the lock, so that a conversion doesn't wait for all of them. */
enum { CHUNK = 32 };

const char *conversion_cause_name(enum conversion_cause cause)
{
    static const char *const names[] = {
        [CONVERSION_HOST] = "host", [CONVERSION_MEMORY_FAULT] = "memory-fault",
        [CONVERSION_HYPERCALL] = "hypercall", [CONVERSION_LAUNCH] = "launch",
        [CONVERSION_RESET] = "reset", [CONVERSION_UNPLUG] = "unplug",
        [CONVERSION_DEBUG] = "debug",
    };

    return names[cause];
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void history_begin(struct conversion_record *record)
{
    record->time_us = clock_ns(CLOCK_REALTIME) / 1000;
    record->duration_ns = (uint64_t)clock_ns(CLOCK_MONOTONIC);
}

void history_add(struct memory *mem, struct conversion_record *record)
{
    record->duration_ns = (uint64_t)clock_ns(CLOCK_MONOTONIC) - record->duration_ns;
    record->serial = ++mem->last_conversion;
    if (!mem->history)
        mem->history = g_new0(struct conversion_record, CONVERSION_HISTORY);
    mem->history[record->serial % CONVERSION_HISTORY] = *record;
}

/* Serials from *next on, until a chunk is full; older ones may be gone already. */
static void copy_chunk(struct memory *mem, GArray *records, uint64_t *next, uint64_t last)
{
    pthread_mutex_lock(&mem->lock);
    if (mem->last_conversion >= CONVERSION_HISTORY)
        *next = MAX(*next, mem->last_conversion - CONVERSION_HISTORY + 1);
    for (unsigned i = 0; i < CHUNK && *next <= last; i++, ++*next)
        g_array_append_val(records, mem->history[*next % CONVERSION_HISTORY]);
    pthread_mutex_unlock(&mem->lock);
}

GArray *memory_conversions(struct memory *mem, uint64_t since, size_t max, uint64_t *ret_last)
{
    GArray *records = g_array_new(FALSE, FALSE, sizeof(struct conversion_record));
    uint64_t next = MIN(since, UINT64_MAX - 1) + 1, last;

    pthread_mutex_lock(&mem->lock);
    last = mem->last_conversion;
    pthread_mutex_unlock(&mem->lock);
    if (ret_last)
        *ret_last = last;
    max = MIN(max, CONVERSION_HISTORY);
    if (last >= max)
        next = MAX(next, last - max + 1);
    while (next <= last)
        copy_chunk(mem, records, &next, last);
    return records;
}
