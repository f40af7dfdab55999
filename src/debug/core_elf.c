/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ELF core file (System V ABI, AMD64), front to back so that it can be a pipe: ELF
 * header, a section header where there are more program headers than the ELF header can
 * count, program headers, notes, memory in the order of its addresses.  Memory is there
 * once, however many virtual addresses show it.
 */
#include "core_dump_internal.h"

#include "error.h"
#include "range.h"

#include <elf.h>

/* --- Program headers --- */

static void add_load(GArray *headers, const struct dump_run *run, uint64_t gva, uint64_t gpa,
                     uint64_t size)
{
    const Elf64_Phdr load = {
        .p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X, .p_vaddr = gva, .p_paddr = gpa,
        .p_memsz = size, .p_filesz = run->readable ? size : 0,
        .p_offset = run->readable ? run->offset + (gpa - run->gpa) : 0,
    };

    g_array_append_val(headers, load);
}

/* Index of the first run that ends above gpa. */
static guint first_run(const GArray *runs, uint64_t gpa)
{
    guint low = 0, high = runs->len;

    while (low < high) {
        guint middle = (low + high) / 2;
        const struct dump_run *run = &g_array_index(runs, struct dump_run, middle);

        if (run->gpa + (run->size - 1) < gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A mapping may show devices, or what is left out, beside RAM. */
static void add_mapping(GArray *headers, const GArray *runs, const struct dump_mapping *m,
                        bool omit)
{
    uint64_t last = m->gpa + (m->size - 1);

    for (guint i = first_run(runs, m->gpa); i < runs->len; i++) {
        const struct dump_run *run = &g_array_index(runs, struct dump_run, i);
        uint64_t from = MAX(run->gpa, m->gpa), to = MIN(run->gpa + (run->size - 1), last);

        if (run->gpa > last)
            break;
        if (run->readable || !omit)
            add_load(headers, run, m->gva + (from - m->gpa), from, to - from + 1);
    }
}

static void add_loads(GArray *headers, const GArray *runs, const GArray *mappings, bool omit)
{
    for (guint i = 0; !mappings && i < runs->len; i++) {
        const struct dump_run *run = &g_array_index(runs, struct dump_run, i);

        if (run->readable || !omit)
            add_load(headers, run, run->gpa, run->gpa, run->size);
    }
    for (guint i = 0; mappings && i < mappings->len; i++)
        add_mapping(headers, runs, &g_array_index(mappings, struct dump_mapping, i), omit);
}

/* --- The head of the file --- */

static void add_bytes(GByteArray *head, const void *data, size_t size)
{
    g_byte_array_append(head, data, (guint)size);
}

static bool make_head(GByteArray *head, GArray *headers, const GByteArray *notes, GError **error)
{
    static const uint8_t zeroes[GUEST_PAGE_SIZE];
    bool many = headers->len >= PN_XNUM;
    const Elf64_Shdr section = { .sh_info = headers->len };
    const Elf64_Ehdr elf = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
        .e_phoff = sizeof(elf) + (many ? sizeof(section) : 0), .e_ehsize = sizeof(elf),
        .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = many ? PN_XNUM : (uint16_t)headers->len,
        .e_shoff = many ? sizeof(elf) : 0, .e_shentsize = sizeof(section), .e_shnum = many,
    };
    Elf64_Phdr *note = &g_array_index(headers, Elf64_Phdr, 0);
    uint64_t start;

    note->p_offset = elf.e_phoff + headers->len * sizeof(Elf64_Phdr);
    note->p_filesz = notes->len;
    start = note->p_offset + notes->len;
    start = (start + GUEST_PAGE_SIZE - 1) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    if (start > INT32_MAX) {
        error_set(error, "its headers are larger than 2 GiB: without paging");
        return false;
    }
    for (guint i = 1; i < headers->len; i++)
        g_array_index(headers, Elf64_Phdr, i).p_offset += start;
    add_bytes(head, &elf, sizeof(elf));
    if (many)
        add_bytes(head, &section, sizeof(section));
    add_bytes(head, headers->data, headers->len * sizeof(Elf64_Phdr));
    add_bytes(head, notes->data, notes->len);
    add_bytes(head, zeroes, start - head->len);
    return true;
}

static bool elf_prepare(struct core_dump *dump, GError **error)
{
    const Elf64_Phdr note = { .p_type = PT_NOTE };
    g_autoptr(GArray) headers = g_array_new(FALSE, FALSE, sizeof(Elf64_Phdr));
    g_autoptr(GArray) mappings = NULL;

    if (dump->opt.paging) {
        mappings = core_mappings(dump->dbg, error);
        if (!mappings)
            return false;
    }
    g_array_append_val(headers, note);
    /* Without any paging there is nothing virtual to list. */
    add_loads(headers, dump->runs, mappings && mappings->len ? mappings : NULL, dump->opt.omit);
    dump->state = g_byte_array_new();
    return make_head(dump->state, headers, dump->notes, error);
}

static bool elf_head(struct core_dump *dump, GError **error)
{
    const GByteArray *head = dump->state;

    return core_dump_write(dump, head->data, head->len, error);
}

static bool elf_memory(struct core_dump *dump, uint64_t gpa, const uint8_t *data, uint64_t size,
                       GError **error)
{
    return core_dump_write(dump, data, size, error);
}

static bool elf_finish(struct core_dump *dump, GError **error)
{
    return true;
}

static void elf_free(void *state)
{
    g_byte_array_unref(state);
}

const struct dump_format core_elf = {
    .prepare = elf_prepare, .head = elf_head, .memory = elf_memory, .finish = elf_finish,
    .free = elf_free,
};
