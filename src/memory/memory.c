/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of one machine: its blocks, where they lie in guest-physical
 * memory (one KVM slot each), access to shared pages, reset.
 */
#include "error.h"
#include "memory_internal.h"
#include "range.h"
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct memory *memory_new(struct kvm_vm *vm)
{
    struct memory *mem = g_new0(struct memory, 1);

    mem->vm = vm;
    pthread_mutex_init(&mem->lock, NULL);
    mem->blocks = g_ptr_array_new_with_free_func((GDestroyNotify)ram_block_free);
    mem->mappings = g_array_new(FALSE, FALSE, sizeof(struct mapping));
    mem->smm_mappings = g_array_new(FALSE, FALSE, sizeof(struct mapping));
    return mem;
}

void memory_free(struct memory *mem)
{
    if (!mem)
        return;
    for (guint i = 0; i < mem->mappings->len; i++)
        mapping_delete_slot(mem, &g_array_index(mem->mappings, struct mapping, i));
    for (guint i = 0; i < mem->smm_mappings->len; i++)
        mapping_delete_slot(mem, &g_array_index(mem->smm_mappings, struct mapping, i));
    g_array_free(mem->mappings, TRUE);
    g_array_free(mem->smm_mappings, TRUE);
    g_ptr_array_free(mem->blocks, TRUE);
    g_free(mem->history);
    pthread_mutex_destroy(&mem->lock);
    g_free(mem);
}

struct kvm_vm *memory_vm(struct memory *mem)
{
    return mem->vm;
}

struct memory_counters memory_get_counters(struct memory *mem)
{
    struct memory_counters counters;

    pthread_mutex_lock(&mem->lock);
    counters = mem->counters;
    pthread_mutex_unlock(&mem->lock);
    return counters;
}

GPtrArray *memory_blocks(struct memory *mem)
{
    GPtrArray *list = g_ptr_array_new();

    pthread_mutex_lock(&mem->lock);
    for (guint i = 0; i < mem->blocks->len; i++)
        g_ptr_array_add(list, g_ptr_array_index(mem->blocks, i));
    pthread_mutex_unlock(&mem->lock);
    return list;
}

/* --- The guest-physical map --- */

uint64_t mapping_end(const struct mapping *map)
{
    return map->gpa + map->size;
}

static struct mapping *mapping_number(struct memory *mem, guint i)
{
    return &g_array_index(mem->mappings, struct mapping, i);
}

struct mapping *mapping_at_or_after(struct memory *mem, uint64_t gpa)
{
    for (guint i = 0; i < mem->mappings->len; i++) {
        struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);

        if (gpa < mapping_end(map))
            return map;
    }
    return NULL;
}

struct mapping *mapping_find(struct memory *mem, uint64_t gpa)
{
    struct mapping *map = mapping_at_or_after(mem, gpa);

    return map && map->gpa <= gpa ? map : NULL;
}

static bool slot_used(const GArray *mappings, uint32_t id)
{
    for (guint i = 0; i < mappings->len; i++) {
        if (g_array_index(mappings, struct mapping, i).slot == id)
            return true;
    }
    return false;
}

int memory_free_slot(struct memory *mem, uint32_t first)
{
    uint32_t id = first;

    while (slot_used(mem->mappings, id) || slot_used(mem->smm_mappings, id))
        id++;
    return id < (uint32_t)mem->vm->nr_memslots ? (int)id : -ENOSPC;
}

/* A slot's number has its address space in the upper half: 0, and 1 for SMM. */
enum { SPACE_SHIFT = 16, NR_SPACES = 2 };

static bool has_space(const struct memory *mem, const struct mapping *map, unsigned space)
{
    return space ? mem->smm : !map->smm_only;
}

int mapping_set_slot(struct memory *mem, struct mapping *map)
{
    struct kvm_slot slot = {
        .gpa = map->gpa, .size = map->size,
        .hva = (uint64_t)(uintptr_t)map->block->host + map->offset,
        .readonly = map->readonly,
        .guest_memfd = map->block->guest_memfd, .guest_memfd_offset = map->offset,
    };

    for (unsigned space = 0; space < NR_SPACES; space++) {
        int ret;

        if (map->in_space[space] || !has_space(mem, map, space))
            continue;
        slot.id = map->slot | space << SPACE_SHIFT;
        ret = kvm_vm_set_slot(mem->vm, &slot);
        if (ret) {
            mapping_delete_slot(mem, map);
            return ret;
        }
        map->in_space[space] = true;
    }
    return 0;
}

int mapping_delete_slot(struct memory *mem, struct mapping *map)
{
    for (unsigned space = 0; space < NR_SPACES; space++) {
        const struct kvm_slot slot = {
            .id = map->slot | space << SPACE_SHIFT, .guest_memfd = -1,
        };
        int ret = map->in_space[space] ? kvm_vm_set_slot(mem->vm, &slot) : 0;

        if (ret)
            return ret;
        map->in_space[space] = false;
    }
    return 0;
}

/* A guest_memfd's range can be bound once, and its attributes are those of one GPA. */
static bool is_mapped_elsewhere(struct memory *mem, const struct ram_block *block, uint64_t offset,
                                uint64_t size)
{
    for (guint i = 0; i < mem->mappings->len; i++) {
        const struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);

        if (map->block == block && ranges_overlap(map->offset, map->size, offset, size))
            return true;
    }
    return false;
}

static bool check_mapping(struct memory *mem, const struct mapping *map, GError **error)
{
    const struct mapping *next = mapping_at_or_after(mem, map->gpa);
    const char *wrong = NULL;

    if (!map->size || !is_aligned(map->gpa | map->size | map->offset, GUEST_PAGE_SIZE))
        wrong = "is empty or not made of whole pages";
    else if (range_wraps(map->gpa, map->size))
        wrong = "passes the end of the address space";
    else if (!range_within(map->offset, map->size, map->block->size))
        wrong = "is larger than its memory";
    else if (next && next->gpa < mapping_end(map))
        wrong = "overlaps other memory";
    else if (map->block->guest_memfd >= 0 &&
             is_mapped_elsewhere(mem, map->block, map->offset, map->size))
        wrong = "is there already at another address";
    else if (map->readonly && map->block->guest_memfd >= 0)
        wrong = "can't be read-only: KVM's slots with a guest_memfd are writable";
    if (wrong)
        error_set(error, "memory '%s' at 0x%" PRIx64 "+0x%" PRIx64 " %s", map->block->name,
                  map->gpa, map->size, wrong);
    return !wrong;
}

static bool map_locked(struct memory *mem, struct mapping *map, GError **error)
{
    guint i = 0;
    int ret;

    if (!check_mapping(mem, map, error))
        return false;
    ret = memory_free_slot(mem, 0);
    if (ret >= 0) {
        map->slot = (uint32_t)ret;
        ret = mapping_set_slot(mem, map);
    }
    if (ret < 0) {
        error_set_errno(error, ret, "memory '%s' at 0x%" PRIx64 "+0x%" PRIx64, map->block->name,
                        map->gpa, map->size);
        if (ret == -EOPNOTSUPP && mem->vm->sev)
            error_hint(error, "this KVM's SEV takes neither huge pages nor private mappings of "
                       "files: memory-backend-ram, or memory-backend-memfd without hugetlb");
        return false;
    }
    while (i < mem->mappings->len && g_array_index(mem->mappings, struct mapping, i).gpa < map->gpa)
        i++;
    g_array_insert_vals(mem->mappings, i, map, 1);
    ret = mapping_populate(map, false);
    if (ret) {
        mapping_delete_slot(mem, mapping_number(mem, i));
        g_array_remove_index(mem->mappings, i);
        error_set_errno(error, ret, "memory '%s' at 0x%" PRIx64 " is refused by a device",
                        map->block->name, map->gpa);
    }
    return ret == 0;
}

static bool map_checked(struct memory *mem, const struct mapping *wanted, GError **error)
{
    struct mapping map = *wanted;
    bool ok;

    pthread_mutex_lock(&mem->lock);
    ok = map_locked(mem, &map, error);
    pthread_mutex_unlock(&mem->lock);
    return ok;
}

bool memory_map(struct memory *mem, struct ram_block *block, uint64_t offset, uint64_t gpa,
                uint64_t size, GError **error)
{
    const struct mapping map = {
        .block = block, .gpa = gpa, .size = size, .offset = offset, .readonly = block->readonly,
    };

    return map_checked(mem, &map, error);
}

bool memory_map_readonly(struct memory *mem, struct ram_block *block, uint64_t offset,
                         uint64_t gpa, uint64_t size, GError **error)
{
    const struct mapping map = {
        .block = block, .gpa = gpa, .size = size, .offset = offset, .readonly = true,
    };

    return map_checked(mem, &map, error);
}

bool memory_unmap(struct memory *mem, uint64_t gpa, uint64_t size, GError **error)
{
    int ret = -ENOENT;

    pthread_mutex_lock(&mem->lock);
    for (guint i = 0; i < mem->mappings->len; i++) {
        struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);

        if (map->gpa == gpa && map->size == size) {
            mapping_discard(map);
            ret = mapping_delete_slot(mem, map);
            if (!ret)
                g_array_remove_index(mem->mappings, i);
            else if (mapping_set_slot(mem, map) || mapping_populate(map, true))
                mem->counters.failed_rollbacks++;
            break;
        }
    }
    pthread_mutex_unlock(&mem->lock);
    if (ret)
        error_set_errno(error, ret, "no memory to take away at 0x%" PRIx64 "+0x%" PRIx64, gpa,
                        size);
    return ret == 0;
}

/* --- System management mode --- */

bool memory_enable_smm(struct memory *mem)
{
    bool ok = kvm_vm_check_extension(mem->vm, KVM_CAP_X86_SMM) > 0 &&
              kvm_vm_check_extension(mem->vm, KVM_CAP_MULTI_ADDRESS_SPACE) > 1;

    pthread_mutex_lock(&mem->lock);
    mem->smm = ok;
    pthread_mutex_unlock(&mem->lock);
    return ok;
}

bool memory_map_smm(struct memory *mem, struct ram_block *block, uint64_t offset, uint64_t gpa,
                    uint64_t size, GError **error)
{
    struct mapping map = {
        .block = block, .gpa = gpa, .size = size, .offset = offset, .smm_only = true,
    };
    bool ok;
    int ret;

    pthread_mutex_lock(&mem->lock);
    ok = check_mapping(mem, &map, error);
    ret = ok ? memory_free_slot(mem, 0) : 0;
    if (ok && ret >= 0) {
        map.slot = (uint32_t)ret;
        ret = mapping_set_slot(mem, &map);
    }
    if (ok && ret < 0)
        error_set_errno(error, ret, "memory '%s' at 0x%" PRIx64 " for SMM", block->name, gpa);
    ok = ok && ret >= 0;
    if (ok)
        g_array_append_val(mem->smm_mappings, map);
    pthread_mutex_unlock(&mem->lock);
    return ok;
}

bool memory_unmap_smm(struct memory *mem, uint64_t gpa, uint64_t size, GError **error)
{
    int ret = -ENOENT;

    pthread_mutex_lock(&mem->lock);
    for (guint i = 0; i < mem->smm_mappings->len; i++) {
        struct mapping *map = &g_array_index(mem->smm_mappings, struct mapping, i);

        if (map->gpa == gpa && map->size == size) {
            ret = mapping_delete_slot(mem, map);
            if (!ret)
                g_array_remove_index(mem->smm_mappings, i);
            break;
        }
    }
    pthread_mutex_unlock(&mem->lock);
    if (ret)
        error_set_errno(error, ret, "no memory of SMM's at 0x%" PRIx64 "+0x%" PRIx64, gpa, size);
    return ret == 0;
}

/* --- Access to shared pages --- */

#if defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { COPY_STRING_FROM = 1024 };       /* bytes; fewer are as fast one by one */

/* Words by one instruction, where that is how to copy, and no sanitizer has to look into it. */
#if defined(__x86_64__) && !SANITIZED
#define COPY_BY_STRING 1
static void copy_string(void *to, const void *from, size_t words)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}
#else
#define COPY_BY_STRING 0
static void copy_string(void *to, const void *from, size_t words)
{
}
#endif

/*
 * Guest and device may touch the same bytes at the same time, as on a board:
 * word by word and relaxed, so that this is no data race to the compiler.
 */
void memory_copy_words(void *to, const void *from, size_t size)
{
    char *t = to;
    const char *f = from;

    while (size) {
        uintptr_t at = (uintptr_t)t | (uintptr_t)f;
        size_t n = 1;

        if (COPY_BY_STRING && size >= COPY_STRING_FROM && is_aligned(at, 8)) {
            n = size & ~(size_t)7;
            copy_string(t, f, n / 8);
        } else if (size >= 8 && is_aligned(at, 8)) {
            n = 8;
            __atomic_store_n((uint64_t *)t, __atomic_load_n((const uint64_t *)f, __ATOMIC_RELAXED),
                             __ATOMIC_RELAXED);
        } else if (size >= 4 && is_aligned(at, 4)) {
            n = 4;
            __atomic_store_n((uint32_t *)t, __atomic_load_n((const uint32_t *)f, __ATOMIC_RELAXED),
                             __ATOMIC_RELAXED);
        } else if (size >= 2 && is_aligned(at, 2)) {
            n = 2;
            __atomic_store_n((uint16_t *)t, __atomic_load_n((const uint16_t *)f, __ATOMIC_RELAXED),
                             __ATOMIC_RELAXED);
        } else {
            __atomic_store_n(t, __atomic_load_n(f, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        }
        t += n;
        f += n;
        size -= n;
    }
}

/*
 * A SEV guest that hasn't told anything yet, as firmware never does, may share what it likes:
 * devices then see what the host sees, which is cipher text where it doesn't.
 */
static bool sees_all(const struct memory *mem)
{
    return mem->vm->regime == KVM_ATTRIBUTES_ENCRYPTED && !mem->guest_tells;
}

/*
 * What of [gpa, gpa + size) can be copied in one go, 0: nothing; its host address
 * in *ret.  Private pages have no host address that may be touched, and unplugged
 * ones no memory that should be there.
 */
static uint64_t accessible(struct memory *mem, uint64_t gpa, uint64_t size, bool write, void **ret)
{
    const struct mapping *map = mapping_find(mem, gpa);
    uint64_t offset, end;

    if (!map || (write && map->readonly))
        return 0;
    offset = map->offset + (gpa - map->gpa);
    end = map->offset + map->size;
    if (!sees_all(mem))
        end = MIN(end, ram_block_populated_end(map->block, offset));
    if (end <= offset)
        return 0;
    size = MIN(size, end - offset);
    if (write && !mem->launched && !ram_block_mark_loaded_locked(map->block, offset, size))
        return 0;
    *ret = (char *)map->block->host + offset;
    return size;
}

static bool access_memory(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write,
                          uint64_t *ret_gpa)
{
    char *at = buf;

    /* The lock is what keeps a page shared while it is copied. */
    pthread_mutex_lock(&mem->lock);
    while (size) {
        void *host;
        uint64_t n = accessible(mem, gpa, size, write, &host);

        if (!n)
            break;
        memory_copy_words(write ? host : at, write ? at : host, n);
        at += n;
        gpa += n;
        size -= n;
    }
    if (size)
        mem->counters.refused_accesses++;
    pthread_mutex_unlock(&mem->lock);
    if (size)
        trace(TRACE_MEMORY_ACCESS_REFUSED, "gpa=0x%" PRIx64 " size=0x%" PRIx64 " %s", gpa, size,
              write ? "write" : "read");
    if (size && ret_gpa)
        *ret_gpa = gpa;
    return size == 0;
}

bool memory_read(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, uint64_t *ret_gpa)
{
    return access_memory(mem, gpa, buf, size, false, ret_gpa);
}

bool memory_write(struct memory *mem, uint64_t gpa, const void *buf, uint64_t size,
                  uint64_t *ret_gpa)
{
    return access_memory(mem, gpa, (void *)buf, size, true, ret_gpa);
}

uint64_t memory_ram_at(struct memory *mem, uint64_t gpa)
{
    const struct mapping *map;
    uint64_t size;

    pthread_mutex_lock(&mem->lock);
    map = mapping_find(mem, gpa);
    size = map ? mapping_end(map) - gpa : 0;
    pthread_mutex_unlock(&mem->lock);
    return size;
}

/* --- Reset --- */

static int share_all(struct memory *mem, uint64_t *ret_gpa)
{
    int ret = 0;

    for (guint i = 0; i < mem->mappings->len && !ret; i++) {
        const struct mapping *map = mapping_number(mem, i);

        ret = memory_convert_own(mem, CONVERSION_RESET, map->gpa, map->size, false, ret_gpa);
    }
    return ret;
}

static int delete_slots(struct memory *mem, uint64_t *ret_gpa)
{
    int ret = 0;

    for (guint i = 0; i < mem->mappings->len && !ret; i++) {
        *ret_gpa = mapping_number(mem, i)->gpa;
        ret = mapping_delete_slot(mem, mapping_number(mem, i));
    }
    return ret;
}

/* All that are gone, whatever happens: the next reset may fare better. The first error. */
static int put_slots_back(struct memory *mem, uint64_t *ret_gpa)
{
    int first = 0;

    for (guint i = 0; i < mem->mappings->len; i++) {
        int ret = mapping_set_slot(mem, mapping_number(mem, i));

        if (ret && !first) {
            *ret_gpa = mapping_number(mem, i)->gpa;
            first = ret;
        }
    }
    return first;
}

static int empty_blocks(struct memory *mem)
{
    int ret = 0;

    for (guint i = 0; i < mem->blocks->len && !ret; i++) {
        struct ram_block *block = g_ptr_array_index(mem->blocks, i);

        if (block->readonly)
            continue;
        ret = ram_block_free_copies(block, 0, block->size);
        if (!ret && block->loaded_pages)
            ret = attr_map_set(block->loaded_pages, 0, block->size / GUEST_PAGE_SIZE, false);
    }
    return ret;
}

/*
 * Listeners leave first, as memory is freed, and get what there is in the end: that
 * of the launched guest, if it will be launched, as they need not have room for all
 * of its memory.  Slots are taken away and put back: KVM then forgets whatever it
 * derived from the old content, which it isn't told about when memory is freed under it.
 */
static int reset_locked(struct memory *mem, uint64_t *ret_gpa)
{
    int ret, failed;

    listeners_leave(mem);
    ret = share_all(mem, ret_gpa);
    if (!ret)
        ret = delete_slots(mem, ret_gpa);
    if (!ret)
        ret = empty_blocks(mem);
    failed = put_slots_back(mem, ret ? &(uint64_t){ 0 } : ret_gpa);
    ret = ret ? ret : failed;
    mem->launched = false;
    return ret || mem->launches ? ret : listeners_return(mem);
}

bool memory_reset(struct memory *mem, GError **error)
{
    uint64_t gpa = 0;
    int ret;

    pthread_mutex_lock(&mem->lock);
    ret = reset_locked(mem, &gpa);
    pthread_mutex_unlock(&mem->lock);
    if (ret)
        error_set_errno(error, ret, "cannot reset guest memory at 0x%" PRIx64, gpa);
    return ret == 0;
}
