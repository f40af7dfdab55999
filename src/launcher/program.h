/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program that is to be run: where it is, and whether anything can be loaded into it. */
#ifndef LAUNCHER_PROGRAM_H
#define LAUNCHER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* As execvp() looks for it. The path in ret; false: not found, errno says how. */
bool program_find(const char *name, char *ret, size_t size);

/* NULL: it can be done. Otherwise why it can't, in a few words. */
const char *program_obstacle(const char *path);

#endif
