/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SEV's commands in any order, with structures and blobs of the input: the owner's session
 * and certificate, secrets, debugging.  Where the input says so codes are made right after
 * its changes, so that it gets beyond them.  Beside not crashing: the guest's state, the
 * digest and what debugging reads are as this file, which keeps account, expects.
 */
#include "fuzz.h"

#include "kvm_uapi.h"
#include "range.h"
#include "sev_crypto.h"
#include "sev_guest.h"
#include "sev_platform.h"
#include "softkvm.h"

#include <errno.h>
#include <openssl/sha.h>
#include <string.h>
#include <sys/mman.h>

enum { RAM = 1 << 16, GUARD = 1 << 17, LOG_MAX = 1 << 20, BLOB = 16384, COMMANDS_MAX = 40 };

/* The owner's two blobs, side by side: changes may hit either. */
struct launch_blobs {
    uint8_t cert[SEV_CERT_SIZE];
    struct {
        uint8_t nonce[SEV_NONCE], wrapped[2 * SEV_KEY], iv[SEV_BLOCK], mac[SEV_DIGEST],
                policy_mac[SEV_DIGEST];
    } session;
};

static struct fuzz {
    struct input in;
    int vm, sev_fd;
    uint8_t *ram;
    enum sev_state state;
    uint32_t policy, error;     /* error: of the last command */
    bool keys_known, measured;
    uint8_t tek[SEV_KEY], tik[SEV_KEY], measurement[SEV_MEASUREMENT_SIZE];
    uint8_t *log;               /* what LAUNCH_UPDATE_DATA was given */
    size_t logged;
    uint8_t scratch[BLOB];
} f;

static int command(uint32_t id, void *data)
{
    struct kvm_sev_cmd cmd = { .id = id, .data = (uintptr_t)data, .sev_fd = f.sev_fd };
    int ret = softkvm_ioctl(f.vm, KVM_MEMORY_ENCRYPT_OP, (unsigned long)&cmd);

    f.error = cmd.error;
    fail_unless(ret != -EIO || cmd.error);
    return ret;
}

static void change(uint8_t *bytes, size_t size)
{
    for (unsigned n = take(&f.in, 1) % 4; n; n--) {
        size_t at = take(&f.in, 2) % size;

        bytes[at] = take(&f.in, 1);
    }
}

/* Codes and keys that fit what is there; the owner's certificate is the platform's own. */
static void make_right(struct launch_blobs *blobs, bool policy_too)
{
    uint8_t shared[SEV_SECRET_MAX], master[SEV_KEY], kek[SEV_KEY], kik[SEV_KEY], keys[2 * SEV_KEY];
    int size = sev_platform_agree(blobs->cert, shared);

    if (size < 0)
        return;
    sev_derive(shared, size, "sev-master-secret", blobs->session.nonce, SEV_NONCE, master);
    sev_derive(master, SEV_KEY, "sev-kek", NULL, 0, kek);
    sev_derive(master, SEV_KEY, "sev-kik", NULL, 0, kik);
    sev_hmac(kik, SEV_KEY, blobs->session.wrapped, sizeof(keys), blobs->session.mac);
    memcpy(keys, blobs->session.wrapped, sizeof(keys));
    sev_ctr(kek, blobs->session.iv, keys, sizeof(keys));
    memcpy(f.tek, keys, SEV_KEY);
    memcpy(f.tik, keys + SEV_KEY, SEV_KEY);
    if (policy_too)
        sev_hmac(f.tik, SEV_KEY, &f.policy, sizeof(f.policy), blobs->session.policy_mac);
}

static void do_start(void)
{
    static struct launch_blobs blobs;
    uint8_t chain[SEV_CHAIN_SIZE], how = take(&f.in, 1);
    uint32_t policy = take(&f.in, 1) | (uint32_t)take(&f.in, 1) << 16;
    struct kvm_sev_launch_start args = { .policy = policy };

    /* Keys of a guest that is there already must not get lost. */
    if (f.state != SEV_UNINIT) {
        fail_unless(command(KVM_SEV_LAUNCH_START, &args) != 0);
        return;
    }
    f.policy = policy;
    if (how & 1) {
        memset(&blobs, 0, sizeof(blobs));
        fail_unless(sev_platform_export(blobs.cert, chain));
        change((uint8_t *)&blobs, sizeof(blobs));
        if (how & 2)
            make_right(&blobs, how & 4);
        args.dh_uaddr = (uintptr_t)blobs.cert;
        args.session_uaddr = (uintptr_t)&blobs.session;
        args.dh_len = how & 8 ? take(&f.in, 2) : sizeof(blobs.cert);
        args.session_len = how & 16 ? take(&f.in, 1) : sizeof(blobs.session);
        /* No further than there is something. */
        if (args.dh_len > sizeof(blobs))
            args.dh_len = 0;
        if (args.session_len > sizeof(blobs.session))
            args.session_len = 0;
    }
    if (command(KVM_SEV_LAUNCH_START, &args))
        return;
    f.state = SEV_LAUNCH_UPDATE;
    f.keys_known = how & 1;
    fail_unless(!(how & 1) || (how & 6) == 6);
    fail_unless(!(policy & SEV_POLICY_ES));
}

static void expect_plain(const uint8_t *at, const uint8_t *plain, uint32_t size)
{
    struct kvm_sev_dbg dbg = { (uintptr_t)at, (uintptr_t)f.scratch, size };
    int ret = size <= sizeof(f.scratch) ? command(KVM_SEV_DBG_DECRYPT, &dbg) : -E2BIG;

    if (f.policy & SEV_POLICY_NODBG)
        fail_unless(ret);
    else if (ret != -E2BIG)
        fail_unless(!ret && !memcmp(f.scratch, plain, size));
}

static void do_update(void)
{
    uint32_t at = take(&f.in, 2), len = take(&f.in, 2);
    struct kvm_sev_launch_update_data args = { (uintptr_t)f.ram + at, len };
    uint8_t *plain = f.log + f.logged;

    if (len > RAM - at || f.logged + len > LOG_MAX)
        len = 0;
    memcpy(plain, f.ram + at, len);
    if (command(KVM_SEV_LAUNCH_UPDATE_DATA, &args)) {
        fail_unless(!memcmp(plain, f.ram + at, len));
        return;
    }
    fail_unless(f.state == SEV_LAUNCH_UPDATE && len && at % SEV_BLOCK == 0 && len % SEV_BLOCK == 0);
    f.logged += len;
    expect_plain(f.ram + at, plain, len);
}

static void check_measurement(void)
{
    struct {
        uint8_t tag, major, minor, build;
        uint32_t policy;
        uint8_t digest[SEV_DIGEST], nonce[SEV_NONCE];
    } input = { 4, SEV_API_MAJOR, SEV_API_MINOR, SEV_BUILD, f.policy, { 0 }, { 0 } };
    uint8_t mac[SEV_DIGEST];

    SHA256(f.log, f.logged, input.digest);
    memcpy(input.nonce, f.measurement + SEV_DIGEST, SEV_NONCE);
    sev_hmac(f.tik, SEV_KEY, &input, sizeof(input), mac);
    fail_unless(!f.keys_known || !memcmp(mac, f.measurement, SEV_DIGEST));
}

static void do_measure(void)
{
    struct kvm_sev_launch_measure args = { (uintptr_t)f.scratch, take(&f.in, 2) };

    if (args.len > sizeof(f.scratch))
        args.len = sizeof(f.scratch);
    if (command(KVM_SEV_LAUNCH_MEASURE, &args))
        return;
    fail_unless(args.len == SEV_MEASUREMENT_SIZE &&
                (f.state == SEV_LAUNCH_UPDATE || f.state == SEV_LAUNCH_SECRET));
    fail_unless(!f.measured || !memcmp(f.measurement, f.scratch, args.len));
    memcpy(f.measurement, f.scratch, args.len);
    f.state = SEV_LAUNCH_SECRET;
    f.measured = true;
    check_measurement();
}

/* HMAC(TIK; 1, flags, IV, both lengths, data, measurement). */
static void secret_code(uint8_t header[SEV_SECRET_HEADER], const uint8_t *data, uint32_t size)
{
    static uint8_t input[1 + 20 + 8 + BLOB + SEV_DIGEST];
    size_t n = 0;

    input[n++] = 1;
    memcpy(input + n, header, 20);
    n += 20;
    memcpy(input + n, &size, 4);
    memcpy(input + n + 4, &size, 4);
    n += 8;
    memcpy(input + n, data, size);
    n += size;
    memcpy(input + n, f.measurement, SEV_DIGEST);
    sev_hmac(f.tik, SEV_KEY, input, n + SEV_DIGEST, header + 20);
}

static void do_secret(void)
{
    static uint8_t packet[BLOB], plain[BLOB];
    uint8_t header[SEV_SECRET_HEADER] = { 0 }, how = take(&f.in, 1);
    uint32_t at = take(&f.in, 2), size = take(&f.in, 2) % (BLOB + 1);
    struct kvm_sev_launch_secret args = {
        .hdr_uaddr = (uintptr_t)header, .hdr_len = how & 2 ? take(&f.in, 1) % SEV_SECRET_HEADER
                                                           : SEV_SECRET_HEADER,
        .guest_uaddr = (uintptr_t)f.ram + at, .guest_len = how & 4 ? take(&f.in, 2) : size,
        .trans_uaddr = (uintptr_t)packet, .trans_len = size,
    };

    memset(packet, how, size);
    change(header, sizeof(header));
    if (how & 1)
        secret_code(header, packet, size);
    memcpy(plain, packet, size);
    sev_ctr(f.tek, header + 4, plain, size);
    if (command(KVM_SEV_LAUNCH_SECRET, &args))
        return;
    fail_unless(f.state == SEV_LAUNCH_SECRET && f.keys_known && how & 1 && size);
    expect_plain(f.ram + at, plain, size);
}

static void do_finish(void)
{
    if (!command(KVM_SEV_LAUNCH_FINISH, NULL)) {
        fail_unless(f.state == SEV_LAUNCH_UPDATE || f.state == SEV_LAUNCH_SECRET);
        f.state = SEV_RUNNING;
    }
}

/* What was there before stays around what is written. */
static void do_debug(void)
{
    uint32_t at = take(&f.in, 2), size = take(&f.in, 2) % (BLOB - 32);
    struct kvm_sev_dbg dbg = { (uintptr_t)f.scratch, (uintptr_t)f.ram + at, size };
    static uint8_t plain[BLOB];

    memset(f.scratch, take(&f.in, 1), size);
    memcpy(plain, f.scratch, size);
    if (command(KVM_SEV_DBG_ENCRYPT, &dbg))
        return;
    fail_unless(f.state != SEV_UNINIT && size && !(f.policy & SEV_POLICY_NODBG));
    expect_plain(f.ram + at, plain, size);
}

static void do_report(void)
{
    struct kvm_sev_attestation_report args = { .uaddr = (uintptr_t)f.scratch,
                                               .len = take(&f.in, 2) % BLOB };

    memset(args.mnonce, take(&f.in, 1), sizeof(args.mnonce));
    if (command(KVM_SEV_GET_ATTESTATION_REPORT, &args))
        return;
    fail_unless(f.state == SEV_LAUNCH_SECRET || f.state == SEV_RUNNING);
    fail_unless(!memcmp(f.scratch, args.mnonce, sizeof(args.mnonce)));
}

/* Commands that change no state, the words of their structures being anything. */
static void do_any(void)
{
    static const uint32_t ids[] = {
        KVM_SEV_INIT, KVM_SEV_ES_INIT, KVM_SEV_INIT2, KVM_SEV_LAUNCH_UPDATE_VMSA,
        KVM_SEV_SEND_START, KVM_SEV_RECEIVE_UPDATE_DATA, KVM_SEV_CERT_EXPORT, 100 /* of SEV-SNP */,
        KVM_SEV_DBG_DECRYPT, KVM_SEV_LAUNCH_SECRET,
    };
    uint32_t id = ids[take(&f.in, 1) % (sizeof(ids) / sizeof(ids[0]))];
    uint64_t words[8] = { 0 };

    for (unsigned i = 0; i < 6; i++) {
        uint8_t what = take(&f.in, 1);

        words[i] = what & 1 ? (uintptr_t)f.scratch : what & 2 ? take(&f.in, 8) : take(&f.in, 1);
    }
    /* All that is written may only go to scratch. */
    if (id == KVM_SEV_DBG_DECRYPT)
        words[1] = (uintptr_t)f.scratch, words[2] %= BLOB;
    if (id == KVM_SEV_LAUNCH_SECRET)
        words[2] = (uintptr_t)f.ram;
    command(id, words);
}

static void check_state(void)
{
    struct kvm_sev_guest_status status;
    int ret = command(KVM_SEV_GUEST_STATUS, &status);

    fail_unless(f.state == SEV_UNINIT ? ret == -EIO
                : !ret && status.state == f.state && status.policy == f.policy);
}

/* RAM with nothing before and behind it, which commands may be told to change too. */
static uint8_t *memory_alone(void)
{
    uint8_t *at = mmap(NULL, RAM + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    fail_unless(at != MAP_FAILED && !mprotect(at + GUARD, RAM, PROT_READ | PROT_WRITE));
    return at + GUARD;
}

static bool begin(void)
{
    const struct softkvm_options options = { .sev = true };
    int kvm = softkvm_open(&options);
    struct kvm_userspace_memory_region slot = { .memory_size = RAM };
    struct kvm_sev_init init = { 0 };
    uint8_t *log = f.log ? f.log : malloc(LOG_MAX);

    f = (struct fuzz){ .log = log, .vm = softkvm_ioctl(kvm, KVM_CREATE_VM, KVM_X86_SEV_VM),
                       .sev_fd = softkvm_open_sev() };
    softkvm_close(kvm);
    fail_unless(log && f.vm >= 0 && f.sev_fd >= 0);
    f.ram = memory_alone();
    slot.userspace_addr = (uintptr_t)f.ram;
    /* Without userfaultfd there is nothing to be tried. */
    return !command(KVM_SEV_INIT2, &init) &&
           !softkvm_ioctl(f.vm, KVM_SET_USER_MEMORY_REGION, (unsigned long)&slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const commands[])(void) = {
        do_start, do_update, do_measure, do_secret, do_finish, do_debug, do_report, do_any,
    };

    if (begin()) {
        f.in = (struct input){ data, size };
        for (unsigned n = 0; n < COMMANDS_MAX && f.in.size; n++) {
            commands[take(&f.in, 1) % 8]();
            check_state();
        }
    }
    softkvm_close(f.vm);
    softkvm_close(f.sev_fd);
    munmap(f.ram - GUARD, RAM + 2 * GUARD);
    return 0;
}

/* A whole launch with a session and a secret, and debugging; one without; one forbidden. */
static const uint8_t with_session[] = {
    0, 7, 0, 0, 0,  1, 0, 0, 0, 16,  1, 0, 32, 16, 0,  2, 48, 0,  3, 1, 0, 48, 64, 0, 0,
    6, 208, 0, 5,  4,  5, 9, 16, 33, 0, 7,
};
static const uint8_t without[] = { 0, 0, 0, 0,  1, 0, 0, 0, 16,  4,  5, 255, 15, 3, 0, 9,  7, 8, 1, 1, 0, 5 };
static const uint8_t forbidden[] = { 0, 0, 1, 0,  1, 0, 0, 0, 16,  2, 0, 0,  2, 48, 0,  4,  5, 0, 0, 16, 0, 1 };

const uint8_t *fuzz_seed(unsigned n, size_t *size)
{
    static const struct {
        const uint8_t *bytes;
        size_t size;
    } seeds[] = {
        { with_session, sizeof(with_session) }, { without, sizeof(without) },
        { forbidden, sizeof(forbidden) },
    };

    if (n >= sizeof(seeds) / sizeof(seeds[0]))
        return NULL;
    *size = seeds[n].size;
    return seeds[n].bytes;
}
