/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What disk.c and disk_io.c know of one another. */
#ifndef DEVICES_DISK_INTERNAL_H
#define DEVICES_DISK_INTERNAL_H

#include "disk.h"

struct disk {
    char *name;                 /* NULL: made for the node above it */
    const char *driver;         /* "file", "raw" */
    char *filename;
    int fd;
    uint64_t size;
    bool readonly, drive;       /* drive: made by -drive */
    struct disk *below;   /* raw's file; NULL: it has the file itself */
    unsigned above;             /* nodes on this one */
    char *user;                 /* the device that has it; NULL: none */
};

#endif
