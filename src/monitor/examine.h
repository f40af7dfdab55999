/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What people see of memory: `x`'s formats, and instructions. */
#ifndef MONITOR_EXAMINE_H
#define MONITOR_EXAMINE_H

#include "command.h"
#include "page_walk.h"

/* "/4xg": letters stay as they were last time where they aren't given. */
struct examine_format {
    uint32_t count;
    char format;                /* x d u o c i */
    unsigned size;              /* 1, 2, 4, 8 */
};

/* text: NULL or with its slash.  False: the error is set. */
bool examine_format_parse(const char *text, struct examine_format *ret, GError **error);

/* One value, padded to its column or not. */
void examine_value(const struct examine_format *fmt, uint64_t value, bool pad, GString *out);

/*
 * Memory at addr in lines; walk: virtual as its vCPU sees it, NULL: physical.
 * What can't be read is marked, with the reason, and ends it.
 */
void examine_memory(const struct monitor_ctx *ctx, struct page_walk *walk, uint64_t addr,
                    const struct examine_format *fmt, GString *out);

/* disassemble.c: count instructions. False with the error set: not built with capstone. */
bool examine_code(const struct monitor_ctx *ctx, struct page_walk *walk, uint64_t addr,
                  uint32_t count, GString *out, GError **error);

#endif
