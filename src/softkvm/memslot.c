/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory slots: creating, moving, changing, deleting them, in the order of
 * checks that Linux 6.12 has (virt/kvm/kvm_main.c, __kvm_set_memory_region),
 * as callers can tell from the errno; and their dirty logs.
 */
#include "memslot.h"

#include "descriptor.h"
#include "guest_memfd.h"
#include "range.h"
#include "sev.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "test_hooks.h"
#include "usercopy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHANGEABLE_FLAGS = KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY,
    SLOT_ID_MASK = 0xffff,
    SPACE_SHIFT = 16,
};

#define MAX_SLOT_PAGES 0x7fffffffULL

/* By the upper half of a slot's number. NULL: there is no such address space. */
static struct memslots *space_find(struct vm *vm, uint32_t number)
{
    uint32_t space = number >> SPACE_SHIFT;

    if (space >= vm_address_spaces(vm) || (number & SLOT_ID_MASK) >= MEMSLOT_MAX)
        return NULL;
    return space ? &vm->smm_slots : &vm->slots;
}

static size_t dirty_bytes(const struct memslot *slot)
{
    return (memslot_pages(slot) + 63) / 64 * 8;
}

/* Index of the first slot that ends beyond gpa. */
static size_t lower_bound(const struct memslots *slots, uint64_t gpa)
{
    size_t low = 0, high = slots->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct memslot *slot = slots->by_gpa[middle];

        if (slot->gpa + slot->size - 1 < gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct memslot *memslots_find(const struct memslots *slots, uint64_t gpa)
{
    size_t i = lower_bound(slots, gpa);

    return i < slots->count && slots->by_gpa[i]->gpa <= gpa ? slots->by_gpa[i] : NULL;
}

/* Does any slot but this one overlap the range? */
static bool overlaps(const struct memslots *slots, uint64_t gpa, uint64_t size,
                     const struct memslot *but)
{
    for (size_t i = lower_bound(slots, gpa); i < slots->count; i++) {
        const struct memslot *slot = slots->by_gpa[i];

        if (slot->gpa >= gpa + size)
            break;
        if (slot != but)
            return true;
    }
    return false;
}

static int make_room(struct memslots *slots)
{
    size_t capacity = slots->capacity ? slots->capacity * 2 : 16;
    struct memslot **by_gpa;

    if (slots->count < slots->capacity)
        return 0;
    by_gpa = realloc(slots->by_gpa, capacity * sizeof(*by_gpa));
    if (!by_gpa)
        return -ENOMEM;
    slots->by_gpa = by_gpa;
    slots->capacity = capacity;
    return 0;
}

static void insert(struct memslots *slots, struct memslot *slot)
{
    size_t i = lower_bound(slots, slot->gpa);

    memmove(slots->by_gpa + i + 1, slots->by_gpa + i,
            (slots->count - i) * sizeof(*slots->by_gpa));
    slots->by_gpa[i] = slot;
    slots->count++;
}

static void take_out(struct memslots *slots, struct memslot *slot)
{
    size_t i = lower_bound(slots, slot->gpa);

    slots->count--;
    memmove(slots->by_gpa + i, slots->by_gpa + i + 1,
            (slots->count - i) * sizeof(*slots->by_gpa));
}

static void slot_free(struct vm *vm, struct memslot *slot)
{
    if (!slot)
        return;
    code_words_put(&vm->code_words, slot->code);
    sparse_free(slot->usable, memslot_pages(slot));
    sparse_free(slot->dirty, dirty_bytes(slot));
    free(slot);
}

static void space_free(struct vm *vm, struct memslots *slots)
{
    for (size_t i = 0; i < slots->count; i++)
        slot_free(vm, slots->by_gpa[i]);
    free(slots->by_gpa);
}

void memslots_free(struct vm *vm)
{
    space_free(vm, &vm->slots);
    space_free(vm, &vm->smm_slots);
}

/* Clean; or with every page dirty, if the VM wants that. NULL: no memory. */
static uint64_t *dirty_log_new(const struct vm *vm, const struct memslot *slot)
{
    uint64_t *dirty = sparse_alloc(dirty_bytes(slot)), pages = memslot_pages(slot);

    if (dirty && vm->manual_dirty_log & KVM_DIRTY_LOG_INITIALLY_SET) {
        memset(dirty, 0xff, pages / 64 * 8);
        if (pages % 64)
            dirty[pages / 64] = (1ULL << pages % 64) - 1;
    }
    return dirty;
}

/* Everything of a new slot except the guest_memfd. NULL: no memory. */
static struct memslot *slot_new(struct vm *vm, const struct kvm_userspace_memory_region2 *region)
{
    struct memslot *slot = calloc(1, sizeof(*slot));

    if (!slot)
        return NULL;
    slot->id = region->slot & SLOT_ID_MASK;
    slot->space = space_find(vm, region->slot);
    slot->flags = region->flags;
    slot->gpa = region->guest_phys_addr;
    slot->size = region->memory_size;
    slot->hva = region->userspace_addr;
    slot->code = code_words_get(&vm->code_words, memslot_pages(slot));
    slot->usable = sparse_alloc(memslot_pages(slot));
    if (slot->flags & KVM_MEM_LOG_DIRTY_PAGES)
        slot->dirty = dirty_log_new(vm, slot);
    if (!slot->code || !slot->usable ||
        (slot->flags & KVM_MEM_LOG_DIRTY_PAGES && !slot->dirty)) {
        slot_free(vm, slot);
        return NULL;
    }
    return slot;
}

/* gmem: what region->guest_memfd is; gmem_error: or why it is nothing. */
static int slot_create(struct vm *vm, const struct kvm_userspace_memory_region2 *region,
                       struct guest_memfd *gmem, int gmem_error)
{
    struct memslots *space = space_find(vm, region->slot);
    struct memslot *slot;
    int ret;

    if (overlaps(space, region->guest_phys_addr, region->memory_size, NULL))
        return -EEXIST;
    ret = hook_fails(HOOK_SLOT);
    if (!ret)
        ret = make_room(space);
    if (ret)
        return ret;
    slot = slot_new(vm, region);
    if (!slot)
        return -ENOMEM;
    if (region->flags & KVM_MEM_GUEST_MEMFD) {
        ret = gmem_error;
        if (!ret)
            ret = guest_memfd_bind(vm, gmem, region->guest_memfd_offset, slot->size);
        if (ret) {
            slot_free(vm, slot);
            return ret;
        }
        slot->gmem = gmem;
        slot->gmem_offset = region->guest_memfd_offset;
        slot->gmem_only = vm->options.gmem_in_place_conversion ||
                          slot->gmem->flags & GUEST_MEMFD_FLAG_MMAP;
    }
    ret = sev_slot_add(vm, slot);
    if (ret) {
        slot_free(vm, slot);
        return ret;
    }
    vm_pause(vm);
    insert(space, slot);
    space->by_id[slot->id] = slot;
    vm_flush_gpa(vm, slot->gpa, slot->size);
    vm_resume(vm);
    return 0;
}

static int slot_delete(struct vm *vm, struct memslot *slot)
{
    vm_pause(vm);
    take_out(slot->space, slot);
    slot->space->by_id[slot->id] = NULL;
    vm_flush_gpa(vm, slot->gpa, slot->size);
    sev_slot_remove(vm, slot);
    vm_resume(vm);
    slot_free(vm, slot);
    return 0;
}

static int slot_move(struct vm *vm, struct memslot *slot, uint64_t gpa)
{
    if (overlaps(slot->space, gpa, slot->size, slot))
        return -EEXIST;
    vm_pause(vm);
    vm_flush_gpa(vm, slot->gpa, slot->size);
    take_out(slot->space, slot);
    slot->gpa = gpa;
    insert(slot->space, slot);
    vm_flush_gpa(vm, slot->gpa, slot->size);
    vm_resume(vm);
    return 0;
}

static int slot_change_flags(struct vm *vm, struct memslot *slot, uint32_t flags)
{
    uint64_t *dirty = NULL, *old;

    if (flags & KVM_MEM_LOG_DIRTY_PAGES) {
        dirty = slot->dirty ? slot->dirty : dirty_log_new(vm, slot);
        if (!dirty)
            return -ENOMEM;
    }
    vm_pause(vm);
    old = slot->dirty;
    slot->dirty = dirty;
    slot->flags = flags;
    vm_flush_gpa(vm, slot->gpa, slot->size);    /* writes must be seen from now on */
    vm_resume(vm);
    if (old != dirty)
        sparse_free(old, dirty_bytes(slot));
    return 0;
}

static int slot_change(struct vm *vm, struct memslot *slot,
                       const struct kvm_userspace_memory_region2 *region)
{
    /* Such slots can only be deleted. */
    if (region->flags & KVM_MEM_GUEST_MEMFD)
        return -EINVAL;
    if (region->userspace_addr != slot->hva || region->memory_size != slot->size ||
        (region->flags ^ slot->flags) & (KVM_MEM_READONLY | KVM_MEM_GUEST_MEMFD))
        return -EINVAL;
    if (region->guest_phys_addr != slot->gpa)
        return slot_move(vm, slot, region->guest_phys_addr);
    if (region->flags != slot->flags)
        return slot_change_flags(vm, slot, region->flags);
    return 0;
}

/* What can be said without looking at other slots. */
static int check_region(struct vm *vm,
                        const struct kvm_userspace_memory_region2 *region, uint32_t valid_flags)
{
    uint32_t valid = valid_flags;

    if ((region->slot & SLOT_ID_MASK) >= MEMSLOT_MAX)
        return -EINVAL;
    if (region->flags & KVM_MEM_GUEST_MEMFD)
        valid &= ~CHANGEABLE_FLAGS;
    if (region->flags & ~valid)
        return -EINVAL;
    if (!is_aligned(region->memory_size, GUEST_PAGE_SIZE) ||
        !is_aligned(region->guest_phys_addr, GUEST_PAGE_SIZE) ||
        !is_aligned(region->userspace_addr, GUEST_PAGE_SIZE) ||
        !range_within(region->userspace_addr, region->memory_size, USER_ADDRESS_END))
        return -EINVAL;
    if (region->flags & KVM_MEM_GUEST_MEMFD &&
        (!is_aligned(region->guest_memfd_offset, GUEST_PAGE_SIZE) ||
         range_wraps(region->guest_memfd_offset, region->memory_size)))
        return -EINVAL;
    /* Only the guest's own memory can be private, not its SMRAM. */
    if (!space_find(vm, region->slot) ||
        (region->slot >> SPACE_SHIFT && region->flags & KVM_MEM_GUEST_MEMFD))
        return -EINVAL;
    if (range_wraps(region->guest_phys_addr, region->memory_size) ||
        region->memory_size / GUEST_PAGE_SIZE > MAX_SLOT_PAGES)
        return -EINVAL;
    return 0;
}

int vm_set_memory_region(struct vm *vm, const struct kvm_userspace_memory_region2 *region,
                         uint32_t valid_flags)
{
    struct guest_memfd *gmem = NULL;
    struct descriptor *holder = NULL;
    struct memslot *slot;
    int ret = check_region(vm, region, valid_flags), gmem_error = 0;

    if (ret)
        return ret;
    if (region->flags & KVM_MEM_GUEST_MEMFD)
        gmem_error = guest_memfd_find(region->guest_memfd, &holder, &gmem);
    pthread_mutex_lock(&vm->lock);
    slot = space_find(vm, region->slot)->by_id[region->slot & SLOT_ID_MASK];
    if (!region->memory_size)
        ret = slot ? slot_delete(vm, slot) : -EINVAL;
    else if (!range_within(region->guest_phys_addr, region->memory_size, vcpu_gpa_limit()))
        ret = -EINVAL;
    else
        ret = slot ? slot_change(vm, slot, region) : slot_create(vm, region, gmem, gmem_error);
    pthread_mutex_unlock(&vm->lock);
    if (holder)
        descriptor_put(holder);
    return ret;
}

/* Copy the log of one slot out and, if it is KVM that clears it, do so; vm->lock held. */
static int take_dirty_log(struct vm *vm, struct memslot *slot, uint64_t to)
{
    size_t bytes = dirty_bytes(slot);
    uint64_t *taken = malloc(bytes);
    int ret;

    if (!taken)
        return -ENOMEM;
    vm_pause(vm);
    memcpy(taken, slot->dirty, bytes);
    if (!vm->manual_dirty_log) {
        memset(slot->dirty, 0, bytes);
        vm_flush_gpa(vm, slot->gpa, slot->size);
    }
    vm_resume(vm);
    ret = copy_to_user(to, taken, bytes);
    free(taken);
    return ret;
}

/* Clear the bits that the caller's bitmap has; writes to these pages are seen from now on. */
static int clear_dirty_log(struct vm *vm, struct memslot *slot,
                           const struct kvm_clear_dirty_log *log)
{
    size_t words = (log->num_pages + 63ULL) / 64;
    uint64_t *mask = malloc(words * sizeof(*mask)), *dirty = slot->dirty + log->first_page / 64;
    int ret = mask || !words ? 0 : -ENOMEM;

    if (!ret)
        ret = copy_from_user(mask, (uintptr_t)log->dirty_bitmap, words * sizeof(*mask));
    if (!ret) {
        vm_pause(vm);
        for (size_t i = 0; i < words; i++) {
            uint64_t gpa = slot->gpa + (log->first_page + i * 64) * GUEST_PAGE_SIZE;

            if (!(dirty[i] & mask[i]))
                continue;
            dirty[i] &= ~mask[i];
            vm_flush_gpa(vm, gpa, 64 * GUEST_PAGE_SIZE);
        }
        vm_resume(vm);
    }
    free(mask);
    return ret;
}

/* NULL: no such slot, or it has no log. *ret: why. vm->lock held. */
static struct memslot *slot_with_log(struct vm *vm, uint32_t id, int *ret)
{
    struct memslot *slot = space_find(vm, id)->by_id[id & SLOT_ID_MASK];

    *ret = slot && slot->dirty ? 0 : -ENOENT;
    return *ret ? NULL : slot;
}

int vm_get_dirty_log(struct vm *vm, const struct kvm_dirty_log *log)
{
    struct memslot *slot;
    int ret;

    if (!space_find(vm, log->slot))
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    slot = slot_with_log(vm, log->slot, &ret);
    if (slot)
        ret = take_dirty_log(vm, slot, (uintptr_t)log->dirty_bitmap);
    pthread_mutex_unlock(&vm->lock);
    return ret;
}

/* Whole words of the bitmap, but for the last page's. */
static bool is_part_of_log(const struct memslot *slot, const struct kvm_clear_dirty_log *log)
{
    uint64_t pages = memslot_pages(slot);

    return range_within(log->first_page, log->num_pages, pages) &&
           (log->num_pages % 64 == 0 || log->num_pages == pages - log->first_page);
}

int vm_clear_dirty_log(struct vm *vm, const struct kvm_clear_dirty_log *log)
{
    struct memslot *slot;
    int ret;

    if (!space_find(vm, log->slot) || log->first_page % 64)
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    slot = slot_with_log(vm, log->slot, &ret);
    if (slot)
        ret = is_part_of_log(slot, log) ? clear_dirty_log(vm, slot, log) : -EINVAL;
    pthread_mutex_unlock(&vm->lock);
    return ret;
}
