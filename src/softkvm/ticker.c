/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that interrupts running vCPUs now and then. */
#include "ticker.h"

#include "signals.h"
#include "soft_vcpu.h"
#include "soft_vm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    TICK_NS = 100 * 1000,       /* how long immediate_exit may go unnoticed */
    SIGNAL_TICKS = 5,           /* and, in ticks, a signal */
    IDLE_TICKS = 20,            /* without a running vCPU, until the thread sleeps */
};

struct ticker {
    struct vm *vm;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool started, stop;         /* under lock */
    bool idle;                  /* atomic */
};

/* Ask the vCPUs that run; true if any does. */
static bool tick(struct vm *vm, bool all)
{
    unsigned n = __atomic_load_n(&vm->nr_vcpus, __ATOMIC_ACQUIRE);
    bool any = false;

    for (unsigned i = 0; i < n; i++) {
        struct vcpu *vcpu = vm->vcpus[i];

        if (!__atomic_load_n(&vcpu->in_guest, __ATOMIC_SEQ_CST))
            continue;
        any = true;
        if (all || __atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_RELAXED))
            __atomic_or_fetch(&vcpu->cpu->request, CPU_REQ_EXIT, __ATOMIC_SEQ_CST);
    }
    return any;
}

/* Until a vCPU runs; false: the VM goes. */
static bool sleep_until_needed(struct ticker *ticker)
{
    bool stop;

    pthread_mutex_lock(&ticker->lock);
    __atomic_store_n(&ticker->idle, true, __ATOMIC_SEQ_CST);
    if (tick(ticker->vm, false))
        __atomic_store_n(&ticker->idle, false, __ATOMIC_SEQ_CST);
    while (!ticker->stop && __atomic_load_n(&ticker->idle, __ATOMIC_SEQ_CST))
        pthread_cond_wait(&ticker->wake, &ticker->lock);
    stop = ticker->stop;
    pthread_mutex_unlock(&ticker->lock);
    return !stop;
}

static void *ticker_thread(void *opaque)
{
    struct ticker *ticker = opaque;
    const struct timespec period = { .tv_nsec = TICK_NS };

    prctl(PR_SET_TIMERSLACK, 1UL);
    do {
        for (unsigned quiet = 0, n = 0; quiet < IDLE_TICKS; n++) {
            nanosleep(&period, NULL);
            quiet = tick(ticker->vm, n % SIGNAL_TICKS == 0) ? 0 : quiet + 1;
        }
    } while (sleep_until_needed(ticker));
    return NULL;
}

struct ticker *ticker_new(struct vm *vm)
{
    struct ticker *ticker = calloc(1, sizeof(*ticker));

    if (!ticker)
        return NULL;
    ticker->vm = vm;
    ticker->idle = true;
    pthread_mutex_init(&ticker->lock, NULL);
    pthread_cond_init(&ticker->wake, NULL);
    return ticker;
}

static int start(struct ticker *ticker)
{
    int ret = signals_thread_create(&ticker->thread, ticker_thread, ticker);

    ticker->started = !ret;
    return ret;
}

int ticker_wake(struct ticker *ticker)
{
    int ret = 0;

    if (!__atomic_load_n(&ticker->idle, __ATOMIC_SEQ_CST))
        return 0;
    pthread_mutex_lock(&ticker->lock);
    __atomic_store_n(&ticker->idle, false, __ATOMIC_SEQ_CST);
    if (ticker->started)
        pthread_cond_signal(&ticker->wake);
    else
        ret = start(ticker);
    if (ret)
        __atomic_store_n(&ticker->idle, true, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&ticker->lock);
    return ret;
}

void ticker_free(struct ticker *ticker)
{
    if (!ticker)
        return;
    pthread_mutex_lock(&ticker->lock);
    ticker->stop = true;
    __atomic_store_n(&ticker->idle, false, __ATOMIC_SEQ_CST);
    pthread_cond_signal(&ticker->wake);
    pthread_mutex_unlock(&ticker->lock);
    if (ticker->started)
        pthread_join(ticker->thread, NULL);
    pthread_cond_destroy(&ticker->wake);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
}
