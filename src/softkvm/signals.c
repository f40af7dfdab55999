/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which signals end KVM_RUN. */
#include "signals.h"

#include <signal.h>
#include <stddef.h>
#include <time.h>

void signals_block(struct run_signals *signals, const sigset_t *mask)
{
    static const int synchronous[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT };
    sigset_t block;

    sigfillset(&block);
    for (size_t i = 0; i < sizeof(synchronous) / sizeof(synchronous[0]); i++)
        sigdelset(&block, synchronous[i]);
    pthread_sigmask(SIG_SETMASK, &block, &signals->before);
    signals->allowed = mask ? *mask : signals->before;
}

void signals_restore(const struct run_signals *signals)
{
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}

static bool is_ignored(int signal)
{
    struct sigaction action;

    if (sigaction(signal, NULL, &action))
        return false;
    if (action.sa_flags & SA_SIGINFO)
        return false;
    if (action.sa_handler == SIG_IGN)
        return true;
    return action.sa_handler == SIG_DFL &&
           (signal == SIGCHLD || signal == SIGURG || signal == SIGWINCH || signal == SIGCONT);
}

/* The kernel would have dropped an ignored signal at once, were it not blocked. */
static void drop(int signal)
{
    const struct timespec now = { 0 };
    sigset_t one;

    sigemptyset(&one);
    sigaddset(&one, signal);
    sigtimedwait(&one, NULL, &now);
}

bool signals_pending(const struct run_signals *signals)
{
    sigset_t pending;

    if (sigpending(&pending) || sigisemptyset(&pending))
        return false;
    for (int signal = 1; signal < NSIG; signal++) {
        if (sigismember(&pending, signal) != 1 || sigismember(&signals->allowed, signal) == 1)
            continue;
        if (!is_ignored(signal))
            return true;
        drop(signal);
    }
    return false;
}

void signals_from_bits(uint64_t bits, sigset_t *set)
{
    sigemptyset(set);
    for (int signal = 1; signal <= 64; signal++) {
        if (bits >> (signal - 1) & 1)
            sigaddset(set, signal);
    }
}

int signals_thread_create(pthread_t *thread, void *(*run)(void *), void *opaque)
{
    sigset_t all, before;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = pthread_create(thread, NULL, run, opaque);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -ret;
}
