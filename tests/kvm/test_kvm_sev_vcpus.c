/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SEV with several vCPUs on the same pages: some read them without the C-bit all the time,
 * the host and the kernel look, a debugger reads them decrypted, and no store is lost.
 */
#include "kvm_test.h"
#include "sev_launch.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PAGE = 4096, RAM = 4 << 20, DATA = 0x100000, PAGES = 8, ROUNDS = 400, VCPUS_MAX = 4,
    SHARED = 1 << 30,           /* the same addresses without the C-bit */
    COMMON = PAGE / 2,          /* in each page; own words are before it */
    PORT_DONE = 0x10, FILL = 0x37,
};

static const uint8_t code[] = {
    0xe6, 0x10,                                     /*  0: out %al,$0x10 */
    0x31, 0xd2,                                     /*  2: xor %edx,%edx */
    0x48, 0x39, 0x1c, 0x17,                         /*  4: cmp %rbx,(%rdi,%rdx) */
    0x75, 0x29,                                     /*  8: jne 33 */
    0x48, 0x8d, 0x43, 0x01,                         /*  a: lea 1(%rbx),%rax */
    0x48, 0x89, 0x04, 0x17,                         /*  e: mov %rax,(%rdi,%rdx) */
    0xf0, 0x49, 0xff, 0x04, 0x11,                   /* 12: lock incq (%r9,%rdx) */
    0x49, 0x8b, 0x04, 0x12,                         /* 17: mov (%r10,%rdx),%rax */
    0x81, 0xc2, 0x00, 0x10, 0x00, 0x00,             /* 1b: add $0x1000,%edx */
    0x81, 0xfa, 0x00, 0x80, 0x00, 0x00,             /* 21: cmp $0x8000,%edx */
    0x75, 0xdb,                                     /* 27: jne 4 */
    0x48, 0xff, 0xc3,                               /* 29: inc %rbx */
    0x48, 0xff, 0xc9,                               /* 2c: dec %rcx */
    0x75, 0xd1,                                     /* 2f: jnz 2 */
    0xeb, 0xcd,                                     /* 31: jmp 0 */
    0xe6, 0x11,                                     /* 33: out %al,$0x11 */
    0xeb, 0xfc,                                     /* 35: jmp 33 */
    0xf3, 0x48, 0xab,                               /* 37: rep stos %rax,(%rdi) */
    0xeb, 0xc4,                                     /* 3a: jmp 0 */
};

static struct machine machines[VCPUS_MAX];
static bool stop;

static void add_vcpu(unsigned index)
{
    struct machine *m = &machines[index];
    struct kvm_sregs sregs;
    void *run;

    *m = machines[0];
    m->vcpu = IOCTL(m->vm, KVM_CREATE_VCPU, index);
    CHECK(m->vcpu >= 0);
    CHECK_EQ(kvm_map(sizeof(struct kvm_run), MAP_SHARED, m->vcpu, 0, &run), 0);
    m->run = run;
    set_supported_cpuid(m->vcpu);
    CHECK_EQ(IOCTL(machines[0].vcpu, KVM_GET_SREGS, &sregs), 0);
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_SREGS, &sregs), 0);
}

/* The first one zeroes the pages, which are noise. */
static void start(unsigned vcpus)
{
    struct kvm_regs regs = { .rip = CODE_AT + FILL, .rflags = 2, .rdi = DATA,
                             .rcx = PAGES * PAGE / 8 };

    sev_machine(&machines[0], RAM);
    memcpy(machines[0].ram + CODE_AT, code, sizeof(code));
    for (unsigned i = 1; i < vcpus; i++)
        add_vcpu(i);
    sev_launch(&machines[0], 0);
    machine_set_regs(&machines[0], &regs);
    machine_run_to(&machines[0], KVM_EXIT_IO);
    for (unsigned i = 0; i < vcpus; i++) {
        regs = (struct kvm_regs){
            .rip = CODE_AT + 2, .rflags = 2, .rcx = ROUNDS, .rdi = DATA + i * 8,
            .r9 = DATA + COMMON,
            /* Every second one looks at cipher text. */
            .r10 = DATA + (i % 2 ? SHARED : 0),
        };
        machine_set_regs(&machines[i], &regs);
    }
}

static void *run_vcpu(void *opaque)
{
    const struct machine *m = opaque;

    return (void *)(intptr_t)machine_run(m);
}

/* Bare, as the thread sanitizer takes the guest's races for the caller's. */
static void *look(void *opaque)
{
    int ends[2];

    if (pipe(ends))
        return NULL;
    for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        uint8_t *at = machines[0].ram + DATA + i % PAGES * PAGE;
        char byte;

        __atomic_load_n(at, __ATOMIC_RELAXED);
        if (syscall(SYS_write, ends[1], at, 1) == 1 && read(ends[0], &byte, 1) != 1)
            break;
    }
    close(ends[0]);
    close(ends[1]);
    return NULL;
}

static uint64_t decrypted(uint64_t address, int *ret)
{
    uint64_t value = 0;
    struct kvm_sev_dbg dbg = { (uintptr_t)machines[0].ram + address, (uintptr_t)&value,
                               sizeof(value) };

    *ret = sev_command(machines[0].vm, KVM_SEV_DBG_DECRYPT, &dbg, NULL);
    return value;
}

/* What vCPUs count never goes back. NULL: so it was. */
static void *debugger(void *opaque)
{
    uint64_t before[PAGES] = { 0 };
    int ret = 0;

    for (unsigned i = 0; !ret && !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        uint64_t now = decrypted(DATA + i % PAGES * PAGE + COMMON, &ret);

        if (!ret && now < before[i % PAGES])
            ret = -ERANGE;
        before[i % PAGES] = now;
    }
    return (void *)(intptr_t)ret;
}

static void same_pages(unsigned vcpus)
{
    pthread_t threads[VCPUS_MAX], looker, reader;
    void *result;
    int ret;

    start(vcpus);
    stop = false;
    CHECK_EQ(pthread_create(&looker, NULL, look, NULL), 0);
    CHECK_EQ(pthread_create(&reader, NULL, debugger, NULL), 0);
    for (unsigned i = 0; i < vcpus; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_vcpu, &machines[i]), 0);
    for (unsigned i = 0; i < vcpus; i++) {
        pthread_join(threads[i], &result);
        CHECK_EQ((intptr_t)result, 0);
        CHECK_EQ(machines[i].run->exit_reason, KVM_EXIT_IO);
        CHECK_EQ(machines[i].run->io.port, PORT_DONE);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(looker, NULL);
    pthread_join(reader, &result);
    CHECK_EQ((intptr_t)result, 0);
    for (unsigned page = 0; page < PAGES; page++) {
        CHECK_EQ(decrypted(DATA + page * PAGE + COMMON, &ret), vcpus * ROUNDS);
        CHECK_EQ(ret, 0);
        for (unsigned i = 0; i < vcpus; i++)
            CHECK_EQ(decrypted(DATA + page * PAGE + i * 8, &ret), ROUNDS);
    }
}

static void two_vcpus(void)
{
    same_pages(2);
}

static void four_vcpus(void)
{
    same_pages(4);
}

static const struct test_case cases[] = {
    { "two_vcpus", two_vcpus },
    { "four_vcpus", four_vcpus },
};

int main(int argc, char **argv)
{
    test_with_sev(true);
    return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
