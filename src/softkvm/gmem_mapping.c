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

static size_t whole_pages(size_t length)
{
    return (length + GUEST_PAGE_SIZE - 1) & ~(size_t)(GUEST_PAGE_SIZE - 1);
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
    length = whole_pages(length);
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
        length = whole_pages(length);
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

/* What mremap(2) is asked for, in whole pages. */
struct move {
    uintptr_t old, new;         /* new: with MREMAP_FIXED, else a wish or 0 */
    size_t old_length, new_length;
    int flags;
};

static bool overlaps(uintptr_t a, size_t a_length, uintptr_t b, size_t b_length)
{
    return a < b + b_length && b < a + a_length;
}

/* Who has (part of) the range; 0 bytes are the one at start. */
static struct mapping *find_part(uintptr_t start, size_t length)
{
    struct mapping *m = registry.mappings;

    while (m && !overlaps(m->start, m->length, start, length ? length : 1))
        m = m->next;
    return m;
}

/* Whether n goes on where m ends, as one mapping would; the kernel joins such ones. */
static bool continues(const struct mapping *m, const struct mapping *n)
{
    return n->gmem == m->gmem && n->start == m->start + m->length &&
           n->offset == m->offset + m->length && n->prot == m->prot &&
           n->generation == m->generation;
}

/* Add to m what continues it; returns what that was. */
static struct mapping *join(struct mapping *m)
{
    struct mapping **link = &registry.mappings, *gone = NULL, *n;

    while ((n = *link)) {
        if (!continues(m, n)) {
            link = &n->next;
            continue;
        }
        m->length += n->length;
        __atomic_store_n(link, n->next, __ATOMIC_RELAXED);
        n->next = gone;
        gone = n;
        link = &registry.mappings;
    }
    return gone;
}

static bool has_whole(const struct mapping *m, uintptr_t start, size_t length)
{
    return m->start <= start && length <= m->length && start - m->start <= m->length - length;
}

static int move_flags(const struct move *move)
{
    bool fixed = move->flags & MREMAP_FIXED, keep = move->flags & MREMAP_DONTUNMAP;

    if (move->flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) ||
        ((fixed || keep) && !(move->flags & MREMAP_MAYMOVE)) ||
        (keep && move->old_length != move->new_length) || !move->new_length ||
        move->old % GUEST_PAGE_SIZE || (!move->old_length && !(move->flags & MREMAP_MAYMOVE)))
        return -EINVAL;
    if (fixed && (move->new % GUEST_PAGE_SIZE ||
                  overlaps(move->old, move->old_length, move->new, move->new_length)))
        return -EINVAL;
    return 0;
}

/* More of the file behind the mapping's end, where nothing else is. */
static int grow(struct mapping *m, size_t by)
{
    struct mapping more = *m;
    void *at;
    int ret;

    more.start += m->length;
    more.offset += m->length;
    more.length = by;
    at = mmap((void *)more.start, by, m->prot, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
              m->gmem->fd, more.offset);
    if (at == MAP_FAILED)
        return -ENOMEM;
    ret = at == (void *)more.start ? hide_private(&more) : -ENOMEM;
    if (ret)
        munmap(at, by);
    else
        m->length += by;
    return ret;
}

/* A copy of m, with a reference of its own. */
static void copy_mapping(struct mapping *copy, const struct mapping *m)
{
    *copy = *m;
    if (!is_inherited(m))
        __atomic_add_fetch(&m->gmem->refs, 1, __ATOMIC_RELAXED);
}

/*
 * m's range elsewhere, then away from here.  To the kernel a file whose pages
 * are partly private is many mappings, which it wouldn't move together.
 * spare: three; what isn't used any more is returned.
 */
static int move_away(const struct mapping *m, const struct move *move, struct mapping **spare,
                     struct mapping **gone, void **ret)
{
    int flags = MAP_SHARED | MAP_NORESERVE | (move->flags & MREMAP_FIXED ? MAP_FIXED : 0), error;
    struct mapping *new = spare[0];
    void *at;

    copy_mapping(new, m);
    new->offset += move->old - m->start;
    new->length = move->new_length;
    at = mmap((void *)move->new, new->length, new->prot, flags, new->gmem->fd, new->offset);
    error = at == MAP_FAILED ? -errno : 0;
    new->start = (uintptr_t)at;
    if (!error) {
        gone[0] = cut_out(new->start, new->length, &spare[1]);
        error = hide_private(new);
        if (error)
            munmap(at, new->length);
    }
    spare[0] = NULL;
    if (error) {
        new->next = NULL;
        gone[1] = new;
        return error;
    }
    if (move->old_length && !(move->flags & MREMAP_DONTUNMAP)) {
        munmap((void *)move->old, move->old_length);
        gone[1] = cut_out(move->old, move->old_length, &spare[2]);
    }
    new->next = registry.mappings;
    __atomic_store_n(&registry.mappings, new, __ATOMIC_RELAXED);
    *ret = at;
    return 0;
}

/* Of a range that m has all of. */
static int move_mapping(struct mapping *m, const struct move *move, struct mapping **spare,
                        struct mapping **gone, void **ret)
{
    bool stays = move->old_length && !(move->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP));
    uintptr_t old_end = move->old + move->old_length;

    *ret = (void *)move->old;
    if (stays && move->new_length <= move->old_length) {
        size_t less = move->old_length - move->new_length;

        if (less && munmap((void *)(old_end - less), less))
            return -errno;
        if (less)
            gone[0] = cut_out(old_end - less, less, &spare[0]);
        return 0;
    }
    if (stays && old_end == m->start + m->length && !grow(m, move->new_length - move->old_length))
        return 0;
    return move->flags & MREMAP_MAYMOVE ? move_away(m, move, spare, gone, ret) : -ENOMEM;
}

/* What isn't the registry's, but may replace something that is. */
static int move_foreign(const struct move *move, struct mapping **spare, struct mapping **gone,
                        void **ret)
{
    void *at = mremap((void *)move->old, move->old_length, move->new_length, move->flags,
                      (void *)move->new);

    if (at == MAP_FAILED)
        return -errno;
    gone[0] = cut_out((uintptr_t)at, move->new_length, &spare[0]);
    *ret = at;
    return 0;
}

/* The file's VM, for its lock, which comes first; NULL: there is none to lock. */
static struct guest_memfd *file_of(uintptr_t start, size_t length)
{
    struct guest_memfd *gmem = NULL;
    struct mapping *m;

    pthread_mutex_lock(&registry.lock);
    m = find_part(start, length);
    if (m && !is_inherited(m)) {
        gmem = m->gmem;
        __atomic_add_fetch(&gmem->refs, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&registry.lock);
    return gmem;
}

int gmem_mapping_move(void *old, size_t old_length, size_t new_length, int flags, void *new,
                      void **ret)
{
    struct move move = { (uintptr_t)old, (uintptr_t)new, whole_pages(old_length),
                         whole_pages(new_length), flags };
    struct mapping *spare[3], *gone[3] = { NULL, NULL, NULL }, *m;
    struct guest_memfd *gmem = file_of(move.old, move.old_length);
    int error = 0;

    for (int i = 0; i < 3; i++) {
        spare[i] = malloc(sizeof(*spare[i]));
        if (!spare[i])
            error = -ENOMEM;
    }
    if (gmem)
        pthread_mutex_lock(&gmem->vm->lock);
    pthread_mutex_lock(&registry.lock);
    m = find_part(move.old, move.old_length);
    if (!error && !m)
        error = move_foreign(&move, spare, gone, ret);
    else if (!error)
        error = move_flags(&move);
    if (!error && m) {
        struct mapping *first = find_part(move.old, 1);

        m = first ? first : m;
        gone[2] = join(m);
        /* Another file than a moment ago: the caller's threads don't know what they do. */
        error = !has_whole(m, move.old, move.old_length) ||
                        (!is_inherited(m) && m->gmem != gmem) ? -EFAULT :
                move_mapping(m, &move, spare, gone, ret);
    }
    pthread_mutex_unlock(&registry.lock);
    if (gmem) {
        pthread_mutex_unlock(&gmem->vm->lock);
        guest_memfd_put(gmem);
    }
    for (int i = 0; i < 3; i++) {
        free(spare[i]);
        put_all(gone[i]);
    }
    return error;
}

/* Two mappings of one that has both sides of the address. */
static void split_at(uintptr_t at, struct mapping **spare)
{
    struct mapping *m = find_part(at, 1), *tail = *spare;

    if (!m || m->start == at)
        return;
    *spare = NULL;
    copy_mapping(tail, m);
    tail->start = at;
    tail->offset += at - m->start;
    tail->length -= at - m->start;
    m->length = at - m->start;
    m->next = tail;
}

int gmem_mapping_protect(void *addr, size_t length, int prot)
{
    uintptr_t start = (uintptr_t)addr;
    struct mapping *spare[2] = { malloc(sizeof(**spare)), malloc(sizeof(**spare)) };
    int ret = spare[0] && spare[1] ? 0 : -ENOMEM;

    length = whole_pages(length);
    pthread_mutex_lock(&registry.lock);
    if (!ret && length && prot & PROT_EXEC && find_part(start, length))
        ret = -EACCES;
    if (!ret && mprotect(addr, length, prot))
        ret = -errno;
    if (!ret && length) {
        split_at(start, &spare[0]);
        split_at(start + length, &spare[1]);
        for (struct mapping *m = registry.mappings; m; m = m->next) {
            if (overlaps(m->start, m->length, start, length))
                m->prot = prot;
        }
    }
    pthread_mutex_unlock(&registry.lock);
    free(spare[0]);
    free(spare[1]);
    return ret;
}

bool gmem_mapping_has(const void *addr, size_t length)
{
    bool has;

    pthread_mutex_lock(&registry.lock);
    has = find_part((uintptr_t)addr, length);
    pthread_mutex_unlock(&registry.lock);
    return has;
}
