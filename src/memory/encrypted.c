/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LAUNCH_UPDATE_DATA and LAUNCH_SECRET by guest-physical address.  The order in which
 * pieces are encrypted is that of the measurement, so it depends on nothing but what
 * was asked for: pieces of memory_encrypt() one after another, then all loaded pages by
 * ascending address.
 */
#include "encrypted.h"

#include "error.h"
#include "memory_internal.h"
#include "range.h"
#include "sev_client.h"
#include "trace.h"

#include <errno.h>
#include <inttypes.h>

void error_set_sev(GError **error, int ret, uint32_t fw, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    if (ret == -EIO)
        error_set(error, "%s: SEV's firmware says %u: %s", what, fw, kvm_sev_error_text(fw));
    else
        error_set_errno(error, ret, "%s", what);
}

static int encrypt(const struct mapping *map, uint64_t gpa, uint64_t size, uint32_t *fw)
{
    uint64_t offset = map->offset + (gpa - map->gpa);

    trace(TRACE_SEV_LAUNCH_UPDATE, "gpa=0x%" PRIx64 " size=0x%" PRIx64, gpa, size);
    return kvm_sev_launch_update(map->block->mem->vm, (char *)map->block->host + offset, size, fw);
}

static bool encrypt_piece(struct memory *mem, uint64_t gpa, uint64_t size, GError **error)
{
    const struct mapping *map = mapping_find(mem, gpa);
    uint64_t first, pages;
    uint32_t fw;
    int ret;

    if (!map || size > mapping_end(map) - gpa) {
        error_set(error, "0x%" PRIx64 "+0x%" PRIx64 " is not in one piece of RAM", gpa, size);
        return false;
    }
    ret = encrypt(map, gpa, size, &fw);
    if (ret) {
        error_set_sev(error, ret, fw, "0x%" PRIx64 "+0x%" PRIx64 " can't be encrypted", gpa, size);
        return false;
    }
    if (!map->block->loaded_pages)
        return true;
    /* Cipher text now: it isn't to be encrypted again with what else was loaded. */
    first = (map->offset + (gpa - map->gpa)) / GUEST_PAGE_SIZE;
    pages = (gpa % GUEST_PAGE_SIZE + size + GUEST_PAGE_SIZE - 1) / GUEST_PAGE_SIZE;
    return attr_map_set(map->block->loaded_pages, first, pages, false) == 0;
}

bool memory_encrypt(struct memory *mem, uint64_t gpa, uint64_t size, GError **error)
{
    bool ok;

    pthread_mutex_lock(&mem->lock);
    ok = encrypt_piece(mem, gpa, size, error);
    pthread_mutex_unlock(&mem->lock);
    return ok;
}

static bool encrypt_mapping(const struct mapping *map, GError **error)
{
    uint64_t page = map->offset / GUEST_PAGE_SIZE;
    uint64_t end = (map->offset + map->size) / GUEST_PAGE_SIZE;

    while (page < end) {
        uint64_t next, gpa = map->gpa + page * GUEST_PAGE_SIZE - map->offset;
        bool loaded = attr_map_run(map->block->loaded_pages, page, &next);
        uint32_t fw = 0;
        int ret = 0;

        next = MIN(next, end);
        if (loaded)
            ret = encrypt(map, gpa, (next - page) * GUEST_PAGE_SIZE, &fw);
        if (ret) {
            error_set_sev(error, ret, fw, "what is loaded at 0x%" PRIx64 " can't be encrypted",
                          gpa);
            return false;
        }
        page = next;
    }
    return true;
}

bool memory_encrypt_loaded(struct memory *mem, GError **error)
{
    for (guint i = 0; i < mem->mappings->len; i++) {
        const struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);

        if (map->block->loaded_pages && !encrypt_mapping(map, error))
            return false;
    }
    return true;
}

bool memory_inject_secret(struct memory *mem, uint64_t gpa, GBytes *header, GBytes *data,
                          GError **error)
{
    gsize header_size, size;
    const void *packet = g_bytes_get_data(header, &header_size);
    const void *bytes = g_bytes_get_data(data, &size);
    const struct mapping *map;
    uint32_t fw = 0;
    int ret = -ERANGE;

    pthread_mutex_lock(&mem->lock);
    map = mapping_find(mem, gpa);
    if (map && !map->readonly && size <= mapping_end(map) - gpa)
        ret = kvm_sev_launch_secret(mem->vm, (char *)map->block->host + map->offset +
                                    (gpa - map->gpa), packet, (uint32_t)header_size, bytes,
                                    (uint32_t)size, &fw);
    pthread_mutex_unlock(&mem->lock);
    if (ret == -ERANGE)
        error_set(error, "0x%" PRIx64 "+0x%zx is not in one piece of RAM", gpa, size);
    else if (ret)
        error_set_sev(error, ret, fw, "failed to inject secret");
    return ret == 0;
}

/* --- Blocks --- */

/* The guest's pages may not move: the cipher text depends on where they are. */
bool ram_block_pin(struct ram_block *block, GError **error)
{
    int ret = kvm_sev_register(block->mem->vm, block->host, block->size);

    block->pinned = ret == 0;
    if (ret == -ENOMEM)
        error_set(error, "memory '%s' can't be pinned for SEV: more with `ulimit -l`, or less "
                  "memory", block->name);
    else if (ret)
        error_set_errno(error, ret, "memory '%s' can't be pinned for SEV", block->name);
    return ret == 0;
}

void ram_block_unpin(struct ram_block *block)
{
    if (block->pinned)
        kvm_sev_unregister(block->mem->vm, block->host, block->size);
}
