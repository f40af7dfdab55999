/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one function that makes guest memory private or shared, whoever asks.
 * Order and roll-back: docs/memory.md, "Conversion".
 *
 * A range is cut twice: into parts (one mapping each: what one KVM call can
 * take) and these into runs (the maximal pieces that aren't so yet: what
 * listeners are told and what is undone).  The record changes last, when nothing
 * can refuse any more; all of it under mem->lock.
 */
#include "memory_internal.h"
#include "range.h"
#include "trace.h"

#include <errno.h>
#include <inttypes.h>

struct run {
    struct ram_block *block;
    uint64_t gpa, offset, size;
    bool stuck;                 /* couldn't be undone: stays converted */
};

struct part {
    struct ram_block *block;
    uint64_t gpa, offset, size;
    guint first_run, end_run;
};

struct conversion {
    struct memory *mem;
    bool private_;
    bool keep_copies;
    GArray *parts, *runs;
    uint64_t bad_gpa;           /* first address that failed */
};

/* The runs of a part that aren't so yet; no part at all if there are none. */
static void add_part(struct conversion *conv, struct ram_block *block, uint64_t gpa,
                     uint64_t offset, uint64_t size)
{
    struct part part = { .block = block, .first_run = conv->runs->len };
    uint64_t first = offset / GUEST_PAGE_SIZE, last = (offset + size) / GUEST_PAGE_SIZE;

    for (uint64_t page = first, end; page < last; page = end) {
        bool is_private = attr_map_run(block->private_pages, page, &end);
        struct run run = { .block = block, .offset = page * GUEST_PAGE_SIZE };

        end = MIN(end, last);
        if (is_private == conv->private_)
            continue;
        run.size = (end - page) * GUEST_PAGE_SIZE;
        run.gpa = gpa + (run.offset - offset);
        g_array_append_val(conv->runs, run);
    }
    part.end_run = conv->runs->len;
    if (part.end_run == part.first_run)
        return;

    const struct run *from = &g_array_index(conv->runs, struct run, part.first_run);
    const struct run *to = &g_array_index(conv->runs, struct run, part.end_run - 1);

    part.gpa = from->gpa;
    part.offset = from->offset;
    part.size = to->offset + to->size - from->offset;
    g_array_append_val(conv->parts, part);
}

/*
 * Where no memory can be private (MMIO, ROM, plain RAM) everything is shared
 * already: guests do ask for that, for the whole PCI hole, and are answered with
 * success, as QEMU 10.2 answers them.
 */
static int collect(struct conversion *conv, uint64_t gpa, uint64_t size)
{
    uint64_t end = gpa + size;

    while (gpa < end) {
        const struct mapping *map = mapping_at_or_after(conv->mem, gpa);
        uint64_t next = end;

        if (map && map->gpa > gpa) {
            next = MIN(end, map->gpa);
            map = NULL;
        } else if (map) {
            next = MIN(end, mapping_end(map));
        }
        if (map && map->block->private_pages) {
            add_part(conv, map->block, gpa, map->offset + (gpa - map->gpa), next - gpa);
        } else if (conv->private_) {
            conv->bad_gpa = gpa;
            return -EINVAL;
        }
        gpa = next;
    }
    return 0;
}

static struct run *run_at(const struct conversion *conv, guint i)
{
    return &g_array_index(conv->runs, struct run, i);
}

static struct part *part_at(const struct conversion *conv, guint i)
{
    return &g_array_index(conv->parts, struct part, i);
}

/* Allocate now what recording may need, so that it can't fail when KVM has changed. */
static int reserve_record(struct conversion *conv)
{
    int ret = 0;

    for (guint i = 0; i < conv->parts->len && !ret; i++) {
        const struct part *part = part_at(conv, i);

        ret = attr_map_reserve(part->block->private_pages, conv->parts->len, conv->runs->len);
        conv->bad_gpa = part->gpa;
    }
    return ret;
}

static void unreserve_record(struct conversion *conv)
{
    for (guint i = 0; i < conv->parts->len; i++)
        attr_map_unreserve(part_at(conv, i)->block->private_pages);
}

static void record(struct ram_block *block, uint64_t offset, uint64_t size, bool private_)
{
    int ret = attr_map_set(block->private_pages, offset / GUEST_PAGE_SIZE, size / GUEST_PAGE_SIZE,
                           private_);

    /* A map that disagrees with KVM would let a device touch private pages; it is reserved for. */
    g_assert(ret == 0);
}

/*
 * The conversion stands, or is undone: that the copy which isn't in use then can't be
 * freed costs memory, nothing else.
 */
static void free_other_copy(struct conversion *conv, const struct run *run, bool now_private)
{
    if (!conv->keep_copies &&
        ram_block_discard_copy(run->block, run->offset, run->size, now_private) != 0)
        conv->mem->counters.failed_discards++;
}

/* However it is now; a call that fails once need not fail again. */
static bool set_run(struct conversion *conv, const struct run *run, bool private_)
{
    enum { TRIES = 4 };

    for (int i = 0; i < TRIES; i++) {
        if (kvm_set_private(conv->mem->vm, run->gpa, run->block->guest_memfd, run->offset,
                            run->size, private_, NULL) == 0)
            return true;
    }
    return false;
}

/*
 * Back to what it was; false: it stays converted.  Of the part whose call failed
 * nobody knows how it is: what KVM then agrees to, one or the other, is known.  If it
 * agrees to nothing, that call is taken to have changed nothing.
 */
static bool undo_run(struct conversion *conv, const struct run *run, bool unknown)
{
    return set_run(conv, run, !conv->private_) ||
           (unknown && !set_run(conv, run, conv->private_));
}

/* Part i - 1 down to 0 back to what they were, run by run; what KVM refuses is recorded. */
static void undo_kvm(struct conversion *conv, guint end_part, bool last_unknown)
{
    for (guint p = end_part; p--;) {
        const struct part *part = part_at(conv, p);

        for (guint i = part->end_run; i-- > part->first_run;) {
            struct run *run = run_at(conv, i);

            run->stuck = !undo_run(conv, run, last_unknown && p == end_part - 1);
            if (run->stuck) {
                conv->mem->counters.failed_rollbacks++;
                record(run->block, run->offset, run->size, conv->private_);
            }
            /* The guest may have touched pages in between. */
            free_other_copy(conv, run, conv->private_ == run->stuck);
        }
    }
}

static int set_kvm(struct conversion *conv)
{
    for (guint i = 0; i < conv->parts->len; i++) {
        const struct part *part = part_at(conv, i);
        uint64_t busy = 0;
        int ret = kvm_set_private(conv->mem->vm, part->gpa, part->block->guest_memfd, part->offset,
                                  part->size, conv->private_, &busy);

        if (ret) {
            conv->bad_gpa = part->gpa + busy;
            /* These two stop in the middle in some versions: this part may be half done. */
            bool partly = ret == -EAGAIN || ret == -ENOMEM;

            undo_kvm(conv, i + partly, partly);
            return ret;
        }
    }
    return 0;
}

static int populate_runs(struct conversion *conv)
{
    for (guint i = 0; i < conv->runs->len; i++) {
        const struct run *run = run_at(conv, i);
        int ret = populate_notify(run->block, run->block->private_pages, run->offset,
                                  run->size);

        if (ret) {
            conv->bad_gpa = run->gpa;
            while (i--) {
                run = run_at(conv, i);
                discard_notify(run->block, run->block->private_pages, run->offset, run->size);
            }
            return ret;
        }
    }
    return 0;
}

static void discard_runs(struct conversion *conv)
{
    for (guint i = 0; i < conv->runs->len; i++) {
        const struct run *run = run_at(conv, i);

        discard_notify(run->block, run->block->private_pages, run->offset, run->size);
    }
}

/* After a failure to become private: they had it before. */
static void repopulate_runs(struct conversion *conv)
{
    for (guint i = conv->runs->len; i--;) {
        const struct run *run = run_at(conv, i);

        if (!run->stuck &&
            repopulate_notify(run->block, run->block->private_pages, run->offset, run->size) != 0)
            conv->mem->counters.failed_rollbacks++;
    }
}

/* After a failure to become shared: what KVM wouldn't take back is theirs. */
static void populate_stuck(struct conversion *conv)
{
    for (guint i = 0; i < conv->runs->len; i++) {
        const struct run *run = run_at(conv, i);

        if (run->stuck &&
            populate_notify(run->block, run->block->private_pages, run->offset, run->size) != 0)
            conv->mem->counters.failed_rollbacks++;
    }
}

static int make_private(struct conversion *conv)
{
    int ret;

    discard_runs(conv);
    ret = set_kvm(conv);
    if (ret)
        repopulate_runs(conv);
    return ret;
}

static int make_shared(struct conversion *conv)
{
    int ret = set_kvm(conv);

    if (!ret) {
        ret = populate_runs(conv);
        if (ret)
            undo_kvm(conv, conv->parts->len, false);
    }
    if (ret)
        populate_stuck(conv);
    return ret;
}

static void finish(struct conversion *conv)
{
    struct memory_counters *counters = &conv->mem->counters;

    for (guint i = 0; i < conv->parts->len; i++) {
        const struct part *part = part_at(conv, i);

        record(part->block, part->offset, part->size, conv->private_);
    }
    for (guint i = 0; i < conv->runs->len; i++) {
        const struct run *run = run_at(conv, i);
        uint64_t pages = run->size / GUEST_PAGE_SIZE;

        *(conv->private_ ? &counters->pages_to_private : &counters->pages_to_shared) += pages;
        free_other_copy(conv, run, conv->private_);
    }
}

static int run_conversion(struct conversion *conv, uint64_t gpa, uint64_t size)
{
    int ret = collect(conv, gpa, size);

    if (!ret && conv->parts->len) {
        ret = reserve_record(conv);
        if (!ret)
            ret = conv->private_ ? make_private(conv) : make_shared(conv);
        if (!ret)
            finish(conv);
        unreserve_record(conv);
    }
    return ret;
}

static void trace_conversion(const struct conversion *conv, uint64_t gpa, uint64_t size, int ret)
{
    const char *direction = conv->private_ ? "shared_to_private" : "private_to_shared";

    if (ret)
        trace(TRACE_KVM_CONVERT_MEMORY, "gpa=0x%" PRIx64 " size=0x%" PRIx64 " %s: failed at 0x%"
              PRIx64 ": %s", gpa, size, direction, conv->bad_gpa, g_strerror(-ret));
    else
        trace(TRACE_KVM_CONVERT_MEMORY, "gpa=0x%" PRIx64 " size=0x%" PRIx64 " %s", gpa, size,
              direction);
}

static uint64_t changed_pages(const struct conversion *conv)
{
    uint64_t pages = 0;

    for (guint i = 0; i < conv->runs->len; i++)
        pages += run_at(conv, i)->size / GUEST_PAGE_SIZE;
    return pages;
}

int memory_convert_locked(struct memory *mem, const struct conversion_origin *origin, uint64_t gpa,
                          uint64_t size, bool private_, bool keep_copies, uint64_t *ret_gpa)
{
    struct conversion conv = {
        .mem = mem, .private_ = private_, .keep_copies = keep_copies, .bad_gpa = gpa,
    };
    struct conversion_record record = {
        .origin = *origin, .gpa = gpa, .size = size, .to_private = private_,
    };
    int ret = -EINVAL;

    history_begin(&record);
    if (size && is_aligned(gpa | size, GUEST_PAGE_SIZE) && !range_wraps(gpa, size)) {
        conv.parts = g_array_new(FALSE, FALSE, sizeof(struct part));
        conv.runs = g_array_new(FALSE, FALSE, sizeof(struct run));
        ret = run_conversion(&conv, gpa, size);
        record.pages = changed_pages(&conv);
        g_array_free(conv.parts, TRUE);
        g_array_free(conv.runs, TRUE);
    }
    if (ret) {
        mem->counters.failed_conversions++;
        record.failed_gpa = conv.bad_gpa;
        if (ret_gpa)
            *ret_gpa = conv.bad_gpa;
    } else {
        mem->counters.conversions++;
    }
    record.result = ret;
    history_add(mem, &record);
    trace_conversion(&conv, gpa, size, ret);
    return ret;
}

int memory_convert_own(struct memory *mem, enum conversion_cause cause, uint64_t gpa, uint64_t size,
                       bool private_, uint64_t *ret_gpa)
{
    const struct conversion_origin origin = { .cause = cause, .vcpu = -1 };

    return memory_convert_locked(mem, &origin, gpa, size, private_, true, ret_gpa);
}

int memory_convert_for(struct memory *mem, const struct conversion_origin *origin, uint64_t gpa,
                       uint64_t size, bool private_, uint64_t *ret_gpa)
{
    int ret;

    pthread_mutex_lock(&mem->lock);
    mem->guest_tells |= origin->cause == CONVERSION_HYPERCALL;
    ret = memory_convert_locked(mem, origin, gpa, size, private_, false, ret_gpa);
    pthread_mutex_unlock(&mem->lock);
    return ret;
}

int memory_convert(struct memory *mem, uint64_t gpa, uint64_t size, bool private_,
                   uint64_t *ret_gpa)
{
    const struct conversion_origin origin = { .cause = CONVERSION_HOST, .vcpu = -1 };

    return memory_convert_for(mem, &origin, gpa, size, private_, ret_gpa);
}
