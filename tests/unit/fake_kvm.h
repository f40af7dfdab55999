/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kvm_driver for unit tests: answers capabilities from a table, writes down
 * every call, and fails the one that it is told to.
 */
#ifndef TESTS_FAKE_KVM_H
#define TESTS_FAKE_KVM_H

#include "vm.h"

enum { FAKE_MAX_CALLS = 4096, FAKE_MAX_CAPS = 16, FAKE_MAX_CPUID = 256 };

/* The fields that tests look at, whatever the ioctl. */
struct fake_call {
    unsigned long request;
    uint64_t address, size, attributes; /* GPA or offset of attributes; a slot's GPA and size */
    uint64_t arg;
    uint32_t slot, flags;
};

struct fake_kvm {
    struct {
        unsigned cap;
        int answer;
    } caps[FAKE_MAX_CAPS];
    struct fake_call calls[FAKE_MAX_CALLS];
    unsigned nr_calls;
    /* The fail_nth call (from 1) of fail_request fails so, and the fail_more after it. */
    unsigned long fail_request;
    unsigned fail_nth, fail_more;
    int fail_errno;
    uint64_t fail_error_offset; /* what KVM_SET_MEMORY_ATTRIBUTES2 then leaves */
    /* KVM_RUN; NULL: -EINTR. */
    int (*run)(struct kvm_run *run);
    struct kvm_run *run_page;
    /* KVM_GET_SUPPORTED_CPUID answers these; the last KVM_SET_CPUID2 is kept. */
    const struct kvm_cpuid_entry2 *supported;
    unsigned nr_supported;
    struct kvm_cpuid_entry2 cpuid[FAKE_MAX_CPUID];
    unsigned nr_cpuid;
    int open_fds;               /* balance, for leak checks */
    int open_maps;
};

extern struct fake_kvm fake;
extern const struct kvm_driver fake_driver;

/* Nothing recorded, nothing fails; the capabilities of one of the regimes. */
void fake_reset(enum kvm_attributes_regime regime);
void fake_set_cap(unsigned cap, int answer);
/* Calls of this request recorded since the index (0: all). */
unsigned fake_count(unsigned long request, unsigned since);
/* The nth (from 0) of them; NULL: not so many. */
const struct fake_call *fake_find(unsigned long request, unsigned nth, unsigned since);
void fake_fail(unsigned long request, unsigned nth, unsigned more, int err);

#endif
