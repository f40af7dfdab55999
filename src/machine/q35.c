/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The board's wiring.  ISA interrupts go to the 8259s and the I/O APIC alike (KVM's
 * default routing); a line that several devices share is high while one of them
 * asserts it.
 */
#include "q35.h"

#include "acpi.h"
#include "acpi_pm.h"
#include "apm.h"
#include "config.h"
#include "i8042.h"
#include "layout.h"
#include "pci_device.h"
#include "port92.h"
#include "range.h"
#include "rtc.h"
#include "serial.h"

#include <string.h>

enum { GSI_RTC = 8, NR_GSIS = 24, MAX_SOURCES = 32 };

struct q35 {
    struct kvm_vm *vm;
    struct bus *bus;
    struct serial *serials[MACHINE_MAX_SERIALS];
    struct rtc *rtc;
    struct acpi_pm *pm;
    struct i8042 *kbc;
    struct port92 *port92;
    struct fw_cfg *fw_cfg;
    struct apm *apm;
    struct pam *pam;            /* NULL: there is nothing that its registers change */
    struct smram *smram;        /* the same */
    bool smi;
    struct pci_bus *pci;
    struct pci_function host_bridge, isa_bridge;
    struct pci_hotplug *hotplug;
    struct devices *devices;
    /* Interrupt lines: who drives which, and which of them do. */
    unsigned nr_sources;
    uint8_t source_gsi[MAX_SOURCES];
    uint32_t asserted[NR_GSIS];
};

/* --- Interrupts --- */

static void set_line(void *opaque, unsigned source, bool level)
{
    struct q35 *board = opaque;
    unsigned gsi = board->source_gsi[source];
    uint32_t *asserted = &board->asserted[gsi], before = *asserted;
    struct kvm_irq_level line = { .irq = gsi };

    if (level)
        *asserted |= 1u << source;
    else
        *asserted &= ~(1u << source);
    line.level = *asserted != 0;
    if ((before != 0) != (*asserted != 0))
        kvm_vm_ioctl(board->vm, KVM_IRQ_LINE, &line);
}

static struct irq new_line(struct q35 *board, unsigned gsi)
{
    unsigned source = board->nr_sources++;

    g_assert(source < MAX_SOURCES && gsi < NR_GSIS);
    board->source_gsi[source] = gsi;
    return (struct irq){ .set = set_line, .opaque = board, .line = source };
}

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct q35 *board = opaque;
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address, .address_hi = address >> 32, .data = data,
    };

    /* A message to nowhere is the guest's own doing. */
    kvm_vm_ioctl(board->vm, KVM_SIGNAL_MSI, &msi);
}

static void wire_pci(struct q35 *board)
{
    struct pci_wires wires = { .msi = send_msi, .opaque = board };

    for (unsigned i = 0; i < PCI_INTX_LINES; i++)
        wires.intx[i] = new_line(board, pci_gsi(0, 1) + i);
    pci_bus_wire(board->pci, &wires);
}

/* --- PCI functions that are part of the board --- */

enum {
    VENDOR_INTEL = 0x8086, DEVICE_Q35_HOST = 0x29c0, DEVICE_ICH9_LPC = 0x2918,
    CLASS_HOST_BRIDGE = 0x0600, CLASS_ISA_BRIDGE = 0x0601,
    COMMAND_IO_MEMORY_MASTER = 7,
    SUBSYSTEM_QEMU_VENDOR = 0x1af4, SUBSYSTEM_QEMU = 0x1100,    /* what drivers' quirks expect */
    HOST_PCIEXBAR = 0x60, HOST_PAM = 0x90, HOST_SMRAM = 0x9d, HOST_ESMRAMC = 0x9e,
    LPC_PMBASE = 0x40, LPC_ACPI_CNTL = 0x44, LPC_ACPI_ENABLE = 0x80, LPC_RCBA = 0xf0,
    LPC_GEN_PMCON_1 = 0xa0, LPC_SMI_LOCK = 1 << 4,
};

/* Where the board's eight PCI lines go on the 8259s. */
static const uint8_t lpc_pirq[PCI_INTX_LINES] = {
    0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b,
};
enum { PIRQ_OFF = 0x80, PIRQ_LINE = 0x0f };

static void init_function(struct pci_function *f, const char *name, uint8_t devfn,
                          uint16_t device, uint16_t class)
{
    f->name = name;
    f->devfn = devfn;
    pci_set16(f->config, PCI_VENDOR, VENDOR_INTEL);
    pci_set16(f->config, PCI_DEVICE, device);
    pci_set16(f->config, PCI_COMMAND, COMMAND_IO_MEMORY_MASTER);
    f->config[PCI_REVISION] = 2;
    pci_set16(f->config, PCI_CLASS, class);
    pci_set16(f->config, PCI_SUBSYSTEM_VENDOR, SUBSYSTEM_QEMU_VENDOR);
    pci_set16(f->config, PCI_SUBSYSTEM, SUBSYSTEM_QEMU);
    pci_set16(f->writable, PCI_COMMAND, 0x0546);
    f->writable[PCI_INTERRUPT_LINE] = 0xff;
}

static void add_pci_functions(struct q35 *board)
{
    init_function(&board->host_bridge, "q35-host", PCI_DEVFN(0, 0), DEVICE_Q35_HOST,
                  CLASS_HOST_BRIDGE);
    pci_set32(board->host_bridge.config, HOST_PCIEXBAR, LAYOUT_ECAM | 1);
    /* A kernel that is loaded finds what firmware leaves: RAM. */
    for (unsigned i = 0; i < PAM_REGISTERS; i++)
        board->host_bridge.config[HOST_PAM + i] = i ? PAM_WRITABLE : PAM_WRITABLE_FIRST;
    pci_add(board->pci, &board->host_bridge);

    init_function(&board->isa_bridge, "ich9-lpc", PCI_DEVFN(31, 0), DEVICE_ICH9_LPC,
                  CLASS_ISA_BRIDGE);
    pci_set32(board->isa_bridge.config, LPC_PMBASE, ACPI_PM_BASE | 1);
    board->isa_bridge.config[LPC_ACPI_CNTL] = LPC_ACPI_ENABLE;
    /* The chipset's own registers, of which there is none: firmware sets where they would be. */
    pci_set32(board->isa_bridge.writable, LPC_RCBA, 0xffffc001);
    for (unsigned i = 0; i < G_N_ELEMENTS(lpc_pirq); i++) {
        board->isa_bridge.config[lpc_pirq[i]] = PIRQ_OFF;
        board->isa_bridge.writable[lpc_pirq[i]] = PIRQ_OFF | PIRQ_LINE;
    }
    pci_add(board->pci, &board->isa_bridge);
}

/* Locked, the registers stay until the next reset, and the segment is closed. */
static void smram_written(struct q35 *board)
{
    struct pci_function *f = &board->host_bridge;
    bool locked = f->config[HOST_SMRAM] & SMRAM_LOCK;

    if (locked)
        f->config[HOST_SMRAM] &= ~SMRAM_OPEN;
    f->writable[HOST_SMRAM] = locked ? SMRAM_CLOSED
                                     : SMRAM_OPEN | SMRAM_CLOSED | SMRAM_LOCK | SMRAM_ENABLE;
    f->writable[HOST_ESMRAMC] = locked ? 0 : ESMRAMC_HIGH | ESMRAMC_TSEG_SIZE | ESMRAMC_TSEG;
    smram_update(board->smram, f->config[HOST_SMRAM], f->config[HOST_ESMRAMC]);
}

static void host_bridge_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct q35 *board = (struct q35 *)((char *)f - offsetof(struct q35, host_bridge));

    if (board->pam && ranges_overlap(offset, size, HOST_PAM, PAM_REGISTERS))
        pam_update(board->pam, f->config + HOST_PAM);
    if (board->smram && ranges_overlap(offset, size, HOST_SMRAM, 2))
        smram_written(board);
}

static void isa_bridge_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct q35 *board = (struct q35 *)((char *)f - offsetof(struct q35, isa_bridge));

    if (f->config[LPC_GEN_PMCON_1] & LPC_SMI_LOCK)
        acpi_pm_lock_smi(board->pm);
}

static void use_smram(struct q35 *board, struct smram *smram)
{
    struct pci_function *f = &board->host_bridge, *lpc = &board->isa_bridge;

    board->smram = smram;
    f->config[HOST_SMRAM] = f->initial[HOST_SMRAM] = SMRAM_RESET;
    f->config[HOST_ESMRAMC] = f->initial[HOST_ESMRAMC] = ESMRAMC_RESET;
    lpc->writable[LPC_GEN_PMCON_1] = LPC_SMI_LOCK;
    lpc->written = isa_bridge_written;
    acpi_pm_use_smm(board->pm);
}

void q35_use_firmware(struct q35 *board, struct pam *pam, struct smram *smram)
{
    struct pci_function *f = &board->host_bridge;

    board->pam = pam;
    if (smram)
        use_smram(board, smram);
    f->written = host_bridge_written;
    for (unsigned i = 0; i < PAM_REGISTERS; i++) {
        f->config[HOST_PAM + i] = f->initial[HOST_PAM + i] = 0;
        f->writable[HOST_PAM + i] = i ? PAM_WRITABLE : PAM_WRITABLE_FIRST;
    }
    host_bridge_written(f, 0, PCI_CONFIG_SIZE);
}

/* --- The board --- */

static bool add_serials(struct q35 *board, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        struct irq irq = new_line(board, acpi_serials[i].irq);

        board->serials[i] = serial_new(board->bus, acpi_serials[i].port, &irq);
        if (!board->serials[i])
            return false;
    }
    return true;
}

bool q35_connect_serial(struct q35 *board, unsigned index, struct chardev *chr, GError **error)
{
    return serial_connect(board->serials[index], chr, error);
}

static void ejected(void *opaque, unsigned slot)
{
    struct q35 *board = opaque;

    if (board->devices)
        pci_device_eject(board->devices, slot);
}

static void apm_written(void *opaque)
{
    struct q35 *board = opaque;

    if (acpi_pm_apm_smi(board->pm))
        board->smi = true;
}

bool q35_take_smi(struct q35 *board)
{
    bool smi = board->smi;

    board->smi = false;
    return smi;
}

struct q35 *q35_new(struct memory *mem, bool protected, const struct power_ops *power,
                    unsigned nr_serials)
{
    struct q35 *board = g_new0(struct q35, 1);
    struct irq sci, rtc;

    board->vm = memory_vm(mem);
    board->bus = bus_new();
    sci = new_line(board, ACPI_SCI);
    rtc = new_line(board, GSI_RTC);
    board->pci = pci_bus_new(board->bus, LAYOUT_ECAM, power);
    board->pm = acpi_pm_new(board->bus, &sci, power);
    board->rtc = rtc_new(board->bus, &rtc);
    board->kbc = i8042_new(board->bus, power);
    board->port92 = port92_new(board->bus, power);
    board->apm = apm_new(board->bus, apm_written, board);
    /* In a protected VM the device couldn't write where firmware's buffers are. */
    board->fw_cfg = fw_cfg_new(board->bus, mem, !protected);
    board->hotplug = pci_hotplug_new(board->bus, board->pm, ejected, board);
    if (!board->pci || !board->pm || !board->rtc || !board->kbc || !board->hotplug ||
        !board->port92 || !board->apm || !board->fw_cfg || !add_serials(board, nr_serials)) {
        q35_free(board);
        return NULL;
    }
    wire_pci(board);
    add_pci_functions(board);
    return board;
}

struct devices *q35_make_devices(struct q35 *board, const struct device_host *host)
{
    struct device_host full = *host;

    full.bus = board->bus;
    full.pci = board->pci;
    full.hotplug = board->hotplug;
    full.fw_cfg = board->fw_cfg;
    board->devices = devices_new(&full);
    return board->devices;
}

void q35_free(struct q35 *board)
{
    if (!board)
        return;
    devices_free(board->devices);
    pci_hotplug_free(board->hotplug);
    for (size_t i = 0; i < G_N_ELEMENTS(board->serials); i++)
        serial_free(board->serials[i]);
    fw_cfg_free(board->fw_cfg);
    apm_free(board->apm);
    port92_free(board->port92);
    i8042_free(board->kbc);
    rtc_free(board->rtc);
    acpi_pm_free(board->pm);
    pci_bus_free(board->pci);
    bus_free(board->bus);
    g_free(board);
}

struct fw_cfg *q35_fw_cfg(struct q35 *board)
{
    return board->fw_cfg;
}

/* Little-endian over the given registers. */
static void set_cmos(struct q35 *board, uint8_t index, unsigned bytes, uint64_t value)
{
    for (; bytes--; index++, value >>= 8)
        rtc_set_cmos(board->rtc, index, value);
}

/* The registers that PC firmware has used since the AT, and Bochs' and QEMU's for more memory. */
void q35_set_cmos(struct q35 *board, uint64_t ram_size, unsigned cpus)
{
    enum {
        CMOS_BASE_KIB = 0x15, CMOS_EXTENDED_KIB = 0x17, CMOS_EXTENDED_KIB_2 = 0x30,
        CMOS_ABOVE_16M = 0x34, CMOS_BOOT_ORDER = 0x3d, CMOS_ABOVE_4G = 0x5b, CMOS_CPUS = 0x5f,
        BOOT_DISK = 2,
    };
    uint64_t low = layout_low_ram(ram_size);
    uint64_t extended = MIN((low - MIB) / KIB, 0xffff);

    set_cmos(board, CMOS_BASE_KIB, 2, 640);
    set_cmos(board, CMOS_EXTENDED_KIB, 2, extended);
    set_cmos(board, CMOS_EXTENDED_KIB_2, 2, extended);
    set_cmos(board, CMOS_ABOVE_16M, 2, low > 16 * MIB ? (low - 16 * MIB) / (64 * KIB) : 0);
    set_cmos(board, CMOS_ABOVE_4G, 3, (ram_size - low) / (64 * KIB));
    set_cmos(board, CMOS_CPUS, 1, cpus - 1);
    set_cmos(board, CMOS_BOOT_ORDER, 1, BOOT_DISK);     /* there is nothing else */
}

struct bus *q35_bus(struct q35 *board)
{
    return board->bus;
}

void q35_reset(struct q35 *board)
{
    bus_lock(board->bus);
    for (size_t i = 0; i < G_N_ELEMENTS(board->serials); i++) {
        if (board->serials[i])
            serial_reset(board->serials[i]);
    }
    i8042_reset(board->kbc);
    port92_reset(board->port92);
    apm_reset(board->apm);
    board->smi = false;
    fw_cfg_reset(board->fw_cfg);
    rtc_reset(board->rtc);
    acpi_pm_reset(board->pm);
    if (board->devices)
        devices_reset(board->devices);
    pci_bus_reset(board->pci);
    pci_hotplug_reset(board->hotplug);
    bus_unlock(board->bus);
}

void q35_power_button(struct q35 *board)
{
    bus_lock(board->bus);
    acpi_pm_power_button(board->pm);
    bus_unlock(board->bus);
}
