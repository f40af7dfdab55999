/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a Linux guest says of itself for those who read its dumps: lines of KEY=VALUE,
 * in an ELF note "VMCOREINFO" in its memory, of which it tells the address by
 * -device vmcoreinfo (Linux: Documentation/admin-guide/kdump/vmcoreinfo).  A guest whose
 * memory is private can't: for that its memory can be searched.
 *
 * All of it is the guest's word.  A note of another name would be one of those that
 * say what the host found, and isn't taken.
 */
#include "core_dump_internal.h"

#include "debug_memory.h"
#include "error.h"
#include "range.h"

#include <elf.h>
#include <inttypes.h>
#include <string.h>

enum { FORMAT_ELF = 1, SIZE_MAX_NOTE = 1 << 20 };

static const char note_name[] = "VMCOREINFO";
enum { NAME_ROOM = (sizeof(note_name) + 3) & ~3 };

/* Does what a page begins with look like the note?  Linux gives it whole pages. */
static bool looks_like_it(const uint8_t *page, uint32_t *ret_size)
{
    static const char first_key[] = "OSRELEASE=";
    Elf64_Nhdr head;

    memcpy(&head, page, sizeof(head));
    *ret_size = (uint32_t)(sizeof(head) + NAME_ROOM) + head.n_descsz;
    return head.n_namesz == sizeof(note_name) && head.n_type == 0 &&
           head.n_descsz < SIZE_MAX_NOTE / 2 &&
           memcmp(page + sizeof(head), note_name, sizeof(note_name)) == 0 &&
           memcmp(page + sizeof(head) + NAME_ROOM, first_key, sizeof(first_key) - 1) == 0;
}

/* The first one in the RAM that can be read. */
static bool search(struct core_dump *dump, struct debug_vmcoreinfo *ret)
{
    for (guint i = 0; i < dump->runs->len; i++) {
        const struct dump_run *run = &g_array_index(dump->runs, struct dump_run, i);

        for (uint64_t at = 0, n; run->readable && at < run->size; at += n) {
            n = MIN(run->size - at, CORE_DUMP_STEP);
            n = debug_read(dump->dbg, NULL, run->gpa + at, dump->buf, n, NULL);
            for (uint64_t page = 0; page + GUEST_PAGE_SIZE <= n; page += GUEST_PAGE_SIZE) {
                if (!looks_like_it(dump->buf + page, &ret->size))
                    continue;
                ret->gpa = run->gpa + at + page;
                ret->format = FORMAT_ELF;
                return true;
            }
            if (!n)
                break;
        }
    }
    return false;
}

/* The note's text in a copy of its own; NULL with the error set. */
static char *note_text(const uint8_t *note, uint32_t size, uint32_t *ret_size, GError **error)
{
    Elf64_Nhdr head;

    memcpy(&head, note, sizeof(head));
    if (head.n_namesz != sizeof(note_name) || head.n_type != 0 ||
        memcmp(note + sizeof(head), note_name, sizeof(note_name)) != 0) {
        error_set(error, "there is no note of that name");
        return NULL;
    }
    if (head.n_descsz > size - sizeof(head) - NAME_ROOM) {
        error_set(error, "the note's text ends after the note");
        return NULL;
    }
    *ret_size = head.n_descsz;
    return g_strndup((const char *)note + sizeof(head) + NAME_ROOM, head.n_descsz);
}

/* Devices aren't to be read because a guest says so. */
static bool is_ram(const struct core_dump *dump, uint64_t gpa, uint64_t size)
{
    struct memory_piece piece;

    for (uint64_t done = 0; done < size; done += piece.size) {
        piece = memory_look(debug_machine(dump->dbg)->memory, gpa + done, size - done);
        if (piece.state != MEMORY_SHARED && piece.state != MEMORY_PRIVATE)
            return false;
    }
    return true;
}

static bool add(struct core_dump *dump, const struct debug_vmcoreinfo *info, GError **error)
{
    g_autofree uint8_t *note = NULL;
    uint32_t size;

    if (info->format != FORMAT_ELF) {
        error_set(error, "format %u isn't an ELF note's", info->format);
        return false;
    }
    if (info->size < sizeof(Elf64_Nhdr) + NAME_ROOM || info->size > SIZE_MAX_NOTE ||
        info->size > UINT64_MAX - info->gpa) {
        error_set(error, "%" PRIu32 " bytes are no note", info->size);
        return false;
    }
    if (!is_ram(dump, info->gpa, info->size)) {
        error_set(error, "there isn't RAM for all of its %" PRIu32 " bytes", info->size);
        return false;
    }
    note = g_malloc(info->size);
    if (debug_read(dump->dbg, NULL, info->gpa, note, info->size, error) < info->size)
        return false;
    dump->vmcoreinfo = note_text(note, info->size, &size, error);
    if (!dump->vmcoreinfo)
        return false;
    dump->vmcoreinfo_at = dump->notes->len + sizeof(Elf64_Nhdr) + NAME_ROOM;
    core_notes_add(dump->notes, note_name, 0, note + sizeof(Elf64_Nhdr) + NAME_ROOM, size);
    return true;
}

void core_vmcoreinfo_add(struct core_dump *dump)
{
    const struct debug_machine *machine = debug_machine(dump->dbg);
    g_autoptr(GError) error = NULL;
    struct debug_vmcoreinfo info;

    if (!(machine->vmcoreinfo && machine->vmcoreinfo(machine->opaque, &info)) &&
        !(dump->opt.search && search(dump, &info)))
        return;
    if (!add(dump, &info, &error))
        dump->warning = g_strdup_printf("the VMCOREINFO that the guest says is at 0x%" PRIx64
                                        " isn't in the dump: %s", info.gpa, error->message);
}

char *core_vmcoreinfo_value(const struct core_dump *dump, const char *key)
{
    const char *at = dump->vmcoreinfo;
    size_t size = strlen(key);

    while (at && *at && !(g_str_has_prefix(at, key) && at[size] == '=')) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    return at && *at ? g_strndup(at + size + 1, strcspn(at + size + 1, "\n")) : NULL;
}
