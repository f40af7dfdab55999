/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ciphers and authentication codes for SEV: see the header for what they model. */
#include "sev_crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, INPUT_MAX = 128 };

struct sev_cipher {
    pthread_mutex_t lock;       /* contexts are for one user at a time */
    EVP_CIPHER_CTX *ctx[2];     /* decrypt, encrypt */
};

struct sev_cipher *sev_cipher_new(const uint8_t vek[SEV_VEK])
{
    struct sev_cipher *cipher = calloc(1, sizeof(*cipher));
    bool ok = true;

    if (!cipher)
        return NULL;
    pthread_mutex_init(&cipher->lock, NULL);
    for (int encrypt = 0; encrypt < 2; encrypt++) {
        cipher->ctx[encrypt] = EVP_CIPHER_CTX_new();
        ok = ok && cipher->ctx[encrypt] &&
             EVP_CipherInit_ex(cipher->ctx[encrypt], EVP_aes_128_xts(), NULL, vek, NULL,
                               encrypt) == 1;
    }
    if (ok)
        return cipher;
    sev_cipher_free(cipher);
    return NULL;
}

void sev_cipher_free(struct sev_cipher *cipher)
{
    if (!cipher)
        return;
    EVP_CIPHER_CTX_free(cipher->ctx[0]);
    EVP_CIPHER_CTX_free(cipher->ctx[1]);
    pthread_mutex_destroy(&cipher->lock);
    free(cipher);
}

void sev_cipher_page(struct sev_cipher *cipher, bool encrypt, uint64_t address, void *page)
{
    EVP_CIPHER_CTX *ctx = cipher->ctx[encrypt];
    uint8_t iv[SEV_BLOCK] = { 0 };
    int done;

    memcpy(iv, &address, sizeof(address));
    pthread_mutex_lock(&cipher->lock);
    /* Nothing of it can fail once the key is set; if it did, nobody may see the plain text. */
    if (EVP_CipherInit_ex(ctx, NULL, NULL, NULL, iv, -1) != 1 ||
        EVP_CipherUpdate(ctx, page, &done, page, PAGE) != 1 || done != PAGE)
        memset(page, 0, PAGE);
    pthread_mutex_unlock(&cipher->lock);
}

bool sev_random(void *to, size_t size)
{
    return RAND_bytes(to, size) == 1;
}

bool sev_hmac(const uint8_t *key, size_t key_size, const void *data, size_t size,
              uint8_t mac[SEV_DIGEST])
{
    return HMAC(EVP_sha256(), key, key_size, data, size, mac, NULL) != NULL;
}

bool sev_derive(const uint8_t *key, size_t key_size, const char *label, const void *context,
                size_t context_size, uint8_t out[SEV_KEY])
{
    /* One round makes more than is asked for: number 1, label, 0, context, bits. */
    const uint32_t round = 1, bits = SEV_KEY * 8;
    uint8_t input[INPUT_MAX], mac[SEV_DIGEST];
    size_t label_size = strlen(label) + 1, size = 0;

    if (sizeof(round) + label_size + context_size + sizeof(bits) > sizeof(input))
        return false;
    memcpy(input, &round, sizeof(round));
    size += sizeof(round);
    memcpy(input + size, label, label_size);
    size += label_size;
    if (context_size)
        memcpy(input + size, context, context_size);
    size += context_size;
    memcpy(input + size, &bits, sizeof(bits));
    size += sizeof(bits);
    if (!sev_hmac(key, key_size, input, size, mac))
        return false;
    memcpy(out, mac, SEV_KEY);
    return true;
}

bool sev_ctr(const uint8_t key[SEV_KEY], const uint8_t iv[SEV_BLOCK], void *data, size_t size)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int done = 0;
    bool ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_128_ctr(), NULL, key, iv) == 1 &&
              EVP_EncryptUpdate(ctx, data, &done, data, size) == 1 && done == (int)size;

    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

bool sev_same(const void *a, const void *b, size_t size)
{
    return !CRYPTO_memcmp(a, b, size);
}
