/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Intel 8042 as a PC/AT's keyboard controller, as far as a machine without keyboard
 * and mouse is asked for it: self test, the command byte, and pulsing the reset line
 * (command 0xfe), which older systems reboot with.  The FADT says that there is no
 * keyboard controller, so systems that read it don't look for devices behind it.
 */
#include "i8042.h"

#include <glib.h>

enum {
    PORT_DATA = 0x60, PORT_COMMAND = 0x64,
    STATUS_OUTPUT_FULL = 0x01, STATUS_SYSTEM = 0x04, STATUS_COMMAND = 0x08,
    STATUS_UNLOCKED = 0x10,
    CMD_READ_COMMAND_BYTE = 0x20, CMD_WRITE_COMMAND_BYTE = 0x60, CMD_SELF_TEST = 0xaa,
    CMD_TEST_KEYBOARD = 0xab, CMD_TEST_MOUSE = 0xa9, CMD_WRITE_OUTPUT = 0xd1,
    CMD_PULSE = 0xf0, PULSE_NOT_RESET = 0x01,   /* bit 0 clear: the reset line is pulsed */
    SELF_TEST_PASSED = 0x55, INTERFACE_BAD = 0x01,
    OUTPUT_NOT_RESET = 0x01,
};

struct i8042 {
    struct bus *bus;
    struct power_ops power;
    uint8_t status, data, command_byte;
    uint8_t expects;            /* the command whose data byte comes next, 0: none */
};

static void answer(struct i8042 *kbc, uint8_t byte)
{
    kbc->data = byte;
    kbc->status |= STATUS_OUTPUT_FULL;
}

static void command(struct i8042 *kbc, uint8_t value)
{
    kbc->expects = 0;
    switch (value) {
    case CMD_READ_COMMAND_BYTE:
        answer(kbc, kbc->command_byte);
        break;
    case CMD_WRITE_COMMAND_BYTE:
    case CMD_WRITE_OUTPUT:
        kbc->expects = value;
        break;
    case CMD_SELF_TEST:
        kbc->status |= STATUS_SYSTEM;
        answer(kbc, SELF_TEST_PASSED);
        break;
    case CMD_TEST_KEYBOARD:
    case CMD_TEST_MOUSE:
        answer(kbc, INTERFACE_BAD);
        break;
    default:
        if ((value & CMD_PULSE) == CMD_PULSE && !(value & PULSE_NOT_RESET))
            kbc->power.reset(kbc->power.opaque);
        break;
    }
}

static void data(struct i8042 *kbc, uint8_t value)
{
    if (kbc->expects == CMD_WRITE_COMMAND_BYTE)
        kbc->command_byte = value;
    else if (kbc->expects == CMD_WRITE_OUTPUT && !(value & OUTPUT_NOT_RESET))
        kbc->power.reset(kbc->power.opaque);
    kbc->expects = 0;
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *kbc = opaque;

    kbc->status &= ~STATUS_OUTPUT_FULL;
    return kbc->data;
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8042 *kbc = opaque;

    kbc->status &= ~STATUS_COMMAND;
    data(kbc, value);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct i8042 *)opaque)->status;
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct i8042 *kbc = opaque;

    kbc->status |= STATUS_COMMAND;
    command(kbc, value);
}

static const struct io_ops data_io = {
    .read = data_read, .write = data_write, .min_size = 1, .max_size = 1,
};
static const struct io_ops command_io = {
    .read = status_read, .write = command_write, .min_size = 1, .max_size = 1,
};

void i8042_reset(struct i8042 *kbc)
{
    kbc->status = STATUS_UNLOCKED;
    kbc->data = kbc->command_byte = kbc->expects = 0;
}

struct i8042 *i8042_new(struct bus *bus, const struct power_ops *power)
{
    struct i8042 *kbc = g_new0(struct i8042, 1);

    kbc->bus = bus;
    kbc->power = *power;
    i8042_reset(kbc);
    if (bus_add_pio(bus, PORT_DATA, 1, "i8042-data", &data_io, kbc) < 0 ||
        bus_add_pio(bus, PORT_COMMAND, 1, "i8042-command", &command_io, kbc) < 0) {
        i8042_free(kbc);
        return NULL;
    }
    return kbc;
}

void i8042_free(struct i8042 *kbc)
{
    if (!kbc)
        return;
    bus_remove(kbc->bus, kbc);
    g_free(kbc);
}
