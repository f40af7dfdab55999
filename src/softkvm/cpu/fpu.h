/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 state and the checks that its instructions share (SDM vol. 1, chapter 8).
 */
#ifndef SOFTKVM_FPU_H
#define SOFTKVM_FPU_H

#include "exception.h"
#include "mode.h"

enum {
    FSW_IE = 1 << 0, FSW_DE = 1 << 1, FSW_ZE = 1 << 2, FSW_OE = 1 << 3, FSW_UE = 1 << 4,
    FSW_PE = 1 << 5, FSW_SF = 1 << 6, FSW_ES = 1 << 7, FSW_C0 = 1 << 8, FSW_C1 = 1 << 9,
    FSW_C2 = 1 << 10, FSW_TOP_SHIFT = 11, FSW_TOP = 7 << 11, FSW_C3 = 1 << 14,
    FSW_BUSY = 1 << 15, FSW_EXCEPTIONS = 0x3f,
    FSW_CC = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3,

    FCW_MASKS = 0x3f, FCW_ONE = 1 << 6, FCW_PC_SHIFT = 8, FCW_PC = 3 << 8, FCW_RC_SHIFT = 10,
    FCW_RC = 3 << 10, FCW_VALID = 0x1f3f, FCW_RESET = 0x40, FCW_INIT = 0x37f,
};

/* Make ES and B agree with exceptions and masks: after either was loaded. */
static inline void fpu_update_pending(struct cpu_fpu *fpu)
{
    if (fpu->status & ~fpu->control & FSW_EXCEPTIONS)
        fpu->status |= FSW_ES | FSW_BUSY;
    else
        fpu->status &= ~(FSW_ES | FSW_BUSY);
}

/*
 * fpu_check_pending - #MF where an unmasked exception waits: what FWAIT and every
 * waiting x87 or MMX instruction does first.
 */
enum cpu_status fpu_check_pending(struct cpu *cpu);

#endif
