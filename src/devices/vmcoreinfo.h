/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * -device vmcoreinfo: the guest says where its note for crash dumps is, by the fw_cfg
 * file etc/vmcoreinfo (QEMU's docs/specs/vmcoreinfo).
 */
#ifndef DEVICES_VMCOREINFO_H
#define DEVICES_VMCOREINFO_H

#include "device.h"

enum { VMCOREINFO_FORMAT_NONE = 0, VMCOREINFO_FORMAT_ELF = 1 };

struct vmcoreinfo {
    uint16_t format;            /* the guest's, as is all of this */
    uint32_t size;
    uint64_t gpa;
};

extern const struct device_type vmcoreinfo_type;

/* False: no such device, or the guest hasn't said anything.  Main thread. */
bool vmcoreinfo_get(struct devices *all, struct vmcoreinfo *ret);

#endif
