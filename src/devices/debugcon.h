/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* isa-debugcon: a port to which firmware writes what it is doing. */
#ifndef DEVICES_DEBUGCON_H
#define DEVICES_DEBUGCON_H

#include "chardev.h"
#include "device.h"

enum { DEBUGCON_PORT = 0xe9 };  /* the default; SeaBIOS and OVMF write to 0x402 */

extern const struct device_type debugcon_type;

#endif
