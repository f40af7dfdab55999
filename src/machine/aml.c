/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Encodings of ACPI 6.4: 20.2 (AML) and 6.4 (resource descriptors). */
#include "aml.h"

#include <string.h>

enum {
    PREFIX_MULTI_NAME = 0x2f, OP_ZERO = 0x00, OP_ONE = 0x01, OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b,
    OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e, OP_SCOPE = 0x10, OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12, OP_METHOD = 0x14, OP_ARG0 = 0x68, OP_STORE = 0x70,
    OP_AND = 0x7b, OP_NOTIFY = 0x86, OP_IF = 0xa0, OP_EXTENDED = 0x5b,
    OP_EXTENDED_REGION = 0x80, OP_EXTENDED_FIELD = 0x81, OP_EXTENDED_DEVICE = 0x82,
    REGION_PORTS = 1, FIELD_DWORD_WRITE_ZEROS = 0x43,

    RES_IRQ_NO_FLAGS = 0x22, RES_IO = 0x47, RES_END = 0x79, RES_MEMORY32_FIXED = 0x86,
    RES_DWORD_SPACE = 0x87, RES_WORD_SPACE = 0x88, RES_QWORD_SPACE = 0x8a,
    SPACE_MEMORY = 0, SPACE_IO = 1, SPACE_BUS = 2,
    SPACE_FIXED = 0x0c,         /* both bounds are fixed, decoded positively */
    SPACE_READ_WRITE = 1, SPACE_ENTIRE_RANGE = 3, SPACE_PREFETCHABLE = 3 << 1,
};

void put8(GByteArray *out, uint8_t value)
{
    g_byte_array_append(out, &value, 1);
}

void put16(GByteArray *out, uint16_t value)
{
    put8(out, value);
    put8(out, value >> 8);
}

void put32(GByteArray *out, uint32_t value)
{
    put16(out, value);
    put16(out, value >> 16);
}

void put64(GByteArray *out, uint64_t value)
{
    put32(out, value);
    put32(out, value >> 32);
}

void aml_name_string(GByteArray *out, const char *name)
{
    size_t length;

    if (*name == '\\') {
        put8(out, '\\');
        name++;
    }
    length = strlen(name);
    for (size_t i = 0; i < 4; i++)
        put8(out, i < length ? name[i] : '_');
}

void aml_name_path(GByteArray *out, const char *first, const char *second, const char *third)
{
    put8(out, '\\');
    put8(out, PREFIX_MULTI_NAME);
    put8(out, 3);
    aml_name_string(out, first + 1);
    aml_name_string(out, second);
    aml_name_string(out, third);
}

void aml_integer(GByteArray *out, uint64_t value)
{
    if (value <= 1) {
        put8(out, value ? OP_ONE : OP_ZERO);
    } else if (value <= UINT8_MAX) {
        put8(out, OP_BYTE);
        put8(out, value);
    } else if (value <= UINT16_MAX) {
        put8(out, OP_WORD);
        put16(out, value);
    } else if (value <= UINT32_MAX) {
        put8(out, OP_DWORD);
        put32(out, value);
    } else {
        put8(out, OP_QWORD);
        put64(out, value);
    }
}

/* Three letters in 5 bits each, four hex digits; big-endian: 19.3.4, EISAID. */
void aml_hardware_id(GByteArray *out, const char *id)
{
    uint32_t value;

    if (strlen(id) != 7) {
        put8(out, OP_STRING);
        g_byte_array_append(out, (const guint8 *)id, strlen(id) + 1);
        return;
    }
    value = (uint32_t)(id[0] - 0x40) << 26 | (uint32_t)(id[1] - 0x40) << 21 |
            (uint32_t)(id[2] - 0x40) << 16;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)g_ascii_xdigit_value(id[3 + i]) << (12 - 4 * i);
    put8(out, OP_DWORD);
    put32(out, GUINT32_SWAP_LE_BE(value));
}

void aml_name(GByteArray *out, const char *name)
{
    put8(out, OP_NAME);
    aml_name_string(out, name);
}

aml_block aml_scope(GByteArray *out, const char *name)
{
    aml_block block;

    put8(out, OP_SCOPE);
    block = out->len;
    aml_name_string(out, name);
    return block;
}

aml_block aml_device(GByteArray *out, const char *name)
{
    aml_block block;

    put8(out, OP_EXTENDED);
    put8(out, OP_EXTENDED_DEVICE);
    block = out->len;
    aml_name_string(out, name);
    return block;
}

aml_block aml_package(GByteArray *out, uint8_t elements)
{
    aml_block block;

    put8(out, OP_PACKAGE);
    block = out->len;
    put8(out, elements);
    return block;
}

aml_block aml_method(GByteArray *out, const char *name, uint8_t arguments)
{
    aml_block block;

    put8(out, OP_METHOD);
    block = out->len;
    aml_name_string(out, name);
    put8(out, arguments);
    return block;
}

void aml_ports(GByteArray *out, const char *name, uint16_t base, uint8_t size)
{
    put8(out, OP_EXTENDED);
    put8(out, OP_EXTENDED_REGION);
    aml_name_string(out, name);
    put8(out, REGION_PORTS);
    aml_integer(out, base);
    aml_integer(out, size);
}

void aml_fields32(GByteArray *out, const char *region, const char *const *names, unsigned count)
{
    aml_block block;

    put8(out, OP_EXTENDED);
    put8(out, OP_EXTENDED_FIELD);
    block = out->len;
    aml_name_string(out, region);
    put8(out, FIELD_DWORD_WRITE_ZEROS);
    for (unsigned i = 0; i < count; i++) {
        aml_name_string(out, names[i]);
        put8(out, 32);          /* bits, as a PkgLength of one byte */
    }
    aml_close(out, block);
}

void aml_argument(GByteArray *out, unsigned n)
{
    put8(out, OP_ARG0 + n);
}

void aml_store(GByteArray *out)
{
    put8(out, OP_STORE);
}

void aml_notify(GByteArray *out)
{
    put8(out, OP_NOTIFY);
}

aml_block aml_if_argument_bits(GByteArray *out, unsigned n, uint32_t mask)
{
    aml_block block;

    put8(out, OP_IF);
    block = out->len;
    put8(out, OP_AND);
    aml_argument(out, n);
    aml_integer(out, mask);
    put8(out, 0);               /* the result goes nowhere else */
    return block;
}

static void insert(GByteArray *out, guint at, const uint8_t *bytes, guint size)
{
    guint moved = out->len - at;

    g_byte_array_set_size(out, out->len + size);
    memmove(out->data + at + size, out->data + at, moved);
    memcpy(out->data + at, bytes, size);
}

/* PkgLength (20.2.4) counts itself: 1 byte up to 63, else 4 bits and up to three more bytes. */
void aml_close(GByteArray *out, aml_block block)
{
    uint32_t length = out->len - block;
    uint8_t bytes[4];
    guint extra = 0;

    if (length + 1 < 1u << 6)
        extra = 0;
    else if (length + 2 < 1u << 12)
        extra = 1;
    else if (length + 3 < 1u << 20)
        extra = 2;
    else
        extra = 3;
    length += 1 + extra;
    if (extra == 0) {
        bytes[0] = length;
    } else {
        bytes[0] = extra << 6 | (length & 15);
        for (guint i = 1; i <= extra; i++)
            bytes[i] = length >> (8 * i - 4);
    }
    insert(out, block, bytes, 1 + extra);
}

aml_block aml_resources(GByteArray *out)
{
    put8(out, OP_BUFFER);
    return out->len;
}

void aml_close_resources(GByteArray *out, aml_block block)
{
    g_autoptr(GByteArray) size = g_byte_array_new();

    put8(out, RES_END);
    put8(out, 0);               /* checksum: none */
    aml_integer(size, out->len - block);
    insert(out, block, size->data, size->len);
    aml_close(out, block);
}

void aml_io(GByteArray *out, uint16_t port, uint8_t size)
{
    put8(out, RES_IO);
    put8(out, 1);               /* all 16 address lines are decoded */
    put16(out, port);
    put16(out, port);
    put8(out, 1);
    put8(out, size);
}

void aml_irq(GByteArray *out, unsigned irq)
{
    put8(out, RES_IRQ_NO_FLAGS);
    put16(out, 1u << irq);
}

void aml_memory32_fixed(GByteArray *out, uint32_t base, uint32_t size)
{
    put8(out, RES_MEMORY32_FIXED);
    put16(out, 9);
    put8(out, 1);               /* writable */
    put32(out, base);
    put32(out, size);
}

static void word_space(GByteArray *out, uint8_t type, uint8_t flags, uint16_t first, uint16_t last)
{
    put8(out, RES_WORD_SPACE);
    put16(out, 13);
    put8(out, type);
    put8(out, SPACE_FIXED);
    put8(out, flags);
    put16(out, 0);              /* granularity */
    put16(out, first);
    put16(out, last);
    put16(out, 0);              /* translation */
    put16(out, last - first + 1);
}

void aml_window_bus(GByteArray *out, uint16_t first, uint16_t last)
{
    word_space(out, SPACE_BUS, 0, first, last);
}

void aml_window_io(GByteArray *out, uint16_t first, uint16_t last)
{
    word_space(out, SPACE_IO, SPACE_ENTIRE_RANGE, first, last);
}

void aml_window_memory32(GByteArray *out, uint32_t first, uint32_t last)
{
    put8(out, RES_DWORD_SPACE);
    put16(out, 23);
    put8(out, SPACE_MEMORY);
    put8(out, SPACE_FIXED);
    put8(out, SPACE_READ_WRITE);
    put32(out, 0);
    put32(out, first);
    put32(out, last);
    put32(out, 0);
    put32(out, last - first + 1);
}

void aml_window_memory64(GByteArray *out, uint64_t first, uint64_t last)
{
    put8(out, RES_QWORD_SPACE);
    put16(out, 43);
    put8(out, SPACE_MEMORY);
    put8(out, SPACE_FIXED);
    put8(out, SPACE_READ_WRITE | SPACE_PREFETCHABLE);
    put64(out, 0);
    put64(out, first);
    put64(out, last);
    put64(out, 0);
    put64(out, last - first + 1);
}
