/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Numbers as people type them at the monitor: expressions with registers of the
 * monitor's CPU.  QEMU's operators and names; the 64-bit names beside them.
 */
#ifndef MONITOR_EXPRESSION_H
#define MONITOR_EXPRESSION_H

#include "command.h"

/*
 * expression_eval - the longest expression at *p, which is left behind it.
 * 64 bits, wrapping round.  False: the error is set, in QEMU's words.
 */
bool expression_eval(const struct monitor_ctx *ctx, const char **p, uint64_t *ret, GError **error);

#endif
