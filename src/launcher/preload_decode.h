/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --trace: what an ioctl was about, in words. */
#ifndef LAUNCHER_PRELOAD_DECODE_H
#define LAUNCHER_PRELOAD_DECODE_H

#include <stddef.h>

struct kvm_run;

/*
 * " word value..." of an ioctl's argument, after the call, into text; "" where
 * nothing is known.  arg may be anything: a bad pointer shows as (bad address).
 */
void decode_argument(unsigned long request, unsigned long arg, char *text, size_t size);

/* Likewise of what KVM_RUN ended for, after the exit's name. */
void decode_exit(const struct kvm_run *run, char *text, size_t size);

#endif
