/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that shares pages and takes them back.  All its memory but exits.S is
 * private at first.  Step by step it converts parts of a window of 64 pages, fills every
 * page anew and checks at each step that what it didn't convert kept its contents.
 *
 * With `step` on the command line it waits for a byte on the console after each
 * "step N" line, so that somebody can look at the attribute map meanwhile.
 */
#include "guest.h"

enum { PAGE = 4096, WINDOW = 0x800000, PAGES = 64 };

/* What each page should hold: a seed of its own; 0: not known after a conversion. */
static uint64_t seeds[PAGES];
static uint64_t next_seed = 1;
static bool private_page[PAGES];

static uint64_t *page(unsigned n)
{
    return (uint64_t *)(uintptr_t)(WINDOW + n * PAGE);
}

static void fill(unsigned n)
{
    seeds[n] = next_seed++ * 0x9e3779b97f4a7c15ULL;
    for (unsigned word = 0; word < PAGE / 8; word++)
        page(n)[word] = seeds[n] + word;
}

static bool intact(unsigned n)
{
    for (unsigned word = 0; word < PAGE / 8; word++) {
        if (page(n)[word] != seeds[n] + word)
            return false;
    }
    return true;
}

/* Pages whose contents aren't what was written last. */
static unsigned count_changed(void)
{
    unsigned changed = 0;

    for (unsigned n = 0; n < PAGES; n++)
        changed += seeds[n] && !intact(n);
    return changed;
}

static bool convert(unsigned first, unsigned count, bool to_private)
{
    int64_t ret = hypercall(HC_MAP_GPA_RANGE, WINDOW + first * PAGE, count,
                            to_private ? MAP_GPA_PRIVATE : MAP_GPA_SHARED);

    if (ret) {
        print("converting pages %u to %u: error %ld\n", first, first + count - 1, ret);
        return false;
    }
    /* A page that changes its state has new contents, unless it is converted in place. */
    for (unsigned n = first; n < first + count; n++) {
        if (private_page[n] != to_private)
            seeds[n] = 0;
        private_page[n] = to_private;
    }
    return true;
}

/* What was converted gets new contents, then everything is read again. */
static void end_step(unsigned step, const char *what, bool converted)
{
    unsigned shared = 0;

    check(converted, "conversion");
    check(count_changed() == 0, "other pages keep their contents");
    for (unsigned n = 0; n < PAGES; n++) {
        if (!seeds[n])
            fill(n);
        shared += !private_page[n];
    }
    check(count_changed() == 0, "new contents");
    print("step %u: %s: %u of %u pages shared\n", step, what, shared, PAGES);
    if (has_word("step")) {
        print("waiting for a key\n");
        console_wait();
    }
}

void guest_main(void)
{
    bool done;

    print("window 0x%x+0x%x\n", WINDOW, PAGES * PAGE);
    for (unsigned n = 0; n < PAGES; n++) {
        private_page[n] = true;
        fill(n);
    }
    end_step(0, "all private", true);
    end_step(1, "one page shared", convert(5, 1, false));
    done = true;
    for (unsigned n = 16; n < 32; n += 2)
        done = convert(n, 1, false) && done;
    end_step(2, "every second page of sixteen shared", done);
    end_step(3, "all shared, some were already", convert(0, PAGES, false));
    end_step(4, "the upper half taken back", convert(PAGES / 2, PAGES / 2, true));
    end_step(5, "all private again", convert(0, PAGES, true));
    end_step(6, "private to private changes nothing", convert(0, PAGES, true));
}
