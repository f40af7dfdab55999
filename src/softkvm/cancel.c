/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holding off pthread_cancel().
 *
 * Cancellation is always let in by pthread_testcancel(), the type being deferred:
 * in glibc 2.36 a thread that is cancelled by pthread_setcancelstate() ends with
 * NULL instead of PTHREAD_CANCELED.
 */
#include "cancel.h"

#include <errno.h>

/* What the thread that is in a public call had set. */
static __thread struct cancel_held callers = { PTHREAD_CANCEL_DISABLE, PTHREAD_CANCEL_DEFERRED };

struct cancel_held cancel_hold(void)
{
    struct cancel_held before = callers;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &callers.state);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &callers.type);
    return before;
}

void cancel_release(struct cancel_held before)
{
    struct cancel_held now = callers;
    int unused;

    callers = before;
    pthread_setcancelstate(now.state, &unused);
    if (now.type == PTHREAD_CANCEL_ASYNCHRONOUS) {
        pthread_testcancel();
        pthread_setcanceltype(now.type, &unused);
    }
}

bool cancel_is_asynchronous(void)
{
    return callers.state == PTHREAD_CANCEL_ENABLE && callers.type == PTHREAD_CANCEL_ASYNCHRONOUS;
}

void cancel_point(void)
{
    int unused;

    if (!cancel_is_asynchronous())
        return;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &unused);
    pthread_testcancel();
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &unused);
}

int cancel_ppoll(struct pollfd *fds, const struct timespec *timeout, const sigset_t *mask)
{
    int ret, unused, error;

    if (!cancel_is_asynchronous())
        return ppoll(fds, 1, timeout, mask);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &unused);
    pthread_testcancel();
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &unused);
    ret = ppoll(fds, 1, timeout, mask);
    error = errno;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &unused);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &unused);
    errno = error;
    return ret;
}
