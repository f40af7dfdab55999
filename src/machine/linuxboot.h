/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A kernel for PC firmware without boot services of its own for one: an option ROM starts it. */
#ifndef MACHINE_LINUXBOOT_H
#define MACHINE_LINUXBOOT_H

#include "bzimage.h"
#include "fw_cfg.h"

struct linuxboot {
    const struct bzimage *image;
    uint8_t *setup;             /* the real-mode part, payload_offset bytes; told where things are */
    uint64_t ram_size, initrd_size;
    size_t cmdline_size;        /* with its zero */
};

/* The ROM and a boot order that has it first. False: it doesn't fit. */
bool linuxboot_add(struct fw_cfg *fw, const struct linuxboot *boot, GError **error);

#endif
