/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that makes running vCPUs look up: a signal sent to a vCPU's thread,
 * or immediate_exit stored by another, is nothing that the software processor
 * would notice inside a loop of the guest.  Sleeps while no vCPU runs.
 */
#ifndef SOFTKVM_TICKER_H
#define SOFTKVM_TICKER_H

struct ticker;
struct vm;

/* NULL: no memory. The thread starts with the first vCPU that runs. */
struct ticker *ticker_new(struct vm *vm);
void ticker_free(struct ticker *ticker);

/* A vCPU has set in_guest. 0, or -errno: no thread could be made. */
int ticker_wake(struct ticker *ticker);

#endif
