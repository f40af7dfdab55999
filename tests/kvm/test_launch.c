/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading, launching, converting and resetting a guest's memory on every KVM
 * that there is: the kernel's and softkvm's three, each with the backends that it
 * can serve.  The guest adds up what it sees and reports the sum.
 */
#include "attributes.h"
#include "check.h"
#include "error.h"
#include "memory_internal.h"
#include "range.h"
#include "softkvm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LOW_SIZE (48 * MIB)
#define HIGH_GPA (3 * GIB)
#define HIGH_SIZE (16 * MIB)
enum { CODE_GPA = 0x1000, SUM_PORT = 0x10, DONE_PORT = 0x11 };

#define CHECK(cond_)                                                                           \
    do {                                                                                       \
        if (!(cond_)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, where, #cond_);     \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

static const char *where;       /* the combination that is tested */

/* 32-bit, flat: sum of ecx words from esi on, each after a rotation. */
static const uint8_t guest_code[] = {
    0x31, 0xc0,                 /* xor %eax, %eax */
    0xd1, 0xc0,                 /* 1: rol %eax */
    0x03, 0x06,                 /* add (%esi), %eax */
    0x83, 0xc6, 0x04,           /* add $4, %esi */
    0xe2, 0xf7,                 /* loop 1b */
    0xe7, SUM_PORT,             /* out %eax, $SUM_PORT */
    0xe6, DONE_PORT,            /* out %al, $DONE_PORT */
    0xeb, 0xfe,
};

struct guest {
    struct kvm_vm *vm;
    struct memory *mem;
    struct kvm_vcpu *vcpu;
    struct ram_block *block;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    uint32_t sum;
    char problem[160];
};

static enum kvm_exit_action finish(struct guest *g, const char *problem)
{
    pthread_mutex_lock(&g->lock);
    g->done = true;
    snprintf(g->problem, sizeof(g->problem), "%s", problem);
    pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->lock);
    return KVM_STOP;
}

static enum kvm_exit_action on_pio(void *opaque, struct kvm_vcpu *vcpu, uint16_t port, void *data,
                                   unsigned size, unsigned count, bool write)
{
    struct guest *g = opaque;

    if (port == SUM_PORT && write && size == 4) {
        memcpy(&g->sum, data, 4);
        return KVM_RESUME;
    }
    return finish(g, port == DONE_PORT ? "" : "PIO");
}

static enum kvm_exit_action on_mmio(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa, void *data,
                                    unsigned size, bool write)
{
    return finish(opaque, "MMIO");
}

static enum kvm_exit_action on_fault(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                     uint64_t size, bool private_)
{
    return finish(opaque, "memory fault");
}

static enum kvm_exit_action on_map(void *opaque, struct kvm_vcpu *vcpu, uint64_t gpa,
                                   uint64_t size, bool private_, uint64_t *ret)
{
    return finish(opaque, "hypercall");
}

static enum kvm_exit_action on_stopped(void *opaque, struct kvm_vcpu *vcpu, uint32_t reason,
                                       int error, const char *text)
{
    return finish(opaque, text);
}

static const struct kvm_exit_ops ops = { on_pio, on_mmio, on_fault, on_map, on_stopped };

static uint32_t guest_sum(struct guest *g, uint64_t gpa, uint64_t size)
{
    struct kvm_segment code = {
        .selector = 8, .type = 0xb, .limit = 0xffffffff, .present = 1, .s = 1, .g = 1, .db = 1,
    };
    struct kvm_segment data = code;
    struct kvm_regs regs = {
        .rip = CODE_GPA, .rsi = gpa, .rcx = size / 4, .rflags = 2,
    };
    struct kvm_sregs sregs;

    data.selector = 0x10;
    data.type = 3;
    CHECK(kvm_vcpu_ioctl(g->vcpu, KVM_GET_SREGS, &sregs) == 0);
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
    sregs.cr0 = 0x31;
    CHECK(kvm_vcpu_ioctl(g->vcpu, KVM_SET_SREGS, &sregs) == 0);
    CHECK(kvm_vcpu_ioctl(g->vcpu, KVM_SET_REGS, &regs) == 0);
    g->done = false;
    kvm_vcpu_resume(g->vcpu);
    pthread_mutex_lock(&g->lock);
    while (!g->done)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
    kvm_vcpu_park(g->vcpu);
    kvm_vcpu_wait_parked(g->vcpu);
    if (g->problem[0]) {
        fprintf(stderr, "%s: the guest stopped: %s\n", where, g->problem);
        exit(1);
    }
    return g->sum;
}

static uint32_t host_sum(const uint32_t *words, uint64_t size)
{
    uint32_t sum = 0;

    for (uint64_t i = 0; i < size / 4; i++)
        sum = (sum << 1 | sum >> 31) + words[i];
    return sum;
}

static void fill(uint32_t *words, uint64_t size, uint32_t seed)
{
    for (uint64_t i = 0; i < size / 4; i++)
        words[i] = seed = seed * 1664525 + 1013904223;
}

/*
 * Small, as some KVMs take their time for each page that a guest touches first.
 *
 * Where content is loaded; sizes that leave parts of pages, and distances of all kinds.
 */
static const struct {
    uint64_t gpa, size;
} pieces[] = {
    { 0x8000, 0x234 },
    { 0x100000, 200 * KIB + 0x10 },
    { 0x100000 + 320 * KIB, 0x1000 },
    { LOW_SIZE - 0x2000, 0x2000 },
    { HIGH_GPA, 0x20 },
    { HIGH_GPA + 2 * MIB - 0x1000, 100 * KIB + 0x3000 },
};
enum { NR_PIECES = sizeof(pieces) / sizeof(pieces[0]) };

static void load(struct guest *g, uint32_t sums[NR_PIECES], uint32_t seed)
{
    uint32_t *words = malloc(MIB);

    CHECK(memory_write(g->mem, CODE_GPA, guest_code, sizeof(guest_code), NULL));
    for (unsigned i = 0; i < NR_PIECES; i++) {
        fill(words, pieces[i].size, seed + i);
        sums[i] = host_sum(words, pieces[i].size);
        CHECK(memory_write(g->mem, pieces[i].gpa, words, pieces[i].size, NULL));
    }
    free(words);
}

/* The state that the vCPU had before is the one that it has afterwards. */
static void launch(struct guest *g)
{
    g_autoptr(GError) error = NULL;
    struct kvm_regs before = { 0 }, after = { 0 };
    struct kvm_sregs sbefore, safter;

    CHECK(kvm_vcpu_ioctl(g->vcpu, KVM_GET_REGS, &before) == 0);
    CHECK(kvm_vcpu_ioctl(g->vcpu, KVM_GET_SREGS, &sbefore) == 0);
    if (!memory_launch(g->mem, g->vcpu, &error)) {
        fprintf(stderr, "%s: %s\n", where, error->message);
        exit(1);
    }
    CHECK(kvm_vcpu_ioctl(g->vcpu, KVM_GET_REGS, &after) == 0);
    CHECK(kvm_vcpu_ioctl(g->vcpu, KVM_GET_SREGS, &safter) == 0);
    CHECK(memcmp(&before, &after, sizeof(before)) == 0);
    CHECK(memcmp(&sbefore.cs, &safter.cs, sizeof(sbefore.cs)) == 0);
    CHECK(sbefore.cr0 == safter.cr0 && sbefore.cr3 == safter.cr3 && sbefore.efer == safter.efer);
}

static void check_content(struct guest *g, const uint32_t sums[NR_PIECES])
{
    for (unsigned i = 0; i < NR_PIECES; i++)
        CHECK(guest_sum(g, pieces[i].gpa, pieces[i].size) == sums[i]);
    /* What wasn't loaded is zero. */
    CHECK(guest_sum(g, LOW_SIZE - 8 * MIB, 64 * KIB) == 0);
}

/* There and back: the guest always sees the copy of the state that the page is in. */
static void check_conversion(struct guest *g, bool in_place)
{
    uint64_t gpa = 16 * MIB, bad = 0;
    uint32_t word = 0x12345678, sum = host_sum(&word, 4);

    CHECK(!memory_write(g->mem, gpa, &word, 4, &bad) && bad == gpa);
    CHECK(memory_convert(g->mem, gpa, 3 * MIB, false, NULL) == 0);
    CHECK(memory_write(g->mem, gpa + 2 * MIB, &word, 4, NULL));
    CHECK(guest_sum(g, gpa + 2 * MIB, 4) == sum);
    CHECK(memory_convert(g->mem, gpa + MIB, 2 * MIB, true, NULL) == 0);
    CHECK(guest_sum(g, gpa + 2 * MIB, 4) == (in_place ? sum : 0));
    CHECK(!memory_read(g->mem, gpa + 2 * MIB, &word, 4, &bad));
    CHECK(memory_convert(g->mem, gpa + MIB, 2 * MIB, false, NULL) == 0);
    CHECK(memory_read(g->mem, gpa + 2 * MIB, &word, 4, NULL));
    CHECK(word == (in_place ? 0x12345678 : 0));
    CHECK(memory_convert(g->mem, 0, 1 * GIB, true, &bad) == -EINVAL && bad == LOW_SIZE);

    GPtrArray *list = memory_attributes_summary(g->mem, ram_block_name(g->block), NULL);
    const struct attr_summary *summary = g_ptr_array_index(list, 0);
    CHECK(summary->ranges == 3);
    CHECK(summary->largest_shared.size == 3 * MIB && summary->shared == 3 * MIB);
    g_ptr_array_unref(list);
    CHECK(memory_get_counters(g->mem).failed_discards == 0);
}

static uint64_t private_pages(const struct guest *g)
{
    return attr_map_count(g->block->private_pages);
}

/* KVM refuses the second of two parts: the first is undone, in KVM and in the record. */
static void check_refusal(struct guest *g)
{
    const uint64_t start = LOW_SIZE - 2 * MIB, end = HIGH_GPA + 2 * MIB, before = private_pages(g);
    const char *rule = g->vm->regime == KVM_ATTRIBUTES_VM ? "KVM_SET_MEMORY_ATTRIBUTES:2:ENOSPC"
                                                          : "KVM_SET_MEMORY_ATTRIBUTES2:2:ENOSPC";
    uint32_t sum = guest_sum(g, start, 4096);
    uint64_t bad = 0;

    CHECK(g->vm->driver->inject("fail", rule) == 0);
    CHECK(memory_convert(g->mem, start, end - start, false, &bad) == -ENOSPC && bad == HIGH_GPA);
    CHECK(private_pages(g) == before);
    CHECK(memory_get_counters(g->mem).failed_rollbacks == 0);
    CHECK(guest_sum(g, start, 4096) == sum);
    softkvm_fail(NULL);
    CHECK(g->vm->driver->inject("fail", "attributes:2") == 0);
    CHECK(memory_convert(g->mem, start, end - start, false, &bad) == -ENOMEM && bad == HIGH_GPA);
    CHECK(private_pages(g) == before);
    softkvm_fail(NULL);
}

/* Somebody holds references to a page: for a moment, or for ever. */
static void check_busy_page(struct guest *g)
{
    const uint64_t gpa = 24 * MIB, busy = gpa + 5 * 4096, before = private_pages(g);
    uint64_t bad = 0;

    CHECK(memory_convert(g->mem, gpa, MIB, false, NULL) == 0);
    CHECK(softkvm_pin(g->block->guest_memfd, busy, 4096, 3) == 0);
    CHECK(memory_convert(g->mem, gpa, MIB, true, NULL) == 0);
    CHECK(memory_convert(g->mem, gpa, MIB, false, NULL) == 0);
    CHECK(softkvm_pin(g->block->guest_memfd, busy, 8192, 0) == 0);
    CHECK(memory_convert(g->mem, gpa, MIB, true, &bad) == -EAGAIN && bad == busy);
    CHECK(private_pages(g) == before - MIB / 4096);
    CHECK(memory_write(g->mem, gpa, &bad, 8, NULL));
    CHECK(softkvm_unpin(g->block->guest_memfd, busy, 8192) == 0);
    CHECK(memory_convert(g->mem, gpa, MIB, true, NULL) == 0);
    CHECK(private_pages(g) == before);
}

/* The record against KVM's own: they agree, until KVM is changed behind its back. */
static void check_agreement(struct guest *g)
{
    const uint64_t gpa = 40 * MIB, offset = gpa, lost = 3 * 4096;
    struct memory_check check = memory_check(g->mem);

    CHECK(check.kvm_asked && check.runs && !check.mismatches);
    CHECK(kvm_set_private(g->vm, gpa, g->block->guest_memfd, offset, lost, false, NULL) == 0);
    check = memory_check(g->mem);
    CHECK(check.mismatches && check.gpa == gpa && check.size == lost);
    CHECK(strcmp(check.who, "kvm") == 0);
    CHECK(kvm_set_private(g->vm, gpa, g->block->guest_memfd, offset, lost, true, NULL) == 0);
    CHECK(memory_check(g->mem).mismatches == 0);
}

/* A reset that fails in the middle, wherever that is, leaves what another one can begin with. */
static void check_failing_resets(struct guest *g)
{
    static const char *const calls[] = { "KVM_SET_USER_MEMORY_REGION2", "attributes", "slot" };

    for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        for (unsigned nth = 1;; nth++) {
            g_autofree char *rule = g_strdup_printf("%s:%u", calls[c], nth);
            g_autoptr(GError) error = NULL;
            bool ok;

            CHECK(memory_convert(g->mem, HIGH_GPA, MIB, true, NULL) == 0);
            CHECK(memory_convert(g->mem, 0, MIB, true, NULL) == 0);
            CHECK(g->vm->driver->inject("fail", rule) == 0);
            ok = memory_reset(g->mem, &error);
            CHECK(softkvm_fail(NULL) == 0);
            CHECK(memory_check(g->mem).mismatches == 0);
            if (ok)
                break;
            g_clear_error(&error);
            CHECK(memory_reset(g->mem, &error));
            CHECK(private_pages(g) == 0);
        }
    }
}

/*
 * The guest's own copy, onto memory that the host can look at: so this part of a
 * launch is tested on every KVM, with private memory or without.
 */
static void check_guest_copy(struct guest *g)
{
    enum { COPY_SIZE = 128 << 10 };
    static const uint64_t targets[] = { 2 * MIB - 0x7000, 8 * MIB, HIGH_GPA + 5 * MIB + 0x7000 };
    uint32_t *from = mmap(NULL, COPY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                          -1, 0);
    uint32_t *seen = malloc(COPY_SIZE);
    GArray *copies = g_array_new(FALSE, FALSE, sizeof(struct guest_copy));
    const char *what = NULL;

    CHECK(from != MAP_FAILED);
    fill(from, COPY_SIZE, 99);
    for (unsigned i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct guest_copy copy = { from, targets[i], COPY_SIZE - i * 0x1000 };

        g_array_append_val(copies, copy);
    }
    if (guest_copy_run(g->mem, g->vcpu, copies, &what)) {
        fprintf(stderr, "%s: guest copy: %s\n", where, what);
        exit(1);
    }
    for (unsigned i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        uint64_t size = COPY_SIZE - i * 0x1000;

        CHECK(memory_read(g->mem, targets[i], seen, size, NULL));
        CHECK(memcmp(seen, from, size) == 0);
        CHECK(memory_read(g->mem, targets[i] + size, seen, 8, NULL));
        CHECK(seen[0] == 0 && seen[1] == 0);
    }
    g_array_free(copies, TRUE);
    free(seen);
    munmap(from, COPY_SIZE);
}

static void set_up(struct guest *g, const struct kvm_driver *driver, const struct kvm_needs *needs,
                   const char *backend)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *option = g_strdup_printf("%s,id=m,size=%lluM", backend,
                                              (LOW_SIZE + HIGH_SIZE) / MIB);

    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->changed, NULL);
    CHECK(kvm_vm_new(driver, needs, &g->vm) == 0);
    CHECK(kvm_vm_create_irqchip(g->vm, 0xfeffc000) == 0);
    g->mem = memory_new(g->vm);
    if (!object_add_option(option, &error) ||
        !(g->block = ram_block_new(g->mem, memory_backend_find("m"), &error)) ||
        !memory_map(g->mem, g->block, 0, 0, LOW_SIZE, &error) ||
        !memory_map(g->mem, g->block, LOW_SIZE, HIGH_GPA, HIGH_SIZE, &error)) {
        fprintf(stderr, "%s: %s\n", where, error->message);
        exit(1);
    }
    CHECK(kvm_vcpu_new(g->vm, 0, &ops, g, &g->vcpu) == 0);
    CHECK(kvm_vcpu_set_cpuid(g->vcpu, 1) == 0);
}

static void tear_down(struct guest *g)
{
    kvm_vcpu_free(g->vcpu);
    memory_free(g->mem);
    kvm_vm_free(g->vm);
    object_delete_all();
}

static void run(const struct kvm_driver *driver, const struct kvm_needs *needs,
                const char *backend)
{
    struct guest g = { 0 };
    uint32_t sums[NR_PIECES];
    g_autoptr(GError) error = NULL;

    set_up(&g, driver, needs, backend);
    if (!ram_block_has_attributes(g.block)) {
        check_guest_copy(&g);
        CHECK(memory_reset(g.mem, &error));
    }
    for (unsigned round = 0; round < 2; round++) {
        load(&g, sums, 1 + round);
        launch(&g);
        if (round == 0)
            CHECK(kvm_vcpu_start(g.vcpu) == 0);
        check_content(&g, sums);
        if (ram_block_has_attributes(g.block))
            check_conversion(&g, needs->in_place);
        if (ram_block_has_attributes(g.block) && driver->inject)
            check_refusal(&g);
        if (ram_block_has_attributes(g.block) && driver->private_run)
            check_agreement(&g);
        if (needs->in_place && driver->inject)
            check_busy_page(&g);
        CHECK(memory_reset(g.mem, &error));
    }
    if (ram_block_has_attributes(g.block) && driver->inject)
        check_failing_resets(&g);
    tear_down(&g);
}

static const struct {
    const char *backend;
    struct kvm_needs needs;
} combinations[] = {
    { "memory-backend-ram", { 0 } },
    { "memory-backend-ram,private=on",
      { .vm_type = KVM_X86_SW_PROTECTED_VM, .two_backings = true } },
    { "memory-backend-memfd,private=on",
      { .vm_type = KVM_X86_SW_PROTECTED_VM, .two_backings = true } },
    { "memory-backend-memfd,guest-memfd=on",
      { .vm_type = KVM_X86_SW_PROTECTED_VM, .in_place = true } },
    { "memory-backend-guest-memfd", { .vm_type = KVM_X86_SW_PROTECTED_VM, .in_place = true } },
    { "memory-backend-guest-memfd", { .guest_memfd_mmap = true } },
};

int main(void)
{
    static const struct kvm_driver *const drivers[] = {
        &kvm_driver_kernel, &kvm_driver_soft, &kvm_driver_soft_vm2, &kvm_driver_soft_in_place,
    };
    unsigned passed = 0;

    memory_register_backends();
    for (size_t d = 0; d < sizeof(drivers) / sizeof(drivers[0]); d++) {
        for (size_t i = 0; i < sizeof(combinations) / sizeof(combinations[0]); i++) {
            const char *missing = NULL;
            g_autofree char *name = g_strdup_printf("%s: %s %s", drivers[d]->description,
                                                    combinations[i].backend,
                                                    combinations[i].needs.vm_type ? "protected"
                                                                                  : "default");
            int ret = kvm_vm_probe(drivers[d], &combinations[i].needs, &missing);

            where = name;
            if (ret) {
                printf("%s: skipped: %s\n", name, missing ? missing : strerror(-ret));
                continue;
            }
            run(drivers[d], &combinations[i].needs, combinations[i].backend);
            printf("%s: passed\n", name);
            passed++;
        }
    }
    return passed ? 0 : 77;
}
