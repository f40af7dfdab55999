/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two pieces of RAM.  The 128 KiB that a PC's graphics hide, at 0xa0000 or, to be
 * cached, at 0xfeda0000: seen in SMM, by all while the bridge says "open".  And TSEG,
 * the end of low RAM: taken from everyone but SMM.
 */
#include "smram.h"

#include "layout.h"
#include "range.h"

#include <stdio.h>

#define SEGMENT         LAYOUT_VGA
#define SEGMENT_SIZE    (128 * KIB)
#define SEGMENT_HIGH    0xfeda0000ULL

/* What is mapped. */
struct view {
    uint64_t segment;           /* where it is seen; 0: nowhere */
    bool open;                  /* outside SMM too */
    uint64_t tseg_size;
};

struct smram {
    struct memory *mem;
    struct ram_block *ram;
    uint64_t low_end;
    struct view view;
};

static uint64_t tseg_size(const struct smram *smram, uint8_t esmramc)
{
    static const uint64_t sizes[] = { 1 * MIB, 2 * MIB, 8 * MIB, 0 };
    uint64_t size = sizes[(esmramc & ESMRAMC_TSEG_SIZE) >> 1];

    /* Less RAM than that: the guest's own doing. */
    return LAYOUT_HIGH_MEMORY + size < smram->low_end ? size : 0;
}

static struct view wanted_view(const struct smram *smram, uint8_t reg, uint8_t esmramc)
{
    struct view view = { 0 };

    if (!(reg & SMRAM_ENABLE))
        return view;
    view.segment = esmramc & ESMRAMC_HIGH ? SEGMENT_HIGH : SEGMENT;
    view.open = reg & SMRAM_OPEN;
    if (esmramc & ESMRAMC_TSEG)
        view.tseg_size = tseg_size(smram, esmramc);
    return view;
}

static bool map_segment(struct smram *smram, const struct view *view, bool map, GError **error)
{
    struct memory *mem = smram->mem;

    if (!view->segment)
        return true;
    if (view->open)
        return map ? memory_map(mem, smram->ram, SEGMENT, view->segment, SEGMENT_SIZE, error)
                   : memory_unmap(mem, view->segment, SEGMENT_SIZE, error);
    return map ? memory_map_smm(mem, smram->ram, SEGMENT, view->segment, SEGMENT_SIZE, error)
               : memory_unmap_smm(mem, view->segment, SEGMENT_SIZE, error);
}

/* RAM from 1 MiB on becomes shorter or longer. */
static bool move_tseg(struct smram *smram, uint64_t before, uint64_t after, GError **error)
{
    uint64_t start = LAYOUT_HIGH_MEMORY, size = smram->low_end - start;
    uint64_t at = smram->low_end - after;

    if (before && !memory_unmap_smm(smram->mem, smram->low_end - before, before, error))
        return false;
    return memory_unmap(smram->mem, start, size - before, error) &&
           memory_map(smram->mem, smram->ram, start, start, size - after, error) &&
           (!after || memory_map_smm(smram->mem, smram->ram, at, at, after, error));
}

void smram_update(struct smram *smram, uint8_t reg, uint8_t esmramc)
{
    struct view before = smram->view, after = wanted_view(smram, reg, esmramc);
    bool moved = before.segment != after.segment || before.open != after.open, ok = true;
    g_autoptr(GError) error = NULL;

    smram->view = after;
    if (moved)
        ok = map_segment(smram, &before, false, &error) &&
             map_segment(smram, &after, true, &error);
    if (ok && before.tseg_size != after.tseg_size)
        ok = move_tseg(smram, before.tseg_size, after.tseg_size, &error);
    /* KVM is out of memory: the guest finds less than it asked for. */
    if (!ok)
        fprintf(stderr, "cloister: SMRAM: %s\n", error->message);
}

struct smram *smram_new(struct memory *mem, struct ram_block *ram, uint64_t low_end)
{
    struct smram *smram = g_new0(struct smram, 1);

    smram->mem = mem;
    smram->ram = ram;
    smram->low_end = low_end;
    return smram;
}

void smram_free(struct smram *smram)
{
    g_free(smram);
}
