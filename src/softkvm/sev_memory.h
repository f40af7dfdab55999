/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of a SEV guest: which of two views owns a page.
 *
 * HOST: the page at the slot's userspace_addr is what counts.  The caller and
 * guest accesses without the C-bit use it directly; it holds shared bytes, or
 * the cipher text of private ones.  GUEST: a shadow page of this library counts,
 * which holds plain text for accesses with the C-bit, and the caller's page is
 * taken out of its mapping.  Who touches that (the kernel on behalf of somebody
 * included) waits in a userfaultfd until the page is HOST's again.
 *
 * So encryption costs when a page changes hands, and never in between.  The
 * address that the cipher text depends on is the page's userspace_addr: that is
 * what the "physical memory" of this machine is.
 *
 * Locks: a leaf lock of its own; vm->lock and the run_locks are taken by its
 * thread for pages that go from GUEST to HOST.
 */
#ifndef SOFTKVM_SEV_MEMORY_H
#define SOFTKVM_SEV_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sev_cipher;
struct sev_memory;
struct vm;

enum sev_view { SEV_VIEW_HOST, SEV_VIEW_GUEST };

/* 0; -ENODEV: there is no userfaultfd for this process; -ENOMEM, -EAGAIN: no threads. */
int sev_memory_new(struct vm *vm, struct sev_memory **ret);
/* Nobody uses the VM any more.  What was in GUEST view is gone. */
void sev_memory_free(struct sev_memory *memory);        /* or NULL */

/* Takes it over.  Before any vCPU runs. */
void sev_memory_set_cipher(struct sev_memory *memory, struct sev_cipher *cipher);

/*
 * A slot comes; vm->lock held.  -EOPNOTSUPP: pages can't be taken out of such
 * memory (huge pages, private mappings of files, devices).  -EFAULT, -ENOMEM.
 */
int sev_memory_add(struct sev_memory *memory, uint64_t hva, uint64_t size);
/* A slot goes: what no other slot has becomes HOST's.  vm->lock held, paused. */
void sev_memory_remove(struct sev_memory *memory, uint64_t hva, uint64_t size);

/*
 * sev_memory_enter - the page at hva for an access of a vCPU in the guest.
 * 0: *host is where it is, until translations of the page are flushed.  -EAGAIN:
 * leave the guest and let sev_memory_switch() do it.  -EFAULT, -ENOMEM.
 */
int sev_memory_enter(struct sev_memory *memory, uint64_t hva, enum sev_view view, uint8_t **host);

/* Translations that are wrong then are flushed.  vm->lock held, the VM paused. 0 or as above. */
int sev_memory_switch(struct sev_memory *memory, uint64_t hva, enum sev_view view);
/* All pages of a range of any addresses to HOST; likewise. */
void sev_memory_to_host(struct sev_memory *memory, uint64_t addr, uint64_t size);

/*
 * The same for a short range that this library is going to read and write: pages that
 * are just missing are given first, as a process without privilege has a userfaultfd
 * that doesn't give them to the kernel.
 */
void sev_memory_take(struct sev_memory *memory, uint64_t addr, uint64_t size);

/*
 * Of a page that is GUEST's: bytes as the guest sees them, and it stays GUEST's.  The VM
 * is paused; the bytes cross no page.  False: the page is HOST's, nothing is copied.
 */
bool sev_memory_read(struct sev_memory *memory, uint64_t addr, void *data, size_t size);

/* Encrypt or decrypt whole blocks that stand at addr; none crosses a page. */
void sev_memory_crypt(struct sev_memory *memory, bool encrypt, uint64_t addr, void *data,
                      size_t size);

/*
 * Around this library's own copies from and to the caller's memory: waiting for
 * a GUEST page there would be waiting for locks that are held.  False, nothing to
 * end: the range has one, which is -EFAULT.
 */
bool sev_copy_begin(uint64_t addr, size_t size);
void sev_copy_end(void);

#endif
