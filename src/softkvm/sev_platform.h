/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The platform that SEV's firmware runs on: its keys and certificates, one of
 * them in a process, made when first asked for.  OCA signs PEK, PEK signs PDH, as on
 * a platform that nobody has taken over; CEK is signed by nobody, as only AMD could.
 * Source: SEV API 0.24, chapter 2 and appendix C.
 */
#ifndef SOFTKVM_SEV_PLATFORM_H
#define SOFTKVM_SEV_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEV_API_MAJOR = 0, SEV_API_MINOR = 24, SEV_BUILD = 1,
    SEV_CERT_SIZE = 0x824,      /* a certificate */
    SEV_CHAIN_SIZE = 3 * SEV_CERT_SIZE, /* PEK, OCA, CEK */
    SEV_SIGNATURE_PART = 72,    /* R or S, little endian */
    SEV_SECRET_MAX = 66,
    SEV_USAGE_PEK = 0x1002, SEV_ALGO_ECDSA_SHA256 = 0x2,
};

/* Keys out of a secret, before any is made. 0, -EINVAL: too short, -EBUSY: there are some. */
int sev_platform_derive(const void *secret, size_t size);

/* False, as all of these: libcrypto refused. pdh and chain: of the sizes above. */
bool sev_platform_export(uint8_t *pdh, uint8_t *chain);

/* By the PEK, ECDSA with SHA-256: R and S. */
bool sev_platform_sign(const void *data, size_t size, uint8_t signature[2 * SEV_SIGNATURE_PART]);

/* What the PDH and the key of somebody's certificate agree on. -1: not such a certificate. */
int sev_platform_agree(const uint8_t *cert, uint8_t secret[SEV_SECRET_MAX]);

/* A name for this processor, 64 bytes. */
bool sev_platform_id(uint8_t id[64]);

#endif
