/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the program's own CPUID instructions say under --sev and --cpuid-virtualization. */
#ifndef LAUNCHER_MACHINE_CPUID_H
#define LAUNCHER_MACHINE_CPUID_H

#include <stdbool.h>

/*
 * From here on those of the executable (not of its libraries) tell of SEV, or of VMX or SVM,
 * by the machine's vendor.  Once, before the program runs; nothing is done where the machine
 * says the same itself.
 */
void machine_cpuid_set(bool sev, bool virtualization);

#endif
