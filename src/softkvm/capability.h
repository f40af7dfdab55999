/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM_CHECK_EXTENSION's answers that don't follow from an ioctl's row. */
#ifndef SOFTKVM_CAPABILITY_H
#define SOFTKVM_CAPABILITY_H

#include "softkvm.h"

#include <stddef.h>
#include <stdint.h>

struct vm;

typedef uint64_t capability_fn(const struct softkvm_options *options, const struct vm *vm);

struct capability_row {
    const char *name;
    unsigned cap;
    unsigned value;
    capability_fn *fn;          /* instead of value */
};

extern const struct capability_row capability_rows[];
extern const size_t nr_capability_rows;

/* KVM_CHECK_EXTENSION; vm NULL: on the system descriptor. */
int capability_check(const struct softkvm_options *options, const struct vm *vm, unsigned cap);

#endif
