/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ICH9's APM ports 0xb2 and 0xb3 (data sheet, 13.7.1 and 13.7.2): a command whose
 * writing raises a system management interrupt, and a byte beside it.
 */
#ifndef DEVICES_APM_H
#define DEVICES_APM_H

#include "bus.h"

struct apm;

/* smi: the command was written. Machine lock held. NULL: the ports are taken. */
struct apm *apm_new(struct bus *bus, void (*smi)(void *opaque), void *opaque);
void apm_free(struct apm *apm);
void apm_reset(struct apm *apm);        /* machine lock held */

#endif
