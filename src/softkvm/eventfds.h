/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * KVM_IRQFD: event descriptors that raise interrupts, with one thread a VM that
 * waits for all of them; and KVM_IOEVENTFD: event descriptors that a guest's
 * store or OUT writes to.
 */
#ifndef SOFTKVM_EVENTFDS_H
#define SOFTKVM_EVENTFDS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct eventfds;
struct vm;

/* NULL: no memory. */
struct eventfds *eventfds_new(struct vm *vm);
/* No irqfd fires after this. */
void eventfds_stop(struct eventfds *fds);
void eventfds_free(struct eventfds *fds);

/* The ioctls: 0 or -errno. */
int eventfds_irqfd(struct eventfds *fds, const struct kvm_irqfd *args);
int eventfds_ioeventfd(struct eventfds *fds, const struct kvm_ioeventfd *args);

/* A guest's write: true if an ioeventfd took it. By a vCPU in the guest. */
bool eventfds_write(struct eventfds *fds, bool port, uint64_t address, const void *data,
                    unsigned size);

/* The guest acknowledged a level-triggered interrupt: resampling irqfds. Never blocks. */
void eventfds_eoi(struct eventfds *fds, uint32_t gsi);

#endif
