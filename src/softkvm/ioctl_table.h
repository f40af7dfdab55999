/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tables of ioctls: one row each, from which arguments are copied in and out,
 * KVM_CHECK_EXTENSION is answered and docs/kvm-api.md is checked.
 */
#ifndef SOFTKVM_IOCTL_TABLE_H
#define SOFTKVM_IOCTL_TABLE_H

#include "kvm_uapi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * arg: our copy of the caller's structure, NULL for an ioctl that takes a
 * value; value: what the caller passed, address or number.  0 or more, or -errno.
 */
typedef int ioctl_fn(void *object, void *arg, unsigned long value);

/* For rows: always there. KVM_CAP_IRQCHIP is 0. */
#define CAP_NONE UINT16_MAX

struct ioctl_row {
    const char *name;
    unsigned cmd;
    uint16_t size;              /* of the structure; 0: a value */
    uint16_t cap;               /* KVM_CAP_* that announces it, or CAP_NONE */
    /*
     * An array follows the structure: of so many (its first u32 says) elements
     * of this size.  More than max_elements is too_many, or if that is 0, cut.
     */
    uint16_t element, max_elements;
    int16_t too_many;
    bool in;                    /* copied in, whatever the number's direction says */
    bool runs;                  /* vCPU ioctls: the handler takes the locks itself */
    ioctl_fn *fn;
};

/* The second factor fails to compile where the number and the type disagree. */
#define IOCTL_TYPE_SIZE(cmd_, type_) \
    (sizeof(type_) * sizeof(char[_IOC_SIZE(cmd_) == sizeof(type_) ? 1 : -1]))

#define IOCTL_STRUCT(cmd_, type_, cap_, fn_)                                            \
    { .name = #cmd_, .cmd = (unsigned)(cmd_), .cap = (cap_), .fn = (fn_),               \
      .size = IOCTL_TYPE_SIZE(cmd_, type_) }

#define IOCTL_ARRAY(cmd_, type_, element_, max_, too_many_, cap_, fn_)                  \
    { .name = #cmd_, .cmd = (unsigned)(cmd_), .cap = (cap_), .fn = (fn_),               \
      .size = IOCTL_TYPE_SIZE(cmd_, type_), .element = sizeof(element_),                \
      .max_elements = (max_), .too_many = -(too_many_) }

/* _IO() ioctls, and those whose structure the handler reads itself. */
#define IOCTL_VALUE(cmd_, cap_, fn_) \
    { .name = #cmd_, .cmd = (unsigned)(cmd_), .cap = (cap_), .fn = (fn_) }

struct ioctl_table {
    const char *name;           /* "system", "vm", "vcpu", "guest_memfd" */
    const struct ioctl_row *rows;
    size_t count;
};

/* NULL: this table has no such ioctl. */
const struct ioctl_row *ioctl_find(const struct ioctl_table *table, unsigned long request);

/* Copy in, call, copy out (after success). */
int ioctl_call(const struct ioctl_row *row, void *object, unsigned long arg);

/* Does any row of the table have this capability? */
bool ioctl_has_cap(const struct ioctl_table *table, unsigned cap);

extern const struct ioctl_table system_ioctls, vm_ioctls, vcpu_ioctls, guest_memfd_ioctls;

#endif
