/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pthread_cancel() of a thread that is in this library.  Its locks must not go
 * with the thread, so cancellation is held off from each public call to its
 * return; only KVM_RUN, which may take for ever, acts on it in between, at points
 * of its own choice and behind clean-up handlers.
 *
 * As with Linux, where an ioctl is no cancellation point: only a thread whose
 * cancellation is asynchronous is taken out of KVM_RUN.
 */
#ifndef SOFTKVM_CANCEL_H
#define SOFTKVM_CANCEL_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/select.h>         /* sigset_t, without the register names of <signal.h> */

struct cancel_held {
    int state, type;
};

/* Returns what cancel_release() needs. */
struct cancel_held cancel_hold(void);
void cancel_release(struct cancel_held before);

/* Would the caller's thread have been cancelled wherever it was? */
bool cancel_is_asynchronous(void);
/* If so: here. Then clean-up handlers run, and this doesn't return. */
void cancel_point(void);
/* ppoll(2) of one descriptor; the same at any time during it. */
int cancel_ppoll(struct pollfd *fds, const struct timespec *timeout, const sigset_t *mask);

#endif
