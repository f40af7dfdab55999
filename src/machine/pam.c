/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Thirteen pieces, four bits each: read enable, write enable.  Both: RAM; reads only:
 * RAM that can't be written; else what is behind the bridge, the firmware's ROM or
 * nothing.  (Writes alone to RAM with reads from ROM is nothing that KVM's slots can
 * do: such writes are lost.)  Equal neighbours are one slot.
 */
#include "pam.h"

#include "error.h"
#include "range.h"
#include "trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PIECES = 13, PIECE = 16 << 10, READ = 1, WRITE = 2 };
#define BIOS_LOW_MAX (128 * KIB)

enum view { VIEW_NOTHING, VIEW_BIOS, VIEW_RAM_READONLY, VIEW_RAM };

struct run {
    uint64_t start, size;
    enum view view;
};

struct pam {
    struct memory *mem;
    struct ram_block *ram, *bios;
    struct run runs[PIECES];
    unsigned nr_runs;
};

static uint64_t piece_start(unsigned piece)
{
    return PAM_START + (uint64_t)piece * PIECE;
}

/* Ascending addresses; the last is larger, and its bits stand in the first register. */
static unsigned piece_bits(const uint8_t *registers, unsigned piece)
{
    if (piece == PIECES - 1)
        return registers[0] >> 4 & 3;
    return registers[1 + piece / 2] >> (piece % 2 * 4) & 3;
}

static enum view piece_view(const struct pam *pam, const uint8_t *registers, unsigned piece)
{
    uint64_t low = MIN(ram_block_size(pam->bios), BIOS_LOW_MAX);

    switch (piece_bits(registers, piece)) {
    case READ | WRITE: return VIEW_RAM;
    case READ: return VIEW_RAM_READONLY;
    }
    return piece_start(piece) >= PAM_END - low ? VIEW_BIOS : VIEW_NOTHING;
}

/* Runs of equal view, without those that show nothing. */
static unsigned make_runs(const struct pam *pam, const uint8_t *registers, struct run *runs)
{
    unsigned n = 0;

    for (unsigned i = 0; i < PIECES; i++) {
        uint64_t start = piece_start(i), end = i == PIECES - 1 ? PAM_END : piece_start(i + 1);
        enum view view = piece_view(pam, registers, i);

        if (view == VIEW_NOTHING)
            continue;
        if (n && runs[n - 1].view == view && runs[n - 1].start + runs[n - 1].size == start)
            runs[n - 1].size += end - start;
        else
            runs[n++] = (struct run){ .start = start, .size = end - start, .view = view };
    }
    return n;
}

static bool has_run(const struct run *runs, unsigned n, const struct run *run)
{
    for (unsigned i = 0; i < n; i++) {
        if (runs[i].start == run->start && runs[i].size == run->size && runs[i].view == run->view)
            return true;
    }
    return false;
}

static bool map_run(struct pam *pam, const struct run *run, GError **error)
{
    uint64_t bios_size = ram_block_size(pam->bios);

    if (run->view == VIEW_RAM)
        return memory_map(pam->mem, pam->ram, run->start, run->start, run->size, error);
    if (run->view == VIEW_RAM_READONLY)
        return memory_map_readonly(pam->mem, pam->ram, run->start, run->start, run->size, error);
    return memory_map_readonly(pam->mem, pam->bios, bios_size - (PAM_END - run->start), run->start,
                               run->size, error);
}

void pam_update(struct pam *pam, const uint8_t registers[PAM_REGISTERS])
{
    g_autoptr(GError) error = NULL;
    struct run runs[PIECES];
    unsigned n = make_runs(pam, registers, runs);
    bool ok = true;

    for (unsigned i = 0; i < pam->nr_runs && ok; i++) {
        if (!has_run(runs, n, &pam->runs[i]))
            ok = memory_unmap(pam->mem, pam->runs[i].start, pam->runs[i].size, &error);
    }
    for (unsigned i = 0; i < n && ok; i++) {
        if (has_run(pam->runs, pam->nr_runs, &runs[i]))
            continue;
        trace(TRACE_PAM_UPDATE, "gpa=0x%" PRIx64 " size=0x%" PRIx64 " view=%d", runs[i].start,
              runs[i].size, runs[i].view);
        ok = map_run(pam, &runs[i], &error);
    }
    memcpy(pam->runs, runs, n * sizeof(runs[0]));
    pam->nr_runs = n;
    /* KVM is out of memory: the guest finds less than it asked for. */
    if (!ok)
        fprintf(stderr, "cloister: PAM: %s\n", error->message);
}

struct pam *pam_new(struct memory *mem, struct ram_block *ram, struct ram_block *bios)
{
    struct pam *pam = g_new0(struct pam, 1);

    pam->mem = mem;
    pam->ram = ram;
    pam->bios = bios;
    return pam;
}

void pam_free(struct pam *pam)
{
    g_free(pam);
}
