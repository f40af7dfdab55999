/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 control: control, status and tag words, environments and whole states in
 * all four formats (SDM vol. 1, figures 8-9 to 8-12), the stack pointer.
 */
#include "fpu_state.h"

enum { ENV_16 = 14, ENV_32 = 28, STATE_MAX = ENV_32 + 80 };

/* FLDENV and FSAVE know the two bits a register that FXSAVE leaves out. */
enum { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static uint16_t tag_word(const struct cpu_fpu *fpu)
{
    uint16_t tags = 0;

    for (unsigned i = 0; i < 8; i++) {
        enum f80_class class = f80_classify((struct f80){ fpu->st[i].mantissa,
                                                          fpu->st[i].sign_exponent });
        unsigned tag = !(fpu->valid >> i & 1) ? TAG_EMPTY :
                       class == F80_ZERO ? TAG_ZERO :
                       class == F80_NORMAL ? TAG_VALID : TAG_SPECIAL;

        tags |= tag << 2 * i;
    }
    return tags;
}

static void set_tag_word(struct cpu_fpu *fpu, uint16_t tags)
{
    fpu->valid = 0;
    for (unsigned i = 0; i < 8; i++)
        if ((tags >> 2 * i & 3) != TAG_EMPTY)
            fpu->valid |= 1 << i;
}

static void set_control(struct cpu_fpu *fpu, uint16_t control)
{
    fpu->control = (control & FCW_VALID) | FCW_ONE;
    fpu_update_pending(fpu);
}

static void set_status(struct cpu_fpu *fpu, uint16_t status)
{
    fpu->status = status;
    fpu_update_pending(fpu);
}

/* Real-address and virtual-8086 mode keep 20-bit linear addresses instead of selectors. */
static bool env_is_real(const struct cpu *cpu)
{
    return !(cpu->cr0 & CR0_PE) || (cpu->flags & FLAG_VM);
}

/* The seven words of 2 or 4 bytes each. */
static void env_words(const struct cpu *cpu, unsigned size, uint32_t words[7])
{
    const struct cpu_fpu *fpu = &cpu->fpu;
    uint32_t fill = size == 4 ? 0xffff0000 : 0;

    words[0] = fill | fpu->control;
    words[1] = fill | fpu->status;
    words[2] = fill | tag_word(fpu);
    if (env_is_real(cpu)) {
        uint32_t ip = fpu->ip + fpu->cs * 16, dp = fpu->dp + fpu->ds * 16;

        words[3] = fill | (ip & 0xffff);
        words[4] = (size == 4 ? (ip >> 16) << 12 : (ip >> 4 & 0xf000)) | fpu->opcode;
        words[5] = fill | (dp & 0xffff);
        words[6] = size == 4 ? (dp >> 16) << 12 : (dp >> 4 & 0xf000);
    } else {
        words[3] = fpu->ip;
        words[4] = fpu->cs | (uint32_t)fpu->opcode << 16;
        words[5] = fpu->dp;
        words[6] = fill | fpu->ds;
    }
}

static void env_set_words(struct cpu *cpu, unsigned size, const uint32_t words[7])
{
    struct cpu_fpu *fpu = &cpu->fpu;

    fpu->control = (words[0] & FCW_VALID) | FCW_ONE;
    set_status(fpu, words[1]);
    set_tag_word(fpu, words[2]);
    if (env_is_real(cpu)) {
        uint32_t high_mask = size == 4 ? 0x0ffff000 : 0xf000;

        fpu->ip = (words[3] & 0xffff) | (words[4] & high_mask) << 4;
        fpu->dp = (words[5] & 0xffff) | (words[6] & high_mask) << 4;
        fpu->cs = fpu->ds = 0;
        fpu->opcode = words[4] & 0x7ff;
    } else {
        fpu->ip = words[3];
        fpu->cs = words[4];
        fpu->opcode = size == 4 ? words[4] >> 16 & 0x7ff : 0;
        fpu->dp = words[5];
        fpu->ds = words[6];
    }
}

static unsigned env_to_image(const struct cpu *cpu, unsigned size, uint8_t *image)
{
    uint32_t words[7];

    env_words(cpu, size, words);
    for (unsigned i = 0; i < 7; i++)
        memcpy(image + i * size, &words[i], size);
    return 7 * size;
}

static unsigned env_from_image(struct cpu *cpu, unsigned size, const uint8_t *image)
{
    uint32_t words[7] = { 0 };

    for (unsigned i = 0; i < 7; i++)
        memcpy(&words[i], image + i * size, size);
    env_set_words(cpu, size, words);
    return 7 * size;
}

enum cpu_status fpu_fnstenv(struct cpu *cpu, const struct insn *insn)
{
    uint8_t image[ENV_32];
    enum cpu_status status = fpu_begin_control(cpu);

    if (status != CPU_OK)
        return status;
    status = fpu_store(cpu, insn, image, env_to_image(cpu, insn->size, image));
    if (status == CPU_OK)
        set_control(&cpu->fpu, cpu->fpu.control | FCW_MASKS);
    return status;
}

enum cpu_status fpu_fldenv(struct cpu *cpu, const struct insn *insn)
{
    uint8_t image[ENV_32];
    enum cpu_status status = fpu_begin(cpu);

    if (status == CPU_OK)
        status = fpu_load(cpu, insn, image, 7 * insn->size);
    if (status == CPU_OK)
        env_from_image(cpu, insn->size, image);
    return status;
}

static void init(struct cpu_fpu *fpu)
{
    fpu->control = FCW_INIT;
    fpu->status = 0;
    fpu->valid = 0;
    fpu->opcode = 0;
    fpu->ip = fpu->dp = 0;
    fpu->cs = fpu->ds = 0;
}

enum cpu_status fpu_fnsave(struct cpu *cpu, const struct insn *insn)
{
    uint8_t image[STATE_MAX];
    unsigned at;
    enum cpu_status status = fpu_begin_control(cpu);

    if (status != CPU_OK)
        return status;
    at = env_to_image(cpu, insn->size, image);
    for (unsigned i = 0; i < 8; i++, at += 10) {
        struct f80 st = fpu_get(&cpu->fpu, i);

        memcpy(image + at, &st.mantissa, 8);
        memcpy(image + at + 8, &st.sign_exponent, 2);
    }
    status = fpu_store(cpu, insn, image, at);
    if (status == CPU_OK)
        init(&cpu->fpu);
    return status;
}

enum cpu_status fpu_frstor(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    uint8_t image[STATE_MAX];
    unsigned at;
    enum cpu_status status = fpu_begin(cpu);

    if (status == CPU_OK)
        status = fpu_load(cpu, insn, image, 7 * insn->size + 80);
    if (status != CPU_OK)
        return status;
    at = env_from_image(cpu, insn->size, image);
    for (unsigned i = 0; i < 8; i++, at += 10) {
        union cpu_st *st = &fpu->st[fpu_physical(fpu, i)];

        memcpy(&st->mantissa, image + at, 8);
        memcpy(&st->sign_exponent, image + at + 8, 2);
    }
    return CPU_OK;
}

enum cpu_status fpu_fninit(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = fpu_begin_control(cpu);

    if (status == CPU_OK)
        init(&cpu->fpu);
    return status;
}

enum cpu_status fpu_fnclex(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = fpu_begin_control(cpu);

    if (status == CPU_OK)
        cpu->fpu.status &= ~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_BUSY);
    return status;
}

enum cpu_status fpu_fldcw(struct cpu *cpu, const struct insn *insn)
{
    uint16_t control;
    enum cpu_status status = fpu_begin(cpu);

    if (status == CPU_OK)
        status = fpu_load(cpu, insn, &control, 2);
    if (status == CPU_OK)
        set_control(&cpu->fpu, control);
    return status;
}

enum cpu_status fpu_fnstcw(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = fpu_begin_control(cpu);

    return status == CPU_OK ? fpu_store_word(cpu, insn, cpu->fpu.control) : status;
}

enum cpu_status fpu_fnstsw(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = fpu_begin_control(cpu);

    return status == CPU_OK ? fpu_store_word(cpu, insn, cpu->fpu.status) : status;
}

enum cpu_status fpu_fnstsw_ax(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = fpu_begin_control(cpu);

    if (status == CPU_OK)
        cpu->regs[REG_RAX] = (cpu->regs[REG_RAX] & ~0xffffull) | cpu->fpu.status;
    return status;
}

/* FNOP. */
enum cpu_status fpu_fnop(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = fpu_begin(cpu);

    return status == CPU_OK ? fpu_end(cpu, insn) : status;
}

/* FENI, FDISI and FSETPM of older coprocessors: nothing today. */
enum cpu_status fpu_obsolete(struct cpu *cpu, const struct insn *insn)
{
    return fpu_begin_control(cpu);
}

/* WAIT looks at TS only together with MP. */
enum cpu_status fpu_fwait(struct cpu *cpu, const struct insn *insn)
{
    if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        return raise_fault(cpu, VECTOR_NM);
    return fpu_check_pending(cpu);
}

static enum cpu_status turn_stack(struct cpu *cpu, const struct insn *insn, int by)
{
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    fpu_raise(&cpu->fpu, 0, 0);
    fpu_set_top(&cpu->fpu, fpu_top(&cpu->fpu) + by);
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fincstp(struct cpu *cpu, const struct insn *insn)
{
    return turn_stack(cpu, insn, 1);
}

enum cpu_status fpu_fdecstp(struct cpu *cpu, const struct insn *insn)
{
    return turn_stack(cpu, insn, -1);
}

enum cpu_status fpu_ffree(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    fpu_raise(fpu, 0, 0);
    fpu->valid &= ~(1 << fpu_physical(fpu, insn->rm & 7));
    return fpu_end(cpu, insn);
}

/* Undocumented, known to all processors: FFREE and a pop. */
enum cpu_status fpu_ffreep(struct cpu *cpu, const struct insn *insn)
{
    enum cpu_status status = fpu_ffree(cpu, insn);

    if (status == CPU_OK)
        fpu_pop(&cpu->fpu);
    return status;
}
