/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Local and I/O APIC, 8259A. Source: SDM vol. 3 chapter 11; 82093AA, 8259A data sheets. */
#include "guest.h"

enum { MSR_APIC_BASE = 0x1b, MSR_X2APIC = 0x800, BASE_X2APIC = 1 << 10, BASE_ENABLE = 1 << 11,
       SVR_ENABLE = 0x1ff, ICR_BUSY = 1 << 12, CPUID_X2APIC = 1 << 21 };

#define APIC_ADDRESS 0xfee00000ULL

static bool use_x2apic;

bool apic_has_x2apic(void)
{
    uint32_t regs[4];

    cpuid(1, 0, regs);
    return regs[2] & CPUID_X2APIC;
}

void apic_enable(bool x2apic)
{
    uint64_t base = rdmsr(MSR_APIC_BASE) | BASE_ENABLE;

    wrmsr(MSR_APIC_BASE, base);
    if (x2apic)
        wrmsr(MSR_APIC_BASE, base | BASE_X2APIC);
    use_x2apic = x2apic;
    apic_write(APIC_SVR, SVR_ENABLE);
}

uint32_t apic_read(unsigned offset)
{
    if (use_x2apic)
        return (uint32_t)rdmsr(MSR_X2APIC + offset / 16);
    return mmio_read(APIC_ADDRESS + offset);
}

void apic_write(unsigned offset, uint32_t value)
{
    if (use_x2apic)
        wrmsr(MSR_X2APIC + offset / 16, value);
    else
        mmio_write(APIC_ADDRESS + offset, value);
}

uint32_t apic_id(void)
{
    return use_x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void apic_ipi(uint32_t dest, uint32_t command)
{
    if (use_x2apic) {
        wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)dest << 32 | command);
        return;
    }
    apic_write(APIC_ICR2, dest << 24);
    apic_write(APIC_ICR, command);
    while (apic_read(APIC_ICR) & ICR_BUSY)
        cpu_pause();
}

void ioapic_write(uint32_t base, unsigned index, uint32_t value)
{
    mmio_write(base, index);
    mmio_write(base + 0x10, value);
}

uint32_t ioapic_read(uint32_t base, unsigned index)
{
    mmio_write(base, index);
    return mmio_read(base + 0x10);
}

void pic_init(uint8_t base_vector, uint16_t mask)
{
    out8(0x20, 0x11);
    out8(0xa0, 0x11);
    out8(0x21, base_vector);
    out8(0xa1, base_vector + 8);
    out8(0x21, 4);
    out8(0xa1, 2);
    out8(0x21, 1);
    out8(0xa1, 1);
    out8(0x21, (uint8_t)mask);
    out8(0xa1, mask >> 8);
}
