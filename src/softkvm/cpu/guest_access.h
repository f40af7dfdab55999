/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory by its host address, while other vCPUs and devices use it too.
 *
 * The guest's own races are none of ours.  On an x86 host the plain move that
 * memcpy() of 1, 2, 4 or 8 bytes comes to is what a relaxed atomic is, and the
 * compiler does better with it.  The thread sanitizer can't know that: for it the
 * accesses are atomic in so many words, whole where aligned, else byte by byte.
 */
#ifndef SOFTKVM_CPU_GUEST_ACCESS_H
#define SOFTKVM_CPU_GUEST_ACCESS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GUEST_ACCESS_ATOMIC 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define GUEST_ACCESS_ATOMIC 1
#endif

#ifdef GUEST_ACCESS_ATOMIC

#define GUEST_ACCESS_MOVE(type_, to_, from_)                                              \
    __atomic_store_n((type_ *)(to_), __atomic_load_n((const type_ *)(from_),              \
                                                     __ATOMIC_RELAXED), __ATOMIC_RELAXED)

/* Either side may be the guest's: both are accessed atomically. */
static inline void guest_copy(void *to, const void *from, size_t size)
{
    uintptr_t both = (uintptr_t)to | (uintptr_t)from;

    if (size == 8 && !(both & 7)) {
        GUEST_ACCESS_MOVE(uint64_t, to, from);
    } else if (size == 4 && !(both & 3)) {
        GUEST_ACCESS_MOVE(uint32_t, to, from);
    } else if (size == 2 && !(both & 1)) {
        GUEST_ACCESS_MOVE(uint16_t, to, from);
    } else {
        for (size_t i = 0; i < size; i++)
            GUEST_ACCESS_MOVE(uint8_t, (uint8_t *)to + i, (const uint8_t *)from + i);
    }
}

#undef GUEST_ACCESS_MOVE

#else

static inline __attribute__((always_inline)) void guest_copy(void *to, const void *from,
                                                             size_t size)
{
    memcpy(to, from, size);
}

#endif

#endif
