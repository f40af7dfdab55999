/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From loaded to private: docs/memory.md, "Loading a protected VM".
 *
 * In place, the loaded pages themselves become private.  With two backings the
 * content lies in the shared one, and only the guest can write the other: it
 * copies what was loaded (guest_copy.c), then the shared copies are freed.  With
 * SEV its firmware encrypts what was loaded where it is (encrypted.c).
 */
#include "error.h"
#include "memory_internal.h"
#include "range.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* A hole of zeroes up to this many pages is copied with its surroundings: fewer pieces. */
enum { MAX_HOLE = 16 };

static bool page_is_zero(const char *page)
{
    return page[0] == 0 && memcmp(page, page + 1, GUEST_PAGE_SIZE - 1) == 0;
}

static void append_page(GArray *copies, char *host, uint64_t gpa)
{
    struct guest_copy *last = copies->len ? &g_array_index(copies, struct guest_copy,
                                                           copies->len - 1) : NULL;
    struct guest_copy copy = { .host = host, .gpa = gpa, .size = GUEST_PAGE_SIZE };

    if (last && gpa >= last->gpa && host == (char *)last->host + (gpa - last->gpa) &&
        gpa - (last->gpa + last->size) <= MAX_HOLE * GUEST_PAGE_SIZE)
        last->size = gpa - last->gpa + GUEST_PAGE_SIZE;
    else
        g_array_append_val(copies, copy);
}

/* A guest_memfd's pages are zero already, so are those that the guest needn't copy. */
static void collect_loaded(const struct mapping *map, GArray *copies)
{
    const struct ram_block *block = map->block;
    uint64_t page = map->offset / GUEST_PAGE_SIZE;
    uint64_t end = (map->offset + map->size) / GUEST_PAGE_SIZE;

    while (page < end) {
        uint64_t next;
        bool loaded = attr_map_run(block->loaded_pages, page, &next);

        next = MIN(next, end);
        for (; loaded && page < next; page++) {
            char *host = (char *)block->host + page * GUEST_PAGE_SIZE;

            if (!page_is_zero(host))
                append_page(copies, host, map->gpa + page * GUEST_PAGE_SIZE - map->offset);
        }
        page = next;
    }
}

static bool make_all_private(struct memory *mem, GError **error)
{
    for (guint i = 0; i < mem->mappings->len; i++) {
        const struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);
        uint64_t gpa = map->gpa;
        int ret;

        if (!map->block->private_pages)
            continue;
        ret = memory_convert_own(mem, CONVERSION_LAUNCH, map->gpa, map->size, true, &gpa);
        if (ret) {
            error_set_errno(error, ret, "memory '%s' at 0x%" PRIx64 " can't be made private",
                            map->block->name, gpa);
            return false;
        }
    }
    return true;
}

/* What isn't mapped yet, as it is under a ROM, is encrypted like all RAM when it is. */
static bool record_unmapped(struct memory *mem, GError **error)
{
    for (guint i = 0; i < mem->blocks->len; i++) {
        struct ram_block *block = g_ptr_array_index(mem->blocks, i);

        if (block->private_pages &&
            attr_map_set(block->private_pages, 0, block->size / GUEST_PAGE_SIZE, true) != 0) {
            error_set_errno(error, ENOMEM, "attribute map of '%s'", block->name);
            return false;
        }
    }
    return true;
}

bool memory_relaunch(struct memory *mem, GError **error)
{
    bool ok;

    pthread_mutex_lock(&mem->lock);
    mem->guest_tells = false;
    ok = make_all_private(mem, error) && record_unmapped(mem, error);
    pthread_mutex_unlock(&mem->lock);
    return ok;
}

static void free_shared_copies(struct memory *mem)
{
    for (guint i = 0; i < mem->blocks->len; i++) {
        struct ram_block *block = g_ptr_array_index(mem->blocks, i);

        if (!block->loaded_pages)
            continue;
        if (ram_block_discard_copy(block, 0, block->size, true) != 0)
            mem->counters.failed_discards++;
        attr_map_set(block->loaded_pages, 0, block->size / GUEST_PAGE_SIZE, false);
    }
}

static bool launch_locked(struct memory *mem, struct kvm_vcpu *vcpu0, GError **error)
{
    g_autoptr(GArray) copies = g_array_new(FALSE, FALSE, sizeof(struct guest_copy));
    bool encrypted = mem->vm->regime == KVM_ATTRIBUTES_ENCRYPTED;
    const char *what = NULL;
    int ret = 0;

    for (guint i = 0; i < mem->mappings->len && !encrypted; i++) {
        const struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);

        if (map->block->loaded_pages)
            collect_loaded(map, copies);
    }
    if (encrypted && !memory_encrypt_loaded(mem, error))
        return false;
    if (!make_all_private(mem, error) || (encrypted && !record_unmapped(mem, error)))
        return false;
    if (copies->len)
        ret = guest_copy_run(mem, vcpu0, copies, &what);
    if (ret) {
        error_set_errno(error, ret, "loading private memory by the guest's own copy: %s", what);
        return false;
    }
    free_shared_copies(mem);
    mem->launched = true;
    ret = mem->listeners_away ? listeners_return(mem) : 0;
    if (ret)
        error_set_errno(error, ret, "the guest's memory is refused by a device");
    return ret == 0;
}

bool memory_launch(struct memory *mem, struct kvm_vcpu *vcpu0, GError **error)
{
    bool ok;

    pthread_mutex_lock(&mem->lock);
    mem->launches = true;
    ok = launch_locked(mem, vcpu0, error);
    pthread_mutex_unlock(&mem->lock);
    return ok;
}
