/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM's clock pages: the arithmetic, and the version protocol towards the guest. */
#include "kvmclock.h"

#include <stddef.h>
#include <string.h>

enum { NSEC_PER_SEC = 1000000000 };

_Static_assert(sizeof(struct pvclock_vcpu_time_info) == 32, "guest ABI");
_Static_assert(sizeof(struct pvclock_wall_clock) == 12, "guest ABI");

/* A frequency between 1 and 2 GHz after shifting keeps 31 significant bits in mul. */
static void set_scale(struct pvclock_vcpu_time_info *info, uint64_t hz)
{
    int shift = 0;

    while (hz >> -shift > 2ULL * NSEC_PER_SEC)
        shift--;
    for (; hz <= NSEC_PER_SEC; hz <<= 1)
        shift++;
    info->tsc_to_system_mul =
        (uint32_t)(((unsigned __int128)NSEC_PER_SEC << (shift < 0 ? 32 - shift : 32)) / hz);
    info->tsc_shift = (int8_t)shift;
}

void kvmclock_fill(struct pvclock_vcpu_time_info *info, uint64_t tsc, uint64_t ns,
                   uint32_t tsc_khz, uint8_t flags)
{
    memset(info, 0, sizeof(*info));
    info->tsc_timestamp = tsc;
    info->system_time = ns;
    info->flags = flags;
    set_scale(info, tsc_khz * 1000ULL);
}

uint64_t kvmclock_ns(const struct pvclock_vcpu_time_info *info, uint64_t tsc)
{
    uint64_t delta = tsc - info->tsc_timestamp;

    if (info->tsc_shift < 0)
        delta >>= -info->tsc_shift;
    else
        delta <<= info->tsc_shift;
    return info->system_time +
           (uint64_t)(((unsigned __int128)delta * info->tsc_to_system_mul) >> 32);
}

/* words: what comes after the version, count of them. The guest may read meanwhile. */
static void publish(uint32_t *dest, const uint32_t *words, size_t count)
{
    /* A guest that starts with garbage there must still see odd, then even. */
    uint32_t version = __atomic_load_n(dest, __ATOMIC_RELAXED) | 1;

    __atomic_store_n(dest, version, __ATOMIC_RELAXED);
    /* Each release orders the odd version before its word. */
    for (size_t n = 0; n < count; n++)
        __atomic_store_n(&dest[1 + n], words[n], __ATOMIC_RELEASE);
    __atomic_store_n(dest, version + 1, __ATOMIC_RELEASE);
}

void kvmclock_publish(void *dest, const struct pvclock_vcpu_time_info *info)
{
    uint32_t words[sizeof(*info) / 4];

    memcpy(words, info, sizeof(words));
    publish(dest, words + 1, sizeof(*info) / 4 - 1);
}

void kvmclock_publish_wall(void *dest, uint64_t wall_ns)
{
    uint32_t words[] = {
        (uint32_t)(wall_ns / NSEC_PER_SEC), (uint32_t)(wall_ns % NSEC_PER_SEC),
    };

    publish(dest, words, 2);
}
