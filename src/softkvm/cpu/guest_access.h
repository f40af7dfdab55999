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

#include <stdbool.h>
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
    size_t i = 0;

    if (size == 4 && !(both & 3)) {
        GUEST_ACCESS_MOVE(uint32_t, to, from);
        return;
    }
    if (size == 2 && !(both & 1)) {
        GUEST_ACCESS_MOVE(uint16_t, to, from);
        return;
    }
    for (; !(both & 7) && size - i >= 8; i += 8)
        GUEST_ACCESS_MOVE(uint64_t, (uint8_t *)to + i, (const uint8_t *)from + i);
    for (; i < size; i++)
        GUEST_ACCESS_MOVE(uint8_t, (uint8_t *)to + i, (const uint8_t *)from + i);
}

static inline void guest_move(void *to, const void *from, size_t size)
{
    guest_copy(to, from, size);
}

static inline void guest_fill(void *to, uint8_t byte, size_t size)
{
    for (size_t i = 0; i < size; i++)
        __atomic_store_n((uint8_t *)to + i, byte, __ATOMIC_RELAXED);
}

static inline bool guest_equal(const void *memory, const void *bytes, size_t size)
{
    const uint8_t *at = memory, *expected = bytes;

    for (size_t i = 0; i < size; i++)
        if (__atomic_load_n(at + i, __ATOMIC_RELAXED) != expected[i])
            return false;
    return true;
}

#undef GUEST_ACCESS_MOVE

#else

static inline __attribute__((always_inline)) void guest_copy(void *to, const void *from,
                                                             size_t size)
{
    memcpy(to, from, size);
}

/* Where they overlap, to is below from: front to back is right. */
static inline void guest_move(void *to, const void *from, size_t size)
{
    memmove(to, from, size);
}

static inline void guest_fill(void *to, uint8_t byte, size_t size)
{
    memset(to, byte, size);
}

static inline bool guest_equal(const void *memory, const void *bytes, size_t size)
{
    return !memcmp(memory, bytes, size);
}

#endif

#endif
