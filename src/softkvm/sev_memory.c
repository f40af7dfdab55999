/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages of a SEV guest between their two views: the table of states, and what
 * moves a page.  The threads that wait for touches are in sev_touch.c.
 *
 * States are kept for chunks of 2 MiB, found by address in two levels.  A page
 * that goes to the guest while translations to the host's page may exist (MAPPED)
 * needs the VM paused, any other can go while the guest runs: so touching memory
 * for the first time doesn't stop other vCPUs.
 *
 * Nothing that can wait for somebody's page is done with the lock held: BUSY
 * marks a page whose bytes are being fetched.
 */
#include "sev_memory.h"

#include "kvm_uapi.h"
#include "range.h"
#include "sev_crypto.h"
#include "sev_touch.h"
#include "soft_vm.h"
#include "usercopy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED    /* Linux 5.18 */
#define MADV_DONTNEED_LOCKED 24
#endif

enum {
    CHUNK_SHIFT = 21, CHUNK_SIZE = 1 << CHUNK_SHIFT, CHUNK_PAGES = CHUNK_SIZE / GUEST_PAGE_SIZE,
    LEAF_BITS = 13, LEAF_SIZE = 1 << LEAF_BITS, ROOT_SIZE = 1 << (47 - CHUNK_SHIFT - LEAF_BITS),
    ARENA_CHUNKS = 32,          /* shadow memory is mapped in pieces of so many chunks */
};

enum page_state { PAGE_HOST, PAGE_MAPPED, PAGE_BUSY, PAGE_GUEST };

struct chunk {
    uint8_t *shadow;
    uint8_t state[CHUNK_PAGES]; /* enum page_state */
};

struct arena {
    struct arena *next;
    uint8_t *memory;            /* aligned to chunks */
    void *mapped;
    unsigned used;
};

/* Memory that a slot has, or had together with another one. */
struct sev_range {
    struct sev_range *next;
    uint64_t start, size;
    bool shmem;
};

struct sev_memory {
    struct vm *vm;
    struct sev_touch *touch;
    struct sev_cipher *cipher;
    struct sev_memory *next;    /* of the process's */
    pthread_mutex_t lock;       /* all that follows */
    struct sev_range *ranges;
    struct arena *arenas;
    struct chunk **root[ROOT_SIZE];
};

/* All of the process's, for copies of the library's own. */
static struct {
    pthread_mutex_t lock;       /* outside of a memory's */
    struct sev_memory *first;   /* atomic for a look whether there is any */
    unsigned copies;            /* atomic: going on now */
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct chunk *chunk_find(const struct sev_memory *memory, uint64_t hva)
{
    uint64_t index = hva >> CHUNK_SHIFT;
    struct chunk **leaf = hva < USER_ADDRESS_END ? memory->root[index >> LEAF_BITS] : NULL;

    return leaf ? leaf[index & (LEAF_SIZE - 1)] : NULL;
}

/* A piece of shadow memory. NULL: none. */
static uint8_t *shadow_new(struct sev_memory *memory)
{
    struct arena *arena = memory->arenas;
    size_t size = (size_t)(ARENA_CHUNKS + 1) * CHUNK_SIZE;

    if (arena && arena->used < ARENA_CHUNKS)
        return arena->memory + (size_t)arena->used++ * CHUNK_SIZE;
    arena = malloc(sizeof(*arena));
    if (!arena)
        return NULL;
    arena->mapped = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena->mapped == MAP_FAILED) {
        free(arena);
        return NULL;
    }
    arena->memory = (uint8_t *)(((uintptr_t)arena->mapped + CHUNK_SIZE - 1) &
                                ~(uintptr_t)(CHUNK_SIZE - 1));
    arena->used = 1;
    arena->next = memory->arenas;
    memory->arenas = arena;
    return arena->memory;
}

/* Found or made; NULL: no memory.  hva is in a range. */
static struct chunk *chunk_get(struct sev_memory *memory, uint64_t hva)
{
    uint64_t index = hva >> CHUNK_SHIFT;
    struct chunk ***leaf = &memory->root[index >> LEAF_BITS], *chunk;

    if (!*leaf)
        *leaf = calloc(LEAF_SIZE, sizeof(**leaf));
    if (!*leaf)
        return NULL;
    chunk = (*leaf)[index & (LEAF_SIZE - 1)];
    if (chunk)
        return chunk;
    chunk = calloc(1, sizeof(*chunk));
    if (chunk && !(chunk->shadow = shadow_new(memory))) {
        free(chunk);
        chunk = NULL;
    }
    (*leaf)[index & (LEAF_SIZE - 1)] = chunk;
    return chunk;
}

static uint8_t *page_state(struct chunk *chunk, uint64_t hva)
{
    return &chunk->state[hva / GUEST_PAGE_SIZE % CHUNK_PAGES];
}

static uint8_t *page_shadow(const struct chunk *chunk, uint64_t hva)
{
    return chunk->shadow + hva % CHUNK_SIZE;
}

static const struct sev_range *range_find(const struct sev_memory *memory, uint64_t hva)
{
    const struct sev_range *range = memory->ranges;

    while (range && hva - range->start >= range->size)
        range = range->next;
    return range;
}

/* The page leaves the caller's mapping, so that touching it is noticed; under the lock. */
static int take_out(const struct sev_memory *memory, uint64_t hva)
{
    void *at = (void *)hva;
    const struct sev_range *range = range_find(memory, hva);

    if (!range)
        return -EFAULT;
    if (range->shmem)
        return madvise(at, GUEST_PAGE_SIZE, MADV_REMOVE) ? -EFAULT : 0;
    if (!madvise(at, GUEST_PAGE_SIZE, MADV_DONTNEED))
        return 0;
    return madvise(at, GUEST_PAGE_SIZE, MADV_DONTNEED_LOCKED) ? -EFAULT : 0;
}

/*
 * What the host's page holds, decrypted, to the shadow.  May wait for the thread
 * that gives missing pages: without the lock, the page being BUSY.
 */
static int load(struct sev_memory *memory, uint64_t hva, uint8_t *shadow)
{
    int ret = sev_touch_zero(memory->touch, hva);

    /* There was a page: its bytes. */
    if (ret == -EEXIST)
        ret = copy_from_own(shadow, hva, GUEST_PAGE_SIZE);
    else if (!ret)
        memset(shadow, 0, GUEST_PAGE_SIZE);
    if (!ret)
        sev_cipher_page(memory->cipher, false, hva, shadow);
    return ret;
}

/* From HOST or MAPPED to GUEST; the lock is held, and let go meanwhile. */
static int to_guest(struct sev_memory *memory, struct chunk *chunk, uint64_t hva)
{
    uint8_t *state = page_state(chunk, hva), before = *state;
    int ret;

    *state = PAGE_BUSY;
    pthread_mutex_unlock(&memory->lock);
    ret = load(memory, hva, page_shadow(chunk, hva));
    pthread_mutex_lock(&memory->lock);
    if (!ret)
        ret = take_out(memory, hva);
    *state = ret ? before : PAGE_GUEST;
    return ret;
}

/* From GUEST to HOST; the lock is held, nobody has translations any more. */
static void to_host(struct sev_memory *memory, struct chunk *chunk, uint64_t hva)
{
    uint8_t page[GUEST_PAGE_SIZE], *shadow = page_shadow(chunk, hva);

    memcpy(page, shadow, sizeof(page));
    sev_cipher_page(memory->cipher, true, hva, page);
    *page_state(chunk, hva) = PAGE_HOST;
    /* Fails only if the memory isn't there any more. */
    sev_touch_fill(memory->touch, hva, page);
    madvise(shadow, GUEST_PAGE_SIZE, MADV_DONTNEED);
}

/* A missing page is given here: sev_memory_take() says why. */
static void map_host(struct sev_memory *memory, uint8_t *state, uint64_t hva)
{
    if (*state == PAGE_HOST)
        sev_touch_zero(memory->touch, hva);
    *state = PAGE_MAPPED;
}

int sev_memory_enter(struct sev_memory *memory, uint64_t hva, enum sev_view view, uint8_t **host)
{
    struct chunk *chunk;
    uint8_t *state;
    int ret = 0;

    pthread_mutex_lock(&memory->lock);
    chunk = range_find(memory, hva) ? chunk_get(memory, hva) : NULL;
    state = chunk ? page_state(chunk, hva) : NULL;
    if (!chunk)
        ret = range_find(memory, hva) ? -ENOMEM : -EFAULT;
    else if (*state == PAGE_BUSY || (view == SEV_VIEW_HOST && *state == PAGE_GUEST))
        ret = -EAGAIN;
    else if (view == SEV_VIEW_HOST)
        map_host(memory, state, hva);
    else if (*state != PAGE_GUEST)
        ret = *state == PAGE_MAPPED || __atomic_load_n(&all.copies, __ATOMIC_SEQ_CST)
                  ? -EAGAIN
                  : to_guest(memory, chunk, hva);
    if (!ret)
        *host = view == SEV_VIEW_HOST ? (uint8_t *)hva : page_shadow(chunk, hva);
    pthread_mutex_unlock(&memory->lock);
    return ret;
}

/* Whatever slots have the page. */
static void flush(struct vm *vm, uint64_t hva)
{
    struct memslots *spaces[] = { &vm->slots, &vm->smm_slots };

    for (size_t space = 0; space < 2; space++) {
        for (size_t i = 0; i < spaces[space]->count; i++) {
            const struct memslot *slot = spaces[space]->by_gpa[i];

            if (hva - slot->hva < slot->size)
                vm_flush_gpa(vm, slot->gpa + (hva - slot->hva), GUEST_PAGE_SIZE);
        }
    }
}

int sev_memory_switch(struct sev_memory *memory, uint64_t hva, enum sev_view view)
{
    struct chunk *chunk;
    int ret = 0;

    pthread_mutex_lock(&memory->lock);
    chunk = chunk_find(memory, hva);
    if (view == SEV_VIEW_HOST) {
        if (chunk && *page_state(chunk, hva) == PAGE_GUEST) {
            flush(memory->vm, hva);
            to_host(memory, chunk, hva);
        }
    } else if (!chunk || !range_find(memory, hva)) {
        ret = -EFAULT;
    } else if (*page_state(chunk, hva) != PAGE_GUEST) {
        flush(memory->vm, hva);
        ret = to_guest(memory, chunk, hva);
    }
    pthread_mutex_unlock(&memory->lock);
    return ret;
}

/* The next page from hva on, below end, that is GUEST's (or about to be); end: none. */
static uint64_t next_guest_page(const struct sev_memory *memory, uint64_t hva, uint64_t end)
{
    while (hva < end) {
        struct chunk *chunk = chunk_find(memory, hva);

        if (chunk && *page_state(chunk, hva) >= PAGE_BUSY)
            return hva;
        hva = chunk ? hva + GUEST_PAGE_SIZE : (hva | (CHUNK_SIZE - 1)) + 1;
    }
    return end;
}

void sev_memory_to_host(struct sev_memory *memory, uint64_t addr, uint64_t size)
{
    uint64_t end = size > USER_ADDRESS_END - addr ? USER_ADDRESS_END : addr + size;
    uint64_t hva = addr & ~(uint64_t)(GUEST_PAGE_SIZE - 1);

    if (addr >= USER_ADDRESS_END)
        return;
    pthread_mutex_lock(&memory->lock);
    for (hva = next_guest_page(memory, hva, end); hva < end;
         hva = next_guest_page(memory, hva + GUEST_PAGE_SIZE, end)) {
        flush(memory->vm, hva);
        to_host(memory, chunk_find(memory, hva), hva);
    }
    pthread_mutex_unlock(&memory->lock);
}

static bool is_known(struct sev_memory *memory, uint64_t hva)
{
    bool known;

    pthread_mutex_lock(&memory->lock);
    known = range_find(memory, hva);
    pthread_mutex_unlock(&memory->lock);
    return known;
}

void sev_memory_take(struct sev_memory *memory, uint64_t addr, uint64_t size)
{
    uint64_t hva = addr & ~(uint64_t)(GUEST_PAGE_SIZE - 1);

    sev_memory_to_host(memory, addr, size);
    for (; hva < addr + size && hva < USER_ADDRESS_END; hva += GUEST_PAGE_SIZE) {
        if (is_known(memory, hva))
            sev_touch_zero(memory->touch, hva);
    }
}

bool sev_memory_read(struct sev_memory *memory, uint64_t addr, void *data, size_t size)
{
    struct chunk *chunk;
    bool guests;

    pthread_mutex_lock(&memory->lock);
    chunk = chunk_find(memory, addr);
    guests = chunk && *page_state(chunk, addr) == PAGE_GUEST;
    if (guests && size)
        memcpy(data, page_shadow(chunk, addr), size);
    pthread_mutex_unlock(&memory->lock);
    return guests;
}

void sev_memory_crypt(struct sev_memory *memory, bool encrypt, uint64_t addr, void *data,
                      size_t size)
{
    uint8_t page[GUEST_PAGE_SIZE] = { 0 };
    uint64_t offset = addr % GUEST_PAGE_SIZE;

    /* Blocks don't depend on each other. */
    memcpy(page + offset, data, size);
    sev_cipher_page(memory->cipher, encrypt, addr - offset, page);
    memcpy(data, page + offset, size);
}

bool sev_memory_is_guests(struct sev_memory *memory, uint64_t hva, bool *zeroed)
{
    struct chunk *chunk;
    bool guests;

    pthread_mutex_lock(&memory->lock);
    chunk = chunk_find(memory, hva);
    guests = chunk && *page_state(chunk, hva) == PAGE_GUEST;
    /* Under the lock, as it may become the guest's. */
    *zeroed = !guests && !sev_touch_zero(memory->touch, hva);
    pthread_mutex_unlock(&memory->lock);
    return guests;
}

int sev_memory_add(struct sev_memory *memory, uint64_t hva, uint64_t size)
{
    struct sev_range *range = malloc(sizeof(*range));
    bool shmem;
    int ret = range ? sev_touch_register(memory->touch, hva, size, &shmem) : -ENOMEM;

    if (ret) {
        free(range);
        return ret;
    }
    *range = (struct sev_range){ .start = hva, .size = size, .shmem = shmem };
    pthread_mutex_lock(&memory->lock);
    range->next = memory->ranges;
    memory->ranges = range;
    pthread_mutex_unlock(&memory->lock);
    return 0;
}

void sev_memory_remove(struct sev_memory *memory, uint64_t hva, uint64_t size)
{
    struct sev_range **link = &memory->ranges, *gone;
    bool shared = false;

    pthread_mutex_lock(&memory->lock);
    while ((*link)->start != hva || (*link)->size != size)
        link = &(*link)->next;
    gone = *link;
    for (const struct sev_range *r = memory->ranges; r; r = r->next)
        shared |= r != gone && r->start < hva + size && hva < r->start + r->size;
    pthread_mutex_unlock(&memory->lock);
    /* Memory that another slot has too stays as it is. */
    if (!shared) {
        sev_memory_to_host(memory, hva, size);
        sev_touch_unregister(memory->touch, hva, size);
    }
    pthread_mutex_lock(&memory->lock);
    *link = gone->next;
    pthread_mutex_unlock(&memory->lock);
    free(gone);
}

void sev_memory_set_cipher(struct sev_memory *memory, struct sev_cipher *cipher)
{
    sev_cipher_free(memory->cipher);
    memory->cipher = cipher;
}

int sev_memory_new(struct vm *vm, struct sev_memory **ret)
{
    struct sev_memory *memory = calloc(1, sizeof(*memory));
    int error;

    if (!memory)
        return -ENOMEM;
    memory->vm = vm;
    pthread_mutex_init(&memory->lock, NULL);
    error = sev_touch_new(memory, vm, &memory->touch);
    if (error) {
        pthread_mutex_destroy(&memory->lock);
        free(memory);
        return error;
    }
    pthread_mutex_lock(&all.lock);
    memory->next = all.first;
    __atomic_store_n(&all.first, memory, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&all.lock);
    *ret = memory;
    return 0;
}

static void leave_all(struct sev_memory *memory)
{
    struct sev_memory **link = &all.first;

    pthread_mutex_lock(&all.lock);
    while (*link != memory)
        link = &(*link)->next;
    __atomic_store_n(link, memory->next, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&all.lock);
}

static void free_tables(struct sev_memory *memory)
{
    for (size_t i = 0; i < ROOT_SIZE; i++) {
        for (size_t n = 0; memory->root[i] && n < LEAF_SIZE; n++)
            free(memory->root[i][n]);
        free(memory->root[i]);
    }
    while (memory->arenas) {
        struct arena *arena = memory->arenas;

        memory->arenas = arena->next;
        munmap(arena->mapped, (size_t)(ARENA_CHUNKS + 1) * CHUNK_SIZE);
        free(arena);
    }
    while (memory->ranges) {
        struct sev_range *range = memory->ranges;

        memory->ranges = range->next;
        free(range);
    }
}

void sev_memory_free(struct sev_memory *memory)
{
    if (!memory)
        return;
    leave_all(memory);
    sev_touch_free(memory->touch);
    free_tables(memory);
    sev_cipher_free(memory->cipher);
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

bool sev_copy_begin(uint64_t addr, size_t size)
{
    uint64_t first = addr & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    bool free_of_them = true;

    __atomic_add_fetch(&all.copies, 1, __ATOMIC_SEQ_CST);
    /* Bad addresses are for the copy itself to refuse. */
    if (!__atomic_load_n(&all.first, __ATOMIC_SEQ_CST) ||
        !range_within(addr, size, USER_ADDRESS_END))
        return true;
    pthread_mutex_lock(&all.lock);
    for (struct sev_memory *m = all.first; m && free_of_them; m = m->next) {
        pthread_mutex_lock(&m->lock);
        free_of_them = next_guest_page(m, first, addr + size) == addr + size;
        /* See sev_memory_take(). */
        for (uint64_t hva = first; free_of_them && hva < addr + size; hva += GUEST_PAGE_SIZE) {
            if (range_find(m, hva))
                sev_touch_zero(m->touch, hva);
        }
        pthread_mutex_unlock(&m->lock);
    }
    pthread_mutex_unlock(&all.lock);
    if (!free_of_them)
        sev_copy_end();
    return free_of_them;
}

void sev_copy_end(void)
{
    __atomic_sub_fetch(&all.copies, 1, __ATOMIC_SEQ_CST);
}
