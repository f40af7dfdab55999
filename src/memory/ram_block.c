/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * RamBlocks: pieces of guest RAM with their backings.  Which backings a block
 * gets follows from what its backend is and from what this VM's KVM can do;
 * what doesn't fit together is refused here, by the name of what is missing.
 */
#include "error.h"
#include "memory_internal.h"
#include "placement.h"
#include "range.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

static const uint64_t in_place_flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED;

static int punch(int fd, uint64_t offset, uint64_t size)
{
    int ret = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);

    return ret < 0 ? -errno : 0;
}

/* What this VM can't do of what the backend asks for; NULL: nothing. */
static const char *missing_capability(const struct kvm_vm *vm, enum backend_kind kind)
{
    switch (kind) {
    case BACKEND_PLAIN:
        return NULL;
    case BACKEND_TWO_BACKINGS:
        if (!vm->guest_memfd || vm->regime == KVM_ATTRIBUTES_ENCRYPTED)
            return "KVM_CAP_GUEST_MEMFD (234)";
        return kvm_attributes_per_vm(vm->regime) ? NULL : "KVM_CAP_MEMORY_ATTRIBUTES (233)";
    case BACKEND_IN_PLACE:
        if (!vm->guest_memfd || vm->regime == KVM_ATTRIBUTES_ENCRYPTED)
            return "KVM_CAP_GUEST_MEMFD (234)";
        if (kvm_attributes_per_vm(vm->regime))
            return "KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES (250)";
        if ((vm->guest_memfd_flags & in_place_flags) != in_place_flags)
            return "KVM_CAP_GUEST_MEMFD_FLAGS (244) with MMAP and INIT_SHARED";
        return NULL;
    }
    return NULL;
}

/*
 * A guest_memfd is created in any size and is never swapped: what can't ever be
 * there is refused here, as the kernel does for other memory unless reserve=off.
 */
static bool fits_host(uint64_t size)
{
    struct sysinfo info;

    return sysinfo(&info) < 0 || size <= (uint64_t)info.totalram * info.mem_unit;
}

static int create_guest_memfd(struct ram_block *block, bool in_place)
{
    int fd = -ENOMEM;

    if (!block->backend->reserve || fits_host(block->size))
        fd = kvm_vm_create_guest_memfd(block->mem->vm, block->size, in_place ? in_place_flags : 0);
    if (fd < 0)
        return fd;
    block->guest_memfd = fd;
    return block->backend->prealloc
               ? placement_prealloc(NULL, fd, block->size, GUEST_PAGE_SIZE,
                                    block->backend->prealloc_threads)
               : 0;
}

static int map_guest_memfd(struct ram_block *block)
{
    int ret = block->mem->vm->driver->mmap(block->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                                           block->guest_memfd, 0, &block->host);

    if (!ret)
        host_memory_advise(block->host, block->size, false, block->backend->dump);
    return ret;
}

/* All shared, nothing loaded. */
static bool make_records(struct ram_block *block, GError **error)
{
    bool two = block->kind == BACKEND_TWO_BACKINGS ||
               block->mem->vm->regime == KVM_ATTRIBUTES_ENCRYPTED;
    uint64_t pages = block->size / GUEST_PAGE_SIZE;

    block->private_pages = attr_map_new(pages, false);
    if (two)
        block->loaded_pages = attr_map_new(pages, false);
    if (block->private_pages && (block->loaded_pages || !two))
        return true;
    error_set_errno(error, ENOMEM, "attribute map of '%s'", block->name);
    return false;
}

/* False with the error set; what was made is the caller's to free. */
static bool make_backings(struct ram_block *block, GError **error)
{
    struct kvm_vm *vm = block->mem->vm;
    const char *missing = missing_capability(vm, block->kind);
    int ret;

    if (missing) {
        error_set(error, "memory backend '%s' needs %s, which this KVM lacks", block->name,
                  missing);
        return false;
    }
    block->host = block->backend->host.addr;
    if (vm->regime == KVM_ATTRIBUTES_ENCRYPTED)
        return make_records(block, error) && ram_block_pin(block, error);
    if (block->kind == BACKEND_PLAIN)
        return true;
    ret = create_guest_memfd(block, block->kind == BACKEND_IN_PLACE);
    if (!ret && block->kind == BACKEND_IN_PLACE)
        ret = map_guest_memfd(block);
    if (ret) {
        error_set_errno(error, ret, "cannot set up guest memory '%s' in a guest_memfd",
                        block->name);
        return false;
    }
    return vm->regime == KVM_ATTRIBUTES_NONE || make_records(block, error);
}

void ram_block_free(struct ram_block *block)
{
    const struct kvm_driver *driver = block->mem->vm->driver;

    if (block->kind == BACKEND_IN_PLACE && block->host)
        driver->munmap(block->host, block->size);
    if (block->guest_memfd >= 0)
        driver->close(block->guest_memfd);
    ram_block_free_sources(block);
    ram_block_unpin(block);
    attr_map_free(block->private_pages);
    attr_map_free(block->loaded_pages);
    host_memory_clear(&block->own);
    if (block->backend) {
        block->backend->obj.users--;
        memory_backend_free_anonymous(block->backend);
    }
    g_free(block->name);
    g_free(block);
}

/* Largest first; among equals the older stays ahead. */
static void add_block(struct memory *mem, struct ram_block *block)
{
    guint i = 0;

    pthread_mutex_lock(&mem->lock);
    while (i < mem->blocks->len &&
           ram_block_size(g_ptr_array_index(mem->blocks, i)) >= block->size)
        i++;
    g_ptr_array_insert(mem->blocks, (int)i, block);
    pthread_mutex_unlock(&mem->lock);
}

struct ram_block *ram_block_new(struct memory *mem, struct memory_backend *backend, GError **error)
{
    struct ram_block *block;

    if (backend->obj.users) {
        error_set(error, "can't use already busy memdev: %s", backend->obj.id);
        return NULL;
    }
    if (memory_backend_is_rom(backend)) {
        error_set(error, "memory backend '%s' is ROM (readonly=on): it can't be RAM",
                  backend->obj.id);
        return NULL;
    }
    block = g_new0(struct ram_block, 1);
    block->mem = mem;
    block->name = g_strdup(backend->obj.id);
    block->size = backend->size;
    block->kind = backend->kind;
    block->guest_memfd = -1;
    block->backend = backend;
    backend->obj.users++;
    if (!make_backings(block, error)) {
        ram_block_free(block);
        return NULL;
    }
    add_block(mem, block);
    return block;
}

struct ram_block *ram_block_new_internal(struct memory *mem, const char *name, uint64_t size,
                                         bool readonly, GError **error)
{
    const struct host_memory_options opt = { .reserve = true, .dump = true };
    struct ram_block *block;
    int ret = -EINVAL;

    block = g_new0(struct ram_block, 1);
    block->mem = mem;
    block->name = g_strdup(name);
    block->size = size;
    block->readonly = readonly;
    block->guest_memfd = -1;
    if (size && is_aligned(size, GUEST_PAGE_SIZE))
        ret = host_memory_new(&block->own, size, &opt);
    if (ret) {
        error_set_errno(error, ret, "cannot set up guest memory '%s'", name);
        ram_block_free(block);
        return NULL;
    }
    block->host = block->own.addr;
    if (mem->vm->regime == KVM_ATTRIBUTES_ENCRYPTED && !ram_block_pin(block, error)) {
        ram_block_free(block);
        return NULL;
    }
    add_block(mem, block);
    return block;
}

bool ram_block_delete(struct ram_block *block, GError **error)
{
    struct memory *mem = block->mem;
    bool mapped = false;

    pthread_mutex_lock(&mem->lock);
    for (guint i = 0; i < mem->mappings->len; i++)
        mapped |= g_array_index(mem->mappings, struct mapping, i).block == block;
    if (!mapped)
        g_ptr_array_remove(mem->blocks, block);
    pthread_mutex_unlock(&mem->lock);
    if (mapped)
        error_set(error, "memory '%s' is in use by the guest", block->name);
    return !mapped;
}

const char *ram_block_name(const struct ram_block *block)
{
    return block->name;
}

void ram_block_set_name(struct ram_block *block, const char *name)
{
    pthread_mutex_lock(&block->mem->lock);
    g_free(block->name);
    block->name = g_strdup(name);
    pthread_mutex_unlock(&block->mem->lock);
}

uint64_t ram_block_size(const struct ram_block *block)
{
    return block->size;
}

enum backend_kind ram_block_kind(const struct ram_block *block)
{
    return block->kind;
}

void *ram_block_host(const struct ram_block *block)
{
    return block->host;
}

bool ram_block_has_attributes(const struct ram_block *block)
{
    return block->private_pages != NULL;
}

bool ram_block_readonly(const struct ram_block *block)
{
    return block->readonly;
}

static const struct host_memory *shared_backing(const struct ram_block *block)
{
    return block->backend ? &block->backend->host : &block->own;
}

static bool is_all_private(const struct ram_block *block, uint64_t offset, uint64_t size)
{
    return attr_map_all(block->private_pages, offset / GUEST_PAGE_SIZE, size / GUEST_PAGE_SIZE,
                        true);
}

/*
 * Of huge pages, those go in which nothing is shared any more: at the range's ends
 * that depends on what was private before.
 */
static int discard_shared_copy(struct ram_block *block, uint64_t offset, uint64_t size)
{
    const struct host_memory *memory = shared_backing(block);
    uint64_t page = memory->page_size;
    uint64_t start = offset / page * page, end = (offset + size + page - 1) / page * page;

    if (start < offset && !is_all_private(block, start, page))
        start += page;
    if (start < end && end > offset + size && !is_all_private(block, end - page, page))
        end -= page;
    return start < end ? host_memory_discard(memory, start, end - start) : 0;
}

int ram_block_discard_copy(struct ram_block *block, uint64_t offset, uint64_t size, bool shared)
{
    if (block->kind != BACKEND_TWO_BACKINGS)
        return 0;
    return shared ? discard_shared_copy(block, offset, size)
                  : punch(block->guest_memfd, offset, size);
}

int ram_block_free_copies(struct ram_block *block, uint64_t offset, uint64_t size)
{
    int ret = 0;

    if (block->guest_memfd >= 0)
        ret = punch(block->guest_memfd, offset, size);
    if (!ret && block->kind != BACKEND_IN_PLACE)
        ret = host_memory_discard(shared_backing(block), offset, size);
    return ret;
}

int ram_block_populate(struct ram_block *block, uint64_t offset, uint64_t size)
{
    int ret;

    if (!is_aligned(offset | size, GUEST_PAGE_SIZE) || !range_within(offset, size, block->size))
        return -EINVAL;
    if (block->guest_memfd >= 0)
        ret = fallocate(block->guest_memfd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    else
        ret = madvise((char *)block->host + offset, size, MADV_POPULATE_WRITE);
    return ret < 0 ? -errno : 0;
}

bool ram_block_mark_loaded_locked(struct ram_block *block, uint64_t offset, uint64_t size)
{
    uint64_t first = offset / GUEST_PAGE_SIZE;
    bool ok = range_within(offset, size, block->size);

    if (ok && size && block->loaded_pages)
        ok = attr_map_set(block->loaded_pages, first,
                          (offset + size - 1) / GUEST_PAGE_SIZE - first + 1, true) == 0;
    return ok;
}

bool ram_block_mark_loaded(struct ram_block *block, uint64_t offset, uint64_t size)
{
    bool ok;

    pthread_mutex_lock(&block->mem->lock);
    ok = ram_block_mark_loaded_locked(block, offset, size);
    pthread_mutex_unlock(&block->mem->lock);
    return ok;
}
