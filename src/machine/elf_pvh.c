/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ELF (System V gABI, chapters 4 and 5), 32 and 64 bit, and Xen's PVH boot ABI
 * (Xen docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h): the entry is in a
 * note, name "Xen", type 18.
 */
#include "elf_pvh.h"

#include "aml.h"
#include "error.h"
#include "memory_map.h"
#include "range.h"

#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    NOTE_PHYS32_ENTRY = 18,
    START_INFO_SIZE = 56, MODULE_SIZE = 32,
    MAX_PROGRAM_HEADERS = 128,
};
#define START_INFO_MAGIC 0x336ec578u

/* The fields that matter, of either class. */
struct header {
    uint64_t phoff;
    unsigned phnum, phentsize, machine;
    bool wide;
};

bool elf_pvh_is(const uint8_t *file, size_t size)
{
    return size >= SELFMAG && memcmp(file, ELFMAG, SELFMAG) == 0;
}

static bool read_header(const uint8_t *file, size_t size, struct header *h, GError **error)
{
    if (size < EI_NIDENT || size < (file[EI_CLASS] == ELFCLASS64 ? sizeof(Elf64_Ehdr)
                                                                  : sizeof(Elf32_Ehdr))) {
        error_set(error, "truncated within its ELF header");
        return false;
    }
    if (file[EI_CLASS] == ELFCLASS64) {
        Elf64_Ehdr e;

        memcpy(&e, file, sizeof(e));
        *h = (struct header){ e.e_phoff, e.e_phnum, e.e_phentsize, e.e_machine, true };
    } else if (file[EI_CLASS] == ELFCLASS32) {
        Elf32_Ehdr e;

        memcpy(&e, file, sizeof(e));
        *h = (struct header){ e.e_phoff, e.e_phnum, e.e_phentsize, e.e_machine, false };
    } else {
        error_set(error, "an ELF file of unknown class %u", file[EI_CLASS]);
        return false;
    }
    if (file[EI_DATA] != ELFDATA2LSB || (h->machine != EM_X86_64 && h->machine != EM_386)) {
        error_set(error, "an ELF file for another processor: x86-64 or i386");
        return false;
    }
    if (h->phnum == 0 || h->phnum > MAX_PROGRAM_HEADERS) {
        error_set(error, "%u ELF program headers: from 1 to %d", h->phnum, MAX_PROGRAM_HEADERS);
        return false;
    }
    if (h->phentsize != (h->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) ||
        !range_within(h->phoff, (uint64_t)h->phnum * h->phentsize, size)) {
        error_set(error, "its ELF program headers are outside the file");
        return false;
    }
    return true;
}

static Elf64_Phdr read_program_header(const uint8_t *file, const struct header *h, unsigned i)
{
    const uint8_t *at = file + h->phoff + (size_t)i * h->phentsize;
    Elf64_Phdr wide;
    Elf32_Phdr narrow;

    if (h->wide) {
        memcpy(&wide, at, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, at, sizeof(narrow));
    return (Elf64_Phdr){
        .p_type = narrow.p_type, .p_offset = narrow.p_offset, .p_paddr = narrow.p_paddr,
        .p_filesz = narrow.p_filesz, .p_memsz = narrow.p_memsz, .p_align = narrow.p_align,
    };
}

static bool add_segment(const Elf64_Phdr *ph, size_t size, struct elf_pvh *elf, GError **error)
{
    if (ph->p_memsz == 0)
        return true;
    if (elf->nr_segments == ELF_PVH_MAX_SEGMENTS) {
        error_set(error, "more than %d ELF segments", ELF_PVH_MAX_SEGMENTS);
        return false;
    }
    if (!range_within(ph->p_offset, ph->p_filesz, size)) {
        error_set(error, "truncated: the ELF segment at 0x%" PRIx64 " ends outside the file",
                  ph->p_paddr);
        return false;
    }
    if (ph->p_filesz > ph->p_memsz) {
        error_set(error, "the ELF segment at 0x%" PRIx64 " is larger in the file than in memory",
                  ph->p_paddr);
        return false;
    }
    if (!range_within(ph->p_paddr, ph->p_memsz, 4 * GIB)) {
        error_set(error, "the ELF segment at 0x%" PRIx64 " isn't below 4 GiB", ph->p_paddr);
        return false;
    }
    elf->segments[elf->nr_segments++] = (struct elf_segment){
        ph->p_paddr, ph->p_memsz, ph->p_offset, ph->p_filesz,
    };
    return true;
}

static uint32_t get32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The entry from a PT_NOTE's content; false: it isn't there. */
static bool find_entry(const uint8_t *notes, uint64_t size, uint64_t alignment, uint64_t *entry)
{
    uint64_t round = alignment == 8 ? 7 : 3, at = 0;

    while (size - at >= 12) {
        uint64_t name_size = get32(notes + at), desc_size = get32(notes + at + 4);
        uint64_t name = at + 12, desc = (name + name_size + round) & ~round;
        uint64_t next = (desc + desc_size + round) & ~round;

        if (desc + desc_size > size)
            return false;
        if (get32(notes + at + 8) == NOTE_PHYS32_ENTRY && name_size == 4 &&
            memcmp(notes + name, "Xen", 4) == 0 && (desc_size == 4 || desc_size == 8)) {
            *entry = get32(notes + desc);
            if (desc_size == 8)
                *entry |= (uint64_t)get32(notes + desc + 4) << 32;
            return true;
        }
        if (next >= size)
            return false;
        at = next;
    }
    return false;
}

static int compare_segments(const void *a, const void *b)
{
    const struct elf_segment *left = a, *right = b;

    return left->gpa < right->gpa ? -1 : left->gpa > right->gpa;
}

static bool check_segments(struct elf_pvh *elf, uint64_t entry, GError **error)
{
    bool inside = false;

    qsort(elf->segments, elf->nr_segments, sizeof(elf->segments[0]), compare_segments);
    for (unsigned i = 0; i < elf->nr_segments; i++) {
        const struct elf_segment *s = &elf->segments[i];

        if (i && s->gpa < elf->end) {
            error_set(error, "its ELF segments at 0x%" PRIx64 " and 0x%" PRIx64 " overlap",
                      elf->segments[i - 1].gpa, s->gpa);
            return false;
        }
        elf->end = s->gpa + s->memory_size;
        inside |= entry >= s->gpa && entry < elf->end;
    }
    if (!elf->nr_segments) {
        error_set(error, "an ELF file without anything to load");
        return false;
    }
    if (!inside) {
        error_set(error, "its PVH entry 0x%" PRIx64 " is outside what is loaded", entry);
        return false;
    }
    elf->entry = entry;
    return true;
}

bool elf_pvh_parse(const uint8_t *file, size_t size, struct elf_pvh *ret, GError **error)
{
    g_autofree struct elf_pvh *elf = g_new0(struct elf_pvh, 1);
    bool has_entry = false;
    uint64_t entry = 0;
    struct header h;

    if (!read_header(file, size, &h, error))
        return false;
    for (unsigned i = 0; i < h.phnum; i++) {
        Elf64_Phdr ph = read_program_header(file, &h, i);

        if (ph.p_type == PT_LOAD && !add_segment(&ph, size, elf, error))
            return false;
        if (ph.p_type == PT_NOTE && !has_entry && range_within(ph.p_offset, ph.p_filesz, size))
            has_entry = find_entry(file + ph.p_offset, ph.p_filesz, ph.p_align, &entry);
    }
    if (!has_entry) {
        error_set(error, "an ELF file without a PVH entry note: a Linux vmlinux with CONFIG_PVH, "
                  "or a bzImage");
        return false;
    }
    if (!check_segments(elf, entry, error))
        return false;
    *ret = *elf;
    return true;
}

GByteArray *pvh_start_info(const struct pvh_boot *boot, uint64_t gpa)
{
    GByteArray *out = g_byte_array_new();
    bool module = boot->initrd_size != 0;
    uint64_t modules = gpa + START_INFO_SIZE, map = modules + (module ? MODULE_SIZE : 0);

    put32(out, START_INFO_MAGIC);
    put32(out, 1);              /* version: with a memory map */
    put32(out, 0);
    put32(out, module);
    put64(out, module ? modules : 0);
    put64(out, boot->cmdline);
    put64(out, boot->rsdp);
    put64(out, map);
    put32(out, boot->map_entries);
    put32(out, 0);
    if (module) {
        put64(out, boot->initrd);
        put64(out, boot->initrd_size);
        put64(out, 0);
        put64(out, 0);
    }
    for (unsigned i = 0; i < boot->map_entries; i++) {
        put64(out, boot->map[i].start);
        put64(out, boot->map[i].size);
        put32(out, boot->map[i].type);
        put32(out, 0);
    }
    return out;
}
