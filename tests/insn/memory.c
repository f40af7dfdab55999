/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The arena twice: mapped at its own addresses for the host's processor, and as
 * a plain buffer for ours.  Host pages are mapped a second time for the harness,
 * so that it can write the code and the read-only page.
 */
#include "insn_test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct area {
    const char *name;
    uint32_t start, size;
    int prot;
} areas[] = {
    { "code", CODE, CODE_SIZE, PROT_READ | PROT_EXEC },
    { "data", DATA, DATA_SIZE, PROT_READ | PROT_WRITE },
    { "read-only page", RDONLY, RDONLY_SIZE, PROT_READ },
    { "stack", STACK, STACK_SIZE, PROT_READ | PROT_WRITE },
};
enum { NR_AREAS = sizeof(areas) / sizeof(areas[0]) };

static uint8_t *host_view, *ours;
static uint64_t pristine[ARENA_SIZE / 8 / 8];      /* as long as the longest area is enough */

void *arena_host(uint64_t addr)
{
    return host_view + (addr - ARENA);
}

void *arena_ours(uint64_t addr)
{
    return ours + (addr - ARENA);
}

int arena_init(void)
{
    int fd = memfd_create("insn", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, ARENA_SIZE) < 0)
        return -errno;
    host_view = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ours = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (host_view == MAP_FAILED || ours == MAP_FAILED)
        return -errno;
    /* The holes, so that nothing else is put there. */
    if (mmap((void *)(uintptr_t)ARENA, ARENA_SIZE, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
        return -errno;
    for (unsigned i = 0; i < NR_AREAS; i++) {
        const struct area *a = &areas[i];

        if (mmap((void *)(uintptr_t)a->start, a->size, a->prot,
                 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, a->start - ARENA) == MAP_FAILED)
            return -errno;
        /*
         * Touch every page as the rows will: a fault that the kernel resolves
         * by itself would not reach us, but the first store to a clean shared
         * page must not look like one of ours.
         */
        for (uint32_t off = 0; off < a->size; off += PAGE) {
            volatile uint8_t *p = (volatile uint8_t *)(uintptr_t)(a->start + off);

            if (a->prot & PROT_WRITE)
                *p = 0;
            else
                (void)*p;
        }
    }
    close(fd);
    return 0;
}

void arena_reset(void)
{
    if (!pristine[0])
        for (size_t i = 0; i < sizeof(pristine) / 8; i++)
            pristine[i] = (i + 1) * 0x9e3779b97f4a7c15;
    for (unsigned i = 0; i < NR_AREAS; i++) {
        if (areas[i].prot & PROT_EXEC)
            continue;
        memcpy(arena_host(areas[i].start), (uint8_t *)pristine + i * PAGE, areas[i].size);
        memcpy(arena_ours(areas[i].start), (uint8_t *)pristine + i * PAGE, areas[i].size);
    }
}

void arena_write(uint64_t addr, const void *data, size_t size)
{
    for (size_t done = 0; done < size; done++) {
        uint64_t at = addr + done;

        for (unsigned i = 0; i < NR_AREAS; i++)
            if (at >= areas[i].start && at < areas[i].start + (uint64_t)areas[i].size) {
                *(uint8_t *)arena_host(at) = ((const uint8_t *)data)[done];
                *(uint8_t *)arena_ours(at) = ((const uint8_t *)data)[done];
            }
    }
}

const char *arena_compare(uint64_t *addr)
{
    for (unsigned i = 0; i < NR_AREAS; i++) {
        const struct area *a = &areas[i];

        if (memcmp(arena_host(a->start), arena_ours(a->start), a->size) == 0)
            continue;
        for (*addr = a->start; ; ++*addr)
            if (*(uint8_t *)arena_host(*addr) != *(uint8_t *)arena_ours(*addr))
                return a->name;
    }
    return NULL;
}

/* After a difference was reported: it shall not be reported again. */
void arena_copy_host_to_ours(void)
{
    for (unsigned i = 0; i < NR_AREAS; i++)
        memcpy(arena_ours(areas[i].start), arena_host(areas[i].start), areas[i].size);
}
