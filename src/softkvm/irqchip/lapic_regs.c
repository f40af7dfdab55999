/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registers of the local APIC, as the guest reaches them by MMIO (xAPIC) and
 * by MSR (x2APIC), and as KVM_GET_LAPIC shows them.
 * Source: SDM vol. 3, 11.4.1 (map), 11.12 (x2APIC); what an access that isn't a
 * plain one does as in Linux 6.12 arch/x86/kvm/lapic.c.
 */
#include "irqchip_internal.h"

#include <errno.h>
#include <string.h>

enum {
    MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800, MSR_X2APIC_END = 0x8ff,
    DEFAULT_BASE = 0xfee00000,
    APIC_PAGE = 4096,
    APIC_VERSION = 0x14 | 5 << 16,      /* integrated; six LVT entries */
    DFR_FIXED = 0x0fffffff,
    ICR_BUSY = 1 << 12, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15,
    /* LVT bits that can be written: vector and mask; delivery mode; pin polarity and trigger. */
    LVT_TIMER_BITS = 0xff | LVT_MASKED | LVT_TIMER_MODE,
    LVT_ERROR_BITS = 0xff | LVT_MASKED,
    LVT_LOCAL_BITS = LVT_ERROR_BITS | 7 << 8,
    LVT_LINT_BITS = LVT_LOCAL_BITS | 1 << 13 | 1 << 15,
};

#define BASE_RESERVED 0xfff00000000002ffULL     /* no physical address has more than 52 bits */
#define X2APIC_ICR_RESERVED 0xfff32000ULL

/* Which accesses exist: by MMIO, by MSR. */
enum { RX = 1, WX = 2, R2 = 4, W2 = 8, R = RX | R2, W = WX | W2 };

struct lapic_register {
    uint8_t access;
    uint32_t mask;              /* bits that a write changes */
    void (*write)(struct lapic *lapic, enum lapic_reg reg, uint32_t value);     /* NULL: store */
};

static void write_tpr(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    lapic->regs[reg] = value;
    lapic_update(lapic);
}

static void write_id(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    lapic->regs[reg] = value;
    lapic->chip->ids.known = false;
}

static void write_eoi(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    lapic_eoi(lapic);
}

static void write_dfr(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    lapic->regs[reg] = value | DFR_FIXED;
}

/* Switching the APIC off by software masks every LVT entry (11.4.7.2). */
static void write_svr(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    lapic->regs[reg] = value;
    if (value & SVR_ENABLE)
        return;
    for (unsigned lvt = REG_LVT_TIMER; lvt <= REG_LVT_ERROR; lvt++)
        lapic->regs[lvt] |= LVT_MASKED;
}

/* A write latches what went wrong since the last one (11.5.3). */
static void write_esr(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    lapic->regs[reg] = lapic->errors;
    lapic->errors = 0;
}

static void write_lvt(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    if (!(lapic->regs[REG_SVR] & SVR_ENABLE))
        value |= LVT_MASKED;
    if (reg == REG_LVT_TIMER)
        lapic_timer_set_lvt(lapic, value);
    else
        lapic->regs[reg] = value;
    lapic_update(lapic);        /* LINT0 may pass the PIC on from now on */
}

static void write_timer_initial(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    if ((lapic->regs[REG_LVT_TIMER] & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE)
        return;
    lapic->regs[reg] = value;
    lapic_timer_start(lapic, value);
}

static void write_timer_divide(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    lapic_timer_set_divide(lapic, value);
}

static void send_ipi(struct lapic *lapic, uint32_t low, uint32_t dest)
{
    struct apic_message message = {
        .dest = dest,
        .vector = low & 0xff,
        .mode = (low >> 8) & 7,
        .shorthand = (low >> 18) & 3,
        .logical = low & ICR_LOGICAL,
        .assert = low & ICR_ASSERT,
        .sender = lapic,
    };
    bool has_vector = message.mode == DELIVER_FIXED || message.mode == DELIVER_LOWEST;

    /* The trigger mode counts for INIT alone, everything else is an edge (11.6.1). */
    message.level = message.mode == DELIVER_INIT && (low & ICR_LEVEL);
    if (has_vector && message.vector < 16)
        lapic_error(lapic, ESR_SEND_VECTOR);
    else
        apic_deliver(lapic->chip, &message);
}

static void write_icr(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    uint32_t dest = lapic->regs[REG_ICR2];

    lapic->regs[REG_ICR] = value;
    send_ipi(lapic, value, lapic_is_x2apic(lapic) ? dest : dest >> 24);
}

static void write_self_ipi(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    send_ipi(lapic, (value & 0xff) | SHORT_SELF << 18, 0);
}

#define EIGHT(reg_, access_) [(reg_) ... (reg_) + 7] = { (access_), 0, NULL }

static const struct lapic_register registers[LAPIC_REGS] = {
    [REG_ID]            = { R | WX, 0xff000000, write_id },
    [REG_VERSION]       = { R, 0, NULL },
    [REG_TPR]           = { R | W, 0xff, write_tpr },
    [REG_APR]           = { RX, 0, NULL },
    [REG_PPR]           = { R, 0, NULL },
    [REG_EOI]           = { W, 0, write_eoi },
    [REG_LDR]           = { R | WX, 0xff000000, NULL },
    [REG_DFR]           = { RX | WX, 0xf0000000, write_dfr },
    [REG_SVR]           = { R | W, 0x3ff, write_svr },
    EIGHT(REG_ISR, R),
    EIGHT(REG_TMR, R),
    EIGHT(REG_IRR, R),
    [REG_ESR]           = { R | W, 0, write_esr },
    [REG_ICR]           = { R | W, ~(uint32_t)ICR_BUSY, write_icr },
    [REG_ICR2]          = { RX | WX, 0xff000000, NULL },
    [REG_LVT_TIMER]     = { R | W, LVT_TIMER_BITS, write_lvt },
    [REG_LVT_THERMAL]   = { R | W, LVT_LOCAL_BITS, write_lvt },
    [REG_LVT_PMC]       = { R | W, LVT_LOCAL_BITS, write_lvt },
    [REG_LVT_LINT0]     = { R | W, LVT_LINT_BITS, write_lvt },
    [REG_LVT_LINT1]     = { R | W, LVT_LINT_BITS, write_lvt },
    [REG_LVT_ERROR]     = { R | W, LVT_ERROR_BITS, write_lvt },
    [REG_TIMER_INITIAL] = { R | W, 0xffffffff, write_timer_initial },
    [REG_TIMER_CURRENT] = { R, 0, NULL },
    [REG_TIMER_DIVIDE]  = { R | W, 0xb, write_timer_divide },
    [REG_SELF_IPI]      = { W2, 0xff, write_self_ipi },
};

static uint32_t read_register(const struct lapic *lapic, enum lapic_reg reg)
{
    return reg == REG_TIMER_CURRENT ? lapic_timer_current(lapic) : lapic->regs[reg];
}

static void write_register(struct lapic *lapic, enum lapic_reg reg, uint32_t value)
{
    const struct lapic_register *r = &registers[reg];

    value &= r->mask;
    if (r->write)
        r->write(lapic, reg, value);
    else
        lapic->regs[reg] = value;
}

void lapic_refresh_ids(struct lapic *lapic)
{
    uint32_t id = lapic->vcpu_id;

    lapic->chip->ids.known = false;
    if (lapic_is_x2apic(lapic)) {
        lapic->regs[REG_ID] = id;
        lapic->regs[REG_LDR] = (id >> 4) << 16 | 1u << (id & 0xf);
    } else {
        lapic->regs[REG_ID] = id << 24;
    }
}

void lapic_reset_regs(struct lapic *lapic, bool init)
{
    lapic_timer_stop(lapic);
    if (!init)
        lapic->base = DEFAULT_BASE | APIC_BASE_ENABLE | (lapic->base & APIC_BASE_BSP);
    memset(lapic->regs, 0, sizeof(lapic->regs));
    lapic->errors = 0;
    lapic_refresh_ids(lapic);
    lapic->regs[REG_VERSION] = APIC_VERSION;
    lapic->regs[REG_DFR] = 0xffffffff;
    lapic->regs[REG_SVR] = 0xff;
    for (unsigned lvt = REG_LVT_TIMER; lvt <= REG_LVT_ERROR; lvt++)
        lapic->regs[lvt] = LVT_MASKED;
    /* Virtual wire as firmware leaves it (KVM_X86_QUIRK_LINT0_REENABLED). */
    if (lapic->base & APIC_BASE_BSP)
        lapic->regs[REG_LVT_LINT0] = DELIVER_EXTINT << 8;
}

void lapic_reset(struct lapic *lapic, bool is_bsp)
{
    pthread_mutex_lock(&lapic->chip->lock);
    lapic->base = is_bsp ? APIC_BASE_BSP : 0;
    memset(&lapic->signals, 0, sizeof(lapic->signals));
    lapic_reset_regs(lapic, false);
    pthread_mutex_unlock(&lapic->chip->lock);
}

void lapic_init(struct lapic *lapic)
{
    pthread_mutex_lock(&lapic->chip->lock);
    lapic_reset_regs(lapic, true);
    pthread_mutex_unlock(&lapic->chip->lock);
}

/* Reads of any size lie in the first four of sixteen bytes, writes are 32 bits. */
static void mmio_access(struct lapic *lapic, unsigned offset, void *data, unsigned size,
                        bool write)
{
    enum lapic_reg reg = offset / 16;
    bool inside = offset % 16 + size <= 4 && reg < LAPIC_REGS;
    uint32_t value = 0;

    if (!inside || !(registers[reg].access & (write ? WX : RX))) {
        lapic_error(lapic, ESR_REGISTER);
    } else if (!write) {
        value = read_register(lapic, reg) >> 8 * (offset % 16);
    } else if (size == 4) {
        memcpy(&value, data, size);
        write_register(lapic, reg, value);
    }
    if (!write) {
        memset(data, 0, size);
        memcpy(data, &value, size < 4 ? size : 4);
    }
}

static uint64_t page_address(const struct lapic *lapic)
{
    return lapic->base & ~(uint64_t)(APIC_PAGE - 1) & ~BASE_RESERVED;
}

bool lapic_is_tpr(struct lapic *lapic, uint64_t gpa)
{
    bool is_tpr;

    pthread_mutex_lock(&lapic->chip->lock);
    is_tpr = gpa == page_address(lapic) + 16 * REG_TPR && lapic_hw_enabled(lapic) &&
             !lapic_is_x2apic(lapic);
    pthread_mutex_unlock(&lapic->chip->lock);
    return is_tpr;
}

bool lapic_mmio(struct lapic *lapic, uint64_t gpa, void *data, unsigned size, bool write)
{
    bool inside;

    pthread_mutex_lock(&lapic->chip->lock);
    inside = gpa - page_address(lapic) < APIC_PAGE;
    if (inside && lapic_hw_enabled(lapic) && !lapic_is_x2apic(lapic))
        mmio_access(lapic, gpa % APIC_PAGE, data, size, write);
    else if (inside && !write)
        memset(data, 0xff, size);       /* a hole (KVM_X86_QUIRK_LAPIC_MMIO_HOLE) */
    pthread_mutex_unlock(&lapic->chip->lock);
    return inside;
}

static bool base_is_valid(uint64_t base)
{
    return !(base & BASE_RESERVED) && (!(base & APIC_BASE_X2APIC) || (base & APIC_BASE_ENABLE));
}

static void change_base(struct lapic *lapic, uint64_t base)
{
    uint64_t changed = base ^ lapic->base;

    lapic->base = base;
    if (changed & (APIC_BASE_ENABLE | APIC_BASE_X2APIC))
        lapic_refresh_ids(lapic);
    lapic_update(lapic);
}

/* Allowed by instruction: off - xAPIC - x2APIC, and from both to off (11.12.5). */
static bool guest_set_base(struct lapic *lapic, uint64_t base)
{
    bool to_x2apic = base & APIC_BASE_X2APIC, to_on = base & APIC_BASE_ENABLE;

    if (!base_is_valid(base))
        return false;
    if (lapic_is_x2apic(lapic) && to_on && !to_x2apic)
        return false;
    if (!lapic_hw_enabled(lapic) && to_x2apic)
        return false;
    if (lapic_hw_enabled(lapic) && !to_on) {
        lapic->base = base;             /* first, for the ids */
        lapic_reset_regs(lapic, true);
    }
    change_base(lapic, base);
    return true;
}

uint64_t lapic_get_base(struct lapic *lapic)
{
    uint64_t base;

    pthread_mutex_lock(&lapic->chip->lock);
    base = lapic->base;
    pthread_mutex_unlock(&lapic->chip->lock);
    return base;
}

int lapic_set_base(struct lapic *lapic, uint64_t base)
{
    if (!base_is_valid(base))
        return -EINVAL;
    pthread_mutex_lock(&lapic->chip->lock);
    change_base(lapic, base);
    pthread_mutex_unlock(&lapic->chip->lock);
    return 0;
}

static bool x2apic_read(struct lapic *lapic, enum lapic_reg reg, uint64_t *value)
{
    if (!lapic_is_x2apic(lapic) || reg >= LAPIC_REGS || !(registers[reg].access & R2))
        return false;
    *value = read_register(lapic, reg);
    if (reg == REG_ICR)
        *value |= (uint64_t)lapic->regs[REG_ICR2] << 32;
    return true;
}

static bool x2apic_write(struct lapic *lapic, enum lapic_reg reg, uint64_t value)
{
    bool must_be_zero = reg == REG_EOI || reg == REG_ESR;

    if (!lapic_is_x2apic(lapic) || reg >= LAPIC_REGS || !(registers[reg].access & W2))
        return false;
    if (reg == REG_ICR) {
        if (value & X2APIC_ICR_RESERVED)
            return false;
        lapic->regs[REG_ICR2] = (uint32_t)(value >> 32);
    } else if (value >> 32 || (must_be_zero && value) || (reg == REG_SELF_IPI && value > 0xff)) {
        return false;
    }
    write_register(lapic, reg, (uint32_t)value);
    return true;
}

bool lapic_rdmsr(struct lapic *lapic, uint32_t index, uint64_t *value)
{
    bool done = true;

    pthread_mutex_lock(&lapic->chip->lock);
    if (index == MSR_APIC_BASE)
        *value = lapic->base;
    else if (index == MSR_TSC_DEADLINE)
        *value = lapic->tsc_deadline;
    else
        done = index >= MSR_X2APIC && index <= MSR_X2APIC_END &&
               x2apic_read(lapic, index - MSR_X2APIC, value);
    pthread_mutex_unlock(&lapic->chip->lock);
    return done;
}

bool lapic_wrmsr(struct lapic *lapic, uint32_t index, uint64_t value, bool host)
{
    bool done = true;

    pthread_mutex_lock(&lapic->chip->lock);
    if (index == MSR_APIC_BASE && host) {
        done = base_is_valid(value);
        if (done)
            change_base(lapic, value);
    } else if (index == MSR_APIC_BASE) {
        done = guest_set_base(lapic, value);
    } else if (index == MSR_TSC_DEADLINE) {
        lapic_timer_set_deadline(lapic, value);
    } else {
        done = index >= MSR_X2APIC && index <= MSR_X2APIC_END &&
               x2apic_write(lapic, index - MSR_X2APIC, value);
    }
    pthread_mutex_unlock(&lapic->chip->lock);
    return done;
}

void lapic_get_state(struct lapic *lapic, struct kvm_lapic_state *state)
{
    memset(state, 0, sizeof(*state));
    pthread_mutex_lock(&lapic->chip->lock);
    for (unsigned reg = 0; reg < LAPIC_REGS; reg++) {
        uint32_t value = read_register(lapic, reg);

        /* The xAPIC's layout, unless user space asked for 32-bit ids. */
        if (reg == REG_ID && lapic_is_x2apic(lapic) && !lapic->chip->x2apic_format)
            value <<= 24;
        memcpy(&state->regs[16 * reg], &value, sizeof(value));
    }
    pthread_mutex_unlock(&lapic->chip->lock);
}

int lapic_set_state(struct lapic *lapic, const struct kvm_lapic_state *state)
{
    uint32_t regs[LAPIC_REGS];
    int ret = 0;

    for (unsigned reg = 0; reg < LAPIC_REGS; reg++)
        memcpy(&regs[reg], &state->regs[16 * reg], sizeof(regs[reg]));
    pthread_mutex_lock(&lapic->chip->lock);
    if (lapic_is_x2apic(lapic) && lapic->chip->x2apic_format && regs[REG_ID] != lapic->vcpu_id) {
        ret = -EINVAL;
    } else {
        lapic_timer_stop(lapic);
        memcpy(lapic->regs, regs, sizeof(regs));
        lapic->regs[REG_VERSION] = APIC_VERSION;
        lapic->regs[REG_DFR] |= DFR_FIXED;
        lapic->chip->ids.known = false;
        if (lapic_is_x2apic(lapic))
            lapic_refresh_ids(lapic);
        lapic_timer_start(lapic, regs[REG_TIMER_CURRENT]);
        lapic_update(lapic);
    }
    pthread_mutex_unlock(&lapic->chip->lock);
    return ret;
}
