/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listeners of guest memory: what all sources have is told to all of them, in
 * maximal runs, cut only where a slot ends.
 */
#include "discard.h"
#include "memory_internal.h"

static void section_discard(struct memory *mem, const struct memory_section *section,
                            const struct memory_listener *end)
{
    for (struct memory_listener *l = mem->listeners; l != end; l = l->next)
        l->discard(l, section);
}

static int section_populate(struct memory *mem, const struct memory_section *section)
{
    for (struct memory_listener *l = mem->listeners; l; l = l->next) {
        int ret = l->populate(l, section);

        if (ret) {
            /* The one that refused may have taken a part. */
            section_discard(mem, section, l->next);
            return ret;
        }
    }
    return 0;
}

/* What one walk over sections does with each. */
struct teller {
    struct ram_block *block;
    struct memory_listener *only;       /* NULL: all listeners */
    const struct mapping *where;        /* NULL: wherever the block is mapped */
    bool populate, again;
    uint64_t told;                      /* sections so far */
    uint64_t limit;                     /* and no more */
};

static int tell_section(struct teller *teller, const struct memory_section *section)
{
    struct memory *mem = teller->block->mem;
    int ret = 0;

    if (teller->told == teller->limit)
        return 1;
    if (teller->only && teller->populate)
        ret = teller->only->populate(teller->only, section);
    else if (teller->only)
        teller->only->discard(teller->only, section);
    else if (teller->populate)
        ret = section_populate(mem, section);
    else
        section_discard(mem, section, NULL);
    teller->told += ret == 0;
    return ret;
}

/* A run of the block, where it is mapped. */
static int tell_run(void *opaque, uint64_t offset, uint64_t size)
{
    struct teller *teller = opaque;
    struct memory *mem = teller->block->mem;
    int ret = 0;

    for (guint i = 0; i < mem->mappings->len && !ret; i++) {
        const struct mapping *map = &g_array_index(mem->mappings, struct mapping, i);
        uint64_t start = MAX(offset, map->offset);
        uint64_t end = MIN(offset + size, map->offset + map->size);
        const struct memory_section section = {
            .block = teller->block, .offset = start, .size = end - start,
            .gpa = map->gpa + (start - map->offset),
            .host = (char *)teller->block->host + start, .readonly = map->readonly,
            .again = teller->again,
        };

        if (map->block == teller->block && start < end &&
            (!teller->where || teller->where->gpa == map->gpa))
            ret = tell_section(teller, &section);
    }
    return ret;
}

void discard_notify(struct ram_block *block, const struct attr_map *changing, uint64_t offset,
                    uint64_t size)
{
    struct teller teller = { .block = block, .limit = UINT64_MAX };

    if (block->mem->listeners && !block->mem->listeners_away)
        ram_block_each_run(block, changing, offset, size, true, tell_run, &teller);
}

static int populate_at(struct ram_block *block, const struct attr_map *changing, uint64_t offset,
                       uint64_t size, const struct mapping *where, bool again)
{
    struct teller teller = {
        .block = block, .where = where, .populate = true, .again = again, .limit = UINT64_MAX,
    };
    struct teller undo = { .block = block, .where = where };
    int ret;

    if (!block->mem->listeners || block->mem->listeners_away)
        return 0;
    ret = ram_block_each_run(block, changing, offset, size, true, tell_run, &teller);
    undo.limit = teller.told;
    if (ret)
        ram_block_each_run(block, changing, offset, size, true, tell_run, &undo);
    return ret;
}

int populate_notify(struct ram_block *block, const struct attr_map *changing, uint64_t offset,
                    uint64_t size)
{
    return populate_at(block, changing, offset, size, NULL, false);
}

int repopulate_notify(struct ram_block *block, const struct attr_map *changing, uint64_t offset,
                      uint64_t size)
{
    return populate_at(block, changing, offset, size, NULL, true);
}

int mapping_populate(const struct mapping *map, bool again)
{
    return populate_at(map->block, NULL, map->offset, map->size, map, again);
}

void mapping_discard(const struct mapping *map)
{
    struct teller teller = { .block = map->block, .where = map, .limit = UINT64_MAX };

    tell_run(&teller, map->offset, map->size);
}

/* --- Listeners --- */

/* All of a block where it is mapped, whatever it had of it. */
static void forget_block(struct memory_listener *listener, struct ram_block *block)
{
    struct teller teller = { .block = block, .only = listener, .limit = UINT64_MAX };

    tell_run(&teller, 0, block->size);
}

static int replay_to(struct memory_listener *listener, struct ram_block *block)
{
    struct teller teller = {
        .block = block, .only = listener, .populate = true, .limit = UINT64_MAX,
    };

    return ram_block_each_run(block, NULL, 0, block->size, true, tell_run, &teller);
}

static int replay_blocks(struct memory *mem, struct memory_listener *listener)
{
    for (guint i = 0; i < mem->blocks->len; i++) {
        int ret = replay_to(listener, g_ptr_array_index(mem->blocks, i));

        if (ret) {
            for (guint n = 0; n <= i; n++)
                forget_block(listener, g_ptr_array_index(mem->blocks, n));
            return ret;
        }
    }
    return 0;
}

int memory_listener_add(struct memory *mem, struct memory_listener *listener)
{
    struct memory_listener **last = &mem->listeners;
    int ret;

    pthread_mutex_lock(&mem->lock);
    ret = replay_blocks(mem, listener);
    if (!ret) {
        while (*last)
            last = &(*last)->next;
        listener->next = NULL;
        *last = listener;
    }
    pthread_mutex_unlock(&mem->lock);
    return ret;
}

void memory_listener_remove(struct memory *mem, struct memory_listener *listener)
{
    pthread_mutex_lock(&mem->lock);
    for (struct memory_listener **l = &mem->listeners; *l; l = &(*l)->next) {
        if (*l == listener) {
            *l = listener->next;
            for (guint i = 0; i < mem->blocks->len; i++)
                forget_block(listener, g_ptr_array_index(mem->blocks, i));
            break;
        }
    }
    pthread_mutex_unlock(&mem->lock);
}

/* Those before end have nothing any more. */
static void forget_all(struct memory *mem, const struct memory_listener *end)
{
    for (struct memory_listener *l = mem->listeners; l != end; l = l->next) {
        for (guint i = 0; i < mem->blocks->len; i++)
            forget_block(l, g_ptr_array_index(mem->blocks, i));
    }
}

void listeners_leave(struct memory *mem)
{
    forget_all(mem, NULL);
    mem->listeners_away = true;
}

int listeners_return(struct memory *mem)
{
    for (struct memory_listener *l = mem->listeners; l; l = l->next) {
        int ret = replay_blocks(mem, l);

        if (ret) {
            forget_all(mem, l);
            return ret;
        }
    }
    mem->listeners_away = false;
    return 0;
}
