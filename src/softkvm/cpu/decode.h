/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From instruction bytes to struct insn. */
#ifndef SOFTKVM_CPU_DECODE_H
#define SOFTKVM_CPU_DECODE_H

#include "opcode.h"

enum { INSN_MAX_BYTES = 15 };

/*
 * decode_insn - decode one instruction.
 * @bytes, @avail: its bytes, as many as can be had up to INSN_MAX_BYTES.
 * @off: of the instruction from the start of its block.
 *
 * Returns its length, or 0 when avail bytes aren't all of it.  Whatever can't be
 * executed (#UD, more than 15 bytes) is decoded too, with a body that raises
 * the fault, and ends the block.
 */
unsigned decode_insn(const uint8_t *bytes, unsigned avail, struct decode_mode mode, unsigned off,
                     struct insn *insn);

/* Must this instruction be the last of its block? */
bool decode_ends_block(const struct insn *insn);

#endif
