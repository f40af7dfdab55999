/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Debug registers: breakpoints on instructions, data and I/O ports (SDM vol. 3,
 * chapter 17).  The registers in force are the guest's DR0-DR7, or those of
 * KVM_SET_GUEST_DEBUG while user space uses hardware breakpoints.
 *
 * Nothing here costs anything while no breakpoint is armed: cpu->debug_code,
 * debug_data and debug_io say whether.
 */
#ifndef SOFTKVM_CPU_DEBUG_H
#define SOFTKVM_CPU_DEBUG_H

#include "cpu.h"

#define DR6_FIXED 0xffff0ff0u
#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR6_BT (1u << 15)
#define DR7_FIXED 0x400u
#define DR7_GD (1u << 13)

/* After any change of the debug registers, CR4.DE, or guest_debug: what is armed? */
void debug_update(struct cpu *cpu);

/* The DR6 bits of instruction breakpoints at linear address addr. */
uint32_t debug_code_hits(const struct cpu *cpu, uint64_t addr);

/* Does a data breakpoint watch something in the page at addr? */
bool debug_data_page(const struct cpu *cpu, uint64_t addr);

/* Record in cpu->debug_hits the breakpoints that an access hits. */
void debug_data_access(struct cpu *cpu, uint64_t addr, unsigned size, enum cpu_access access);
void debug_io_access(struct cpu *cpu, uint16_t port, unsigned size);

#endif
