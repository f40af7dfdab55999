/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which process this is, counted by fork()s. */
#include "fork_guard.h"

#include <pthread.h>

static unsigned generation;     /* atomic */

unsigned fork_generation(void)
{
    return __atomic_load_n(&generation, __ATOMIC_RELAXED);
}

static void count(void)
{
    __atomic_add_fetch(&generation, 1, __ATOMIC_RELAXED);
}

static void count_forks(void)
{
    pthread_atfork(NULL, NULL, count);
}

void fork_guard_add(void (*prepare)(void), void (*done)(void))
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, count_forks);
    pthread_atfork(prepare, done, done);
}
