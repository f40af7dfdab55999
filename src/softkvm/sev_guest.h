/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest as SEV's firmware knows it: state, policy, keys, launch digest.
 * Commands take the plain bytes; where these are in memory is the caller's.
 * Source: SEV API 0.24, chapter 6.  All return a firmware code (SEV_RET_*), 0 for
 * success.
 */
#ifndef SOFTKVM_SEV_GUEST_H
#define SOFTKVM_SEV_GUEST_H

#include "sev_crypto.h"

#include <linux/psp-sev.h>

enum {
    SEV_POLICY_NODBG = 1 << 0, SEV_POLICY_ES = 1 << 2,
    SEV_SESSION_SIZE = 128, SEV_NONCE = 16,
    SEV_MEASUREMENT_SIZE = SEV_DIGEST + SEV_NONCE,
    SEV_SECRET_HEADER = 52,
    SEV_REPORT_SIZE = 208,
};

enum sev_state { SEV_UNINIT, SEV_LAUNCH_UPDATE, SEV_LAUNCH_SECRET, SEV_RUNNING };

struct sev_guest {
    enum sev_state state;
    uint32_t handle, policy;
    uint8_t tek[SEV_KEY], tik[SEV_KEY];
    void *digest;               /* running, while the state is SEV_LAUNCH_UPDATE */
    uint8_t launch_digest[SEV_DIGEST];
    uint8_t measurement[SEV_MEASUREMENT_SIZE];  /* and the nonce */
};

/* cert, session: the owner's, or both NULL: keys that nobody knows. */
int sev_guest_start(struct sev_guest *guest, uint32_t policy, const uint8_t *cert,
                    const uint8_t *session);
int sev_guest_update(struct sev_guest *guest, const void *data, size_t size);
int sev_guest_measure(struct sev_guest *guest);
/* Checks and decrypts data, of whole blocks, in place. */
int sev_guest_secret(struct sev_guest *guest, const uint8_t header[SEV_SECRET_HEADER], void *data,
                     size_t size);
int sev_guest_finish(struct sev_guest *guest);
/* May the debugging commands be used? */
int sev_guest_debug(const struct sev_guest *guest);
int sev_guest_report(const struct sev_guest *guest, const uint8_t nonce[SEV_NONCE],
                     uint8_t report[SEV_REPORT_SIZE]);

void sev_guest_clear(struct sev_guest *guest);

/* How many there are in this process, from start to clear. */
unsigned sev_guest_count(void);

#endif
