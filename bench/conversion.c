/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest's change of a page's state costs: exits, the ioctl by size of the
 * range and by how many other ranges there are, the whole round trip (hypercall,
 * exit, ioctl, entry), and page faults.  Beside each stands what can't be beaten: a
 * system call that changes one page of the host's, the host's own page fault.
 *
 * A program in the manner of tests/kvm: --softkvm, --in-place or --kernel.  Figures
 * are medians of several batches.
 */
#include "kvm_test.h"

#include <cpuid.h>
#include <stdlib.h>
#include <time.h>

enum { PAGE = 4096, BATCHES = 15, FAULT_PAGES = 16384 };
enum { MAP_GPA_RANGE_ENCRYPTED = 1 << 4 };

#define GIB (1ULL << 30)
#define RANGE_GPA GIB           /* the guest has it mapped 1:1 */

/* The machine with a gibibyte that can be either, and as much where others are. */
struct bench {
    struct machine m;
    int gmem;                   /* or -1: attributes are the VM's */
};

/* Everything here is one thread: what others do on the host meanwhile does not count. */
static double now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Microseconds of one call, the median of the batches. */
static double measure(void (*call)(void *opaque), void *opaque, unsigned calls)
{
    double us[BATCHES];

    for (unsigned batch = 0; batch < BATCHES; batch++) {
        double start = now_us();

        for (unsigned i = 0; i < calls; i++)
            call(opaque);
        us[batch] = (now_us() - start) / calls;
    }
    qsort(us, BATCHES, sizeof(us[0]), compare);
    return us[BATCHES / 2];
}

static void row(const char *what, double us)
{
    printf("# %-52s %10.2f us %12.0f /s\n", what, us, 1e6 / us);
}

/* offset: in the bench's memory. */
static void convert(const struct bench *b, uint64_t offset, uint64_t size, bool to_private)
{
    uint64_t attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;

    if (b->gmem >= 0)
        CHECK_EQ(set_attributes2(b->gmem, offset, size, attributes, NULL), 0);
    else
        CHECK_EQ(set_attributes(b->m.vm, RANGE_GPA + offset, size, attributes), 0);
}

static void bench_init(struct bench *b)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1 << 12 } };
    bool of_file;
    int gmem;

    machine_init(&b->m, KVM_X86_SW_PROTECTED_VM, 0x100000);
    NEED(b->m.vm, KVM_CAP_GUEST_MEMFD);
    NEED(b->m.vm, KVM_CAP_EXIT_HYPERCALL);
    of_file = check_extension(b->m.vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) > 0;
    if (!of_file)
        NEED(b->m.vm, KVM_CAP_MEMORY_ATTRIBUTES);
    gmem = create_gmem(b->m.vm, 2 * GIB, 0);
    CHECK(gmem >= 0);
    CHECK_EQ(set_region2(b->m.vm, 1, KVM_MEM_GUEST_MEMFD, RANGE_GPA, 2 * GIB,
                         host_memory(2 * GIB), gmem, 0), 0);
    b->gmem = of_file ? gmem : -1;
    if (of_file)
        convert(b, 0, 2 * GIB, false);
    CHECK_EQ(IOCTL(b->m.vm, KVM_ENABLE_CAP, &cap), 0);
}

static void flip_host_page(void *opaque)
{
    mprotect(opaque, PAGE, PROT_READ);
    mprotect(opaque, PAGE, PROT_READ | PROT_WRITE);
}

/* Of one mprotect(2) of a page that is there. */
static double host_change(void)
{
    uint8_t *page = host_memory(PAGE);
    double us;

    *page = 1;
    us = measure(flip_host_page, page, 2000) / 2;
    munmap(page, PAGE);
    return us;
}

static void run_to_exit(void *opaque)
{
    CHECK_EQ(machine_run(opaque), 0);
}

static double empty_exit(struct machine *m)
{
    /* The exit that is left open isn't where the next program begins: it would skip there. */
    static const uint8_t code[] = { 0x90, 0xe6, 0x80, 0xeb, 0xfc };     /* 1: out; jmp 1b */

    machine_long_mode(m, code, sizeof(code));
    return measure(run_to_exit, m, 5000);
}

static void answer_hypercall(void *opaque)
{
    const struct bench *b = opaque;
    struct kvm_run *run = b->m.run;

    CHECK_EQ(machine_run(&b->m), 0);
    CHECK_EQ(run->exit_reason, KVM_EXIT_HYPERCALL);
    convert(b, run->hypercall.args[0] - RANGE_GPA, run->hypercall.args[1] * PAGE,
            run->hypercall.args[2] & MAP_GPA_RANGE_ENCRYPTED);
    run->hypercall.ret = 0;
}

static double round_trip(struct bench *b, bool touch)
{
    uint32_t eax, ebx, ecx, edx;
    uint8_t code[] = {
        0xbb, 0, 0, 0, 0x40,            /* mov $RANGE_GPA,%ebx */
        0xb9, 1, 0, 0, 0,               /* mov $1,%ecx */
        0x83, 0xf2, 0x10,               /* xor $ENCRYPTED,%edx */
        0xb8, 12, 0, 0, 0,              /* mov $KVM_HC_MAP_GPA_RANGE,%eax */
        0x0f, 0x01, 0xc1,               /* vmcall */
        0x89, 0x03,                     /* mov %eax,(%rbx) */
        0xeb, 0xe7,                     /* again */
    };

    __cpuid(0, eax, ebx, ecx, edx);
    if (ebx == 0x68747541)              /* "Auth": vmmcall */
        code[20] = 0xd9;
    if (!touch)
        memset(code + 21, 0x90, 2);
    machine_long_mode(&b->m, code, sizeof(code));
    return measure(answer_hypercall, b, 2000);
}

static void round_trips(void)
{
    struct bench b;
    double change = host_change(), exit, alone, touching;

    bench_init(&b);
    exit = empty_exit(&b.m);
    alone = round_trip(&b, false);
    touching = round_trip(&b, true);
    row("exit that nothing is done for (out)", exit);
    row("mprotect(2) of one page, for comparison", change);
    row("4 KiB: hypercall, exit, ioctl, entry", alone);
    row("the same, and the guest stores to the page", touching);
    printf("# round trip / (exit + mprotect): %.1f\n", alone / (exit + change));
}

/* A store to each page of the range, FAULT_PAGES of them; microseconds a page. */
static double touch_all(const struct machine *m)
{
    struct kvm_regs regs = machine_regs(m);
    double start = now_us();

    regs.rip = CODE_AT;
    regs.rbx = RANGE_GPA;
    regs.rcx = FAULT_PAGES;
    machine_set_regs(m, &regs);
    machine_run_to(m, KVM_EXIT_IO);
    return (now_us() - start) / FAULT_PAGES;
}

static double host_faults(void)
{
    volatile uint8_t *memory = host_memory(FAULT_PAGES * PAGE);
    double start = now_us();

    for (uint64_t i = 0; i < FAULT_PAGES; i++)
        memory[i * PAGE] = 1;
    start = (now_us() - start) / FAULT_PAGES;
    munmap((void *)memory, FAULT_PAGES * PAGE);
    return start;
}

static void start_touching(struct bench *b)
{
    static const uint8_t code[] = {
        0x88, 0x03,                                     /* 0: mov %al,(%rbx) */
        0x48, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00,       /* add $4096,%rbx */
        0xff, 0xc9, 0x75, 0xf3,                         /* dec %ecx; jnz 0b */
        0xe6, 0x80,
    };

    machine_long_mode(&b->m, code, sizeof(code));
}

static void page_faults(void)
{
    struct bench b;
    double fresh, known;

    bench_init(&b);
    start_touching(&b);
    fresh = touch_all(&b.m);
    convert(&b, 0, GIB, true);
    convert(&b, 0, GIB, false);
    known = touch_all(&b.m);
    row("guest's first store to a page", fresh);
    row("first store since the range was converted twice", known);
    row("host's first store to a page, for comparison", host_faults());
}

struct flip {
    const struct bench *b;
    uint64_t size;
    bool to_private;
};

static void flip_range(void *opaque)
{
    struct flip *flip = opaque;

    flip->to_private = !flip->to_private;
    convert(flip->b, 0, flip->size, flip->to_private);
}

/* Every other page of the second gibibyte, from one count to the next. */
static void add_others(const struct bench *b, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        convert(b, GIB + (uint64_t)i * 2 * PAGE, PAGE, true);
}

static void ranges(void)
{
    static const unsigned others[] = { 0, 1000, 100000 };
    static const struct {
        const char *name;
        uint64_t size;
        unsigned calls;
    } sizes[] = { { "4 KiB", PAGE, 2000 }, { "2 MiB", 2 << 20, 1000 }, { "1 GiB", GIB, 200 } };
    struct bench b;

    bench_init(&b);
    start_touching(&b);
    touch_all(&b.m);            /* so that the processor has translations to look through */
    for (unsigned n = 0; n < sizeof(others) / sizeof(others[0]); n++) {
        add_others(&b, n ? others[n - 1] : 0, others[n]);
        for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            struct flip flip = { .b = &b, .size = sizes[s].size };
            char what[80];

            snprintf(what, sizeof(what), "ioctl for %s beside %u other ranges", sizes[s].name,
                     others[n]);
            row(what, measure(flip_range, &flip, sizes[s].calls));
            convert(&b, 0, flip.size, false);
        }
    }
}

static const struct test_case cases[] = {
    { "round trips", round_trips },
    { "page faults", page_faults },
    { "ranges", ranges },
};

TEST_MAIN(cases)
