/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the bare-metal test guests share: console, start info, interrupts, APICs,
 * hypercalls.  No libc: everything here is in this folder.
 *
 * A guest is one C file with guest_main().  It prints what it finds, one line a
 * check, and ends with "PASS" or "FAIL"; then the machine is powered off.
 *
 * A KVM may be unable to read instructions in private memory: then code there
 * exits by IN and OUT only; CPUID, RDMSR and WRMSR (two bytes, as KVM then
 * assumes) and hypercall() work too.  All others are in exits.S, which is shared.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void guest_main(void);

/* console.c: the first serial port, polled. */
void console_init(void);
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
int console_wait(void);                 /* the next byte that somebody sends */

/* One check: "what: ok" or "what: FAILED"; the first failure decides the end. */
void check(bool ok, const char *what, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void finish(void);            /* PASS or FAIL, and power off */
_Noreturn void power_off(void);
void reset_machine(void);

/* string.c */
void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *s);

/* start_info.c: what the loader says (PVH). */
struct memory_range {
    uint64_t address, size;
    uint32_t type, reserved;            /* 1: RAM */
};
const char *command_line(void);
bool has_word(const char *word);        /* in the command line */
unsigned memory_map(const struct memory_range **ranges);
uint64_t rsdp_address(void);            /* 0: look for it */

/* interrupt.c */
struct frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};
struct gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
} __attribute__((packed));
typedef void handler_fn(struct frame *frame);

extern struct gate idt[256];
void interrupts_init(void);             /* by every CPU; the TSS is the boot processor's */
void set_handler(uint8_t vector, handler_fn *handler);
uint64_t *ist_stack(unsigned n);        /* top of stack n, 1 to 3 */

/*
 * Call fn, surviving exceptions: last_fault.happened says whether there was one,
 * and then the result is 0.  ring3_call() runs it at CPL 3.
 */
struct fault {
    bool happened;
    uint8_t vector;
    uint64_t error, cr2, rip, rsp;
};
extern struct fault last_fault;
typedef uint64_t try_fn(uint64_t arg);
uint64_t try_call(try_fn *fn, uint64_t arg);
uint64_t ring3_call(try_fn *fn, uint64_t arg);

/* paging.c: give one 2 MiB page of the identity map a page table; its entries. */
uint64_t *split_large_page(uint64_t address);

/* acpi.c */
struct board_info {
    unsigned cpu_count;
    uint32_t apic_ids[64];
    uint32_t ioapic_address;
    uint32_t irq0_gsi;                  /* where ISA IRQ 0 arrives */
    const char *source;                 /* "MADT", "MP table" or "default" */
};
void board_find(struct board_info *board);

/* apic.c: x2APIC if it is switched on, else xAPIC. */
enum { APIC_ID = 0x20, APIC_TPR = 0x80, APIC_EOI = 0xb0, APIC_SVR = 0xf0, APIC_ESR = 0x280,
       APIC_ICR = 0x300, APIC_ICR2 = 0x310, APIC_LVTT = 0x320, APIC_LINT0 = 0x350,
       APIC_TMICT = 0x380, APIC_TMCCT = 0x390, APIC_TDCR = 0x3e0 };
bool apic_has_x2apic(void);
void apic_enable(bool x2apic);
uint32_t apic_read(unsigned offset);
void apic_write(unsigned offset, uint32_t value);
uint32_t apic_id(void);
void apic_ipi(uint32_t dest, uint32_t command);
void ioapic_write(uint32_t base, unsigned index, uint32_t value);
uint32_t ioapic_read(uint32_t base, unsigned index);
void pic_init(uint8_t base_vector, uint16_t mask);

/* smp.c of the library: wake the others; each calls fn with its number from 1 on. */
unsigned start_cpus(const struct board_info *board, void (*fn)(unsigned number));

/* exits.S */
uint32_t mmio_read(uint64_t address);
void mmio_write(uint64_t address, uint32_t value);
uint64_t read_cr0(void);
void write_cr0(uint64_t value);
/* Sleep until an interrupt has been served; no wake-up is lost between the two. */
void wait_for_interrupt(void);

/* hypercall.c: KVM's, by VMCALL or VMMCALL as the processor's vendor has it. */
enum { HC_VAPIC_POLL_IRQ = 1, HC_KICK_CPU = 5, HC_MAP_GPA_RANGE = 12 };
enum { MAP_GPA_SHARED = 0, MAP_GPA_PRIVATE = 1 << 4 };
int64_t hypercall(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2);
bool processor_is_amd(void);
/* In a VM with private memory: a page for code that KVM must read; its contents are lost. */
void share_page(uint64_t address);

static inline void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline void out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t value;

    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint64_t rdmsr(uint32_t index)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t index, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
    __asm__ volatile("cpuid" : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
                     : "a"(leaf), "c"(subleaf) : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

static inline void interrupts_on(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void interrupts_off(void)
{
    __asm__ volatile("cli" : : : "memory");
}

static inline void flush_page(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

#endif
