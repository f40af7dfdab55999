/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Control registers and EFER as instructions write them: checked, and followed
 * by what depends on them (mode, TLB).  CPU_OK, or CPU_FAULT with #GP(0) and
 * nothing changed.
 */
#ifndef SOFTKVM_CPU_CONTROL_H
#define SOFTKVM_CPU_CONTROL_H

#include "cpu.h"

enum cpu_status control_write_cr0(struct cpu *cpu, uint64_t value);
enum cpu_status control_write_cr3(struct cpu *cpu, uint64_t value);
enum cpu_status control_write_cr4(struct cpu *cpu, uint64_t value);
bool control_write_efer(struct cpu *cpu, uint64_t value);

#endif
