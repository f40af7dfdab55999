/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PCI functions as a guest programs them: BARs, MSI-X, INTx, and hot-plug's registers. */
#include "pci.h"
#include "pci_hotplug.h"

#include <glib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ECAM 0xb0000000ULL
#define SLOT(slot_) (ECAM + ((uint64_t)(slot_) << 15))

enum { BAR = PCI_BAR0, WIDE_BAR = PCI_BAR0 + 8, MEMORY = PCI_COMMAND_MEMORY };

struct board {
    struct bus *bus;
    struct pci_bus *pci;
    struct pci_function a, b;
    unsigned long last_write;
    bool lines[PCI_INTX_LINES], sci;
    unsigned messages, ejected;
    uint64_t address;
    uint32_t data;
    struct acpi_pm *pm;
    struct pci_hotplug *hotplug;
};

static void set_line(void *opaque, unsigned line, bool level)
{
    ((bool *)opaque)[line] = level;
}

static void message(void *opaque, uint64_t address, uint32_t data)
{
    struct board *b = opaque;

    b->messages++;
    b->address = address;
    b->data = data;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset | 0x80;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    ((struct board *)opaque)->last_write = offset << 8 | value;
}

static const struct io_ops bar_ops = { .read = bar_read, .write = bar_write };

static void nothing(void *opaque)
{
}

static void ejected(void *opaque, unsigned slot)
{
    ((struct board *)opaque)->ejected |= 1u << slot;
}

static void make_function(struct board *b, struct pci_function *f, unsigned slot)
{
    f->name = "test";
    f->devfn = PCI_DEVFN(slot, 0);
    pci_set16(f->config, PCI_VENDOR, 0x1234);
    pci_set16(f->writable, PCI_COMMAND, MEMORY | PCI_COMMAND_INTX_OFF);
    pci_set_bar(f, 0, 4096, false, &bar_ops, b);
    pci_set_bar(f, 2, 1 << 20, true, &bar_ops, b);
    pci_add_msix(f, 1, 3);
    assert_true(pci_add(b->pci, f));
}

static int setup(void **state)
{
    struct board *b = g_new0(struct board, 1);
    struct power_ops power = { .shutdown = nothing, .reset = nothing };
    struct irq sci = { .set = set_line, .opaque = &b->sci };
    struct pci_wires wires = { .msi = message, .opaque = b };

    b->bus = bus_new();
    b->pci = pci_bus_new(b->bus, ECAM, &power);
    b->pm = acpi_pm_new(b->bus, &sci, &power);
    b->hotplug = pci_hotplug_new(b->bus, b->pm, ejected, b);
    for (unsigned i = 0; i < PCI_INTX_LINES; i++)
        wires.intx[i] = (struct irq){ .set = set_line, .opaque = b->lines, .line = i };
    pci_bus_wire(b->pci, &wires);
    make_function(b, &b->a, 2);
    make_function(b, &b->b, 10);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct board *b = *state;

    pci_hotplug_free(b->hotplug);
    acpi_pm_free(b->pm);
    pci_bus_free(b->pci);
    bus_free(b->bus);
    g_free(b);
    return 0;
}

static uint64_t load(struct board *b, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    bus_mmio(b->bus, gpa, &value, size, false);
    return value;
}

static void store(struct board *b, uint64_t gpa, unsigned size, uint64_t value)
{
    bus_mmio(b->bus, gpa, &value, size, true);
}

static uint32_t in(struct board *b, uint16_t port)
{
    uint32_t value = 0;

    bus_pio(b->bus, port, &value, 4, false);
    return value;
}

static void out(struct board *b, uint16_t port, uint32_t value)
{
    bus_pio(b->bus, port, &value, 4, true);
}

static void test_bars_are_sized_and_mapped(void **state)
{
    struct board *b = *state;

    store(b, SLOT(2) + BAR, 4, 0xffffffff);
    assert_int_equal(load(b, SLOT(2) + BAR, 4), 0xfffff000);
    store(b, SLOT(2) + WIDE_BAR, 4, 0xffffffff);
    store(b, SLOT(2) + WIDE_BAR + 4, 4, 0xffffffff);
    assert_int_equal(load(b, SLOT(2) + WIDE_BAR, 4), 0xfff0000c);
    assert_int_equal(load(b, SLOT(2) + WIDE_BAR + 4, 4), 0xffffffff);
    store(b, SLOT(2) + BAR, 4, 0xc0000000);
    store(b, SLOT(2) + WIDE_BAR, 4, 0x00100000);
    store(b, SLOT(2) + WIDE_BAR + 4, 4, 0x8);
    /* Not before decoding is on. */
    assert_int_equal(load(b, 0xc0000010, 4), 0xffffffff);
    store(b, SLOT(2) + PCI_COMMAND, 2, MEMORY);
    assert_int_equal(load(b, 0xc0000010, 4), 0x90);
    assert_int_equal(load(b, 0x800100020, 4), 0xa0);
    store(b, 0x800100004, 1, 7);
    assert_int_equal(b->last_write, 0x407);
    /* It moves, and is nowhere else then. */
    store(b, SLOT(2) + BAR, 4, 0xc0002000);
    assert_int_equal(load(b, 0xc0000010, 4), 0xffffffff);
    assert_int_equal(load(b, 0xc0002010, 4), 0x90);
    store(b, SLOT(2) + PCI_COMMAND, 2, 0);
    assert_int_equal(load(b, 0xc0002010, 4), 0xffffffff);
}

/* On one another, on the configuration window, at the end of the address space: no harm. */
static void test_bars_in_wrong_places(void **state)
{
    struct board *b = *state;

    store(b, SLOT(2) + PCI_COMMAND, 2, MEMORY);
    store(b, SLOT(10) + PCI_COMMAND, 2, MEMORY);
    store(b, SLOT(2) + BAR, 4, 0xc0000000);
    store(b, SLOT(10) + BAR, 4, 0xc0000000);
    assert_int_equal(load(b, 0xc0000000, 4), 0x80);
    assert_int_equal(b->b.bars[0].address, PCI_UNMAPPED);
    store(b, SLOT(10) + BAR, 4, ECAM);
    assert_int_equal(load(b, SLOT(2), 2), 0x1234);
    store(b, SLOT(10) + WIDE_BAR + 4, 4, 0xffffffff);
    store(b, SLOT(10) + WIDE_BAR, 4, 0xffffffff);
    assert_int_equal(b->b.bars[2].address, PCI_UNMAPPED);
    pci_bus_reset(b->pci);
    assert_int_equal(load(b, 0xc0000000, 4), 0xffffffff);
    pci_remove(&b->a);
    assert_int_equal(load(b, SLOT(2), 2), 0xffff);
}

static void test_msix(void **state)
{
    struct board *b = *state;
    unsigned capability = load(b, SLOT(2) + PCI_CAPABILITIES, 1);
    uint64_t table = 0xc0001000;

    assert_int_equal(load(b, SLOT(2) + capability, 1), 0x11);
    assert_int_equal(load(b, SLOT(2) + capability + 2, 2), 2);
    store(b, SLOT(2) + PCI_BAR0 + 4, 4, table);
    store(b, SLOT(2) + PCI_COMMAND, 2, MEMORY);
    store(b, table + 16, 4, 0xfee01000);
    store(b, table + 24, 4, 0x41);
    pci_msix_notify(&b->a, 1);
    assert_int_equal(b->messages, 0);           /* not enabled: lost */
    store(b, SLOT(2) + capability + 2, 2, 0x8000);
    pci_msix_notify(&b->a, 1);
    assert_int_equal(b->messages, 0);           /* the vector is masked: pending */
    assert_int_equal(load(b, table + 0x800, 4), 2);
    store(b, table + 28, 4, 0);
    assert_int_equal(b->messages, 1);
    assert_int_equal(b->address, 0xfee01000);
    assert_int_equal(b->data, 0x41);
    assert_int_equal(load(b, table + 0x800, 4), 0);
    store(b, SLOT(2) + capability + 2, 2, 0xc000);      /* the function is masked */
    pci_msix_notify(&b->a, 1);
    pci_msix_notify(&b->a, 77);
    assert_int_equal(b->messages, 1);
    store(b, SLOT(2) + capability + 2, 2, 0x8000);
    assert_int_equal(b->messages, 2);
    /* Bytes, pending bits and what lies between are not for writing. */
    store(b, table + 16, 1, 0);
    store(b, table + 0x800, 4, 0xffffffff);
    store(b, table + 0x700, 4, 0xffffffff);
    assert_int_equal(load(b, table + 16, 4), 0xfee01000);
    assert_int_equal(load(b, table + 0x800, 4), 0);
    assert_int_equal(load(b, table + 0x700, 4), 0);
}

/* Slots 2 and 10 share a line. */
static void test_intx_is_shared(void **state)
{
    struct board *b = *state;
    unsigned line = 2;

    pci_set_intx(&b->a, true);
    assert_true(b->lines[line]);
    assert_int_equal(load(b, SLOT(2) + PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
    pci_set_intx(&b->b, true);
    pci_set_intx(&b->a, false);
    assert_true(b->lines[line]);
    store(b, SLOT(10) + PCI_COMMAND, 2, PCI_COMMAND_INTX_OFF);
    assert_false(b->lines[line]);
    store(b, SLOT(10) + PCI_COMMAND, 2, 0);
    assert_true(b->lines[line]);
    pci_remove(&b->b);
    assert_false(b->lines[line]);
    pci_set_intx(&b->b, true);
    assert_false(b->lines[line]);
}

static void test_hotplug_registers(void **state)
{
    struct board *b = *state;

    out(b, ACPI_PM_BASE + ACPI_GPE0 + 8, 1u << PCI_HOTPLUG_GPE);
    pci_hotplug_plugged(b->hotplug, 5);
    assert_true(b->sci);
    out(b, ACPI_PM_BASE + ACPI_GPE0, 1u << PCI_HOTPLUG_GPE);
    assert_false(b->sci);
    assert_int_equal(in(b, PCI_HOTPLUG_BASE + PCI_HOTPLUG_UP), 1 << 5);
    assert_int_equal(in(b, PCI_HOTPLUG_BASE + PCI_HOTPLUG_UP), 0);
    pci_hotplug_request_unplug(b->hotplug, 6);
    pci_hotplug_request_unplug(b->hotplug, 7);
    assert_true(b->sci);
    assert_int_equal(in(b, PCI_HOTPLUG_BASE + PCI_HOTPLUG_DOWN), 3 << 6);
    out(b, PCI_HOTPLUG_BASE + PCI_HOTPLUG_EJECT, 1 << 6);
    assert_int_equal(b->ejected, 1 << 6);
    assert_int_equal(in(b, PCI_HOTPLUG_BASE + PCI_HOTPLUG_DOWN), 1 << 7);
    /* A reset is as good as the guest's consent. */
    pci_hotplug_reset(b->hotplug);
    assert_int_equal(b->ejected, 3 << 6);
    assert_int_equal(in(b, PCI_HOTPLUG_BASE + PCI_HOTPLUG_DOWN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bars_are_sized_and_mapped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bars_in_wrong_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intx_is_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hotplug_registers, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
