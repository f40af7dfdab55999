/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record is held against those who must agree with it: KVM's own attributes, what
 * the host can reach of an in-place block, and what listeners hold.
 */
#include "check.h"

#include "memory_internal.h"
#include "range.h"

#include <sys/uio.h>
#include <unistd.h>

struct walk {
    struct memory *mem;
    const struct mapping *map;
    struct memory_check *result;
    bool populated;             /* of check_section() */
};

static void mismatch(struct walk *walk, uint64_t gpa, uint64_t size, const char *who)
{
    struct memory_check *result = walk->result;

    if (!result->mismatches++) {
        result->gpa = gpa;
        result->size = size;
        result->who = who;
    }
}

/* A system call that is told of pages that aren't there, instead of a signal. */
static bool host_can_read(const struct ram_block *block, uint64_t offset)
{
    char byte;
    struct iovec to = { &byte, 1 }, from = { (char *)block->host + offset, 1 };

    return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1;
}

/* A run of the record; KVM may see more than one in it. */
static void check_kvm(struct walk *walk, uint64_t offset, uint64_t size, bool is_private)
{
    const struct mapping *map = walk->map;
    uint64_t gpa = map->gpa + (offset - map->offset), at = 0, run;
    bool answer;

    for (; at < size; at += MIN(run, size - at)) {
        int ret = kvm_private_run(walk->mem->vm, gpa + at, map->block->guest_memfd, offset + at,
                                  &answer, &run);

        if (ret == -ENOTSUP)
            return;
        walk->result->kvm_asked = true;
        if (ret || !run) {
            mismatch(walk, gpa + at, size - at, "kvm");
            return;
        }
        if (answer != is_private)
            mismatch(walk, gpa + at, MIN(run, size - at), "kvm");
    }
}

/* Both ends of a run are looked at: each look gives a shared page memory. */
static void check_host(struct walk *walk, uint64_t offset, uint64_t size, bool is_private)
{
    const struct ram_block *block = walk->map->block;

    if (block->kind == BACKEND_IN_PLACE &&
        (host_can_read(block, offset) == is_private ||
         host_can_read(block, offset + size - 1) == is_private))
        mismatch(walk, walk->map->gpa + (offset - walk->map->offset), size, "host-mapping");
}

static void check_record(struct walk *walk)
{
    const struct mapping *map = walk->map;
    uint64_t page = map->offset / GUEST_PAGE_SIZE, end;
    uint64_t last = (map->offset + map->size) / GUEST_PAGE_SIZE;

    for (; page < last; page = end) {
        bool is_private = attr_map_run(map->block->private_pages, page, &end);
        uint64_t size;

        end = MIN(end, last);
        size = (end - page) * GUEST_PAGE_SIZE;
        walk->result->runs++;
        check_kvm(walk, page * GUEST_PAGE_SIZE, size, is_private);
        check_host(walk, page * GUEST_PAGE_SIZE, size, is_private);
    }
}

static int check_section(void *opaque, uint64_t offset, uint64_t size)
{
    struct walk *walk = opaque;
    const struct mapping *map = walk->map;
    const struct memory_section section = {
        .block = map->block, .offset = offset, .size = size,
        .gpa = map->gpa + (offset - map->offset), .host = (char *)map->block->host + offset,
        .readonly = map->readonly,
    };

    for (struct memory_listener *l = walk->mem->listeners; l; l = l->next) {
        if (l->agrees && !l->agrees(l, &section, walk->populated && !walk->mem->listeners_away))
            mismatch(walk, section.gpa, size, "listener");
    }
    return 0;
}

static void check_mapping(struct memory *mem, const struct mapping *map,
                          struct memory_check *result)
{
    struct walk walk = { .mem = mem, .map = map, .result = result };

    if (map->block->private_pages)
        check_record(&walk);
    for (int populated = 0; populated < 2; populated++) {
        walk.populated = populated;
        ram_block_each_run(map->block, NULL, map->offset, map->size, populated, check_section,
                           &walk);
    }
}

struct memory_check memory_check(struct memory *mem)
{
    struct memory_check result = { 0 };

    pthread_mutex_lock(&mem->lock);
    for (struct memory_listener *l = mem->listeners; l; l = l->next)
        result.listeners += l->agrees != NULL;
    for (guint i = 0; i < mem->mappings->len; i++)
        check_mapping(mem, &g_array_index(mem->mappings, struct mapping, i), &result);
    pthread_mutex_unlock(&mem->lock);
    return result;
}
