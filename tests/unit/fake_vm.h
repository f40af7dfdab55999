/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A machine for tests of the monitor: two vCPUs and two RamBlocks that exist
 * only as answers.  It replaces src/memory and src/kvm at link time.
 */
#ifndef TESTS_FAKE_VM_H
#define TESTS_FAKE_VM_H

#include "monitor.h"

extern struct monitor_vm fake_vm;

/* Of 0x10000 bytes, shared; as many behind it are private. */
extern uint8_t fake_ram[];

/* What has been asked of it: "stop cont reset". Cleared by reading. */
char *fake_vm_take_log(void);
/* Back to running, log empty. */
void fake_vm_reset(void);
/* Whether any vCPU is held still. */
bool fake_vm_holds(void);

#endif
