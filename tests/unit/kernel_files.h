/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small valid kernels, which tests and the fuzz target then damage. */
#ifndef TESTS_KERNEL_FILES_H
#define TESTS_KERNEL_FILES_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { GOOD_BZIMAGE_SIZE = 0x1000, GOOD_ELF_SIZE = 0x200 };

static inline void store(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = value >> (8 * i);
}

/* 1 setup sector and 0xc00 bytes of kernel, protocol 2.15, relocatable. */
static inline void good_bzimage(uint8_t file[GOOD_BZIMAGE_SIZE])
{
    memset(file, 0, GOOD_BZIMAGE_SIZE);
    file[0x1f1] = 1;
    store(file + 0x1f4, 0xc00 / 16, 4);
    store(file + 0x1fe, 0xaa55, 2);
    file[0x200] = 0xeb;
    file[0x201] = 0x6a;
    memcpy(file + 0x202, "HdrS", 4);
    store(file + 0x206, 0x020f, 2);
    file[0x211] = 1;
    store(file + 0x214, 0x100000, 4);
    store(file + 0x22c, 0x7fffffff, 4);
    store(file + 0x230, 0x200000, 4);
    file[0x234] = 1;
    store(file + 0x238, 2047, 4);
    store(file + 0x258, 0x1000000, 8);
    store(file + 0x260, 0x400000, 4);
}

/* ELF64: header, PT_LOAD of 0x80 bytes at 1 MiB, PT_NOTE with the PVH entry. */
static inline void good_elf(uint8_t file[GOOD_ELF_SIZE])
{
    Elf64_Ehdr header = {
        .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_phoff = 0x40,
        .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
    };
    Elf64_Phdr load = {
        .p_type = PT_LOAD, .p_offset = 0x100, .p_paddr = 0x100000, .p_filesz = 0x80,
        .p_memsz = 0x1000,
    };
    Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = 0x180, .p_filesz = 20, .p_align = 4 };

    memset(file, 0, GOOD_ELF_SIZE);
    memcpy(file, &header, sizeof(header));
    memcpy(file + 0x40, &load, sizeof(load));
    memcpy(file + 0x40 + sizeof(load), &note, sizeof(note));
    store(file + 0x180, 4, 4);
    store(file + 0x184, 4, 4);
    store(file + 0x188, 18, 4);
    memcpy(file + 0x18c, "Xen", 4);
    store(file + 0x190, 0x100010, 4);
}

#endif
