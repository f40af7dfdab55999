/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file, front to back so that it can be a pipe: ELF header, a section header
 * where there are more program headers than the ELF header can count, program
 * headers, notes, memory in the order of its addresses.  Memory is there once,
 * however many virtual addresses show it.
 */
#include "core_dump_internal.h"

#include "error.h"
#include "fd_write.h"
#include "range.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

enum { STEP = 4 << 20 };

struct core_dump {
    struct debug *dbg;
    int fd;
    GArray *runs;               /* struct dump_run */
    GByteArray *head;           /* all before the memory; written by the first step */
    uint64_t done, total, missing;
    guint run;                  /* where we are: in this one, */
    uint64_t at;                /* so far into it */
    uint8_t *buf;
};

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

/* Where each run's memory is, counted from where memory begins. */
static void place_runs(struct core_dump *dump)
{
    for (guint i = 0; i < dump->runs->len; i++) {
        struct dump_run *run = &g_array_index(dump->runs, struct dump_run, i);

        run->offset = dump->total;
        if (run->readable)
            dump->total += run->size;
        else
            dump->missing += run->size;
    }
}

/* --- The head of the file --- */

static void add_bytes(GByteArray *head, const void *data, size_t size)
{
    g_byte_array_append(head, data, (guint)size);
}

static bool make_head(struct core_dump *dump, GArray *headers, const GByteArray *notes,
                      GError **error)
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
    add_bytes(dump->head, &elf, sizeof(elf));
    if (many)
        add_bytes(dump->head, &section, sizeof(section));
    add_bytes(dump->head, headers->data, headers->len * sizeof(Elf64_Phdr));
    add_bytes(dump->head, notes->data, notes->len);
    add_bytes(dump->head, zeroes, start - dump->head->len);
    return true;
}

static bool prepare(struct core_dump *dump, const struct core_dump_options *opt, GError **error)
{
    const Elf64_Phdr note = { .p_type = PT_NOTE };
    g_autoptr(GArray) headers = g_array_new(FALSE, FALSE, sizeof(Elf64_Phdr));
    g_autoptr(GByteArray) notes = g_byte_array_new();
    g_autoptr(GArray) mappings = NULL;

    dump->runs = core_runs(dump->dbg, opt, error);
    if (!dump->runs || !core_notes_add_cpus(dump->dbg, notes, error))
        return false;
    if (opt->paging) {
        mappings = core_mappings(dump->dbg, error);
        if (!mappings)
            return false;
    }
    place_runs(dump);
    core_notes_add_missing(notes, dump->runs);
    g_array_append_val(headers, note);
    /* Without any paging there is nothing virtual to list. */
    add_loads(headers, dump->runs, mappings && mappings->len ? mappings : NULL, opt->omit);
    return make_head(dump, headers, notes, error);
}

struct core_dump *core_dump_new(struct debug *dbg, int fd, const struct core_dump_options *opt,
                                GError **error)
{
    struct core_dump *dump = g_new0(struct core_dump, 1);

    dump->dbg = dbg;
    dump->fd = fd;
    dump->head = g_byte_array_new();
    /* Whole pages: what a guest copies into without a detour (debug_memory.h). */
    dump->buf = g_aligned_alloc0(1, STEP, GUEST_PAGE_SIZE);
    if (!prepare(dump, opt, error)) {
        core_dump_free(dump);
        return NULL;
    }
    return dump;
}

void core_dump_free(struct core_dump *dump)
{
    if (!dump)
        return;
    if (dump->runs)
        g_array_unref(dump->runs);
    g_byte_array_unref(dump->head);
    g_aligned_free(dump->buf);
    g_free(dump);
}

/* --- Writing --- */

void core_dump_progress(const struct core_dump *dump, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = dump->done;
    *ret_total = dump->total;
}

uint64_t core_dump_missing(const struct core_dump *dump)
{
    return dump->missing;
}

static bool write_all(struct core_dump *dump, const void *data, uint64_t size, GError **error)
{
    int ret = fd_write_all(dump->fd, data, size);

    if (ret)
        error_set_errno(error, ret, "writing the dump failed");
    return ret == 0;
}

static bool write_memory(struct core_dump *dump, const struct dump_run *run, GError **error)
{
    uint64_t n = MIN(run->size - dump->at, STEP);

    if (debug_read(dump->dbg, NULL, run->gpa + dump->at, dump->buf, n, error) < n) {
        g_prefix_error(error, "memory that could be read before can't be now: ");
        return false;
    }
    if (!write_all(dump, dump->buf, n, error))
        return false;
    dump->at += n;
    dump->done += n;
    return true;
}

bool core_dump_step(struct core_dump *dump, GError **error)
{
    const struct debug_machine *machine = debug_machine(dump->dbg);
    const struct dump_run *run;

    if (machine->running(machine->opaque)) {
        error_set(error, "the guest was let go on before the dump was complete");
        return false;
    }
    if (dump->head->len) {
        bool ok = write_all(dump, dump->head->data, dump->head->len, error);

        g_byte_array_set_size(dump->head, 0);
        return ok;
    }
    while (dump->run < dump->runs->len) {
        run = &g_array_index(dump->runs, struct dump_run, dump->run);
        if (run->readable && dump->at < run->size)
            return write_memory(dump, run, error);
        dump->run++;
        dump->at = 0;
    }
    return true;
}
