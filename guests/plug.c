/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A driver of the memory device: plugs blocks, uses them, shares a page of one, unplugs and
 * plugs again, and asks for what it may not have.  New memory is zero, and private in a
 * protected VM; devices reach what is shared and plugged, nothing else.
 */
#include "virtio.h"

enum {
    RING = 0x900000, REQUEST = 0x901000, ANSWER = REQUEST + 0x800,
    WINDOW = 0xa00000,                          /* virtual, 2 MiB: block 0 of the device */
    PAGE = 4096, PAGES = 512, BLOCK = 2 << 20, SHARED_AT = 5,
    PLUG = 0, UNPLUG = 1, UNPLUG_ALL = 2, STATE = 3,
    CONFIG_BLOCK = 0, CONFIG_ADDR = 16, CONFIG_REGION = 24, CONFIG_PLUGGED = 40,
    CONFIG_REQUESTED = 48,
    NO_ANSWER = 99,
};

struct request {
    uint16_t type, padding[3];
    uint64_t address;
    uint16_t blocks, padding2[3];
};

struct answer {
    uint16_t type, padding[3], state;
} __attribute__((packed));

static uint64_t base;

static uint64_t config64(unsigned offset)
{
    return virtio_config(offset) | (uint64_t)virtio_config(offset + 4) << 32;
}

/*
 * The request lies at that address of the device's view; here: where it is written.  Its
 * answer; of STATE, 10 and the state.
 */
static unsigned ask_from(uint64_t gpa, void *here, unsigned type, uint64_t address,
                         unsigned blocks)
{
    struct descriptor *table = (struct descriptor *)RING;
    volatile struct answer *answer = (volatile struct answer *)ANSWER;

    *(struct request *)here = (struct request){ type, { 0 }, address, blocks, { 0 } };
    answer->type = NO_ANSWER;
    table[0] = (struct descriptor){ gpa, sizeof(struct request), DESC_NEXT, 1 };
    table[1] = (struct descriptor){ ANSWER, sizeof(struct answer), DESC_WRITE, 0 };
    if (!virtio_submit() || virtio_used_length() == 0)
        return NO_ANSWER;
    return type == STATE && answer->type == 0 ? 10u + answer->state : answer->type;
}

static unsigned ask(unsigned type, uint64_t address, unsigned blocks)
{
    return ask_from(REQUEST, (void *)REQUEST, type, address, blocks);
}

static void map_window(void)
{
    uint64_t *table = split_large_page(WINDOW);

    for (unsigned i = 0; i < PAGES; i++)
        table[i] = (base + (uint64_t)i * PAGE) | (table[i] & (PAGE - 1));
    for (unsigned i = 0; i < PAGES; i++)
        flush_page(WINDOW + i * PAGE);
}

static volatile uint64_t *word(unsigned page)
{
    return (volatile uint64_t *)(uintptr_t)(WINDOW + page * PAGE);
}

static bool all_zero(void)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < PAGES; i++)
        wrong += *word(i) != 0;
    return !wrong;
}

static bool use_all(void)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < PAGES; i++)
        *word(i) = 0x1234567800000000ull + i;
    for (unsigned i = 0; i < PAGES; i++)
        wrong += *word(i) != 0x1234567800000000ull + i;
    return !wrong;
}

static void step(void)
{
    print("plugged: %u MiB\n", (unsigned)(config64(CONFIG_PLUGGED) >> 20));
    print("waiting for a key\n");
    console_wait();
}

static void refused_requests(void)
{
    uint64_t end = base + config64(CONFIG_REGION);

    print("below the region: %u\n", ask(PLUG, base - BLOCK, 1));
    print("beyond the region: %u\n", ask(PLUG, end, 1));
    print("over its end: %u\n", ask(PLUG, end - BLOCK, 2));
    print("unaligned: %u\n", ask(PLUG, base + PAGE, 1));
    print("no blocks: %u\n", ask(PLUG, base, 0));
    print("wrapping: %u\n", ask(PLUG, (uint64_t)-BLOCK, 2));
    print("unknown: %u\n", ask(7, base, 1));
    print("unplug what isn't plugged: %u\n", ask(UNPLUG, base, 1));
    print("more than is requested: %u\n", ask(PLUG, base, 5));
}

/* A request that lies in the device's own memory. */
static unsigned ask_from_block(void)
{
    return ask_from(base + SHARED_AT * PAGE, (void *)word(SHARED_AT), STATE, base, 1);
}

void guest_main(void)
{
    check(virtio_find(VIRTIO_ID_MEM), "a memory device");
    virtio_share(RING);
    virtio_share(REQUEST);
    check(virtio_start(RING), "features");
    base = config64(CONFIG_ADDR);
    print("region: %u MiB, requested: %u MiB\n", (unsigned)(config64(CONFIG_REGION) >> 20),
          (unsigned)(config64(CONFIG_REQUESTED) >> 20));
    map_window();
    refused_requests();
    print("state: %u\n", ask(STATE, base, 1));
    step();

    print("plug: %u\n", ask(PLUG, base, 4));
    print("state: %u\n", ask(STATE, base, 4));
    print("state beyond: %u\n", ask(STATE, base, 5));
    print("plug again: %u\n", ask(PLUG, base, 1));
    check(all_zero(), "new memory is zero");
    check(use_all(), "new memory is there");
    print("a request in it: %u\n", ask_from_block());
    step();

    share_page(base + SHARED_AT * PAGE);
    print("a request in a shared page of it: %u\n", ask_from_block());
    *word(SHARED_AT) = 1;
    step();

    print("unplug: %u\n", ask(UNPLUG, base, 1));
    print("state: %u\n", ask(STATE, base, 1));
    share_page(base + SHARED_AT * PAGE);
    print("a request in unplugged memory: %u\n", ask_from_block());
    step();

    print("plug: %u\n", ask(PLUG, base, 1));
    check(all_zero(), "memory that was away is zero");
    check(use_all(), "memory that was away is there");
    print("a request in it: %u\n", ask_from_block());
    step();

    print("unplug all: %u\n", ask(UNPLUG_ALL, 0, 0));
    print("state: %u\n", ask(STATE, base, 4));
    step();
}
