/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* softkvm's failures on request: each is what it says, once, and changes nothing. */
#include "kvm_test.h"

#include "softkvm.h"

#include <fcntl.h>
#include <signal.h>

enum { PAGE = 4096 };

#define AT_4G 0x100000000ULL
#define PRIVATE KVM_MEMORY_ATTRIBUTE_PRIVATE

static void need_softkvm(void)
{
    if (!test_is_softkvm())
        test_skip("hooks are softkvm's");
    softkvm_fail(NULL);
    softkvm_pin_new(NULL);
}

static void rules(void)
{
    static const char *const bad[] = {
        "", ":", "KVM_RUN", "KVM_RUN:", "KVM_RUN:0", "KVM_RUN:-1", "KVM_RUN:2-1", "KVM_RUN:1x",
        "KVM_RUN:1:", "KVM_RUN:1:ENONSENSE", "KVM_RUN:1:0", "KVM_RUN:1:134", "KVM_RUN:1:11x",
        "KVM_NONSENSE:1", "run:1", "page", "page:99999999999999999999",
        "a_name_that_is_longer_than_any_ioctl_could_possibly_be_in_all_of_KVM:1",
    };
    static const char *const bad_pins[] = {
        "", "x", "1", "4096+", "4096+1", "4096+0", "4096:", "4096:x", "4096+4096:1:1",
        "-4096", "0xfffffffffffff000+4096", "0:4294967296",
    };

    need_softkvm();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (softkvm_fail(bad[i]) != -EINVAL)
            test_fail(__FILE__, __LINE__, "'%s' is taken", bad[i]);
    }
    for (size_t i = 0; i < sizeof(bad_pins) / sizeof(bad_pins[0]); i++) {
        if (softkvm_pin_new(bad_pins[i]) != -EINVAL)
            test_fail(__FILE__, __LINE__, "'%s' is taken", bad_pins[i]);
    }
    for (int i = 0; i < 32; i++)
        CHECK_EQ(softkvm_fail("KVM_RUN:1-:EAGAIN"), 0);
    CHECK_EQ(softkvm_fail("KVM_RUN:1"), -ENOSPC);
    CHECK_EQ(softkvm_fail(NULL), 0);
}

static void ioctls(void)
{
    int kvm, vm;

    need_softkvm();
    kvm = kvm_fd();
    CHECK_EQ(softkvm_fail("KVM_CREATE_VM:2-3:EMFILE"), 0);
    CHECK_EQ(softkvm_fail("KVM_GET_API_VERSION:2-:5"), 0);
    vm = IOCTL(kvm, KVM_CREATE_VM, 0);
    CHECK(vm >= 0);
    CHECK_EQ(IOCTL(kvm, KVM_CREATE_VM, 0), -EMFILE);
    CHECK_EQ(IOCTL(kvm, KVM_CREATE_VM, 0), -EMFILE);
    CHECK(IOCTL(kvm, KVM_CREATE_VM, 0) >= 0);
    CHECK_EQ(IOCTL(kvm, KVM_GET_API_VERSION, 0), 12);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(IOCTL(kvm, KVM_GET_API_VERSION, 0), -EIO);
    CHECK_EQ(softkvm_fail("KVM_CREATE_VCPU:1"), 0);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_VCPU, 0), -ENOMEM);
    CHECK(IOCTL(vm, KVM_CREATE_VCPU, 0) >= 0);
    CHECK_EQ(softkvm_fail("slot:1"), 0);
    CHECK_EQ(set_region(vm, 0, 0, 0, PAGE, host_memory(PAGE)), -ENOMEM);
    CHECK_EQ(set_region(vm, 0, 0, 0, PAGE, host_memory(PAGE)), 0);
    CHECK_EQ(softkvm_fail(NULL), 0);
    CHECK_EQ(IOCTL(kvm, KVM_GET_API_VERSION, 0), 12);
}

/* By whatever ioctl this regime has. */
static int convert(int vm, int gmem, uint64_t offset, uint64_t size, uint64_t attributes,
                   uint64_t *error_offset)
{
    if (check_extension(vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES))
        return set_attributes2(gmem, offset, size, attributes, error_offset);
    *error_offset = offset;
    return set_attributes(vm, AT_4G + offset, size, attributes);
}

/* A guest that reads a page which nobody has touched. */
static void guest_page(void)
{
    struct kvm_pre_fault_memory range = { .gpa = AT_4G + 3 * PAGE, .size = PAGE };
    struct machine m;
    uint64_t where;
    int gmem;

    need_softkvm();
    machine_init(&m, 1, 0x100000);
    gmem = create_gmem(m.vm, 4 * PAGE, 0);
    CHECK_EQ(set_region2(m.vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, 4 * PAGE, host_memory(4 * PAGE),
                         gmem, 0), 0);
    CHECK_EQ(convert(m.vm, gmem, 0, 4 * PAGE, PRIVATE, &where), 0);
    machine_long_mode(&m, CODE(0x48, 0xbb, 0, 0, 0, 0, 1, 0, 0, 0,      /* movabs $4G,%rbx */
                               0x48, 0x8b, 0x03,                        /* mov (%rbx),%rax */
                               0x48, 0x8b, 0x83, 0, 0x10, 0, 0,         /* mov 0x1000(%rbx),%rax */
                               0xe6, 0x10));
    CHECK_EQ(softkvm_fail("page:2-3"), 0);
    /* Not by softkvm, and not counted. */
    CHECK_EQ(fallocate(gmem, FALLOC_FL_KEEP_SIZE, 2 * PAGE, PAGE), 0);
    CHECK_EQ(machine_run(&m), -ENOMEM);
    CHECK_EQ(m.run->exit_reason, KVM_EXIT_MEMORY_FAULT);
    CHECK_EQ(kvm_run_memory_fault(m.run)->gpa, AT_4G + PAGE);
    CHECK_EQ(kvm_run_memory_fault(m.run)->flags, KVM_MEMORY_EXIT_FLAG_PRIVATE);
    CHECK_EQ(softkvm_fallocate(gmem, FALLOC_FL_KEEP_SIZE, 3 * PAGE, PAGE), -ENOMEM);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(softkvm_fail(NULL), 0);
    CHECK_EQ(softkvm_fail("page:1"), 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_PRE_FAULT_MEMORY, &range), -ENOMEM);
    CHECK_EQ(range.size, PAGE);
    CHECK_EQ(IOCTL(m.vcpu, KVM_PRE_FAULT_MEMORY, &range), 0);
    CHECK_EQ(range.size, 0);
    CHECK_EQ(softkvm_fail(NULL), 0);
}

static void attributes(void)
{
    int vm, gmem;
    uint64_t where;

    need_softkvm();
    vm = create_vm(1);
    gmem = create_gmem(vm, 4 * PAGE, 0);
    CHECK_EQ(convert(vm, gmem, 0, 4 * PAGE, PRIVATE, &where), 0);
    CHECK_EQ(softkvm_fail("attributes:2"), 0);
    CHECK_EQ(convert(vm, gmem, 0, PAGE, 0, &where), 0);
    CHECK_EQ(convert(vm, gmem, PAGE, 2 * PAGE, 0, &where), -ENOMEM);
    CHECK_EQ(where, PAGE);
    CHECK_EQ(convert(vm, gmem, PAGE, 2 * PAGE, 0, &where), 0);
    CHECK_EQ(softkvm_fail(NULL), 0);
}

static sigjmp_buf after_fault;

static void on_sigbus(int signal)
{
    siglongjmp(after_fault, 1);
}

/* A bit for each of the file's pages whose reading is SIGBUS. */
static unsigned faulting(const volatile uint8_t *map, int pages)
{
    struct sigaction action = { .sa_handler = on_sigbus }, before;
    volatile unsigned mask = 0;

    sigaction(SIGBUS, &action, &before);
    for (volatile int i = 0; i < pages; i++) {
        if (sigsetjmp(after_fault, 1))
            mask |= 1u << i;
        else
            (void)map[i * PAGE];
    }
    sigaction(SIGBUS, &before, NULL);
    return mask;
}

static int in_place_file(int vm, uint64_t pages, uint8_t **map)
{
    int gmem;
    void *at;

    if (check_extension(vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) != (int)PRIVATE)
        test_skip("no private memory by attributes of the guest_memfd");
    gmem = create_gmem(vm, pages * PAGE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK_EQ(kvm_map(pages * PAGE, MAP_SHARED, gmem, 0, &at), 0);
    *map = at;
    return gmem;
}

static void pinned_pages(void)
{
    uint64_t where;
    uint8_t *map;
    int vm, gmem;

    need_softkvm();
    vm = create_vm(1);
    CHECK_EQ(softkvm_pin(vm, 0, PAGE, 0), -EINVAL);
    CHECK_EQ(softkvm_pin(-1, 0, PAGE, 0), -EBADF);
    gmem = in_place_file(vm, 8, &map);
    CHECK_EQ(softkvm_pin(gmem, 1, PAGE, 0), -EINVAL);
    CHECK_EQ(softkvm_pin(gmem, 0, 0, 0), -EINVAL);
    CHECK_EQ(softkvm_pin(gmem, 7 * PAGE, 2 * PAGE, 0), -EINVAL);
    CHECK_EQ(softkvm_pin(gmem, 5 * PAGE, 3 * PAGE, 0), 0);
    CHECK_EQ(softkvm_pin(gmem, 3 * PAGE, PAGE, 2), 0);
    /* The first in the way, and nothing happens. */
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(set_attributes2(gmem, 0, 8 * PAGE, PRIVATE, &where), -EAGAIN);
        CHECK_EQ(where, 3 * PAGE);
        CHECK_EQ(faulting(map, 8), 0);
    }
    CHECK_EQ(set_attributes2(gmem, 0, 8 * PAGE, PRIVATE, &where), -EAGAIN);
    CHECK_EQ(where, 5 * PAGE);
    CHECK_EQ(set_attributes2(gmem, 6 * PAGE, PAGE, PRIVATE, &where), -EAGAIN);
    CHECK_EQ(where, 6 * PAGE);
    CHECK_EQ(set_attributes2(gmem, 0, 5 * PAGE, PRIVATE, &where), 0);
    CHECK_EQ(faulting(map, 8), 0x1f);
    /* To shared never waits, and what is so already isn't looked at. */
    CHECK_EQ(set_attributes2(gmem, 0, 8 * PAGE, 0, &where), 0);
    CHECK_EQ(softkvm_unpin(gmem, 5 * PAGE, PAGE), -ENOENT);
    CHECK_EQ(softkvm_unpin(gmem, 5 * PAGE, 3 * PAGE), 0);
    CHECK_EQ(softkvm_unpin(gmem, 5 * PAGE, 3 * PAGE), -ENOENT);
    CHECK_EQ(set_attributes2(gmem, 0, 8 * PAGE, PRIVATE, &where), 0);
    CHECK_EQ(faulting(map, 8), 0xff);
    CHECK_EQ(softkvm_pin(gmem, 0, PAGE, 0), 0);
    CHECK_EQ(set_attributes2(gmem, 0, 8 * PAGE, PRIVATE, &where), 0);
    CHECK_EQ(kvm_unmap(map, 8 * PAGE), 0);
    /* Those of new files. */
    CHECK_EQ(softkvm_pin_new("0x2000+0x1000:1"), 0);
    gmem = create_gmem(vm, 2 * PAGE, GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK_EQ(set_attributes2(gmem, 0, 2 * PAGE, PRIVATE, &where), 0);
    gmem = create_gmem(vm, 4 * PAGE, GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK_EQ(set_attributes2(gmem, 0, 4 * PAGE, PRIVATE, &where), -EAGAIN);
    CHECK_EQ(where, 2 * PAGE);
    CHECK_EQ(set_attributes2(gmem, 0, 4 * PAGE, PRIVATE, &where), 0);
    CHECK_EQ(softkvm_pin_new(NULL), 0);
}

/* A conversion that changes several pieces of a mapping, each of which fails in turn. */
static void mapping(void)
{
    uint64_t where;
    uint8_t *map;
    int vm, gmem;

    need_softkvm();
    vm = create_vm(1);
    gmem = in_place_file(vm, 8, &map);
    for (int i = 1; i < 8; i += 2)
        CHECK_EQ(set_attributes2(gmem, i * PAGE, PAGE, PRIVATE, NULL), 0);
    for (int nth = 1; nth <= 4; nth++) {
        char rule[] = "mapping:0";

        rule[sizeof(rule) - 2] = '0' + nth;
        CHECK_EQ(softkvm_fail(rule), 0);
        CHECK_EQ(set_attributes2(gmem, 0, 8 * PAGE, PRIVATE, &where), -ENOMEM);
        CHECK_EQ(where, 0);
        CHECK_EQ(faulting(map, 8), 0xaa);
        CHECK_EQ(softkvm_fail(NULL), 0);
    }
    CHECK_EQ(softkvm_fail("mapping:5"), 0);
    CHECK_EQ(set_attributes2(gmem, 0, 8 * PAGE, PRIVATE, &where), 0);
    CHECK_EQ(faulting(map, 8), 0xff);
    CHECK_EQ(softkvm_fail(NULL), 0);
    CHECK_EQ(kvm_unmap(map, 8 * PAGE), 0);
}

/* What KVM holds, which it tells nobody else. */
static void private_runs(void)
{
    bool in_place, is_private;
    uint64_t end, base, where;
    uint8_t *map;
    int vm, gmem, fd;

    need_softkvm();
    vm = create_vm(1);
    in_place = check_extension(vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES);
    gmem = in_place ? in_place_file(vm, 8, &map) : create_gmem(vm, 8 * PAGE, 0);
    fd = in_place ? gmem : vm;
    base = in_place ? 0 : AT_4G;
    CHECK_EQ(softkvm_private_run(-1, 0, &is_private, &end), -EBADF);
    CHECK_EQ(softkvm_private_run(kvm_fd(), 0, &is_private, &end), -EINVAL);
    CHECK_EQ(softkvm_private_run(in_place ? vm : gmem, 0, &is_private, &end), -EINVAL);
    CHECK_EQ(softkvm_private_run(fd, in_place ? 8 * PAGE : UINT64_MAX, &is_private, &end),
             in_place ? -EINVAL : 0);
    CHECK_EQ(convert(vm, gmem, 2 * PAGE, 3 * PAGE, PRIVATE, &where), 0);
    CHECK_EQ(softkvm_private_run(fd, base + PAGE, &is_private, &end), 0);
    CHECK(!is_private && end == base + 2 * PAGE);
    CHECK_EQ(softkvm_private_run(fd, base + 3 * PAGE + 5, &is_private, &end), 0);
    CHECK(is_private && end == base + 5 * PAGE);
    CHECK_EQ(softkvm_private_run(fd, base + 5 * PAGE, &is_private, &end), 0);
    CHECK(!is_private && end == (in_place ? 8 * PAGE : UINT64_MAX));
    if (in_place)
        CHECK_EQ(kvm_unmap(map, 8 * PAGE), 0);
}

static const struct test_case cases[] = {
    { "rules", rules },
    { "ioctls, slots", ioctls },
    { "a page of a guest_memfd", guest_page },
    { "the record of attributes", attributes },
    { "pinned pages", pinned_pages },
    { "pieces of a mapping", mapping },
    { "what is private", private_runs },
};

TEST_MAIN(cases)
