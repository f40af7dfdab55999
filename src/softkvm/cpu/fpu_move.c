/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 loads, stores, exchanges and constants (SDM vol. 2: FLD, FST, FILD, FIST,
 * FISTTP, FBLD, FBSTP, FXCH, FCMOV, FLD1...).
 */
#include "flags.h"
#include "fpu_state.h"

/* Loads.  Only the shorter formats can raise something: #D, and #I for a signalling NaN. */
static struct f80 quiet(struct f80_env *env, struct f80 a)
{
    return f80_classify(a) == F80_NAN ? f80_nan(env, a, f80_zero) : a;
}

#define LOAD(name_, type_, convert_)                                                        \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        struct f80_env env = fpu_env(&cpu->fpu);                                            \
        struct f80 r;                                                                       \
        type_ value;                                                                        \
        enum cpu_status status = fpu_begin(cpu);                                            \
                                                                                            \
        if (status == CPU_OK)                                                               \
            status = fpu_load(cpu, insn, &value, sizeof(value));                            \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        r = convert_;                                                                       \
        fpu_push_result(&cpu->fpu, r, env.flags);                                           \
        return fpu_end(cpu, insn);                                                          \
    }
LOAD(fpu_fld_m32, uint32_t, quiet(&env, f80_from_f32(&env, value)))
LOAD(fpu_fld_m64, uint64_t, quiet(&env, f80_from_f64(&env, value)))
LOAD(fpu_fild_m16, int16_t, f80_from_int(value))
LOAD(fpu_fild_m32, int32_t, f80_from_int(value))
LOAD(fpu_fild_m64, int64_t, f80_from_int(value))

enum cpu_status fpu_fld_m80(struct cpu *cpu, const struct insn *insn)
{
    union cpu_st value;
    enum cpu_status status = fpu_begin(cpu);

    if (status == CPU_OK)
        status = fpu_load(cpu, insn, &value, 10);
    if (status != CPU_OK)
        return status;
    fpu_push_result(&cpu->fpu, (struct f80){ value.mantissa, value.sign_exponent }, 0);
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fbld(struct cpu *cpu, const struct insn *insn)
{
    uint8_t bcd[10];
    struct f80 r;
    enum cpu_status status = fpu_begin(cpu);

    if (status == CPU_OK)
        status = fpu_load(cpu, insn, bcd, sizeof(bcd));
    if (status != CPU_OK)
        return status;
    f80_from_bcd(bcd, &r);
    fpu_push_result(&cpu->fpu, r, 0);
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fld_sti(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    unsigned i = insn->rm & 7;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (!fpu_empty(fpu, i))
        fpu_push_result(fpu, fpu_get(fpu, i), 0);
    else if (fpu_underflow(fpu))                /* comes before an overflow */
        fpu_push(fpu, f80_indefinite);
    return fpu_end(cpu, insn);
}

/*
 * Stores.  Memory is written before the status word changes, because it may fault;
 * unmasked #I, #O and #U leave it alone.
 */
static enum cpu_status store(struct cpu *cpu, const struct insn *insn, const void *data,
                             unsigned size, uint16_t flags, bool pop)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    const uint16_t forbidding = FSW_IE | FSW_OE | FSW_UE;
    uint64_t addr;
    enum cpu_status status = insn_linear(cpu, insn, size, ACCESS_WRITE, &addr);

    if (status == CPU_OK)
        status = flags & ~fpu->control & forbidding ? mmu_probe(cpu, addr, size, ACCESS_WRITE)
                                                    : mmu_write(cpu, addr, data, size);
    if (status != CPU_OK)
        return status;
    if (fpu_raise(fpu, flags, forbidding) && pop)
        fpu_pop(fpu);
    return fpu_end(cpu, insn);
}

/* An empty ST(0) is stored as the indefinite of the format: what indefinite_ converts to. */
#define STORE(name_, type_, convert_, pop_)                                                 \
    enum cpu_status name_(struct cpu *cpu, const struct insn *insn)                         \
    {                                                                                       \
        struct f80_env env = fpu_env(&cpu->fpu);                                            \
        bool empty = fpu_empty(&cpu->fpu, 0);                                               \
        struct f80 a = empty ? f80_indefinite : fpu_get(&cpu->fpu, 0);                      \
        type_ value;                                                                        \
        enum cpu_status status = fpu_begin(cpu);                                            \
                                                                                            \
        if (status != CPU_OK)                                                               \
            return status;                                                                  \
        value = convert_;                                                                   \
        if (empty)                                                                          \
            env.flags = FSW_IE | FSW_SF;                                                    \
        return store(cpu, insn, &value, sizeof(value), env.flags, pop_);                    \
    }
STORE(fpu_fst_m32, uint32_t, f80_to_f32(&env, a), false)
STORE(fpu_fstp_m32, uint32_t, f80_to_f32(&env, a), true)
STORE(fpu_fst_m64, uint64_t, f80_to_f64(&env, a), false)
STORE(fpu_fstp_m64, uint64_t, f80_to_f64(&env, a), true)
STORE(fpu_fist_m16, int16_t, f80_to_int(&env, a, 16, false), false)
STORE(fpu_fistp_m16, int16_t, f80_to_int(&env, a, 16, false), true)
STORE(fpu_fist_m32, int32_t, f80_to_int(&env, a, 32, false), false)
STORE(fpu_fistp_m32, int32_t, f80_to_int(&env, a, 32, false), true)
STORE(fpu_fistp_m64, int64_t, f80_to_int(&env, a, 64, false), true)
STORE(fpu_fisttp_m16, int16_t, f80_to_int(&env, a, 16, true), true)
STORE(fpu_fisttp_m32, int32_t, f80_to_int(&env, a, 32, true), true)
STORE(fpu_fisttp_m64, int64_t, f80_to_int(&env, a, 64, true), true)

enum cpu_status fpu_fstp_m80(struct cpu *cpu, const struct insn *insn)
{
    bool empty = fpu_empty(&cpu->fpu, 0);
    struct f80 a = empty ? f80_indefinite : fpu_get(&cpu->fpu, 0);
    uint8_t bytes[10];
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    memcpy(bytes, &a.mantissa, 8);
    memcpy(bytes + 8, &a.sign_exponent, 2);
    return store(cpu, insn, bytes, sizeof(bytes), empty ? FSW_IE | FSW_SF : 0, true);
}

enum cpu_status fpu_fbstp(struct cpu *cpu, const struct insn *insn)
{
    struct f80_env env = fpu_env(&cpu->fpu);
    bool empty = fpu_empty(&cpu->fpu, 0);
    uint8_t bcd[10];
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    f80_to_bcd(&env, empty ? f80_indefinite : fpu_get(&cpu->fpu, 0), bcd);
    if (empty)
        env.flags = FSW_IE | FSW_SF;
    return store(cpu, insn, bcd, sizeof(bcd), env.flags, true);
}

static enum cpu_status store_register(struct cpu *cpu, const struct insn *insn, bool pop)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    bool empty = fpu_empty(fpu, 0);
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (fpu_raise(fpu, empty ? FSW_IE | FSW_SF : 0, FSW_EARLY)) {
        fpu_set(fpu, insn->rm & 7, empty ? f80_indefinite : fpu_get(fpu, 0));
        if (pop)
            fpu_pop(fpu);
    }
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fst_sti(struct cpu *cpu, const struct insn *insn)
{
    return store_register(cpu, insn, false);
}

enum cpu_status fpu_fstp_sti(struct cpu *cpu, const struct insn *insn)
{
    return store_register(cpu, insn, true);
}

/* D9 D8+i: a twin of FSTP to which an empty ST(0) is no exception: it only pops. */
enum cpu_status fpu_fstpnce(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    fpu_raise(fpu, 0, 0);
    if (!fpu_empty(fpu, 0))
        fpu_set(fpu, insn->rm & 7, fpu_get(fpu, 0));
    fpu_pop(fpu);
    return fpu_end(cpu, insn);
}

enum cpu_status fpu_fxch(struct cpu *cpu, const struct insn *insn)
{
    struct cpu_fpu *fpu = &cpu->fpu;
    unsigned i = insn->rm & 7;
    bool empty0 = fpu_empty(fpu, 0), emptyi = fpu_empty(fpu, i);
    struct f80 a = empty0 ? f80_indefinite : fpu_get(fpu, 0);
    struct f80 b = emptyi ? f80_indefinite : fpu_get(fpu, i);
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (fpu_raise(fpu, empty0 || emptyi ? FSW_IE | FSW_SF : 0, FSW_EARLY)) {
        fpu_set(fpu, 0, b);
        fpu_set(fpu, i, a);
    }
    return fpu_end(cpu, insn);
}

/* DA and DB: below, equal, below or equal, unordered, and their opposites. */
enum cpu_status fpu_fcmov(struct cpu *cpu, const struct insn *insn)
{
    static const uint8_t conditions[4] = { 2, 4, 6, 10 };
    struct cpu_fpu *fpu = &cpu->fpu;
    unsigned i = insn->rm & 7;
    bool empty = fpu_empty(fpu, 0) || fpu_empty(fpu, i);
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (empty) {
        if (fpu_underflow(fpu))
            fpu_set(fpu, 0, f80_indefinite);
        return fpu_end(cpu, insn);
    }
    if (flags_condition(cpu, conditions[insn->reg & 3] | (insn->opcode & 1)))
        fpu_set(fpu, 0, fpu_get(fpu, i));
    return fpu_end(cpu, insn);
}

/*
 * FLD1 and its kin, D9 E8 to EE: the nearest value, and by how much the one below
 * the true constant (rounding down or to zero) and the one above differ from it.
 */
enum cpu_status fpu_fld_constant(struct cpu *cpu, const struct insn *insn)
{
    static const struct {
        struct f80 nearest;
        int8_t below, above;
    } constants[7] = {
        { { 0x8000000000000000, 0x3fff }, 0, 0 },       /* 1 */
        { { 0xd49a784bcd1b8afe, 0x4000 }, 0, 1 },       /* log2 10 */
        { { 0xb8aa3b295c17f0bc, 0x3fff }, -1, 0 },      /* log2 e */
        { { 0xc90fdaa22168c235, 0x4000 }, -1, 0 },      /* pi */
        { { 0x9a209a84fbcff799, 0x3ffd }, -1, 0 },      /* log10 2 */
        { { 0xb17217f7d1cf79ac, 0x3ffe }, -1, 0 },      /* ln 2 */
        { { 0, 0 }, 0, 0 },
    };
    unsigned which = insn->rm & 7, rc = cpu->fpu.control >> FCW_RC_SHIFT & 3;
    struct f80 r = constants[which].nearest;
    enum cpu_status status = fpu_begin(cpu);

    if (status != CPU_OK)
        return status;
    if (rc == 2)
        r.mantissa += constants[which].above;
    else if (rc != 0)
        r.mantissa += constants[which].below;
    fpu_push_result(&cpu->fpu, r, 0);
    return fpu_end(cpu, insn);
}
