/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What serves a guest's access to a page.
 *
 * With attributes per VM, a frame's attribute says which backing it is, and a
 * private frame needs a guest_memfd.  With attributes per guest_memfd, the file
 * serves both states, and a frame without slot is just MMIO.
 */
#include "guest_page.h"

#include "attr_map.h"
#include "guest_memfd.h"
#include "range.h"
#include "sev.h"
#include "soft_vcpu.h"
#include "soft_vm.h"
#include "test_hooks.h"
#include "usercopy.h"

#include <errno.h>

static bool page_is_private(const struct vm *vm, const struct memslot *slot, uint64_t gpa)
{
    if (!vm_has_private_memory(vm))
        return false;
    if (!vm->options.gmem_in_place_conversion)
        return attr_map_get(vm->private_gfns, gpa / GUEST_PAGE_SIZE);
    return slot && slot->gmem &&
           attr_map_get(slot->gmem->private_pages,
                        (slot->gmem_offset + gpa - slot->gpa) / GUEST_PAGE_SIZE);
}

/* Has the kernel said that the page at hva can be used so?  Asked once a page. */
static bool hva_usable(struct memslot *slot, uint64_t index, bool write)
{
    uint8_t need = write ? USABLE_READ | USABLE_WRITE : USABLE_READ;

    if ((__atomic_load_n(&slot->usable[index], __ATOMIC_RELAXED) & need) == need)
        return true;
    if (!user_page_usable(slot->hva + index * GUEST_PAGE_SIZE, write))
        return false;
    __atomic_or_fetch(&slot->usable[index], need, __ATOMIC_RELAXED);
    return true;
}

/* Set the page's bit in the log; false: it wasn't set and the access doesn't write. */
static bool log_dirty(struct memslot *slot, uint64_t index, bool write)
{
    uint64_t bit = 1ULL << index % 64;

    if (!slot->dirty)
        return true;
    if (write)
        __atomic_or_fetch(&slot->dirty[index / 64], bit, __ATOMIC_RELAXED);
    return __atomic_load_n(&slot->dirty[index / 64], __ATOMIC_RELAXED) & bit;
}

static enum guest_page_kind from_gmem(struct memslot *slot, uint64_t index, struct cpu_page *page)
{
    uint64_t gmem_index = slot->gmem_offset / GUEST_PAGE_SIZE + index;

    if (hook_is_set(HOOK_PAGE) &&
        !guest_memfd_has_page(slot->gmem, gmem_index * GUEST_PAGE_SIZE) && hook_fails(HOOK_PAGE))
        return GUEST_PAGE_NO_MEMORY;
    page->host = slot->gmem->host + gmem_index * GUEST_PAGE_SIZE;
    page->code = &slot->gmem->code->words[gmem_index];
    page->writable = true;
    return GUEST_PAGE_RAM;
}

static enum guest_page_kind from_hva(struct memslot *slot, uint64_t index, bool write,
                                     struct cpu_page *page)
{
    bool readonly = slot->flags & KVM_MEM_READONLY;

    if (write && readonly)
        return GUEST_PAGE_NONE;
    if (!hva_usable(slot, index, write))
        return GUEST_PAGE_BAD;
    page->host = (uint8_t *)(slot->hva + index * GUEST_PAGE_SIZE);
    page->code = &slot->code->words[index];
    page->writable = log_dirty(slot, index, write) && !readonly &&
                     __atomic_load_n(&slot->usable[index], __ATOMIC_RELAXED) & USABLE_WRITE;
    return GUEST_PAGE_RAM;
}

/* The caller's page or the guest's plain text of it: both in turn, never at once. */
static enum guest_page_kind from_sev(struct vm *vm, struct memslot *slot, uint64_t index,
                                     bool encrypted, bool write, struct cpu_page *page)
{
    bool readonly = slot->flags & KVM_MEM_READONLY;
    int ret;

    if (write && readonly)
        return GUEST_PAGE_NONE;
    ret = sev_page(vm, slot->hva + index * GUEST_PAGE_SIZE, encrypted, &page->host);
    if (ret)
        return ret == -EAGAIN ? GUEST_PAGE_WRONG_VIEW
               : ret == -ENOMEM ? GUEST_PAGE_NO_MEMORY : GUEST_PAGE_BAD;
    page->code = &slot->code->words[index];
    if (encrypted) {
        page->writable = log_dirty(slot, index, write) && !readonly;
        return GUEST_PAGE_RAM;
    }
    if (!hva_usable(slot, index, write))
        return GUEST_PAGE_BAD;
    page->writable = log_dirty(slot, index, write) && !readonly &&
                     __atomic_load_n(&slot->usable[index], __ATOMIC_RELAXED) & USABLE_WRITE;
    return GUEST_PAGE_RAM;
}

enum guest_page_kind guest_page_find(struct vm *vm, bool smm, uint64_t gpa, enum cpu_access access,
                                     struct cpu_page *page, bool *is_private)
{
    bool encrypted = gpa & vm->c_bit;
    struct memslot *slot;
    uint64_t index;

    gpa &= ~vm->c_bit;
    slot = memslots_find(smm ? &vm->smm_slots : &vm->slots, gpa);

    *is_private = page_is_private(vm, slot, gpa);
    if (!slot)
        return *is_private ? GUEST_PAGE_WRONG_STATE : GUEST_PAGE_NONE;
    index = (gpa - slot->gpa) / GUEST_PAGE_SIZE;
    if (vm->sev)
        return from_sev(vm, slot, index, encrypted, access == ACCESS_WRITE, page);
    if (*is_private || slot->gmem_only)
        return slot->gmem ? from_gmem(slot, index, page) : GUEST_PAGE_WRONG_STATE;
    return from_hva(slot, index, access == ACCESS_WRITE, page);
}

void *guest_struct_find(struct vcpu *vcpu, uint64_t gpa, size_t size, struct cpu_page *page)
{
    uint64_t offset = gpa % GUEST_PAGE_SIZE;
    enum guest_page_kind kind;
    bool is_private;

    if (gpa % 4 || offset + size > GUEST_PAGE_SIZE)
        return NULL;
    kind = guest_page_find(vcpu->vm, false, gpa - offset, ACCESS_WRITE, page, &is_private);
    if (kind == GUEST_PAGE_WRONG_VIEW) {
        vcpu->wants_page = true;
        vcpu->wanted_page = gpa - offset;
        __atomic_or_fetch(&vcpu->cpu->request, CPU_REQ_EXIT, __ATOMIC_SEQ_CST);
    }
    return kind == GUEST_PAGE_RAM ? page->host + offset : NULL;
}

void guest_struct_written(const struct cpu_page *page)
{
    if (__atomic_load_n(page->code, __ATOMIC_RELAXED) & 1)
        cpu_code_written(page->code);
}
