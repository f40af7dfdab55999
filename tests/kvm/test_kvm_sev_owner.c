/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the owner of a SEV guest does, from the SEV API's text and not with the
 * library's code: a session for the platform's PDH, the measurement computed anew, a
 * secret, certificates and the attestation report verified.
 */
#include "kvm_test.h"
#include "sev_launch.h"

#include <linux/psp-sev.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>

enum {
    RAM = 4 << 20, CERT = 0x824, PUBKEY = 0x10, SIGNED = 0x414, SIGNATURE = 0x41c, NUMBER = 72,
    SECRET_AT = 0x100000,
};

struct owner {
    uint8_t cert[CERT], session[128], tek[16], tik[16], pdh[CERT], chain[3 * CERT];
    uint32_t policy;
};

static void hmac(const void *key, size_t key_size, const void *data, size_t size, uint8_t out[32])
{
    CHECK(HMAC(EVP_sha256(), key, key_size, data, size, out, NULL));
}

static void ctr(const uint8_t *key, const uint8_t *iv, uint8_t *data, int size)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int done;

    CHECK(EVP_EncryptInit_ex(ctx, EVP_aes_128_ctr(), NULL, key, iv) == 1 &&
          EVP_EncryptUpdate(ctx, data, &done, data, size) == 1);
    EVP_CIPHER_CTX_free(ctx);
}

static void derive(const void *key, size_t key_size, const char *label, const void *context,
                   size_t context_size, uint8_t out[16])
{
    uint8_t input[128] = { 1, 0, 0, 0 }, mac[32];
    size_t n = 4 + strlen(label) + 1;

    strcpy((char *)input + 4, label);
    if (context_size)
        memcpy(input + n, context, context_size);
    n += context_size;
    input[n] = 128;             /* bits */
    hmac(key, key_size, input, n + 4, mac);
    memcpy(out, mac, 16);
}

/* A public key of a certificate, little-endian numbers, as OpenSSL wants it. */
static EVP_PKEY *public_key(const uint8_t *cert)
{
    uint8_t point[97] = { 4 };
    char group[] = "P-384";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *key = NULL;

    CHECK_EQ(cert[PUBKEY], 2);
    for (int i = 0; i < 48; i++) {
        point[1 + i] = cert[PUBKEY + 4 + 47 - i];
        point[49 + i] = cert[PUBKEY + 4 + NUMBER + 47 - i];
    }
    CHECK(EVP_PKEY_fromdata_init(ctx) == 1 &&
          EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static bool verifies(const uint8_t *signer, const void *data, size_t size, const uint8_t *numbers)
{
    EVP_PKEY *key = public_key(signer);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ECDSA_SIG *parts = ECDSA_SIG_new();
    uint8_t *der = NULL;
    int length;
    bool ok;

    ECDSA_SIG_set0(parts, BN_lebin2bn(numbers, NUMBER, NULL),
                   BN_lebin2bn(numbers + NUMBER, NUMBER, NULL));
    length = i2d_ECDSA_SIG(parts, &der);
    ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
         EVP_DigestVerify(ctx, der, length, data, size) == 1;
    OPENSSL_free(der);
    ECDSA_SIG_free(parts);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

static void export(struct owner *owner)
{
    struct sev_user_data_pdh_cert_export args = { 0 };
    struct sev_issue_cmd cmd = { .cmd = SEV_PDH_CERT_EXPORT, .data = (uintptr_t)&args };
    int fd = sev_open();

    CHECK_EQ(IOCTL(fd, SEV_ISSUE_CMD, &cmd), -EIO);
    CHECK_EQ(cmd.error, SEV_RET_INVALID_LEN);
    CHECK_EQ(args.pdh_cert_len, CERT);
    CHECK_EQ(args.cert_chain_len, 3 * CERT);
    args.pdh_cert_address = (uintptr_t)owner->pdh;
    args.cert_chain_address = (uintptr_t)owner->chain;
    CHECK_EQ(IOCTL(fd, SEV_ISSUE_CMD, &cmd), 0);
}

/* The owner's own key into its certificate; what it and the PDH agree on. */
static size_t agree(struct owner *owner, uint8_t secret[64])
{
    EVP_PKEY *own = EVP_EC_gen("P-384"), *theirs = public_key(owner->pdh);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    BIGNUM *x = NULL, *y = NULL;
    size_t size = 64;

    CHECK(EVP_PKEY_get_bn_param(own, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
          EVP_PKEY_get_bn_param(own, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1);
    memset(owner->cert, 0, CERT);
    owner->cert[0] = 1;
    owner->cert[PUBKEY] = 2;
    BN_bn2lebinpad(x, owner->cert + PUBKEY + 4, NUMBER);
    BN_bn2lebinpad(y, owner->cert + PUBKEY + 4 + NUMBER, NUMBER);
    CHECK(EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, theirs) == 1 &&
          EVP_PKEY_derive(ctx, secret, &size) == 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(own);
    EVP_PKEY_free(theirs);
    BN_free(x);
    BN_free(y);
    return size;
}

static struct owner make_owner(uint32_t policy)
{
    struct owner owner = { .policy = policy };
    uint8_t secret[64], master[16], kek[16], kik[16], *session = owner.session;
    size_t size;

    export(&owner);
    size = agree(&owner, secret);
    RAND_bytes(owner.tek, 16);
    RAND_bytes(owner.tik, 16);
    RAND_bytes(session, 16);                    /* nonce */
    RAND_bytes(session + 48, 16);               /* IV */
    derive(secret, size, "sev-master-secret", session, 16, master);
    derive(master, 16, "sev-kek", NULL, 0, kek);
    derive(master, 16, "sev-kik", NULL, 0, kik);
    memcpy(session + 16, owner.tek, 16);
    memcpy(session + 32, owner.tik, 16);
    ctr(kek, session + 48, session + 16, 32);
    hmac(kik, 16, session + 16, 32, session + 64);
    hmac(owner.tik, 16, &policy, sizeof(policy), session + 96);
    return owner;
}

static int start(const struct machine *m, struct owner *owner, uint32_t policy, uint32_t *error)
{
    struct kvm_sev_launch_start args = {
        .policy = policy, .dh_uaddr = (uintptr_t)owner->cert, .dh_len = CERT,
        .session_uaddr = (uintptr_t)owner->session, .session_len = sizeof(owner->session),
    };

    return sev_command(m->vm, KVM_SEV_LAUNCH_START, &args, error);
}

/* HMAC(TIK; 4, API, build, policy, digest, nonce) of what /dev/sev says and the owner knows. */
static void check_measurement(const struct owner *owner, const uint8_t digest[32],
                              const uint8_t blob[48])
{
    struct sev_user_data_status status;
    struct sev_issue_cmd cmd = { .cmd = SEV_PLATFORM_STATUS, .data = (uintptr_t)&status };
    uint8_t input[56] = { 4 }, mac[32];

    CHECK_EQ(IOCTL(sev_open(), SEV_ISSUE_CMD, &cmd), 0);
    CHECK_EQ(status.state, 2);
    CHECK(status.guest_count >= 1);
    input[1] = status.api_major;
    input[2] = status.api_minor;
    input[3] = status.build;
    memcpy(input + 4, &owner->policy, 4);
    memcpy(input + 8, digest, 32);
    memcpy(input + 40, blob + 32, 16);
    hmac(owner->tik, 16, input, sizeof(input), mac);
    CHECK(!memcmp(mac, blob, 32));
}

/* A machine that is measured: the digest of what was loaded, and the blob. */
static void measured(struct machine *m, struct owner *owner, uint8_t digest[32], uint8_t blob[48])
{
    struct kvm_sev_launch_measure measure = { (uintptr_t)blob, 48 };
    uint64_t pieces[] = { 0x1000, 0x10, 0xff0, SEV_LOADED - 0x2000 }, at = 0;

    sev_machine(m, RAM);
    SHA256(m->ram, SEV_LOADED, digest);
    CHECK_EQ(start(m, owner, owner->policy, NULL), 0);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); at += pieces[i++]) {
        struct kvm_sev_launch_update_data update = { (uintptr_t)m->ram + at, pieces[i] };

        CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_UPDATE_DATA, &update, NULL), 0);
    }
    CHECK_EQ(sev_command(m->vm, KVM_SEV_LAUNCH_MEASURE, &measure, NULL), 0);
}

static void measurement(void)
{
    struct owner owner = make_owner(0);
    uint8_t digest[32], blob[48];
    struct machine m;

    measured(&m, &owner, digest, blob);
    check_measurement(&owner, digest, blob);
}

static void sessions_refused(void)
{
    struct owner owner = make_owner(1);
    struct machine m;
    uint32_t error;

    sev_machine(&m, RAM);
    CHECK_EQ(start(&m, &owner, 0, &error), -EIO);       /* another policy than the owner's */
    CHECK_EQ(error, SEV_RET_BAD_MEASUREMENT);
    owner.session[20] ^= 1;
    CHECK_EQ(start(&m, &owner, 1, &error), -EIO);
    CHECK_EQ(error, SEV_RET_BAD_MEASUREMENT);
    owner.session[20] ^= 1;
    owner.cert[PUBKEY + 4] ^= 1;                        /* no point of the curve */
    CHECK_EQ(start(&m, &owner, 1, &error), -EIO);
    CHECK_EQ(error, SEV_RET_INVALID_CERTIFICATE);
    owner.cert[PUBKEY + 4] ^= 1;
    CHECK_EQ(start(&m, &owner, 1, &error), 0);
}

/* The packet's header: flags, IV, MAC of 1, flags, IV, both lengths, data, measurement. */
static void pack(const struct owner *owner, uint8_t *data, uint32_t size, const uint8_t *blob,
                 uint8_t header[52])
{
    uint8_t input[1 + 4 + 16 + 8 + 64 + 32] = { 1 };

    memset(header, 0, 52);
    RAND_bytes(header + 4, 16);
    ctr(owner->tek, header + 4, data, size);
    memcpy(input + 1, header, 20);
    memcpy(input + 21, &size, 4);
    memcpy(input + 25, &size, 4);
    memcpy(input + 29, data, size);
    memcpy(input + 29 + size, blob, 32);
    hmac(owner->tik, 16, input, 29 + size + 32, header + 20);
}

static void secrets(void)
{
    struct owner owner = make_owner(0);
    uint8_t digest[32], blob[48], header[52], data[32] = "what only the owner knows";
    struct machine m;
    struct kvm_regs regs;
    uint32_t error;
    uint64_t word;

    measured(&m, &owner, digest, blob);
    memcpy(&word, data, sizeof(word));
    pack(&owner, data, sizeof(data), blob, header);
    struct kvm_sev_launch_secret args = {
        .hdr_uaddr = (uintptr_t)header, .hdr_len = sizeof(header),
        .guest_uaddr = (uintptr_t)m.ram + SECRET_AT, .guest_len = sizeof(data),
        .trans_uaddr = (uintptr_t)data, .trans_len = sizeof(data),
    };
    data[3] ^= 1;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_SECRET, &args, &error), -EIO);
    CHECK_EQ(error, SEV_RET_BAD_MEASUREMENT);
    data[3] ^= 1;
    args.guest_len = 16;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_SECRET, &args, &error), -EIO);
    CHECK_EQ(error, SEV_RET_INVALID_LEN);
    args.guest_len = sizeof(data);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_SECRET, &args, &error), 0);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_FINISH, NULL, NULL), 0);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_LAUNCH_SECRET, &args, &error), -EIO);
    CHECK_EQ(error, SEV_RET_INVALID_GUEST_STATE);
    CHECK(memcmp(m.ram + SECRET_AT, &word, sizeof(word)));
    machine_run_to(&m, KVM_EXIT_IO);
    regs = machine_regs(&m);
    regs.rcx = 0;
    regs.rdi = SECRET_AT;
    machine_set_regs(&m, &regs);
    machine_run_to(&m, KVM_EXIT_IO);
    CHECK_EQ(machine_regs(&m).rax, word);
}

static void attestation(void)
{
    struct owner owner = make_owner(0);
    uint8_t digest[32], blob[48], report[208];
    struct kvm_sev_attestation_report args = { .mnonce = "a nonce", .len = 0 };
    const uint8_t *pek = owner.chain, *oca = owner.chain + CERT;
    struct machine m;
    uint32_t error;

    measured(&m, &owner, digest, blob);
    CHECK_EQ(sev_command(m.vm, KVM_SEV_GET_ATTESTATION_REPORT, &args, &error), -EIO);
    CHECK_EQ(error, SEV_RET_INVALID_LEN);
    CHECK_EQ(args.len, sizeof(report));
    args.uaddr = (uintptr_t)report;
    CHECK_EQ(sev_command(m.vm, KVM_SEV_GET_ATTESTATION_REPORT, &args, &error), 0);
    CHECK(!memcmp(report, args.mnonce, 16));
    CHECK(!memcmp(report + 16, digest, 32));
    CHECK(!memcmp(report + 48, &owner.policy, 4));
    CHECK(verifies(pek, report, 52, report + 64));
    report[16] ^= 1;
    CHECK(!verifies(pek, report, 52, report + 64));
    CHECK(verifies(oca, oca, SIGNED, oca + SIGNATURE));
    CHECK(verifies(oca, pek, SIGNED, pek + SIGNATURE));
    CHECK(verifies(pek, owner.pdh, SIGNED, owner.pdh + SIGNATURE));
}

static void platform(void)
{
    struct sev_user_data_get_id2 id = { 0 };
    struct sev_issue_cmd cmd = { .cmd = SEV_GET_ID2, .data = (uintptr_t)&id };
    uint8_t bytes[256];
    int fd = sev_open();

    CHECK_EQ(IOCTL(fd, SEV_ISSUE_CMD, &cmd), -EIO);
    CHECK_EQ(cmd.error, SEV_RET_INVALID_LEN);
    CHECK(id.length && id.length <= sizeof(bytes));
    id.address = (uintptr_t)bytes;
    CHECK_EQ(IOCTL(fd, SEV_ISSUE_CMD, &cmd), 0);
    cmd.data = 8;
    CHECK_EQ(IOCTL(fd, SEV_ISSUE_CMD, &cmd), -EFAULT);
    cmd.cmd = 99;
    CHECK_EQ(IOCTL(fd, SEV_ISSUE_CMD, &cmd), -EINVAL);
    if (!test_is_softkvm())
        return;
    cmd.cmd = SEV_PEK_GEN;
    CHECK_EQ(IOCTL(fd, SEV_ISSUE_CMD, &cmd), -EIO);
    CHECK_EQ(cmd.error, SEV_RET_UNSUPPORTED);
}

static const struct test_case cases[] = {
    { "platform", platform },
    { "measurement", measurement },
    { "sessions_refused", sessions_refused },
    { "secrets", secrets },
    { "attestation", attestation },
};

int main(int argc, char **argv)
{
    test_with_sev(true);
    return test_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
