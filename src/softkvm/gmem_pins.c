/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of a guest_memfd's pinned ranges. */
#include "gmem_pins.h"

#include "range.h"

#include <errno.h>
#include <stdlib.h>

struct gmem_pin {
    struct gmem_pin *next;
    uint64_t offset, size;
    unsigned tries;             /* left; 0: it stays */
};

int gmem_pins_add(struct gmem_pin **pins, uint64_t offset, uint64_t size, unsigned tries)
{
    struct gmem_pin *pin = malloc(sizeof(*pin));

    if (!pin)
        return -ENOMEM;
    *pin = (struct gmem_pin){ .next = *pins, .offset = offset, .size = size, .tries = tries };
    *pins = pin;
    return 0;
}

static void remove_at(struct gmem_pin **link)
{
    struct gmem_pin *pin = *link;

    *link = pin->next;
    free(pin);
}

int gmem_pins_remove(struct gmem_pin **pins, uint64_t offset, uint64_t size)
{
    for (struct gmem_pin **link = pins; *link; link = &(*link)->next) {
        if ((*link)->offset == offset && (*link)->size == size) {
            remove_at(link);
            return 0;
        }
    }
    return -ENOENT;
}

void gmem_pins_free(struct gmem_pin **pins)
{
    while (*pins)
        remove_at(pins);
}

int gmem_pins_check(struct gmem_pin **pins, uint64_t offset, uint64_t size, uint64_t *first)
{
    struct gmem_pin **found = NULL;

    for (struct gmem_pin **link = pins; *link; link = &(*link)->next) {
        uint64_t at = (*link)->offset > offset ? (*link)->offset : offset;

        if (!ranges_overlap(offset, size, (*link)->offset, (*link)->size) ||
            (found && at >= *first))
            continue;
        *first = at;
        found = link;
    }
    if (!found)
        return 0;
    if ((*found)->tries && --(*found)->tries == 0)
        remove_at(found);
    return -EAGAIN;
}
