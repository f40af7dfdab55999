/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All processors convert memory at once, until a key is pressed: each a part of its own,
 * where it knows what every page must hold, and all a part that they have in common.
 * With `in-place` on the command line a converted page keeps its contents; else a page
 * that changes its state is zeroes.
 *
 * For a soak: `may-fail`: a conversion may be refused, and then nothing has changed;
 * `lax`: nor is anything known of contents; `roam`: conversions of large ranges far off,
 * over the end of RAM too, and PCI slots are let go of when the host asks for them.
 */
#include "guest.h"

enum { PAGE = 4096, WORDS = PAGE / 8, WINDOW = 0x800000, OWN = 16, COMMON = 16, MAX_CPUS = 8,
       COM1_LSR = 0x3fd, LSR_DATA = 1, ROAM = 0x1000000, ROAM_PAGES = 0x2000,
       PCI_DOWN = 0xae04, PCI_EJECT = 0xae08 };

#define DEVICE_MEMORY 0x100000000ULL

struct page {
    bool is_private;
    uint64_t contents;          /* of each word */
};

static struct cpu {
    uint64_t rng, conversions;
    struct page pages[OWN];
    const char *failure;
    uint64_t page, word;        /* of the failure */
} cpus[MAX_CPUS];

static unsigned nr_cpus;
static bool in_place, may_fail, lax, roaming, stop;
static uint32_t finished;

static uint64_t next(struct cpu *cpu)
{
    uint64_t z = cpu->rng += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    return z ^ z >> 31;
}

static unsigned below(struct cpu *cpu, unsigned n)
{
    return (unsigned)((next(cpu) >> 32) * n >> 32);
}

static volatile uint64_t *page_at(unsigned number)
{
    return (uint64_t *)(uintptr_t)(WINDOW + number * PAGE);
}

static void fail(struct cpu *cpu, const char *what, unsigned page, uint64_t word)
{
    if (lax)
        return;
    if (!cpu->failure) {
        cpu->failure = what;
        cpu->page = page;
        cpu->word = word;
    }
    __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
}

/* False: refused, as it may be. */
static bool convert(struct cpu *cpu, unsigned first, unsigned count, bool to_private)
{
    int64_t ret = hypercall(HC_MAP_GPA_RANGE, WINDOW + first * PAGE, count,
                            to_private ? MAP_GPA_PRIVATE : MAP_GPA_SHARED);

    cpu->conversions++;
    if (ret && !may_fail)
        fail(cpu, "conversion", first, (uint64_t)ret);
    return !ret;
}

static unsigned own_page(const struct cpu *cpu, unsigned n)
{
    return (unsigned)(cpu - cpus) * OWN + n;
}

static unsigned common_page(unsigned n)
{
    return nr_cpus * OWN + n;
}

static uint64_t common_word(unsigned number)
{
    return 0xc0ffee0000000000 | number;
}

static void convert_own(struct cpu *cpu)
{
    unsigned first = below(cpu, OWN), count = 1 + below(cpu, OWN - first);
    bool to_private = below(cpu, 2);

    if (!convert(cpu, own_page(cpu, first), count, to_private))
        return;
    for (unsigned n = first; n < first + count; n++) {
        if (!in_place && cpu->pages[n].is_private != to_private)
            cpu->pages[n].contents = 0;
        cpu->pages[n].is_private = to_private;
    }
}

static void fill_own(struct cpu *cpu, unsigned n)
{
    volatile uint64_t *words = page_at(own_page(cpu, n));

    cpu->pages[n].contents = next(cpu);
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = cpu->pages[n].contents;
}

static void check_own(struct cpu *cpu, unsigned n)
{
    volatile uint64_t *words = page_at(own_page(cpu, n));

    for (unsigned i = 0; i < WORDS; i++) {
        uint64_t word = words[i];

        if (word != cpu->pages[n].contents) {
            fail(cpu, "contents of its own page", own_page(cpu, n), word);
            return;
        }
    }
}

static void use_common(struct cpu *cpu)
{
    unsigned n = below(cpu, COMMON), number = common_page(n);
    uint64_t word;

    switch (below(cpu, 4)) {
    case 0:
        page_at(number)[below(cpu, WORDS)] = common_word(number);
        break;
    case 1:
        convert(cpu, number, 1 + below(cpu, COMMON - n), below(cpu, 2));
        break;
    default:
        word = page_at(number)[below(cpu, WORDS)];
        if (word != common_word(number) && (in_place || word))
            fail(cpu, "contents of a common page", number, word);
    }
}

/* One in two of these is large; the end may be behind all RAM, or in a memory device. */
static void roam(struct cpu *cpu)
{
    unsigned page = below(cpu, ROAM_PAGES);
    unsigned count = 1 + below(cpu, below(cpu, 2) ? ROAM_PAGES / 2 : 8);
    uint64_t base = below(cpu, 8) ? ROAM : DEVICE_MEMORY;

    hypercall(HC_MAP_GPA_RANGE, base + (uint64_t)page * PAGE, count,
              below(cpu, 2) ? MAP_GPA_PRIVATE : MAP_GPA_SHARED);
    cpu->conversions++;
    *(volatile uint64_t *)(uintptr_t)(ROAM + page * PAGE) += 1;
}

static void work(struct cpu *cpu)
{
    if (roaming && !below(cpu, 16))
        roam(cpu);
    switch (below(cpu, 8)) {
    case 0: convert_own(cpu); break;
    case 1: case 2: fill_own(cpu, below(cpu, OWN)); break;
    case 3: case 4: use_common(cpu); break;
    default: check_own(cpu, below(cpu, OWN)); break;
    }
}

static void ap(unsigned number)
{
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
        work(&cpus[number]);
    __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
    for (;;)
        wait_for_interrupt();
}

static void prepare(void)
{
    in_place = has_word("in-place");
    may_fail = has_word("may-fail");
    lax = has_word("lax");
    roaming = has_word("roam");
    for (unsigned c = 0; c < nr_cpus; c++) {
        cpus[c].rng = rdtsc() + c;
        for (unsigned n = 0; n < OWN; n++)
            cpus[c].pages[n].is_private = true;
    }
    for (unsigned n = 0; n < COMMON; n++) {
        for (unsigned i = 0; i < WORDS; i++)
            page_at(common_page(n))[i] = common_word(common_page(n));
    }
}

void guest_main(void)
{
    struct board_info board;
    uint64_t conversions = 0;

    board_find(&board);
    apic_enable(apic_has_x2apic());
    nr_cpus = board.cpu_count < MAX_CPUS ? board.cpu_count : MAX_CPUS;
    prepare();
    board.cpu_count = nr_cpus;
    start_cpus(&board, ap);
    print("waiting for a key\n");
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        work(&cpus[0]);
        if (roaming)
            out32(PCI_EJECT, in32(PCI_DOWN));
        if (in8(COM1_LSR) & LSR_DATA)
            __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
    }
    while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) < nr_cpus - 1)
        cpu_pause();
    convert(&cpus[0], 0, nr_cpus * OWN + COMMON, true);     /* the same map each time */
    for (unsigned c = 0; c < nr_cpus; c++) {
        conversions += cpus[c].conversions;
        if (cpus[c].failure)
            print("processor %u: %s, page %lu: 0x%lx\n", c, cpus[c].failure, cpus[c].page,
                  cpus[c].word);
        check(!cpus[c].failure, "processor %u", c);
    }
    print("%lu conversions\n", conversions);
    check(conversions > nr_cpus, "conversions");
}
