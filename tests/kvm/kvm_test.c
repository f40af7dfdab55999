/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frame of the KVM-API tests: the choice of the KVM, cases, and a small machine. */
#include "kvm_test.h"

#include "softkvm.h"

#include <cpuid.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SKIPPED = 77, MAX_FDS = 512, CASE_SECONDS = 20, PAGE_TABLES_AT = 0x8000 };

enum which { SOFT, SOFT_VM2, SOFT_IN_PLACE, KERNEL };

static enum which which;
static jmp_buf end_of_case;
static bool late;
enum { CASE_FAILED = 1, CASE_SKIPPED = 2 };
static int fds[MAX_FDS];
static int nr_fds;

bool test_is_softkvm(void)
{
    return which != KERNEL;
}

bool test_is_pvm(void)
{
    return which == KERNEL && !access("/sys/module/kvm_pvm", F_OK);
}

void test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("# %s:%d: ", file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    longjmp(end_of_case, CASE_FAILED);
}

void test_skip(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("# skipped: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    longjmp(end_of_case, CASE_SKIPPED);
}

static int remember(int fd)
{
    if (fd >= 0 && nr_fds < MAX_FDS)
        fds[nr_fds++] = fd;
    return fd;
}

static bool with_sev;

void test_with_sev(bool sev)
{
    with_sev = sev;
}

int sev_open(void)
{
    int fd = which == KERNEL ? open("/dev/sev", O_RDWR | O_CLOEXEC) : softkvm_open_sev();

    if (fd == -1)
        test_skip("no /dev/sev");
    return remember(fd);
}

int kvm_open(void)
{
    const struct softkvm_options options = {
        .gmem_in_place_conversion = which == SOFT_IN_PLACE, .vm_attributes2 = which == SOFT_VM2,
        .sev = with_sev,
    };
    int fd;

    if (which != KERNEL)
        return remember(softkvm_open(&options));
    fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : remember(fd);
}

int kvm_ioctl(int fd, unsigned long request, unsigned long arg)
{
    int ret;

    if (which != KERNEL) {
        ret = softkvm_ioctl(fd, request, arg);
    } else {
        ret = ioctl(fd, request, arg);
        if (ret < 0)
            ret = -errno;
    }
    if (ret >= 0 && (request == KVM_CREATE_VM || request == KVM_CREATE_VCPU ||
                     request == KVM_CREATE_GUEST_MEMFD))
        remember(ret);
    return ret;
}

int kvm_map(size_t length, int flags, int fd, off_t offset, void **ret)
{
    void *at;

    if (which != KERNEL)
        return softkvm_mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, offset, ret);
    at = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, offset);
    if (at == MAP_FAILED)
        return -errno;
    *ret = at;
    return 0;
}

int kvm_unmap(void *addr, size_t length)
{
    if (which != KERNEL)
        return softkvm_munmap(addr, length);
    return munmap(addr, length) ? -errno : 0;
}

int kvm_close(int fd)
{
    for (int i = 0; i < nr_fds; i++) {
        if (fds[i] == fd)
            fds[i] = fds[--nr_fds];
    }
    if (which != KERNEL)
        return softkvm_close(fd);
    return close(fd) ? -errno : 0;
}

int kvm_fd(void)
{
    int fd = kvm_open();

    CHECK(fd >= 0);
    return fd;
}

int check_extension(int fd, unsigned cap)
{
    return IOCTL(fd, KVM_CHECK_EXTENSION, cap);
}

void need_extension(int fd, unsigned cap, const char *name)
{
    if (check_extension(fd, cap) <= 0)
        test_skip("no %s", name);
}

int create_vm(unsigned long type)
{
    int kvm = kvm_fd(), vm;

    if (type && !(check_extension(kvm, KVM_CAP_VM_TYPES) & 1 << type))
        test_skip("no VM type %lu", type);
    vm = IOCTL(kvm, KVM_CREATE_VM, type);
    CHECK(vm >= 0);
    return vm;
}

void *host_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    CHECK(memory != MAP_FAILED);
    return memory;
}

int set_region(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size, const void *hva)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
        .userspace_addr = (uintptr_t)hva,
    };

    return IOCTL(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

int set_region2(int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
                const void *hva, int gmem, uint64_t gmem_offset)
{
    struct kvm_userspace_memory_region2 region = {
        .slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
        .userspace_addr = (uintptr_t)hva, .guest_memfd = gmem, .guest_memfd_offset = gmem_offset,
    };

    return IOCTL(vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

int create_gmem(int vm, uint64_t size, uint64_t flags)
{
    struct kvm_create_guest_memfd args = { .size = size, .flags = flags };

    return IOCTL(vm, KVM_CREATE_GUEST_MEMFD, &args);
}

int set_attributes(int vm, uint64_t gpa, uint64_t size, uint64_t attributes)
{
    struct kvm_memory_attributes args = { .address = gpa, .size = size, .attributes = attributes };

    return IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES, &args);
}

int set_attributes2(int fd, uint64_t offset, uint64_t size, uint64_t attributes,
                    uint64_t *error_offset)
{
    struct kvm_memory_attributes2 args = { .offset = offset, .size = size,
                                           .attributes = attributes,
                                           .error_offset = error_offset ? ~0ULL : 0 };
    int ret = IOCTL(fd, KVM_SET_MEMORY_ATTRIBUTES2, &args);

    if (error_offset)
        *error_offset = args.error_offset;
    return ret;
}

void set_supported_cpuid(int vcpu)
{
    union cpuid_table cpuid = { .head.nent = 256 };
    int kvm = kvm_fd();

    CHECK_EQ(IOCTL(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), 0);
    kvm_close(kvm);
    CHECK_EQ(IOCTL(vcpu, KVM_SET_CPUID2, &cpuid), 0);
}

uint8_t hypercall_modrm(bool native)
{
    uint32_t eax, ebx, ecx, edx;

    __cpuid(0, eax, ebx, ecx, edx);
    return (ebx == 0x68747541) == native ? 0xd9 : 0xc1;     /* "Auth" */
}

void machine_add_vcpu(struct machine *m)
{
    int kvm = kvm_fd(), size = IOCTL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    void *run;

    CHECK(size >= (int)sizeof(struct kvm_run));
    kvm_close(kvm);
    m->vcpu = IOCTL(m->vm, KVM_CREATE_VCPU, 0);
    CHECK(m->vcpu >= 0);
    CHECK_EQ(kvm_map(size, MAP_SHARED, m->vcpu, 0, &run), 0);
    m->run = run;
    set_supported_cpuid(m->vcpu);
}

void machine_init(struct machine *m, unsigned long vm_type, size_t ram_size)
{
    *m = (struct machine){ .ram_size = ram_size, .vm = create_vm(vm_type) };
    IOCTL(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    m->ram = host_memory(ram_size);
    CHECK_EQ(set_region(m->vm, 0, 0, 0, ram_size, m->ram), 0);
    machine_add_vcpu(m);
}

void machine_real_mode(struct machine *m, const void *code, size_t size)
{
    struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2, .rsp = 0x7000 };
    struct kvm_sregs sregs;

    memcpy(m->ram + CODE_AT, code, size);
    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_SREGS, &sregs), 0);
    machine_set_regs(m, &regs);
}

/* Four-level paging with one table of 2 MiB pages. */
static void build_page_tables(struct machine *m)
{
    uint64_t *pml4 = (uint64_t *)(m->ram + PAGE_TABLES_AT), *pdpt = pml4 + 512, *pd = pdpt + 512;

    pml4[0] = (PAGE_TABLES_AT + 0x1000) | 3;
    for (uint64_t g = 0; g < 8; g++)
        pdpt[g] = (PAGE_TABLES_AT + 0x2000 + g * 0x1000) | 3;
    for (uint64_t i = 0; i < 8 * 512; i++)
        pd[i] = i << 21 | 0x83;
}

void machine_long_mode(struct machine *m, const void *code, size_t size)
{
    const struct kvm_segment data = { .limit = ~0u, .selector = 0x10, .type = 3, .present = 1,
                                      .db = 1, .s = 1, .g = 1 };
    struct kvm_segment text = data;
    struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2, .rsp = 0x7000 };
    struct kvm_sregs sregs;

    memcpy(m->ram + CODE_AT, code, size);
    build_page_tables(m);
    text.selector = 8;
    text.type = 11;
    text.db = 0;
    text.l = 1;
    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.cs = text;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr3 = PAGE_TABLES_AT;
    sregs.cr4 = 1 << 5 | 1 << 9;                /* PAE, OSFXSR */
    sregs.cr0 = 0x80000033;                     /* PG, NE, ET, MP, PE */
    sregs.efer = 0x500;                         /* LMA, LME */
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_SREGS, &sregs), 0);
    machine_set_regs(m, &regs);
}

struct kvm_regs machine_regs(const struct machine *m)
{
    struct kvm_regs regs;

    CHECK_EQ(IOCTL(m->vcpu, KVM_GET_REGS, &regs), 0);
    return regs;
}

void machine_set_regs(const struct machine *m, const struct kvm_regs *regs)
{
    CHECK_EQ(IOCTL(m->vcpu, KVM_SET_REGS, regs), 0);
}

int machine_run(const struct machine *m)
{
    return IOCTL(m->vcpu, KVM_RUN, 0);
}

void machine_run_to(const struct machine *m, uint32_t exit_reason)
{
    int ret = machine_run(m);

    if (ret || m->run->exit_reason != exit_reason)
        test_fail(__FILE__, __LINE__,
                  "KVM_RUN is %d, exit %u (suberror %u), expected exit %u; rip 0x%llx", ret,
                  m->run->exit_reason, m->run->internal.suberror, exit_reason,
                  (unsigned long long)machine_regs(m).rip);
}

/* Its arrival ends KVM_RUN with EINTR, which no case expects after so long. */
static void on_alarm(int signal)
{
    __atomic_store_n(&late, true, __ATOMIC_RELAXED);
    printf("# no end in sight\n");
    alarm(1);
}

void machine_give_up_if_late(const struct machine *m, pthread_t runner)
{
    if (!__atomic_load_n(&late, __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&m->run->immediate_exit, 1, __ATOMIC_RELAXED);
    pthread_kill(runner, SIGALRM);
    pthread_join(runner, NULL);
    test_fail(__FILE__, __LINE__, "the guest never did what it should");
}

static int run_case(const struct test_case *test)
{
    int end = setjmp(end_of_case);

    __atomic_store_n(&late, false, __ATOMIC_RELAXED);
    alarm(CASE_SECONDS);
    if (!end)
        test->run();
    alarm(0);
    while (nr_fds)
        kvm_close(fds[0]);
    return end;
}

static void choose(int argc, char **argv)
{
    static const struct {
        const char *option;
        enum which which;
    } choices[] = {
        { "--softkvm", SOFT }, { "--vm2", SOFT_VM2 }, { "--in-place", SOFT_IN_PLACE },
        { "--kernel", KERNEL },
    };

    for (int i = 1; i < argc; i++) {
        for (size_t j = 0; j < sizeof(choices) / sizeof(choices[0]); j++) {
            if (!strcmp(argv[i], choices[j].option))
                which = choices[j].which;
        }
    }
}

int test_main(int argc, char **argv, const struct test_case *cases, size_t count)
{
    size_t failed = 0, skipped = 0;
    int fd;

    choose(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm }, NULL);
    fd = kvm_open();
    if (fd < 0) {
        printf("skipped: cannot open this KVM: %s\n", strerror(-fd));
        return SKIPPED;
    }
    kvm_close(fd);
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        int end = run_case(&cases[i]);

        printf("%sok %zu - %s%s\n", end == CASE_FAILED ? "not " : "", i + 1, cases[i].name,
               end == CASE_SKIPPED ? " # SKIP" : "");
        failed += end == CASE_FAILED;
        skipped += end == CASE_SKIPPED;
    }
    if (failed)
        return 1;
    return skipped == count ? SKIPPED : 0;
}
