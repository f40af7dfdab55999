/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pinned pages of a guest_memfd: what a reference by get_user_pages() is to the
 * kernel, put there by a test.  Who wants such a page private is told EAGAIN.
 * Under vm->lock.
 */
#ifndef SOFTKVM_GMEM_PINS_H
#define SOFTKVM_GMEM_PINS_H

#include <stdint.h>

struct gmem_pin;

/* tries: how many conversions it stands in the way of; 0: all. -ENOMEM. */
int gmem_pins_add(struct gmem_pin **pins, uint64_t offset, uint64_t size, unsigned tries);
/* -ENOENT: none was added so. */
int gmem_pins_remove(struct gmem_pin **pins, uint64_t offset, uint64_t size);
void gmem_pins_free(struct gmem_pin **pins);

/*
 * -EAGAIN, *first the offset of the first pinned page in the range, and that
 * try is counted; or 0.
 */
int gmem_pins_check(struct gmem_pin **pins, uint64_t offset, uint64_t size, uint64_t *first);

#endif
