/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A board for virtio devices with a megabyte of RAM, whose pages a test makes private;
 * and the driver's side of a queue.  Its memory is an array, which replaces src/memory and
 * src/kvm at link time (virtio_board_array.c), or the real thing on a KVM that isn't
 * (virtio_board_memory.c).
 */
#ifndef TESTS_VIRTIO_BOARD_H
#define TESTS_VIRTIO_BOARD_H

#include "virtio.h"

enum {
    VB_RAM = 1 << 20, VB_PAGE = 4096, VB_RING = 0x8000, VB_RING_SIZE = 16, VB_DATA = 0x20000,
    VB_AVAILABLE = 0x400, VB_USED = 0x800,      /* from the ring's page on */
    VB_COMMON = 0, VB_ISR = 0x1000, VB_CONFIG = 0x2000, VB_NOTIFY = 0x3000,
};

struct virtio_board {
    uint8_t *ram;               /* VB_RAM bytes at address 0 */
    bool private_page[VB_RAM / VB_PAGE];
    struct bus *bus;
    struct pci_bus *pci;
    struct devices *devices;
    unsigned messages;          /* MSI-X */
    uint32_t last_data;
    struct memory *mem;         /* of virtio_board_memory.c */
    struct kvm_vm *vm;
};

/* What virtio_board_memory.c makes next: a protected VM with two backings, or an ordinary one. */
extern bool vb_protected;
/* From here on memory devices may go, so much. */
#define VB_DEVICE_MEMORY        (4ULL << 30)
#define VB_DEVICE_MEMORY_SIZE   (64ULL << 20)

/* Which of the two: virtio_board_array.c, virtio_board_memory.c. */
void vb_memory_new(struct virtio_board *board, struct device_host *host);
void vb_memory_free(struct virtio_board *board);

struct virtio_board *virtio_board_new(void);
void virtio_board_free(struct virtio_board *board);

/* Added, its BARs mapped, bus master. NULL with the error printed. */
struct virtio *virtio_board_add(struct virtio_board *board, const char *option);

/* Accesses as a vCPU makes them. */
uint64_t vb_config_address(const struct virtio *v, unsigned offset);
uint64_t vb_load(struct virtio_board *board, uint64_t gpa, unsigned size);
void vb_store(struct virtio_board *board, uint64_t gpa, unsigned size, uint64_t value);
uint64_t vb_register(const struct virtio *v, unsigned offset);  /* address in BAR 4 */

/* What the worker was told so far has been done. */
void vb_settle(struct virtio *v);

/* Reset, negotiate (features: beside VERSION_1), enable queues 0 to n - 1; DRIVER_OK. */
bool vb_start(struct virtio_board *board, struct virtio *v, uint64_t features, unsigned queues);
/* Queue n's ring is one page from here on. */
uint64_t vb_ring(unsigned queue);
void vb_descriptor(struct virtio_board *board, unsigned queue, unsigned index, uint64_t gpa,
                   uint32_t size, uint16_t flags, uint16_t next);
/* Make a chain available, kick, settle. */
void vb_submit(struct virtio_board *board, struct virtio *v, unsigned queue, uint16_t head);
/* Used index of a queue, and the length of its last entry. */
uint16_t vb_used(struct virtio_board *board, unsigned queue, uint32_t *length);
uint8_t vb_status(struct virtio_board *board, struct virtio *v);

#endif
