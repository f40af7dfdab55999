/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The q35 board: which devices there are, and how they are wired. */
#ifndef MACHINE_Q35_H
#define MACHINE_Q35_H

#include "bus.h"
#include "fw_cfg.h"
#include "pam.h"
#include "smram.h"
#include "device.h"
#include "chardev.h"
#include "power.h"
#include "vm.h"

struct q35;

/* All devices, their interrupt lines led to KVM's controllers.  NULL: two claim one address. */
struct q35 *q35_new(struct memory *mem, bool protected, const struct power_ops *power,
                    unsigned nr_serials);
/* PCI, and who can plug into it; once, right after q35_new(). The board frees them. */
struct devices *q35_make_devices(struct q35 *board, const struct device_host *host);
void q35_free(struct q35 *board);
struct bus *q35_bus(struct q35 *board);
struct fw_cfg *q35_fw_cfg(struct q35 *board);
/*
 * There is firmware, which sets up the bridge: its PAM and SMRAM registers do something.
 * pam, smram: NULL where they don't.
 */
void q35_use_firmware(struct q35 *board, struct pam *pam, struct smram *smram);
/* Somebody asked for an SMI since the last call: who did gets it. Machine lock held. */
bool q35_take_smi(struct q35 *board);
/* What the clock's CMOS RAM tells of memory and processors. */
void q35_set_cmos(struct q35 *board, uint64_t ram_size, unsigned cpus);
bool q35_connect_serial(struct q35 *board, unsigned index, struct chardev *chr, GError **error);
/* All devices to their power-on state, all interrupt lines low.  Takes the machine lock. */
void q35_reset(struct q35 *board);
/* Somebody presses the power button.  Takes the machine lock. */
void q35_power_button(struct q35 *board);

#endif
