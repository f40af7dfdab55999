/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which KVM a machine runs on. */
#ifndef MACHINE_ACCEL_H
#define MACHINE_ACCEL_H

#include "config.h"
#include "vm.h"

/*
 * accel_choose - the first KVM, in the user's order, that can do what is needed.
 * *ret_reason: the line that says which and why; caller frees.  False: none can, and
 * the error says what each lacks.
 */
bool accel_choose(const struct machine_config *cfg, const struct kvm_needs *needs,
                  const struct kvm_driver **ret, char **ret_reason, GError **error);

#endif
