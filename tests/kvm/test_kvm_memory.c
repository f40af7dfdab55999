/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory slots, guest_memfd files, attributes: what is checked, in which order, and what works. */
#include "kvm_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

#define AT_4G 0x100000000ULL
#define PRIVATE KVM_MEMORY_ATTRIBUTE_PRIVATE

static void slot_checks(void)
{
    int vm = create_vm(0), max = check_extension(vm, KVM_CAP_NR_MEMSLOTS);
    uint8_t *mem = host_memory(8 * PAGE);
    struct kvm_userspace_memory_region region = { .memory_size = PAGE };

    CHECK(max >= 509);
    CHECK_EQ(IOCTL(vm, KVM_SET_USER_MEMORY_REGION, NULL), -EFAULT);
    CHECK_EQ(IOCTL(vm, KVM_SET_USER_MEMORY_REGION, -PAGE), -EFAULT);
    CHECK_EQ(set_region(vm, max, 0, 0, PAGE, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0xffff, 0, 0, PAGE, mem), -EINVAL);
    for (int bit = 2; bit < 32; bit++)
        CHECK_EQ(set_region(vm, 0, 1u << bit, 0, PAGE, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 0, PAGE + 1, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 1, PAGE, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 0, PAGE, mem + 1), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 0, PAGE, (void *)(1ULL << 63)), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, -(uint64_t)PAGE, 2 * PAGE, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 0, (1ULL << 43), mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 0, 0, NULL), -EINVAL);        /* there is none to delete */
    CHECK_EQ(set_region(vm, 2 << 16, 0, 0, PAGE, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 0, 2 * PAGE, mem), 0);
    CHECK_EQ(set_region(vm, 0, 0, 0, 2 * PAGE, mem), 0);        /* the same: nothing to do */
    CHECK_EQ(set_region(vm, 1, 0, PAGE, PAGE, mem), -EEXIST);
    CHECK_EQ(set_region(vm, 1, 0, 2 * PAGE, PAGE, mem), 0);     /* two slots, one memory */
    CHECK_EQ(set_region(vm, 0, 0, 0, 3 * PAGE, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, 0, 0, 2 * PAGE, mem + PAGE), -EINVAL);
    CHECK_EQ(set_region(vm, 0, KVM_MEM_READONLY, 0, 2 * PAGE, mem), -EINVAL);
    CHECK_EQ(set_region(vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, 2 * PAGE, mem), 0);
    CHECK_EQ(set_region(vm, 0, 0, PAGE, 2 * PAGE, mem), -EEXIST);       /* a move onto slot 1 */
    CHECK_EQ(set_region(vm, 0, 0, 8 * PAGE, 2 * PAGE, mem), 0);
    CHECK_EQ(set_region(vm, 2, 0, 0, 2 * PAGE, mem), 0);
    CHECK_EQ(set_region(vm, 0, 0, 0, 0, NULL), 0);
    CHECK_EQ(set_region(vm, 0, 0, 0, 0, NULL), -EINVAL);
    region.slot = 5;
    region.userspace_addr = 0;
    CHECK_EQ(IOCTL(vm, KVM_SET_USER_MEMORY_REGION, &region), -EEXIST);
}

static void all_slots(void)
{
    int vm = create_vm(0), max = check_extension(vm, KVM_CAP_NR_MEMSLOTS);
    uint8_t *mem = host_memory(2 << 20);

    if (max > 1024 && !test_is_softkvm())
        max = 1024;
    for (int i = 0; i < max; i++)
        CHECK_EQ(set_region(vm, i, 0, (uint64_t)i << 21, 2 << 20, mem), 0);
    CHECK_EQ(set_region(vm, max, 0, (uint64_t)max << 21, 2 << 20, mem),
             check_extension(vm, KVM_CAP_NR_MEMSLOTS) == max ? -EINVAL : 0);
}

/* A guest that reads one quadword in a loop sees the old slot, MMIO, or the new one. */
static void move_slot_in_use(void)
{
    struct machine m;
    uint8_t *mem;

    machine_init(&m, 0, 0x100000);
    mem = host_memory(2 * PAGE);
    *(uint64_t *)mem = 0x1111;
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, PAGE, mem), 0);
    machine_long_mode(&m, CODE(0xbb, 0, 0, 0, 0x40,     /* mov $0x40000000,%ebx */
                               0x48, 0x8b, 0x03,        /* mov (%rbx),%rax */
                               0xe6, 0x10,              /* out %al,$0x10 */
                               0xeb, 0xf9));            /* back to the read */
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x1111);
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000 + PAGE, PAGE, mem), 0);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.phys_addr, 0x40000000);
    CHECK_EQ(m.run->mmio.len, 8);
    memset(m.run->mmio.data, 2, 8);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x0202020202020202);
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, PAGE, mem), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x1111);
    CHECK_EQ(set_region(m.vm, 1, 0, 0, 0, NULL), 0);
    CHECK_EQ(set_region(m.vm, 1, 0, 0x40000000, PAGE, mem + PAGE), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0);
}

static void dirty_log(void)
{
    uint64_t bitmap[2];
    struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), -ENOENT);
    CHECK_EQ(set_region(m.vm, 1, KVM_MEM_LOG_DIRTY_PAGES, 0x40000000, 70 * PAGE,
                        host_memory(70 * PAGE)), 0);
    machine_long_mode(&m, CODE(0xbb, 0, 0x10, 0, 0x40,  /* mov $0x40001000,%ebx */
                               0x8b, 0x03,              /* mov (%rbx),%eax */
                               0x89, 0x83, 0, 0x20, 4, 0,       /* mov %eax,0x42000(%rbx) */
                               0xf4,
                               0x89, 0x03, 0xf4,        /* mov %eax,(%rbx) */
                               0x89, 0x03, 0xf4));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[0], 0);
    CHECK_EQ(bitmap[1], 1 << (67 - 64));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[0], 2);
    CHECK_EQ(bitmap[1], 0);
    machine_run_to(&m, KVM_EXIT_HLT);
    log.dirty_bitmap = NULL;
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), -EFAULT);
    log.slot = 1 << 16;
    CHECK(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log) < 0);
}

static int enable_manual_log(int vm, uint64_t flags)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { flags } };

    return IOCTL(vm, KVM_ENABLE_CAP, &cap);
}

static int clear_log(int vm, uint32_t slot, uint64_t first, uint32_t pages, void *bitmap)
{
    struct kvm_clear_dirty_log log = { .slot = slot, .first_page = first, .num_pages = pages,
                                       .dirty_bitmap = bitmap };

    return IOCTL(vm, KVM_CLEAR_DIRTY_LOG, &log);
}

/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: reading doesn't clear, clearing is for whole words. */
static void manual_dirty_log(void)
{
    uint64_t bitmap[3], mask[3] = { ~0ULL, ~0ULL, ~0ULL };
    struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
    CHECK_EQ(check_extension(m.vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2), 3);
    CHECK_EQ(clear_log(m.vm, 1, 0, 64, mask), -ENOENT);
    CHECK_EQ(enable_manual_log(m.vm, 4), -EINVAL);
    CHECK_EQ(enable_manual_log(m.vm, KVM_DIRTY_LOG_INITIALLY_SET), -EINVAL);
    CHECK_EQ(enable_manual_log(m.vm, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE), 0);
    CHECK_EQ(set_region(m.vm, 1, KVM_MEM_LOG_DIRTY_PAGES, 0x40000000, 130 * PAGE,
                        host_memory(130 * PAGE)), 0);
    /* mov %eax,0x40001000; 0x40042000; 0x40081000; hlt; jmp back */
    machine_long_mode(&m, CODE(0xbb, 0, 0x10, 0, 0x40, 0x89, 0x03,
                               0x89, 0x83, 0, 0x10, 4, 0, 0x89, 0x83, 0, 0, 8, 0,
                               0xf4, 0xeb, 0xef));
    machine_run_to(&m, KVM_EXIT_HLT);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
        CHECK_EQ(bitmap[0], 2);
        CHECK_EQ(bitmap[1], 4);
        CHECK_EQ(bitmap[2], 2);
    }
    CHECK_EQ(clear_log(m.vm, 1, 1, 63, mask), -EINVAL);
    CHECK_EQ(clear_log(m.vm, 1, 0, 63, mask), -EINVAL);
    CHECK_EQ(clear_log(m.vm, 1, 64, 67, mask), -EINVAL);
    CHECK_EQ(clear_log(m.vm, 1, 192, 0, mask), -EINVAL);
    CHECK_EQ(clear_log(m.vm, 1, -64ULL, 128, mask), -EINVAL);
    CHECK_EQ(clear_log(m.vm, 1 << 16 | 1, 0, 64, mask) < 0, true);
    CHECK_EQ(clear_log(m.vm, 1, 0, 64, NULL), -EFAULT);
    CHECK_EQ(clear_log(m.vm, 1, 0, 0, NULL), 0);
    mask[0] = 1;
    CHECK_EQ(clear_log(m.vm, 1, 0, 64, mask), 0);               /* not that page */
    CHECK_EQ(clear_log(m.vm, 1, 128, 2, mask + 2), 0);          /* up to the end */
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[0], 2);
    CHECK_EQ(bitmap[1], 4);
    CHECK_EQ(bitmap[2], 0);
    CHECK_EQ(clear_log(m.vm, 1, 64, 64, mask + 1), 0);
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[1], 0);
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[1], 4);
    CHECK_EQ(bitmap[2], 2);
    /* With both flags a new log starts full, without bits behind the end. */
    CHECK_EQ(enable_manual_log(m.vm, 3), 0);
    CHECK_EQ(set_region(m.vm, 2, KVM_MEM_LOG_DIRTY_PAGES, 0x60000000, 130 * PAGE,
                        host_memory(130 * PAGE)), 0);
    log.slot = 2;
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[0] & bitmap[1], ~0ULL);
    CHECK_EQ(bitmap[2], 3);
    /* And off again. */
    CHECK_EQ(enable_manual_log(m.vm, 0), 0);
    log.slot = 1;
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[1], 4);
    CHECK_EQ(IOCTL(m.vm, KVM_GET_DIRTY_LOG, &log), 0);
    CHECK_EQ(bitmap[1], 0);
}

/* Before Linux 6.18 only VMs with private memory have guest_memfds. */
static int create_gmem_vm(void)
{
    int vm = create_vm(0);

    if (!check_extension(vm, KVM_CAP_GUEST_MEMFD)) {
        kvm_close(vm);
        vm = create_vm(1);
        NEED(vm, KVM_CAP_GUEST_MEMFD);
    }
    return vm;
}

static void guest_memfd_creation(void)
{
    int vm = create_gmem_vm(), a, b;
    uint64_t valid;
    struct stat sa, sb;

    valid = check_extension(vm, KVM_CAP_GUEST_MEMFD_FLAGS);
    CHECK_EQ(IOCTL(vm, KVM_CREATE_GUEST_MEMFD, NULL), -EFAULT);
    for (int bit = 0; bit < 64; bit++) {
        int fd = create_gmem(vm, PAGE, 1ULL << bit);

        if (valid >> bit & 1)
            CHECK(fd >= 0 && !kvm_close(fd));
        else
            CHECK_EQ(fd, -EINVAL);
    }
    CHECK_EQ(create_gmem(vm, 0, 0), -EINVAL);
    CHECK_EQ(create_gmem(vm, -(uint64_t)PAGE, 0), -EINVAL);
    CHECK_EQ(create_gmem(vm, 1, 0), -EINVAL);
    CHECK_EQ(create_gmem(vm, PAGE - 1, 0), -EINVAL);
    CHECK_EQ(create_gmem(vm, 0, 1ULL << 63), -EINVAL);
    a = create_gmem(vm, PAGE, 0);
    b = create_gmem(vm, 1ULL << 42, 0);
    CHECK(a >= 0 && b >= 0);
    CHECK_EQ(fstat(a, &sa), 0);
    CHECK_EQ(fstat(b, &sb), 0);
    CHECK_EQ(sa.st_size, PAGE);
    CHECK_EQ(sb.st_size, 1LL << 42);
    CHECK_EQ(sa.st_blksize, PAGE);
    CHECK(sa.st_ino != sb.st_ino);
    CHECK(ftruncate(a, 0) < 0);
    CHECK(ftruncate(a, 2 * PAGE) < 0);
}

/* The file outlives the VM, and its holes read as zero. */
static void guest_memfd_after_vm(void)
{
    int vm = create_gmem_vm(), fd;

    fd = create_gmem(vm, 4 * PAGE, 0);
    CHECK(fd >= 0);
    kvm_close(vm);
    CHECK_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PAGE), 0);
    CHECK_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4 * PAGE), 0);
}

static void guest_memfd_binding(void)
{
    int vm = create_gmem_vm(), other = create_gmem_vm(), kvm = kvm_fd(), gmem, foreign, memfd;
    uint8_t *mem = host_memory(8 * PAGE);
    int overlap;

    gmem = create_gmem(vm, 4 * PAGE, 0);
    foreign = create_gmem(other, 4 * PAGE, 0);
    memfd = memfd_create("not one", 0);
    CHECK(gmem >= 0 && foreign >= 0 && memfd >= 0);
#define BIND(slot_, gpa_, size_, fd_, offset_) \
    set_region2(vm, slot_, KVM_MEM_GUEST_MEMFD, gpa_, size_, mem, fd_, offset_)
    CHECK_EQ(BIND(1, AT_4G, PAGE, -1, 0), -EBADF);
    CHECK_EQ(BIND(1, AT_4G, PAGE, 1000000, 0), -EBADF);
    CHECK_EQ(BIND(1, AT_4G, PAGE, kvm, 0), -EINVAL);
    CHECK_EQ(BIND(1, AT_4G, PAGE, vm, 0), -EINVAL);
    CHECK_EQ(BIND(1, AT_4G, PAGE, memfd, 0), -EINVAL);
    CHECK_EQ(BIND(1, AT_4G, PAGE, foreign, 0), -EINVAL);
    for (int i = 1; i < PAGE; i++)
        CHECK_EQ(BIND(1, AT_4G, PAGE, gmem, i), -EINVAL);
    CHECK_EQ(BIND(1, AT_4G, PAGE, gmem, 4 * PAGE), -EINVAL);
    CHECK_EQ(BIND(1, AT_4G, 2 * PAGE, gmem, 3 * PAGE), -EINVAL);
    CHECK_EQ(BIND(1, AT_4G, 2 * PAGE, gmem, -(uint64_t)PAGE), -EINVAL);
    for (int flag = 1; flag <= 2; flag++)
        CHECK_EQ(set_region2(vm, 1, KVM_MEM_GUEST_MEMFD | flag, AT_4G, PAGE, mem, gmem, 0),
                 -EINVAL);
    CHECK_EQ(set_region(vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, PAGE, mem), -EINVAL);
    CHECK_EQ(BIND(1, AT_4G, 2 * PAGE, gmem, 0), 0);
    CHECK_EQ(BIND(1, AT_4G, 2 * PAGE, gmem, 0), -EINVAL);       /* can't be changed, not even not */
    CHECK_EQ(BIND(2, AT_4G + PAGE, 2 * PAGE, gmem, 2 * PAGE), -EEXIST);
    overlap = BIND(2, AT_4G + 2 * PAGE, 2 * PAGE, gmem, PAGE);  /* EINVAL before Linux 7 */
    CHECK(overlap == -EEXIST || (overlap == -EINVAL && !test_is_softkvm()));
    CHECK_EQ(BIND(2, AT_4G + 2 * PAGE, 2 * PAGE, gmem, 2 * PAGE), 0);
    /* Deleting needs no descriptor; the file's range is free again at once. */
    CHECK_EQ(set_region2(vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, 0, mem, -1, 0), 0);
    CHECK_EQ(BIND(1, AT_4G, 3 * PAGE, gmem, 0), -EEXIST);
    CHECK_EQ(BIND(1, AT_4G, 2 * PAGE, gmem, PAGE), overlap);
    CHECK_EQ(set_region2(vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, 2 * PAGE, NULL, gmem, 0), 0);
#undef BIND
    close(memfd);
}

static sigjmp_buf after_fault;

static void on_sigbus(int signal)
{
    siglongjmp(after_fault, 1);
}

/* Does reading the byte give SIGBUS? */
static bool faults(const volatile uint8_t *at)
{
    struct sigaction action = { .sa_handler = on_sigbus }, before;
    bool fault = true;

    sigaction(SIGBUS, &action, &before);
    if (!sigsetjmp(after_fault, 1)) {
        (void)*at;
        fault = false;
    }
    sigaction(SIGBUS, &before, NULL);
    return fault;
}

static void guest_memfd_mapping(void)
{
    int vm = create_vm(0), plain, closed, shared;
    uint64_t valid;
    void *at;
    uint8_t *map;

    NEED(vm, KVM_CAP_GUEST_MEMFD_FLAGS);
    valid = check_extension(vm, KVM_CAP_GUEST_MEMFD_FLAGS);
    if (!(valid & GUEST_MEMFD_FLAG_INIT_SHARED))
        test_skip("no INIT_SHARED");
    plain = create_gmem(vm, 4 * PAGE, 0);
    CHECK_EQ(kvm_map(4 * PAGE, MAP_SHARED, plain, 0, &at), -ENODEV);
    closed = create_gmem(vm, 4 * PAGE, GUEST_MEMFD_FLAG_MMAP);
    CHECK_EQ(kvm_map(4 * PAGE, MAP_PRIVATE, closed, 0, &at), -EINVAL);
    CHECK_EQ(kvm_map(4 * PAGE, MAP_SHARED, closed, 0, &at), 0);
    for (int i = 0; i < 4; i++)
        CHECK(faults((uint8_t *)at + i * PAGE));
    CHECK_EQ(kvm_unmap(at, 4 * PAGE), 0);
    shared = create_gmem(vm, 4 * PAGE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK_EQ(kvm_map(8 * PAGE, MAP_SHARED, shared, 0, &at), 0);
    map = at;
    memset(map, 0xaa, 4 * PAGE);
    CHECK(faults(map + 4 * PAGE));
    CHECK_EQ(fallocate(shared, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, PAGE, PAGE), 0);
    CHECK_EQ(map[PAGE - 1], 0xaa);
    CHECK_EQ(map[PAGE], 0);
    CHECK_EQ(map[2 * PAGE], 0xaa);
    CHECK_EQ(kvm_unmap(map + PAGE, PAGE), 0);
    CHECK_EQ(map[0] + map[2 * PAGE], 2 * 0xaa);
    CHECK_EQ(kvm_unmap(map, 8 * PAGE), 0);
}

/* A guest whose memory is one guest_memfd: host and guest see the same bytes. */
static void guest_memfd_guest(void)
{
    struct machine m;
    uint64_t flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;
    void *at;
    uint8_t *map;
    int gmem;

    if (test_is_pvm())
        test_skip("kvm_pvm maps no guest_memfd");
    machine_init(&m, 0, 0x100000);
    if ((check_extension(m.vm, KVM_CAP_GUEST_MEMFD_FLAGS) & flags) != flags)
        test_skip("no MMAP and INIT_SHARED");
    gmem = create_gmem(m.vm, 4 * PAGE, flags);
    CHECK(gmem >= 0);
    CHECK_EQ(kvm_map(4 * PAGE, MAP_SHARED, gmem, 0, &at), 0);
    map = at;
    map[2 * PAGE] = 0x5a;
    CHECK_EQ(set_region2(m.vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, 4 * PAGE, NULL, gmem, 0), 0);
    machine_long_mode(&m, CODE(0x48, 0xbb, 0, 0, 0, 0, 1, 0, 0, 0,      /* movabs $4G,%rbx */
                               0x8a, 0x83, 0, 0x20, 0, 0,               /* mov 0x2000(%rbx),%al */
                               0x88, 0x83, 0, 0x30, 0, 0,               /* mov %al,0x3000(%rbx) */
                               0xf4));
    machine_run_to(&m, KVM_EXIT_HLT);
    CHECK_EQ(map[3 * PAGE], 0x5a);
    /* The last close takes the memory away; the slot stays, empty. */
    CHECK_EQ(kvm_unmap(map, 4 * PAGE), 0);
    kvm_close(gmem);
    machine_long_mode(&m, CODE(0x48, 0xbb, 0, 0, 0, 0, 1, 0, 0, 0, 0x8a, 0x03, 0xf4));
    CHECK_EQ(machine_run(&m), -EFAULT);
    CHECK_EQ(m.run->exit_reason, KVM_EXIT_MEMORY_FAULT);
    CHECK_EQ(kvm_run_memory_fault(m.run)->gpa, AT_4G);
}

/* Attributes per VM; skips where they are per file. */
static int need_vm_attributes(int vm)
{
    if (!(check_extension(vm, KVM_CAP_MEMORY_ATTRIBUTES) & PRIVATE))
        test_skip("no private memory by attributes of the VM");
    return vm;
}

static void vm_attribute_checks(void)
{
    int vm = create_vm(1), plain = create_vm(0);
    struct kvm_memory_attributes args = { .size = PAGE, .flags = 1 };
    uint64_t large;

    if (IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES, NULL) == -ENOTTY)
        test_skip("no KVM_SET_MEMORY_ATTRIBUTES");
    CHECK_EQ(IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES, NULL), -EFAULT);
    CHECK_EQ(IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES, &args), -EINVAL);
    CHECK_EQ(set_attributes(plain, 0, PAGE, 0), 0);
    CHECK_EQ(set_attributes(plain, 0, PAGE, PRIVATE), -EINVAL);
    need_vm_attributes(vm);
    for (int bit = 0; bit < 64; bit++) {
        if (1ULL << bit != PRIVATE)
            CHECK_EQ(set_attributes(vm, 0, PAGE, 1ULL << bit), -EINVAL);
    }
    CHECK_EQ(set_attributes(vm, 0, 0, PRIVATE), -EINVAL);
    CHECK_EQ(set_attributes(vm, 1, PAGE, PRIVATE), -EINVAL);
    CHECK_EQ(set_attributes(vm, 0, PAGE + 1, PRIVATE), -EINVAL);
    CHECK_EQ(set_attributes(vm, -(uint64_t)PAGE, PAGE, PRIVATE), -EINVAL);
    CHECK_EQ(set_attributes(vm, -(uint64_t)(2 * PAGE), PAGE, PRIVATE), 0);
    /* Linux stores them by the page. */
    large = test_is_softkvm() ? 1ULL << 40 : 1ULL << 28;
    CHECK_EQ(set_attributes(vm, 0, large, PRIVATE), 0);
    CHECK_EQ(set_attributes(vm, 0, large, PRIVATE), 0);
}

/* By version 2 where the VM has it: the same attributes. */
static int set_attributes_any(int vm, uint64_t gpa, uint64_t size, uint64_t attributes)
{
    if (check_extension(vm, KVM_CAP_MEMORY_ATTRIBUTES2) == (int)PRIVATE)
        return set_attributes2(vm, gpa, size, attributes, NULL);
    return set_attributes(vm, gpa, size, attributes);
}

/* The draft's ioctl of the VM; elsewhere there is none, whatever the argument. */
static void vm_attributes2_checks(void)
{
    int vm = create_vm(1), plain = create_vm(0), gmem;
    struct kvm_memory_attributes2 args = { .size = PAGE };
    uint64_t *words = (uint64_t *)&args;

    if (check_extension(vm, KVM_CAP_MEMORY_ATTRIBUTES2) != (int)PRIVATE) {
        CHECK_EQ(IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES2, NULL), -ENOTTY);
        CHECK_EQ(IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES2, &args), -ENOTTY);
        return;
    }
    /* Each capability answers for one ioctl. */
    CHECK_EQ(check_extension(vm, KVM_CAP_MEMORY_ATTRIBUTES), PRIVATE);
    CHECK_EQ(check_extension(vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES), 0);
    CHECK_EQ(check_extension(plain, KVM_CAP_MEMORY_ATTRIBUTES2), 0);
    gmem = create_gmem(vm, PAGE, 0);
    CHECK_EQ(IOCTL(gmem, KVM_SET_MEMORY_ATTRIBUTES2, &args), -ENOTTY);
    CHECK_EQ(IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES2, NULL), -EFAULT);
    /* All behind the attributes is reserved, error_offset's place too. */
    for (size_t i = offsetof(struct kvm_memory_attributes2, flags) / 8; i < sizeof(args) / 8; i++) {
        words[i] = 1;
        CHECK_EQ(IOCTL(vm, KVM_SET_MEMORY_ATTRIBUTES2, &args), -EINVAL);
        words[i] = 0;
    }
    for (int bit = 0; bit < 64; bit++) {
        if (1ULL << bit != PRIVATE)
            CHECK_EQ(set_attributes2(vm, 0, PAGE, 1ULL << bit, NULL), -EINVAL);
    }
    CHECK_EQ(set_attributes2(plain, 0, PAGE, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(vm, 0, 0, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(vm, 1, PAGE, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(vm, 0, PAGE + 1, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(vm, -(uint64_t)PAGE, PAGE, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(vm, AT_4G, 1ULL << 40, PRIVATE, NULL), 0);
    CHECK_EQ(set_attributes2(vm, AT_4G, 1ULL << 40, 0, NULL), 0);
}

/* read %rbx; out; loop: one page at 4 GiB */
static void load_reader(struct machine *m)
{
    machine_long_mode(m, CODE(0x48, 0xbb, 0, 0, 0, 0, 1, 0, 0, 0,       /* movabs $4G,%rbx */
                              0x48, 0x8b, 0x03,                         /* mov (%rbx),%rax */
                              0xe6, 0x10, 0xeb, 0xf9));
}

static void check_memory_fault(struct machine *m, uint64_t gpa, uint64_t flags)
{
    CHECK_EQ(machine_run(m), -EFAULT);
    CHECK_EQ(m->run->exit_reason, KVM_EXIT_MEMORY_FAULT);
    CHECK_EQ(kvm_run_memory_fault(m->run)->flags, flags);
    CHECK_EQ(kvm_run_memory_fault(m->run)->gpa, gpa);
    CHECK_EQ(kvm_run_memory_fault(m->run)->size, PAGE);
}

/* Two backings: shared is the host's, private the guest_memfd's. */
static void two_backings(void)
{
    struct machine m;
    uint8_t *mem;
    int gmem;

    machine_init(&m, 1, 0x100000);
    need_vm_attributes(m.vm);
    mem = host_memory(4 * PAGE);
    memset(mem, 0x11, 4 * PAGE);
    gmem = create_gmem(m.vm, 4 * PAGE, 0);
    CHECK_EQ(set_region2(m.vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, 4 * PAGE, mem, gmem, 0), 0);
    load_reader(&m);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x1111111111111111);
    CHECK_EQ(set_attributes_any(m.vm, AT_4G, PAGE, PRIVATE), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0);
    CHECK_EQ(set_attributes_any(m.vm, AT_4G, PAGE, 0), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x1111111111111111);
    /* Private without guest_memfd, and without any slot: a memory fault, again and again. */
    CHECK_EQ(set_attributes_any(m.vm, AT_4G, PAGE, PRIVATE), 0);
    CHECK_EQ(set_region2(m.vm, 1, 0, 0, 0, NULL, 0, 0), 0);
    check_memory_fault(&m, AT_4G, KVM_MEMORY_EXIT_FLAG_PRIVATE);
    CHECK_EQ(set_region(m.vm, 1, 0, AT_4G, PAGE, mem), 0);
    check_memory_fault(&m, AT_4G, KVM_MEMORY_EXIT_FLAG_PRIVATE);
    CHECK_EQ(set_attributes_any(m.vm, AT_4G, PAGE, 0), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x1111111111111111);
}

static int need_file_attributes(int vm)
{
    if (check_extension(vm, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES) != (int)PRIVATE)
        test_skip("no private memory by attributes of the guest_memfd");
    return vm;
}

static void file_attribute_checks(void)
{
    int vm = create_vm(1), plain = create_vm(0), gmem, other;
    uint64_t where;
    struct kvm_memory_attributes2 args = { .size = PAGE };

    need_file_attributes(vm);
    CHECK_EQ(check_extension(vm, KVM_CAP_MEMORY_ATTRIBUTES), 0);
    CHECK_EQ(set_attributes(vm, 0, PAGE, PRIVATE), -EINVAL);
    gmem = create_gmem(vm, 4 * PAGE, 0);
    other = create_gmem(plain, 4 * PAGE, 0);
    CHECK_EQ(IOCTL(gmem, KVM_SET_MEMORY_ATTRIBUTES2, NULL), -EFAULT);
    CHECK_EQ(IOCTL(gmem, KVM_CHECK_EXTENSION, 1), -ENOTTY);
    CHECK_EQ(set_attributes2(other, 0, PAGE, PRIVATE, &where), -EINVAL);
    args.flags = 1;
    CHECK_EQ(IOCTL(gmem, KVM_SET_MEMORY_ATTRIBUTES2, &args), -EINVAL);
    args.flags = 0;
    for (int i = 0; i < 11; i++) {
        args.reserved[i] = 1;
        CHECK_EQ(IOCTL(gmem, KVM_SET_MEMORY_ATTRIBUTES2, &args), -EINVAL);
        args.reserved[i] = 0;
    }
    CHECK_EQ(set_attributes2(gmem, 0, PAGE, 1, &where), -EINVAL);
    CHECK_EQ(where, ~0ULL);
    CHECK_EQ(set_attributes2(gmem, 0, 0, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(gmem, 1, PAGE, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(gmem, 0, 1, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(gmem, 4 * PAGE, PAGE, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(gmem, 3 * PAGE, 2 * PAGE, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(gmem, -(uint64_t)PAGE, 2 * PAGE, PRIVATE, NULL), -EINVAL);
    CHECK_EQ(set_attributes2(gmem, 0, 4 * PAGE, PRIVATE, NULL), 0);
    CHECK_EQ(set_attributes2(gmem, 0, 4 * PAGE, 0, NULL), 0);
}

/* Each page alone, and the guest and the host agree on what they see. */
static void in_place_conversion(void)
{
    struct machine m;
    uint8_t *map;
    void *at;
    int gmem, sink = memfd_create("sink", 0);

    machine_init(&m, 1, 0x100000);
    need_file_attributes(m.vm);
    gmem = create_gmem(m.vm, 4 * PAGE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK(gmem >= 0);
    CHECK_EQ(kvm_map(4 * PAGE, MAP_SHARED, gmem, 0, &at), 0);
    map = at;
    for (int i = 0; i < 4; i++)
        memset(map + i * PAGE, 0x10 + i, PAGE);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(set_attributes2(gmem, i * PAGE, PAGE, PRIVATE, NULL), 0);
        for (int j = 0; j < 4; j++)
            CHECK_EQ(faults(map + j * PAGE), i == j);
        /* The kernel's own copies: an errno, no signal. */
        CHECK(write(sink, map + i * PAGE, 1) < 0 && errno == EFAULT);
        CHECK_EQ(set_attributes2(gmem, i * PAGE, PAGE, 0, NULL), 0);
        CHECK_EQ(map[i * PAGE], 0x10 + i);
    }
    CHECK_EQ(set_region2(m.vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, 4 * PAGE, map, gmem, 0), 0);
    load_reader(&m);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x1010101010101010);
    CHECK_EQ(set_attributes2(gmem, 0, 2 * PAGE, PRIVATE, NULL), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0x1010101010101010);
    CHECK_EQ(fallocate(gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE), 0);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, 0);
    CHECK(faults(map));
    /* A mapping made now hides the same pages. */
    CHECK_EQ(kvm_map(4 * PAGE, MAP_SHARED, gmem, 0, &at), 0);
    CHECK(faults(at));
    CHECK(faults((uint8_t *)at + PAGE));
    CHECK_EQ(((uint8_t *)at)[2 * PAGE], 0x12);
    CHECK_EQ(kvm_unmap(at, 4 * PAGE), 0);
    /* Without slot there is no state: MMIO. */
    CHECK_EQ(set_region2(m.vm, 1, 0, 0, 0, NULL, 0, 0), 0);
    machine_run_to(&m, KVM_EXIT_MMIO);
    CHECK_EQ(m.run->mmio.phys_addr, AT_4G);
    CHECK_EQ(m.run->mmio.len, 8);
    CHECK_EQ(kvm_unmap(map, 4 * PAGE), 0);
    close(sink);
}

enum { DONE = 'd', CHILD_PAGES = 4 };

/* Which pages fault for this process, and whether the kernel can read the first. */
static uint8_t look(const uint8_t *map)
{
    int sink = memfd_create("sink", 0);
    uint8_t mask = 0;

    for (int i = 0; i < CHILD_PAGES; i++)
        mask |= faults(map + i * PAGE) << i;
    if (write(sink, map, 1) < 0 && errno == EFAULT)
        mask |= 0x80;
    close(sink);
    return mask;
}

/* Answers each byte with what it sees; 'f' makes it fork, and its child goes on. */
static _Noreturn void inherit(const uint8_t *map, int in, int out)
{
    char command;

    while (read(in, &command, 1) == 1) {
        uint8_t mask = look(map);

        if (command == 'f') {
            pid_t pid = fork();
            int status;

            if (pid) {
                waitpid(pid, &status, 0);
                _exit(WEXITSTATUS(status));
            }
            continue;
        }
        if (write(out, &mask, 1) != 1)
            break;
    }
    _exit(0);
}

static int ask(int to, int from, char command)
{
    uint8_t mask;

    CHECK_EQ(write(to, &command, 1), 1);
    CHECK_EQ(read(from, &mask, 1), 1);
    return mask;
}

/* Children of fork(), and theirs: a page that becomes private is gone for them too. */
static void mapping_in_children(void)
{
    int vm = create_vm(1), gmem, to[2], from[2], status;
    uint8_t *map;
    pid_t pid;
    void *at;

#ifdef __SANITIZE_THREAD__
    test_skip("the thread sanitizer has no threads after fork()");
#endif
    need_file_attributes(vm);
    gmem = create_gmem(vm, CHILD_PAGES * PAGE,
                       GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK_EQ(kvm_map(CHILD_PAGES * PAGE, MAP_SHARED, gmem, 0, &at), 0);
    map = at;
    CHECK(!pipe(to) && !pipe(from));
    pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        close(to[1]);
        inherit(map, to[0], from[1]);
    }
    for (int round = 0; round < 2; round++) {
        CHECK_EQ(ask(to[1], from[0], DONE), 0);
        for (int i = 0; i < CHILD_PAGES; i++) {
            CHECK_EQ(set_attributes2(gmem, i * PAGE, PAGE, PRIVATE, NULL), 0);
            CHECK_EQ(ask(to[1], from[0], DONE), 1 << i | (i ? 0 : 0x80));
            CHECK_EQ(set_attributes2(gmem, i * PAGE, PAGE, 0, NULL), 0);
        }
        if (!round) {
            /* The child's own child begins with what there is then. */
            CHECK_EQ(set_attributes2(gmem, 0, 2 * PAGE, PRIVATE, NULL), 0);
            CHECK_EQ(write(to[1], "f", 1), 1);
            CHECK_EQ(ask(to[1], from[0], DONE), 0x83);
            CHECK_EQ(set_attributes2(gmem, 0, 2 * PAGE, 0, NULL), 0);
        }
    }
    CHECK_EQ(set_attributes2(gmem, 0, 4 * PAGE, PRIVATE, NULL), 0);
    close(to[1]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    /* Nobody is waited for any more. */
    CHECK_EQ(set_attributes2(gmem, 0, 4 * PAGE, 0, NULL), 0);
    CHECK_EQ(look(map), 0);
    close(to[0]);
    close(from[0]);
    close(from[1]);
    CHECK_EQ(kvm_unmap(map, CHILD_PAGES * PAGE), 0);
}

/* Children that can't answer any more, or not now: a conversion goes on without them. */
static void silent_children(void)
{
    int vm = create_vm(1), gmem, from[2], status;
    pid_t pid[3];
    uint8_t *map;
    void *at;

#ifdef __SANITIZE_THREAD__
    test_skip("the thread sanitizer has no threads after fork()");
#endif
    need_file_attributes(vm);
    gmem = create_gmem(vm, CHILD_PAGES * PAGE,
                       GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK_EQ(kvm_map(CHILD_PAGES * PAGE, MAP_SHARED, gmem, 0, &at), 0);
    map = at;
    CHECK(!pipe(from));
    for (int i = 0; i < 100; i++) {
        pid_t gone = fork();

        if (!gone)
            _exit(0);
        CHECK_EQ(waitpid(gone, &status, 0), gone);
    }
    for (int i = 0; i < 3; i++) {
        pid[i] = fork();
        CHECK(pid[i] >= 0);
        if (!pid[i] && i == 0) {
            execlp("sleep", "sleep", "1000", NULL);
            _exit(1);
        }
        if (!pid[i]) {
            /* The second never comes to it; the third has closed all that it doesn't know. */
            if (i == 1)
                raise(SIGSTOP);
            else
                closefrom(from[1] + 1);
            status = i == 1 ? faults(map) : faults(map) << 1;
            write(from[1], &status, 1);
            for (;;)
                pause();
        }
    }
    CHECK_EQ(waitpid(pid[1], &status, WUNTRACED), pid[1]);
    CHECK_EQ(read(from[0], &status, 1), 1);
    CHECK_EQ(set_attributes2(gmem, 0, CHILD_PAGES * PAGE, PRIVATE, NULL), 0);
    CHECK_EQ(look(map), 0x8f);
    CHECK_EQ(set_attributes2(gmem, PAGE, PAGE, 0, NULL), 0);
    kill(pid[1], SIGCONT);
    CHECK_EQ(read(from[0], &status, 1), 1);
    for (int i = 0; i < 3; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], &status, 0);
    }
    close(from[0]);
    close(from[1]);
    CHECK_EQ(kvm_unmap(map, CHILD_PAGES * PAGE), 0);
}

/* A process may have so many mappings: the conversion that needs one more changes nothing. */
static void too_many_mappings(void)
{
    uint64_t pages = 1 << 18, page = 0, where = 0;
    int vm = create_vm(1), gmem, ret = 0;
    uint8_t *map;
    void *at;

    if (!test_is_softkvm())
        test_skip("the kernel needs no mappings for it");
    need_file_attributes(vm);
    gmem = create_gmem(vm, pages * PAGE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
    CHECK_EQ(kvm_map(pages * PAGE, MAP_SHARED, gmem, 0, &at), 0);
    map = at;
    while (page < pages && !ret) {
        ret = set_attributes2(gmem, page * PAGE, PAGE, PRIVATE, &where);
        page += ret ? 0 : 2;
    }
    if (page >= pages)
        test_skip("vm.max_map_count is high");
    CHECK_EQ(ret, -ENOMEM);
    CHECK_EQ(where, page * PAGE);
    CHECK_EQ(map[page * PAGE], 0);
    CHECK(faults(map + (page - 2) * PAGE));
    CHECK_EQ(map[(page - 1) * PAGE], 0);
    CHECK_EQ(set_attributes2(gmem, 0, pages * PAGE, 0, NULL), 0);
    CHECK_EQ(map[0], 0);
    CHECK_EQ(map[(page - 4) * PAGE], 0);
    CHECK_EQ(kvm_unmap(map, pages * PAGE), 0);
}

enum { FLIPPERS = 3, FLIPS = 300 };

struct flipper {
    int vm, gmem;
    uint64_t page;
};

static void *flip(void *opaque)
{
    struct flipper *f = opaque;

    for (int i = 0; i < FLIPS; i++) {
        uint64_t attributes = i % 2 ? 0 : PRIVATE;
        int ret = f->vm >= 0 ? set_attributes_any(f->vm, AT_4G + f->page * PAGE, PAGE, attributes)
                             : set_attributes2(f->gmem, f->page * PAGE, PAGE, attributes, NULL);

        if (ret)
            return (void *)1;
    }
    return NULL;
}

/* Threads convert pages of their own while the guest writes all of them and never stops. */
static void conversions_under_load(void)
{
    struct flipper flippers[FLIPPERS];
    pthread_t threads[FLIPPERS];
    bool per_vm;
    struct machine m;
    int gmem, live = FLIPPERS, n = 0;

    machine_init(&m, 1, 0x100000);
    per_vm = check_extension(m.vm, KVM_CAP_MEMORY_ATTRIBUTES) & PRIVATE;
    if (!per_vm)
        need_file_attributes(m.vm);
    gmem = create_gmem(m.vm, 4 * PAGE, 0);
    CHECK_EQ(set_region2(m.vm, 1, KVM_MEM_GUEST_MEMFD, AT_4G, 4 * PAGE, host_memory(4 * PAGE),
                         gmem, 0), 0);
    machine_long_mode(&m, CODE(0x48, 0xbb, 0, 0, 0, 0, 1, 0, 0, 0,      /* movabs $4G,%rbx */
                               0xff, 0xc0,                              /* 1: inc %eax */
                               0x89, 0x03,                              /* mov %eax,(%rbx) */
                               0x89, 0x83, 0, 0x10, 0, 0,               /* ... 0x1000, 0x2000 */
                               0x89, 0x83, 0, 0x20, 0, 0,
                               0xa9, 0xff, 0xff, 0, 0, 0x75, 0xe9,      /* test; jnz 1b */
                               0xe6, 0x10, 0xeb, 0xe5));                /* out; jmp 1b */
    for (int i = 0; i < FLIPPERS; i++) {
        flippers[i] = (struct flipper){ .vm = per_vm ? m.vm : -1, .gmem = gmem, .page = i };
        CHECK_EQ(pthread_create(&threads[i], NULL, flip, &flippers[i]), 0);
    }
    while (live > 0) {
        void *result;

        machine_run_to(&m, KVM_EXIT_IO);
        n++;
        if (!pthread_tryjoin_np(threads[live - 1], &result)) {
            CHECK(!result);
            live--;
        }
    }
    CHECK(n > 0);
}

static void pre_fault(void)
{
    struct kvm_pre_fault_memory range = { .gpa = 0, .size = 4 * PAGE };
    struct machine m;

    machine_init(&m, 0, 0x100000);
    NEED(m.vm, KVM_CAP_PRE_FAULT_MEMORY);
    CHECK_EQ(IOCTL(m.vcpu, KVM_PRE_FAULT_MEMORY, &range), 0);
    CHECK_EQ(range.gpa, 4 * PAGE);
    CHECK_EQ(range.size, 0);
    CHECK_EQ(IOCTL(m.vcpu, KVM_PRE_FAULT_MEMORY, &range), -EINVAL);
    range = (struct kvm_pre_fault_memory){ .gpa = 0x100000, .size = PAGE };
    CHECK_EQ(IOCTL(m.vcpu, KVM_PRE_FAULT_MEMORY, &range), -ENOENT);
    range = (struct kvm_pre_fault_memory){ .gpa = 0x100000 - PAGE, .size = 2 * PAGE };
    CHECK_EQ(IOCTL(m.vcpu, KVM_PRE_FAULT_MEMORY, &range), 0);
    CHECK_EQ(range.gpa, 0x100000);
    CHECK_EQ(range.size, PAGE);
    range = (struct kvm_pre_fault_memory){ .gpa = 1, .size = PAGE };
    CHECK_EQ(IOCTL(m.vcpu, KVM_PRE_FAULT_MEMORY, &range), -EINVAL);
}

static const struct test_case cases[] = {
    { "slots: checks and their order", slot_checks },
    { "slots: as many as announced", all_slots },
    { "slots: moved and replaced in use", move_slot_in_use },
    { "dirty log", dirty_log },
    { "dirty log that user space clears", manual_dirty_log },
    { "guest_memfd: creation", guest_memfd_creation },
    { "guest_memfd: outlives its VM", guest_memfd_after_vm },
    { "guest_memfd: binding", guest_memfd_binding },
    { "guest_memfd: mapping", guest_memfd_mapping },
    { "guest_memfd: memory of a guest", guest_memfd_guest },
    { "attributes of the VM: checks", vm_attribute_checks },
    { "attributes of the VM, version 2: checks", vm_attributes2_checks },
    { "attributes of the VM: two backings, memory faults", two_backings },
    { "attributes of a guest_memfd: checks", file_attribute_checks },
    { "attributes of a guest_memfd: in-place conversion", in_place_conversion },
    { "attributes of a guest_memfd: mappings of children", mapping_in_children },
    { "attributes of a guest_memfd: children that don't answer", silent_children },
    { "conversions beyond vm.max_map_count", too_many_mappings },
    { "conversions while the guest runs", conversions_under_load },
    { "KVM_PRE_FAULT_MEMORY", pre_fault },
};

TEST_MAIN(cases)
