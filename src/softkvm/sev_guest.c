/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The firmware's guest context: launching, measuring, secrets, attestation. */
#include "sev_guest.h"

#include "sev_platform.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLICY_RESERVED = 0xffc0,
    /* What the codes of messages begin with. */
    TAG_SECRET = 1, TAG_MEASURE = 4,
    WRAPPED = 2 * SEV_KEY,
};

/* The owner's session: LAUNCH_START's second blob. */
struct session {
    uint8_t nonce[SEV_NONCE], wrapped[WRAPPED], iv[SEV_BLOCK], mac[SEV_DIGEST],
            policy_mac[SEV_DIGEST];
};
_Static_assert(sizeof(struct session) == SEV_SESSION_SIZE, "SEV API, 6.2");

/* Of LAUNCH_SECRET. */
struct secret_header {
    uint8_t flags[4], iv[SEV_BLOCK], mac[SEV_DIGEST];
};
_Static_assert(sizeof(struct secret_header) == SEV_SECRET_HEADER, "SEV API, 6.6");

static unsigned guests;         /* atomic */

unsigned sev_guest_count(void)
{
    return __atomic_load_n(&guests, __ATOMIC_RELAXED);
}

static int check_policy(uint32_t policy)
{
    uint8_t major = policy >> 16, minor = policy >> 24;

    /* A guest with encrypted registers isn't to be had here. */
    if (policy & (POLICY_RESERVED | SEV_POLICY_ES))
        return SEV_RET_POLICY_FAILURE;
    if (major > SEV_API_MAJOR || (major == SEV_API_MAJOR && minor > SEV_API_MINOR))
        return SEV_RET_POLICY_FAILURE;
    return SEV_RET_SUCCESS;
}

/* The owner's keys out of its session, by what its certificate and the PDH agree on. */
static int unwrap_session(struct sev_guest *guest, uint32_t policy, const uint8_t *cert,
                          const struct session *session)
{
    uint8_t shared[SEV_SECRET_MAX], master[SEV_KEY], kek[SEV_KEY], kik[SEV_KEY], mac[SEV_DIGEST],
            keys[WRAPPED];
    int size = sev_platform_agree(cert, shared), ret = SEV_RET_SUCCESS;

    if (size < 0)
        return SEV_RET_INVALID_CERTIFICATE;
    if (!sev_derive(shared, size, "sev-master-secret", session->nonce, SEV_NONCE, master) ||
        !sev_derive(master, SEV_KEY, "sev-kek", NULL, 0, kek) ||
        !sev_derive(master, SEV_KEY, "sev-kik", NULL, 0, kik) ||
        !sev_hmac(kik, SEV_KEY, session->wrapped, WRAPPED, mac))
        return SEV_RET_HWSEV_RET_PLATFORM;
    memcpy(keys, session->wrapped, WRAPPED);
    if (!sev_same(mac, session->mac, SEV_DIGEST))
        ret = SEV_RET_BAD_MEASUREMENT;
    else if (!sev_ctr(kek, session->iv, keys, WRAPPED) ||
             !sev_hmac(keys + SEV_KEY, SEV_KEY, &policy, sizeof(policy), mac))
        ret = SEV_RET_HWSEV_RET_PLATFORM;
    else if (!sev_same(mac, session->policy_mac, SEV_DIGEST))
        ret = SEV_RET_BAD_MEASUREMENT;
    if (!ret) {
        memcpy(guest->tek, keys, SEV_KEY);
        memcpy(guest->tik, keys + SEV_KEY, SEV_KEY);
    }
    OPENSSL_cleanse(keys, sizeof(keys));
    return ret;
}

int sev_guest_start(struct sev_guest *guest, uint32_t policy, const uint8_t *cert,
                    const uint8_t *session)
{
    static uint32_t handles;
    int ret = guest->state == SEV_UNINIT ? check_policy(policy) : SEV_RET_INVALID_GUEST_STATE;
    EVP_MD_CTX *digest;

    if (!ret && cert && session)
        ret = unwrap_session(guest, policy, cert, (const struct session *)session);
    else if (!ret && (!sev_random(guest->tek, SEV_KEY) || !sev_random(guest->tik, SEV_KEY)))
        ret = SEV_RET_HWSEV_RET_PLATFORM;
    if (ret)
        return ret;
    digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest);
        return SEV_RET_RESOURCE_LIMIT;
    }
    guest->digest = digest;
    guest->policy = policy;
    guest->handle = __atomic_add_fetch(&handles, 1, __ATOMIC_RELAXED);
    guest->state = SEV_LAUNCH_UPDATE;
    __atomic_add_fetch(&guests, 1, __ATOMIC_RELAXED);
    return SEV_RET_SUCCESS;
}

int sev_guest_update(struct sev_guest *guest, const void *data, size_t size)
{
    if (guest->state != SEV_LAUNCH_UPDATE)
        return SEV_RET_INVALID_GUEST_STATE;
    if (EVP_DigestUpdate(guest->digest, data, size) != 1)
        return SEV_RET_HWSEV_RET_PLATFORM;
    return SEV_RET_SUCCESS;
}

/* The launch is over: what was its digest? */
static bool end_digest(struct sev_guest *guest)
{
    bool ok = EVP_DigestFinal_ex(guest->digest, guest->launch_digest, NULL) == 1;

    EVP_MD_CTX_free(guest->digest);
    guest->digest = NULL;
    return ok;
}

int sev_guest_measure(struct sev_guest *guest)
{
    uint8_t *nonce = guest->measurement + SEV_DIGEST;
    struct {
        uint8_t tag, major, minor, build;
        uint32_t policy;
        uint8_t digest[SEV_DIGEST], nonce[SEV_NONCE];
    } input = { .tag = TAG_MEASURE, .major = SEV_API_MAJOR, .minor = SEV_API_MINOR,
                .build = SEV_BUILD, .policy = guest->policy };

    /* It can be asked for again, and is the same. */
    if (guest->state == SEV_LAUNCH_SECRET)
        return SEV_RET_SUCCESS;
    if (guest->state != SEV_LAUNCH_UPDATE)
        return SEV_RET_INVALID_GUEST_STATE;
    if (!end_digest(guest) || !sev_random(nonce, SEV_NONCE))
        return SEV_RET_HWSEV_RET_PLATFORM;
    memcpy(input.digest, guest->launch_digest, SEV_DIGEST);
    memcpy(input.nonce, nonce, SEV_NONCE);
    if (!sev_hmac(guest->tik, SEV_KEY, &input, sizeof(input), guest->measurement))
        return SEV_RET_HWSEV_RET_PLATFORM;
    guest->state = SEV_LAUNCH_SECRET;
    return SEV_RET_SUCCESS;
}

/* HMAC(TIK; 1, flags, IV, both lengths, data, measurement). */
static bool secret_mac(const struct sev_guest *guest, const struct secret_header *header,
                       const void *data, uint32_t size, uint8_t mac[SEV_DIGEST])
{
    size_t total = 1 + sizeof(header->flags) + SEV_BLOCK + 2 * sizeof(size) + size + SEV_DIGEST;
    uint8_t *input = malloc(total), *at = input;
    bool ok;

    if (!input)
        return false;
    *at++ = TAG_SECRET;
    at = (uint8_t *)memcpy(at, header->flags, sizeof(header->flags)) + sizeof(header->flags);
    at = (uint8_t *)memcpy(at, header->iv, SEV_BLOCK) + SEV_BLOCK;
    at = (uint8_t *)memcpy(at, &size, sizeof(size)) + sizeof(size);
    at = (uint8_t *)memcpy(at, &size, sizeof(size)) + sizeof(size);
    at = (uint8_t *)memcpy(at, data, size) + size;
    memcpy(at, guest->measurement, SEV_DIGEST);
    ok = sev_hmac(guest->tik, SEV_KEY, input, total, mac);
    free(input);
    return ok;
}

int sev_guest_secret(struct sev_guest *guest, const uint8_t header[SEV_SECRET_HEADER], void *data,
                     size_t size)
{
    const struct secret_header *fields = (const struct secret_header *)header;
    static const uint8_t no_flags[4];
    uint8_t mac[SEV_DIGEST];

    if (guest->state != SEV_LAUNCH_SECRET)
        return SEV_RET_INVALID_GUEST_STATE;
    if (!size || size % SEV_BLOCK)
        return SEV_RET_INVALID_LEN;
    if (memcmp(fields->flags, no_flags, sizeof(no_flags)))      /* compressed */
        return SEV_RET_UNSUPPORTED;
    if (!secret_mac(guest, fields, data, size, mac))
        return SEV_RET_RESOURCE_LIMIT;
    if (!sev_same(mac, fields->mac, SEV_DIGEST))
        return SEV_RET_BAD_MEASUREMENT;
    return sev_ctr(guest->tek, fields->iv, data, size) ? SEV_RET_SUCCESS
                                                       : SEV_RET_HWSEV_RET_PLATFORM;
}

int sev_guest_finish(struct sev_guest *guest)
{
    if (guest->state != SEV_LAUNCH_UPDATE && guest->state != SEV_LAUNCH_SECRET)
        return SEV_RET_INVALID_GUEST_STATE;
    if (guest->state == SEV_LAUNCH_UPDATE && !end_digest(guest))
        return SEV_RET_HWSEV_RET_PLATFORM;
    guest->state = SEV_RUNNING;
    return SEV_RET_SUCCESS;
}

int sev_guest_debug(const struct sev_guest *guest)
{
    if (guest->state == SEV_UNINIT)
        return SEV_RET_INVALID_GUEST_STATE;
    return guest->policy & SEV_POLICY_NODBG ? SEV_RET_POLICY_FAILURE : SEV_RET_SUCCESS;
}

int sev_guest_report(const struct sev_guest *guest, const uint8_t nonce[SEV_NONCE],
                     uint8_t report[SEV_REPORT_SIZE])
{
    struct {
        uint8_t nonce[SEV_NONCE], digest[SEV_DIGEST];
        uint32_t policy;        /* up to here it is signed */
        uint32_t usage, algorithm, reserved;
        uint8_t signature[2 * SEV_SIGNATURE_PART];
    } fields = { .policy = guest->policy, .usage = SEV_USAGE_PEK,
                 .algorithm = SEV_ALGO_ECDSA_SHA256 };

    _Static_assert(sizeof(fields) == SEV_REPORT_SIZE, "SEV API, 6.8");
    if (guest->state != SEV_LAUNCH_SECRET && guest->state != SEV_RUNNING)
        return SEV_RET_INVALID_GUEST_STATE;
    memcpy(fields.nonce, nonce, SEV_NONCE);
    memcpy(fields.digest, guest->launch_digest, SEV_DIGEST);
    if (!sev_platform_sign(&fields, offsetof(__typeof__(fields), usage), fields.signature))
        return SEV_RET_HWSEV_RET_PLATFORM;
    memcpy(report, &fields, sizeof(fields));
    return SEV_RET_SUCCESS;
}

void sev_guest_clear(struct sev_guest *guest)
{
    if (guest->state != SEV_UNINIT)
        __atomic_sub_fetch(&guests, 1, __ATOMIC_RELAXED);
    EVP_MD_CTX_free(guest->digest);
    OPENSSL_cleanse(guest, sizeof(*guest));
}
