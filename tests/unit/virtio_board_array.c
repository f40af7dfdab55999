/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory of a virtio_board that is an array, in place of src/memory and src/kvm. */
#include "virtio_board.h"

#include "virtio_serial.h"

#include <errno.h>

/* All that do with so little memory. */
static const struct device_type *const types[] = {
    &virtio_blk_type, &virtio_rng_type, &virtio_serial_type, &virtconsole_type,
    &virtserialport_type,
};

void vb_memory_new(struct virtio_board *board, struct device_host *host)
{
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        device_type_register(types[i]);
    board->ram = g_malloc0(VB_RAM);
    host->mem = (struct memory *)board;
}

void vb_memory_free(struct virtio_board *board)
{
    g_free(board->ram);
}

static bool access_ram(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, bool write,
                       uint64_t *ret_gpa)
{
    struct virtio_board *board = (struct virtio_board *)mem;
    char *at = buf;

    for (; size; at++, gpa++, size--) {
        if (gpa >= VB_RAM || __atomic_load_n(&board->private_page[gpa / VB_PAGE], __ATOMIC_RELAXED)) {
            if (ret_gpa)
                *ret_gpa = gpa;
            return false;
        }
        if (write)
            __atomic_store_n(&board->ram[gpa], *at, __ATOMIC_RELAXED);
        else
            *at = __atomic_load_n(&board->ram[gpa], __ATOMIC_RELAXED);
    }
    return true;
}

bool memory_read(struct memory *mem, uint64_t gpa, void *buf, uint64_t size, uint64_t *ret_gpa)
{
    return access_ram(mem, gpa, buf, size, false, ret_gpa);
}

bool memory_write(struct memory *mem, uint64_t gpa, const void *buf, uint64_t size,
                  uint64_t *ret_gpa)
{
    return access_ram(mem, gpa, (void *)buf, size, true, ret_gpa);
}

int memory_convert(struct memory *mem, uint64_t gpa, uint64_t size, bool private_,
                   uint64_t *ret_gpa)
{
    struct virtio_board *board = (struct virtio_board *)mem;

    for (; size; gpa += VB_PAGE, size -= VB_PAGE) {
        if (gpa < VB_RAM)
            __atomic_store_n(&board->private_page[gpa / VB_PAGE], private_, __ATOMIC_RELAXED);
    }
    return 0;
}

struct kvm_vm *memory_vm(struct memory *mem)
{
    return NULL;
}

/* No ioeventfd: every notification comes by the register. */
int kvm_vm_ioctl(struct kvm_vm *vm, unsigned long request, void *arg)
{
    return -ENOTTY;
}
