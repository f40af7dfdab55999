/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sources and listeners: what each source, each listener, KVM and the record say
 * agrees after every step, whichever step refuses.  A model of plain arrays says what
 * is right.
 */
#include "attributes.h"
#include "discard.h"
#include "error.h"
#include "fake_kvm.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE ((uint64_t)GUEST_PAGE_SIZE)
/* 32 pages at 0 and 32 from 4 GiB on: one block, two slots. */
enum { PAGES = 64, LOW = 32, MAX_SOURCES = 3 };
#define HIGH_GPA (4 * GIB)

static struct kvm_vm *vm;
static struct memory *mem;
static struct ram_block *block;

/* --- The model --- */

static bool is_private[PAGES], kvm_private[PAGES];
static struct ram_discard_source *sources[MAX_SOURCES];
static const uint64_t granules[MAX_SOURCES] = { 1, 4, 16 };
static bool absent[MAX_SOURCES][PAGES];

static bool populated(unsigned page)
{
    bool is = !is_private[page];

    for (unsigned i = 0; i < MAX_SOURCES; i++)
        is = is && !(sources[i] && absent[i][page]);
    return is;
}

/* --- Listeners --- */

struct watcher {
    struct memory_listener listener;
    bool has[PAGES];
    unsigned refuse_nth, calls;
    GString *log;
};

static struct watcher watchers[2];

static int on_populate(struct memory_listener *listener, const struct memory_section *section)
{
    struct watcher *w = (struct watcher *)listener;
    uint64_t page = section->offset / PAGE, n = section->size / PAGE;

    w->calls++;
    if (w->log)
        g_string_append_printf(w->log, "P%d+%d ", (int)page, (int)n);
    if (w->refuse_nth && --w->refuse_nth == 0)
        return -ENOSPC;
    assert_true(section->gpa == (page < LOW ? page * PAGE : HIGH_GPA + (page - LOW) * PAGE));
    assert_ptr_equal(section->host, (char *)block->host + section->offset);
    for (uint64_t i = page; i < page + n; i++) {
        assert_false(w->has[i]);
        w->has[i] = true;
    }
    return 0;
}

static void on_discard(struct memory_listener *listener, const struct memory_section *section)
{
    struct watcher *w = (struct watcher *)listener;

    if (w->log)
        g_string_append_printf(w->log, "D%d+%d ", (int)(section->offset / PAGE),
                               (int)(section->size / PAGE));
    for (uint64_t i = 0; i < section->size / PAGE; i++)
        w->has[section->offset / PAGE + i] = false;
}

/* --- KVM --- */

static struct kvm_driver driver;

static int watching_ioctl(int fd, unsigned long request, unsigned long arg)
{
    const struct kvm_memory_attributes *attrs = (const void *)arg;
    int ret = fake_driver.ioctl(fd, request, arg);

    for (uint64_t at = 0; request == KVM_SET_MEMORY_ATTRIBUTES && !ret && at < attrs->size;
         at += PAGE) {
        uint64_t gpa = attrs->address + at;

        kvm_private[gpa < HIGH_GPA ? gpa / PAGE : LOW + (gpa - HIGH_GPA) / PAGE] =
            attrs->attributes != 0;
    }
    return ret;
}

static int set_up(void **state)
{
    const struct kvm_needs needs = { .vm_type = KVM_X86_SW_PROTECTED_VM };
    GError *error = NULL;

    fake_reset(KVM_ATTRIBUTES_VM);
    driver = fake_driver;
    driver.ioctl = watching_ioctl;
    memset(is_private, 0, sizeof(is_private));
    memset(kvm_private, 0, sizeof(kvm_private));
    memset(absent, 0, sizeof(absent));
    memset(sources, 0, sizeof(sources));
    memset(watchers, 0, sizeof(watchers));
    assert_int_equal(kvm_vm_new(&driver, &needs, &vm), 0);
    mem = memory_new(vm);
    assert_true(object_add_option("memory-backend-ram,id=m0,size=256K,private=on", &error));
    block = ram_block_new(mem, memory_backend_find("m0"), &error);
    assert_non_null(block);
    assert_true(memory_map(mem, block, 0, 0, LOW * PAGE, &error));
    for (int i = 0; i < 2; i++) {
        watchers[i].listener.populate = on_populate;
        watchers[i].listener.discard = on_discard;
        assert_int_equal(memory_listener_add(mem, &watchers[i].listener), 0);
    }
    /* This one comes while listeners are there. */
    assert_true(memory_map(mem, block, LOW * PAGE, HIGH_GPA, (PAGES - LOW) * PAGE, &error));
    return 0;
}

static int tear_down(void **state)
{
    memory_free(mem);
    kvm_vm_free(vm);
    object_delete_all();
    return fake.open_fds != 0 || fake.open_maps != 0;
}

/* --- Agreement --- */

static void check_query(void)
{
    g_autoptr(GPtrArray) blocks = memory_attributes(mem, &(struct attr_filter){ 0 }, NULL);
    const struct attr_block *answer = g_ptr_array_index(blocks, 0);
    uint64_t page = 0;

    for (guint i = 0; i < answer->ranges->len; i++) {
        const struct attr_range *r = &g_array_index(answer->ranges, struct attr_range, i);

        assert_int_equal(r->start, page * PAGE);
        /* Maximal: it differs from the one before. */
        if (i) {
            const struct attr_range *before = r - 1;

            assert_true(before->shared != r->shared || before->populated != r->populated);
        }
        for (; page * PAGE < r->start + r->size; page++) {
            assert_int_equal(r->shared, !is_private[page]);
            assert_int_equal(r->populated, populated((unsigned)page));
        }
    }
    assert_int_equal(page, PAGES);
}

static void check_all(void)
{
    for (unsigned page = 0; page < PAGES; page++) {
        assert_int_equal(attr_map_get(block->private_pages, page), is_private[page]);
        assert_int_equal(kvm_private[page], is_private[page]);
        assert_int_equal(ram_block_is_populated(block, page * PAGE, PAGE), populated(page));
        for (unsigned i = 0; i < MAX_SOURCES; i++) {
            if (sources[i])
                assert_int_equal(ram_discard_source_has(sources[i], page * PAGE, PAGE),
                                 !absent[i][page]);
        }
        for (int w = 0; w < 2; w++) {
            if (watchers[w].has[page] != populated(page))
                fail_msg("page %u: listener %d has it: %d", page, w, watchers[w].has[page]);
        }
    }
    check_query();
}

/* --- Steps; each changes the model if it succeeds --- */

static int convert(unsigned first, unsigned n, bool private_)
{
    /* Not over the hole: that isn't one range of addresses. */
    uint64_t gpa = first < LOW ? first * PAGE : HIGH_GPA + (first - LOW) * PAGE;
    int ret;

    if (first < LOW && first + n > LOW)
        n = LOW - first;
    ret = memory_convert(mem, gpa, n * PAGE, private_, NULL);
    for (unsigned i = first; !ret && i < first + n; i++)
        is_private[i] = private_;
    return ret;
}

static int plug(unsigned s, unsigned first, unsigned n, bool on)
{
    int ret = on ? ram_discard_plug(sources[s], first * PAGE, n * PAGE)
                 : ram_discard_unplug(sources[s], first * PAGE, n * PAGE);

    for (unsigned i = first; !ret && i < first + n; i++)
        absent[s][i] = !on;
    return ret;
}

static int add_or_remove(unsigned s)
{
    static const char *const names[] = { "a", "b", "c" };
    bool on = rand() % 2;
    int ret = 0;

    if (sources[s]) {
        ret = ram_discard_source_remove(sources[s]);
        if (!ret)
            sources[s] = NULL;
    } else {
        sources[s] = ram_discard_source_add(block, names[s], granules[s] * PAGE, on, NULL);
        assert_non_null(sources[s]);
        for (unsigned i = 0; i < PAGES; i++)
            absent[s][i] = !on;
    }
    return ret;
}

static int random_step(void)
{
    unsigned s = (unsigned)rand() % MAX_SOURCES, what = (unsigned)rand() % 16;
    unsigned granule = what < 8 ? 1 : (unsigned)granules[s];
    unsigned first = (unsigned)rand() % PAGES / granule * granule;
    unsigned n = (1 + (unsigned)rand() % (PAGES - first)) / granule * granule;

    if (!n)
        return 0;
    if (what < 8)
        return convert(first, n, rand() % 2);
    if (what == 8 || !sources[s])
        return add_or_remove(s);
    return plug(s, first, n, rand() % 2);
}

static void test_everything_agrees_whoever_refuses(void **state)
{
    unsigned refused = 0;

    srand(11);
    for (int i = 0; i < 20000; i++) {
        int fault = rand() % 4, ret;

        watchers[0].refuse_nth = fault == 1 ? 1 + (unsigned)rand() % 3 : 0;
        watchers[1].refuse_nth = fault == 2 ? 1 + (unsigned)rand() % 3 : 0;
        fake.nr_calls = 0;
        fake_fail(fault == 3 ? KVM_SET_MEMORY_ATTRIBUTES : 0, 1, 0, -EIO);
        ret = random_step();
        refused += ret != 0;
        assert_true(ret == 0 || ret == -ENOSPC || ret == -EIO);
        fake_fail(0, 0, 0, 0);
        check_all();
    }
    assert_int_equal(memory_get_counters(mem).failed_rollbacks, 0);
    assert_true(refused > 1000);        /* or this has tested nothing */
}

/* --- Point by point --- */

static char *log_of(struct watcher *w)
{
    char *text = g_string_free(w->log, FALSE);

    w->log = g_string_new(NULL);
    return text;
}

#define assert_log(w_, expected)                                                                \
    do {                                                                                        \
        g_autofree char *text_ = log_of(w_);                                                    \
        assert_string_equal(text_, expected);                                                   \
    } while (0)

static void test_attributes_and_plugged_blocks(void **state)
{
    struct watcher *w = &watchers[0];

    w->log = g_string_new(NULL);
    sources[1] = ram_discard_source_add(block, "vm0", 4 * PAGE, false, NULL);
    memset(absent[1], true, sizeof(absent[1]));
    assert_log(w, "D0+32 D32+32 ");
    check_all();
    /* Shared and plugged: there. The hole cuts the run. */
    assert_int_equal(plug(1, 28, 8, true), 0);
    assert_log(w, "P28+4 P32+4 ");
    /* Private and plugged, shared and unplugged, private and unplugged: not there. */
    assert_int_equal(convert(29, 1, true), 0);
    assert_log(w, "D29+1 ");
    assert_int_equal(convert(8, 8, true), 0);
    assert_int_equal(plug(1, 8, 4, true), 0);
    assert_int_equal(convert(12, 4, false), 0);
    assert_log(w, "");
    check_all();
    /* A private plugged block becomes shared, and is then unplugged. */
    assert_int_equal(convert(8, 4, false), 0);
    assert_log(w, "P8+4 ");
    assert_int_equal(plug(1, 0, 32, false), 0);
    assert_log(w, "D8+4 D28+1 D30+2 ");
    check_all();
    assert_int_equal(ram_discard_source_remove(sources[1]), 0);
    sources[1] = NULL;
    assert_log(w, "P0+29 P30+2 P36+28 ");
    check_all();
    g_string_free(w->log, TRUE);
    w->log = NULL;
}

static void test_refusal_of_the_nth_run(void **state)
{
    sources[0] = ram_discard_source_add(block, "a", PAGE, true, NULL);
    for (unsigned i = 0; i < PAGES; i += 4)
        assert_int_equal(plug(0, i, 2, false), 0);
    for (int w = 0; w < 2; w++) {
        for (unsigned nth = 1; nth <= PAGES / 4; nth++) {
            watchers[w].refuse_nth = nth;
            assert_int_equal(plug(0, 0, PAGES, true), -ENOSPC);
            check_all();
            watchers[w].refuse_nth = nth;
            assert_int_equal(ram_discard_source_remove(sources[0]), -ENOSPC);
            check_all();
        }
        watchers[w].refuse_nth = 0;
    }
    assert_int_equal(plug(0, 0, PAGES, true), 0);
    check_all();
}

struct replayed {
    GString *log;
    unsigned stop_after;
};

static int on_run(void *opaque, uint64_t offset, uint64_t size)
{
    struct replayed *r = opaque;

    g_string_append_printf(r->log, "%d+%d ", (int)(offset / PAGE), (int)(size / PAGE));
    return r->stop_after && --r->stop_after == 0 ? -EINTR : 0;
}

static void check_replay(uint64_t first, uint64_t n, bool wanted, unsigned stop_after,
                         const char *expected)
{
    struct replayed r = { g_string_new(NULL), stop_after };
    int ret = ram_block_replay(block, first * PAGE, n * PAGE, wanted, on_run, &r);

    assert_int_equal(ret, stop_after ? -EINTR : 0);
    assert_string_equal(r.log->str, expected);
    g_string_free(r.log, TRUE);
}

static void test_replay(void **state)
{
    check_replay(0, PAGES, true, 0, "0+64 ");
    check_replay(0, PAGES, false, 0, "");
    sources[1] = ram_discard_source_add(block, "b", 4 * PAGE, true, NULL);
    plug(1, 8, 8, false);
    convert(14, 6, true);
    /* Two reasons side by side are one run. */
    check_replay(0, PAGES, false, 0, "8+12 ");
    check_replay(0, PAGES, true, 0, "0+8 20+44 ");
    check_replay(10, 4, false, 0, "10+4 ");
    check_replay(4, 30, true, 1, "4+4 ");
    assert_int_equal(ram_block_replay(block, 0, 1, true, on_run, NULL), -EINVAL);
    assert_int_equal(ram_block_replay(block, 0, (PAGES + 1) * PAGE, true, on_run, NULL), -EINVAL);
}

static void test_granularity(void **state)
{
    g_autoptr(GError) error = NULL;
    struct ram_block *plain = ram_block_new_internal(mem, "plain", 64 * PAGE, false, &error);
    struct ram_discard_source *coarse, *fine;

    assert_int_equal(ram_block_granularity(block), PAGE);
    coarse = ram_discard_source_add(plain, "coarse", 16 * PAGE, true, &error);
    assert_int_equal(ram_block_granularity(plain), 16 * PAGE);
    fine = ram_discard_source_add(plain, "fine", 4 * PAGE, true, &error);
    assert_int_equal(ram_block_granularity(plain), 4 * PAGE);
    assert_int_equal(ram_discard_plug(coarse, 4 * PAGE, 16 * PAGE), -EINVAL);
    assert_int_equal(ram_discard_unplug(coarse, 0, 4 * PAGE), -EINVAL);
    assert_int_equal(ram_discard_unplug(coarse, 64 * PAGE, 16 * PAGE), -EINVAL);
    assert_int_equal(ram_discard_unplug(coarse, 0, UINT64_MAX - 16 * PAGE + 1), -EINVAL);
    assert_int_equal(ram_discard_unplug(fine, 4 * PAGE, 4 * PAGE), 0);
    assert_false(ram_block_is_populated(plain, 0, 64 * PAGE));
    assert_true(ram_block_is_populated(plain, 0, 4 * PAGE));
    assert_int_equal(ram_discard_source_remove(fine), 0);
    assert_int_equal(ram_block_granularity(plain), 16 * PAGE);
}

static void test_sources_that_cannot_be(void **state)
{
    static const struct {
        const char *name;
        uint64_t granularity;
        const char *reason;
    } rows[] = {
        { "a", PAGE, "it is there already" },
        { "x", PAGE / 2, "its granularity must be a power of two of at least 4 KiB" },
        { "x", 3 * PAGE, "its granularity must be a power of two of at least 4 KiB" },
        { "x", 128 * PAGE, "the memory's size must be a multiple of its granularity" },
    };
    g_autoptr(GError) error = NULL;

    sources[0] = ram_discard_source_add(block, "a", PAGE, true, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        assert_null(ram_discard_source_add(block, rows[i].name, rows[i].granularity, false,
                                           &error));
        assert_true(g_str_has_suffix(error->message, rows[i].reason));
        g_clear_error(&error);
        check_all();
    }
    for (int i = 2; i < RAM_DISCARD_MAX_SOURCES; i++) {
        g_autofree char *name = g_strdup_printf("s%d", i);

        assert_non_null(ram_discard_source_add(block, name, PAGE, true, NULL));
    }
    assert_null(ram_discard_source_add(block, "more", PAGE, true, &error));
    assert_true(g_str_has_suffix(error->message, "there are too many"));
}

/* Devices get nothing of what isn't plugged; what is freed reads as zeroes. */
static void test_unplugged_memory(void **state)
{
    uint64_t word = 0x1234, bad = 0;

    sources[1] = ram_discard_source_add(block, "b", 4 * PAGE, true, NULL);
    assert_true(memory_write(mem, 8 * PAGE, &word, 8, NULL));
    assert_int_equal(ram_block_discard_range(block, 8 * PAGE, 4 * PAGE), -EBUSY);
    assert_int_equal(plug(1, 8, 4, false), 0);
    assert_false(memory_read(mem, 8 * PAGE - 4, &word, 8, &bad));
    assert_int_equal(bad, 8 * PAGE);
    assert_int_equal(ram_block_discard_range(block, 8 * PAGE, 4 * PAGE), 0);
    assert_int_equal(ram_block_discard_range(block, 8 * PAGE + 1, 4 * PAGE), -EINVAL);
    assert_int_equal(plug(1, 8, 4, true), 0);
    assert_true(memory_read(mem, 8 * PAGE, &word, 8, NULL));
    assert_int_equal(word, 0);
    check_all();
}

/* A reset frees all memory: listeners have nothing of it meanwhile, and all of it again then. */
static void test_reset(void **state)
{
    GError *error = NULL;

    convert(3, 5, true);
    watchers[0].log = g_string_new(NULL);
    assert_true(memory_reset(mem, &error));
    memset(is_private, 0, sizeof(is_private));
    assert_log(&watchers[0], "D0+32 D32+32 P0+32 P32+32 ");
    check_all();
    watchers[0].refuse_nth = 2;
    assert_false(memory_reset(mem, &error));
    g_clear_error(&error);
    assert_log(&watchers[0], "D0+32 D32+32 P0+32 P32+32 D0+32 D32+32 ");
    g_string_free(watchers[0].log, TRUE);
    watchers[0].log = NULL;
}

/* Slots come and go under listeners; a block goes when it is nowhere any more. */
static void test_mappings(void **state)
{
    g_autoptr(GError) error = NULL;
    struct ram_block *plain = ram_block_new_internal(mem, "plain", 4 * PAGE, false, &error);

    watchers[1].log = g_string_new(NULL);
    convert(40, 1, true);
    assert_log(&watchers[1], "D40+1 ");
    assert_true(memory_unmap(mem, HIGH_GPA, (PAGES - LOW) * PAGE, &error));
    assert_log(&watchers[1], "D32+32 ");
    watchers[1].refuse_nth = 2;
    assert_false(memory_map(mem, block, LOW * PAGE, HIGH_GPA, (PAGES - LOW) * PAGE, &error));
    assert_log(&watchers[1], "P32+8 P41+23 D41+23 D32+8 ");
    g_clear_error(&error);
    assert_true(memory_map(mem, block, LOW * PAGE, HIGH_GPA, (PAGES - LOW) * PAGE, &error));
    assert_log(&watchers[1], "P32+8 P41+23 ");
    check_all();
    assert_false(ram_block_delete(block, &error));
    g_clear_error(&error);
    assert_true(ram_block_delete(plain, &error));
    g_string_free(watchers[1].log, TRUE);
    watchers[1].log = NULL;
}

/* --- Filters of queries --- */

static char *ask(struct attr_filter filter)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) blocks = memory_attributes(mem, &filter, &error);
    GString *text = g_string_new(blocks ? NULL : error->message);

    for (guint b = 0; blocks && b < blocks->len; b++) {
        const struct attr_block *answer = g_ptr_array_index(blocks, b);

        for (guint i = 0; i < answer->ranges->len; i++) {
            const struct attr_range *r = &g_array_index(answer->ranges, struct attr_range, i);

            g_string_append_printf(text, "%d+%d%s%s ", (int)(r->start / PAGE),
                                   (int)(r->size / PAGE), r->shared ? "s" : "p",
                                   r->populated ? "+" : "-");
        }
        if (answer->cursor)
            g_string_append(text, answer->cursor);
    }
    return g_string_free(text, FALSE);
}

#define assert_answer(expected, ...)                                                            \
    do {                                                                                        \
        g_autofree char *answer_ = ask((struct attr_filter){ __VA_ARGS__ });                     \
        assert_string_equal(answer_, expected);                                                 \
    } while (0)

static void test_filters(void **state)
{
    sources[1] = ram_discard_source_add(block, "b", 4 * PAGE, true, NULL);
    plug(1, 8, 8, false);
    convert(30, 2, true);
    convert(32, 10, true);
    assert_answer("0+8s+ 8+8s- 16+14s+ 30+12p- 42+22s+ ", 0);
    assert_answer("0+8s+ 8+8s- m0@0x10000", .limit = 2);
    assert_answer("16+14s+ 30+12p- m0@0x2a000", .limit = 2, .cursor = "m0@0x10000");
    assert_answer("42+22s+ ", .limit = 2, .cursor = "m0@0x2a000");
    assert_answer("16+14s+ 30+12p- 42+22s+ ", .min_size = 10 * PAGE);
    assert_answer("16+14s+ m0@0x1e000", .min_size = 10 * PAGE, .limit = 1);
    /* A window: cut by it and by slots, whole pages that it touches. */
    assert_answer("31+1p- 32+2p- ", .window = true, .gpa = 31 * PAGE + 5,
                  .size = HIGH_GPA + 2 * PAGE - 31 * PAGE - 8);
    assert_answer("31+1p- m0@0x100000000", .window = true, .gpa = 31 * PAGE, .limit = 1,
                  .size = HIGH_GPA);
    assert_answer("32+10p- 42+21s+ ", .window = true, .gpa = 31 * PAGE, .cursor = "m0@0x100000000",
                  .size = HIGH_GPA);
    assert_answer("", .window = true, .gpa = GIB, .size = GIB);
    assert_answer("Parameter 'size' is 0, or passes the end of the address space",
                  .window = true, .gpa = 4096, .size = UINT64_MAX);
    assert_answer("Parameter 'size' is 0, or passes the end of the address space",
                  .window = true);
    assert_answer("no memory 'm1' that can be private", .block = "m1");
    assert_answer("Parameter 'cursor' names memory that isn't there: 'm1'", .cursor = "m1@0");
    assert_answer("Parameter 'cursor' expects the cursor of an earlier answer", .cursor = "m0");
    assert_answer("Parameter 'cursor' expects the cursor of an earlier answer", .cursor = "m0@1");
    assert_answer("Parameter 'cursor' expects the cursor of an earlier answer", .cursor = "m0@-1");
    assert_answer("", .cursor = "m0@0x1000000");
}

static void test_summary(void **state)
{
    g_autoptr(GPtrArray) list = NULL;
    const struct attr_summary *summary;

    sources[1] = ram_discard_source_add(block, "b", 4 * PAGE, true, NULL);
    plug(1, 8, 8, false);
    convert(30, 2, true);
    list = memory_attributes_summary(mem, NULL, NULL);
    assert_int_equal(list->len, 1);
    summary = g_ptr_array_index(list, 0);
    assert_string_equal(summary->name, "m0");
    assert_int_equal(summary->private_, 2 * PAGE);
    assert_int_equal(summary->shared, 62 * PAGE);
    assert_int_equal(summary->populated, 54 * PAGE);
    assert_int_equal(summary->ranges, 5);
    assert_int_equal(summary->largest_private.start, 30 * PAGE);
    assert_int_equal(summary->largest_shared.start, 32 * PAGE);
    assert_int_equal(summary->largest_shared.size, 32 * PAGE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_everything_agrees_whoever_refuses),
        TEST(test_attributes_and_plugged_blocks),
        TEST(test_refusal_of_the_nth_run),
        TEST(test_replay),
        TEST(test_granularity),
        TEST(test_sources_that_cannot_be),
        TEST(test_unplugged_memory),
        TEST(test_reset),
        TEST(test_mappings),
        TEST(test_filters),
        TEST(test_summary),
    };

    memory_register_backends();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
