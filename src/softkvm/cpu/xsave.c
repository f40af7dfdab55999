/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of x87 and SSE in memory: MXCSR, FXSAVE, XSAVE in the standard format
 * (SDM vol. 1, sections 10.5 and 13.4 to 13.8).
 *
 * XSAVE and XSAVEOPT take every component for in use and modified, which the
 * manual allows.
 */
#include "sse.h"

enum {
    FX_MXCSR = 24, FX_ST = 32, FX_XMM = 160, FX_SIZE = 512,
    FX_END_64 = FX_XMM + 16 * 16, FX_END_32 = FX_XMM + 8 * 16,
    XSAVE_BV = 512, XSAVE_COMP_BV = 520, XSAVE_SIZE = 576,
    XFEATURE_X87 = 1 << 0, XFEATURE_SSE = 1 << 1,
};

static void put(uint8_t *image, unsigned at, uint64_t value, unsigned size)
{
    memcpy(image + at, &value, size);
}

static uint64_t get(const uint8_t *image, unsigned at, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, image + at, size);
    return value;
}

/* Bytes 0-23 and 32-159.  wide: 64-bit pointers (REX.W) instead of selector and offset. */
static void x87_to_image(const struct cpu_fpu *fpu, uint8_t *image, bool wide)
{
    unsigned top = fpu->status >> FSW_TOP_SHIFT & 7;

    put(image, 0, fpu->control, 2);
    put(image, 2, fpu->status, 2);
    put(image, 4, fpu->valid, 2);
    put(image, 6, fpu->opcode, 2);
    put(image, 8, wide ? fpu->ip : (uint32_t)fpu->ip | (uint64_t)fpu->cs << 32, 8);
    put(image, 16, wide ? fpu->dp : (uint32_t)fpu->dp | (uint64_t)fpu->ds << 32, 8);
    for (unsigned i = 0; i < 8; i++) {
        const union cpu_st *st = &fpu->st[(top + i) & 7];

        put(image, FX_ST + 16 * i, st->mantissa, 8);
        put(image, FX_ST + 16 * i + 8, st->sign_exponent, 8);
    }
}

static void x87_from_image(struct cpu_fpu *fpu, const uint8_t *image, bool wide)
{
    unsigned top;

    fpu->control = (get(image, 0, 2) & FCW_VALID) | FCW_ONE;
    fpu->status = get(image, 2, 2);
    fpu->valid = get(image, 4, 1);
    fpu->opcode = get(image, 6, 2) & 0x7ff;
    fpu->ip = get(image, 8, wide ? 8 : 4);
    fpu->dp = get(image, 16, wide ? 8 : 4);
    fpu->cs = wide ? 0 : get(image, 12, 2);
    fpu->ds = wide ? 0 : get(image, 20, 2);
    fpu_update_pending(fpu);
    top = fpu->status >> FSW_TOP_SHIFT & 7;
    for (unsigned i = 0; i < 8; i++) {
        union cpu_st *st = &fpu->st[(top + i) & 7];

        st->mantissa = get(image, FX_ST + 16 * i, 8);
        st->sign_exponent = get(image, FX_ST + 16 * i + 8, 2);
    }
}

static void x87_init(struct cpu_fpu *fpu)
{
    fpu->control = FCW_INIT;
    fpu->status = 0;
    fpu->valid = 0;
    fpu->opcode = 0;
    fpu->ip = fpu->dp = 0;
    fpu->cs = fpu->ds = 0;
    memset(fpu->st, 0, sizeof(fpu->st));
}

static void mxcsr_to_image(const struct cpu_fpu *fpu, uint8_t *image)
{
    put(image, FX_MXCSR, fpu->mxcsr | (uint64_t)MXCSR_VALID << 32, 8);
}

/* 64-bit mode has all registers in the image, the others eight. */
static unsigned image_end(const struct cpu *cpu)
{
    return cpu->code_size == 8 ? FX_END_64 : FX_END_32;
}

static bool mxcsr_valid(const uint8_t *image)
{
    return !(get(image, FX_MXCSR, 4) & ~(uint64_t)MXCSR_VALID);
}

enum cpu_status exec_ldmxcsr(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm value;
    enum cpu_status status;

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    status = sse_load(cpu, insn, 4, 0, &value);
    if (status != CPU_OK)
        return status;
    if (value.u32[0] & ~(uint32_t)MXCSR_VALID)
        return raise_gp(cpu);
    cpu->fpu.mxcsr = value.u32[0];
    fpu_apply(cpu);
    return CPU_OK;
}

enum cpu_status exec_stmxcsr(struct cpu *cpu, const struct insn *insn)
{
    union cpu_xmm value = { .u64 = { 0, 0 } };

    if (!sse_usable(cpu))
        return sse_unusable(cpu);
    fpu_sync(cpu);
    value.u32[0] = cpu->fpu.mxcsr;
    return sse_store(cpu, insn, 4, 0, &value);
}

/* The address of an image that must be aligned so; FXSAVE and XSAVE don't mind CR4.OSFXSR. */
static enum cpu_status image_address(struct cpu *cpu, const struct insn *insn, unsigned size,
                                     unsigned align, enum cpu_access access, uint64_t *addr)
{
    enum cpu_status status = insn_linear(cpu, insn, size, access, addr);

    if (status == CPU_OK && *addr & (align - 1))
        return raise_gp(cpu);
    return status;
}

enum cpu_status exec_fxsave(struct cpu *cpu, const struct insn *insn)
{
    uint8_t image[FX_SIZE] = { 0 };
    uint64_t addr;
    enum cpu_status status;

    if (cpu->cr0 & (CR0_EM | CR0_TS))
        return raise_fault(cpu, VECTOR_NM);
    status = image_address(cpu, insn, FX_SIZE, 16, ACCESS_WRITE, &addr);
    if (status != CPU_OK)
        return status;
    fpu_sync(cpu);
    x87_to_image(&cpu->fpu, image, insn->flags & INSN_REX_W);
    mxcsr_to_image(&cpu->fpu, image);
    memcpy(image + FX_XMM, cpu->fpu.xmm, image_end(cpu) - FX_XMM);
    return mmu_write(cpu, addr, image, image_end(cpu));
}

enum cpu_status exec_fxrstor(struct cpu *cpu, const struct insn *insn)
{
    uint8_t image[FX_SIZE];
    uint64_t addr;
    enum cpu_status status;

    if (cpu->cr0 & (CR0_EM | CR0_TS))
        return raise_fault(cpu, VECTOR_NM);
    status = image_address(cpu, insn, FX_SIZE, 16, ACCESS_READ, &addr);
    if (status == CPU_OK)
        status = mmu_read(cpu, addr, image, FX_SIZE);
    if (status != CPU_OK)
        return status;
    if (!mxcsr_valid(image))
        return raise_gp(cpu);
    x87_from_image(&cpu->fpu, image, insn->flags & INSN_REX_W);
    memcpy(cpu->fpu.xmm, image + FX_XMM, image_end(cpu) - FX_XMM);
    cpu->fpu.mxcsr = get(image, FX_MXCSR, 4);
    fpu_apply(cpu);
    return CPU_OK;
}

/* What every XSAVE instruction checks; *features: what it is to deal with. */
static enum cpu_status xsave_begin(struct cpu *cpu, const struct insn *insn,
                                   enum cpu_access access, uint64_t *addr, uint64_t *features)
{
    if (!(cpu->cr4 & CR4_OSXSAVE))
        return raise_fault(cpu, VECTOR_UD);
    if (cpu->cr0 & CR0_TS)
        return raise_fault(cpu, VECTOR_NM);
    *features = cpu->xcr0 & ((uint32_t)cpu->regs[REG_RAX] | cpu->regs[REG_RDX] << 32);
    return image_address(cpu, insn, XSAVE_SIZE, 64, access, addr);
}

/* Copy [from, to) of the image to memory, unless an earlier piece failed. */
static void write_piece(struct cpu *cpu, uint64_t addr, const uint8_t *image, unsigned from,
                        unsigned to, enum cpu_status *status)
{
    if (*status == CPU_OK)
        *status = mmu_write(cpu, addr + from, image + from, to - from);
}

enum cpu_status exec_xsave(struct cpu *cpu, const struct insn *insn)
{
    uint8_t image[XSAVE_SIZE] = { 0 };
    uint64_t addr, features, in_memory;
    enum cpu_status status = xsave_begin(cpu, insn, ACCESS_WRITE, &addr, &features);

    if (status == CPU_OK)
        status = mmu_probe(cpu, addr, XSAVE_SIZE, ACCESS_WRITE);
    if (status == CPU_OK)
        status = mmu_read64(cpu, addr + XSAVE_BV, &in_memory);
    if (status != CPU_OK)
        return status;
    fpu_sync(cpu);
    x87_to_image(&cpu->fpu, image, insn->flags & INSN_REX_W);
    mxcsr_to_image(&cpu->fpu, image);
    memcpy(image + FX_XMM, cpu->fpu.xmm, image_end(cpu) - FX_XMM);
    if (features & XFEATURE_X87) {
        write_piece(cpu, addr, image, 0, FX_MXCSR, &status);
        write_piece(cpu, addr, image, FX_ST, FX_XMM, &status);
    }
    if (features & XFEATURE_SSE) {
        write_piece(cpu, addr, image, FX_MXCSR, FX_ST, &status);
        write_piece(cpu, addr, image, FX_XMM, image_end(cpu), &status);
    }
    if (status != CPU_OK)
        return status;
    return mmu_write64(cpu, addr + XSAVE_BV, (in_memory & ~features) |
                                             (features & (XFEATURE_X87 | XFEATURE_SSE)));
}

enum cpu_status exec_xsaveopt(struct cpu *cpu, const struct insn *insn)
{
    return exec_xsave(cpu, insn);
}

/* Load or reset the components of features, as the image's header says. */
static void image_restore(struct cpu_fpu *fpu, const uint8_t *image, uint64_t features, bool wide,
                          unsigned xmm_end)
{
    uint64_t present = get(image, XSAVE_BV, 8);

    if (features & present & XFEATURE_X87)
        x87_from_image(fpu, image, wide);
    else if (features & XFEATURE_X87)
        x87_init(fpu);
    if (features & present & XFEATURE_SSE)
        memcpy(fpu->xmm, image + FX_XMM, xmm_end - FX_XMM);
    else if (features & XFEATURE_SSE)
        memset(fpu->xmm, 0, xmm_end - FX_XMM);
    if (features & XFEATURE_SSE)
        fpu->mxcsr = get(image, FX_MXCSR, 4);
}

enum cpu_status exec_xrstor(struct cpu *cpu, const struct insn *insn)
{
    uint8_t image[XSAVE_SIZE];
    uint64_t addr, features;
    enum cpu_status status = xsave_begin(cpu, insn, ACCESS_READ, &addr, &features);

    if (status == CPU_OK)
        status = mmu_read(cpu, addr, image, XSAVE_SIZE);
    if (status != CPU_OK)
        return status;
    if ((get(image, XSAVE_BV, 8) & ~cpu->xcr0) || get(image, XSAVE_COMP_BV, 8) ||
        get(image, XSAVE_COMP_BV + 8, 8))
        return raise_gp(cpu);
    if ((features & XFEATURE_SSE) && !mxcsr_valid(image))
        return raise_gp(cpu);
    fpu_sync(cpu);
    image_restore(&cpu->fpu, image, features, insn->flags & INSN_REX_W, image_end(cpu));
    fpu_apply(cpu);
    return CPU_OK;
}

void cpu_xsave(const struct cpu *cpu, void *area)
{
    uint8_t *image = area;

    memset(image, 0, XSAVE_SIZE);
    x87_to_image(&cpu->fpu, image, true);
    mxcsr_to_image(&cpu->fpu, image);
    memcpy(image + FX_XMM, cpu->fpu.xmm, sizeof(cpu->fpu.xmm));
    put(image, XSAVE_BV, XFEATURE_X87 | XFEATURE_SSE, 8);
}

bool cpu_xrstor(struct cpu *cpu, const void *area)
{
    const uint8_t *image = area;

    if ((get(image, XSAVE_BV, 8) & ~(uint64_t)(XFEATURE_X87 | XFEATURE_SSE)) ||
        get(image, XSAVE_COMP_BV, 8) || !mxcsr_valid(image))
        return false;
    image_restore(&cpu->fpu, image, XFEATURE_X87 | XFEATURE_SSE, true, FX_END_64);
    return true;
}
