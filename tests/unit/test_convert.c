/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conversion: who is told what in which order; what is undone when any step
 * refuses; that KVM, the record and the listeners then agree.  KVM's side is
 * rebuilt from the calls that the fake driver wrote down.
 */
#include "attributes.h"
#include "error.h"
#include "fake_kvm.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 64, HIGH_PAGES = 16 };
#define PAGE ((uint64_t)GUEST_PAGE_SIZE)
#define HIGH_GPA (4 * GIB)
#define OTHER_GPA (PAGES * PAGE)        /* the second block begins where the first ends */

static struct kvm_vm *vm;
static struct memory *mem;
static struct ram_block *low, *other;

/* Everything that happens, in order: K for KVM, P and D for listeners. */
static GString *events;

/* --- A listener that keeps its own picture and refuses the nth populate --- */

struct watcher {
    struct memory_listener listener;
    char name;
    bool has[2][PAGES];         /* pages of low and other that it may use */
    unsigned refuse_nth;        /* 0: never */
    int refuse_errno;
};

static bool *watched(struct watcher *w, struct ram_block *block)
{
    return w->has[block == other];
}

static int on_populate(struct memory_listener *listener, const struct memory_section *section)
{
    struct watcher *w = (struct watcher *)listener;
    uint64_t offset = section->offset, size = section->size;

    g_string_append_printf(events, "%cP%llu+%llu ", w->name, (unsigned long long)(offset / PAGE),
                           (unsigned long long)(size / PAGE));
    if (w->refuse_nth && --w->refuse_nth == 0)
        return w->refuse_errno;
    for (uint64_t i = offset / PAGE; i < (offset + size) / PAGE; i++)
        watched(w, section->block)[i] = true;
    return 0;
}

static void on_discard(struct memory_listener *listener, const struct memory_section *section)
{
    struct watcher *w = (struct watcher *)listener;
    uint64_t offset = section->offset, size = section->size;

    g_string_append_printf(events, "%cD%llu+%llu ", w->name, (unsigned long long)(offset / PAGE),
                           (unsigned long long)(size / PAGE));
    for (uint64_t i = offset / PAGE; i < (offset + size) / PAGE; i++)
        watched(w, section->block)[i] = false;
}

static struct watcher watchers[2];

/* --- KVM's side, from the calls --- */

static bool kvm_private[2][PAGES];

static void apply_call(const struct fake_call *call)
{
    bool in_place = vm->regime == KVM_ATTRIBUTES_GUEST_MEMFD;

    for (uint64_t at = call->address; at < call->address + call->size; at += PAGE) {
        /* Offsets don't say which file: tests in place use the first block alone. */
        bool second = !in_place && at >= OTHER_GPA && at < HIGH_GPA;

        kvm_private[second][(at - (second ? OTHER_GPA : 0)) / PAGE] = call->attributes != 0;
    }
}

/* The driver between: attributes are events too, and change the picture only if they succeed. */
static int watching_ioctl(int fd, unsigned long request, unsigned long arg)
{
    unsigned before = fake.nr_calls;
    int ret = fake_driver.ioctl(fd, request, arg);

    if (request == KVM_SET_MEMORY_ATTRIBUTES || request == KVM_SET_MEMORY_ATTRIBUTES2) {
        const struct fake_call *call = &fake.calls[before];

        g_string_append_printf(events, "K%llu+%llu=%d%s ",
                               (unsigned long long)(call->address / PAGE),
                               (unsigned long long)(call->size / PAGE), call->attributes != 0,
                               ret ? "!" : "");
        if (!ret)
            apply_call(call);
    }
    return ret;
}

static struct kvm_driver driver;

static struct ram_block *add(uint64_t pages, uint64_t gpa, bool in_place)
{
    static unsigned n;
    GError *error = NULL;
    g_autofree char *option = g_strdup_printf(
        "memory-backend-%s,id=m%u,size=%lluK%s", in_place ? "guest-memfd" : "ram", n,
        (unsigned long long)pages * 4, in_place ? "" : ",private=on");
    g_autofree char *id = g_strdup_printf("m%u", n++);
    struct ram_block *block;

    assert_true(object_add_option(option, &error));
    block = ram_block_new(mem, memory_backend_find(id), &error);
    assert_non_null(block);
    assert_true(memory_map(mem, block, 0, gpa, pages * PAGE, &error));
    return block;
}

static void set_up_regime(enum kvm_attributes_regime regime)
{
    const struct kvm_needs needs = { .vm_type = KVM_X86_SW_PROTECTED_VM };
    bool in_place = regime == KVM_ATTRIBUTES_GUEST_MEMFD;

    fake_reset(regime);
    driver = fake_driver;
    driver.ioctl = watching_ioctl;
    memset(kvm_private, 0, sizeof(kvm_private));
    memset(watchers, 0, sizeof(watchers));
    assert_int_equal(kvm_vm_new(&driver, &needs, &vm), 0);
    mem = memory_new(vm);
    low = add(PAGES, 0, in_place);
    other = in_place ? NULL : add(PAGES, OTHER_GPA, false);
    for (int i = 0; i < 2; i++) {
        watchers[i].name = (char)('a' + i);
        watchers[i].listener.populate = on_populate;
        watchers[i].listener.discard = on_discard;
        assert_int_equal(memory_listener_add(mem, &watchers[i].listener), 0);
    }
    g_string_truncate(events, 0);
}

static int set_up(void **state)
{
    events = g_string_new(NULL);
    set_up_regime(KVM_ATTRIBUTES_VM);
    return 0;
}

static int set_up_in_place(void **state)
{
    events = g_string_new(NULL);
    set_up_regime(KVM_ATTRIBUTES_GUEST_MEMFD);
    return 0;
}

static int tear_down(void **state)
{
    memory_free(mem);
    kvm_vm_free(vm);
    object_delete_all();
    g_string_free(events, TRUE);
    return fake.open_fds != 0 || fake.open_maps != 0;
}

static int convert(uint64_t page, uint64_t pages, bool private_, uint64_t *ret_gpa)
{
    g_string_truncate(events, 0);
    return memory_convert(mem, page * PAGE, pages * PAGE, private_, ret_gpa);
}

/* KVM, record and listeners say the same of every page of a block. */
static void check_agreement(struct ram_block *block)
{
    for (uint64_t i = 0; i < block->size / PAGE; i++) {
        bool is_private = attr_map_get(block->private_pages, i);

        if (kvm_private[block == other][i] != is_private)
            fail_msg("page %d: KVM says %d (%s)", (int)i, !is_private, events->str);
        for (int w = 0; w < 2; w++) {
            if (watched(&watchers[w], block)[i] == is_private)
                fail_msg("page %d: listener %d says %d (%s)", (int)i, w, is_private, events->str);
        }
    }
}

static void check_all(void)
{
    check_agreement(low);
    if (other)
        check_agreement(other);
}

static uint64_t private_count(void)
{
    return attr_map_count(low->private_pages) + (other ? attr_map_count(other->private_pages) : 0);
}

/* --- Tests --- */

static void test_order_of_steps(void **state)
{
    assert_int_equal(convert(3, 2, true, NULL), 0);
    assert_string_equal(events->str, "aD3+2 bD3+2 K3+2=1 ");
    check_all();
    assert_int_equal(convert(3, 2, false, NULL), 0);
    assert_string_equal(events->str, "K3+2=0 aP3+2 bP3+2 ");
    check_all();
    assert_true(memory_get_counters(mem).pages_to_private == 2);
    assert_true(memory_get_counters(mem).pages_to_shared == 2);
}

static void test_nothing_to_do(void **state)
{
    assert_int_equal(convert(0, PAGES, false, NULL), 0);
    assert_string_equal(events->str, "");
    convert(5, 1, true, NULL);
    assert_int_equal(convert(5, 1, true, NULL), 0);
    assert_string_equal(events->str, "");
}

static void test_mixture_converts_only_what_differs(void **state)
{
    convert(4, 1, true, NULL);
    convert(6, 2, true, NULL);
    assert_int_equal(convert(3, 6, true, NULL), 0);
    assert_string_equal(events->str, "aD3+1 bD3+1 aD5+1 bD5+1 aD8+1 bD8+1 K3+6=1 ");
    check_all();
    assert_int_equal(private_count(), 6);
    /* The ends that are so already aren't asked for. */
    assert_int_equal(convert(2, 8, true, NULL), 0);
    assert_int_equal(convert(1, 12, true, NULL), 0);
    assert_string_equal(events->str, "aD1+1 bD1+1 aD10+3 bD10+3 K1+12=1 ");
    check_all();
}

static void test_range_over_two_blocks(void **state)
{
    assert_int_equal(convert(PAGES - 1, 3, true, NULL), 0);
    assert_string_equal(events->str, "aD63+1 bD63+1 aD0+2 bD0+2 K63+1=1 K64+2=1 ");
    check_all();
    assert_int_equal(attr_map_count(other->private_pages), 2);
    assert_int_equal(convert(PAGES - 1, 3, false, NULL), 0);
    check_all();
    assert_int_equal(private_count(), 0);
}

static void test_bad_ranges(void **state)
{
    static const struct {
        uint64_t gpa, size;
        bool private_;
        int ret;
        uint64_t bad_gpa;
    } rows[] = {
        { 0x1001, 0x1000, true, -EINVAL, 0x1001 },
        { 0x1000, 0x0fff, true, -EINVAL, 0x1000 },
        { 0x1000, 0, false, -EINVAL, 0x1000 },
        { UINT64_MAX - 0xfff, 0x1000, false, -EINVAL, UINT64_MAX - 0xfff },
        { UINT64_MAX - 0xfff, 0x2000, true, -EINVAL, UINT64_MAX - 0xfff },
        { 0x1000, UINT64_MAX - 0xfff, true, -EINVAL, 0x1000 },
        /* No RAM: refused to private, ignored to shared. */
        { 1 * GIB, 0x1000, true, -EINVAL, 1 * GIB },
        { 1 * GIB, 0x1000, false, 0, 0 },
        { (2 * PAGES - 1) * PAGE, 2 * PAGE, true, -EINVAL, 2 * PAGES * PAGE },
        { (2 * PAGES - 1) * PAGE, 2 * PAGE, false, 0, 0 },
        { 0, 1ULL << 63, true, -EINVAL, 2 * PAGES * PAGE },
        { 0, 1ULL << 63, false, 0, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint64_t bad_gpa = 0;
        int ret = memory_convert(mem, rows[i].gpa, rows[i].size, rows[i].private_, &bad_gpa);

        if (ret != rows[i].ret || bad_gpa != rows[i].bad_gpa)
            fail_msg("row %zu: %d at 0x%llx", i, ret, (unsigned long long)bad_gpa);
    }
    assert_string_equal(events->str, "");
    assert_int_equal(private_count(), 0);
}

static void test_plain_memory_is_shared_already(void **state)
{
    g_autoptr(GError) error = NULL;
    struct ram_block *plain = ram_block_new_internal(mem, "plain", 4 * PAGE, false, &error);

    assert_non_null(plain);
    assert_true(memory_map(mem, plain, 0, HIGH_GPA, 4 * PAGE, &error));
    assert_int_equal(memory_convert(mem, HIGH_GPA, PAGE, false, NULL), 0);
    assert_int_equal(memory_convert(mem, HIGH_GPA, PAGE, true, NULL), -EINVAL);
    assert_null(memory_attributes(mem, &(struct attr_filter){ .block = "plain" }, &error));
    assert_string_equal(error->message, "no memory 'plain' that can be private");
}

/* Fail each KVM call of a conversion in turn: nothing must have changed. */
static void roll_back_kvm(unsigned long request, uint64_t first, uint64_t count, bool private_,
                          int err, unsigned max)
{
    uint64_t before = private_count();
    unsigned nth = 1;

    for (;; nth++) {
        unsigned since = fake.nr_calls;
        uint64_t bad_gpa = UINT64_MAX;
        int ret;

        fake_fail(request, nth, err == -EAGAIN ? 20 : 0, err);
        ret = convert(first, count, private_, &bad_gpa);
        fake_fail(0, 0, 0, 0);
        if (!ret && fake_count(request, since) < nth)
            break;
        assert_int_equal(ret, err);
        assert_true(bad_gpa >= first * PAGE && bad_gpa < (first + count) * PAGE);
        check_all();
        assert_int_equal(private_count(), before);
        assert_int_equal(memory_get_counters(mem).failed_rollbacks, 0);
    }
    assert_int_equal(nth, max + 1);
    check_all();
}

static void test_kvm_refuses_to_private(void **state)
{
    convert(PAGES - 3, 1, true, NULL);
    roll_back_kvm(KVM_SET_MEMORY_ATTRIBUTES, PAGES - 4, 8, true, -EINVAL, 2);
}

static void test_kvm_refuses_to_shared(void **state)
{
    convert(PAGES - 4, 8, true, NULL);
    convert(PAGES - 3, 1, false, NULL);
    roll_back_kvm(KVM_SET_MEMORY_ATTRIBUTES, PAGES - 4, 8, false, -ENOMEM, 2);
}

static void test_busy_page_in_place(void **state)
{
    uint64_t bad_gpa = 0;

    fake.fail_error_offset = 10 * PAGE;
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES2, 1, 100, -EAGAIN);
    assert_int_equal(convert(8, 4, true, &bad_gpa), -EAGAIN);
    assert_true(bad_gpa == 10 * PAGE);
    fake_fail(0, 0, 0, 0);
    check_agreement(low);
    assert_int_equal(convert(8, 4, true, NULL), 0);
    assert_string_equal(events->str, "aD8+4 bD8+4 K8+4=1 ");
    check_agreement(low);
    /* Busy only for a moment. */
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES2, 1, 1, -EAGAIN);
    assert_int_equal(convert(20, 1, true, NULL), 0);
    check_agreement(low);
}

/* Listener w refuses its nth populate, for every n that there is. */
static void test_listener_refuses(void **state)
{
    for (int w = 0; w < 2; w++) {
        unsigned nth = 1;

        for (;; nth++) {
            uint64_t bad_gpa = 0;
            int ret;

            /* Two runs in the first block, one in the other: three populates each. */
            convert(PAGES - 4, 8, true, NULL);
            convert(PAGES - 3, 1, false, NULL);
            watchers[w].refuse_nth = nth;
            watchers[w].refuse_errno = -ENOSPC;
            ret = convert(PAGES - 4, 8, false, &bad_gpa);
            if (!ret)
                break;
            assert_int_equal(ret, -ENOSPC);
            assert_int_equal(bad_gpa / PAGE, nth == 1 ? PAGES - 4 : nth == 2 ? PAGES - 2 : PAGES);
            check_all();
            assert_int_equal(private_count(), 7);
        }
        assert_int_equal(nth, 4);
        watchers[w].refuse_nth = 0;
        check_all();
        assert_int_equal(private_count(), 0);
    }
}

/* When even the way back is barred, the record follows KVM and nothing is offered to devices. */
static void test_rollback_fails(void **state)
{
    /* To private over two blocks: the second part fails, then undoing the first one does. */
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 2, 4, -EIO);
    assert_int_equal(convert(PAGES - 1, 2, true, NULL), -EIO);
    assert_int_equal(memory_get_counters(mem).failed_rollbacks, 1);
    assert_true(attr_map_get(low->private_pages, PAGES - 1));
    assert_false(attr_map_get(other->private_pages, 0));
    check_all();
}

/* A call that fails may have done a part; when undoing fails too, what KVM takes next is known. */
static void test_state_unknown(void **state)
{
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 4, -ENOMEM);
    assert_int_equal(convert(3, 4, true, NULL), -ENOMEM);
    assert_int_equal(memory_get_counters(mem).failed_rollbacks, 1);
    check_all();
    assert_int_equal(private_count(), 4);
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 2, -ENOMEM);
    assert_int_equal(convert(13, 4, true, NULL), -ENOMEM);
    check_all();
    assert_int_equal(private_count(), 4);
    /* It takes nothing at all. */
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 100, -ENOMEM);
    assert_int_equal(convert(13, 4, true, NULL), -ENOMEM);
    check_all();
    assert_int_equal(private_count(), 4);
}

/* What stays shared, though the conversion failed, is told to the listeners. */
static void test_stays_shared(void **state)
{
    assert_int_equal(convert(3, 4, true, NULL), 0);
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 1, 4, -ENOMEM);
    assert_int_equal(convert(3, 4, false, NULL), -ENOMEM);
    assert_int_equal(memory_get_counters(mem).failed_rollbacks, 1);
    check_all();
    assert_int_equal(private_count(), 0);
    /* A listener refuses, once, and then KVM does. */
    assert_int_equal(convert(3, 4, true, NULL), 0);
    watchers[1].refuse_nth = 1;
    watchers[1].refuse_errno = -ENOSPC;
    fake_fail(KVM_SET_MEMORY_ATTRIBUTES, 2, 3, -EIO);
    assert_int_equal(convert(3, 4, false, NULL), -ENOSPC);
    assert_int_equal(memory_get_counters(mem).failed_rollbacks, 2);
    check_all();
    assert_int_equal(private_count(), 0);
}

/* The linker sends malloc() here, GLib's apart: after so many, there is no memory. */
static int allocations_left = -1;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_malloc(size);
}

/* Over the hole below 4 GiB: two parts of one block, each of which must be recorded. */
static void test_no_memory_over_the_hole(void **state)
{
    enum { BIG_PAGES = 20000, BELOW = 10000 };
    const uint64_t at = 1 * GIB, first = at + 5003 * PAGE, end = HIGH_GPA + 3001 * PAGE;
    g_autoptr(GError) error = NULL;
    struct ram_block *big;
    int ret = -ENOMEM, tries = 0;

    memory_listener_remove(mem, &watchers[0].listener);
    memory_listener_remove(mem, &watchers[1].listener);
    vm->driver = &fake_driver;          /* the picture has no room for it */
    assert_true(object_add_option("memory-backend-ram,id=big,size=80000K,private=on", &error));
    big = ram_block_new(mem, memory_backend_find("big"), &error);
    assert_non_null(big);
    assert_true(memory_map(mem, big, 0, at, BELOW * PAGE, &error));
    assert_true(memory_map(mem, big, BELOW * PAGE, HIGH_GPA, (BIG_PAGES - BELOW) * PAGE, &error));
    assert_int_equal(memory_convert(mem, at, BELOW * PAGE, true, NULL), 0);
    assert_int_equal(memory_convert(mem, HIGH_GPA, BELOW * PAGE, true, NULL), 0);
    for (; ret; tries++) {
        allocations_left = tries;
        ret = memory_convert(mem, first, end - first, false, NULL);
        allocations_left = -1;
        assert_int_equal(ret, ret ? -ENOMEM : 0);
        assert_int_equal(attr_map_count(big->private_pages), ret ? BIG_PAGES : BIG_PAGES - 7998);
    }
    assert_true(tries > 2);
    assert_int_equal(fake_count(KVM_SET_MEMORY_ATTRIBUTES, 0), 4);
}

static void test_listener_life(void **state)
{
    struct watcher late = {
        .listener = { on_populate, on_discard }, .name = 'c', .refuse_nth = 2,
        .refuse_errno = -EPERM,
    };

    convert(1, 2, true, NULL);
    g_string_truncate(events, 0);
    assert_int_equal(memory_listener_add(mem, &late.listener), -EPERM);
    assert_string_equal(events->str, "cP0+1 cP3+61 cD0+64 ");
    g_string_truncate(events, 0);
    assert_int_equal(memory_listener_add(mem, &late.listener), 0);
    assert_string_equal(events->str, "cP0+1 cP3+61 cP0+64 ");
    g_string_truncate(events, 0);
    memory_listener_remove(mem, &late.listener);
    assert_string_equal(events->str, "cD0+64 cD0+64 ");
    convert(1, 2, false, NULL);
    assert_null(strchr(events->str, 'c'));
}

static void check_ranges(struct ram_block *block, const char *expected)
{
    const struct attr_filter filter = { .block = block->name };
    g_autoptr(GPtrArray) blocks = memory_attributes(mem, &filter, NULL);
    const struct attr_block *answer = g_ptr_array_index(blocks, 0);
    g_autoptr(GString) text = g_string_new(NULL);

    assert_null(answer->cursor);
    for (guint i = 0; i < answer->ranges->len; i++) {
        const struct attr_range *r = &g_array_index(answer->ranges, struct attr_range, i);

        g_string_append_printf(text, "%llu+%llu%s%s ", (unsigned long long)(r->start / PAGE),
                               (unsigned long long)(r->size / PAGE), r->shared ? "s" : "p",
                               r->populated ? "+" : "-");
    }
    assert_string_equal(text->str, expected);
}

/* Every call leaves a record; only so many are kept. */
static void test_history(void **state)
{
    const struct conversion_origin origin = { CONVERSION_HYPERCALL, 3, true, 0xffffffff81234567 };
    const struct conversion_record *r;
    g_autoptr(GArray) one = NULL, all = NULL, newer = NULL;
    uint64_t last;

    assert_int_equal(memory_convert_for(mem, &origin, 2 * PAGE, 3 * PAGE, true, NULL), 0);
    assert_int_equal(convert(1, 3, true, NULL), 0);
    assert_int_equal(memory_convert(mem, 1 * GIB, PAGE, true, NULL), -EINVAL);
    one = memory_conversions(mem, 0, 10, &last);
    assert_int_equal(last, 3);
    assert_int_equal(one->len, 3);
    r = &g_array_index(one, struct conversion_record, 0);
    assert_true(r->serial == 1 && r->gpa == 2 * PAGE && r->size == 3 * PAGE && r->pages == 3);
    assert_true(r->to_private && r->result == 0 && r->origin.cause == CONVERSION_HYPERCALL);
    assert_true(r->origin.vcpu == 3 && r->origin.rip == origin.rip && r->time_us > 0);
    assert_int_equal(r[1].pages, 1);
    assert_int_equal(r[1].origin.cause, CONVERSION_HOST);
    assert_true(r[2].result == -EINVAL && r[2].failed_gpa == 1 * GIB && r[2].pages == 0);
    for (unsigned i = 0; i < 2 * CONVERSION_HISTORY; i++) {
        fake.nr_calls = 0;
        convert(i % PAGES, 1, i & 1, NULL);
    }
    all = memory_conversions(mem, 0, SIZE_MAX, &last);
    assert_int_equal(last, 2 * CONVERSION_HISTORY + 3);
    assert_int_equal(all->len, CONVERSION_HISTORY);
    for (guint i = 0; i < all->len; i++)
        assert_int_equal(g_array_index(all, struct conversion_record, i).serial,
                         last - CONVERSION_HISTORY + 1 + i);
    newer = memory_conversions(mem, last - 2, 100, NULL);
    assert_int_equal(newer->len, 2);
    g_array_unref(memory_conversions(mem, UINT64_MAX, 100, NULL));
}

static void test_query(void **state)
{
    check_ranges(low, "0+64s+ ");
    convert(0, 1, true, NULL);
    convert(2, 2, true, NULL);
    convert(4, 4, true, NULL);
    check_ranges(low, "0+1p- 1+1s+ 2+6p- 8+56s+ ");
    convert(0, PAGES, true, NULL);
    check_ranges(low, "0+64p- ");
    check_ranges(other, "0+64s+ ");
}

/*
 * Four threads convert as fast as they can, each its own eight pages at a time over
 * the border of both blocks: no answer shows half of a conversion.
 */
enum { THREADS = 4, PIECE = 8 };

struct converter {
    pthread_t thread;
    uint64_t page;
    unsigned done;
    bool *stop;
};

static void *convert_back_and_forth(void *arg)
{
    struct converter *c = arg;

    for (bool private_ = true; !__atomic_load_n(c->stop, __ATOMIC_RELAXED); private_ = !private_) {
        if (memory_convert(mem, c->page * PAGE, PIECE * PAGE, private_, NULL))
            abort();
        __atomic_add_fetch(&c->done, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Both blocks one after another: pieces of eight pages each have one state. */
static void check_snapshot(void)
{
    const struct attr_filter filter = { .window = true, .size = 2 * PAGES * PAGE };
    g_autoptr(GPtrArray) blocks = memory_attributes(mem, &filter, NULL);

    assert_int_equal(blocks->len, 2);
    for (guint b = 0; b < blocks->len; b++) {
        const struct attr_block *block = g_ptr_array_index(blocks, b);
        uint64_t at = 0;

        for (guint i = 0; i < block->ranges->len; i++) {
            const struct attr_range *r = &g_array_index(block->ranges, struct attr_range, i);

            assert_int_equal(r->start, at);
            assert_int_equal(r->shared, r->populated);
            at += r->size;
            /* The piece over the border ends four pages into the other block. */
            assert_true(at / PAGE % PIECE == PIECE / 2 || at == PAGES * PAGE);
        }
        assert_int_equal(at, PAGES * PAGE);
    }
}

/* The piece over the border is the same on both sides. */
static void check_border(void)
{
    const struct attr_filter filter = {
        .window = true, .gpa = (PAGES - 1) * PAGE, .size = 2 * PAGE,
    };
    g_autoptr(GPtrArray) blocks = memory_attributes(mem, &filter, NULL);
    const struct attr_block *a = g_ptr_array_index(blocks, 0), *b = g_ptr_array_index(blocks, 1);

    assert_int_equal(g_array_index(a->ranges, struct attr_range, 0).shared,
                     g_array_index(b->ranges, struct attr_range, 0).shared);
}

static void test_queries_are_consistent(void **state)
{
    struct converter converters[THREADS];
    bool stop = false, all;

    memory_listener_remove(mem, &watchers[0].listener);
    memory_listener_remove(mem, &watchers[1].listener);
    vm->driver = &fake_driver;  /* the events aren't locked */
    for (unsigned i = 0; i < THREADS; i++) {
        converters[i] = (struct converter){
            .page = PAGES + PIECE / 2 - PIECE * (i + 1), .stop = &stop,
        };
        pthread_create(&converters[i].thread, NULL, convert_back_and_forth, &converters[i]);
    }
    do {
        check_snapshot();
        check_border();
        all = true;
        for (unsigned i = 0; i < THREADS; i++)
            all &= __atomic_load_n(&converters[i].done, __ATOMIC_RELAXED) > 300;
    } while (!all);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(converters[i].thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_IN_PLACE(name) cmocka_unit_test_setup_teardown(name, set_up_in_place, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_order_of_steps),
        TEST(test_nothing_to_do),
        TEST(test_mixture_converts_only_what_differs),
        TEST(test_range_over_two_blocks),
        TEST(test_bad_ranges),
        TEST(test_plain_memory_is_shared_already),
        TEST(test_kvm_refuses_to_private),
        TEST(test_kvm_refuses_to_shared),
        TEST_IN_PLACE(test_busy_page_in_place),
        TEST_IN_PLACE(test_mixture_converts_only_what_differs),
        TEST(test_listener_refuses),
        TEST(test_rollback_fails),
        TEST(test_state_unknown),
        TEST(test_stays_shared),
        TEST(test_no_memory_over_the_hole),
        TEST(test_listener_life),
        TEST(test_history),
        TEST(test_query),
        TEST(test_queries_are_consistent),
    };

    memory_register_backends();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
