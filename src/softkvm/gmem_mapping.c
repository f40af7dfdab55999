/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What callers have mapped of guest_memfds, and taking private pages out of it.
 *
 * The empty file is mapped at the offsets that the pages have in their own
 * file: so neighbouring private ranges are one mapping to the kernel, as
 * neighbouring shared ranges are.
 */
#include "gmem_mapping.h"

#include "attr_map.h"
#include "fork_guard.h"
#include "gmem_children.h"
#include "guest_memfd.h"
#include "range.h"
#include "soft_vm.h"
#include "test_hooks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { BALLAST = 4 };

struct mapping {
    struct mapping *next;
    struct guest_memfd *gmem;   /* referenced */
    uintptr_t start;
    size_t length;              /* whole pages */
    uint64_t offset;            /* in the file */
    int prot;
    unsigned generation;        /* of the process that made it */
};

static struct {
    pthread_mutex_t lock;
    struct mapping *mappings;   /* atomic for gmem_mapping_any() */
    int empty_fd;               /* a file without a single page */
    uint64_t empty_inode;       /* its inode, should somebody have closed empty_fd */
    void *ballast[BALLAST];
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER, .empty_fd = -1 };

/*
 * At vm.max_map_count the kernel refuses even what replaces one mapping by
 * another, which going back is made of.  So a few mappings are held that can be
 * let go then.  Their offsets keep the kernel from joining them.
 */
static void ballast_take(void)
{
    for (int i = 0; i < BALLAST; i++) {
        void *at;

        if (registry.ballast[i])
            continue;
        at = mmap(NULL, GUEST_PAGE_SIZE, PROT_NONE, MAP_SHARED, registry.empty_fd,
                  (BALLAST - i) * 2 * GUEST_PAGE_SIZE);
        if (at != MAP_FAILED)
            registry.ballast[i] = at;
    }
}

static void ballast_drop(void)
{
    for (int i = 0; i < BALLAST; i++) {
        if (registry.ballast[i])
            munmap(registry.ballast[i], GUEST_PAGE_SIZE);
        registry.ballast[i] = NULL;
    }
}

uint64_t gmem_file_inode(int fd)
{
    struct stat st;

    return fstat(fd, &st) ? 0 : st.st_ino;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Show [start, end) of the file, or nothing, where mapping m has it. */
static int show(const struct mapping *m, uint64_t start, uint64_t end, bool nothing)
{
    void *at = (void *)(m->start + (start - m->offset));
    int fd = nothing ? registry.empty_fd : m->gmem->fd;

    if (mmap(at, end - start, m->prot, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, start) ==
        MAP_FAILED)
        return -errno;
    return 0;
}

/*
 * For each run in [start, end) of the file whose recorded state is not
 * to_private, in order: show it as to_private asks (or, with undo, as recorded).
 * *done counts; stops before it exceeds limit.
 */
static int show_runs(const struct mapping *m, uint64_t start, uint64_t end, bool to_private,
                     bool undo, size_t limit, size_t *done)
{
    while (start < end && *done < limit) {
        uint64_t run_end;
        bool is_private = attr_map_run(m->gmem->private_pages, start / GUEST_PAGE_SIZE, &run_end);
        uint64_t stop = min_u64(run_end * GUEST_PAGE_SIZE, end);

        if (is_private != to_private) {
            int ret = undo ? 0 : hook_fails(HOOK_MAPPING);

            if (!ret)
                ret = show(m, start, stop, undo ? is_private : to_private);

            if (ret)
                return ret;
            ++*done;
        }
        start = stop;
    }
    return 0;
}

static int show_in_all(struct guest_memfd *gmem, uint64_t offset, uint64_t size, bool to_private,
                       bool undo, size_t limit, size_t *done)
{
    int ret = 0;

    *done = 0;
    for (const struct mapping *m = registry.mappings; m && !ret; m = m->next) {
        if (m->gmem == gmem)
            ret = show_runs(m, max_u64(offset, m->offset),
                            min_u64(offset + size, m->offset + m->length), to_private, undo,
                            limit, done);
    }
    return ret;
}

/* All or nothing. */
static int try_convert(struct guest_memfd *gmem, uint64_t offset, uint64_t size, bool to_private)
{
    size_t done, undone;
    int ret = show_in_all(gmem, offset, size, to_private, false, SIZE_MAX, &done);

    if (ret) {
        ballast_drop();
        show_in_all(gmem, offset, size, to_private, true, done, &undone);
    }
    return ret;
}

/* Under registry.lock; private_pages is reserved for. */
static int convert(struct guest_memfd *gmem, uint64_t offset, uint64_t size, bool to_private)
{
    int ret = try_convert(gmem, offset, size, to_private);

    /* To shared mostly joins mappings: with the ballast gone it may work. */
    if (ret && !to_private)
        ret = try_convert(gmem, offset, size, to_private);
    ballast_take();
    return ret;
}

static void record(struct guest_memfd *gmem, const struct gmem_change *change)
{
    attr_map_set(gmem->private_pages, change->offset / GUEST_PAGE_SIZE,
                 change->size / GUEST_PAGE_SIZE, change->to_private);
}

int gmem_mapping_convert(struct guest_memfd *gmem, uint64_t offset, uint64_t size, bool to_private)
{
    const struct gmem_change change = { gmem->id, offset, size, to_private };
    int ret;

    pthread_mutex_lock(&registry.lock);
    ret = convert(gmem, offset, size, to_private);
    if (!ret) {
        gmem_children_tell(&change);
        record(gmem, &change);
    }
    pthread_mutex_unlock(&registry.lock);
    return ret;
}

static bool is_in_place(const struct mapping *m)
{
    return m->gmem->vm->options.gmem_in_place_conversion;
}

static bool is_inherited(const struct mapping *m)
{
    return m->generation != fork_generation();
}

/* Where a page can't be taken out of what a child inherited, all of it goes. gmem NULL: any. */
static void hide_inherited(const struct guest_memfd *gmem)
{
    bool empty = gmem_file_inode(registry.empty_fd) == registry.empty_inode;

    for (const struct mapping *m = registry.mappings; m; m = m->next) {
        if (!is_inherited(m) || !is_in_place(m) || (gmem && m->gmem != gmem))
            continue;
        if (!empty || show(m, m->offset, m->offset + m->length, true))
            mprotect((void *)m->start, m->length, PROT_NONE);
    }
}

/* NULL: this process has none of the file that it inherited so. */
static struct guest_memfd *inherited_file(uint64_t id)
{
    for (const struct mapping *m = registry.mappings; m; m = m->next) {
        if (m->gmem->id == id && is_inherited(m))
            return m->gmem;
    }
    return NULL;
}

/* In a child, on its own thread: the files' descriptors may have been closed meanwhile. */
static void parent_changes(const struct gmem_change *change)
{
    struct guest_memfd *gmem;

    pthread_mutex_lock(&registry.lock);
    gmem = change ? inherited_file(change->id) : NULL;
    if (!change) {
        hide_inherited(NULL);
    } else if (gmem) {
        if (attr_map_reserve(gmem->private_pages, 1, 1) ||
            gmem_file_inode(registry.empty_fd) != registry.empty_inode ||
            gmem_file_inode(gmem->fd) != gmem->inode ||
            convert(gmem, change->offset, change->size, change->to_private))
            hide_inherited(gmem);
        gmem_children_tell(change);
        record(gmem, change);
    }
    pthread_mutex_unlock(&registry.lock);
}

/*
 * Cut [start, start + length) out of the registry.  spare: what a mapping that
 * is cut in the middle needs for its other end, taken if used.  Mappings that
 * vanish are returned in a list.
 */
static struct mapping *cut_out(uintptr_t start, size_t length, struct mapping **spare)
{
    struct mapping **link = &registry.mappings, *gone = NULL, *m;
    uintptr_t end = start + length;

    while ((m = *link)) {
        uintptr_t m_end = m->start + m->length;

        if (m_end <= start || m->start >= end) {
            link = &m->next;
        } else if (m->start >= start && m_end <= end) {
            __atomic_store_n(link, m->next, __ATOMIC_RELAXED);
            m->next = gone;
            gone = m;
        } else if (m->start < start && m_end > end) {
            struct mapping *tail = *spare;

            *spare = NULL;
            *tail = *m;
            tail->start = end;
            tail->length = m_end - end;
            tail->offset = m->offset + (end - m->start);
            m->next = tail;
            m->length = start - m->start;
            __atomic_add_fetch(&m->gmem->refs, 1, __ATOMIC_RELAXED);
            link = &tail->next;
        } else if (m->start < start) {
            m->length = start - m->start;
            link = &m->next;
        } else {
            m->offset += end - m->start;
            m->start = end;
            m->length = m_end - end;
            link = &m->next;
        }
    }
    return gone;
}

static void put_all(struct mapping *gone)
{
    while (gone) {
        struct mapping *m = gone;

        gone = m->next;
        /* A child has no VM that its parent's file could be taken out of. */
        if (m->generation == fork_generation())
            guest_memfd_put(m->gmem);
        free(m);
    }
}

bool gmem_mapping_any(void)
{
    return __atomic_load_n(&registry.mappings, __ATOMIC_RELAXED);
}

int gmem_mapping_remove(void *addr, size_t length)
{
    struct mapping *spare = malloc(sizeof(*spare)), *gone = NULL;
    int ret = 0;

    if (!spare)
        return -ENOMEM;
    length = (length + GUEST_PAGE_SIZE - 1) & ~(size_t)(GUEST_PAGE_SIZE - 1);
    pthread_mutex_lock(&registry.lock);
    if (munmap(addr, length))
        ret = -errno;
    else
        gone = cut_out((uintptr_t)addr, length, &spare);
    pthread_mutex_unlock(&registry.lock);
    free(spare);
    put_all(gone);
    return ret;
}

static unsigned forking_generation;     /* under registry.lock */

static void fork_prepare(void)
{
    bool any = false;

    pthread_mutex_lock(&registry.lock);
    forking_generation = fork_generation();
    for (const struct mapping *m = registry.mappings; m && !any; m = m->next)
        any = is_in_place(m);
    gmem_children_prepare(any);
}

static void fork_done(void)
{
    bool is_child = forking_generation != fork_generation();

    pthread_mutex_unlock(&registry.lock);
    if (is_child)
        gmem_children_watch(parent_changes);
}

static void watch_forks(void)
{
    fork_guard_add(fork_prepare, fork_done);
}

/* Under registry.lock. */
static int empty_file(void)
{
    if (registry.empty_fd < 0)
        registry.empty_fd = memfd_create("kvm-gmem-private", MFD_CLOEXEC);
    if (registry.empty_fd < 0)
        return -errno;
    registry.empty_inode = gmem_file_inode(registry.empty_fd);
    ballast_take();
    return 0;
}

/* The new mapping's private pages; the registry does not have it yet. */
static int hide_private(const struct mapping *m)
{
    for (uint64_t at = m->offset, end = min_u64(m->offset + m->length, m->gmem->size); at < end;) {
        uint64_t run_end;
        bool hide = attr_map_run(m->gmem->private_pages, at / GUEST_PAGE_SIZE, &run_end);
        uint64_t stop = min_u64(run_end * GUEST_PAGE_SIZE, end);
        int ret = hide ? show(m, at, stop, true) : 0;

        if (ret)
            return ret;
        at = stop;
    }
    return 0;
}

int gmem_mapping_add(struct guest_memfd *gmem, void *addr, size_t length, int prot, int flags,
                     off_t offset, void **ret)
{
    struct mapping *m = malloc(sizeof(*m)), *spare = malloc(sizeof(*spare)), *gone = NULL;
    void *at = MAP_FAILED;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int error = m && spare ? 0 : -ENOMEM;

    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&gmem->vm->lock);
    pthread_mutex_lock(&registry.lock);
    if (!error)
        error = empty_file();
    if (!error) {
        at = mmap(addr, length, prot, flags, gmem->fd, offset);
        error = at == MAP_FAILED ? -errno : 0;
    }
    if (!error) {
        length = (length + GUEST_PAGE_SIZE - 1) & ~(size_t)(GUEST_PAGE_SIZE - 1);
        gone = cut_out((uintptr_t)at, length, &spare);  /* MAP_FIXED over older ones */
        *m = (struct mapping){ .gmem = gmem, .start = (uintptr_t)at, .length = length,
                               .offset = offset, .prot = prot,
                               .generation = fork_generation() };
        error = hide_private(m);
        if (error)
            munmap(at, length);
    }
    if (!error) {
        __atomic_add_fetch(&gmem->refs, 1, __ATOMIC_RELAXED);
        m->next = registry.mappings;
        __atomic_store_n(&registry.mappings, m, __ATOMIC_RELAXED);
        *ret = at;
        m = NULL;
    }
    pthread_mutex_unlock(&registry.lock);
    pthread_mutex_unlock(&gmem->vm->lock);
    free(m);
    free(spare);
    put_all(gone);
    return error;
}
