/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that runs for a while in each paging mode that its processor has, on tables with all sizes of
 * pages and all rights, and prints what these tables say: by its own reading, level by
 * level, so that a debugger's page walk can be held against it.
 *
 * It says which CR3 it will have, waits in that mode for a byte on the console, and
 * then prints each entry that maps something: its first address, where that leads,
 * how many bytes, the entry itself, and the rights of all levels together.
 *
 * SDM vol. 3A, 4.3 to 4.5, and 10.8.5 for the way out of IA-32e mode and back.
 */
#include "guest.h"

#define NO_EXECUTE (1ULL << 63)
#define ADDRESS 0x000ffffffffff000ULL

enum {
    PRESENT = 1, WRITABLE = 2, USER = 4, WRITE_THROUGH = 8, NO_CACHE = 0x10, DIRTY = 0x40,
    LARGE = 0x80, GLOBAL = 0x100,
    CR4_PSE = 0x10, CR4_PAE = 0x20, CR4_PGE = 0x80, CR4_LA57 = 0x1000,
    EFER_LME = 0x100, EFER_NXE = 0x800,
};

typedef uint64_t wide_table[512];
typedef uint32_t narrow_table[1024];

static wide_table pml5, pml4, other_pml4, upper_pdpt, pdpt, directory, other_directory, table, other_table
    __attribute__((aligned(4096)));
static narrow_table narrow_directory, narrow, other_narrow __attribute__((aligned(4096)));

/* Into the mode, a byte from the console, and back.  All of it lies below 2 MiB. */
void visit(uint32_t cr3, uint32_t cr4, uint32_t efer);
__asm__(
    ".text\n"
    ".balign 256\n"          /* in one page, so that its accessed bit is set once */
    "visit:\n"
    "    pushq %rbx\n"
    "    pushq %rbp\n"
    "    pushfq\n"
    "    cli\n"
    "    movq %cr3, %rbx\n"
    "    movq %cr4, %rbp\n"
    "    pushq $0x08\n"
    "    pushq $1f\n"
    "    lretq\n"
    ".code32\n"
    "1:  movl %cr0, %eax\n"
    "    andl $0x7fffffff, %eax\n"
    "    movl %eax, %cr0\n"
    "    movl %edx, %eax\n"
    "    xorl %edx, %edx\n"
    "    movl $0xc0000080, %ecx\n"
    "    wrmsr\n"
    "    movl %esi, %cr4\n"
    "    movl %edi, %cr3\n"
    "    movl %cr0, %eax\n"
    "    orl $0x80000000, %eax\n"
    "    movl %eax, %cr0\n"
    "    movl $0x3fd, %edx\n"
    "2:  pause\n"
    "    inb %dx, %al\n"
    "    testb $1, %al\n"
    "    jz 2b\n"
    "    movl $0x3f8, %edx\n"
    "    inb %dx, %al\n"
    "    movl %cr0, %eax\n"
    "    andl $0x7fffffff, %eax\n"
    "    movl %eax, %cr0\n"
    "    movl %ebp, %cr4\n"
    "    movl %ebx, %cr3\n"
    "    movl $0xc0000080, %ecx\n"
    "    rdmsr\n"
    "    orl $0x100, %eax\n"
    "    wrmsr\n"
    "    movl %cr0, %eax\n"
    "    orl $0x80000000, %eax\n"
    "    movl %eax, %cr0\n"
    "    ljmp $0x18, $3f\n"
    ".code64\n"
    "3:  popfq\n"
    "    popq %rbp\n"
    "    popq %rbx\n"
    "    ret\n");

static uint64_t at(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

static void visit_and_say(const char *mode, const void *root, uint32_t cr4, uint32_t efer)
{
    print("mode %s cr3 0x%lx\n", mode, at(root));
    visit((uint32_t)at(root), cr4, efer);
    print("tables of %s\n", mode);
}

static void leaf(uint64_t gva, uint64_t gpa, uint64_t size, uint64_t entry, uint64_t rights)
{
    print("leaf %lx %lx %lx %lx %s%s\n", gva, gpa, size, entry, rights & USER ? "u" : "-",
          rights & WRITABLE ? "w" : "-");
}

/* --- 8-byte entries --- */

/* All rights and kinds of memory in turn, the first pages as the code needs them. */
static void fill_table(wide_table entries, uint64_t gpa)
{
    for (unsigned n = 0; n < 512; n++) {
        uint64_t varied = (n & 1 ? WRITABLE : 0) | (n & 2 ? USER : 0) | (n & 4 ? GLOBAL : 0) |
                          (n & 8 ? NO_CACHE : 0) | (n & 16 ? WRITE_THROUGH : 0) |
                          (n & 32 ? DIRTY : 0) | (n & 64 && n < 256 ? 0 : PRESENT);

        entries[n] = (gpa + n * 4096) | (gpa ? varied : PRESENT | WRITABLE);
        if (gpa && n % 7 == 3)
            entries[n] |= NO_EXECUTE;
    }
}

static void walk_table(const wide_table entries, uint64_t gva, uint64_t rights)
{
    for (unsigned n = 0; n < 512; n++) {
        if (entries[n] & PRESENT)
            leaf(gva + n * 4096ULL, entries[n] & ADDRESS, 4096, entries[n], rights & entries[n]);
    }
}

static void walk_directory(const wide_table entries, uint64_t gva, uint64_t rights)
{
    for (unsigned n = 0; n < 512; n++, gva += 0x200000) {
        if (!(entries[n] & PRESENT))
            continue;
        if (entries[n] & LARGE)
            leaf(gva, entries[n] & ADDRESS & ~0x1fffffULL, 0x200000, entries[n],
                 rights & entries[n]);
        else
            walk_table((const uint64_t *)(entries[n] & ADDRESS), gva, rights & entries[n]);
    }
}

static void walk_pdpt(const uint64_t *entries, unsigned count, uint64_t gva, uint64_t rights)
{
    for (unsigned n = 0; n < count; n++, gva += 0x40000000) {
        if (!(entries[n] & PRESENT))
            continue;
        /* PAE's entries have no rights. */
        if (entries[n] & LARGE)
            leaf(gva, entries[n] & ADDRESS & ~0x3fffffffULL, 0x40000000, entries[n],
                 rights & entries[n]);
        else
            walk_directory((const uint64_t *)(entries[n] & ADDRESS), gva,
                           count == 4 ? rights : rights & entries[n]);
    }
}

static void make_directories(void)
{
    fill_table(table, 0);
    fill_table(other_table, 0x800000);
    memset(directory, 0, sizeof(directory));
    memset(other_directory, 0, sizeof(other_directory));
    memset(pdpt, 0, sizeof(pdpt));
    directory[0] = at(table) | PRESENT | WRITABLE | USER;
    directory[1] = 0x1200000 | PRESENT | LARGE | USER | NO_EXECUTE;
    directory[5] = at(other_table) | PRESENT | USER;
    directory[6] = at(other_table) | PRESENT | WRITABLE;
    directory[511] = 0x200000 | PRESENT | LARGE | WRITABLE | GLOBAL | DIRTY;
    other_directory[0] = at(other_table) | PRESENT | WRITABLE | USER | NO_EXECUTE;
    other_directory[511] = 0x400000 | PRESENT | LARGE;
}

static void visit_pae(void)
{
    make_directories();
    pdpt[0] = at(directory) | PRESENT;
    pdpt[3] = at(other_directory) | PRESENT;
    visit_and_say("PAE", pdpt, CR4_PAE | CR4_PGE, EFER_NXE);
    walk_pdpt(pdpt, 4, 0, WRITABLE | USER);
}

static void make_pml4(void)
{
    make_directories();
    pdpt[0] = at(directory) | PRESENT | WRITABLE | USER;
    pdpt[1] = at(other_directory) | PRESENT | WRITABLE;
    pdpt[2] = 0x40000000 | PRESENT | LARGE | USER | NO_EXECUTE;
    memset(upper_pdpt, 0, sizeof(upper_pdpt));
    upper_pdpt[510] = at(directory) | PRESENT | WRITABLE;
    upper_pdpt[511] = at(other_directory) | PRESENT | USER;
    memset(pml4, 0, sizeof(pml4));
    pml4[0] = at(pdpt) | PRESENT | WRITABLE | USER;
    pml4[256] = at(pdpt) | PRESENT | USER | NO_EXECUTE;
    pml4[511] = at(upper_pdpt) | PRESENT | WRITABLE | USER;
}

/* upper: what is added to the addresses of the upper half. */
static void walk_pml4(const wide_table entries, uint64_t gva, uint64_t upper, uint64_t rights)
{
    for (uint64_t n = 0; n < 512; n++) {
        if (entries[n] & PRESENT)
            walk_pdpt((const uint64_t *)(entries[n] & ADDRESS), 512,
                      gva + (n << 39) + (n & 256 ? upper : 0), rights & entries[n]);
    }
}

static void visit_4level(void)
{
    make_pml4();
    visit_and_say("4-level", pml4, CR4_PAE | CR4_PGE, EFER_LME | EFER_NXE);
    walk_pml4(pml4, 0, 0xffff000000000000, WRITABLE | USER);
}

static bool has_5level(void)
{
    uint32_t leaf = 7, subleaf = 0, ebx, edx;

    __asm__ volatile("cpuid" : "+a"(leaf), "=b"(ebx), "+c"(subleaf), "=d"(edx));
    return subleaf >> 16 & 1;
}

static void visit_5level(void)
{
    make_pml4();
    memset(other_pml4, 0, sizeof(other_pml4));
    other_pml4[3] = at(pdpt) | PRESENT | WRITABLE | USER;
    other_pml4[300] = at(upper_pdpt) | PRESENT | USER;
    memset(pml5, 0, sizeof(pml5));
    pml5[0] = at(pml4) | PRESENT | WRITABLE | USER;
    pml5[1] = at(other_pml4) | PRESENT | WRITABLE | USER;
    pml5[256] = at(other_pml4) | PRESENT | USER | NO_EXECUTE;
    pml5[511] = at(other_pml4) | PRESENT | WRITABLE;
    visit_and_say("5-level", pml5, CR4_PAE | CR4_PGE | CR4_LA57, EFER_LME | EFER_NXE);
    for (uint64_t n = 0; n < 512; n++) {
        uint64_t gva = n << 48 | (n & 256 ? 0xfe00000000000000 : 0);

        if (pml5[n] & PRESENT)
            walk_pml4((const uint64_t *)(pml5[n] & ADDRESS), gva, 0, pml5[n]);
    }
}

/* --- 4-byte entries --- */

static void walk_narrow(const narrow_table entries, uint64_t gva, uint32_t rights)
{
    for (unsigned n = 0; n < 1024; n++) {
        if (entries[n] & PRESENT)
            leaf(gva + n * 4096ULL, entries[n] & 0xfffff000, 4096, entries[n],
                 rights & entries[n]);
    }
}

static void visit_32bit(void)
{
    for (unsigned n = 0; n < 1024; n++) {
        narrow[n] = n * 4096 | PRESENT | WRITABLE;
        other_narrow[n] = (0x800000 + n * 8192) | (n & 1 ? WRITABLE : 0) | (n & 2 ? USER : 0) |
                          (n & 4 ? GLOBAL : 0) | (n % 5 ? PRESENT : 0);
    }
    memset(narrow_directory, 0, sizeof(narrow_directory));
    narrow_directory[0] = (uint32_t)at(narrow) | PRESENT | WRITABLE | USER;
    narrow_directory[1] = 0x00800000 | PRESENT | LARGE | USER | GLOBAL;
    narrow_directory[2] = 0x00c00000 | 0x3 << 13 | PRESENT | LARGE | WRITABLE;  /* 3 * 4 GiB on */
    narrow_directory[768] = (uint32_t)at(other_narrow) | PRESENT | WRITABLE | USER;
    narrow_directory[1023] = (uint32_t)at(other_narrow) | PRESENT;
    visit_and_say("32-bit", narrow_directory, CR4_PSE | CR4_PGE, 0);
    for (unsigned n = 0; n < 1024; n++) {
        uint32_t entry = narrow_directory[n];
        uint64_t gva = (uint64_t)n << 22;

        if (!(entry & PRESENT))
            continue;
        if (entry & LARGE)
            leaf(gva, (entry & 0xffc00000) | (uint64_t)(entry >> 13 & 0xff) << 32, 0x400000, entry,
                 entry);
        else
            walk_narrow((const uint32_t *)(uintptr_t)(entry & 0xfffff000), gva, entry);
    }
}

void guest_main(void)
{
    visit_32bit();
    visit_pae();
    visit_4level();
    if (has_5level())
        visit_5level();
    check(true, "all modes");
}
