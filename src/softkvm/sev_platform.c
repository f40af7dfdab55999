/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys of P-384 and the certificates of appendix C of the SEV API. */
#include "sev_platform.h"

#include "sev_crypto.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <pthread.h>
#include <string.h>

enum key { OCA, CEK, PEK, PDH, NR_KEYS };

enum {
    CERT_VERSION = 1, CURVE_P384 = 2, P384_BYTES = 48,
    ALGO_ECDH_SHA256 = 0x3, USAGE_NONE = 0x1000,
    /* Offsets in a certificate. */
    AT_API = 4, AT_USAGE = 8, AT_ALGO = 12, AT_KEY = 16, AT_SIGNATURE = 0x414,
    SIGNATURE_STEP = 0x208, SIGNED_SIZE = 0x414,
    SECRET_SIZE = 64, SECRET_MIN = 32,
};

static const uint32_t usages[NR_KEYS] = {
    [OCA] = 0x1001, [CEK] = 0x1004, [PEK] = SEV_USAGE_PEK, [PDH] = 0x1003,
};

static struct {
    pthread_once_t once;
    bool ok;
    EVP_PKEY *key[NR_KEYS];
    uint8_t cert[NR_KEYS][SEV_CERT_SIZE];
    uint8_t id[64];
    /* What all of it is derived from; without, it is random. */
    pthread_mutex_t lock;
    bool derived, settled;
    uint8_t secret[SECRET_SIZE];
} platform = { .once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER };

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* A coordinate or a part of a signature: 72 bytes, little endian. */
static bool put_number(uint8_t *at, const BIGNUM *number)
{
    return BN_bn2lebinpad(number, at, SEV_SIGNATURE_PART) == SEV_SIGNATURE_PART;
}

static bool put_key(uint8_t *at, EVP_PKEY *key)
{
    BIGNUM *x = NULL, *y = NULL;
    bool ok = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
              EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1;

    put32(at, CURVE_P384);
    ok = ok && put_number(at + 4, x) && put_number(at + 4 + SEV_SIGNATURE_PART, y);
    BN_free(x);
    BN_free(y);
    return ok;
}

static bool sign(EVP_PKEY *key, const void *data, size_t size, uint8_t *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t der[256];
    const uint8_t *end = der;
    size_t der_size = sizeof(der);
    ECDSA_SIG *parts = NULL;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, der, &der_size, data, size) == 1;

    EVP_MD_CTX_free(ctx);
    if (ok)
        parts = d2i_ECDSA_SIG(NULL, &end, der_size);
    ok = parts && put_number(signature, ECDSA_SIG_get0_r(parts)) &&
         put_number(signature + SEV_SIGNATURE_PART, ECDSA_SIG_get0_s(parts));
    ECDSA_SIG_free(parts);
    return ok;
}

/* The certificate without signatures. */
static bool make_cert(enum key key)
{
    uint8_t *cert = platform.cert[key];

    put32(cert, CERT_VERSION);
    cert[AT_API] = SEV_API_MAJOR;
    cert[AT_API + 1] = SEV_API_MINOR;
    put32(cert + AT_USAGE, usages[key]);
    put32(cert + AT_ALGO, key == PDH ? ALGO_ECDH_SHA256 : SEV_ALGO_ECDSA_SHA256);
    for (unsigned i = 0; i < 2; i++)
        put32(cert + AT_SIGNATURE + i * SIGNATURE_STEP, USAGE_NONE);
    return put_key(cert + AT_KEY, platform.key[key]);
}

static bool sign_cert(enum key key, unsigned slot, enum key signer)
{
    uint8_t *at = platform.cert[key] + AT_SIGNATURE + slot * SIGNATURE_STEP;

    put32(at, usages[signer]);
    put32(at + 4, SEV_ALGO_ECDSA_SHA256);
    return sign(platform.key[signer], platform.cert[key], SIGNED_SIZE, at + 8);
}

/* --- Keys that stay --- */

int sev_platform_derive(const void *secret, size_t size)
{
    int ret = 0;

    if (!secret || size < SECRET_MIN)
        return -EINVAL;
    pthread_mutex_lock(&platform.lock);
    if (platform.settled)
        ret = -EBUSY;
    else if (HMAC(EVP_sha512(), "softkvm-sev", 11, secret, size, platform.secret, NULL))
        platform.derived = true;
    else
        ret = -EINVAL;
    pthread_mutex_unlock(&platform.lock);
    return ret;
}

/* 64 bytes that belong to a number of what there is. */
static bool derive(uint32_t number, uint8_t out[SECRET_SIZE])
{
    return HMAC(EVP_sha512(), platform.secret, SECRET_SIZE, (const void *)&number, sizeof(number),
                out, NULL) != NULL;
}

/* The pair of keys with this private number. */
static EVP_PKEY *key_pair(const EC_GROUP *group, const BIGNUM *number)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EC_POINT *point = EC_POINT_new(group);
    uint8_t bytes[1 + 2 * P384_BYTES];
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;

    if (builder && ctx && point && EC_POINT_mul(group, point, number, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, bytes, sizeof(bytes),
                           NULL) == sizeof(bytes) &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-384", 0) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, number) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, bytes,
                                         sizeof(bytes)) == 1)
        params = OSSL_PARAM_BLD_to_param(builder);
    if (!params || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    EC_POINT_free(point);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

/* A number of 512 bits, less what is too much for the curve: its bias is nobody's concern. */
static EVP_PKEY *derive_key(enum key which)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_secp384r1);
    BIGNUM *number = NULL;
    BN_CTX *ctx = BN_CTX_new();
    uint8_t bytes[SECRET_SIZE];
    EVP_PKEY *key = NULL;

    if (group && ctx && derive(which, bytes))
        number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    if (number && BN_mod(number, number, EC_GROUP_get0_order(group), ctx) == 1 &&
        !BN_is_zero(number))
        key = key_pair(group, number);
    BN_clear_free(number);
    BN_CTX_free(ctx);
    EC_GROUP_free(group);
    return key;
}

static bool make_id(void)
{
    if (platform.derived)
        return derive(NR_KEYS, platform.id);
    return sev_random(platform.id, sizeof(platform.id));
}

static void make_platform(void)
{
    bool ok;

    pthread_mutex_lock(&platform.lock);
    platform.settled = true;
    pthread_mutex_unlock(&platform.lock);
    ok = make_id();
    for (int key = 0; ok && key < NR_KEYS; key++) {
        platform.key[key] = platform.derived ? derive_key(key) : EVP_EC_gen("P-384");
        ok = platform.key[key] && make_cert(key);
    }
    platform.ok = ok && sign_cert(OCA, 0, OCA) && sign_cert(PEK, 0, OCA) &&
                  sign_cert(PEK, 1, CEK) && sign_cert(PDH, 0, PEK);
}

static bool ready(void)
{
    pthread_once(&platform.once, make_platform);
    return platform.ok;
}

bool sev_platform_export(uint8_t *pdh, uint8_t *chain)
{
    if (!ready())
        return false;
    memcpy(pdh, platform.cert[PDH], SEV_CERT_SIZE);
    memcpy(chain, platform.cert[PEK], SEV_CERT_SIZE);
    memcpy(chain + SEV_CERT_SIZE, platform.cert[OCA], SEV_CERT_SIZE);
    memcpy(chain + 2 * SEV_CERT_SIZE, platform.cert[CEK], SEV_CERT_SIZE);
    return true;
}

bool sev_platform_sign(const void *data, size_t size, uint8_t signature[2 * SEV_SIGNATURE_PART])
{
    return ready() && sign(platform.key[PEK], data, size, signature);
}

bool sev_platform_id(uint8_t id[64])
{
    if (ready())
        memcpy(id, platform.id, sizeof(platform.id));
    return platform.ok;
}

/* A point from its two numbers; NULL: not one of the curve. */
static EVP_PKEY *read_key(const uint8_t *at)
{
    uint8_t point[1 + 2 * P384_BYTES] = { 4 /* both numbers follow */ };
    char group[] = "P-384";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;

    for (unsigned i = 0; i < 2 * P384_BYTES; i++) {
        unsigned n = i / P384_BYTES;

        point[1 + i] = at[4 + n * SEV_SIGNATURE_PART + (P384_BYTES - 1 - i % P384_BYTES)];
    }
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

int sev_platform_agree(const uint8_t *cert, uint8_t secret[SEV_SECRET_MAX])
{
    size_t size = SEV_SECRET_MAX;
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *theirs;
    int ret = -1;

    if (get32(cert) != CERT_VERSION || get32(cert + AT_KEY) != CURVE_P384 || !ready())
        return -1;
    theirs = read_key(cert + AT_KEY);
    ctx = theirs ? EVP_PKEY_CTX_new(platform.key[PDH], NULL) : NULL;
    if (ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
        EVP_PKEY_derive(ctx, secret, &size) == 1)
        ret = size;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(theirs);
    return ret;
}
