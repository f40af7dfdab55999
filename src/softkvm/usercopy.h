/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of the caller, named by addresses that may be wrong: what the kernel
 * does with copy_from_user() and get_user_pages().  A bad address is -EFAULT
 * and never a signal.
 */
#ifndef SOFTKVM_USERCOPY_H
#define SOFTKVM_USERCOPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* First address that no process may map (four-level paging, less the guard page). */
#define USER_ADDRESS_END 0x7ffffffff000ULL

/* 0 or -EFAULT; on -EFAULT part of it may have been copied. */
int copy_from_user(void *to, uint64_t from, size_t size);
int copy_to_user(uint64_t to, const void *from, size_t size);

/*
 * The first without asking whether a SEV guest has pages there now, which the
 * others answer with -EFAULT.
 */
int copy_from_own(void *to, uint64_t from, size_t size);

/*
 * Can the page at hva be read (or written)?  Faults it in; changes nothing
 * that is in it.  True holds until somebody unmaps it.
 */
bool user_page_usable(uint64_t hva, bool write);

#endif
