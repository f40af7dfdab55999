/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "debug_memory.h"

#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* --- Looking --- */

static struct memory_piece look_locked(struct memory *mem, uint64_t gpa, uint64_t size)
{
    const struct mapping *map = mapping_at_or_after(mem, gpa);
    struct memory_piece piece = { .state = MEMORY_NOTHING, .size = size };
    const struct attr_map *maps[RAM_DISCARD_MAX_SOURCES];
    uint64_t page, end, run_end;
    unsigned nr_maps;

    if (!map)
        return piece;
    if (map->gpa > gpa) {
        piece.size = MIN(size, map->gpa - gpa);
        return piece;
    }
    piece.block = map->block;
    piece.offset = map->offset + (gpa - map->gpa);
    piece.state = MEMORY_SHARED;
    page = piece.offset / GUEST_PAGE_SIZE;
    end = (map->offset + map->size) / GUEST_PAGE_SIZE;
    if (map->block->private_pages) {
        if (attr_map_run(map->block->private_pages, page, &run_end))
            piece.state = MEMORY_PRIVATE;
        end = MIN(end, run_end);
    }
    nr_maps = ram_block_maps(map->block, map->block->private_pages, maps);
    for (unsigned i = 0; i < nr_maps; i++) {
        if (attr_map_run(maps[i], page, &run_end))
            piece.state = MEMORY_ABSENT;
        end = MIN(end, run_end);
    }
    piece.size = MIN(size, end * GUEST_PAGE_SIZE - piece.offset);
    return piece;
}

struct memory_piece memory_look(struct memory *mem, uint64_t gpa, uint64_t size)
{
    struct memory_piece piece;

    pthread_mutex_lock(&mem->lock);
    piece = look_locked(mem, gpa, size);
    pthread_mutex_unlock(&mem->lock);
    return piece;
}

/* --- Copying --- */

static void copy(char *host, void *buf, uint64_t size, bool write)
{
    memory_copy_words(write ? host : buf, write ? buf : host, size);
}

static bool is_ram(enum memory_state state)
{
    return state == MEMORY_SHARED || state == MEMORY_PRIVATE;
}

static uint64_t copy_through_host(struct memory *mem, uint64_t gpa, void *buf, uint64_t size,
                                  bool write, bool any)
{
    uint64_t done = 0;

    /* The lock is what keeps a page shared while it is copied. */
    pthread_mutex_lock(&mem->lock);
    while (done < size) {
        struct memory_piece piece = look_locked(mem, gpa + done, size - done);

        if (any ? !is_ram(piece.state) : piece.state != MEMORY_SHARED)
            break;
        if (write && !mem->launched &&
            !ram_block_mark_loaded_locked(piece.block, piece.offset, piece.size))
            break;
        copy((char *)piece.block->host + piece.offset, (char *)buf + done, piece.size, write);
        done += piece.size;
    }
    pthread_mutex_unlock(&mem->lock);
    return done;
}

uint64_t memory_copy_shared(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    return copy_through_host(mem, gpa, buf, size, write, false);
}

uint64_t memory_copy_host(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write)
{
    return copy_through_host(mem, gpa, buf, size, write, true);
}

int memory_with_host(struct memory *mem, uint64_t gpa, uint64_t size, bool private_only,
                     memory_host_fn fn, void *opaque)
{
    struct memory_piece piece;
    int ret = -EFAULT;

    pthread_mutex_lock(&mem->lock);
    piece = look_locked(mem, gpa, size);
    if (is_ram(piece.state) && (!private_only || piece.state == MEMORY_PRIVATE) &&
        piece.size == size)
        ret = fn(opaque, (char *)piece.block->host + piece.offset, size);
    pthread_mutex_unlock(&mem->lock);
    return ret;
}

static int copy_in_place(struct memory *mem, const struct memory_piece *piece, uint64_t gpa,
                         void *buf, bool write, const char **ret_what)
{
    uint64_t start = gpa & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    uint64_t size = (gpa + piece->size - start + GUEST_PAGE_SIZE - 1) &
                    ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    int ret = memory_convert_own(mem, CONVERSION_DEBUG, start, size, false, NULL);

    *ret_what = "making it shared for the copy";
    if (ret)
        return ret;
    copy((char *)piece->block->host + piece->offset, buf, piece->size, write);
    *ret_what = "making it private again: it stays shared";
    return memory_convert_own(mem, CONVERSION_DEBUG, start, size, true, NULL);
}

static int guest_copies(struct memory *mem, struct kvm_vcpu *vcpu, void *bounce, uint64_t gpa,
                        uint64_t size, bool to_host, const char **ret_what)
{
    const struct guest_copy one = { bounce, gpa, size, to_host };
    g_autoptr(GArray) copies = g_array_new(FALSE, FALSE, sizeof(one));

    g_array_append_val(copies, one);
    return guest_copy_run(mem, vcpu, copies, ret_what);
}

static bool whole_pages(const void *buf, uint64_t size)
{
    return !(((uintptr_t)buf | size) & (GUEST_PAGE_SIZE - 1));
}

/* Words of 8 bytes, seen by the guest in a buffer of whole pages; the ends are kept on a write. */
static int copy_by_guest(struct memory *mem, struct kvm_vcpu *vcpu, uint64_t gpa, void *buf,
                         uint64_t size, bool write, const char **ret_what)
{
    uint64_t start = gpa & ~7ULL, words = (gpa + size - start + 7) & ~7ULL;
    uint64_t room = (words + GUEST_PAGE_SIZE - 1) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    bool whole = start == gpa && words == size;
    char *bounce;
    int ret = 0;

    /* Much at a time comes in such buffers: nothing is copied twice. */
    if (whole && whole_pages(buf, size))
        return guest_copies(mem, vcpu, buf, start, words, !write, ret_what);
    bounce = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *ret_what = "memory for the copy";
    if (bounce == MAP_FAILED)
        return -errno;
    if (!write || !whole)
        ret = guest_copies(mem, vcpu, bounce, start, words, true, ret_what);
    if (!ret && write) {
        memcpy(bounce + (gpa - start), buf, size);
        ret = guest_copies(mem, vcpu, bounce, start, words, false, ret_what);
    } else if (!ret) {
        memcpy(buf, bounce + (gpa - start), size);
    }
    munmap(bounce, room);
    return ret;
}

int memory_copy_private(struct memory *mem, struct kvm_vcpu *vcpu0, uint64_t gpa, void *buf,
                        uint64_t size, bool write, const char **ret_what)
{
    struct memory_piece piece;
    int ret = -EFAULT;

    *ret_what = "it isn't private any more";
    pthread_mutex_lock(&mem->lock);
    piece = look_locked(mem, gpa, size);
    if (piece.state == MEMORY_PRIVATE && piece.size == size) {
        if (piece.block->kind == BACKEND_IN_PLACE)
            ret = copy_in_place(mem, &piece, gpa, buf, write, ret_what);
        else
            ret = copy_by_guest(mem, vcpu0, gpa, buf, size, write, ret_what);
    }
    pthread_mutex_unlock(&mem->lock);
    return ret;
}
