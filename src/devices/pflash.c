/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The chip's states, and its content in the image.  What is programmed or erased is in the
 * image before the status says "ready", so a VM that ends at once has lost nothing that the
 * guest was told of.  No write buffer, no suspending, no locking of single blocks.
 *
 * Locks: the machine lock.
 */
#include "pflash.h"

#include "error.h"
#include "range.h"
#include "trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    COMMAND_PROGRAM = 0x10, COMMAND_PROGRAM_TOO = 0x40, COMMAND_ERASE = 0x20,
    COMMAND_CLEAR_STATUS = 0x50, COMMAND_LOCK = 0x60, COMMAND_READ_STATUS = 0x70,
    COMMAND_READ_ID = 0x90, COMMAND_QUERY = 0x98, COMMAND_CONFIRM = 0xd0,
};

enum {
    STATUS_READY = 0x80, STATUS_ERASE_ERROR = 0x20, STATUS_PROGRAM_ERROR = 0x10,
    STATUS_LOCKED = 0x02,
};

enum state {
    READ_ARRAY, READ_STATUS, READ_ID, READ_QUERY,
    PROGRAM, ERASE, LOCK,       /* the next write belongs to the command; reads give the status */
};

enum { QUERY_SIZE = 0x31, MANUFACTURER = 0x89, CHIP = 0x18 };

struct pflash {
    struct bus *bus;
    struct memory *mem;
    struct ram_block *block;
    struct disk *node;
    uint64_t gpa, size;
    enum state state;
    uint8_t status;
    bool warned;                /* that the image can't be written */
    uint8_t query[QUERY_SIZE];
};

/* --- What the guest sees: the content, or us --- */

/* KVM may have no memory for the slot: then reads come here all the same. */
static void enter(struct pflash *flash, enum state state)
{
    bool was_rom = flash->state == READ_ARRAY, rom = state == READ_ARRAY;
    g_autoptr(GError) error = NULL;
    bool ok = true;

    flash->state = state;
    if (was_rom && !rom)
        ok = memory_unmap(flash->mem, flash->gpa, flash->size, &error);
    else if (!was_rom && rom)
        ok = memory_map_readonly(flash->mem, flash->block, 0, flash->gpa, flash->size, &error);
    if (!ok)
        fprintf(stderr, "cloister: flash memory at 0x%" PRIx64 ": %s\n", flash->gpa,
                error->message);
}

static uint8_t *content(struct pflash *flash)
{
    return ram_block_host(flash->block);
}

static uint8_t read_byte(struct pflash *flash, uint64_t offset)
{
    static const uint8_t id[] = { MANUFACTURER, CHIP, 0 };

    switch (flash->state) {
    case READ_ARRAY:
        return content(flash)[offset];
    case READ_ID:
        return offset < sizeof(id) ? id[offset] : 0;
    case READ_QUERY:
        return offset < sizeof(flash->query) ? flash->query[offset] : 0;
    default:
        return flash->status;
    }
}

/* --- Content --- */

static void save(struct pflash *flash, uint64_t offset, uint64_t size, uint8_t error)
{
    int ret = disk_write(flash->node, offset, content(flash) + offset, size);

    if (!ret)
        return;
    flash->status |= error;
    if (!flash->warned)
        fprintf(stderr, "cloister: flash memory: %s: %s\n", disk_filename(flash->node),
                strerror(-ret));
    flash->warned = true;
}

/* Programming clears bits; only erasing sets them. */
static void program(struct pflash *flash, uint64_t offset, unsigned size, uint64_t value)
{
    if (disk_readonly(flash->node)) {
        flash->status |= STATUS_PROGRAM_ERROR | STATUS_LOCKED;
        return;
    }
    for (unsigned i = 0; i < size; i++)
        content(flash)[offset + i] &= value >> 8 * i;
    save(flash, offset, size, STATUS_PROGRAM_ERROR);
}

static void erase(struct pflash *flash, uint64_t offset)
{
    uint64_t start = offset & ~(uint64_t)(PFLASH_SECTOR - 1);

    if (disk_readonly(flash->node)) {
        flash->status |= STATUS_ERASE_ERROR | STATUS_LOCKED;
        return;
    }
    memset(content(flash) + start, 0xff, PFLASH_SECTOR);
    save(flash, start, PFLASH_SECTOR, STATUS_ERASE_ERROR);
}

/* --- Commands --- */

/* Both bits: not in that order. */
static void second_write(struct pflash *flash, uint64_t offset, unsigned size, uint64_t value)
{
    if (flash->state == PROGRAM)
        program(flash, offset, size, value);
    else if (flash->state == ERASE && (uint8_t)value == COMMAND_CONFIRM)
        erase(flash, offset);
    else if (flash->state == ERASE)
        flash->status |= STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR;
    flash->status |= STATUS_READY;
    enter(flash, READ_STATUS);
}

static void command(struct pflash *flash, uint8_t value)
{
    switch (value) {
    case COMMAND_PROGRAM:
    case COMMAND_PROGRAM_TOO:
        enter(flash, PROGRAM);
        break;
    case COMMAND_ERASE:
        enter(flash, ERASE);
        break;
    case COMMAND_LOCK:
        enter(flash, LOCK);
        break;
    case COMMAND_READ_STATUS:
        enter(flash, READ_STATUS);
        break;
    case COMMAND_CLEAR_STATUS:
        /* A real chip says "ready" again at once; OVMF takes a 0 for QEMU's flash, else for RAM. */
        flash->status = 0;
        break;
    case COMMAND_READ_ID:
        enter(flash, READ_ID);
        break;
    case COMMAND_QUERY:
        enter(flash, READ_QUERY);
        break;
    default:                    /* "read array", and what this chip doesn't know */
        enter(flash, READ_ARRAY);
    }
}

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read_byte(opaque, offset + i) << 8 * i;
    return value;
}

static void flash_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pflash *flash = opaque;

    trace(TRACE_PFLASH_WRITE, "gpa=0x%" PRIx64 " size=%u value=0x%" PRIx64 " state=%d",
          flash->gpa + offset, size, value, flash->state);
    if (flash->state >= PROGRAM)
        second_write(flash, offset, size, value);
    else
        command(flash, value);
}

static const struct io_ops flash_io = { .read = flash_read, .write = flash_write };

/* --- The chip --- */

static void put16(uint8_t *at, unsigned value)
{
    at[0] = value;
    at[1] = value >> 8;
}

/* CFI's table: Intel's commands, one region of equal sectors. */
static void fill_query(struct pflash *flash)
{
    unsigned bits = 0;

    while (1ULL << bits < flash->size)
        bits++;
    memcpy(flash->query + 0x10, "QRY", 3);
    put16(flash->query + 0x13, 1);
    flash->query[0x27] = bits;          /* as a power of two: the next larger one */
    flash->query[0x2c] = 1;
    put16(flash->query + 0x2d, flash->size / PFLASH_SECTOR - 1);
    put16(flash->query + 0x2f, PFLASH_SECTOR / 256);
}

void pflash_reset(struct pflash *flash)
{
    flash->status = STATUS_READY;
    enter(flash, READ_ARRAY);
}

struct pflash *pflash_new(struct bus *bus, struct memory *mem, struct ram_block *block,
                          uint64_t gpa, struct disk *node, GError **error)
{
    struct pflash *flash = g_new0(struct pflash, 1);

    flash->bus = bus;
    flash->mem = mem;
    flash->block = block;
    flash->node = node;
    flash->gpa = gpa;
    flash->size = ram_block_size(block);
    flash->status = STATUS_READY;
    fill_query(flash);
    if (bus_add_mmio(bus, gpa, flash->size, "pflash", &flash_io, flash) == 0)
        return flash;
    error_set(error, "there is something else at 0x%" PRIx64, gpa);
    g_free(flash);
    return NULL;
}

void pflash_free(struct pflash *flash)
{
    if (!flash)
        return;
    bus_remove(flash->bus, flash);
    g_free(flash);
}
