/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cryptography of SEV by libcrypto: pages of guest memory, and what the
 * firmware derives, wraps and authenticates.
 *
 * Memory: AES-128 in XTS mode, a page being the unit and its address the tweak.
 * So each block of 16 bytes depends on the key and on its address alone, which
 * is what AMD's memory controllers do (APM vol. 2, 15.34); the numbers that come
 * out are not theirs.
 * Derivations: SEV API 0.24, 2.2.2 (NIST SP 800-108, counter mode, HMAC-SHA-256).
 */
#ifndef SOFTKVM_SEV_CRYPTO_H
#define SOFTKVM_SEV_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEV_KEY = 16,               /* AES-128: TEK, TIK, KEK, KIK */
    SEV_DIGEST = 32,            /* SHA-256 */
    SEV_VEK = 32,               /* both keys of XTS */
    SEV_BLOCK = 16,
};

struct sev_cipher;

/* NULL: libcrypto refused. */
struct sev_cipher *sev_cipher_new(const uint8_t vek[SEV_VEK]);
void sev_cipher_free(struct sev_cipher *cipher);        /* or NULL */

/* The page at a page-aligned address, in place.  From any thread. */
void sev_cipher_page(struct sev_cipher *cipher, bool encrypt, uint64_t address, void *page);

/* All: false if libcrypto refused. */
bool sev_random(void *to, size_t size);
bool sev_hmac(const uint8_t *key, size_t key_size, const void *data, size_t size,
              uint8_t mac[SEV_DIGEST]);
/* SEV_KEY bytes from a key; the context may be empty. */
bool sev_derive(const uint8_t *key, size_t key_size, const char *label, const void *context,
                size_t context_size, uint8_t out[SEV_KEY]);
/* AES-128-CTR, in place. */
bool sev_ctr(const uint8_t key[SEV_KEY], const uint8_t iv[SEV_BLOCK], void *data, size_t size);

/* Without telling by time where they differ. */
bool sev_same(const void *a, const void *b, size_t size);

#endif
