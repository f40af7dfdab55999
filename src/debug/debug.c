/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Access by physical and virtual address, piece by piece: a piece is in one state
 * and of one block, device or page.
 */
#include "debug_object.h"

#include "debug_memory.h"
#include "error.h"
#include "page_walk.h"
#include "range.h"

#include <inttypes.h>

enum {
    PIECE_MAX = 4 << 20,        /* copied under the memory lock, or converted, in one go */
    MMIO_MAX = 8,
    STATE_TRIES = 3,            /* the guest may change a page's state while we look */
};

struct debug {
    struct debug_machine machine;
    const struct debug_object_type *kind;       /* which this VM needs; NULL: none */
    struct debug_object *object;        /* NULL: none */
};

struct debug *debug_new(const struct debug_machine *machine, const char *object_id,
                        GError **error)
{
    struct kvm_vm *vm = memory_vm(machine->memory);
    struct debug_object *object = NULL;
    struct debug *dbg;

    if (object_id) {
        object = debug_object_find(object_id, vm, error);
        if (!object)
            return NULL;
        object->obj.users++;
    }
    dbg = g_new0(struct debug, 1);
    dbg->machine = *machine;
    dbg->kind = debug_object_kind(vm);
    dbg->object = object;
    return dbg;
}

void debug_free(struct debug *dbg)
{
    if (!dbg)
        return;
    if (dbg->object)
        dbg->object->obj.users--;
    g_free(dbg);
}

const struct debug_machine *debug_machine(const struct debug *dbg)
{
    return &dbg->machine;
}

struct debug_object *debug_get_object(const struct debug *dbg)
{
    return dbg->object;
}

bool debug_has_private_memory(const struct debug *dbg)
{
    return dbg->kind != NULL;
}

uint64_t debug_private_bit(const struct debug *dbg)
{
    return dbg->kind && dbg->kind->private_bit
               ? dbg->kind->private_bit(memory_vm(dbg->machine.memory)) : 0;
}

enum debug_view debug_fetch_view(const struct debug *dbg)
{
    return debug_private_bit(dbg) ? DEBUG_PRIVATE : DEBUG_BY_RECORD;
}

char *debug_notice(const struct debug *dbg)
{
    struct debug_policy policy = { 0 };

    if (dbg->object)
        dbg->object->kind->policy(dbg->object, &policy);
    if (!policy.read && !policy.write)
        return NULL;
    return g_strdup_printf("debugging of private memory is allowed by '%s': %s (%s)",
                           dbg->object->obj.id,
                           policy.write ? "it can be read and changed" : "it can be read",
                           policy.text);
}

/* --- vCPUs --- */

static const char *hidden_registers(const struct debug *dbg)
{
    return dbg->kind && dbg->kind->registers
               ? dbg->kind->registers(memory_vm(dbg->machine.memory)) : NULL;
}

bool debug_registers(struct debug *dbg, unsigned cpu, struct debug_registers *ret, GError **error)
{
    struct kvm_vcpu *vcpu = dbg->machine.cpu(dbg->machine.opaque, cpu);
    struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
    const char *hidden = hidden_registers(dbg);
    int err;

    if (cpu >= dbg->machine.cpu_count(dbg->machine.opaque)) {
        error_set(error, "CPU#%u not available", cpu);
        return false;
    }
    if (hidden) {
        error_set(error, "CPU %u: its registers can't be read: %s", cpu, hidden);
        return false;
    }
    kvm_vcpu_hold(vcpu);
    err = kvm_vcpu_ioctl(vcpu, KVM_GET_REGS, &ret->regs);
    if (err >= 0)
        err = kvm_vcpu_ioctl(vcpu, KVM_GET_SREGS, &ret->sregs);
    /* Without an interrupt controller in KVM there is none; it runs then. */
    kvm_vcpu_ioctl(vcpu, KVM_GET_MP_STATE, &mp);
    kvm_vcpu_release(vcpu);
    ret->halted = mp.mp_state == KVM_MP_STATE_HALTED;
    if (err < 0)
        error_set_errno(error, err, "CPU %u: reading registers", cpu);
    return err >= 0;
}

int debug_read_msr(struct debug *dbg, unsigned cpu, uint32_t index, uint64_t *ret)
{
    struct kvm_vcpu *vcpu = dbg->machine.cpu(dbg->machine.opaque, cpu);
    union {
        struct kvm_msrs msrs;
        struct {
            uint64_t head;
            struct kvm_msr_entry entry;
        } one;
    } arg = { .msrs.nmsrs = 1 };
    int err;

    arg.one.entry = (struct kvm_msr_entry){ .index = index };
    kvm_vcpu_hold(vcpu);
    err = kvm_vcpu_ioctl(vcpu, KVM_GET_MSRS, &arg);
    kvm_vcpu_release(vcpu);
    *ret = arg.one.entry.data;
    return err == 1 ? 0 : err < 0 ? err : -ENXIO;
}

uint32_t debug_segment_flags(const struct kvm_segment *seg)
{
    return (uint32_t)seg->type << 8 | (uint32_t)seg->s << 12 | (uint32_t)seg->dpl << 13 |
           (uint32_t)seg->present << 15 | (uint32_t)seg->avl << 20 | (uint32_t)seg->l << 21 |
           (uint32_t)seg->db << 22 | (uint32_t)seg->g << 23;
}

/* --- One piece of physical memory --- */

/* Asked before anything is touched. False with the error set (error may be NULL). */
static bool may_access_private(struct debug *dbg, uint64_t gpa, bool write, GError **error)
{
    struct debug_object *obj = dbg->object;
    const char *verb = write ? "written" : "read";
    struct debug_policy policy;

    if (!obj) {
        error_set(error, "0x%" PRIx64 " is private memory, which can't be %s without a debug "
                  "object: %s", gpa, verb, dbg->kind->offer(memory_vm(dbg->machine.memory), write));
        return false;
    }
    obj->kind->policy(obj, &policy);
    if (write ? !policy.write : !policy.read) {
        error_set(error, "0x%" PRIx64 " is private memory, which may not be %s by the policy of "
                  "'%s' (%s): %s", gpa, verb, obj->obj.id, policy.text,
                  obj->kind->remedy(obj, write));
        return false;
    }
    if ((write || !policy.while_running) && dbg->machine.running(dbg->machine.opaque)) {
        error_set(error, "0x%" PRIx64 " is private memory, which can't be %s while the guest "
                  "runs: stop", gpa, verb);
        return false;
    }
    return true;
}

static uint64_t access_private(struct debug *dbg, enum debug_view view, uint64_t gpa, void *buf,
                               uint64_t size, bool write, GError **error)
{
    if (!may_access_private(dbg, gpa, write, error))
        return 0;
    if (dbg->object->kind->copy(dbg->object, dbg, view, gpa, buf, size, write, error))
        return size;
    g_prefix_error(error, "private memory at 0x%" PRIx64 ": ", gpa);
    return 0;
}

/* The largest aligned power of two: what drivers do, and what devices understand. */
static unsigned mmio_size(uint64_t gpa, uint64_t size)
{
    unsigned n = MMIO_MAX;

    while (n > 1 && (n > size || gpa % n))
        n /= 2;
    return n;
}

static uint64_t access_mmio(struct debug *dbg, uint64_t gpa, void *buf, uint64_t size, bool write,
                            GError **error)
{
    const struct debug_machine *m = &dbg->machine;
    bool claimed;

    size = m->mmio_look(m->opaque, gpa, size, &claimed);
    if (!claimed) {
        error_set(error, "No memory is mapped at address 0x%" PRIx64, gpa);
        return 0;
    }
    for (uint64_t done = 0; done < size;) {
        unsigned n = mmio_size(gpa + done, size - done);

        m->mmio(m->opaque, gpa + done, (char *)buf + done, n, write);
        done += n;
    }
    return size;
}

/* What this access takes it for. */
static enum memory_state seen_as(enum debug_view view, enum memory_state state)
{
    if (view == DEBUG_BY_RECORD || (state != MEMORY_SHARED && state != MEMORY_PRIVATE))
        return state;
    return view == DEBUG_PRIVATE ? MEMORY_PRIVATE : MEMORY_SHARED;
}

/* Bytes done, at least one; 0 with the error set. */
static uint64_t access_piece(struct debug *dbg, enum debug_view view, uint64_t gpa, void *buf,
                             uint64_t size, bool write, GError **error)
{
    struct memory *mem = dbg->machine.memory;

    for (unsigned i = 0; i < STATE_TRIES; i++) {
        struct memory_piece piece = memory_look(mem, gpa, MIN(size, PIECE_MAX));
        uint64_t done;

        switch (seen_as(view, piece.state)) {
        case MEMORY_NOTHING:
            return access_mmio(dbg, gpa, buf, piece.size, write, error);
        case MEMORY_PRIVATE:
            return access_private(dbg, view, gpa, buf, piece.size, write, error);
        case MEMORY_ABSENT:
            error_set(error, "0x%" PRIx64 " isn't plugged in", gpa);
            return 0;
        case MEMORY_SHARED:
            done = view == DEBUG_SHARED ? memory_copy_host(mem, gpa, buf, piece.size, write)
                                        : memory_copy_shared(mem, gpa, buf, piece.size, write);
            if (done)
                return done;
        }
    }
    error_set(error, "0x%" PRIx64 " changes between private and shared all the time: stop", gpa);
    return 0;
}

static uint64_t access_physical(struct debug *dbg, enum debug_view view, uint64_t gpa, void *buf,
                                uint64_t size, bool write, GError **error)
{
    uint64_t done = 0, n = 1;

    while (done < size && n) {
        n = access_piece(dbg, view, gpa + done, (char *)buf + done, size - done, write, error);
        done += n;
    }
    return done;
}

/* --- Virtual memory --- */

/* Leaves that follow one another in physical memory too are accessed together. */
static uint64_t contiguous(struct debug *dbg, struct page_walk *walk, uint64_t gva, uint64_t size,
                           uint64_t *ret_gpa, enum debug_view *ret_view, GError **error)
{
    struct page_leaf leaf;
    uint64_t have;

    if (!debug_translate(walk, gva, &leaf, error))
        return 0;
    *ret_gpa = leaf.gpa + (gva - leaf.gva);
    *ret_view = leaf.view;
    have = leaf.size - (gva - leaf.gva);
    size = MIN(size, PIECE_MAX);
    while (have < size && gva + have && debug_translate(walk, gva + have, &leaf, NULL) &&
           leaf.gpa == *ret_gpa + have && leaf.view == *ret_view)
        have += leaf.size;
    return MIN(have, size);
}

static uint64_t access_virtual(struct debug *dbg, struct page_walk *walk, uint64_t gva, void *buf,
                               uint64_t size, bool write, GError **error)
{
    enum debug_view view = DEBUG_BY_RECORD;
    uint64_t done = 0, gpa = 0;

    while (done < size) {
        uint64_t n = contiguous(dbg, walk, gva + done, size - done, &gpa, &view, error);
        uint64_t did = access_physical(dbg, view, gpa, (char *)buf + done, n, write, error);

        done += did;
        if (!n || did < n) {
            if (n)
                g_prefix_error(error, "virtual address 0x%" PRIx64 ": ", gva + done);
            break;
        }
    }
    return done;
}

/* view: of a physical address. */
static uint64_t access_memory(struct debug *dbg, struct page_walk *walk, enum debug_view view,
                              uint64_t addr, void *buf, uint64_t size, bool write, GError **error)
{
    uint64_t left = UINT64_MAX - addr, done;

    if (size && size - 1 > left) {
        done = access_memory(dbg, walk, view, addr, buf, left + 1, write, error);
        if (done == left + 1)
            error_set(error, "the address space ends at 0x%" PRIx64, UINT64_MAX);
        return done;
    }
    return walk ? access_virtual(dbg, walk, addr, buf, size, write, error)
                : access_physical(dbg, view, addr, buf, size, write, error);
}

uint64_t debug_read(struct debug *dbg, struct page_walk *walk, uint64_t addr, void *buf,
                    uint64_t size, GError **error)
{
    return access_memory(dbg, walk, DEBUG_BY_RECORD, addr, buf, size, false, error);
}

uint64_t debug_read_as(struct debug *dbg, enum debug_view view, uint64_t gpa, void *buf,
                       uint64_t size, GError **error)
{
    return access_memory(dbg, NULL, view, gpa, buf, size, false, error);
}

uint64_t debug_write_as(struct debug *dbg, enum debug_view view, uint64_t gpa, const void *buf,
                        uint64_t size, GError **error)
{
    return access_memory(dbg, NULL, view, gpa, (void *)buf, size, true, error);
}

uint64_t debug_write(struct debug *dbg, struct page_walk *walk, uint64_t addr, const void *buf,
                     uint64_t size, GError **error)
{
    uint64_t done = access_memory(dbg, walk, DEBUG_BY_RECORD, addr, (void *)buf, size, true,
                                  error);

    if (walk)
        page_walk_forget(walk);
    return done;
}

uint64_t debug_probe(struct debug *dbg, uint64_t gpa, uint64_t size, bool *ret_ok)
{
    const struct debug_machine *m = &dbg->machine;
    struct memory_piece piece = memory_look(m->memory, gpa, size);

    *ret_ok = piece.state == MEMORY_SHARED;
    if (piece.state == MEMORY_PRIVATE)
        *ret_ok = may_access_private(dbg, gpa, false, NULL);
    else if (piece.state == MEMORY_NOTHING)
        return m->mmio_look(m->opaque, gpa, piece.size, ret_ok);
    return piece.size;
}
