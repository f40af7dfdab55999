/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the program's own CPUID instructions say under --sev. */
#ifndef LAUNCHER_MACHINE_CPUID_H
#define LAUNCHER_MACHINE_CPUID_H

/*
 * From here on those of the executable (not of its libraries) tell of SEV.  Before the
 * program runs; nothing is done where the machine says the same itself.
 */
void machine_cpuid_set(void);

#endif
