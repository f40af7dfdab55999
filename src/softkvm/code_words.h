/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Arrays of struct cpu_page.code, one word for each page of a backing.
 *
 * Decoded blocks keep pointers into them for as long as their processor lives,
 * so an array whose slot goes is not freed but kept for the next backing of
 * its size; everything is freed with the VM.  Protected by vm->lock.
 */
#ifndef SOFTKVM_CODE_WORDS_H
#define SOFTKVM_CODE_WORDS_H

#include <stddef.h>
#include <stdint.h>

struct code_words {
    uint32_t *words;
    uint64_t pages;
    struct code_words *next;
};

struct code_words_pool {
    struct code_words *unused;
};

/* NULL: no memory. */
struct code_words *code_words_get(struct code_words_pool *pool, uint64_t pages);
/* NULL is fine. */
void code_words_put(struct code_words_pool *pool, struct code_words *words);
void code_words_pool_free(struct code_words_pool *pool);

/* Zeroed memory that costs nothing until it is touched. NULL: none. */
void *sparse_alloc(size_t size);
void sparse_free(void *memory, size_t size);

#endif
