/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Failures on request (softkvm_fail() and softkvm_pin_new() in softkvm.h), for
 * testing what a client does about them.  Rules are the process's; asking costs
 * one load while there are none.
 */
#ifndef SOFTKVM_TEST_HOOKS_H
#define SOFTKVM_TEST_HOOKS_H

#include <stdint.h>

enum hook {
    HOOK_IOCTL,                 /* by name */
    HOOK_ATTRIBUTES,            /* memory for a record of private pages */
    HOOK_PAGE,                  /* a page of a guest_memfd */
    HOOK_SLOT,                  /* memory for a slot */
    HOOK_MAPPING,               /* a change of the caller's mapping of a guest_memfd */
};

/* Count one more call; 0, or the -errno that it shall fail with. Lock-free. */
int hook_ioctl(const char *name);
int hook_fails(enum hook hook);
/* Is there a rule for it, so that looking closer may be worth it? */
int hook_is_set(enum hook hook);

/* What new guest_memfds have pinned; size 0: nothing. */
struct hook_pin {
    uint64_t offset, size;
    unsigned tries;
};
struct hook_pin hook_pin(void);

#endif
