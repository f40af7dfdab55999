/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* System management mode, for the rest of this folder; cpu.h has what others use. */
#ifndef SOFTKVM_CPU_SMM_H
#define SOFTKVM_CPU_SMM_H

#include "cpu.h"

enum { SMBASE_RESET = 0x30000 };

#endif
