/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * converting [--softkvm|--vm2|--in-place|--kernel] [--seconds N] [--seed S]
 *
 * Four vCPUs use memory while it is converted by their threads.  Each has pages of its own,
 * of which it knows every byte, and all have some in common, of which they know less:
 *
 *   in place       a page keeps its contents, whatever it is converted to;
 *   two backings   each of the two copies keeps its contents until it is punched out (as a
 *                  VMM does with the one that the page has left), then it is zeroes.
 */
#include "kvm_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { VCPUS = 4, PAGE = 4096, WORDS = PAGE / 8, OWN = 16, COMMON = 16,
       PAGES = VCPUS * OWN + COMMON, RAM_SIZE = 0x100000 };

#define AT_4G 0x100000000ULL
#define PRIVATE KVM_MEMORY_ATTRIBUTE_PRIVATE

/* What vCPUs do: each ends with an OUT. */
enum { STUB_FILL = 0x2000, STUB_CHECK = 0x2010, STUB_READ = 0x2020, STUB_WRITE = 0x2030 };

struct page {
    bool is_private;
    uint64_t contents[2];       /* of the shared and the private copy; in place: [0] */
};

struct worker {
    struct machine m;
    unsigned index;
    uint64_t rng, conversions, accesses;
    struct page pages[OWN];
    char failure[160];
};

static struct worker workers[VCPUS];
static int vm, gmem;
static uint8_t *shared;
static bool in_place, version2, stop;
static unsigned long seconds = 2, seed;

static uint64_t next(struct worker *w)
{
    uint64_t z = w->rng += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned below(struct worker *w, unsigned n)
{
    return (unsigned)((next(w) >> 32) * n >> 32);
}

#define FAIL(w_, ...)                                                                   \
    do {                                                                                \
        if (!(w_)->failure[0])                                                          \
            snprintf((w_)->failure, sizeof((w_)->failure), __VA_ARGS__);                \
        __atomic_store_n(&stop, true, __ATOMIC_RELAXED);                                \
    } while (0)

/* Runs a stub; its registers afterwards. */
static struct kvm_regs run_stub(struct worker *w, uint64_t stub, uint64_t page, uint64_t value)
{
    struct kvm_regs regs = {
        .rip = stub, .rflags = 2, .rax = value, .rbx = AT_4G + page * PAGE,
        .rdi = AT_4G + page * PAGE, .rcx = WORDS,
    };
    int ret = kvm_ioctl(w->m.vcpu, KVM_SET_REGS, (unsigned long)&regs);

    w->accesses++;
    while (!ret) {
        ret = kvm_ioctl(w->m.vcpu, KVM_RUN, 0);
        if (ret || w->m.run->exit_reason == KVM_EXIT_IO)
            break;
        ret = -EIO;
    }
    if (!ret)
        ret = kvm_ioctl(w->m.vcpu, KVM_GET_REGS, (unsigned long)&regs);
    if (ret)
        FAIL(w, "page %u, stub 0x%x: error %d, exit %u", (unsigned)page, (unsigned)stub, ret,
             w->m.run->exit_reason);
    return regs;
}

static int set_state(unsigned first, unsigned count, uint64_t attributes)
{
    uint64_t at = (uint64_t)first * PAGE, size = (uint64_t)count * PAGE, busy;

    if (in_place)
        return set_attributes2(gmem, at, size, attributes, &busy);
    if (version2) {
        struct kvm_memory_attributes2 args = {
            .offset = AT_4G + at, .size = size, .attributes = attributes,
        };

        return IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES2, &args);
    }
    return set_attributes(vm, AT_4G + at, size, attributes);
}

static bool convert(struct worker *w, unsigned first, unsigned count, bool to_private)
{
    int ret;

    do {
        ret = set_state(first, count, to_private ? PRIVATE : 0);
    } while (ret == -EAGAIN);
    if (ret)
        FAIL(w, "converting %u+%u: error %d", first, count, ret);
    w->conversions++;
    return !ret;
}

/* Frees the shared or the private copies. */
static void punch(struct worker *w, unsigned first, unsigned count, bool private_copy)
{
    int ret = private_copy ? fallocate(gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
                                       (off_t)first * PAGE, (off_t)count * PAGE)
                           : madvise(shared + first * PAGE, (size_t)count * PAGE, MADV_DONTNEED);

    if (ret)
        FAIL(w, "punching out %u+%u: %s", first, count, strerror(errno));
}

static uint64_t *known(struct page *page)
{
    return &page->contents[in_place ? 0 : page->is_private];
}

static void check_page(struct worker *w, unsigned n)
{
    struct page *page = &w->pages[n];
    unsigned number = w->index * OWN + n;
    struct kvm_regs regs = run_stub(w, STUB_CHECK, number, *known(page));

    if (regs.rcx || !(regs.rflags & 0x40))
        FAIL(w, "page %u, %s: word %llu isn't 0x%llx", number,
             page->is_private ? "private" : "shared", WORDS - 1 - regs.rcx,
             (unsigned long long)*known(page));
    if (!page->is_private && below(w, 2)) {
        const uint64_t *words = (uint64_t *)(shared + number * PAGE);

        for (unsigned i = 0; i < WORDS; i++) {
            if (words[i] != *known(page))
                FAIL(w, "page %u, seen by the host: word %u isn't 0x%llx", number, i,
                     (unsigned long long)*known(page));
        }
    }
}

static void fill_page(struct worker *w, unsigned n)
{
    struct page *page = &w->pages[n];
    unsigned number = w->index * OWN + n;

    *known(page) = next(w);
    if (!page->is_private && below(w, 4) == 0) {
        for (unsigned i = 0; i < WORDS; i++)
            ((uint64_t *)(shared + number * PAGE))[i] = *known(page);
    } else {
        run_stub(w, STUB_FILL, number, *known(page));
    }
}

static void convert_own(struct worker *w)
{
    unsigned first = below(w, OWN), count = 1 + below(w, OWN - first);
    bool to_private = below(w, 2), free_copies = !in_place && below(w, 2);

    if (!convert(w, w->index * OWN + first, count, to_private))
        return;
    if (free_copies)
        punch(w, w->index * OWN + first, count, !to_private);
    for (unsigned n = first; n < first + count; n++) {
        w->pages[n].is_private = to_private;
        if (free_copies)
            w->pages[n].contents[!to_private] = 0;
    }
}

/* A word of a common page: its number, and that one of us wrote it. */
static uint64_t common_word(unsigned page)
{
    return 0xc0ffee0000000000 | page;
}

static void use_common(struct worker *w)
{
    unsigned n = below(w, COMMON), page = VCPUS * OWN + n;

    switch (below(w, 4)) {
    case 0:
        run_stub(w, STUB_WRITE, page, common_word(page));
        break;
    case 1: {
        unsigned count = 1 + below(w, COMMON - n);
        bool to_private = below(w, 2);

        if (convert(w, page, count, to_private) && !in_place && below(w, 2))
            punch(w, page, count, !to_private);
        break;
    }
    default: {
        uint64_t word = run_stub(w, STUB_READ, page, 0).rax;

        if (word != common_word(page) && (in_place || word))
            FAIL(w, "common page %u holds 0x%llx", page, (unsigned long long)word);
    }
    }
}

static void *work(void *opaque)
{
    struct worker *w = opaque;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        switch (below(w, 8)) {
        case 0: convert_own(w); break;
        case 1: case 2: fill_page(w, below(w, OWN)); break;
        case 3: case 4: use_common(w); break;
        default: check_page(w, below(w, OWN)); break;
        }
    }
    return NULL;
}

static void load_stubs(uint8_t *ram)
{
    memcpy(ram + STUB_FILL, "\xf3\x48\xab\xe6\x10", 5);         /* rep stosq; out */
    memcpy(ram + STUB_CHECK, "\xf3\x48\xaf\xe6\x10", 5);        /* repe scasq; out */
    memcpy(ram + STUB_READ, "\x48\x8b\x03\xe6\x10", 5);         /* mov (%rbx),%rax; out */
    memcpy(ram + STUB_WRITE, "\x48\x89\x03\xe6\x10", 5);        /* mov %rax,(%rbx); out */
}

static void add_worker(unsigned index, const struct machine *first)
{
    struct worker *w = &workers[index];
    void *run;

    w->index = index;
    w->rng = seed * VCPUS + index;
    w->m = *first;
    if (index) {
        struct kvm_sregs sregs;

        w->m.vcpu = IOCTL(vm, KVM_CREATE_VCPU, index);
        CHECK(w->m.vcpu >= 0);
        CHECK_EQ(kvm_map(sizeof(struct kvm_run), MAP_SHARED, w->m.vcpu, 0, &run), 0);
        w->m.run = run;
        CHECK_EQ(IOCTL(first->vcpu, KVM_GET_SREGS, &sregs), 0);
        CHECK_EQ(IOCTL(w->m.vcpu, KVM_SET_SREGS, &sregs), 0);
    }
}

static void make_memory(void)
{
    void *at;

    if (in_place) {
        gmem = create_gmem(vm, PAGES * PAGE,
                           GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
        CHECK(gmem >= 0);
        CHECK_EQ(kvm_map(PAGES * PAGE, MAP_SHARED, gmem, 0, &at), 0);
        shared = at;
    } else {
        gmem = create_gmem(vm, PAGES * PAGE, 0);
        CHECK(gmem >= 0);
        shared = host_memory(PAGES * PAGE);
    }
    CHECK_EQ(set_region2(vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, PAGES * PAGE, shared, gmem, 0), 0);
}

static void run_workers(void)
{
    struct timespec left = { .tv_sec = (time_t)seconds };
    pthread_t threads[VCPUS];
    uint64_t conversions = 0, accesses = 0;

    for (unsigned page = VCPUS * OWN; page < PAGES; page++)
        run_stub(&workers[0], STUB_WRITE, page, common_word(page));
    for (unsigned i = 0; i < VCPUS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < VCPUS; i++) {
        pthread_join(threads[i], NULL);
        conversions += workers[i].conversions;
        accesses += workers[i].accesses;
    }
    for (unsigned i = 0; i < VCPUS; i++) {
        if (workers[i].failure[0])
            test_fail(__FILE__, __LINE__, "seed %lu, vCPU %u: %s", seed, i, workers[i].failure);
    }
    printf("# seed %lu: %llu conversions, %llu accesses by 4 vCPUs\n", seed,
           (unsigned long long)conversions, (unsigned long long)accesses);
}

static void convert_all_the_time(void)
{
    struct machine m;

    alarm(0);
    machine_init(&m, 1, RAM_SIZE);
    vm = m.vm;
    in_place = check_extension(vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) & PRIVATE;
    version2 = !in_place && check_extension(vm, KVM_CAP_MEMORY_ATTRIBUTES2) & PRIVATE;
    if (!in_place && !(check_extension(vm, KVM_CAP_MEMORY_ATTRIBUTES) & PRIVATE))
        test_skip("no private memory");
    machine_long_mode(&m, "\xf4", 1);
    load_stubs(m.ram);
    make_memory();
    for (unsigned i = 0; i < VCPUS; i++)
        add_worker(i, &m);
    run_workers();
}

static const struct test_case cases[] = {
    { "conversions by four vCPUs' threads", convert_all_the_time },
};

int main(int argc, char **argv)
{
    seed = (unsigned long)time(NULL);
    for (int i = 1; i + 1 < argc; i++) {
        if (!strcmp(argv[i], "--seconds"))
            seconds = strtoul(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--seed"))
            seed = strtoul(argv[i + 1], NULL, 0);
    }
    return test_main(argc, argv, cases, 1);
}
