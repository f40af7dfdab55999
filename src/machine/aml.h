/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing ACPI Machine Language (ACPI 6.4, chapter 20): as much of it as the
 * description of a board and its few methods need.  Everything is appended to a byte array; blocks with
 * a length are opened and closed around what they contain.
 */
#ifndef MACHINE_AML_H
#define MACHINE_AML_H

#include <glib.h>
#include <stdint.h>

/* Little-endian values, for AML and tables alike. */
void put8(GByteArray *out, uint8_t value);
void put16(GByteArray *out, uint16_t value);
void put32(GByteArray *out, uint32_t value);
void put64(GByteArray *out, uint64_t value);

/* A name segment: up to 4 characters, padded with '_'; a leading '\' is kept. */
void aml_name_string(GByteArray *out, const char *name);
/* Three of them, the first from the root: "\\_SB.PCI0.HPEV". */
void aml_name_path(GByteArray *out, const char *first, const char *second, const char *third);
void aml_integer(GByteArray *out, uint64_t value);
/* "PNP0A03" as the compressed integer that _HID takes, or a string where it isn't of that form. */
void aml_hardware_id(GByteArray *out, const char *id);

/* Name (name, and then one object that the caller appends. */
void aml_name(GByteArray *out, const char *name);

/* An open block: where its content started.  Close in reverse order of opening. */
typedef guint aml_block;

aml_block aml_scope(GByteArray *out, const char *name);
aml_block aml_device(GByteArray *out, const char *name);
aml_block aml_package(GByteArray *out, uint8_t elements);
void aml_close(GByteArray *out, aml_block block);

/* A method that isn't serialized. arguments: up to 7. */
aml_block aml_method(GByteArray *out, const char *name, uint8_t arguments);
/* A range of I/O ports, and 32-bit fields one after another in it. */
void aml_ports(GByteArray *out, const char *name, uint16_t base, uint8_t size);
void aml_fields32(GByteArray *out, const char *region, const char *const *names, unsigned count);

/*
 * Statements; the caller appends what they work on: name strings, integers, arguments.
 */
void aml_argument(GByteArray *out, unsigned n);
void aml_store(GByteArray *out);                /* then what, then where */
void aml_notify(GByteArray *out);               /* then the object, then the value */
/* If (argument n & mask) ... up to aml_close(). */
aml_block aml_if_argument_bits(GByteArray *out, unsigned n, uint32_t mask);

/* Resource templates: aml_resources() ... aml_close_resources(), as the object of _CRS. */
aml_block aml_resources(GByteArray *out);
void aml_close_resources(GByteArray *out, aml_block block);
void aml_io(GByteArray *out, uint16_t port, uint8_t size);
void aml_irq(GByteArray *out, unsigned irq);
void aml_memory32_fixed(GByteArray *out, uint32_t base, uint32_t size);
/* What a bridge passes on: bus numbers, ports, memory. Bounds are inclusive. */
void aml_window_bus(GByteArray *out, uint16_t first, uint16_t last);
void aml_window_io(GByteArray *out, uint16_t first, uint16_t last);
void aml_window_memory32(GByteArray *out, uint32_t first, uint32_t last);
void aml_window_memory64(GByteArray *out, uint64_t first, uint64_t last);      /* prefetchable */

#endif
