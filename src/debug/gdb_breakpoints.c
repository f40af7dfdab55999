/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Breakpoints and watchpoints: INT3 in guest memory, and the debug registers
 * (Intel SDM vol. 3B, chapter 18) by KVM_SET_GUEST_DEBUG; and whose a debug exit is.
 *
 * An INT3 is known by its physical address too: the guest may map its page elsewhere,
 * or be in another address space when it is taken out.
 */
#include "gdb_internal.h"

#include "error.h"

#include <errno.h>
#include <string.h>

enum {
    INT3 = 0xcc,
    VECTOR_DB = 1, VECTOR_BP = 3,
    DR6_BS = 1 << 14, DR6_HITS = 0xf, DR6_CAUSES = DR6_BS | DR6_HITS | 1 << 13 | 1 << 15,
    DR7_FIXED = 0x400, DR7_EXACT = 0x200,
};

/* --- Software --- */

static struct gdb_soft_breakpoint *soft_at(const struct gdb *gdb, guint i)
{
    return &g_array_index(gdb->soft, struct gdb_soft_breakpoint, i);
}

static int find_soft(const struct gdb *gdb, uint64_t addr)
{
    for (guint i = 0; i < gdb->soft->len; i++) {
        if (soft_at(gdb, i)->addr == addr)
            return (int)i;
    }
    return -1;
}

static bool read_byte(struct gdb *gdb, uint64_t gpa, uint8_t *byte, GError **error)
{
    return debug_read_as(gdb->host.debug, debug_fetch_view(gdb->host.debug), gpa, byte, 1,
                         error) == 1;
}

static bool write_byte(struct gdb *gdb, uint64_t gpa, uint8_t byte, GError **error)
{
    return debug_write_as(gdb->host.debug, debug_fetch_view(gdb->host.debug), gpa, &byte, 1,
                          error) == 1;
}

static bool translate(struct gdb *gdb, uint64_t addr, uint64_t *gpa, GError **error)
{
    AUTO_PAGE_WALK walk = page_walk_new(gdb->host.debug, gdb->client.g_cpu, error);
    struct page_leaf leaf;

    if (!walk)
        return false;
    if (page_walk_mode(walk) == PAGING_OFF) {
        *gpa = addr;
        return true;
    }
    if (!debug_translate(walk, addr, &leaf, error))
        return false;
    *gpa = leaf.gpa + (addr & (leaf.size - 1));
    return true;
}

/* Two addresses may lead to one byte: the second finds the INT3 of the first. */
static const struct gdb_soft_breakpoint *find_gpa(const struct gdb *gdb, uint64_t gpa)
{
    for (guint i = 0; i < gdb->soft->len; i++) {
        if (soft_at(gdb, i)->inserted && soft_at(gdb, i)->gpa == gpa)
            return soft_at(gdb, i);
    }
    return NULL;
}

static bool insert_soft(struct gdb *gdb, struct gdb_soft_breakpoint *bp, GError **error)
{
    const struct gdb_soft_breakpoint *same;

    bp->inserted = false;
    if (!translate(gdb, bp->addr, &bp->gpa, error))
        return false;
    same = find_gpa(gdb, bp->gpa);
    if (same)
        bp->original = same->original;
    else if (!read_byte(gdb, bp->gpa, &bp->original, error) ||
             !write_byte(gdb, bp->gpa, INT3, error))
        return false;
    bp->inserted = true;
    return true;
}

static bool remove_soft(struct gdb *gdb, guint i, GError **error)
{
    struct gdb_soft_breakpoint bp = *soft_at(gdb, i);
    uint8_t now;

    g_array_remove_index_fast(gdb->soft, i);
    if (!bp.inserted || find_gpa(gdb, bp.gpa))
        return true;
    /* The guest may have written there since: then that stands. */
    if (!read_byte(gdb, bp.gpa, &now, error))
        return false;
    return now != INT3 || write_byte(gdb, bp.gpa, bp.original, error);
}

/* --- Hardware --- */

static struct gdb_hard_breakpoint *find_hard(struct gdb *gdb, enum gdb_breakpoint_kind kind,
                                             uint64_t addr, uint64_t size)
{
    for (unsigned n = 0; n < GDB_DEBUG_REGISTERS; n++) {
        struct gdb_hard_breakpoint *bp = &gdb->hard[n];

        if (bp->kind == kind && (kind == GDB_SOFTWARE || (bp->addr == addr && bp->size == size)))
            return bp;
    }
    return NULL;
}

static bool check_hard(struct gdb *gdb, enum gdb_breakpoint_kind kind, uint64_t addr,
                       uint64_t size, GError **error)
{
    if (kind == GDB_HARDWARE ? size != 1 : size != 1 && size != 2 && size != 4 && size != 8)
        error_set(error, "a debug register watches 1, 2, 4 or 8 bytes");
    else if (addr & (size - 1))
        error_set(error, "a debug register watches aligned addresses");
    else if (find_hard(gdb, kind, addr, size))
        error_set(error, "it is there already");
    else if (!find_hard(gdb, GDB_SOFTWARE, 0, 0))
        error_set(error, "all four debug registers are in use");
    else
        return true;
    return false;
}

/* DR7's length and access bits (SDM vol. 3B, 18.2.4). */
static uint64_t dr7_bits(const struct gdb_hard_breakpoint *bp, unsigned n)
{
    static const uint8_t lengths[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    uint64_t access = bp->kind == GDB_HARDWARE ? 0 : bp->kind == GDB_WRITE_WATCH ? 1 : 3;

    return 2ULL << 2 * n | (access | (uint64_t)lengths[bp->size] << 2) << (16 + 4 * n);
}

static void put_registers(const struct gdb *gdb, struct kvm_guest_debug *control)
{
    uint64_t dr7 = 0;

    for (unsigned n = 0; n < GDB_DEBUG_REGISTERS; n++) {
        if (gdb->hard[n].kind == GDB_SOFTWARE)
            continue;
        control->arch.debugreg[n] = gdb->hard[n].addr;
        dr7 |= dr7_bits(&gdb->hard[n], n);
    }
    if (!dr7)
        return;
    control->control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    control->arch.debugreg[7] = DR7_FIXED | DR7_EXACT | dr7;
}

/* --- KVM --- */

static int set_control(struct gdb *gdb, unsigned cpu, const struct kvm_guest_debug *control)
{
    int ret = 0;

    if (memcmp(control, &gdb->cpus[cpu].control, sizeof(*control)) != 0)
        ret = kvm_vcpu_ioctl(gdb->host.cpu(gdb->host.opaque, cpu), KVM_SET_GUEST_DEBUG,
                             (void *)control);
    if (ret >= 0)
        gdb->cpus[cpu].control = *control;
    return ret;
}

bool gdb_arm(struct gdb *gdb, GError **error)
{
    uint32_t can = (uint32_t)kvm_vm_check_extension(gdb->host.kvm, KVM_CAP_SET_GUEST_DEBUG2);

    for (unsigned i = 0; i < gdb->host.cpu_count(gdb->host.opaque); i++) {
        struct kvm_guest_debug control = { 0 };
        int ret;

        if (gdb->soft->len)
            control.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
        if (gdb->cpus[i].stepping)
            control.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
        if (gdb->cpus[i].stepping && (gdb->client.step_flags & GDB_STEP_NO_IRQ))
            control.control |= can & KVM_GUESTDBG_BLOCKIRQ;
        put_registers(gdb, &control);
        ret = set_control(gdb, i, &control);
        if (ret < 0) {
            error_set_errno(error, ret, "CPU %u: KVM_SET_GUEST_DEBUG", i);
            gdb_disarm(gdb);
            return false;
        }
    }
    return true;
}

void gdb_disarm(struct gdb *gdb)
{
    static const struct kvm_guest_debug off;

    for (unsigned i = 0; i < gdb->host.cpu_count(gdb->host.opaque); i++)
        set_control(gdb, i, &off);
}

/* --- All kinds --- */

bool gdb_breakpoint_insert(struct gdb *gdb, enum gdb_breakpoint_kind kind, uint64_t addr,
                           uint64_t size, GError **error)
{
    struct gdb_soft_breakpoint bp = { .addr = addr };

    if (kind != GDB_SOFTWARE) {
        if (!check_hard(gdb, kind, addr, size, error))
            return false;
        *find_hard(gdb, GDB_SOFTWARE, 0, 0) =
            (struct gdb_hard_breakpoint){ .kind = kind, .addr = addr, .size = (unsigned)size };
        return true;
    }
    /* Asked for twice it is one: a client that lost an answer asks again. */
    if (find_soft(gdb, addr) >= 0)
        return true;
    if (!insert_soft(gdb, &bp, error))
        return false;
    g_array_append_val(gdb->soft, bp);
    return true;
}

bool gdb_breakpoint_remove(struct gdb *gdb, enum gdb_breakpoint_kind kind, uint64_t addr,
                           uint64_t size, GError **error)
{
    struct gdb_hard_breakpoint *hard;
    int i;

    if (kind == GDB_SOFTWARE) {
        i = find_soft(gdb, addr);
        if (i >= 0)
            return remove_soft(gdb, (guint)i, error);
    } else {
        hard = find_hard(gdb, kind, addr, size);
        if (hard) {
            *hard = (struct gdb_hard_breakpoint){ 0 };
            return true;
        }
    }
    error_set(error, "there is no such breakpoint");
    return false;
}

bool gdb_has_breakpoints(const struct gdb *gdb)
{
    for (unsigned n = 0; n < GDB_DEBUG_REGISTERS; n++) {
        if (gdb->hard[n].kind != GDB_SOFTWARE)
            return true;
    }
    return gdb->soft->len != 0;
}

void gdb_remove_breakpoints(struct gdb *gdb)
{
    while (gdb->soft->len) {
        g_autoptr(GError) error = NULL;
        uint64_t addr = soft_at(gdb, 0)->addr;

        if (!remove_soft(gdb, 0, &error))
            g_printerr("cloister: gdb: the breakpoint at 0x%" PRIx64 " stays in the guest: %s\n",
                       addr, error->message);
    }
    memset(gdb->hard, 0, sizeof(gdb->hard));
}

void gdb_reinsert_breakpoints(struct gdb *gdb)
{
    for (guint i = 0; i < gdb->soft->len; i++)
        soft_at(gdb, i)->inserted = false;
    for (guint i = 0; i < gdb->soft->len; i++)
        insert_soft(gdb, soft_at(gdb, i), NULL);
}

/* --- A debug exit, on the vCPU's thread --- */

/* An INT3 at pc is the debugger's by its address, or by that of the page's other mapping. */
static bool is_ours(struct gdb *gdb, struct kvm_vcpu *vcpu, uint64_t pc)
{
    struct kvm_translation tr = { .linear_address = pc };
    int i = find_soft(gdb, pc);

    if (i >= 0 && soft_at(gdb, (guint)i)->inserted)
        return true;
    return gdb->soft->len && kvm_vcpu_ioctl(vcpu, KVM_TRANSLATE, &tr) == 0 && tr.valid &&
           find_gpa(gdb, tr.physical_address);
}

static enum gdb_hit_kind find_hit(struct gdb *gdb, unsigned cpu, struct kvm_vcpu *vcpu,
                                  const struct kvm_debug_exit_arch *exit)
{
    if (exit->exception == VECTOR_BP)
        return is_ours(gdb, vcpu, exit->pc) ? GDB_HIT_SOFTWARE : GDB_HIT_NONE;
    for (unsigned n = 0; n < GDB_DEBUG_REGISTERS; n++) {
        if (!(exit->dr6 >> n & 1) || gdb->hard[n].kind == GDB_SOFTWARE)
            continue;
        gdb->cpus[cpu].hit_register = n;
        return gdb->hard[n].kind == GDB_HARDWARE ? GDB_HIT_HARDWARE : GDB_HIT_WATCH;
    }
    return (exit->dr6 & DR6_BS) && gdb->cpus[cpu].stepping ? GDB_HIT_STEP : GDB_HIT_NONE;
}

/* The guest's own: it gets the exception that KVM kept from it. */
static bool give_back(struct gdb *gdb, unsigned cpu, struct kvm_vcpu *vcpu,
                      const struct kvm_debug_exit_arch *exit)
{
    struct kvm_guest_debug control = gdb->cpus[cpu].control;
    struct kvm_debugregs dr;
    int ret;

    control.control |= KVM_GUESTDBG_ENABLE;
    control.control |= exit->exception == VECTOR_BP ? KVM_GUESTDBG_INJECT_BP
                                                    : KVM_GUESTDBG_INJECT_DB;
    if (exit->exception == VECTOR_DB && kvm_vcpu_ioctl(vcpu, KVM_GET_DEBUGREGS, &dr) == 0) {
        dr.dr6 = (dr.dr6 & ~(uint64_t)DR6_HITS) | (exit->dr6 & DR6_CAUSES);
        kvm_vcpu_ioctl(vcpu, KVM_SET_DEBUGREGS, &dr);
    }
    ret = kvm_vcpu_ioctl(vcpu, KVM_SET_GUEST_DEBUG, &control);
    if (ret < 0)
        g_printerr("cloister: CPU %u: the guest's exception %u at 0x%" PRIx64 " can't be given "
                   "back to it: %s\n", cpu, exit->exception, (uint64_t)exit->pc, g_strerror(-ret));
    return ret >= 0;
}

bool gdb_debug_exit(struct gdb *gdb, unsigned cpu, const struct kvm_debug_exit_arch *exit)
{
    struct kvm_vcpu *vcpu = gdb->host.cpu(gdb->host.opaque, cpu);
    enum gdb_hit_kind hit = find_hit(gdb, cpu, vcpu, exit);

    if (hit == GDB_HIT_NONE && give_back(gdb, cpu, vcpu, exit))
        return false;
    /* What can't be given back is for the person. */
    __atomic_store_n(&gdb->cpus[cpu].hit, hit == GDB_HIT_NONE ? GDB_HIT_STEP : hit,
                     __ATOMIC_RELEASE);
    return true;
}
