/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU's firmware configuration device: numbered items of bytes, and among them a
 * directory of named ones (QEMU's docs/specs/fw_cfg).  Firmware reads there what the
 * board is, ACPI tables, and a kernel to boot.
 */
#ifndef DEVICES_FW_CFG_H
#define DEVICES_FW_CFG_H

#include "bus.h"
#include "memory.h"

enum {
    FW_CFG_PORT = 0x510, FW_CFG_PORTS = 12,     /* the selector; data and DMA follow */
    FW_CFG_NAME_MAX = 55,
    FW_CFG_FILES_MAX = 128,
};

/* Selector keys. */
enum {
    FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_UUID = 0x02, FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04, FW_CFG_NB_CPUS = 0x05, FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08, FW_CFG_INITRD_ADDR = 0x0a, FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_MENU = 0x0e, FW_CFG_MAX_CPUS = 0x0f, FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12, FW_CFG_CMDLINE_ADDR = 0x13, FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15, FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18, FW_CFG_FILE_DIR = 0x19, FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,      /* a PC's own */
};

struct fw_cfg;

/*
 * dma: offer the interface by which the device itself writes into guest memory, which
 * has to be shared for that.  Without it guests read byte by byte, which the processor
 * does.  NULL: the ports are taken.
 */
struct fw_cfg *fw_cfg_new(struct bus *bus, struct memory *mem, bool dma);
void fw_cfg_free(struct fw_cfg *fw);
/* Machine lock held. */
void fw_cfg_reset(struct fw_cfg *fw);

/* Before the guest runs. The bytes are copied; an item that is there already is replaced. */
void fw_cfg_add(struct fw_cfg *fw, uint16_t key, const void *data, size_t size);
/* The same with bytes that become the device's. */
void fw_cfg_add_take(struct fw_cfg *fw, uint16_t key, void *data, size_t size);
void fw_cfg_add_number(struct fw_cfg *fw, uint16_t key, uint64_t value, unsigned size);
/* A named one. False: the name is too long or taken, or there are too many. */
bool fw_cfg_add_file(struct fw_cfg *fw, const char *name, const void *data, size_t size,
                     GError **error);
bool fw_cfg_has_dma(const struct fw_cfg *fw);
/*
 * A named one that the guest writes, by DMA alone: data, of size bytes, stays the caller's,
 * who is told after each write, with the machine lock held.
 */
bool fw_cfg_add_writable_file(struct fw_cfg *fw, const char *name, void *data, size_t size,
                              void (*written)(void *opaque, size_t offset, size_t size),
                              void *opaque, GError **error);

#endif
