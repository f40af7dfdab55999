/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signals during KVM_RUN: the kernel ends it when one arrives.  Here all but
 * the synchronous ones are blocked while the guest runs, and one that waits and
 * would not have been blocked ends the run; it is delivered on the way out.
 */
#ifndef SOFTKVM_SIGNALS_H
#define SOFTKVM_SIGNALS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/select.h>         /* sigset_t, without the register names of <signal.h> */

struct run_signals {
    sigset_t before;            /* the thread's mask */
    sigset_t allowed;           /* the mask that KVM_RUN is to have */
};

/* mask: KVM_SET_SIGNAL_MASK's, or NULL. */
void signals_block(struct run_signals *signals, const sigset_t *mask);
void signals_restore(const struct run_signals *signals);

/* Does a signal wait that is to end the run? */
bool signals_pending(const struct run_signals *signals);

/* The kernel's set of 64 signals, bit 0 is signal 1. */
void signals_from_bits(uint64_t bits, sigset_t *set);

/* pthread_create() of a thread that takes none of the program's signals. 0 or -errno. */
int signals_thread_create(pthread_t *thread, void *(*run)(void *), void *opaque);

#endif
