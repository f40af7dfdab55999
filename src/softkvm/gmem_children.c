/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line of shared memory for each child.  A robust mutex that the child's thread
 * holds for ever tells its parent when the child has ended, or is another
 * program by exec().
 */
#include "gmem_children.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum state {
    FREE,
    FORKED,                     /* its thread isn't there yet */
    WATCHING,
    GIVEN_UP,                   /* it didn't answer in time, and will let go of all when it wakes */
};

enum { MAX_CHILDREN = 64, PATIENCE_MS = 1000 };

/* Shared.  All but alive and change are atomic. */
struct line {
    pthread_mutex_t alive;
    uint32_t state;
    uint32_t asked, done;       /* counts; a futex each */
    struct gmem_change change;  /* while asked != done */
};

static struct line *lines;      /* of this process's children; NULL: it had none yet */
static struct line *forked;     /* between before and after a fork */
static struct line *own;        /* in a child: its parent's line for it */
static gmem_change_fn *on_change;

static uint32_t get(uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void set(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

/* Not PRIVATE: it is another process that wakes. */
static void wait_while(uint32_t *word, uint32_t value, const struct timespec *timeout)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, timeout, NULL, 0);
}

static void wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void *watch(void *opaque)
{
    uint32_t seen = get(&own->done), asked;

    pthread_mutex_lock(&own->alive);
    set(&own->state, WATCHING);
    wake(&own->state);
    for (;;) {
        while ((asked = get(&own->asked)) == seen)
            wait_while(&own->asked, seen, NULL);
        on_change(get(&own->state) == GIVEN_UP ? NULL : &own->change);
        seen = asked;
        set(&own->done, seen);
        wake(&own->done);
    }
    return NULL;
}

/* The program's signals are not for this thread. */
static int start_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int ret;

#ifdef __SANITIZE_THREAD__
    return EAGAIN;              /* it ends programs that start threads in such a child */
#endif
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = pthread_create(&thread, &attr, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return ret;
}

void gmem_children_watch(gmem_change_fn *fn)
{
    own = forked;
    forked = NULL;
    lines = NULL;               /* the parent's */
    on_change = fn;
    if (own && start_thread() == 0) {
        /* Before that, the parent couldn't tell that the child has ended. */
        while (get(&own->state) == FORKED)
            wait_while(&own->state, FORKED, NULL);
        return;
    }
    if (own)
        set(&own->state, FREE);
    fn(NULL);
}

/* The child has ended, or runs another program.  Its mutex is as new afterwards. */
static bool is_gone(struct line *line)
{
    int ret = pthread_mutex_trylock(&line->alive);

    if (ret == EBUSY)
        return false;
    if (ret == EOWNERDEAD)
        pthread_mutex_consistent(&line->alive);
    pthread_mutex_unlock(&line->alive);
    return ret == EOWNERDEAD;
}

static bool make_lines(void)
{
    size_t size = MAX_CHILDREN * sizeof(struct line);
    pthread_mutexattr_t attr;
    struct line *made;

    if (lines)
        return true;
    made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        return false;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    for (int i = 0; i < MAX_CHILDREN; i++)
        pthread_mutex_init(&made[i].alive, &attr);
    pthread_mutexattr_destroy(&attr);
    lines = made;
    return true;
}

void gmem_children_prepare(bool wanted)
{
    forked = NULL;
    if (!wanted || !make_lines())
        return;
    for (int i = 0; i < MAX_CHILDREN && !forked; i++) {
        uint32_t state = get(&lines[i].state);

        if (state == FREE || (state != FORKED && is_gone(&lines[i])))
            forked = &lines[i];
    }
    if (!forked)
        return;
    set(&forked->done, get(&forked->asked));
    set(&forked->state, FORKED);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

/* A child that is stopped can't answer, and one that ended before it began never will. */
static void wait_for(struct line *line, uint64_t deadline)
{
    const struct timespec pause = { 0, 2000000 };
    uint32_t done;

    while ((done = get(&line->done)) != get(&line->asked)) {
        uint32_t state = get(&line->state);

        if (state == FREE)
            return;
        if (state == WATCHING && is_gone(line)) {
            set(&line->state, FREE);
            return;
        }
        if (now_ms() >= deadline) {
            set(&line->state, GIVEN_UP);
            return;
        }
        wait_while(&line->done, done, &pause);
    }
}

void gmem_children_tell(const struct gmem_change *change)
{
    uint64_t deadline;

    if (!lines)
        return;
    for (int i = 0; i < MAX_CHILDREN; i++) {
        struct line *line = &lines[i];
        uint32_t state = get(&line->state);

        if (state != FORKED && state != WATCHING)
            continue;
        line->change = *change;
        __atomic_add_fetch(&line->asked, 1, __ATOMIC_SEQ_CST);
        wake(&line->asked);
    }
    deadline = now_ms() + PATIENCE_MS;
    for (int i = 0; i < MAX_CHILDREN; i++) {
        uint32_t state = get(&lines[i].state);

        if (state == FORKED || state == WATCHING)
            wait_for(&lines[i], deadline);
    }
}
