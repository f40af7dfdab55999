/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The q35 board: which devices there are, and how they are wired. */
#ifndef MACHINE_Q35_H
#define MACHINE_Q35_H

#include "bus.h"
#include "device.h"
#include "chardev.h"
#include "power.h"
#include "vm.h"

struct q35;

/* All devices, their interrupt lines led to KVM's controllers.  NULL: two claim one address. */
struct q35 *q35_new(struct kvm_vm *vm, const struct power_ops *power, unsigned nr_serials);
/* PCI, and who can plug into it; once, right after q35_new(). The board frees them. */
struct devices *q35_make_devices(struct q35 *board, const struct device_host *host);
void q35_free(struct q35 *board);
struct bus *q35_bus(struct q35 *board);
bool q35_connect_serial(struct q35 *board, unsigned index, struct chardev *chr, GError **error);
/* All devices to their power-on state, all interrupt lines low.  Takes the machine lock. */
void q35_reset(struct q35 *board);
/* Somebody presses the power button.  Takes the machine lock. */
void q35_power_button(struct q35 *board);

#endif
