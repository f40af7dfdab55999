/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The system descriptor: what /dev/kvm itself answers. */
#ifndef SOFTKVM_SYSTEM_H
#define SOFTKVM_SYSTEM_H

#include "softkvm.h"

/* A descriptor or -errno. */
int system_open(const struct softkvm_options *options);

#endif
