/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A small SEV guest for the KVM-API tests, and its launch step by step. */
#ifndef SEV_LAUNCH_H
#define SEV_LAUNCH_H

#include "kvm_test.h"

enum { SEV_LOADED = 0x6000 };   /* bytes from 0 that are given to LAUNCH_UPDATE_DATA */

/* KVM's result; *error: the firmware's code. */
int sev_command(int vm, uint32_t id, void *data, uint32_t *error);

/* Skips the case where SEV can't be had here. */
void sev_init2(int vm, struct kvm_sev_init *init);

/*
 * A VM with its vCPU, not yet launched.  The guest is a loop in 64-bit mode: OUT to
 * port 0x10, then RAX from [RDI], or with RCX set to it.  RAM is mapped 1:1 with the
 * C-bit, and from 1 GiB on without.
 */
void sev_machine(struct machine *m, size_t ram_size);
/* START, UPDATE_DATA, MEASURE, FINISH. */
void sev_launch(struct machine *m, uint32_t policy);

#endif
