/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one error domain above the KVM seam. */
#include "error.h"

#include <stdarg.h>
#include <stdlib.h>

G_DEFINE_QUARK(cloister-error-quark, error)

void error_set(GError **error, const char *format, ...)
{
    va_list args;

    if (!error)
        return;
    va_start(args, format);
    *error = g_error_new_valist(error_quark(), 0, format, args);
    va_end(args);
}

void error_set_errno(GError **error, int err, const char *format, ...)
{
    va_list args;

    if (!error)
        return;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    *error = g_error_new(error_quark(), abs(err), "%s: %s", what, g_strerror(abs(err)));
}

void error_hint(GError **error, const char *hint)
{
    char *message;

    if (!error || !*error)
        return;
    message = g_strconcat((*error)->message, ": ", hint, NULL);
    g_free((*error)->message);
    (*error)->message = message;
}
