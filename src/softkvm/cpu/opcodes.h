/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declares every executor that the opcode table names.  Files that define executors include it. */
#ifndef SOFTKVM_CPU_OPCODES_H
#define SOFTKVM_CPU_OPCODES_H

#include "opcode.h"

#define BODY(body_) insn_body body_;
#define HOT(pick_, body_) insn_pick pick_; insn_body body_;
#define OP(map_, opcode_, prefix_, digit_, rm_, name_, operands_, attrs_, undef_, exec_) exec_
#include "opcodes.def"
#undef OP
#undef HOT
#undef BODY

#endif
