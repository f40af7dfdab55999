/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that guest memory is mapped from. */
#ifndef MEMORY_BACKING_FILE_H
#define MEMORY_BACKING_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A descriptor for at least so many bytes of a file, or -1 with the error set.
 * A directory: a file in it without a name.  No file: one is made (not readonly).
 * An empty file grows, any other must be large enough.
 */
int backing_file_open(const char *path, uint64_t bytes, bool readonly, GError **error);
/* The same of POSIX shared memory, whose name is gone already. */
int backing_shm_open(uint64_t bytes, GError **error);

#endif
