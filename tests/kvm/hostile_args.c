/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arguments: random, but near enough to sense that some come far. */
#include "hostile.h"

#include "kvm_uapi.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, MAX_GMEM = 1 << 20 };

uint8_t *guest_memory;
static uint8_t *readonly_page;

static pthread_mutex_t descriptors_lock = PTHREAD_MUTEX_INITIALIZER;
static int descriptors[MAX_DESCRIPTORS];
static unsigned nr_descriptors;

uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

unsigned rng_below(struct rng *rng, unsigned n)
{
    return (unsigned)((rng_next(rng) >> 32) * n >> 32);
}

/* size bytes with nothing before and behind them. */
static uint8_t *memory_alone(size_t size)
{
    uint8_t *at = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED || mprotect(at + PAGE, size, PROT_READ | PROT_WRITE))
        return NULL;
    memset(at + PAGE, 0, size);
    return at + PAGE;
}

uint8_t *new_argument_memory(void)
{
    return memory_alone(ARGUMENT_SIZE);
}

bool hostile_memory_init(void)
{
    guest_memory = memory_alone(GUEST_SIZE);
    readonly_page = memory_alone(PAGE);
    return guest_memory && readonly_page && !mprotect(readonly_page, PAGE, PROT_READ);
}

void descriptors_add(int fd)
{
    pthread_mutex_lock(&descriptors_lock);
    descriptors[nr_descriptors++] = fd;
    pthread_mutex_unlock(&descriptors_lock);
}

unsigned descriptors_count(void)
{
    unsigned n;

    pthread_mutex_lock(&descriptors_lock);
    n = nr_descriptors;
    pthread_mutex_unlock(&descriptors_lock);
    return n;
}

int descriptors_any(struct rng *rng)
{
    static const int bad[] = { -1, 1000000, 0, -100, 1 << 30 };
    int fd;

    if (rng_one_in(rng, 50))
        return bad[rng_below(rng, sizeof(bad) / sizeof(bad[0]))];
    pthread_mutex_lock(&descriptors_lock);
    fd = nr_descriptors ? descriptors[rng_below(rng, nr_descriptors)] : -1;
    pthread_mutex_unlock(&descriptors_lock);
    return fd;
}

int descriptors_take(struct rng *rng)
{
    int fd = -1;

    pthread_mutex_lock(&descriptors_lock);
    if (nr_descriptors) {
        unsigned i = rng_below(rng, nr_descriptors);

        fd = descriptors[i];
        descriptors[i] = descriptors[--nr_descriptors];
    }
    pthread_mutex_unlock(&descriptors_lock);
    return fd;
}

static uint64_t bad_address(struct rng *rng)
{
    const uint64_t bad[] = {
        0, 1, 4095, 0xffff888000000000, UINT64_MAX, UINT64_MAX - 4095, 1ULL << 47, 1ULL << 63,
        0x7ffffffff000, (uintptr_t)readonly_page, (uintptr_t)guest_memory - 8,
        (uintptr_t)guest_memory + GUEST_SIZE, (uintptr_t)guest_memory + GUEST_SIZE - 4,
    };

    return bad[rng_below(rng, sizeof(bad) / sizeof(bad[0]))];
}

static uint64_t guest_address(struct rng *rng)
{
    return (uintptr_t)guest_memory + (uint64_t)rng_below(rng, GUEST_SIZE / PAGE) * PAGE;
}

static uint64_t make_word(struct rng *rng)
{
    uint64_t low = rng_below(rng, 16), high = rng_below(rng, 4);

    switch (rng_below(rng, 12)) {
    case 0: case 1: case 2: case 3: return 0;
    case 4: return low;
    case 5: return high << 32 | low;
    case 6: return (uint64_t)rng_below(rng, 1024) * PAGE;
    case 7: return 1ULL << rng_below(rng, 64);
    case 8: return guest_address(rng);
    case 9: return bad_address(rng);
    case 10: return (uint64_t)(uint32_t)descriptors_any(rng) << (rng_below(rng, 2) * 32) | low;
    default: return rng_next(rng);
    }
}

/* A slot may lie in guest_memory or where nothing is: elsewhere a guest may rightly crash us. */
static void tame_slot(struct kvm_userspace_memory_region2 *slot)
{
    uint64_t start = (uintptr_t)guest_memory, at = slot->userspace_addr;

    if (at >= start && at < start + GUEST_SIZE) {
        if (slot->memory_size > start + GUEST_SIZE - at)
            slot->memory_size = start + GUEST_SIZE - at;
    } else if (at >= PAGE && at < 1ULL << 47) {
        slot->userspace_addr = start;
        slot->memory_size %= GUEST_SIZE;
    } else if (at < PAGE && slot->memory_size > 16 * PAGE) {
        slot->memory_size = 16 * PAGE;
    }
}

/* What would harm this program, or take all memory, by rights. */
static void tame(unsigned long request, uint8_t *memory, size_t size)
{
    struct kvm_create_guest_memfd *gmem = (void *)memory;
    struct kvm_signal_mask *mask = (void *)memory;

    switch (request) {
    case KVM_SET_USER_MEMORY_REGION:
    case KVM_SET_USER_MEMORY_REGION2:
        tame_slot((void *)memory);
        break;
    case KVM_CREATE_GUEST_MEMFD:
        if (gmem->size > MAX_GMEM && gmem->size % PAGE == 0)
            gmem->size = MAX_GMEM;
        break;
    case KVM_SET_SIGNAL_MASK:           /* the signal that ends KVM_RUN stays */
        if (size >= sizeof(*mask) + 8)
            memset(mask->sigset, 0, 8);
        break;
    default:
        break;
    }
}

/* Of SEV's commands most structures are addresses and lengths. */
static uint64_t make_sev_word(struct rng *rng, const uint8_t *memory)
{
    switch (rng_below(rng, 6)) {
    case 0: return 0;
    case 1: return guest_address(rng) + rng_below(rng, PAGE);
    case 2: return guest_address(rng);
    case 3: return (uintptr_t)memory + rng_below(rng, ARGUMENT_SIZE);
    case 4: return (uint64_t)rng_below(rng, 1024) * 16;
    default: return rng_one_in(rng, 4) ? make_word(rng) : rng_below(rng, 20000);
    }
}

static void make_sev_command(struct rng *rng, uint8_t *at, const uint8_t *memory)
{
    const struct kvm_sev_cmd cmd = {
        .id = rng_below(rng, KVM_SEV_INIT2 + 2), .data = (uintptr_t)(at + sizeof(cmd)),
        .sev_fd = (uint32_t)descriptors_any(rng),
    };

    memcpy(at, &cmd, sizeof(cmd));
    for (size_t i = 0; i < 8; i++) {
        uint64_t word = make_sev_word(rng, memory);

        memcpy(at + sizeof(cmd) + i * 8, &word, sizeof(word));
    }
}

unsigned long make_argument(struct rng *rng, unsigned long request, uint8_t *memory)
{
    size_t size = _IOC_SIZE(request), used = size + 256;
    uint8_t *at = memory;

    if (_IOC_DIR(request) == _IOC_NONE || rng_one_in(rng, 24))
        return rng_one_in(rng, 2) ? rng_below(rng, 8) : make_word(rng);
    if (rng_one_in(rng, 24))
        return bad_address(rng);
    if (used > ARGUMENT_SIZE)
        used = ARGUMENT_SIZE;
    /* At the end of the memory now and then, whole or not whole. */
    if (rng_one_in(rng, 8))
        used = size > 8 && rng_one_in(rng, 2) ? size - 1 - rng_below(rng, 8) : size;
    if (used != size + 256)
        at = memory + ARGUMENT_SIZE - used;
    for (size_t i = 0; i < used; i += 8) {
        uint64_t word = make_word(rng);

        memcpy(at + i, &word, used - i < 8 ? used - i : 8);
    }
    if (used >= size)
        tame(request, at, used);
    if (request == KVM_MEMORY_ENCRYPT_OP && used > size)
        make_sev_command(rng, at, memory);
    return (uintptr_t)at;
}
