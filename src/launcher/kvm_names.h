/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers of KVM's uAPI by name, made from its headers by kvm_names.py. */
#ifndef LAUNCHER_KVM_NAMES_H
#define LAUNCHER_KVM_NAMES_H

#include <stddef.h>

struct kvm_name {
    unsigned long number;
    const char *name;
};

extern const struct kvm_name kvm_ioctl_names[], kvm_cap_names[], kvm_exit_names[];
extern const size_t nr_kvm_ioctl_names;

/* NULL: none. */
const char *kvm_name(const struct kvm_name *names, unsigned long number);

#endif
