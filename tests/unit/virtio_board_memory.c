/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory of a virtio_board by src/memory, on a KVM that only says yes. */
#include "virtio_board.h"

#include "fake_kvm.h"
#include "virtio_devices.h"

#include <stdlib.h>

bool vb_protected;

void vb_memory_new(struct virtio_board *board, struct device_host *host)
{
    const struct kvm_needs needs = {
        .vm_type = vb_protected ? KVM_X86_SW_PROTECTED_VM : KVM_X86_DEFAULT_VM,
        .two_backings = vb_protected,
    };
    struct ram_block *ram;

    device_type_register(&virtio_mem_type);
    fake_reset(vb_protected ? KVM_ATTRIBUTES_VM : KVM_ATTRIBUTES_NONE);
    if (kvm_vm_new(&fake_driver, &needs, &board->vm) != 0)
        abort();
    board->mem = memory_new(board->vm);
    ram = ram_block_new_internal(board->mem, "ram", VB_RAM, false, NULL);
    if (!ram || !memory_map(board->mem, ram, 0, 0, VB_RAM, NULL) ||
        (vb_protected && !memory_launch(board->mem, NULL, NULL)))
        abort();
    board->ram = ram_block_host(ram);
    host->mem = board->mem;
    host->protected = vb_protected;
    host->memory_base = VB_DEVICE_MEMORY;
    host->memory_size = VB_DEVICE_MEMORY_SIZE;
}

void vb_memory_free(struct virtio_board *board)
{
    memory_free(board->mem);
    kvm_vm_free(board->vm);
}
