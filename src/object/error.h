/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GError as everything above the KVM seam fills it: one domain, a sentence
 * without a final stop or newline.  The command line puts "cloister: " before
 * it, QMP puts it into "desc".
 */
#ifndef OBJECT_ERROR_H
#define OBJECT_ERROR_H

#include <glib.h>

/* The code is an errno, or 0 where none says it. */
GQuark error_quark(void);

void error_set(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The sentence, then ": " and what the errno means. Takes 12 and -12 alike. */
void error_set_errno(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Put ": " and what would work after a sentence that says only what is wrong. */
void error_hint(GError **error, const char *hint);

#endif
