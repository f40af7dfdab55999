/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands of KVM_MEMORY_ENCRYPT_OP on their way, for the files that have them:
 * sev.c (the table, and what isn't of a launch), sev_launch.c, sev_debug.c.
 */
#ifndef SOFTKVM_SEV_COMMAND_H
#define SOFTKVM_SEV_COMMAND_H

#include "kvm_uapi.h"
#include "sev_guest.h"

#include <errno.h>

struct sev_memory;
struct sev_region;
struct vm;

struct sev {
    struct sev_memory *memory;
    struct sev_guest guest;
    int fd;                     /* LAUNCH_START's */
    struct sev_region *regions;
};

/* data is a copy of the command's structure. vm->lock held. */
struct sev_call {
    struct vm *vm;
    struct kvm_sev_cmd *cmd;
    void *data;
};

/* The firmware's answer. */
static inline int sev_firmware(struct sev_call *call, int code)
{
    call->cmd->error = code;
    return code ? -EIO : 0;
}

/* All return 0 or -errno, the firmware's code being in the command. */
int sev_launch_start(struct sev_call *call);
int sev_launch_update_data(struct sev_call *call);
int sev_launch_measure(struct sev_call *call);
int sev_launch_secret(struct sev_call *call);
int sev_launch_finish(struct sev_call *call);
int sev_attestation_report(struct sev_call *call);
int sev_dbg_decrypt(struct sev_call *call);
int sev_dbg_encrypt(struct sev_call *call);

#endif
