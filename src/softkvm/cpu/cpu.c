// SPDX-License-Identifier: LGPL-2.1-or-later
/* A processor's birth, reset and end (SDM vol. 3, section 10.1). */
#include "cpu.h"
#include "block.h"
#include "debug.h"
#include "mmu.h"
#include "mode.h"
#include "segment.h"
#include "smm.h"

#include <stdlib.h>

enum {
    AR_RESET = SEG_AR_P | SEG_AR_S | SEG_TYPE_WRITE | SEG_TYPE_ACCESSED,
    AR_RESET_CODE = AR_RESET | SEG_TYPE_CODE,
    MISC_ENABLE_RESET = 0x1801,     /* fast strings; no BTS, no PEBS */
};
#define PAT_RESET 0x0007040600070406ull

/* What RESET and INIT have in common. */
static void init_state(struct cpu *cpu)
{
    const struct cpu_segment data = { .limit = 0xffff, .ar = AR_RESET };

    for (unsigned i = 0; i < CPU_NR_REGS; i++)
        cpu->regs[i] = 0;
    cpu->regs[REG_RDX] = 0x600;
    cpu->regs[REG_RIP] = 0xfff0;
    cpu_set_rflags(cpu, FLAG_ONE);
    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        cpu->seg[i] = data;
    cpu->seg[SEG_CS] = (struct cpu_segment){
        .base = 0xffff0000, .limit = 0xffff, .ar = AR_RESET_CODE, .selector = 0xf000,
    };
    cpu->seg[SEG_LDTR] = (struct cpu_segment){ .limit = 0xffff, .ar = SEG_AR_P | DESC_LDT };
    cpu->seg[SEG_TR] = (struct cpu_segment){ .limit = 0xffff, .ar = SEG_AR_P | DESC_TSS_BUSY };
    cpu->gdt = cpu->idt = (struct cpu_table){ .limit = 0xffff };
    /* INIT leaves the caches' CD and NW alone. */
    cpu->cr0 = (cpu->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
    cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->efer = 0;
    cpu->dr[0] = cpu->dr[1] = cpu->dr[2] = cpu->dr[3] = 0;
    cpu->dr[6] = DR6_FIXED;
    cpu->dr[7] = DR7_FIXED;
    cpu->interrupt_shadow = 0;
    cpu->nmi_masked = false;
    cpu->event.pending = false;
    cpu->debug_hits = 0;
    cpu->attention = 0;
}

void cpu_init(struct cpu *cpu)
{
    init_state(cpu);
    cpu_state_replaced(cpu);
}

void cpu_reset(struct cpu *cpu)
{
    cpu->cr0 = CR0_CD | CR0_NW;
    init_state(cpu);
    cpu->in_smm = cpu->smm_inside_nmi = false;
    cpu->smbase = SMBASE_RESET;
    cpu->xcr0 = 1;
    cpu->fpu = (struct cpu_fpu){ .control = 0x40, .mxcsr = 0x1f80 };
    cpu->star = cpu->lstar = cpu->cstar = cpu->sfmask = cpu->kernel_gs_base = 0;
    cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
    cpu->pat = PAT_RESET;
    cpu->tsc_aux = cpu->spec_ctrl = cpu->debugctl = 0;
    cpu->misc_enable = MISC_ENABLE_RESET;
    cpu->mtrr_def_type = 0;
    memset(cpu->mtrr_fixed, 0, sizeof(cpu->mtrr_fixed));
    memset(cpu->mtrr_var, 0, sizeof(cpu->mtrr_var));
    memset(cpu->pdptr, 0, sizeof(cpu->pdptr));
    cpu->mcg_status = 0;
    cpu->mcg_cap = CPU_MCE_BANKS;
    cpu->mcg_ctl = 0;
    cpu->power_ctl = 0;
    memset(cpu->mce_banks, 0, sizeof(cpu->mce_banks));
    cpu_state_replaced(cpu);
    tlb_reset(cpu);
}

void cpu_state_replaced(struct cpu *cpu)
{
    cpu_update_mode(cpu);
    cpu->pdptr_stale = true;
    tlb_flush_all(cpu);
    block_cache_flush_all(cpu);
    debug_update(cpu);
}

struct cpu *cpu_new(const struct cpu_ops *ops, void *opaque)
{
    struct cpu *cpu = aligned_alloc(_Alignof(struct cpu), sizeof(*cpu));

    if (!cpu)
        return NULL;
    memset(cpu, 0, sizeof(*cpu));
    cpu->ops = ops;
    cpu->opaque = opaque;
    cpu->phys_bits = CPU_PHYS_BITS;
    cpu->tlb = tlb_new();
    cpu->blocks = block_cache_new();
    if (!cpu->tlb || !cpu->blocks) {
        cpu_free(cpu);
        return NULL;
    }
    cpu_reset(cpu);
    return cpu;
}

void cpu_free(struct cpu *cpu)
{
    if (!cpu)
        return;
    tlb_free(cpu->tlb);
    block_cache_free(cpu->blocks);
    free(cpu);
}
