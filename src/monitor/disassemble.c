/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Instructions by capstone, in AT&T's syntax, as QEMU and gdb show them. */
#include "examine.h"

#include "debug.h"
#include "error.h"

#include <inttypes.h>

#ifdef HAVE_CAPSTONE

#include <capstone/capstone.h>

enum { INSN_MAX = 15, BYTES_SHOWN = 8 };

/* As the vCPU would take code now. */
static cs_mode code_mode(const struct kvm_sregs *sregs)
{
    if (sregs->cs.l)
        return CS_MODE_64;
    return sregs->cs.db ? CS_MODE_32 : CS_MODE_16;
}

/* Bytes of the instruction at addr, 0: none can be read; one that isn't known is a byte long. */
static unsigned one_instruction(csh handle, uint64_t addr, const uint8_t *bytes, unsigned have,
                                GString *out)
{
    cs_insn *insn = NULL;
    size_t got = cs_disasm(handle, bytes, have, addr, 1, &insn);
    unsigned n = got ? insn->size : 1;

    g_string_append_printf(out, "0x%08" PRIx64 ": ", addr);
    for (unsigned i = 0; i < n; i++)
        g_string_append_printf(out, " %02x", bytes[i]);
    for (unsigned i = n; i < BYTES_SHOWN; i++)
        g_string_append(out, "   ");
    if (got)
        g_string_append_printf(out, "  %-8s %s\n", insn->mnemonic, insn->op_str);
    else
        g_string_append_printf(out, "  .byte    0x%02x\n", bytes[0]);
    cs_free(insn, got);
    return n;
}

bool examine_code(const struct monitor_ctx *ctx, struct page_walk *walk, uint64_t addr,
                  uint32_t count, GString *out, GError **error)
{
    struct debug_registers registers;
    csh handle;

    if (!debug_registers(ctx->vm->debug, *ctx->cpu, &registers, error))
        return false;
    if (cs_open(CS_ARCH_X86, code_mode(&registers.sregs), &handle) != CS_ERR_OK) {
        error_set(error, "capstone can't disassemble x86");
        return false;
    }
    cs_option(handle, CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT);
    while (count--) {
        g_autoptr(GError) unreadable = NULL;
        uint8_t bytes[INSN_MAX];
        unsigned have = (unsigned)debug_read(ctx->vm->debug, walk, addr, bytes, sizeof(bytes),
                                             &unreadable);

        if (!have) {
            g_string_append_printf(out, "0x%08" PRIx64 ": unable to read memory\n%s\n", addr,
                                   unreadable->message);
            break;
        }
        addr += one_instruction(handle, addr, bytes, have, out);
    }
    cs_close(&handle);
    return true;
}

#else

bool examine_code(const struct monitor_ctx *ctx, struct page_walk *walk, uint64_t addr,
                  uint32_t count, GString *out, GError **error)
{
    error_set(error, "this cloister was built without capstone, which 'i' needs: another format");
    return false;
}

#endif
