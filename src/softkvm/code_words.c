/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory for the per-page words that tell a processor of stores to its code. */
#include "code_words.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Below this the heap is cheaper than a mapping, of which a process has a limited number. */
enum { SPARSE_FROM = 256 * 1024 };

void *sparse_alloc(size_t size)
{
    void *memory;

    if (size < SPARSE_FROM)
        return calloc(1, size);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void sparse_free(void *memory, size_t size)
{
    if (size < SPARSE_FROM)
        free(memory);
    else if (memory)
        munmap(memory, size);
}

struct code_words *code_words_get(struct code_words_pool *pool, uint64_t pages)
{
    struct code_words **link = &pool->unused, *words;

    while (*link && (*link)->pages != pages)
        link = &(*link)->next;
    words = *link;
    if (words) {
        *link = words->next;
        words->next = NULL;
        return words;
    }
    words = calloc(1, sizeof(*words));
    if (!words)
        return NULL;
    words->pages = pages;
    words->words = sparse_alloc(pages * sizeof(uint32_t));
    if (!words->words) {
        free(words);
        return NULL;
    }
    return words;
}

void code_words_put(struct code_words_pool *pool, struct code_words *words)
{
    if (!words)
        return;
    words->next = pool->unused;
    pool->unused = words;
}

void code_words_pool_free(struct code_words_pool *pool)
{
    while (pool->unused) {
        struct code_words *words = pool->unused;

        pool->unused = words->next;
        sparse_free(words->words, words->pages * sizeof(uint32_t));
        free(words);
    }
}
